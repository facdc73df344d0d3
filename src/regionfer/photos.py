"""A photo whose faces are cut out, or a crop that is one face, ready for the network; and where in it the faces are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.faces import Detections
from regionfer.faces.alignment import crop_frames, frame_roll, turn_frames
from regionfer.faces.pose import fit_face
from regionfer.fitness import has_contrast
from regionfer.images import image_size


class Places(NamedTuple):
    """Where n faces are in their image.

    Attributes:
        boxes: (n, 4) x1 y1 x2 y2, pixels.
        scores: (n,) how sure the detector is of each, 0..1; NaN where none ran.
        pose: (n, 3) yaw, pitch and roll by the landmarks alone, degrees; NaN where there are none.
        frames: (n, 3, 2) what was cut out, pixels, see `crop_frames`.
        landmarks: (n, 5, 2) x y, pixels; None where no detector ran.
        contrasted: (n,) whether there is anything to see within the box, see `has_contrast`.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    pose: NDArray[np.float32]
    frames: NDArray[np.float64]
    landmarks: NDArray[np.float32] | None
    contrasted: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo or a crop whose n faces are ready for the network.

    Attributes:
        source: its name, if it has one.
        size: width, height in pixels.
        faces: (n, S, S, 3) uint8 RGB, aligned.
        places: where the faces are.
        image: the image itself, if the caller wants it back.
    """

    source: str | None
    size: tuple[int, int]
    faces: NDArray[np.uint8]
    places: Places
    image: NDArray[np.uint8] | None


def places_of(image: NDArray[np.uint8], found: Detections) -> Places:
    """The places of faces that a detector found in an image."""
    fit = fit_face(found.landmarks)
    contrasted = np.array([has_contrast(image, box) for box in found.boxes], bool)
    return Places(found.boxes, found.scores, fit.pose, crop_frames(found, fit), found.landmarks, contrasted)


def whole_place(image: NDArray[np.uint8]) -> Places:
    """The place of a face that fills its image."""
    width, height = image_size(image)
    unknown = np.full((1, 3), np.nan, dtype=np.float32)
    box = np.array([[0, 0, width, height]], dtype=np.float32)
    frame = np.array([[(0, 0), (width, 0), (0, height)]], dtype=np.float64)
    return Places(box, unknown[:, 0], unknown, frame, None, np.array([has_contrast(image, box[0])]))


def join_places(places: Sequence[Places]) -> Places:
    """The places of the faces of several images in a row, all with landmarks or all without."""
    if not places:
        return places_of(np.empty((0, 0, 3), np.uint8), Detections.empty())._replace(landmarks=None)
    landmarks = [each.landmarks for each in places if each.landmarks is not None]
    return Places(
        boxes=np.concatenate([each.boxes for each in places]),
        scores=np.concatenate([each.scores for each in places]),
        pose=np.concatenate([each.pose for each in places]),
        frames=np.concatenate([each.frames for each in places]),
        landmarks=np.concatenate(landmarks) if landmarks else None,
        contrasted=np.concatenate([each.contrasted for each in places]),
    )


def pose_in_image(places: Places, of_model: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Yaw, pitch and roll (n, 3) in the image: the model's, which it tells in the crop; if none, the landmarks'."""
    if of_model is None:
        return places.pose
    roll = frame_roll(turn_frames(places.frames, of_model[:, 2]))
    return np.column_stack([of_model[:, :2], roll]).astype(np.float32)
