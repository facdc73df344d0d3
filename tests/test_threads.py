"""Cores, and items worked on ahead of their turn: in order, few at once, errors in their place."""

import os
import threading
import time

import pytest

from regionfer.threads import Remaining, cores, map_ahead


def counting(stop, taken):
    for number in range(stop):
        taken.append(number)
        yield number


def test_results_keep_the_order_of_the_items():
    def slow_first(number):
        time.sleep(0.02 * (number == 0))
        return number * number

    assert list(map_ahead(slow_first, range(6), workers=3, ahead=1)) == [0, 1, 4, 9, 16, 25]


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (2, 3)])
def test_no_more_items_are_taken_than_needed(workers, ahead):
    taken: list[int] = []
    results = map_ahead(str, counting(50, taken), workers, ahead)
    assert next(results) == "0"
    assert len(taken) == workers * ahead + 1
    results.close()


def test_workers_run_at_once():
    meeting = threading.Barrier(2, timeout=10)
    assert len(list(map_ahead(lambda _: meeting.wait(), range(4), workers=2, ahead=2))) == 4


def test_what_the_items_raise_comes_after_the_results_before():
    def failing():
        yield from (1, 2)
        raise OSError("no more")

    results = map_ahead(lambda number: -number, failing(), workers=2, ahead=4)
    assert [next(results), next(results)] == [-1, -2]
    with pytest.raises(OSError, match="no more"):
        next(results)


def test_what_the_work_raises_comes_in_its_turn():
    results = map_ahead(lambda number: 1 // number, (2, 0, 1), workers=1, ahead=4)
    assert next(results) == 0
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_what_is_not_begun_is_left_when_nobody_asks():
    begun, second, closing = [], threading.Event(), threading.Event()

    def work(number):
        begun.append(number)
        if number == 1:
            second.set()
            closing.wait(10)
        return number

    results = map_ahead(work, range(100), workers=1, ahead=5)
    assert next(results) == 0
    assert second.wait(10)
    threading.Timer(0.2, closing.set).start()  # while it closes, the second is still at work
    results.close()
    assert begun == [0, 1]


@pytest.fixture
def six_cores(monkeypatch, tmp_path):
    """A machine of six cores without control groups; what is written to the folder is its control group."""
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    monkeypatch.setattr("regionfer.threads.CGROUP", tmp_path)
    return tmp_path


def test_cores_are_those_that_this_process_may_use(six_cores, monkeypatch):
    assert cores() == 6
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 4})
    assert cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"cpu.max": "200000 100000\n"}, 2, id="two"),
        pytest.param({"cpu.max": "150000 100000\n"}, 2, id="one and a half"),
        pytest.param({"cpu.max": "5000 100000\n"}, 1, id="a twentieth"),
        pytest.param({"cpu.max": "900000 100000\n"}, 6, id="more than there are"),
        pytest.param({"cpu.max": "max 100000\n"}, 6, id="none"),
        pytest.param({"cpu.max": "what\n"}, 6, id="unknown"),
        pytest.param({"cpu.max": "200000 0\n"}, 6, id="of no time"),
        pytest.param({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3, id="version 1"),
        pytest.param(
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            3,
            id="version 1, of two names",
        ),
        pytest.param({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6, id="version 1, none"),
    ],
)
def test_cores_of_a_container_with_a_limit(six_cores, files, expected):
    for name, content in files.items():
        (six_cores / name).parent.mkdir(exist_ok=True)
        (six_cores / name).write_text(content)
    assert cores() == expected


def test_remaining_keeps_the_error():
    def failing():
        yield 1
        raise KeyError("x")

    items = Remaining(failing())
    assert list(items) == [1]
    with pytest.raises(KeyError, match="x"):
        items.raise_error()
    Remaining([]).raise_error()
