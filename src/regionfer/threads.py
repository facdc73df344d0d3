"""Work on several threads: how many there may be, and items worked on ahead of their turn, in order."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

CGROUP = Path("/sys/fs/cgroup")
"""Where a container on Linux finds its own limits, not those of a group around it
(https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files)."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def cores() -> int:
    """Cores that this process may use: fewer than the machine has under ``taskset``, and in a container with a limit.

    A container's limit is the time that it may take of all cores together, and does not show in their number. It is
    rounded up: two threads can use one and a half cores, one cannot.
    """
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _limit()
    return own if limit is None else min(own, max(1, math.ceil(limit)))


def _limit() -> float | None:
    """Cores' worth of time that the container may take; None without a limit."""
    with suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    for folder in ("cpu", "cpu,cpuacct"):  # version 1 of control groups
        with suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (
                (CGROUP / folder / f"cpu.cfs_{each}_us").read_text("ascii") for each in ("quota", "period")
            )
            return int(quota) / int(period) if int(quota) > 0 else None
    return None


class Remaining(Iterator[_Item]):
    """Items up to the first error, which is kept, lest it overtake what came before."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self._items = iter(items)
        self._error: Exception | None = None

    def __next__(self) -> _Item:
        try:
            return next(self._items)
        except StopIteration:
            raise
        except Exception as error:
            self._error = error
            raise StopIteration from error

    def raise_error(self) -> None:
        """Raise what was kept, if anything was."""
        if self._error is not None:
            raise self._error


def map_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, ahead: int
) -> Generator[_Result, None, None]:
    """Results in the order of the items, computed by threads, at most ``ahead`` items a thread before their turn.

    What the items raise is raised after the results of those before.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="regionfer")
    coming: deque[Future[_Result]] = deque()
    given = Remaining(items)
    try:
        for item in given:
            coming.append(pool.submit(function, item))
            if len(coming) > ahead * workers:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
        given.raise_error()
    finally:
        pool.shutdown(cancel_futures=True)
