"""One's own faces: a folder per class, or a table.

Folders: ``happy/1.jpg``, ``calm/2.jpg``, or with the splits above them, ``train/happy/1.jpg``. Without splits, a fixed
share of each class is held out as "valid".

Table: a CSV with a header and columns ``image`` (a path, relative to the table), ``label``, and, where wanted,
``split`` (train, valid, test; val and validation are understood), ``x1``, ``y1``, ``x2``, ``y2`` (the face in the
photo, pixels). Each further column becomes an attribute, by which subsets are formed: an empty cell, 0, no or false is
outside. Of lines that name the same image, and the same face in it, the first counts.

If all labels are expressions that regionfer knows, by any of their names, they take its names and its order. Otherwise
they stay as written, in alphabetical order.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.findings import EXAMPLES, Finding
from regionfer.datasets.layout import choose_splits, folder_names, image_names, joined, relative, wrong_folder
from regionfer.datasets.manifest import SPLITS, Manifest, one_hot
from regionfer.datasets.repeats import first_lines
from regionfer.datasets.tables import read_table
from regionfer.errors import DatasetError
from regionfer.labels import LABELS, canonical_label

SPLIT_NAMES: Mapping[str, str] = MappingProxyType(
    {"train": "train", "training": "train"}
    | dict.fromkeys(("valid", "val", "validation", "dev"), "valid")
    | dict.fromkeys(("test", "testing"), "test")
)
"""Names of splits, in lower case, that are understood."""

PROTOCOL = "own labels"
VALID_SHARE = 0.2
BOX = ("x1", "y1", "x2", "y2")


def read_folder(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    valid_share: float = VALID_SHARE,
    photos: bool = False,
    splits: Collection[str] | None = None,
) -> Manifest:
    """Read a folder per class, with or without folders of splits above them.

    Args:
        root: the folder.
        classes: their names and order; found from the folders if not given.
        valid_share: share of each class that is held out where the folders have no splits; which images these are
            depends on their names alone.
        photos: the images are photos, in which faces have to be found, not face crops.
        splits: only these.

    Raises:
        DatasetError: there is no image in a folder of a class, a class is not among ``classes``, or a split is missing.
    """
    root = Path(root)
    placed = list(_placed(root))
    if not placed:
        expected = "CLASS/*.jpg, or train/CLASS/*.jpg and valid/CLASS/*.jpg, with images in them"
        raise wrong_folder(root, "a folder per class", expected)
    names, written, rows = (list(column) for column in zip(*placed, strict=True))
    known, labels = _labels(written, [str(root / name) for name in names], classes)
    if not any(rows):
        rows = _held_out(names, labels, valid_share)
    empty = list(_empty_folders(root, names))
    return _manifest(root, root.resolve().name, names, labels, known, rows, splits, crops=not photos, findings=empty)


def read_csv(
    root: str | Path,
    *,
    classes: Sequence[str] | None = None,
    valid_share: float = VALID_SHARE,
    photos: bool = False,
    splits: Collection[str] | None = None,
) -> Manifest:
    """Read a table of images.

    Args:
        root: the table, or a folder with one table in it.
        classes: their names and order; found from the column ``label`` if not given.
        valid_share: share of each class that is held out where the table has no splits.
        photos: the images are photos, in which faces have to be found, not face crops. With boxes they always are.
        splits: only these.

    Raises:
        DatasetError: the table cannot be read, lacks a column or has a cell of another form, or a split is missing.
    """
    path = _find_table(Path(root))
    table = read_table(path, ("image", "label"), optional=("split", *BOX))
    if 0 < len(lacking := [name for name in BOX if name not in table.columns]) < len(BOX):
        raise DatasetError(f"{path}: a box has the columns {', '.join(BOX)}; missing: {', '.join(lacking)}")
    read: list[tuple[int, Mapping[str, str]]] = []
    for line, row in table.rows:
        if not row["image"] or not row["label"]:
            raise DatasetError(f"{path}, line {line}: expected an image and a label, found {dict(row)}")
        read.append((line, dict(row, image=PurePosixPath(row["image"].replace("\\", "/")).as_posix())))
    if not read:
        raise DatasetError(f"{path}: expected a row an image, found only the header")
    # A photo may be there once for each face in it.
    keys = [(row["image"], *(row.get(name) for name in BOX)) for _, row in read]
    places = None if "split" not in table.columns else [_split_name(row["split"]) for _, row in read]
    said = [(row["label"], row.get("split")) for _, row in read]
    kept, findings = first_lines(keys, said, [line for line, _ in read], path.name, places)
    where = [f"{path}, line {read[index][0]}" for index in kept]
    columns = {name: [read[index][1][name] for index in kept] for name in table.columns}
    names = columns.pop("image")
    known, labels = _labels(columns.pop("label"), where, classes)
    named = columns.pop("split", None)
    rows = _held_out(names, labels, valid_share) if named is None else list(_read_splits(named, where))
    boxes = _boxes([columns.pop(name) for name in BOX], where) if set(BOX) <= columns.keys() else None
    attributes = {name: np.array(values, dtype=np.str_) for name, values in columns.items()}
    return _manifest(
        path.parent,
        path.stem,
        names,
        labels,
        known,
        rows,
        splits,
        crops=not photos and boxes is None,
        boxes=boxes,
        attributes=attributes,
        findings=findings,
    )


def _manifest(
    root: Path,
    dataset: str,
    names: Sequence[str],
    labels: NDArray[np.int64],
    classes: tuple[str, ...],
    rows: Sequence[str],
    wanted: Collection[str] | None,
    *,
    crops: bool,
    boxes: NDArray[np.float32] | None = None,
    attributes: Mapping[str, NDArray[np.str_]] = MappingProxyType({}),
    findings: Sequence[Finding] = (),
) -> Manifest:
    manifest = Manifest(
        dataset=dataset,
        protocol=PROTOCOL,
        root=root,
        names=np.array(names, dtype=np.str_),
        labels=labels,
        targets=one_hot(labels, len(classes)),
        splits=np.array(rows, dtype=np.str_),
        classes=classes,
        boxes=boxes,
        attributes=MappingProxyType(dict(attributes)),
        crops=crops,
        findings=(*findings, *_class_findings(rows, labels, classes)),
    )
    if wanted is None:
        return manifest
    found = {split: split for split in SPLITS if split in set(rows)}
    return manifest.select(np.isin(manifest.splits, list(choose_splits(root, dataset, found, wanted))))


def _class_findings(rows: Sequence[str], labels: NDArray[np.int64], classes: tuple[str, ...]) -> Iterator[Finding]:
    """Classes of which there is nothing to tell apart, or nothing in a split."""
    if len(classes) == 1:
        text = f"only one class, {classes[0]!r}: there is nothing to tell it from"
        yield Finding("one class", text, "error")
    there = np.array(rows, dtype=np.str_)
    for split in SPLITS:
        counts = np.bincount(labels[there == split], minlength=len(classes))
        if counts.any() and not counts.all():
            names = [classes[index] for index in np.flatnonzero(counts == 0)]
            yield Finding("no images", f"{split}: no image of {', '.join(names)}", count=len(names))


def _placed(root: Path) -> Iterator[tuple[str, str, str]]:
    """Name, class and split ("" if the folders have none) of each image."""
    folders = folder_names(root)
    splits = {name: SPLIT_NAMES[name.casefold()] for name in folders if name.casefold() in SPLIT_NAMES}
    # A folder of a split that has images itself is a class which happens to be called so.
    if splits and len(splits) == len(folders) and not any(image_names(root / name) for name in folders):
        for name, split in splits.items():
            yield from ((image, label, split) for image, label in _in_classes(root, root / name))
    else:
        yield from ((image, label, "") for image, label in _in_classes(root, root))


def _empty_folders(root: Path, names: Sequence[str]) -> Iterator[Finding]:
    """Folders beside those that images were found in, and have none themselves."""
    used = {str(parent) for name in names for parent in PurePosixPath(name).parents}
    beside = sorted({str(PurePosixPath(name).parent.parent) for name in names} | {"."})
    found = [joined("" if place == "." else place, name) for place in beside for name in folder_names(root / place)]
    empty = [name for name in dict.fromkeys(found) if name not in used]
    if empty:
        text = "1 folder" if len(empty) == 1 else f"{len(empty):,} folders"
        text += " without an image; images are looked for directly in the folder of a class"
        yield Finding("empty folder", text, count=len(empty), examples=tuple(f"{name}/" for name in empty[:EXAMPLES]))


def _in_classes(root: Path, folder: Path) -> Iterator[tuple[str, str]]:
    for label in folder_names(folder):
        place = relative(folder / label, root)
        yield from ((joined(place, image), label) for image in image_names(folder / label))


def _labels(
    written: Sequence[str], where: Sequence[str], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Classes, and the label of each image."""
    names = dict.fromkeys(written)
    canonical = {name: _canonical(name) for name in names}
    if classes is None:
        all_known = None not in canonical.values()
        used = {(canonical[name] or name) if all_known else name for name in names}
        known = tuple(label for label in LABELS if label in used) if all_known else tuple(sorted(used))
    else:
        known = tuple(classes)
    spelling = {name: name if name in known else canonical[name] for name in names}
    for name, place in zip(written, where, strict=True):
        if spelling[name] not in known:
            raise DatasetError(f"{place}: label {name!r} is not one of the classes {', '.join(known)}")
    numbers = {name: known.index(label) for name, label in spelling.items() if label is not None}
    return known, np.array([numbers[name] for name in written], dtype=np.int64)


def _canonical(name: str) -> str | None:
    """The name of this package for an expression, or None if it knows no such."""
    try:
        return canonical_label(name)
    except ValueError:
        return None


def _held_out(names: Sequence[str], labels: NDArray[np.int64], share: float) -> list[str]:
    """Splits that hold out a share of each class: the images whose names have the smallest hashes.

    An image with several faces is held out with all of them, as one of the class of its first.
    """
    if not 0 <= share < 1:
        raise ValueError(f"valid_share must be in 0..1, below 1, got {share}")
    images, first = np.unique(np.array(names), return_index=True)
    order = np.argsort([hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest() for name in images.tolist()])
    held_out: set[str] = set()
    for label in np.unique(labels):
        ranked = images[order[labels[first[order]] == label]]
        held_out.update(ranked[: round(share * len(ranked))].tolist())
    return ["valid" if name in held_out else "train" for name in names]


def _split_name(value: str) -> str:
    """The split that a cell names; what is not understood stays as it is."""
    return SPLIT_NAMES.get(value.casefold(), value)


def _read_splits(values: Sequence[str], where: Sequence[str]) -> Iterator[str]:
    for value, place in zip(values, where, strict=True):
        if value.casefold() not in SPLIT_NAMES:
            raise DatasetError(f"{place}: split {value!r} is not one of {', '.join(SPLITS)}")
        yield SPLIT_NAMES[value.casefold()]


def _boxes(columns: Sequence[Sequence[str]], where: Sequence[str]) -> NDArray[np.float32]:
    boxes = np.full((len(where), 4), np.nan, dtype=np.float32)
    for row, (cells, place) in enumerate(zip(zip(*columns, strict=True), where, strict=True)):
        if not any(cells):
            continue
        try:
            boxes[row] = [float(cell) for cell in cells]
        except ValueError as error:
            raise DatasetError(f"{place}: expected a box of four numbers, found {' '.join(cells)!r}") from error
    return boxes


def _find_table(root: Path) -> Path:
    if root.is_file():
        return root
    tables = sorted(root.glob("*.csv")) if root.is_dir() else []
    if len(tables) != 1:
        raise wrong_folder(root, "a table of images", "one .csv file with columns image and label")
    return tables[0]
