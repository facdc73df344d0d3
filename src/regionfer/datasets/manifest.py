"""The one type that every dataset reader gives, and its faces as one array."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.errors import DatasetError
from regionfer.images import read_image
from regionfer.labels import LABELS


@dataclass(frozen=True, eq=False)
class Manifest:
    """The n labelled faces of a corpus.

    Attributes:
        dataset: name of the corpus.
        protocol: the rule by which images were kept and labelled.
        root: folder that ``names`` are relative to.
        names: (n,) str, image files.
        labels: (n,) int64, index into ``classes``.
        targets: (n, C) float32, label distributions, rows sum to 1.
        splits: (n,) str, "train", "valid" or "test".
        classes: C class names, in column order.
        pixels: (n, H, W) uint8 grey or (n, H, W, 3) uint8 RGB, where the corpus keeps images in a table; else None.
        boxes: (n, 4) float32 face boxes, x1 y1 x2 y2 pixels of the image, or None for images that are faces already.
        landmarks: (n, 5, 2) float32, x y pixels of the image, in the order of `regionfer.regions.LANDMARKS`, or None.
    """

    dataset: str
    protocol: str
    root: Path
    names: NDArray[np.str_]
    labels: NDArray[np.int64]
    targets: NDArray[np.float32]
    splits: NDArray[np.str_]
    classes: tuple[str, ...] = LABELS
    pixels: NDArray[np.uint8] | None = None
    boxes: NDArray[np.float32] | None = None
    landmarks: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.names)
        for field in self._columns():
            if len(getattr(self, field)) != n:
                raise ValueError(f"{field} must have {n} rows, as names has, got {len(getattr(self, field))}")
        if self.targets.shape != (n, len(self.classes)):
            raise ValueError(f"targets must have shape {(n, len(self.classes))}, got {self.targets.shape}")

    def __len__(self) -> int:
        return len(self.names)

    def _columns(self) -> list[str]:
        return [f.name for f in fields(self) if isinstance(getattr(self, f.name), np.ndarray)]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Manifest":
        """The manifest of some rows, in their order."""
        return replace(self, **{field: getattr(self, field)[rows] for field in self._columns()})

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

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Number of images by split and class."""
        return {
            str(split): {
                name: int(((self.splits == split) & (self.labels == index)).sum())
                for index, name in enumerate(self.classes)
            }
            for split in np.unique(self.splits)
        }


def load_faces(manifest: Manifest, size: int) -> NDArray[np.uint8]:
    """Decode all faces of a manifest into one array.

    Args:
        manifest: its images must be face crops.
        size: side in pixels; images of another size are resized, by area when they shrink.

    Returns:
        (n, size, size, 3) uint8 RGB.

    Raises:
        ImageError: an image is missing or unreadable.
    """
    faces = np.empty((len(manifest), size, size, 3), dtype=np.uint8)

    def load(row: int) -> None:
        if manifest.pixels is None:
            image = read_image(manifest.root / str(manifest.names[row]))
        else:
            image = manifest.pixels[row]
            image = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
        faces[row] = resize_face(image, size)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Consuming the results raises the first failure here.
        for _ in pool.map(load, range(len(manifest)), chunksize=64):
            pass
    return faces


def resize_face(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize (H, W, 3) to (size, size, 3), without aliasing when it shrinks."""
    if image.shape[:2] == (size, size):
        return image
    method = cv2.INTER_AREA if min(image.shape[:2]) > size else cv2.INTER_LINEAR
    resized: NDArray[np.uint8] = cv2.resize(image, (size, size), interpolation=method).astype(np.uint8, copy=False)
    return resized
