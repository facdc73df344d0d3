"""Ctrl-C, pressed once or more: a command has a moment to clean up after the first."""

import atexit
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

GRACE = 1.0
"""Seconds after an interruption in which another one is the same one."""

NEVER = float("-inf")


@contextmanager
def one_interruption_at_a_time() -> Iterator[None]:
    """Within it, Ctrl-C raises KeyboardInterrupt as ever, but not again within ``GRACE``.

    A second one at once would break into whatever the first has set off, and may abort a process that works in threads;
    a later one breaks off the cleaning up. So it stays, after an interruption, until the process has ended. Nothing is
    done outside the main thread, or where somebody else minds the signal.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    last = NEVER

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= GRACE:
            if last == NEVER:
                atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
            last = now
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if last == NEVER:
            signal.signal(signal.SIGINT, signal.default_int_handler)
