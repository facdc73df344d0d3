"""FERPlus (Barsoum et al., 2016, arXiv:1608.01041): FER2013's faces with ten crowd votes each.

Two layouts are read:

- the folders that Microsoft's FER+ scripts write: ``FER2013Train``, ``FER2013Valid``, ``FER2013Test``, each with
  48 x 48 grey PNG files and a ``label.csv`` of name, box and ten vote counts, with or without a header; rows without
  a name are passed over, as in the second layout, and files of another suffix are found;
- the original pair of tables, ``fer2013.csv`` (emotion, pixels, Usage) and ``fer2013new.csv`` (usage, name, votes).

The majority protocol is the one of the RAN paper's lists: votes of 1 or less are dropped, and an image is kept if one
of the eight classes has more than half of the votes that remain, "unknown" and "not a face" counted among them.
It leaves 25,045 training, 3,191 validation and 3,137 test images.

Images of which the votes say that they show an expression, but not by majority which one, are no test for anybody; to
learn from, their shares are as good as others. On request they come along, as splits of their own.

Of lines that name an image again the first counts; the manifest's findings tell of the others.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.findings import Finding
from regionfer.datasets.layout import as_stored, choose_splits, wrong_folder
from regionfer.datasets.manifest import DIVIDED, Dropped, Manifest, and_divided
from regionfer.datasets.repeats import first_lines
from regionfer.datasets.tables import read_cells
from regionfer.errors import DatasetError
from regionfer.labels import LABELS, canonical_label

FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
USAGES = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
VOTES = (*LABELS, "unknown", "not a face")
SIDE = 48
PROTOCOL = "majority"


def majority(votes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float32]]:
    """Apply the majority protocol.

    Args:
        votes: (n, 10) counts, columns as ``VOTES``.

    Returns:
        (n,) which images are kept; (n,) their label; (n, 8) the cleaned vote shares of the eight classes, rows that are
        kept sum to 1.

    >>> kept, label, shares = majority(np.array([[1, 6, 3, 0, 0, 0, 0, 0, 0, 0], [5, 0, 0, 5, 0, 0, 0, 0, 0, 0]]))
    >>> kept.tolist(), int(label[0]), [f"{share:.2f}" for share in shares[0, 1:3]]
    ([True, False], 1, ['0.67', '0.33'])
    """
    cleaned = np.where(votes > 1, votes, 0)
    label = cleaned.argmax(1)
    kept = (2 * cleaned.max(1) > cleaned.sum(1)) & (label < len(LABELS))
    expressions = cleaned[:, : len(LABELS)].astype(np.float32)
    shares = expressions / np.maximum(expressions.sum(1, keepdims=True), 1)
    return kept, label, shares


def divided(votes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images, (n,), show an expression by majority, but none of the eight has it.

    Args:
        votes: (n, 10) counts, columns as ``VOTES``.

    >>> divided(np.array([[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [2, 2, 0, 0, 0, 0, 0, 0, 6, 0]])).tolist()
    [True, False]
    """
    cleaned = np.where(votes > 1, votes, 0)
    kept, _, _ = majority(votes)
    shown: NDArray[np.bool_] = ~kept & (2 * cleaned[:, : len(LABELS)].sum(1) > cleaned.sum(1))
    return shown


def read_ferplus(root: str | Path, *, splits: Collection[str] | None = None, with_divided: bool = False) -> Manifest:
    """Read FERPlus from a folder, in either layout, with the majority protocol.

    Args:
        root: the folder with ``FER2013Train`` and so on, or with the two tables.
        splits: only these, of "train", "valid" and "test".
        with_divided: whether images without a majority come along, as splits "train-divided" and so on; their label is
            the expression with the most votes, the first of several. ``splits`` may then name "train-divided", for
            these alone, and "train" brings them along.

    Returns:
        A manifest of all splits that are there. Images in a table come along as pixels.

    Raises:
        DatasetError: neither layout is there, a table has a row of another form, or a split is missing or has no
            image left.
    """
    root = Path(root)
    bases = None if splits is None else dict.fromkeys(s.removesuffix(DIVIDED) if with_divided else s for s in splits)
    present = {split: root / folder for split, folder in FOLDERS.items() if (root / folder / "label.csv").is_file()}
    if present:
        bare = {s: folder for s, folder in FOLDERS.items() if s not in present and (root / folder).is_dir()}
        if wanted := [folder for split, folder in bare.items() if split in (bases or ())]:
            raise _without_table(root / wanted[0])
        manifest = _read_folders(root, choose_splits(root, "FERPlus", present, bases), with_divided)
        if bases is None:
            manifest = replace(manifest, findings=(*_bare_findings(bare), *manifest.findings))
        return manifest if splits is None else _chosen(manifest, splits)
    if (root / "fer2013.csv").is_file() and (root / "fer2013new.csv").is_file():
        manifest = _read_tables(root, with_divided)
        listed = {*manifest.splits.tolist(), *manifest.dropped.splits.tolist()}
        choose_splits(root, "FERPlus", {s: s for s in FOLDERS if listed.intersection(and_divided([s]))}, bases)
        return manifest if splits is None else _chosen(manifest, splits)
    if folders := [folder for folder in FOLDERS.values() if (root / folder).is_dir()]:
        raise _without_table(root / folders[0])
    raise wrong_folder(
        root,
        "FERPlus",
        f"folders {', '.join(FOLDERS.values())} with a label.csv each, or fer2013.csv and fer2013new.csv",
    )


def _without_table(folder: Path) -> DatasetError:
    return DatasetError(f"{folder}: expected label.csv in it, with name, box and {len(VOTES)} votes a line")


def _bare_findings(bare: Mapping[str, str]) -> Iterator[Finding]:
    """Folders of splits without their table, which are passed over where other splits have one."""
    for split, folder in bare.items():
        text = f"{split}: the folder {folder} has no label.csv, so none of its images is read"
        yield Finding("split", text, splits=(split,))


def _chosen(manifest: Manifest, splits: Collection[str]) -> Manifest:
    """Splits and what is left out of them; a split brings its images of divided votes along."""
    for split in splits:
        if not np.isin(manifest.splits, and_divided([split])).any():
            rule = "none has divided votes" if split.endswith(DIVIDED) else "none is kept by the majority protocol"
            raise DatasetError(f"{manifest.root}: FERPlus has no image in split {split} here: {rule}")
    wanted = and_divided(splits)
    rows = np.isin(manifest.splits, wanted)
    return replace(manifest.select(rows), dropped=manifest.dropped.of_splits(wanted))


def _read_folders(root: Path, folders: Mapping[str, Path], with_divided: bool) -> Manifest:
    names: list[str] = []
    votes: list[list[int]] = []
    splits: list[str] = []
    findings: list[Finding] = []
    for split, folder in folders.items():
        table = folder / "label.csv"
        lines, listed, counts = _read_labels(table)
        said, place = [tuple(row) for row in counts], f"{folder.name}/{table.name}"
        rows, repeated = first_lines(listed, said, lines, place, [split] * len(listed))
        findings += repeated
        votes += [counts[row] for row in rows]
        names += [f"{folder.name}/{name}" for name in as_stored(folder, [listed[row] for row in rows])]
        splits += [split] * len(rows)
    return _manifest(root, names, votes, splits, with_divided, findings)


def _read_labels(table: Path) -> tuple[list[int], list[str], list[list[int]]]:
    """Line, name and votes of each row."""
    lines: list[int] = []
    names: list[str] = []
    votes: list[list[int]] = []
    for line, row in read_cells(table, ","):
        if len(row) != 2 + len(VOTES):
            raise DatasetError(f"{table}, line {line}: expected name, box and {len(VOTES)} votes, found {row}")
        if not lines and _is_header(row, f"{table}, line {line}"):
            continue
        name = row[0].strip()
        if name:  # without one it is an image that the FER+ authors dropped from their table
            votes.append(_counts(row[2:], table, line))
            names.append(name)
            lines.append(line)
    if not lines:
        raise DatasetError(f"{table}: expected a line an image, found none")
    return lines, names, votes


def _is_header(row: list[str], where: str) -> bool:
    """Whether a first row names the columns: none of its votes is a number. They must be in the usual order."""
    if any(cell.strip().isdecimal() for cell in row[2:]):
        return False
    for cell, expected in zip(row[2:], VOTES, strict=True):
        found = _vote_name(cell)
        if found != expected:
            raise DatasetError(
                f"{where}: expected votes for {', '.join(VOTES)} in this order, found {cell.strip()!r} in the place of "
                f"{expected!r}; put the columns in this order, or take the header out if it is wrong"
            )
    return True


def _vote_name(cell: str) -> str:
    name = cell.strip()
    if name.casefold() == "nf":
        return "not a face"
    try:
        return canonical_label(name)
    except ValueError:
        return name.casefold()


def _read_tables(root: Path, with_divided: bool) -> Manifest:
    """Join the two tables line by line; images without a name were dropped by the FER+ authors."""
    pixels_table, votes_table = root / "fer2013.csv", root / "fer2013new.csv"
    names: list[str] = []
    lines: list[int] = []
    votes: list[list[int]] = []
    splits: list[str] = []
    pixels: list[NDArray[np.uint8]] = []
    pixel_rows, vote_rows = read_cells(pixels_table, ","), read_cells(votes_table, ",")
    _require_header(pixels_table, pixel_rows, 3, "emotion, pixels, Usage")
    _require_header(votes_table, vote_rows, 2 + len(VOTES), f"Usage, Image name, {', '.join(VOTES)}")
    try:
        for (line, picture), (_, row) in zip(pixel_rows, vote_rows, strict=True):
            if len(picture) != 3:
                raise DatasetError(f"{pixels_table}, line {line}: expected 3 columns, found {len(picture)}")
            if len(row) != 2 + len(VOTES):
                raise DatasetError(f"{votes_table}, line {line}: expected {2 + len(VOTES)} columns, found {len(row)}")
            if row[0] not in USAGES or picture[2] != row[0]:
                raise DatasetError(
                    f"{votes_table}, line {line}: expected the usage of the same line of {pixels_table.name}, "
                    f"{picture[2]!r}, one of {', '.join(USAGES)}; found {row[0]!r}"
                )
            if not row[1]:
                continue
            names.append(row[1])
            lines.append(line)
            votes.append(_counts(row[2:], votes_table, line))
            splits.append(USAGES[row[0]])
            pixels.append(_pixels(picture[1], pixels_table, line))
    except ValueError as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(f"{root}: fer2013.csv and fer2013new.csv have different numbers of lines") from error
    said = [(split, *row) for split, row in zip(splits, votes, strict=True)]
    rows, findings = first_lines(names, said, lines, votes_table.name, splits)
    faces = np.array(pixels, dtype=np.uint8).reshape(-1, SIDE, SIDE)
    return _manifest(
        root,
        [names[row] for row in rows],
        [votes[row] for row in rows],
        [splits[row] for row in rows],
        with_divided,
        findings,
        faces[rows],
    )


def _require_header(table: Path, rows: Iterator[tuple[int, list[str]]], columns: int, expected: str) -> None:
    _, header = next(rows, (0, []))
    if len(header) != columns:
        found = ", ".join(header) or "nothing"
        raise DatasetError(f"{table}: expected {columns} columns: {expected}; found {len(header)}: {found}")


def _manifest(
    root: Path,
    names: list[str],
    votes: list[list[int]],
    splits: list[str],
    with_divided: bool,
    findings: Sequence[Finding],
    pixels: NDArray[np.uint8] | None = None,
) -> Manifest:
    counts = np.array(votes, dtype=np.int64).reshape(-1, len(VOTES))
    kept, labels, targets = majority(counts)
    columns = np.array(names, dtype=np.str_), np.array(splits, dtype=np.str_)
    if with_divided:
        apart = divided(counts)
        labels = np.where(apart, targets.argmax(1), labels)
        columns = columns[0], np.where(apart, np.char.add(columns[1], DIVIDED), columns[1])
        kept |= apart
    return Manifest(
        dataset="FERPlus",
        protocol=PROTOCOL,
        root=root,
        names=columns[0][kept],
        labels=labels[kept],
        targets=targets[kept],
        splits=columns[1][kept],
        pixels=None if pixels is None else pixels[kept],
        dropped=Dropped(columns[0][~kept], columns[1][~kept], _reasons(counts[~kept])),
        findings=tuple(findings),
    )


def _reasons(votes: NDArray[np.int64]) -> NDArray[np.str_]:
    """Why each image is dropped: the eight classes have no majority, or something else has it."""
    cleaned = np.where(votes > 1, votes, 0)
    winner = 2 * cleaned.max(1, initial=0) > cleaned.sum(1)
    return np.where(winner, np.array(VOTES)[cleaned.argmax(1)], "no majority")


def _counts(row: list[str], table: Path, line: int) -> list[int]:
    try:
        return [int(count) for count in row]
    except ValueError as error:
        raise DatasetError(
            f"{table}, line {line}: expected {len(VOTES)} whole numbers of votes, found {row}"
        ) from error


def _pixels(text: str, table: Path, line: int) -> NDArray[np.uint8]:
    try:
        values = np.array(text.split(), dtype=np.uint8)
    except (ValueError, OverflowError) as error:
        raise DatasetError(f"{table}, line {line}: pixels must be whole numbers in 0..255") from error
    if values.size != SIDE * SIDE:
        raise DatasetError(f"{table}, line {line}: expected {SIDE * SIDE} pixels, found {values.size}")
    return values.reshape(SIDE, SIDE)
