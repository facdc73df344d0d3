"""``regionfer data``: check a corpus, prepare its faces, find challenge lists."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from regionfer.cli import Group, check_detecting, counted, min_confidence_option, photos_option, plain, tell_findings

if TYPE_CHECKING:
    from regionfer.datasets.check import CheckReport, SplitReport
    from regionfer.datasets.findings import Finding
    from regionfer.datasets.list_survey import FoundList, Survey
    from regionfer.datasets.lists import Subset
    from regionfer.datasets.manifest import Manifest
    from regionfer.preparation import PreparedCard

_Joined: TypeAlias = dict["FoundList", "Subset"]
_Failed: TypeAlias = dict["FoundList", str]

SPLITS = ("train", "valid", "test")

_SHOWN = 3  # files that are told by name of those that are no lists for one reason


@dataclass(frozen=True)
class _Corpus:
    """A corpus and the part of it that a command is about."""

    name: str
    data: str
    splits: tuple[str, ...]
    photos: bool
    workers: int | None

    def read(self) -> "Manifest":
        from regionfer.datasets import read_dataset

        options: dict[str, Any] = {"photos": True} if self.photos else {}
        if self.splits:
            options["splits"] = self.splits
        return read_dataset(self.name, self.data, **options)


def _takes_corpus(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the arguments that name a corpus and its images, as one ``corpus``."""

    @wraps(function)
    def with_corpus(**arguments: Any) -> None:
        corpus = _Corpus(**{field.name: arguments.pop(field.name) for field in fields(_Corpus)})
        function(corpus=corpus, **arguments)

    options = (
        click.argument("name"),
        click.option("--data", required=True, metavar="DIR", help="Folder of the corpus; for csv, the table."),
        click.option(
            "--split",
            "splits",
            multiple=True,
            type=click.Choice([*SPLITS, *(f"{split}-divided" for split in SPLITS)]),
            metavar="SPLIT",
            help="Only this split: train, valid or test; of ferplus-votes also train-divided etc. May be repeated.",
        ),
        photos_option,
        click.option("--workers", type=click.IntRange(min=1), help="Threads; one a core if not given."),
    )
    command: Callable[..., None] = with_corpus
    for option in reversed(options):
        command = option(command)
    return command


@click.group("data", cls=Group)
def command() -> None:
    """Check and prepare datasets, and find challenge lists.

    A dataset NAME is one of ferplus, ferplus-votes (with faces whose votes are divided), affectnet-8, affectnet-7,
    rafdb, sfew; folder (a folder per class) and csv (a table with columns image and label) for one's own; prepared
    (what 'regionfer data prepare' wrote).
    """


@command.command("check")
@_takes_corpus
@click.option("--no-images", is_flag=True, help="Do not read the images, only the tables and the names of files.")
@click.option("--strict", is_flag=True, help="Let warnings fail the check, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def check(
    ctx: click.Context,
    corpus: _Corpus,
    no_images: bool,
    strict: bool,
    as_json: bool,
) -> None:
    """Say whether a dataset is whole.

    Counts by split and class stand beside the official ones. Images that are listed but absent, that cannot be
    read, or whose content is there twice, are reported.

    Exit code: 0 if nothing is wrong, 1 if something is, 2 if the folder is not that dataset.
    """
    if no_images and corpus.workers is not None:
        raise click.UsageError("--workers read images; leave it out, or --no-images")
    from regionfer.cli.progress import open_bar
    from regionfer.datasets.check import check_manifest

    manifest = corpus.read()
    with open_bar("images") as progress:
        report = check_manifest(
            manifest,
            expected=corpus.splits or None,
            read_images=not no_images,
            workers=corpus.workers,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_check(report, corpus)
    ctx.exit(0 if report.ok(strict=strict) else 1)


@command.command("prepare")
@_takes_corpus
@click.option("--output", "-o", required=True, metavar="DIR", help="Folder to write to; made if it is missing.")
@click.option(
    "--size",
    type=click.IntRange(min=8),
    help="Side of the faces, pixels; if not given, that of the crops, or 112 for photos.",
)
@click.option(
    "--detect/--no-detect",
    default=None,
    help="Look for faces, or take each image for one; by default as fits the dataset.",
)
@click.option("--given", is_flag=True, help="Align by the landmarks that come with the dataset; do not look for faces.")
@min_confidence_option
@click.option("--strict", is_flag=True, help="Count images without a face as failures, too.")
@click.pass_context
def prepare(
    ctx: click.Context,
    corpus: _Corpus,
    output: str,
    size: int | None,
    detect: bool | None,
    given: bool,
    min_confidence: float,
    strict: bool,
) -> None:
    """Find and align the faces of a dataset once, for training to read.

    Can be interrupted and called again: it goes on where it stopped. Read the result as the dataset 'prepared'.
    Images without a face are listed in misses.csv there.

    Exit code: 0 if all images were read, 1 if some are absent or damaged, 2 if nothing was done, 130 if interrupted.
    """
    from regionfer.cli.progress import open_bar
    from regionfer.preparation import FaceSource
    from regionfer.preparation import prepare as prepare_faces

    if given and detect is not None:
        raise click.UsageError("--given takes landmarks as they are: leave out --detect and --no-detect")
    named: Mapping[bool | None, FaceSource | None] = {None: None, True: "detect", False: "crops"}
    manifest = corpus.read()
    check_detecting(ctx, not given and (not manifest.crops if detect is None else detect))
    tell_findings(manifest.findings)
    try:
        with open_bar("images") as progress:
            card = prepare_faces(
                manifest,
                output,
                source="given" if given else named[detect],
                size=size,
                min_confidence=min_confidence,
                workers=corpus.workers,
                progress=progress,
            )
    except KeyboardInterrupt:
        click.echo(f"{output}: interrupted; call again to go on", err=True)
        ctx.exit(130)
    _print_card(card, output)
    ctx.exit(1 if _failures(card, strict=strict) else 0)


@command.command("lists")
@click.argument("folder", required=False)
@click.option("--dataset", "name", metavar="NAME", help="Join the lists to this dataset, and report what does not fit.")
@click.option("--data", metavar="DIR", help="Folder of the dataset.")
@click.option("--split", type=click.Choice(SPLITS), help="Split to join to; the one the authors used if not given.")
@click.option("--strict", is_flag=True, help="Let every finding fail, but for notes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def lists(
    ctx: click.Context,
    folder: str | None,
    name: str | None,
    data: str | None,
    split: str | None,
    strict: bool,
    as_json: bool,
) -> None:
    """Say where challenge lists are published, or what a FOLDER of them has.

    Of each list in FOLDER: whose it is, its numbers beside the published ones, and codes in it that are not known;
    which published lists are not there; and why other files are none. With --dataset and --data, each line is joined
    to the dataset.

    Exit code: 0, or 1 if a list cannot be joined, or with --strict anything does not fit.
    """
    if folder is None:
        if name or data or split or strict:
            raise click.UsageError(
                "--dataset, --data, --split and --strict are about lists that you have; name their FOLDER"
            )
        _print_published(as_json)
        return
    if (name is None) != (data is None):
        raise click.UsageError("--dataset and --data belong together")
    if split is not None and name is None:
        raise click.UsageError("--split is of a dataset; give --dataset and --data, too")
    from regionfer.datasets.list_survey import survey_lists

    survey = survey_lists(folder)
    joined: _Joined = {}
    failed: _Failed = {}
    if name is not None and data is not None:
        joined, failed = _join(survey, name, data, split)
    if as_json:
        values = [
            found.to_dict()
            | {
                "subset_report": joined[found].to_dict() if found in joined else None,
                "error": failed.get(found),
            }
            for found in survey.lists
        ]
        others = [{"file": str(path), "reason": reason} for path, reason in survey.others.items()]
        absent = [
            {"corpus": corpus, "subset": subset, **vars(official)}
            for (corpus, subset), official in survey.absent.items()
        ]
        click.echo(json.dumps({"lists": values, "others": others, "absent": absent}, indent=2))
    else:
        _print_survey(survey, joined, failed)
    foreign = bool(name and data and survey.lists and not joined and not failed)
    if foreign:
        click.echo(
            f"error: {folder}: expected lists of {name}, found only those of "
            f"{', '.join(dict.fromkeys(found.corpus for found in survey.lists))}; nothing was joined",
            err=True,
        )
    issues = [issue for subset in joined.values() for issue in subset.issues if issue.severity != "note"]
    off = any(found.as_published is False or found.findings for found in survey.lists)
    ctx.exit(1 if failed or foreign or not survey.lists or (strict and (issues or off)) else 0)


def _join(survey: "Survey", name: str, data: str, split: str | None) -> tuple[_Joined, _Failed]:
    """Join each list of this corpus; and the errors of those that cannot be joined."""
    from regionfer.datasets import read_dataset, read_subset
    from regionfer.errors import DatasetError

    manifest = read_dataset(name, data)
    joined: _Joined = {}
    failed: _Failed = {}
    for found in survey.lists:
        if not manifest.dataset.startswith(found.corpus):
            continue
        wanted = split or (None if found.official is None else found.official.split)
        try:
            part = manifest if wanted is None else manifest.split(wanted)
            joined[found] = read_subset(found.path, part, name=found.subset)
        except DatasetError as error:
            failed[found] = str(error)
    return joined, failed


def _print_check(report: "CheckReport", corpus: _Corpus) -> None:
    origin = f", prepared from {report.root}" if corpus.name == "prepared" else ""
    click.echo(plain(f"{report.dataset} ({report.protocol}) in {corpus.data}{origin}"))
    if report.sizes is not None:
        smallest, largest = (f"{width} x {height}" for width, height in report.sizes)
        span = smallest if smallest == largest else f"{smallest} to {largest}"
        click.echo(f"{counted(report.images_read, 'image')} read, {span} pixels")
    rows = [["images listed", *map(_listed, report.splits)], ["kept", *map(_kept, report.splits)]]
    labels = dict.fromkeys(label for split in report.splits for label in split.classes)
    rows += [[f"  {label}", *(_class(split, label) for split in report.splits)] for label in labels]
    reasons = dict.fromkeys(reason for split in report.splits for reason in split.dropped)
    rows += [[f"dropped: {r}", *(f"{split.dropped.get(r, 0):,}" for split in report.splits)] for r in reasons]
    reasons = dict.fromkeys(reason for split in report.splits for reason in split.misses)
    rows += [[f"gave no face: {r}", *(f"{split.misses.get(r, 0):,}" for split in report.splits)] for r in reasons]
    _print_columns(["", *(split.split for split in report.splits)], rows)
    for finding in report.findings:
        _print_finding(finding)
    kinds = [finding.severity for finding in report.findings]
    if "error" in kinds:
        verdict = "not as it should be"
    else:
        verdict = "whole, but look at the warnings" if "warning" in kinds else "as it should be"
    click.echo(f"{verdict}: {counted(kinds.count('error'), 'error')}, {counted(kinds.count('warning'), 'warning')}")


def _listed(split: "SplitReport") -> str:
    return _beside(split.listed, None if split.official is None else split.official.listed)


def _kept(split: "SplitReport") -> str:
    return _beside(split.kept, None if split.official is None else split.official.kept)


def _class(split: "SplitReport", label: str) -> str:
    official = None if split.official is None else split.official.classes.get(label)
    return _beside(split.classes.get(label, 0), official)


def _beside(found: int, official: int | None) -> str:
    return f"{found:,}" if official is None else f"{found:,} of {official:,}"


def _print_finding(finding: "Finding") -> None:
    place = "" if finding.line is None else f"line {finding.line}: "
    click.echo(plain(f"{finding.severity}: {place}{finding.text}"))
    if finding.line is None:
        for example in finding.examples:
            click.echo(plain(f"    {example}"))
        if finding.examples and finding.count > len(finding.examples):
            click.echo("    ...")


def _print_card(card: "PreparedCard", folder: str) -> None:
    misses = "".join(f", {count:,} x {reason}" for reason, count in card.misses.items())
    faces = f"{counted(card.faces, 'face')} of {counted(card.images, 'image')}"
    click.echo(f"{folder}: {faces}, {card.size} x {card.size} pixels{misses}")
    if card.misses:
        click.echo(f"{folder}/misses.csv lists the images without a face, with reasons")


def _failures(card: "PreparedCard", *, strict: bool) -> int:
    from regionfer.preparation import FACELESS

    # A photo in which no face is found was read all the same.
    harmless = frozenset[str]() if strict else FACELESS
    return sum(count for reason, count in card.misses.items() if reason not in harmless)


def _print_published(as_json: bool) -> None:
    from regionfer.datasets.official import CHALLENGES, LISTS_ADDRESS

    if as_json:
        values = {corpus: {name: vars(found) for name, found in named.items()} for corpus, named in CHALLENGES.items()}
        click.echo(json.dumps({"address": LISTS_ADDRESS, "lists": values}, indent=2))
        return
    click.echo("The authors of Region Attention Networks publish the lists of occluded, turned and all test faces at")
    click.echo(f"    {LISTS_ADDRESS}")
    click.echo("which names no licence, so they are not part of regionfer: clone it, or download these files.\n")
    rows = [
        [corpus, name, found.split, f"{found.entries:,}", f"{found.images:,}", found.path]
        for corpus, named in CHALLENGES.items()
        for name, found in named.items()
    ]
    _print_columns(["corpus", "subset", "of split", "entries", "images", "file"], rows)
    click.echo("\n'regionfer data lists FOLDER' looks through a copy; with --dataset and --data it joins the lists.")
    click.echo("A list is used as 'regionfer evaluate ... --subset occlusion=FILE'.")


def _print_survey(survey: "Survey", joined: _Joined, failed: _Failed) -> None:
    rows = [
        [
            found.corpus,
            found.subset,
            _counted(found),
            f"{found.images:,}",
            _verdict(found),
            str(survey.relative(found.path)),
        ]
        for found in survey.lists
    ]
    click.echo(plain(f"{survey.folder}: {counted(len(rows), 'list')}"))
    _print_columns(["corpus", "subset", "entries", "images", "published", "file"], rows)
    for found in survey.lists:
        if found not in joined:  # else its issues are printed below
            for finding in found.findings:
                click.echo(plain(f"{finding.severity}: {survey.relative(found.path)}: {finding.text}"))
    for (corpus, subset), official in survey.absent.items():
        text = f"not here: {corpus} {subset}, {official.entries:,} entries, published as {official.path}"
        click.echo(text)
    for joint in joined.values():
        click.echo(f"\n{plain(str(joint.path))}\n{joint.summary()}")
        for issue in joint.issues:
            _print_finding(issue)
    for text in failed.values():
        click.echo(plain(f"\nerror: {text}"))
    _print_others(survey)


def _print_others(survey: "Survey") -> None:
    """Files that are no lists, those of one reason in one line; all of them are in the JSON."""
    alike: dict[str, list[Path]] = {}
    for path, reason in survey.others.items():
        alike.setdefault(reason, []).append(path)
    if alike:
        click.echo("\nno lists:" if survey.lists else "no lists; looked at:")
    for reason, paths in alike.items():
        names = ", ".join(str(survey.relative(path)) for path in paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN:,} more" if len(paths) > _SHOWN else ""
        click.echo(plain(f"    {names}{more}: {reason}"))


def _counted(found: "FoundList") -> str:
    return f"{found.entries:,}" + (f" + {found.unreadable:,} unreadable" if found.unreadable else "")


def _verdict(found: "FoundList") -> str:
    if found.official is None:
        return "-"
    return (
        "as published"
        if found.as_published
        else f"{found.official.entries:,} entries, {found.official.images:,} images"
    )


def _print_columns(header: list[str], rows: list[list[str]]) -> None:
    """A table with two blanks between columns; numbers stand to the right."""
    if not rows:
        return
    table = [header, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(header))]
    right = [all(row[column][:1].isdigit() for row in rows) for column in range(len(header))]
    for row in table:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        ]
        click.echo(plain("  ".join(cells).rstrip()))
