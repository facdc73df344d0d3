"""Items worked on ahead of their turn: in order, few at once, errors in their place."""

import threading
import time

import pytest

from regionfer.ahead import Remaining, map_ahead


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


def test_the_rest_is_left_when_nobody_asks():
    taken: list[int] = []
    results = map_ahead(str, counting(1000, taken), workers=1, ahead=1)
    next(results)
    results.close()
    assert len(taken) == 2


def test_remaining_keeps_the_error():
    def failing():
        yield 1
        raise KeyError("x")

    items = Remaining(failing())
    assert list(items) == [1]
    with pytest.raises(KeyError, match="x"):
        items.raise_error()
    Remaining([]).raise_error()
