"""The progress bar of long commands."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def open_bar(unit: str) -> Iterator[Callable[[float, int], None]]:
    """A bar on stderr, if that is a terminal, moved by the function that this gives: how many are done, and of all."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def open_image_bar(total: int) -> Iterator[Callable[[float], None]]:
    """A bar of images, moved by the function that this gives: how many more are done."""
    count = 0.0
    with open_bar("images") as progress:

        def advance(images: float) -> None:
            nonlocal count
            count += images
            progress(count, total)

        yield advance
