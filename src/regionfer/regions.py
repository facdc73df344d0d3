"""The three region generators of RAN, as pure functions that return boxes.

A box is ``x1 y1 x2 y2`` in 0..1 of the aligned face, origin top left. Each generator returns the
crops only; the whole face, ``WHOLE_FACE``, is put before them by the network (region 0).

Source: Wang et al., 2020, arXiv:1905.04075, section III-B.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

Boxes = NDArray[np.float32]
"""(..., 4), x1 y1 x2 y2 in 0..1 of the aligned face."""

WHOLE_FACE: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)

FIXED_REGIONS: Mapping[str, tuple[float, float, float, float]] = MappingProxyType(
    {
        "top left": (0.0, 0.0, 0.75, 0.75),
        "top right": (0.25, 0.0, 1.0, 0.75),
        "centre bottom": (0.125, 0.25, 0.875, 1.0),
        "centre 0.9": (0.05, 0.05, 0.95, 0.95),
        "centre 0.85": (0.075, 0.075, 0.925, 0.925),
    }
)
"""The paper's five fixed crops. Left and right are the viewer's, as in the image."""

LANDMARKS: tuple[str, ...] = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
"""MTCNN's five points in the order all detectors here return them; sides are the viewer's."""


TYPICAL_LANDMARKS: tuple[tuple[float, float], ...] = (
    (0.310, 0.375),
    (0.690, 0.375),
    (0.500, 0.588),
    (0.337, 0.773),
    (0.663, 0.773),
)
"""Where the landmarks of a frontal face lie in an aligned crop, x y in 0..1, in the order of ``LANDMARKS``.

Means of 711 faces of FERPlus Train by this package's MTCNN, yaw within 15 degrees, made symmetric."""


def fixed_regions() -> Boxes:
    """Boxes of the paper's five fixed crops, (5, 4).

    >>> fixed_regions()[2].tolist()
    [0.125, 0.25, 0.875, 1.0]
    """
    return np.array(list(FIXED_REGIONS.values()), dtype=np.float32)


def random_regions(
    rng: np.random.Generator,
    faces: int,
    count: int = 5,
    *,
    side: tuple[float, float] = (0.70, 0.95),
) -> Boxes:
    """Boxes of square crops, drawn anew for every face, (faces, count, 4).

    Args:
        rng: source of randomness; the same state gives the same boxes.
        faces: number of faces.
        count: crops a face.
        side: smallest and largest side of a crop as a share of the face; the side is uniform in this
            range, the position uniform over all places that keep the crop inside the face.

    Raises:
        ValueError: ``side`` is not an increasing pair within 0..1, or a count is negative.
    """
    low, high = side
    if not 0 < low <= high <= 1:
        raise ValueError(f"side must be an increasing pair within 0..1, got {side}")
    if faces < 0 or count < 1:
        raise ValueError(f"expected faces >= 0 and count >= 1, got {faces} and {count}")
    sides = rng.uniform(low, high, (faces, count, 1))
    corner = rng.uniform(0.0, 1.0, (faces, count, 2)) * (1 - sides)
    return np.concatenate([corner, corner + sides], axis=-1).astype(np.float32)


def landmark_regions(landmarks: ArrayLike, radii: tuple[float, ...] = (0.2, 0.3)) -> Boxes:
    """Square boxes around five landmarks, one set a radius, (n, 5 * len(radii), 4).

    A box that would leave the face is cut at its edge, so that it shows no padding. The radius is
    not published; the paper's figure shows two.

    Args:
        landmarks: (n, 5, 2), x y in 0..1 of the aligned face, in ``LANDMARKS`` order.
        radii: half sides of the squares as shares of the face, each in 0..1.

    Raises:
        ValueError: the landmarks have another shape, or a radius is not in 0..1.

    >>> centre = np.full((1, 5, 2), 0.5)
    >>> landmark_regions(centre, radii=(0.25,))[0, 0].tolist()
    [0.25, 0.25, 0.75, 0.75]
    """
    points = np.asarray(landmarks, dtype=np.float32)
    if points.ndim != 3 or points.shape[1:] != (len(LANDMARKS), 2):
        raise ValueError(f"landmarks must have shape (n, {len(LANDMARKS)}, 2), got {points.shape}")
    if not radii or not all(0 < r <= 1 for r in radii):
        raise ValueError(f"radii must each be in 0..1, got {radii}")
    # A landmark outside the aligned face would leave an empty box: move it to the edge first.
    points = points.clip(0.0, 1.0)
    boxes = [np.concatenate([points - r, points + r], axis=-1) for r in radii]
    return np.concatenate(boxes, axis=1).clip(0.0, 1.0)
