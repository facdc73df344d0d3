"""A photo whose faces are cut out and ready for the network, and where in the photo they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.faces import Detections
from regionfer.faces.alignment import crop_frames, frame_roll, turn_frames
from regionfer.faces.pose import fit_face
from regionfer.readability import has_contrast


class Places(NamedTuple):
    """Where n faces are; fields as in `Expressions`, but for the frames."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    pose: NDArray[np.float32]
    frames: NDArray[np.float64]  # (n, 3, 2), see `crop_frames`
    landmarks: NDArray[np.float32] | None
    contrasted: NDArray[np.bool_]  # (n,), whether there is anything to see within the box


@dataclass(frozen=True, eq=False)
class Photo:
    """An image whose n faces are ready for the network.

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


def find_places(image: NDArray[np.uint8], found: Detections) -> Places:
    """Places of the faces that a detector found."""
    fit = fit_face(found.landmarks)
    contrasted = np.array([has_contrast(image, box) for box in found.boxes], bool)
    return Places(found.boxes, found.scores, fit.pose, crop_frames(found, fit), found.landmarks, contrasted)


def fill_place(image: NDArray[np.uint8]) -> Places:
    """Place of a face that fills its image."""
    width, height = size_of(image)
    unknown = np.full((1, 3), np.nan, dtype=np.float32)
    box = np.array([[0, 0, width, height]], dtype=np.float32)
    frame = np.array([[(0, 0), (width, 0), (0, height)]], dtype=np.float64)
    return Places(box, unknown[:, 0], unknown, frame, None, np.array([has_contrast(image, box[0])]))


def join_places(places: Sequence[Places]) -> Places:
    """The faces of several images in a row, all with landmarks or all without."""
    if not places:
        return find_places(np.empty((0, 0, 3), np.uint8), Detections.empty())._replace(landmarks=None)
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


def size_of(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height, pixels."""
    return image.shape[1], image.shape[0]
