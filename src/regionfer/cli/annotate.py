"""``regionfer annotate``: attributes of faces by the model and by hand, and challenge lists made from them."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from regionfer.cli import (
    check_detecting,
    counted,
    is_given,
    min_confidence_option,
    plain,
    tell_failures,
    tell_findings,
    tell_passed_over,
)
from regionfer.cli.models import model_option, open_recognizer

if TYPE_CHECKING:
    from regionfer.annotation import AttributeTable
    from regionfer.annotation.agreement import Agreement
    from regionfer.annotation.lists import Written
    from regionfer.annotation.run import Annotated, Progress

SPLIT = click.Choice(["train", "valid", "test"])


class _DefaultGroup(click.Group):
    """A group whose command ``run`` is meant where none is named: ``annotate DIR`` is ``annotate run DIR``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name in front of arguments that begin with no command."""
        if args and args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Both ways to call it."""
        formatter.write_usage(ctx.command_path, "DIR|TABLE --out FILE [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of ``run``, then the commands."""
        run = self.commands["run"]
        click.Command.format_options(run, click.Context(run, ctx, info_name="run"), formatter)
        self.format_commands(ctx, formatter)


class _UnnamedContext(click.Context):
    """Usage and errors of ``run`` speak of what people type."""

    @property
    def command_path(self) -> str:
        """As of the group."""
        return self.parent.command_path if self.parent else super().command_path


class _Unnamed(click.Command):
    context_class = _UnnamedContext


@click.group("annotate", cls=_DefaultGroup)
def command() -> None:
    """Say how the faces of a folder or dataset are turned and covered.

    Writes a table with a row a face: image, face, yaw, pitch, roll, pose_bin, occluded_fraction, occluded_where,
    face_size, blur, and what the model answers. What the model does not know stays empty. The commands below take
    that table on: to annotators, back from them, and to challenge lists.

    DIR is a folder of photos, or the folder of a dataset that --dataset names; TABLE a CSV that lists images. A run
    that was interrupted goes on where it stopped when it is called again. A folder called like a command is
    written ./export.

    Exit code: 0 if all images were read, 1 if some failed, 2 if nothing was done, 130 if interrupted.
    """


@command.command("run", hidden=True, cls=_Unnamed)
@click.argument("place", metavar="DIR|TABLE")
@click.option("--out", "-o", required=True, metavar="FILE", help="The table: FILE.parquet or FILE.csv.")
@click.option("--dataset", metavar="NAME", help="DIR is this dataset, such as ferplus; 'regionfer data' names them.")
@click.option("--split", "splits", multiple=True, type=SPLIT, help="Only this split of a dataset; may be repeated.")
@click.option("--recursive", "-r", is_flag=True, help="Look in the folders below a folder of photos, too.")
@model_option
@click.option(
    "--detect/--no-detect",
    default=None,
    help="Look for faces, or take each image for one; looked for unless the dataset has face crops.",
)
@min_confidence_option
@click.option(
    "--max-risk",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Mark answers as uncertain so that of the others at most this share is wrong.",
)
@click.pass_context
def run(
    ctx: click.Context,
    place: str,
    out: str,
    dataset: str | None,
    splits: tuple[str, ...],
    recursive: bool,
    model: str,
    detect: bool | None,
    min_confidence: float,
    max_risk: float | None,
) -> None:
    """Annotate a folder or a dataset; 'run' itself may be left out."""
    from regionfer.annotation import annotate, read_inputs
    from regionfer.annotation.inputs import is_crops
    from regionfer.annotation.table import check_table_path
    from regionfer.cli.progress import open_bar

    there = check_table_path(out).exists()
    inputs = read_inputs(place, dataset, recursive=recursive, splits=splits)
    check_detecting(ctx, not is_crops(inputs) if detect is None else detect)
    if there:
        click.echo(f"{out}: is there already, and is replaced", err=True)
    tell_passed_over(inputs.unread, inputs.below)
    if (manifest := inputs.manifest) is not None:
        tell_findings(manifest.findings)
        dropped = manifest.dropped.of_splits(splits) if splits else manifest.dropped
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in Counter(dropped.reasons.tolist()).most_common())
        more = f"; {len(dropped):,} more are listed and left out ({reasons})" if reasons else ""
        click.echo(f"{manifest.dataset}, {manifest.protocol}: {counted(len(inputs), 'image')}{more}", err=True)
    recognizer = open_recognizer(model, max_risk=max_risk)
    started = time.perf_counter()
    try:
        with open_bar("images") as move:
            progress = _told_where_it_begins(out, move)
            done = annotate(inputs, out, recognizer, detect=detect, min_confidence=min_confidence, progress=progress)
    except KeyboardInterrupt:
        click.echo(f"{out}: interrupted; call again to go on", err=True)
        ctx.exit(130)
    _tell_run(done, time.perf_counter() - started)
    ctx.exit(1 if done.failures else 0)


def _told_where_it_begins(out: str, progress: "Progress") -> "Progress":
    """The same, that says at its first call whether something was done before."""
    begun = False

    def told(done: int, total: int) -> None:
        nonlocal begun
        if done and not begun:
            click.echo(f"{out}: goes on; done before: {done:,} of {counted(total, 'image')}", err=True)
        begun = True
        progress(done, total)

    return told


def _tell_run(done: "Annotated", seconds: float) -> None:
    lost = [f"{name}{f', face {face}' if face else ''}: {reason}" for (name, face), reason in done.misses.items()]
    lost += dict.fromkeys(done.failures.values())  # several faces may be of one image
    if done.losses is not None:
        tell_failures([plain(line) for line in lost], "in the file below")
        click.echo(f"{done.losses} lists the images without a row", err=True)
    if done.redone:
        again = counted(done.redone, "image")
        click.echo(f"{again} done before the interruption were done again, for some of them changed since", err=True)
    new = done.images - done.resumed
    before = f", {done.resumed:,} of them before an interruption" if done.resumed else ""
    click.echo(
        f"{done.table}: {counted(done.images, 'image')}{before}, {counted(done.faces, 'face')}, "
        f"{len(done.failures):,} failed, {len(done.misses):,} without a face, {seconds:.1f} s, "
        f"{new / seconds:.1f} images/s",
        err=True,
    )


@command.command("export")
@click.argument("table")
@click.option("--to", "tool", type=click.Choice(["label-studio"]), required=True, help="The annotation tool.")
@click.option("--out", "-o", required=True, metavar="DIR", help="Folder to write to; made if it is missing.")
@click.option("--images", metavar="DIR", help="Where the images are now, if they were moved since.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="Only the first N faces of the order.")
@click.option(
    "--order",
    type=click.Choice(["unsure", "occlusion", "random", "table"]),
    default="unsure",
    show_default=True,
    help="Which faces come first. unsure: those that cannot be judged, then those with the least sure expression; "
    "occlusion: those least surely covered or clear; random: any; table: as in the table.",
)
@click.option("--seed", default=0, show_default=True, help="Of the random order.")
@click.option(
    "--pictures",
    type=click.Choice(["embedded", "files"]),
    default="embedded",
    show_default=True,
    help="Pictures within the tasks, which Label Studio shows as it comes; or files that it must be allowed to serve.",
)
@click.pass_context
def export(
    ctx: click.Context,
    table: str,
    tool: str,
    out: str,
    images: str | None,
    sample: int | None,
    order: str,
    seed: int,
    pictures: Any,
) -> None:
    """Write the faces of TABLE as tasks for annotators.

    DIR gets tasks.json, with pictures and the model's estimates as predictions, and labelling.xml, the labelling
    configuration: both are pasted or uploaded into a new project.

    Exit code: 0, or 1 if some pictures could not be read, 2 if nothing was done.
    """
    from pathlib import Path

    from regionfer.annotation import AttributeTable
    from regionfer.annotation.inputs import ImageFinder
    from regionfer.annotation.label_studio import CONFIG, TASKS, export_tasks
    from regionfer.annotation.order import put_in_order
    from regionfer.cli.progress import open_bar
    from regionfer.errors import writing

    if order != "random" and is_given(ctx, "seed"):
        raise click.UsageError("--seed is of the random order; give --order random, or leave it out")
    faces = AttributeTable.read(table)
    finder = ImageFinder(faces.card.reader, images or faces.card.root)
    rows = put_in_order(faces.rows, order, seed=seed)[:sample]
    with writing(Path(out)):
        there = Path(out, TASKS).exists()
    if there:
        click.echo(f"{Path(out, TASKS)}: is there already, and is replaced", err=True)
    with open_bar("faces") as progress:
        exported = export_tasks(faces, rows, finder, out, pictures=pictures, progress=progress)
    tell_failures([plain(line) for line in exported.failures], "of as many tasks")
    place = exported.folder
    size = _size((place / TASKS).stat().st_size)
    click.echo(f"{place / TASKS}: {counted(exported.tasks, 'task')}, {size}; {place / CONFIG}: configuration")
    ctx.exit(1 if exported.failures else 0)


@command.command("import")
@click.argument("export_file", metavar="EXPORT")
@click.option("--out", "-o", required=True, metavar="FILE", help="The labels by hand, FILE.csv: a row a face.")
@click.option(
    "--table",
    metavar="FILE",
    help="The table that the tasks were made from: faces that are not in it, have another box there, or whose images "
    "have other pixels now, are left out.",
)
@click.option("--images", metavar="DIR", help="Where the images of --table are now, if they were moved since.")
@click.option("--disagreements", metavar="FILE", help="Where to list them; FILE.disagreements.csv if not given.")
@click.pass_context
def import_(
    ctx: click.Context, export_file: str, out: str, table: str | None, images: str | None, disagreements: str | None
) -> None:
    """Read the annotations in EXPORT, Label Studio's JSON export.

    Prints how far annotators agree (in percent, and Cohen's kappa of two, Fleiss' kappa of more), and writes the
    answers that more than half of a face's annotators give, and a list of those on which they disagree.

    Exit code: 0, or 1 if faces are not those of --table, 2 if nothing was done.
    """
    from pathlib import Path

    from regionfer.annotation import AttributeTable
    from regionfer.annotation.agreement import agreements, verdicts
    from regionfer.annotation.by_hand import write_disagreements, write_hand_labels
    from regionfer.annotation.label_studio_export import read_export
    from regionfer.annotation.same_faces import of_table
    from regionfer.cli.progress import open_bar
    from regionfer.errors import OutputError

    if images is not None and table is None:
        raise click.UsageError("--images are those of a table; give --table, too, or leave it out")
    listed = disagreements or str(Path(out).with_suffix(".disagreements.csv"))
    for written, what in ((out, "labels"), (listed, "disagreements")):
        for read in (export_file, *([] if table is None else [table])):
            if Path(written).absolute() == Path(read).absolute():
                raise OutputError(f"{written}: is read from; give the {what} another name")
    if Path(out).absolute() == Path(listed).absolute():
        raise OutputError(f"{out}: labels and disagreements need a file each")
    if Path(out).suffix.lower() != ".csv":
        raise OutputError(f"{out}: expected a name that ends in .csv")
    known = None if table is None else AttributeTable.read(table)
    found = read_export(export_file)
    if known is not None:
        with open_bar("faces") as progress:
            found = of_table(found, known, export_file, images=images, progress=progress)
    tell_failures([plain(finding.text) for finding in found.findings], "of the same kinds")
    held = verdicts(found.judgements)
    write_hand_labels(out, held)
    count = write_disagreements(listed, held)
    people = len({judgement.annotator for judgement in found.judgements})
    _print_agreements(agreements(found.judgements))
    click.echo(
        f"{out}: {counted(len(held), 'face')} of {counted(found.tasks, 'task')}, by {counted(people, 'annotator')}"
    )
    click.echo(f"{listed}: {counted(count, 'disagreement')}")
    ctx.exit(1 if any(finding.severity == "error" for finding in found.findings) else 0)


def _print_agreements(found: "list[Agreement]") -> None:
    if not found:
        click.echo("no face has two annotators: there is no agreement to measure")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:  # a file or a pipe has no width that lines must be cut to
        console = Console(markup=False, highlight=False, emoji=False, width=10_000)
    shown = Table(box=box.SIMPLE_HEAD)
    shown.add_column("question")
    for name in ("faces", "annotators", "agreement", "kappa"):
        shown.add_column(name, justify="right")
    shown.add_column("kind")
    for each in found:
        if each.unnamed:
            continue
        kappa = "-" if each.kappa is None else f"{each.kappa:.2f}"
        kind = each.method if each.only is None else f"all say {each.only}"
        shown.add_row(each.field, f"{each.faces:,}", str(each.annotators), f"{each.share:.1%}", kappa, kind)
    console.print(shown)
    if unnamed := _unnamed(found):
        console.print(f"nobody named: {unnamed}")


def _unnamed(found: "list[Agreement]") -> str:
    """The covers and places that nobody named: ``occlusion: mask, hand (12 faces); place: left (9 faces)``."""
    names: dict[str, list[str]] = {}
    faces = {}
    for each in found:
        if each.unnamed:
            question, _, answer = each.field.partition(": ")
            names.setdefault(question, []).append(answer)
            faces[question] = each.faces
    return "; ".join(f"{name}: {', '.join(names[name])} ({counted(faces[name], 'face')})" for name in names)


@command.command("lists")
@click.argument("table")
@click.option("--out", "-o", required=True, metavar="DIR", help="Folder to write to; made if it is missing.")
@click.option("--split", type=SPLIT, help="Only this split; with several, each has a folder of its own.")
@click.option("--labels", metavar="FILE", help="Labels by hand, of 'annotate import'; they go before the estimates.")
@click.option(
    "--occluded-above",
    type=click.FloatRange(0, 1),
    metavar="P",
    help="Take faces for occluded whose probability of it is above this; by default as the model decides.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "authors", "both"]),
    help="CSV with reasons, or the form of the authors of Region Attention Networks, for FERPlus, RAF-DB and "
    "AffectNet; by default what there is.",
)
def lists(table: str, out: str, split: str | None, labels: str | None, occluded_above: float | None, form: Any) -> None:
    """Write the lists of occluded faces, and of those turned by more than 30 and 45 degrees, to a side or up or down.

    They are used as 'regionfer evaluate ... --subset occlusion=FILE'.
    """
    from regionfer.annotation import AttributeTable, write_lists
    from regionfer.annotation.by_hand import read_hand_labels
    from regionfer.annotation.lists import check_hand_labels

    faces = AttributeTable.read(table)
    by_hand: Mapping[Any, Any] = {} if labels is None else read_hand_labels(labels)
    if labels is not None:
        check_hand_labels(by_hand, faces, labels)
    written = write_lists(faces, out, split=split, by_hand=by_hand, occluded_above=occluded_above, form=form)
    for each in written:
        _tell_list(each, faces)


def _tell_list(written: "Written", table: "AttributeTable") -> None:
    name = f"{written.split} {written.name}".strip()
    if not written.judged:
        what = "covered" if written.name == "occlusion" else "turned"
        click.echo(f"{name}: no list; {table.card.model} does not say how these faces are {what}")
    elif not written.files:
        click.echo(f"{name}: no list; none of {counted(written.judged, 'face')} belongs on it")
    else:
        files = ", ".join(str(path) for path in written.files)
        click.echo(f"{name}: {written.faces:,} of {counted(written.judged, 'face')} that could be judged; {files}")


def _size(count: int) -> str:
    return f"{count / 2**10:,.0f} KiB" if count < 2**20 else f"{count / 2**20:,.1f} MiB"
