"""Ctrl-C, pressed again and again."""

import atexit
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from regionfer.cli import interruption
from regionfer.cli.interruption import one_interruption_at_a_time


@pytest.fixture(autouse=True)
def undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The handler of the tests, and of what would be done at the end of the process."""
    ends: list[Any] = []
    monkeypatch.setattr(atexit, "register", lambda *call: ends.append(call))
    before = signal.getsignal(signal.SIGINT)
    yield ends
    signal.signal(signal.SIGINT, before)


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_the_second_press_does_not_break_into_what_the_first_set_off(undone: list[Any]) -> None:
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
