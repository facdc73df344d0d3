"""What a face detector returns, and the protocol that any detector follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """The n faces found in one image.

    A point (x, y) is in pixels of the image as given: (0, 0) is the outer corner of the top left pixel,
    whose centre is (0.5, 0.5).

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2, inside the image.
        scores: (n,) float32, the detector's confidence in 0..1.
        landmarks: (n, 5, 2) float32, x y of image-left eye, image-right eye, nose tip, image-left and
            image-right mouth corner (``regionfer.regions.LANDMARKS``) of an upright face; may lie outside the
            image where the face does. "Left" and "right" turn with a rolled face.

    Raises:
        ValueError: shapes that disagree, or a score outside 0..1.

    >>> faces = Detections.empty()
    >>> len(faces), faces.boxes.shape
    (0, (0, 4))
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name in ("boxes", "scores", "landmarks"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float32))
        n = self.boxes.shape[0] if self.boxes.ndim else 0
        for name, expected in (("boxes", (n, 4)), ("scores", (n,)), ("landmarks", (n, 5, 2))):
            found = getattr(self, name).shape
            if found != expected:
                raise ValueError(f"{name} must have shape {expected}, got {found}")
        if not ((self.scores >= 0) & (self.scores <= 1)).all():
            raise ValueError(f"scores must be in 0..1, got {self.scores}")

    @classmethod
    def empty(cls) -> Detections:
        """No face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, chosen: int | slice | NDArray[np.bool_] | NDArray[np.intp] | list[int]) -> Detections:
        """Part of the faces; an int gives the one face, still as ``Detections``."""
        rows = np.arange(len(self))[chosen]
        rows = np.atleast_1d(rows)
        return Detections(self.boxes[rows], self.scores[rows], self.landmarks[rows])

    def __iter__(self) -> Iterator[Detections]:
        return (self[i] for i in range(len(self)))


class FaceDetector(Protocol):
    """Anything that finds faces with five landmarks."""

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Faces of one image (H, W, 3) RGB uint8, highest score first; none gives ``Detections.empty()``."""
        ...


def check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image in this package's sense.

    Raises:
        ValueError: not (H, W, 3) uint8, or without pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image must be an array (H, W, 3) of uint8 in RGB, got {found}; read files with read_image")
    if image.size == 0:
        raise ValueError(f"image has no pixels, its shape is {image.shape}")
