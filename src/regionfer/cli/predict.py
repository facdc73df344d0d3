"""``regionfer predict``: photos to a table of faces, and pictures with the faces drawn."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from regionfer.cli import check_detecting, counted, is_given, min_confidence_option, tell_passed_over
from regionfer.cli.figures import check_writable
from regionfer.cli.models import batch_size_option, model_option, open_recognizer, weights_option
from regionfer.errors import OutputError

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.progress import Progress
    from rich.table import Table

    from regionfer.output import PictureFolder, TableWriter
    from regionfer.recognizer import Outcome
    from regionfer.results import Expressions, Face


@click.command("predict")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="Write a table: FILE.csv (a row a face), FILE.jsonl (a line an image), or - for CSV on the screen. "
    "A FILE that is there already is replaced once a photo was read.",
)
@click.option(
    "--draw",
    metavar="DIR",
    help="Write each photo with faces to DIR, with the faces drawn. Of the files there only pictures drawn before are "
    "replaced.",
)
@model_option
@weights_option
@click.option("--recursive", "-r", is_flag=True, help="Look in the folders below a folder, too.")
@batch_size_option
@min_confidence_option
@click.option(
    "--max-risk",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Mark answers as uncertain so that of the others at most this share is wrong (0.05 is 5 %), by the "
    "model's own risk-coverage curve; without it, by the threshold on the model's card.",
)
@click.option("--no-detect", is_flag=True, help="Each input is one face already; do not look for faces.")
@click.option(
    "--on-no-face",
    type=click.Choice(["report", "skip", "error"]),
    default="report",
    show_default=True,
    help="A photo without faces: note it in the table and on the screen, only count it, or count it as failed.",
)
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    output: str | None,
    draw: str | None,
    model: str,
    weights: str | None,
    recursive: bool,
    batch_size: int,
    min_confidence: float,
    max_risk: float | None,
    no_detect: bool,
    on_no_face: str,
) -> None:
    """Recognise the expressions in photos.

    An INPUT is a photo, a folder of photos, or a pattern such as 'album/*.jpg'. Without --output, a table is
    printed. An input that cannot be read is reported, and the others go on.

    Exit code: 0 if all inputs were read, 1 if some failed, 2 if the command line is wrong.
    """
    from regionfer.images import find_images
    from regionfer.output import PictureFolder, check_table, is_drawing, open_table

    check_detecting(ctx, not no_detect)
    if no_detect and is_given(ctx, "on_no_face"):
        raise click.UsageError("--on-no-face is about faces that are looked for, and here each image is one face")
    for option, place in (("--output", output), ("--draw", draw)):
        if place == "":
            raise click.UsageError(f"{option} is empty; expected a name")
    found = find_images(inputs, recursive=recursive)
    recognizer = open_recognizer(model, weights, max_risk=max_risk)
    replaced = output is not None and check_table(output)
    if output is not None:
        check_writable(output)
        if Path(output).absolute() in {path.absolute() for path in found.paths}:
            raise OutputError(f"{output}: is among the images; give the table another name")
    named = {Path(name).absolute() for name in inputs}
    paths = [path for path in found.paths if path.absolute() in named or not is_drawing(path)]
    screen = _ScreenTable()
    with ExitStack() as stack:
        stack.callback(screen.print)  # whatever happens: what was computed is not lost
        pictures = None if draw is None else PictureFolder(draw, paths)
        if pictures is not None and (count := pictures.replaced):
            click.echo(f"{draw}: holds {counted(count, 'picture')} drawn before that may be replaced", err=True)
        table: TableWriter = screen
        progress = stack.enter_context(_progress(len(paths)))

        def say(line: str) -> None:
            progress.console.print(line, soft_wrap=True)

        def make(place: str) -> "TableWriter":
            if replaced:
                say(f"{place}: is there already, and is replaced")
            return stack.enter_context(open_table(place, recognizer.model.card.labels))

        if output is not None:
            table = _LateTable(partial(make, output))
        run = _Run(table, pictures, on_no_face, say)
        for error in found.errors:
            run.images += 1
            run.fail(str(error))
        outcomes = recognizer.stream(
            paths,
            detect=not no_detect,
            min_confidence=min_confidence,
            batch_size=batch_size,
            keep_images=draw is not None,
        )
        code = _follow(run, outcomes, progress)
        if isinstance(table, _LateTable) and run.images > run.failures:
            table.open()  # if it has no row, no photo had a face
    tell_passed_over(found.unread, found.below)
    if drawn := len(found.paths) - len(paths):
        click.echo(f"passed over: {counted(drawn, 'picture')} that --draw wrote; name one to have it read", err=True)
    click.echo(run.summary(interrupted=code == 130), err=True)
    if code == 130 and output is not None and run.images > run.failures:
        click.echo(f"{output}: holds what was done till then", err=True)
    ctx.exit(code)


class _LateTable:
    """A table that is opened, and what was there replaced, when the first row comes."""

    def __init__(self, make: "Callable[[], TableWriter]") -> None:
        self._make = make
        self._table: TableWriter | None = None

    def open(self) -> "TableWriter":
        if self._table is None:
            self._table = self._make()
        return self._table

    def write(self, result: "Expressions") -> None:
        self.open().write(result)


@dataclass
class _Run:
    """What is done with each outcome, and the count of it."""

    table: "TableWriter"
    pictures: "PictureFolder | None"
    on_no_face: str
    say: Callable[[str], None]
    images: int = 0
    faces: int = 0
    failures: int = 0
    without_face: int = 0
    started: float = field(default_factory=time.perf_counter)

    def take(self, outcome: "Outcome") -> None:
        self.images += 1
        if outcome.result is None:
            self.fail(str(outcome.error))
        elif len(outcome.result) == 0:
            self._take_faceless(outcome.result)
        else:
            self.faces += len(outcome.result)
            self.table.write(outcome.result)
            self._draw(outcome)

    def fail(self, line: str) -> None:
        self.failures += 1
        self.say(line)

    def _take_faceless(self, result: "Expressions") -> None:
        self.without_face += 1
        line = f"{result.source}: no face found"
        if self.on_no_face == "error":
            self.fail(line)
        elif self.on_no_face == "report":
            self.table.write(result)
            self.say(line)

    def _draw(self, outcome: "Outcome") -> None:
        from regionfer.drawing import draw

        if self.pictures is None:
            return
        assert outcome.result is not None
        assert outcome.image is not None
        assert outcome.source is not None
        try:
            self.pictures.save(outcome.source, draw(outcome.image, outcome.result))
        except OutputError as error:
            self.fail(f"{outcome.source}: not drawn: {error}")

    def summary(self, *, interrupted: bool) -> str:
        seconds = time.perf_counter() - self.started
        parts = (
            counted(self.images, "image"),
            counted(self.faces, "face"),
            f"{self.failures} failed",
            f"{self.without_face} without a face",
            f"{seconds:.1f} s",
            f"{self.images / seconds:.1f} images/s",
        )
        return ("interrupted after " if interrupted else "") + ", ".join(parts)


def _follow(run: _Run, outcomes: "Iterator[Outcome]", progress: "Progress") -> int:
    """Take all outcomes, and return the exit code."""
    from regionfer.progress import ProgressLines

    bar, lines = progress.tasks[0], ProgressLines("photos", progress.console.print)
    try:
        for outcome in outcomes:
            run.take(outcome)
            progress.advance(bar.id)
            if not progress.console.is_terminal:
                lines.update(bar.completed, bar.total or 0)
    except KeyboardInterrupt:
        return 130
    return 1 if run.failures else 0


@contextmanager
def _progress(total: int) -> "Iterator[Progress]":
    """A bar on stderr, if that is a terminal; its console prints lines, above the bar if there is one."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True, markup=False, highlight=False, emoji=False)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        progress.add_task("photos", total=total)
        yield progress


class _ScreenTable:
    """The table for reading: gathered face by face, printed at the end, when the widths are known."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []

    def write(self, result: "Expressions") -> None:
        name = str(result.source).encode(errors="backslashreplace").decode()
        rows = [(name, str(index), *_cells(face)) for index, face in enumerate(result)]
        self._rows += rows or [(name, "-", "no face", *[""] * (len(_COLUMNS) - 3))]

    def print(self) -> None:
        from rich.console import Console

        if not self._rows:
            return
        console = Console(markup=False, highlight=False, emoji=False)
        if not console.is_terminal:  # a file or a pipe has no width that lines must be cut to
            console = Console(markup=False, highlight=False, emoji=False, width=10_000)
        console.print(self._table())

    def _table(self) -> "Table":
        from rich import box
        from rich.table import Table

        shown = [k for k in range(len(_COLUMNS)) if k < _ALWAYS or any(row[k] for row in self._rows)]
        table = Table(box=box.SIMPLE_HEAD)
        for name, justify in (_COLUMNS[k] for k in shown):
            table.add_column(name, justify=justify, overflow="fold" if name == "file" else "ellipsis")
        for row in self._rows:
            table.add_row(*(row[k] for k in shown))
        return table


_COLUMNS: "tuple[tuple[str, JustifyMethod], ...]" = (
    ("file", "left"),
    ("face", "right"),
    ("expression", "left"),
    ("probability", "right"),
    ("head pose\nyaw pitch roll", "right"),
    ("region with\nlargest weight", "left"),
    ("covered", "left"),
    ("uncertain", "left"),
)
_ALWAYS = 6  # the other columns are shown if there is something in them


def _cells(face: "Face") -> tuple[str, ...]:
    from regionfer.results import covered_text, share_text

    pose = "unknown" if face.pose is None else " ".join(f"{angle:+z4.0f}°" for angle in face.pose)
    trust = face.uncertain_reason or ""
    return face.expression, share_text(face.probability), pose, face.region, covered_text(face.occlusion), trust
