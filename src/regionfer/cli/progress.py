"""The progress of long commands: a bar on a terminal, lines in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def open_bar(unit: str) -> Iterator[Callable[[float, int], None]]:
    """A bar on stderr or, if that is no terminal, a line now and then, moved by the function that this gives.

    It takes how many are done, and of all.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from regionfer.progress import ProgressLines

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        yield ProgressLines(unit, lambda line: click.echo(line, err=True)).update
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(unit, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def open_image_bar(total: int, unit: str = "images") -> Iterator[Callable[[float], None]]:
    """A bar of images, or of what the unit says, moved by the function that this gives: how many more are done."""
    count = 0.0
    with open_bar(unit) as progress:

        def advance(images: float) -> None:
            nonlocal count
            count += images
            progress(count, total)

        yield advance
