"""What is annotated: a folder of photos, a table that lists them, or a dataset that regionfer reads."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets import READERS, Manifest, load_image, read_dataset
from regionfer.datasets.meant import meant_face
from regionfer.datasets.tables import read_table
from regionfer.errors import DatasetError
from regionfer.images import ImageSource, find_images, read_image

PHOTOS = "photos"
"""The reader's name of images that belong to no dataset."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """The n images to annotate.

    Attributes:
        dataset: name of the dataset; of a folder, the folder's name.
        reader: as in `regionfer.annotation.table.TableCard`.
        root: folder that ``names`` are relative to; of a dataset, what its reader was given.
        names: n names of images.
        labels: n expressions, None where there is none.
        splits: n splits, None where there is none.
        first_faces: n numbers of the (first) face of each in its image: a dataset may have several faces of one photo.
        classes: the dataset's classes.
        manifest: the dataset, if it is one.
        unreadable: for each folder that could not be looked into, why.
        unread, below: as in `regionfer.images.FoundImages`.
    """

    dataset: str
    reader: str
    root: Path
    names: tuple[str, ...]
    labels: tuple[str | None, ...]
    splits: tuple[str | None, ...]
    first_faces: tuple[int, ...]
    classes: tuple[str, ...] = ()
    manifest: Manifest | None = None
    unreadable: tuple[str, ...] = ()
    unread: Mapping[str, int] = field(default_factory=dict)
    below: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def source(self, row: int) -> ImageSource:
        """The image of a row: its path, or its pixels where the dataset keeps them in a table."""
        if self.manifest is None:
            return self.root / self.names[row]
        if self.manifest.pixels is None:
            return self.manifest.root / self.names[row]
        pixels: NDArray[np.uint8] = self.manifest.pixels[row]
        return pixels

    def stamp(self, row: int) -> str:
        """What changes when the image of a row is replaced.

        Size and time of change of its file, or a hash of its pixels where the dataset keeps them in a table; and the
        box of the face, where the dataset has one.
        """
        source = self.source(row)
        box = "" if self.manifest is None or self.manifest.boxes is None else self.manifest.boxes[row].tolist()
        if isinstance(source, np.ndarray):
            return f"{sha256(source.tobytes()).hexdigest()} {box}"
        assert isinstance(source, Path)
        try:
            found = source.stat()
        except (OSError, ValueError):
            return f"absent {box}"
        return f"{found.st_size} {found.st_mtime_ns} {box}"

    def chosen(self, row: int, boxes: NDArray[np.float32]) -> list[int]:
        """Which of the faces found in an image are described: all of a photo, of a dataset the one it labels."""
        if self.manifest is None:
            return list(range(len(boxes)))
        face = meant_face(self.manifest, row, boxes)
        return [] if face is None else [face]


def read_inputs(
    place: str | Path, dataset: str | None = None, *, recursive: bool = False, splits: Collection[str] = ()
) -> Inputs:
    """The images behind a place.

    Args:
        place: a folder of photos, one photo, or a CSV with a column ``image`` (paths relative to the table) and,
            where wanted, ``label`` and ``split``; of a dataset, its folder or table.
        dataset: name of the dataset, one of `regionfer.datasets.READERS`.
        recursive: look in the folders below a folder of photos, too.
        splits: only these splits of a dataset; all if empty.

    Raises:
        DatasetError: there is no image, the table lacks a column, or the folder is not that dataset.
    """
    if not str(place):  # which Path would take for the current folder
        raise DatasetError("'': is empty; expected a folder, a photo or a table")
    place = Path(place)
    if recursive and (dataset is not None or place.is_file()):
        raise DatasetError(f"{place}: --recursive looks below a folder of photos; leave it out")
    if dataset is not None:
        return _from_manifest(place, dataset, read_dataset(dataset, place, **({"splits": splits} if splits else {})))
    if splits:
        raise DatasetError(f"{place}: splits belong to a dataset; name it with --dataset")
    if place.suffix.lower() in (".csv", ".tsv") and place.is_file():
        return _from_table(place)
    root = place if place.is_dir() else place.parent
    found = find_images(place, recursive=recursive)
    if not found.paths:
        known = f"; the folder of a dataset is named with --dataset ({', '.join(READERS)})" if place.is_dir() else ""
        raise DatasetError(f"{found.errors[0]}{known}")
    names = tuple(path.relative_to(root).as_posix() for path in found.paths)
    none, first = (None,) * len(names), (0,) * len(names)
    return Inputs(
        dataset=root.resolve().name,
        reader=PHOTOS,
        root=root.resolve(),
        names=names,
        labels=none,
        splits=none,
        first_faces=first,
        unreadable=tuple(map(str, found.errors)),
        unread=found.unread,
        below=found.below,
    )


def _from_manifest(place: Path, reader: str, manifest: Manifest) -> Inputs:
    return Inputs(
        dataset=manifest.dataset,
        reader=reader,
        root=place.resolve(),
        names=tuple(manifest.names.tolist()),
        labels=tuple(manifest.classes[label] for label in manifest.labels),
        splits=tuple(manifest.splits.tolist()),
        first_faces=tuple(manifest.face_numbers.tolist()),
        classes=manifest.classes,
        manifest=manifest,
    )


def _from_table(path: Path) -> Inputs:
    table = read_table(path, ("image",))
    rows = list(table.rows)
    if not rows:
        raise DatasetError(f"{path}: expected a row an image, found only the header")
    seen: dict[str, int] = {}
    for line, row in rows:
        if not row["image"]:
            raise DatasetError(f"{path}, line {line}: no image is named")
        # A face is known by its image and its number there, from the table to the labels by hand.
        if (first := seen.setdefault(_name(row["image"]), line)) != line:
            raise DatasetError(
                f"{path}, line {line}: image {_name(row['image'])} is in line {first} already; name each image once"
            )
    columns = {name.casefold(): [row[name] or None for _, row in rows] for name in table.columns}
    none = [None] * len(rows)
    names = tuple(seen)
    labels, splits = (tuple(columns.get(name, none)) for name in ("label", "split"))
    classes = tuple(sorted({label for label in labels if label is not None}))
    return Inputs(path.stem, PHOTOS, path.parent.resolve(), names, labels, splits, (0,) * len(names), classes)


def _name(image: str) -> str:
    return PurePosixPath(image.replace("\\", "/")).as_posix()


class ImageFinder:
    """Opens the images of a table of attributes again, by their names and the numbers of faces.

    Args:
        reader: as in the table's card.
        root: as in the table's card, or where the images are now.

    Raises:
        DatasetError: the folder is missing, or not that dataset.
    """

    def __init__(self, reader: str, root: str | Path) -> None:
        self._root = Path(root)
        self._rows: dict[tuple[str, int], int] = {}
        self._manifest: Manifest | None = None
        self._digests: dict[tuple[str, int], str] = {}
        if not self._root.exists():
            raise DatasetError(f"{root}: no such folder; say with --images where the images of this table are now")
        if reader != PHOTOS:
            self._manifest = read_dataset(reader, root)
            keys = zip(self._manifest.names.tolist(), self._manifest.face_numbers.tolist(), strict=True)
            self._rows = {key: row for row, key in enumerate(keys)}

    def open(self, name: str, face: int) -> NDArray[np.uint8]:
        """The image of a face, (H, W, 3) uint8 RGB: of a prepared dataset the picture of this face alone.

        Raises:
            ImageError: it is missing or unreadable.
            DatasetError: the dataset has no such image, or no such face of it.
        """
        if self._manifest is None:
            return read_image(self._root / name)
        if (row := self._rows.get((name, face))) is None:
            raise DatasetError(f"{self._root}: {self._manifest.dataset} has no image {name} with a face {face} here")
        return load_image(self._manifest, row)

    def digest(self, name: str, face: int) -> str:
        """`digest` of the image of a face; of a folder of photos, the photo of several faces is opened once.

        Raises:
            ImageError, DatasetError: as `open` does.
        """
        key = (name, 0 if self._manifest is None else face)
        if key not in self._digests:
            self._digests[key] = digest(self.open(name, face))
        return self._digests[key]


def digest(image: NDArray[np.uint8]) -> str:
    """Sixteen hexadecimal digits by which images of other pixels, or of another size, are told apart.

    Args:
        image: (H, W, 3) uint8.
    """
    found = sha256(str(image.shape).encode())
    found.update(np.ascontiguousarray(image).data)
    return found.hexdigest()[:16]


def is_crops(inputs: Inputs) -> bool:
    """Whether a dataset says that its images are face crops."""
    return inputs.manifest is not None and inputs.manifest.crops
