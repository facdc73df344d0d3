"""AffectNet (Mollahosseini, Hasani and Mahoor, 2017, arXiv:1708.03985), the manually annotated part.

Two releases are read:

- the tables ``training.csv`` and ``validation.csv`` (subDirectory_filePath, face box, 68 landmarks, expression,
  valence, arousal; with or without a header), with the photos in ``Manually_Annotated_Images/``. Faces have to be
  cut out;
- the newer folders ``train_set`` and ``val_set``, with 224 x 224 crops in ``images/N.jpg`` and, in ``annotations/``,
  ``N_exp.npy``, ``N_lnd.npy``, ``N_val.npy`` and ``N_aro.npy``, whose values may be numbers or text.

Images whose expression is "none", "uncertain" or "no face" are dropped, and with seven classes those of contempt.
Challenge lists name images of the tables; the folders renamed all images, so the lists cannot be joined to them.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.codes import AFFECTNET, SEVEN
from regionfer.datasets.layout import choose_splits, first_existing, image_names, joined, relative, wrong_folder
from regionfer.datasets.manifest import Dropped, Manifest, one_hot
from regionfer.datasets.tables import read_table
from regionfer.errors import DatasetError
from regionfer.labels import LABELS

COLUMNS = (
    "subDirectory_filePath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
TABLES = {"train": "training.csv", "valid": "validation.csv"}
FOLDERS = {"train": "train_set", "valid": "val_set"}

_TABLE_PLACES = ("", "Manually_Annotated_file_lists/", "Manually_Annotated/", "Manually_Annotated/file_lists/")
_IMAGE_PLACES = (
    "Manually_Annotated_Images",
    "Manually_Annotated/Manually_Annotated_Images",
    "Manually_Annotated_compressed/Manually_Annotated_Images",
)
_NOT_GIVEN = -2.0  # stands for no valence or arousal


def read_affectnet(root: str | Path, *, classes: int = 8, splits: Collection[str] | None = None) -> Manifest:
    """Read AffectNet, in either release.

    Args:
        root: the folder with the tables and the photos, or with ``train_set`` and ``val_set``.
        classes: 8, or 7 without contempt.
        splits: only these, of "train" and "valid".

    Returns:
        A manifest with boxes (tables only), landmarks, and attributes "valence" and "arousal" in -1..1, NaN where they
        are not given.

    Raises:
        DatasetError: neither release is there, a row or an annotation has another form, or a split is missing.
        ValueError: ``classes`` is neither 7 nor 8.
    """
    if classes not in (7, 8):
        raise ValueError(f"AffectNet has 7 or 8 classes, got {classes}")
    root = Path(root)
    names = LABELS if classes == 8 else SEVEN
    tables = {split: first_existing(root, (place + name for place in _TABLE_PLACES)) for split, name in TABLES.items()}
    found = {split: table for split, table in tables.items() if table is not None}
    if found:
        return _read_tables(root, choose_splits(root, "AffectNet", found, splits), names)
    folders = {split: root / name for split, name in FOLDERS.items() if (root / name / "annotations").is_dir()}
    if not folders:
        expected = (
            f"{TABLES['train']} and {TABLES['valid']}, or {FOLDERS['train']}/ and {FOLDERS['valid']}/ with annotations/"
        )
        raise wrong_folder(root, "AffectNet", expected)
    return _read_folders(root, choose_splits(root, "AffectNet", folders, splits), names)


def has_new_names(manifest: Manifest) -> bool:
    """Whether a manifest is of the folder release, or prepared from it: there images have numbers for names."""
    if not manifest.dataset.startswith("AffectNet") or not len(manifest):
        return False
    place, _, name = str(manifest.names[0]).rpartition("/")
    return place.endswith("images") and os.path.splitext(name)[0].isdecimal()  # noqa: PTH122


@dataclass
class _Rows:
    """Rows as they are read; images without an expression of interest go to ``dropped``."""

    classes: Sequence[str]
    names: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    boxes: list[NDArray[np.float32]] = field(default_factory=list)
    landmarks: list[NDArray[np.float32]] = field(default_factory=list)
    affect: list[tuple[float, float]] = field(default_factory=list)
    dropped: list[tuple[str, str, str]] = field(default_factory=list)

    def keeps(self, name: str, split: str, expression: str) -> bool:
        """Take note of an image; False if it is dropped."""
        if expression not in self.classes:
            self.dropped.append((name, split, expression))
            return False
        self.names.append(name)
        self.splits.append(split)
        self.labels.append(self.classes.index(expression))
        return True

    def manifest(self, root: Path, *, crops: bool) -> Manifest:
        labels = np.array(self.labels, dtype=np.int64)
        affect = np.array(self.affect, dtype=np.float32).reshape(-1, 2)
        return Manifest(
            dataset=f"AffectNet-{len(self.classes)}",
            protocol=f"manual annotations, {len(self.classes)} classes",
            root=root,
            names=np.array(self.names, dtype=np.str_),
            labels=labels,
            targets=one_hot(labels, len(self.classes)),
            splits=np.array(self.splits, dtype=np.str_),
            classes=tuple(self.classes),
            boxes=None if crops else np.array(self.boxes, dtype=np.float32).reshape(-1, 4),
            landmarks=np.array(self.landmarks, dtype=np.float32).reshape(-1, 5, 2),
            attributes=MappingProxyType({"valence": affect[:, 0], "arousal": affect[:, 1]}),
            crops=crops,
            dropped=Dropped.of(self.dropped),
        )


def _read_tables(root: Path, tables: Mapping[str, Path], classes: Sequence[str]) -> Manifest:
    images = first_existing(root, _IMAGE_PLACES)
    if images is None:
        raise wrong_folder(root, "AffectNet", f"{_IMAGE_PLACES[0]}/ beside {next(iter(tables.values())).name}")
    place = relative(images, root)
    rows = _Rows(classes)
    for split, path in tables.items():
        for line, row in read_table(path, COLUMNS, columns=COLUMNS).rows:
            name = joined(place, row["subDirectory_filePath"].replace("\\", "/"))
            expression = _expression(row["expression"], f"{path}, line {line}")
            if rows.keeps(name, split, expression):
                rows.boxes.append(_box([row[column] for column in COLUMNS[1:5]]))
                rows.landmarks.append(_five_landmarks(row["facial_landmarks"].split(";")))
                rows.affect.append((_affect(row["valence"]), _affect(row["arousal"])))
    return rows.manifest(root, crops=False)


def _read_folders(root: Path, folders: Mapping[str, Path], classes: Sequence[str]) -> Manifest:
    rows = _Rows(classes)
    for split, folder in folders.items():
        suffixes = {Path(name).stem: Path(name).suffix for name in image_names(folder / "images")}
        for stem in _annotated(folder / "annotations"):
            name = f"{folder.name}/images/{stem}{suffixes.get(stem, '.jpg')}"
            path = folder / "annotations" / f"{stem}_exp.npy"
            expression = _expression(str(_load(path)).strip(), str(path))
            if rows.keeps(name, split, expression):
                landmarks, valence, arousal = (
                    _load(path.with_name(f"{stem}_{kind}.npy"), missing=np.nan) for kind in ("lnd", "val", "aro")
                )
                rows.landmarks.append(_five_landmarks(landmarks.ravel().tolist()))
                rows.affect.append((_affect(valence), _affect(arousal)))
    return rows.manifest(root, crops=True)


def _annotated(folder: Path) -> list[str]:
    """Stems of a folder's expressions, in the order of their numbers."""
    with os.scandir(folder) as entries:
        stems = [e.name.removesuffix("_exp.npy") for e in entries if e.name.endswith("_exp.npy")]
    return sorted(stems, key=lambda stem: (len(stem), stem))


def _load(path: Path, *, missing: float | None = None) -> NDArray[np.generic]:
    """An annotation; never unpickled."""
    try:
        values: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        if missing is None:
            raise
        return np.array(missing)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path}: expected an array of numbers or text, found: {error}") from error
    return values


def _expression(code: str, where: str) -> str:
    try:
        number = float(code)  # some copies were saved by a spreadsheet as 3.0
        if number != int(number) or not 0 <= number < len(AFFECTNET):
            raise ValueError(code)
    except (ValueError, OverflowError) as error:
        expected = f"0 {AFFECTNET[0]} to {len(AFFECTNET) - 1} {AFFECTNET[-1]}"
        raise DatasetError(f"{where}: expected an expression from {expected}, found {code!r}") from error
    return AFFECTNET[int(number)]


def _box(cells: Iterable[str]) -> NDArray[np.float32]:
    """x1 y1 x2 y2 of x, y, width and height; NaN for the NULL or -1 of images without a face."""
    try:
        x, y, width, height = (float(cell) for cell in cells)
    except ValueError:
        return _NO_BOX
    if not (width > 0 and height > 0):
        return _NO_BOX
    return np.array([x, y, x + width, y + height], dtype=np.float32)


_NO_BOX = np.full(4, np.nan, dtype=np.float32)
_NO_LANDMARKS = np.full((5, 2), np.nan, dtype=np.float32)


def _five_landmarks(cells: Sequence[object]) -> NDArray[np.float32]:
    """Eyes, nose tip and mouth corners of the usual 68 points, given as x, y, x, y and so on."""
    try:
        points = np.array(cells, dtype=np.float32).reshape(68, 2)
    except ValueError:
        return _NO_LANDMARKS
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


def _affect(value: object) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return float("nan")
    return float("nan") if number <= _NOT_GIVEN else number
