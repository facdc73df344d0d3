"""RAF-DB, basic expressions (Li, Deng and Du, CVPR 2017): 15,339 photos with seven expressions by 40 annotators each.

The layout of the release::

    EmoLabel/list_patition_label.txt              train_00001.jpg 5   (the file name is misspelt there)
    Image/aligned/train_00001_aligned.jpg         100 x 100 face crops
    Image/original/train_00001.jpg                the photos
    Annotation/manual/train_00001_manu_attri.txt  five landmarks of the photo, then gender, race and age
    Annotation/boundingbox/train_00001_boundingbox.txt   x1 y1 x2 y2 of the photo

The folder ``basic`` that contains these, or the one around it, may be given. The annotations may be missing.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.codes import RAFDB, SEVEN
from regionfer.datasets.findings import Finding
from regionfer.datasets.layout import choose_splits, first_existing, image_names, joined, relative, wrong_folder
from regionfer.datasets.manifest import Manifest, one_hot
from regionfer.datasets.repeats import first_lines
from regionfer.datasets.tables import read_text
from regionfer.errors import DatasetError

LISTS = tuple(
    f"{parent}{folder}list_{word}_label.txt"
    for parent in ("", "basic/")
    for folder in ("EmoLabel/", "")
    for word in ("patition", "partition")
)
GENDERS = ("male", "female", "unsure")
RACES = ("Caucasian", "African-American", "Asian")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")


def read_rafdb(
    root: str | Path,
    *,
    photos: bool = False,
    splits: Collection[str] | None = None,
) -> Manifest:
    """Read RAF-DB basic.

    Args:
        root: the folder ``basic``, or the one around it.
        photos: the original photos, with boxes and landmarks, not the face crops of the release.
        splits: only these, of "train" and "test".

    Returns:
        A manifest with attributes "gender", "race" and "age" where the manual annotations are there ("" where one is
        missing).

    Raises:
        DatasetError: the folder is not RAF-DB, a line of the list has another form, or a split is missing.
    """
    root = Path(root)
    images = "original" if photos else "aligned"
    table = first_existing(root, LISTS)
    if table is None:
        raise wrong_folder(root, "RAF-DB basic", f"{LISTS[0]} and Image/{images}/")
    base = table.parent.parent if table.parent.name == "EmoLabel" else table.parent
    folder = first_existing(base, (f"Image/{images}", images))
    if folder is None:
        raise wrong_folder(base, "RAF-DB basic", f"Image/{images}/ beside {table.relative_to(base)}")
    listed, findings = _read_list(table, relative(table, root))
    rows = choose_splits(root, "RAF-DB", listed, splits)
    stems = [stem for split in rows for stem, _ in rows[split]]
    labels = np.array([label for split in rows for _, label in rows[split]], dtype=np.int64)
    annotations = _Annotations(base / "Annotation", stems)
    return Manifest(
        dataset="RAF-DB",
        protocol=f"basic, {images} images",
        root=root,
        names=np.array(_file_names(root, folder, stems), dtype=np.str_),
        labels=labels,
        targets=one_hot(labels, len(SEVEN)),
        splits=np.repeat(np.array(list(rows), dtype=np.str_), [len(rows[split]) for split in rows]),
        classes=SEVEN,
        boxes=annotations.boxes() if photos else None,
        landmarks=annotations.landmarks if photos else None,
        attributes=MappingProxyType(annotations.people),
        crops=not photos,
        findings=findings,
    )


def _read_list(table: Path, place: str) -> tuple[dict[str, list[tuple[str, int]]], tuple[Finding, ...]]:
    """Stems and labels by split; of lines that name an image again, the first."""
    stems: list[str] = []
    labels: list[int] = []
    lines: list[int] = []
    for line, text in enumerate(read_text(table).splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        split, _, number = Path(words[0]).stem.partition("_")
        if len(words) != 2 or split not in ("train", "test") or not number:
            raise DatasetError(f"{table}, line {line}: expected a line such as 'train_00001.jpg 5', found {text!r}")
        if words[1] not in _CODES:
            expected = ", ".join(f"{code} {label}" for code, label in _CODES.items())
            raise DatasetError(f"{table}, line {line}: label {words[1]!r} is not one of {expected}")
        stems.append(Path(words[0]).stem.removesuffix("_aligned"))
        labels.append(SEVEN.index(_CODES[words[1]]))
        lines.append(line)
    if not stems:
        raise DatasetError(f"{table}: expected an image and a label a line, found an empty file")
    rows, findings = first_lines(stems, labels, lines, place, [stem.partition("_")[0] for stem in stems])
    splits: dict[str, list[tuple[str, int]]] = {}
    for row in rows:
        splits.setdefault(stems[row].partition("_")[0], []).append((stems[row], labels[row]))
    return splits, findings


_CODES = {str(code): label for code, label in enumerate(RAFDB, start=1)}


def _file_names(root: Path, folder: Path, stems: Sequence[str]) -> list[str]:
    """Image names below the root. Some copies of the crops go without ``_aligned``, some are PNG."""
    suffix = "_aligned" if folder.name == "aligned" else ""
    there = {Path(name).stem: name for name in image_names(folder)}
    place = relative(folder, root)
    return [joined(place, there.get(stem + suffix) or there.get(stem) or f"{stem}{suffix}.jpg") for stem in stems]


class _Annotations:
    """What the folder ``Annotation`` says of each image."""

    def __init__(self, folder: Path, stems: Sequence[str]) -> None:
        self._folder = folder
        self._stems = stems
        self.landmarks: NDArray[np.float32] | None = None
        self.people: dict[str, NDArray[np.str_]] = {}
        if (folder / "manual").is_dir():
            self._read_manual()

    def _read_manual(self) -> None:
        landmarks = np.full((len(self._stems), 5, 2), np.nan, dtype=np.float32)
        people = [("", "", "")] * len(self._stems)
        for row, stem in enumerate(self._stems):
            path = self._folder / "manual" / f"{stem}_manu_attri.txt"
            if path.is_file():
                numbers = _numbers(path, 13)
                landmarks[row] = numbers[:10].reshape(5, 2)
                codes = numbers[10:].astype(int)
                people[row] = (_name(GENDERS, codes[0]), _name(RACES, codes[1]), _name(AGES, codes[2]))
        self.landmarks = landmarks
        columns = np.array(people, dtype=np.str_).reshape(-1, 3).T
        self.people = dict(zip(("gender", "race", "age"), columns, strict=True))

    def boxes(self) -> NDArray[np.float32] | None:
        """Face boxes in the photos, or None without their folder."""
        folder = self._folder / "boundingbox"
        if not folder.is_dir():
            return None
        boxes = np.full((len(self._stems), 4), np.nan, dtype=np.float32)
        for row, stem in enumerate(self._stems):
            path = folder / f"{stem}_boundingbox.txt"
            if path.is_file():
                boxes[row] = _numbers(path, 4)
        return boxes


def _numbers(path: Path, count: int) -> NDArray[np.float64]:
    words = read_text(path).split()
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        numbers = np.array([])
    if len(numbers) != count:
        raise DatasetError(f"{path}: expected {count} numbers, found {' '.join(words)[:80]!r}")
    return numbers


def _name(names: Sequence[str], code: int) -> str:
    return names[code] if 0 <= code < len(names) else ""
