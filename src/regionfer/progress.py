"""How far long work is, in lines for a log: where there is no terminal to draw a bar on."""

import time
from collections.abc import Callable

EVERY = 30.0
"""Seconds between two lines, at least. Work that is done sooner gives none."""


class ProgressLines:
    """Tells how far work is, now and then.

    Args:
        unit: what is counted, in the plural.
        tell: takes a line.
        head: before each line, such as "epoch 2 of 8: ".
    """

    def __init__(self, unit: str, tell: Callable[[str], None], head: str = "") -> None:
        self._unit, self._tell, self._head = unit, tell, head
        self._started = self._last = time.monotonic()
        self._before: float | None = None

    def update(self, done: float, total: float) -> None:
        """Take note of how many are done, and of all; those done at the first call count as done before."""
        now = time.monotonic()
        if self._before is None:
            self._before = done
        if now - self._last < EVERY or done >= total:
            return
        self._last = now
        pace = (done - self._before) / (now - self._started)
        self._tell(self._head + progress_text(self._unit, done, total, pace))


def progress_text(unit: str, done: float, total: float, pace: float) -> str:
    """How far work is, and how long the rest takes at a pace of so many a second.

    >>> progress_text("images", 1200, 3573, 12.5)
    '1,200 of 3,573 images (34 %), 12.5 images/s, about 3 min left'
    """
    text = f"{done:,.0f} of {total:,.0f} {unit} ({done / total:.0%})".replace("%", " %")
    if pace <= 0:
        return text
    seconds = (total - done) / pace
    minutes = f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
    speed = f"{pace:,.0f}" if pace >= 100 else f"{pace:.3g}"
    left = f"{seconds:.0f} s" if seconds < 90 else minutes
    return f"{text}, {speed} {unit}/s, about {left} left"
