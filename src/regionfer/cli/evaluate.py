"""``regionfer evaluate``: a model on a dataset, its challenge subsets and a baseline; JSON and a report."""

from typing import TYPE_CHECKING, Any

import click

from regionfer.cli import counted, photos_option, tell_failures, tell_findings, where_listed
from regionfer.cli.figures import check_writable, print_tables, tell_known, write_json
from regionfer.cli.models import model_option, open_recognizer, weights_option
from regionfer.cli.progress import open_image_bar
from regionfer.errors import DatasetError
from regionfer.shipped import COME_WITH

if TYPE_CHECKING:
    from regionfer.datasets import Finding, Manifest, Subset
    from regionfer.evaluation import Evaluation


def _split_names(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, str | None], ...]:
    """NAME=LIST, or NAME alone."""
    named = []
    for value in values:
        name, equals, path = value.partition("=")
        if not name.strip() or (equals and not path):
            raise click.BadParameter(f"{value!r}: expected NAME=LIST, such as occlusion=lists/occlusion.txt")
        named.append((name.strip(), path or None))
    names = [name for name, _ in named]
    for name in names:
        if name == "all" or names.count(name) > 1:
            raise click.BadParameter(f"{name!r}: expected distinct names other than 'all', which are all images")
    return tuple(named)


@click.command("evaluate")
@model_option
@click.option("--dataset", required=True, metavar="NAME", help="Which dataset it is, such as ferplus.")
@click.option("--data", required=True, metavar="DIR", help="Folder of the dataset.")
@click.option("--split", default="test", show_default=True, metavar="S", help="Split: train, valid or test.")
@photos_option
@click.option(
    "--subset",
    "lists",
    callback=_split_names,
    multiple=True,
    metavar="NAME[=LIST]",
    help="Report the images of a list apart, too; NAME alone is a column of one's own table. May be repeated.",
)
@weights_option
@click.option(
    "--baseline",
    metavar="M[,M2...]",
    help=f"Compare with this model face by face; {COME_WITH}.",
)
@click.option(
    "--max-risk",
    type=click.FloatRange(0, 1),
    metavar="R",
    help="Leave out answers so that at most this share is wrong (0.05 is 5 %), by the model's own risk-coverage curve, "
    "and report what share is answered and wrong here.",
)
@click.option(
    "--end-to-end",
    is_flag=True,
    help="Also find and align faces first; a missed face is an error. Not of a prepared dataset.",
)
@click.option(
    "--one-look",
    is_flag=True,
    help="See each face once, as the figures on model cards are measured; else rolled ones again, turned upright.",
)
@click.option("--report", metavar="DIR", help="Write report.html and report.md to DIR; needs regionfer[report].")
@click.option("--json", "json_file", metavar="FILE", help="Write all figures to FILE, or - for the screen.")
@click.option("--strict", is_flag=True, help="Exit with code 1 if an image is absent or cannot be read.")
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    weights: str | None,
    dataset: str,
    data: str,
    split: str,
    photos: bool,
    lists: tuple[tuple[str, str | None], ...],
    baseline: str | None,
    max_risk: float | None,
    end_to_end: bool,
    one_look: bool,
    report: str | None,
    json_file: str | None,
    strict: bool,
) -> None:
    """Measure a model on a dataset.

    Accuracy, mean recall, macro F1, NLL and calibration error come with n and 95 % intervals, for the split and for
    each subset; with a baseline, the difference is tested on the same faces.

    Exit code: 0 if all went well, 1 if --strict is given and images could not be read, 2 if nothing could be done.
    """
    from regionfer.evaluation import evaluate, passes, prepare_report, write_report

    if json_file is not None:
        check_writable(json_file)
    if report is not None:
        prepare_report(report)
    manifest = _read_split(dataset, data, split, photos)
    if dataset == "prepared" and end_to_end:
        raise _nothing_to_find(manifest, data)
    tell_findings(manifest.findings)
    subsets = [_subset(manifest, name, path) for name, path in lists]
    recognizer = open_recognizer(model, weights, max_risk=max_risk)
    recognizer = recognizer.looking_once() if one_look else recognizer
    beside = None if baseline is None else open_recognizer(baseline, max_risk=max_risk)
    for subset in subsets:
        _tell_issues(subset)
    total = len(manifest) * passes(baseline=baseline is not None, end_to_end=end_to_end)
    with open_image_bar(total) as advance:
        evaluation = evaluate(
            recognizer, manifest, subsets=subsets, baseline=beside, end_to_end=end_to_end, advance=advance
        )
    if json_file is not None:
        write_json(evaluation.to_dict(), json_file)
    if report is not None:
        click.echo(f"report: {write_report(evaluation, report)}", err=True)
    if json_file != "-":
        _print(evaluation)
    tell_known(evaluation.known)
    _tell_misses(evaluation, data)
    _tell_failures(evaluation, where_listed(json_file, report))
    ctx.exit(1 if strict and evaluation.failures else 0)


def _read_split(dataset: str, data: str, split: str, photos: bool) -> "Manifest":
    """One split, without opening the tables of the others: they may be large, absent or damaged."""
    from regionfer.datasets import read_dataset
    from regionfer.datasets.manifest import SPLITS

    # Readers are not asked for splits of another name, such as those of divided votes.
    options: dict[str, Any] = {"splits": (split,)} if split in SPLITS else {}
    manifest = read_dataset(dataset, data, **options, **({"photos": True} if photos else {}))
    return manifest.split(split)


def _nothing_to_find(manifest: "Manifest", data: str) -> DatasetError:
    """The error for detection in faces that were found and aligned when the dataset was prepared."""
    return DatasetError(
        f"{data}: its faces are cut and aligned already, so end to end would not be measured; leave --end-to-end out, "
        f"or give the original dataset, {manifest.dataset} in {manifest.root}, by --dataset and --data"
    )


def _subset(manifest: "Manifest", name: str, path: str | None) -> "Subset":
    from regionfer.datasets import column_subset, read_subset

    return column_subset(manifest, name) if path is None else read_subset(path, manifest, name=name)


def _print(evaluation: "Evaluation") -> None:
    from regionfer.evaluation.tables import summary_tables

    head = [f"{evaluation.model.name} on {evaluation.manifest.dataset}, {evaluation.split}"]
    if evaluation.baseline is not None:
        head += [f"model: {evaluation.model.name}", f"baseline: {evaluation.baseline.name}"]
    print_tables((*head, f"protocol: {evaluation.protocol}"), summary_tables(evaluation))


def _tell_issues(subset: "Subset") -> None:
    """A line a kind of finding and cause; all are in the JSON."""
    alike: dict[tuple[str, str], list[Finding]] = {}
    for issue in subset.issues:
        alike.setdefault((issue.kind, issue.cause), []).append(issue)
    for issues in alike.values():
        line = "" if issues[0].line is None else f", line {issues[0].line}"
        more = f" (and {len(issues) - 1:,} more like this)" if len(issues) > 1 else ""
        click.echo(f"{subset.path}{line}: {issues[0].text}{more}", err=True)


def _tell_misses(evaluation: "Evaluation", data: str) -> None:
    """What `regionfer data prepare` could not use of this split, which is in none of the figures."""
    from collections import Counter

    if misses := evaluation.misses:
        reasons = ", ".join(
            f"{count:,} x {reason}" for reason, count in Counter(reason for _, reason in misses).items()
        )
        click.echo(
            f"{counted(len(misses), 'more image')} gave no face when {data} was prepared ({reasons}), in none of the "
            f"figures; counted as wrong, accuracy is {evaluation.accuracy_with_misses:.2%}",
            err=True,
        )


def _tell_failures(evaluation: "Evaluation", listed: str) -> None:
    failures = evaluation.failures
    if alone := [error for name, error in evaluation.baseline_failures.items() if name not in failures]:
        click.echo(
            f"the baseline has no answer to {counted(len(alone), 'more image')}, in none of the comparison; "
            f"the first: {alone[0]}",
            err=True,
        )
    errors = list(failures.values())
    tell_failures(errors, listed)
    done = (
        f"{len(evaluation.manifest) - len(errors):,} of {counted(len(evaluation.manifest), 'listed image')} evaluated"
    )
    click.echo(f"{done}, {len(errors):,} failed", err=True)
