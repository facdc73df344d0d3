"""Faces that the model finds rolled, turned upright and looked at again.

A face of a photo is turned upright by its landmarks before the network sees it. A crop that comes as a face is not, and
landmarks may lie. The network itself tells the roll, most exactly of faces that are nearly upright: so what it
finds rolled is turned by what it says, and looked at anew, until it finds the face upright. A face that it never does
stays as it came.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.onnx_model import MAX_FACES_PER_RUN, Classifier, ModelOutput

ROLLED = 15.0
"""Degrees of roll from which a face is turned upright and looked at again: 16 % of FERPlus Valid."""

UPRIGHT = 5.0
"""And turned on where it is still rolled by more than this."""

MOST_TURNS = 3
"""Times, at most, that a face is turned. A face on its side is seen as rolled by about half of its roll at first."""


class Look(NamedTuple):
    """What a model says of n faces.

    Attributes:
        output: of the faces as they were seen last; its roll, too.
        faces: (n, S, S, 3) uint8 RGB, as they were seen last.
        landmarks: (n, 5, 2) float32, x y in 0..1 of those; None if there are none.
        turned: (n,) float32, degrees by which each face was turned anticlockwise, as it was rolled clockwise; 0 for
            a face seen as it came.
    """

    output: ModelOutput
    faces: NDArray[np.uint8]
    landmarks: NDArray[np.float32] | None
    turned: NDArray[np.float32]

    @property
    def pose(self) -> NDArray[np.float32] | None:
        """Yaw, pitch and roll in the faces as they came, (n, 3), degrees; None if the model does not tell."""
        if self.output.pose is None:
            return None
        roll = (self.output.pose[:, 2] + self.turned + 180) % 360 - 180
        return np.column_stack([self.output.pose[:, :2], roll])


def look_at(
    model: Classifier,
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32] | None = None,
    *,
    batch_size: int = MAX_FACES_PER_RUN,
    upright: bool = True,
) -> Look:
    """Let a model see n faces, and those again, upright, that it finds rolled by more than `ROLLED`.

    Args:
        model: one that does not tell the pose sees each face once.
        faces: (n, S, S, 3) uint8 RGB.
        landmarks: as in `Classifier.run`.
        batch_size: likewise.
        upright: False to look once.
    """
    output = model.run(faces, landmarks, batch_size=batch_size)
    first = look = Look(output, faces, landmarks, np.zeros(len(faces), np.float32))
    if not upright or output.pose is None:
        return first
    rolled = np.flatnonzero(np.abs(output.pose[:, 2]) > ROLLED)
    for _ in range(MOST_TURNS):
        if not len(rolled):
            return look
        roll = look.turned[rolled] + _rest(look)[rolled]
        seen = _turned_back(faces[rolled], roll)
        points = None if landmarks is None else _points_turned_back(landmarks[rolled], roll)
        again = Look(model.run(seen, points, batch_size=batch_size), seen, points, roll)
        look = _with_rows(look, rolled, again)
        rolled = rolled[np.abs(_rest(again)) > UPRIGHT]
    lost = rolled[np.abs(_rest(look)[rolled]) > ROLLED]
    return _with_rows(look, lost, _rows(first, lost))


def _rest(look: Look) -> NDArray[np.float32]:
    """By how many degrees each face is still rolled, (n,)."""
    assert look.output.pose is not None
    return look.output.pose[:, 2]


def _turned_back(faces: NDArray[np.uint8], roll: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Faces turned anticlockwise about their middles by degrees (n,); beyond the edge its pixels are repeated."""
    side = faces.shape[1]
    middle = (side - 1) / 2, (side - 1) / 2
    turned = np.empty_like(faces)
    for face, degrees, into in zip(faces, roll.tolist(), turned, strict=True):
        # OpenCV's positive angles are anticlockwise as seen.
        matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
        cv2.warpAffine(face, matrix, (side, side), into, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return turned


def _points_turned_back(points: NDArray[np.float32], roll: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (n, k, 2) in 0..1 of a face where they are after `_turned_back`."""
    angles = np.radians(roll)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
    return np.stack([cos * x + sin * y, cos * y - sin * x], axis=-1).astype(np.float32) + np.float32(0.5)


def _rows(look: Look, rows: NDArray[np.intp]) -> Look:
    """Some rows of a look."""
    output = ModelOutput(*(None if each is None else each[rows] for each in look.output))  # type: ignore[arg-type]
    landmarks = None if look.landmarks is None else look.landmarks[rows]
    return Look(output, look.faces[rows], landmarks, look.turned[rows])


def _with_rows(look: Look, rows: NDArray[np.intp], new: Look) -> Look:
    """A look with some of its rows seen anew."""
    output = ModelOutput(*(_put(old, rows, each) for old, each in zip(look.output, new.output, strict=True)))
    turned = look.turned.copy()
    turned[rows] = new.turned
    return Look(output, _put(look.faces, rows, new.faces), _put(look.landmarks, rows, new.landmarks), turned)


def _put(values: Any, rows: NDArray[np.intp], new: Any) -> Any:
    """An array with some rows replaced; None of None."""
    if values is None:
        return None
    values = values.copy()
    values[rows] = new
    return values
