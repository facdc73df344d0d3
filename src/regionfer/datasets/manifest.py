"""The one type that every dataset reader gives, and its faces as one array."""

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.findings import Finding
from regionfer.errors import DatasetError, ImageError
from regionfer.images import area_resize, read_image
from regionfer.labels import LABELS
from regionfer.threads import cores

SPLITS = ("train", "valid", "test")

DIVIDED = "-divided"
"""Behind the name of a split: its images whose votes are divided between expressions, where a corpus has them apart."""

Rows = NDArray[np.bool_] | NDArray[np.intp] | slice


def and_divided(splits: Collection[str]) -> list[str]:
    """Splits, each with the one of its images of divided votes, which it brings along where there is one.

    >>> and_divided(["train"])
    ['train', 'train-divided']
    """
    return [name for split in splits for name in (split, split + DIVIDED)]


@dataclass(frozen=True, eq=False)
class Dropped:
    """The m images that a corpus lists and that are left out, by its protocol or for want of a face.

    Attributes:
        names: (m,) str, image files, relative to the manifest's root.
        splits: (m,) str.
        reasons: (m,) str, such as "no majority".
    """

    names: NDArray[np.str_]
    splits: NDArray[np.str_]
    reasons: NDArray[np.str_]

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str, str]] = ()) -> "Dropped":
        """From rows of name, split and reason.

        >>> Dropped.of([("1.jpg", "train", "no face")]).reasons.tolist()
        ['no face']
        """
        columns = np.array(rows, dtype=np.str_).reshape(-1, 3).T
        return cls(columns[0], columns[1], columns[2])

    def __len__(self) -> int:
        return len(self.names)

    def of_splits(self, splits: Collection[str]) -> "Dropped":
        """Those of some splits."""
        rows = np.isin(self.splits, list(splits))
        return Dropped(self.names[rows], self.splits[rows], self.reasons[rows])

    def counts(self, split: str) -> Mapping[str, int]:
        """Number of images of a split by reason."""
        reasons, counts = np.unique(self.reasons[self.splits == split], return_counts=True)
        return {str(reason): int(count) for reason, count in zip(reasons, counts, strict=True)}


@dataclass(frozen=True, eq=False)
class Manifest:
    """The n labelled faces of a corpus.

    Reading a corpus opens its tables, not its images: a listed image may be absent, see `missing_images`.

    Attributes:
        dataset: name of the corpus.
        protocol: the rule by which images were kept and labelled.
        root: folder that ``names`` are relative to.
        names: (n,) str, image files.
        labels: (n,) int64, index into ``classes``.
        targets: (n, C) float32, label distributions, rows sum to 1.
        splits: (n,) str, "train", "valid" or "test".
        classes: C class names, in column order.
        face_numbers: (n,) int64, number of each face among all that the corpus has of its image, from 0. Counted if not
            given; rows that are selected keep theirs, so that a face has one number in the whole and in its split.
        pixels: (n, H, W) uint8 grey or (n, H, W, 3) uint8 RGB, where the corpus keeps images in a table; else None.
        boxes: (n, 4) float32 face boxes that come with the corpus, x1 y1 x2 y2 pixels of the image; NaN where a
            face has none. None if the corpus has no boxes.
        landmarks: (n, 5, 2) float32 that come with the corpus, x y pixels of the image, in the order of
            `regionfer.regions.LANDMARKS`; NaN where a face has none. None if the corpus has no landmarks.
        attributes: what else is known of each image, (n, ...) arrays by name.
        crops: the images are face crops. Otherwise they are photos, in which the face has to be found first.
        dropped: images that the corpus lists and the protocol leaves out; they stay when rows are selected.
        misses: of a prepared corpus, images that gave no face when it was prepared; they stay likewise.
        findings: what its reader found amiss and passed over; they stay likewise.
    """

    dataset: str
    protocol: str
    root: Path
    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    splits: NDArray[np.str_]
    classes: tuple[str, ...] = LABELS
    face_numbers: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    pixels: NDArray[np.uint8] | None = None
    boxes: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    crops: bool = True
    dropped: Dropped = field(default_factory=Dropped.of)
    misses: Dropped = field(default_factory=Dropped.of)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.names)
        if not len(self.face_numbers):
            object.__setattr__(self, "face_numbers", _count_faces(self.names))
        for name, column in (self._columns() | dict(self.attributes)).items():
            if len(column) != n:
                raise ValueError(f"{name} must have {n} rows, as names has, got {len(column)}")
        if self.targets.shape != (n, len(self.classes)):
            raise ValueError(f"targets must have shape {(n, len(self.classes))}, got {self.targets.shape}")

    def __len__(self) -> int:
        return len(self.names)

    def _columns(self) -> dict[str, NDArray[Any]]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}

    def select(self, rows: Rows) -> "Manifest":
        """The manifest of some rows, in their order.

        Neighbouring rows share the memory of this manifest, so that a split of a prepared corpus stays on disk.
        """
        rows = _as_slice(rows)
        columns: dict[str, Any] = {name: column[rows] for name, column in self._columns().items()}
        attributes = MappingProxyType({name: column[rows] for name, column in self.attributes.items()})
        return replace(self, attributes=attributes, **columns)

    def split(self, name: str) -> "Manifest":
        """The rows of one split.

        Raises:
            DatasetError: the corpus, as found, has no such split.
        """
        rows = self.splits == name
        if not rows.any():
            present = ", ".join(sorted(set(self.splits.tolist()))) or "none"
            raise DatasetError(f"{self.root}: {self.dataset} has no split {name!r} here; found: {present}")
        return self.select(rows)

    def split_names(self) -> tuple[str, ...]:
        """Splits that have a row, training first, each before its images of divided votes."""
        usual = and_divided(SPLITS)
        there = {str(split) for split in np.unique(self.splits)}
        return (*(name for name in usual if name in there), *sorted(there.difference(usual)))

    @property
    def face_names(self) -> list[str]:
        """A name for each row: its image's, with the number of the face behind it where an image has several here."""
        times = Counter(self.names.tolist())
        rows = zip(self.names.tolist(), self.face_numbers.tolist(), strict=True)
        return [f"{name}, face {face}" if face or times[name] > 1 else name for name, face in rows]

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Number of images by split and class."""
        return {
            str(split): {
                name: int(((self.splits == split) & (self.labels == index)).sum())
                for index, name in enumerate(self.classes)
            }
            for split in np.unique(self.splits)
        }


def _count_faces(names: NDArray[np.str_]) -> NDArray[np.int64]:
    """How often each name was there before, (n,)."""
    seen: Counter[str] = Counter()
    numbers = np.empty(len(names), dtype=np.int64)
    for row, name in enumerate(names.tolist()):
        numbers[row] = seen[name]
        seen[name] += 1
    return numbers


def one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Label distributions (n, classes) of labels that are certain.

    >>> one_hot(np.array([1]), 3).tolist()
    [[0.0, 1.0, 0.0]]
    """
    return np.eye(classes, dtype=np.float32)[labels]


def missing_images(manifest: Manifest) -> NDArray[np.bool_]:
    """Which images of a manifest have no file, (n,). Each folder is listed once, so it is quick for any number."""
    if manifest.pixels is not None:
        return np.zeros(len(manifest), dtype=np.bool_)
    there = files_in(manifest.root, manifest.names)
    return np.array([str(name) not in there for name in manifest.names], dtype=np.bool_)


def files_in(root: Path, names: NDArray[np.str_]) -> set[str]:
    """Names, relative to the root, of all files in the folders that ``names`` are in."""
    folders = {os.path.dirname(str(name)) for name in names}  # noqa: PTH120 (Path is slow for half a million names)
    found: set[str] = set()
    for folder in folders:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(root / folder) as entries:
            found.update(f"{folder}/{e.name}" if folder else e.name for e in entries if e.is_file())
    return found


def load_faces(manifest: Manifest, size: int) -> NDArray[np.uint8]:
    """Decode all faces of a manifest into one array.

    Args:
        manifest: its images must be face crops.
        size: side in pixels; images of another size are resized, by area when they shrink.

    Returns:
        (n, size, size, 3) uint8 RGB. If the manifest has its pixels in this form, these themselves.

    Raises:
        DatasetError: the images are photos.
        ImageError: an image is missing or unreadable.
    """

    def refuse(row: int, error: ImageError) -> None:
        raise error

    return _decode(manifest, size, refuse)


@dataclass(frozen=True, eq=False)
class ReadableFaces:
    """The faces of those images of a manifest that can be read.

    Attributes:
        manifest: its rows whose image can be read.
        faces: (n, S, S, 3) uint8 RGB, theirs.
        failures: why each other image cannot be read, by its name.
    """

    manifest: Manifest
    faces: NDArray[np.uint8]
    failures: Mapping[str, str]


def load_readable_faces(manifest: Manifest, size: int) -> ReadableFaces:
    """Decode all faces of a manifest that can be read, as `load_faces` does, and note which cannot.

    Raises:
        DatasetError: the images are photos, or not one can be read.
    """
    errors: dict[int, str] = {}
    faces = _decode(manifest, size, lambda row, error: errors.update({row: str(error)}))
    failures = {str(manifest.names[row]): errors[row] for row in sorted(errors)}
    if not errors:
        return ReadableFaces(manifest, faces, failures)
    if len(errors) == len(manifest):
        raise DatasetError(
            f"{manifest.root}: none of the {len(manifest):,} listed images of {manifest.dataset} can be read; "
            f"the first: {next(iter(failures.values()))}"
        )
    rows = np.delete(np.arange(len(manifest)), list(errors))
    return ReadableFaces(manifest.select(rows), faces[rows], failures)


def _decode(manifest: Manifest, size: int, failed: Callable[[int, ImageError], None]) -> NDArray[np.uint8]:
    """Faces (n, size, size, 3); ``failed`` is called, by any thread, with each row whose image cannot be read."""
    if not manifest.crops:
        raise DatasetError(
            f"{manifest.root}: {manifest.dataset} has photos here, in which faces must be found first; "
            "run 'regionfer data prepare' and use what it writes"
        )
    if manifest.pixels is not None and manifest.pixels.shape[1:] == (size, size, 3):
        return manifest.pixels  # of a prepared corpus: they stay on the disk
    faces = np.empty((len(manifest), size, size, 3), dtype=np.uint8)

    def load(row: int) -> None:
        try:
            faces[row] = resize_face(load_image(manifest, row), size)
        except ImageError as error:
            failed(row, error)

    with ThreadPoolExecutor(cores()) as pool:
        # Consuming the results raises here what ``failed`` raised there.
        for _ in pool.map(load, range(len(manifest)), chunksize=64):
            pass
    return faces


def load_image(manifest: Manifest, row: int) -> NDArray[np.uint8]:
    """The image of a row, (H, W, 3) uint8 RGB.

    Raises:
        ImageError: it is missing or unreadable.
    """
    if manifest.pixels is None:
        return read_image(manifest.root / str(manifest.names[row]))
    image: NDArray[np.uint8] = manifest.pixels[row]
    return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image


def resize_face(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to (size, size, 3), as the recogniser does a crop."""
    return image if image.shape[:2] == (size, size) else area_resize(image, (size, size))


def _as_slice(rows: Rows) -> Rows:
    """A slice in place of rows that follow each other."""
    if isinstance(rows, slice):
        return rows
    places = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
    if len(places) and places[0] >= 0 and (np.diff(places) == 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return rows
