"""Ctrl-C, pressed again and again."""

import atexit
import signal
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner

from regionfer.cli import COMMANDS, interruption, main
from regionfer.cli.interruption import one_interruption_at_a_time


@pytest.fixture(autouse=True)
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The handler of the tests, and of what would be done at the end of the process."""
    ends: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *call: ends.append(call))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs that a script put behind it
    yield ends
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def test_the_second_press_does_not_break_into_what_the_first_set_off(
    undone: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "GRACE", 1e9)
    with one_interruption_at_a_time():
        with pytest.raises(KeyboardInterrupt):
            press()
        press()
    press()
    assert undone == [(signal.signal, signal.SIGINT, signal.SIG_IGN)]


def test_without_an_interruption_all_is_as_before() -> None:
    with one_interruption_at_a_time():
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_later_it_interrupts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "GRACE", 0.0)
    with one_interruption_at_a_time():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                press()


def test_commands_clean_up_undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    cleaned = False

    @click.command()
    def twice() -> None:
        nonlocal cleaned
        try:
            press()
        finally:
            press()
            cleaned = True

    monkeypatch.setattr(interruption, "GRACE", 1e9)
    monkeypatch.setitem(sys.modules, "pressed_twice", SimpleNamespace(command=twice))  # type: ignore[arg-type]
    monkeypatch.setitem(COMMANDS, "twice", "pressed_twice")
    assert CliRunner().invoke(main, ["twice"]).exit_code == 130
    assert cleaned


def test_a_handler_of_somebody_else_stays() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    with one_interruption_at_a_time():
        press()
    assert seen == [signal.SIGINT]


def test_outside_the_main_thread_nothing_is_done() -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            with one_interruption_at_a_time():
                pass
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not errors
