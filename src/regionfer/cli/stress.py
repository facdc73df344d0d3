"""``regionfer stress``: degraded faces, and how soon a model fails on them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from regionfer.cli import check_detecting, counted, min_confidence_option, tell_failures, tell_passed_over, where_listed
from regionfer.cli.figures import check_writable, print_tables, tell_known, write_json
from regionfer.cli.models import batch_size_option, model_option, open_recognizer
from regionfer.cli.progress import open_image_bar
from regionfer.shipped import COME_WITH

if TYPE_CHECKING:
    from regionfer.evaluation import DatasetFaces, PhotoFaces, Stress
    from regionfer.parts import Parts


def _kinds(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...]:
    """KIND,KIND,...; all if not given."""
    from regionfer.degradations import DEGRADATIONS
    from regionfer.evaluation.stress import check_kinds

    if text is None:
        return tuple(DEGRADATIONS)
    kinds = tuple(kind.strip().lower() for kind in text.split(",") if kind.strip())
    try:
        check_kinds(kinds)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return kinds


@click.command("stress")
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option("--dataset", metavar="NAME", help="Take a labelled dataset, such as ferplus, instead of an INPUT.")
@click.option("--data", metavar="DIR", help="Folder of the dataset.")
@click.option("--split", metavar="S", help="Split of the dataset: train, valid or test (if not given).")
@model_option
@click.option(
    "--baseline",
    metavar="M[,M2...]",
    help=f"Show this model beside it, on the same pictures; {COME_WITH}.",
)
@click.option(
    "--max-risk",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Count answers as uncertain so that of the others at most this share is wrong (0.05 is 5 %), by each model's "
    "own risk-coverage curve; without it, by the threshold on its card.",
)
@click.option(
    "--kinds",
    callback=_kinds,
    metavar="K[,K...]",
    help="Degrade in these ways only: mask, sunglasses, hand, border, blur, resolution, rotation, darkness.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use at most N faces, drawn at random.")
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Of all that is random; the same seed degrades the same face alike.",
)
@batch_size_option
@click.option("--no-detect", is_flag=True, help="Each image of an INPUT is one face already; do not look for faces.")
@min_confidence_option
@click.option("--recursive", "-r", is_flag=True, help="Look in the folders below a folder, too.")
@click.option(
    "--report",
    metavar="DIR",
    help="Write report.html, with example pictures, report.md and curves.csv to DIR; needs regionfer[report].",
)
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    metavar="N",
    help="Show so many faces in the report; with 0 it holds no picture of anybody.",
)
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE, or - for the screen.")
@click.pass_context
def command(
    ctx: click.Context,
    inputs: tuple[str, ...],
    dataset: str | None,
    data: str | None,
    split: str | None,
    model: str,
    baseline: str | None,
    max_risk: float | None,
    kinds: tuple[str, ...],
    limit: int | None,
    seed: int,
    batch_size: int,
    no_detect: bool,
    min_confidence: float,
    recursive: bool,
    report: str | None,
    examples: int,
    json_file: str | None,
) -> None:
    """See how soon a model fails as faces get worse.

    Faces are covered, cut, blurred, turned and darkened, five levels each. Of a labelled dataset (--dataset NAME --data
    DIR) the accuracy is shown, of the faces in one's own photos (INPUT: photos, folders, patterns) how often the answer
    stays that to the clean face; and how many answers are not uncertain, and how well calibrated.

    With --report or --json FILE a run that was interrupted goes on where it stopped when it is called again.

    Exit code: 0 if all went well, 1 if images could not be read, 2 if nothing could be done, 130 if interrupted.
    """
    from regionfer.evaluation import prepare_report, stress, write_stress_report
    from regionfer.evaluation.stress_report import summary_tables

    given = {name for name in ctx.params if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    if report is None and "examples" in given:
        raise click.UsageError("--examples belongs to a report; say where with --report DIR")
    if dataset is None:
        if data is not None or split is not None:
            raise click.UsageError("--data and --split belong to a dataset; name it with --dataset")
        if not inputs:
            raise click.UsageError("expected photos or folders, or --dataset NAME --data DIR")
    elif inputs or given & {"no_detect", "recursive", "min_confidence"}:
        raise click.UsageError(
            "a dataset gives its own faces: no INPUT, --no-detect, --recursive or --min-confidence beside --dataset"
        )
    elif data is None:
        raise click.UsageError(f"where is {dataset}? expected --data DIR")
    check_detecting(ctx, not no_detect)
    if json_file is not None:
        check_writable(json_file)
    if report is not None:
        prepare_report(report)
    faces: DatasetFaces | PhotoFaces
    if dataset is not None and data is not None:
        faces = _of_dataset(dataset, data, split or "test", limit, seed)
    else:
        faces = _of_photos(inputs, recursive, not no_detect, min_confidence, limit, seed)
    parts = _parts(report, json_file)
    recognizer = open_recognizer(model, max_risk=max_risk)
    beside = None if baseline is None else open_recognizer(baseline, max_risk=max_risk)
    try:
        with open_image_bar(faces.images) as advance:
            result = stress(
                recognizer,
                faces,
                baseline=beside,
                kinds=kinds,
                seed=seed,
                batch_size=batch_size,
                examples=examples if report is not None else 0,
                parts=parts,
                advance=advance,
            )
    except KeyboardInterrupt:
        click.echo(f"interrupted; {'nothing is written' if parts is None else 'call again to go on'}", err=True)
        ctx.exit(130)
    if json_file is not None:
        write_json(result.to_dict(), json_file)
    if report is not None:
        click.echo(f"report: {write_stress_report(result, report)}", err=True)
    if parts is not None:
        parts.remove()
    if json_file != "-":
        head = [f"stress test of {result.model.name} on {counted(len(result.names), 'face')}: {result.title}"]
        if result.baseline is not None:
            head += [f"{who}: {each.name}" for who, each in result.named_models()]
        print_tables((*head, f"protocol: {result.protocol}"), summary_tables(result))
    tell_known(result.known)
    _tell(result, where_listed(json_file, report))
    ctx.exit(1 if result.failures else 0)


def _of_dataset(name: str, data: str, split: str, limit: int | None, seed: int) -> "DatasetFaces":
    from regionfer.datasets import read_dataset
    from regionfer.evaluation import DatasetFaces

    return DatasetFaces(read_dataset(name, data).split(split), limit, seed)


def _of_photos(
    inputs: tuple[str, ...], recursive: bool, detect: bool, min_confidence: float, limit: int | None, seed: int
) -> "PhotoFaces":
    from regionfer.evaluation import PhotoFaces
    from regionfer.images import find_images

    found = find_images(inputs, recursive=recursive)
    if not found.paths:
        raise found.errors[0]
    tell_passed_over(found.unread, found.below)
    failures = {str(error).partition(": ")[0]: str(error) for error in found.errors}
    return PhotoFaces(found.paths, detect, min_confidence, limit, seed, failures)


def _parts(report: str | None, json_file: str | None) -> "Parts | None":
    """Where to keep what is done until all is: in the report's folder, or beside the JSON file; None without either."""
    from regionfer.parts import Parts

    if report is not None:
        return Parts(Path(report) / "stress.parts", ".npz")
    if json_file is None or json_file == "-":
        return None
    path = Path(json_file)
    return Parts(path.with_name(f"{path.name}.parts"), ".npz")


def _tell(result: "Stress", listed: str) -> None:
    """What is in none of the figures."""
    tell_failures(list(result.failures.values()), listed)
    tell_failures([f"{name}: {reason}" for name, reason in result.left_out.items()], listed)
    counts = f"{counted(len(result.names), 'face')}, {counted(len(result.failures), 'image')} failed"
    click.echo(f"{counts}, {len(result.left_out):,} left out", err=True)
