"""Which of the faces found in an image is the one that a dataset labels."""

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.manifest import Manifest

MIN_OVERLAP = 0.3
"""A found face is the one meant if its box and the dataset's share at least this much of what they cover together."""


def meant_face(manifest: Manifest, row: int, boxes: NDArray[np.float32]) -> int | None:
    """Number of the face that a row of a manifest is about; None if it was not found.

    Of a photo with a box it is the face that lies best on the box, by at least `MIN_OVERLAP`; else the largest.

    Args:
        manifest: whose row it is.
        row: of the manifest.
        boxes: (n, 4) x1 y1 x2 y2 in pixels of the row's image, of the faces found.
    """
    if len(boxes) == 0:
        return None
    if not manifest.crops and manifest.boxes is not None and np.isfinite(manifest.boxes[row]).all():
        overlap = _overlaps(boxes, manifest.boxes[row])
        return int(overlap.argmax()) if overlap.max() >= MIN_OVERLAP else None
    sides = boxes[:, 2:] - boxes[:, :2]
    return int(sides.prod(axis=1).argmax())


def _overlaps(boxes: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union (n,) of each box with one."""
    shared = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    common = shared.clip(0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(common / np.maximum(areas - common, 1e-9), dtype=np.float32)
