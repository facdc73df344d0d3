"""How far a run is: a bar on a terminal, lines in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from regionfer.progress import ProgressLines


@dataclass(frozen=True)
class Display:
    """Where a run tells what it does.

    Attributes:
        bar: show bars on standard error; without, lines go to ``report`` now and then.
        report: called with a line of text.
    """

    bar: bool = False
    report: Callable[[str], None] = lambda line: None

    @contextmanager
    def faces(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a pass over so many faces, moved by the function that this gives: how many more are done.

        Args:
            what: names the pass, such as "epoch 1 of 8".
            total: number of faces.
        """
        lines = ProgressLines("faces", (lambda line: None) if self.bar else self.report, f"{what}: ")
        done = 0
        lines.update(done, total)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), disable=not self.bar, transient=True) as bar:
            task = bar.add_task(what, total=total, pace="")

            def advance(more: int) -> None:
                nonlocal done
                done += more
                lines.update(done, total)
                speed = bar.tasks[task].speed
                bar.update(task, completed=done, pace=f"{speed:.0f} faces/s" if speed else "")

            yield advance
