"""Faces that are not upright in their crops, turned upright and looked at again.

A face of a photo is turned upright by its landmarks before the network sees it. A crop that comes as a face is not, and
landmarks may lie. The network itself tells the roll, most exactly of faces that are nearly upright: so what it
finds rolled is turned by what it says, and looked at anew, until it finds the face upright. A face that is still found
rolled in the end stays as it came.

Of faces that lie or stand on their heads it tells no roll, but finds them covered, as it learned to. So a face of which
much is found covered is looked at in quarter turns, too, those that leave less covered turned upright likewise, and
counts as it is where least of it is.
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
"""Times, at most, that a face is turned so. A face rolled by 60 degrees is seen as rolled by less at first."""

SUSPECT = 0.2
"""Covered share from which a face is looked at in quarter turns, too.

So are 3 % of FERPlus Valid, and 99 % of the faces turned by 60 degrees or more whose pose would be wrong.
"""

ODDS = 0.7
"""It counts as it is in another quarter turn where less than this part of its covered share is covered there."""

_FRACTION = 1  # column of `ModelOutput.occlusion`


class Look(NamedTuple):
    """What a model says of n faces.

    Attributes:
        output: of the faces as they were seen last; its roll, too.
        faces: (n, S, S, 3) uint8 RGB, as they were seen last.
        landmarks: (n, 5, 2) float32, x y in 0..1 of those; None if the model does without.
        turned: (n,) float32, degrees in -180..180 by which each face was turned anticlockwise, as it was rolled
            clockwise; 0 for a face seen as it came.
    """

    output: ModelOutput
    faces: NDArray[np.uint8]
    landmarks: NDArray[np.float32] | None
    turned: NDArray[np.float32]

    @property
    def pose(self) -> NDArray[np.float32] | None:
        """Yaw, pitch and roll in the faces as they came, (n, 3), degrees; None if the model does not tell."""
        pose = self.output.pose
        return None if pose is None else np.column_stack([pose[:, :2], _wrapped(pose[:, 2] + self.turned)])


def look_at(
    model: Classifier,
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32] | None = None,
    *,
    batch_size: int = MAX_FACES_PER_RUN,
    upright: bool = True,
) -> Look:
    """Let a model see n faces, and those again, turned upright, that it finds rolled or much covered.

    Args:
        model: one that does not tell the pose sees each face once.
        faces: (n, S, S, 3) uint8 RGB.
        landmarks: as in `Classifier.run`.
        batch_size: likewise.
        upright: False to look once.
    """
    given = _Given(model, faces, landmarks if model.needs_landmarks else None, batch_size)
    look = given.as_it_is()
    if not upright or look.output.pose is None:
        return look
    everyone = np.arange(len(faces))
    return _turned_over(given, _settled(given, everyone, look))


class _Given(NamedTuple):
    """Faces to look at, and how."""

    model: Classifier
    faces: NDArray[np.uint8]
    landmarks: NDArray[np.float32] | None
    batch_size: int

    def as_it_is(self) -> Look:
        """A look at each face as it came."""
        output = self.model.run(self.faces, self.landmarks, batch_size=self.batch_size)
        return Look(output, self.faces, self.landmarks, np.zeros(len(self.faces), np.float32))

    def turned(self, rows: NDArray[np.intp], degrees: NDArray[np.float32]) -> Look:
        """A look at some of the faces, each turned anticlockwise by degrees."""
        degrees = _wrapped(degrees)
        faces = _turned(self.faces[rows], degrees)
        landmarks = None if self.landmarks is None else _points_turned(self.landmarks[rows], degrees)
        output = self.model.run(faces, landmarks, batch_size=self.batch_size)
        return Look(output, faces, landmarks, degrees)


def _settled(given: _Given, rows: NDArray[np.intp], look: Look) -> Look:
    """A look at some of the given faces, those that it finds rolled turned until it does not."""
    begun = rolled = np.flatnonzero(np.abs(_roll(look)) > ROLLED)
    if not len(begun):
        return look
    first, look = look, _taken(look, np.arange(len(rows)))
    for _ in range(MOST_TURNS):
        if not len(rolled):
            break
        again = given.turned(rows[rolled], look.turned[rolled] + _roll(look)[rolled])
        _put(look, rolled, again)
        rolled = rolled[np.abs(_roll(again)) > UPRIGHT]
    lost = begun[~(np.abs(_roll(look)[begun]) <= ROLLED)]  # NaN, too
    _put(look, lost, _taken(first, lost))
    return look


def _turned_over(given: _Given, look: Look) -> Look:
    """A look at the given faces, those of which much is covered in the quarter turn in which least is.

    Quarter turns in which less is covered than before are turned upright by what they tell before they are compared.
    """
    if look.output.occlusion is None:
        return look
    rows = np.flatnonzero(_covered(look) >= SUSPECT)
    if not len(rows):
        return look
    as_it_is = _taken(look, rows)
    quarters = np.array([90, 180, -90], np.float32)
    owners = rows.repeat(len(quarters))
    others = given.turned(owners, (as_it_is.turned[:, None] + quarters).ravel())
    # What really covers a face covers it any way up, so few turns of such a face are turned on.
    clearer = np.flatnonzero(_covered(others) < _covered(as_it_is).repeat(len(quarters)))
    others = _taken(others, np.arange(len(owners)))
    _put(others, clearer, _settled(given, owners[clearer], _taken(others, clearer)))
    covered = np.nan_to_num(_covered(others), nan=np.inf).reshape(-1, len(quarters))
    best = _taken(others, np.arange(len(rows)) * len(quarters) + covered.argmin(axis=1))
    over = np.flatnonzero(_covered(best) < ODDS * _covered(as_it_is))
    look = _taken(look, np.arange(len(look.faces)))
    _put(look, rows[over], _taken(best, over))
    return look


def _roll(look: Look) -> NDArray[np.float32]:
    """By how many degrees each face is rolled as it was seen, (n,)."""
    assert look.output.pose is not None
    return look.output.pose[:, 2]


def _covered(look: Look) -> NDArray[np.float32]:
    """Covered share of each face, (n,)."""
    assert look.output.occlusion is not None
    return look.output.occlusion[:, _FRACTION]


def _wrapped(degrees: NDArray[np.float32]) -> NDArray[np.float32]:
    """The same angles in -180..180."""
    return (degrees + 180) % 360 - 180


def _taken(look: Look, rows: NDArray[np.intp]) -> Look:
    """Some rows of a look, in arrays of their own."""
    output = ModelOutput(*(None if each is None else each[rows] for each in look.output))  # type: ignore[arg-type]
    landmarks = None if look.landmarks is None else look.landmarks[rows]
    return Look(output, look.faces[rows], landmarks, look.turned[rows])


def _put(look: Look, rows: NDArray[np.intp], new: Look) -> None:
    """Replace rows of a look."""
    for values, others in zip(_arrays(look), _arrays(new), strict=True):
        values[rows] = others


def _arrays(look: Look) -> list[NDArray[Any]]:
    """All that a look holds of each face, (n, ...) each."""
    return [each for each in (*look.output, look.faces, look.landmarks, look.turned) if each is not None]


def _turned(faces: NDArray[np.uint8], degrees: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Faces turned anticlockwise about their middles by degrees (n,); beyond the edge its pixels are repeated."""
    side = faces.shape[1]
    middle = (side - 1) / 2, (side - 1) / 2
    turned = np.empty_like(faces)
    for face, angle, into in zip(faces, degrees.tolist(), turned, strict=True):
        # OpenCV's positive angles are anticlockwise as seen.
        matrix = cv2.getRotationMatrix2D(middle, angle, 1.0)
        cv2.warpAffine(face, matrix, (side, side), into, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE)
    return turned


def _points_turned(points: NDArray[np.float32], degrees: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points (n, k, 2) in 0..1 of a face where they are after `_turned`."""
    angles = np.radians(degrees)
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    x, y = points[..., 0] - 0.5, points[..., 1] - 0.5
    return np.stack([cos * x + sin * y, cos * y - sin * x], axis=-1).astype(np.float32) + np.float32(0.5)
