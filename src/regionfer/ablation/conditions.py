"""Held-out faces under the conditions that rows are measured in: as they are, covered, and turned."""

import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.faces import FaceDetector
from regionfer.faces.pose import head_pose
from regionfer.occluders import draw_occluder
from regionfer.regions import TYPICAL_LANDMARKS

CLEAN = "clean"
COVERS = ("mask", "dark glasses", "hand", "block")
"""Kinds of `regionfer.occluders` that held-out faces are covered with, each face with each kind once."""

SEARCH_SIDE = 144
"""Side, in pixels, to which smaller face crops are enlarged before landmarks are looked for."""

TURNED_SHARE = 0.25
"""Share of the faces that count as turned: those with the largest yaw to either side."""

Advance = Callable[[int], None]


def covered_faces(
    faces: NDArray[np.uint8], kind: str, landmarks: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Each face with something in front of it, the same each time.

    Args:
        faces: (n, S, S, 3) uint8 RGB.
        kind: one of ``COVERS``.
        landmarks: (n, 5, 2) x y in 0..1, where covers sit; typical ones for a face with NaN, and if not given.

    Returns:
        (n, S, S, 3) uint8 RGB.
    """
    covered = np.empty_like(faces)
    for row, face in enumerate(faces):
        # By row, so that a part of the faces is covered as it is among all of them.
        rng = np.random.default_rng([zlib.crc32(kind.encode()), row])
        points = None if landmarks is None or not np.isfinite(landmarks[row]).all() else landmarks[row]
        occluder = draw_occluder(
            kind,
            rng,
            face.shape[0],
            landmarks=TYPICAL_LANDMARKS if points is None else points,
            skin=face.mean((0, 1)),
        )
        covered[row] = occluder.over(face)
    return covered


def find_landmarks(
    faces: NDArray[np.uint8], detector: FaceDetector, *, workers: int = 1, advance: Advance = lambda done: None
) -> NDArray[np.float32]:
    """Five landmarks of face crops, by a detector that looks at each crop as at a photo.

    Args:
        faces: (n, S, S, 3) uint8 RGB.
        detector: used from several threads.
        workers: number of them.
        advance: called with the number of faces done since.

    Returns:
        (n, 5, 2) float32, x y in 0..1 of the crop; NaN for a crop in which no face is found.
    """
    found = np.full((len(faces), 5, 2), np.nan, dtype=np.float32)

    def search(row: int) -> None:
        side = max(SEARCH_SIDE, faces.shape[1])
        picture = cv2.resize(faces[row], (side, side), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
        detections = detector.detect(picture)
        if len(detections):
            found[row] = detections.landmarks[_largest(detections.boxes)] / side

    with ThreadPoolExecutor(workers) as pool:
        rows: Iterable[int] = iter(range(len(faces)))
        while chunk := list(islice(rows, 64)):
            list(pool.map(search, chunk))
            advance(len(chunk))
    return found


def yaw_of(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Yaw (n,) in degrees of faces with landmarks (n, 5, 2), to the image's right positive; NaN without landmarks."""
    return head_pose(landmarks)[:, 0]


def turned(yaw: NDArray[np.float32], share: float = TURNED_SHARE) -> NDArray[np.bool_]:
    """Which faces, (n,) bool, are the most turned of those whose yaw is known.

    >>> turned(np.array([5, -60, np.nan, 30, 1], dtype=np.float32), 0.5).tolist()
    [False, True, False, True, False]
    """
    amount = np.abs(yaw)
    known = np.flatnonzero(np.isfinite(amount))
    chosen = known[np.argsort(-amount[known], kind="stable")[: round(share * len(known))]]
    return np.isin(np.arange(len(yaw)), chosen)


def filled(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    """Landmarks (n, 5, 2) in which a face without any has those of a typical face."""
    return np.where(np.isfinite(landmarks), landmarks, np.array(TYPICAL_LANDMARKS, dtype=np.float32))


def _largest(boxes: NDArray[np.float32]) -> int:
    return int((boxes[:, 2:] - boxes[:, :2]).prod(axis=1).argmax())
