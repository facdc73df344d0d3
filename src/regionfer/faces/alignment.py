"""Square face crops framed as the network was trained: FERPlus crops, upright.

FERPlus images are loose boxes of a face detector, not aligned by landmarks. A face of a photo must be framed alike,
whichever way it is turned. A similarity that maps five landmarks to a frontal template cannot do this: the eyes of a
turned face are close together, and it would zoom in. Here the landmarks are fitted by a rigid 3D face, whose
scale does not depend on the yaw, and the crop is placed around a point fixed in that face.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.faces.detection import Detections, check_image
from regionfer.faces.pose import Doubles, FaceFit, fit_face, rotation
from regionfer.images import area_resize

Image = NDArray[np.uint8]

CROP_SIDE = 2.6  # in distances between the eyes of the frontal face
CROP_CENTRE = np.array([0.0, 0.327, 0.15])  # in the frame of FACE_MODEL: below the eyes, behind the nose
"""How a FERPlus crop sits on the face, measured with this package's MTCNN on FERPlus Train.

2,230 of 2,500 images drawn at random, enlarged to 144 pixels; side and height fitted on half of them. The depth was
fitted on 1,237 images whose edges had been cut by up to 12 % at random, lest the frame's own edge steer the detector.
``docs/faces.md`` compares this frame with a similarity to `TYPICAL_LANDMARKS` and with the detector's box.
"""


def align_faces(image: Image, detections: Detections, size: int) -> Image:
    """Each face upright and framed as in FERPlus, (n, size, size, 3) uint8 RGB.

    Large faces are averaged down, not sampled, so that no pixel is skipped. Beyond the image's edge the edge pixels
    are repeated. A face whose landmarks do not determine a frame is cut by its box, made square.

    Args:
        image: (H, W, 3) RGB uint8.
        detections: its n faces; none gives an empty array.
        size: side of the result, pixels, at least 1.

    Raises:
        ValueError: the image has another shape or type, or the size is below 1.
    """
    return cut_frames(image, crop_frames(detections, fit_face(detections.landmarks)), size)


def aligned_landmarks(detections: Detections) -> NDArray[np.float32]:
    """Landmarks (n, 5, 2) float32 as x y in 0..1 of the crop that ``align_faces`` makes of each face.

    A point outside the crop is outside 0..1.
    """
    return place_in_frames(detections.landmarks, crop_frames(detections, fit_face(detections.landmarks)))


def place_in_frames(landmarks: NDArray[np.float32], frames: Doubles) -> NDArray[np.float32]:
    """Landmarks (n, 5, 2) in pixels as x y in 0..1 of the frames (n, 3, 2) of ``crop_frames``."""
    corner, across, down = frames[:, None, 0], frames[:, 1], frames[:, 2]
    points = landmarks - corner
    side = np.square(across).sum(axis=1)[:, None]
    x = np.einsum("nkd,nd->nk", points, across) / side
    y = np.einsum("nkd,nd->nk", points, down) / side
    return np.stack([x, y], axis=-1).astype(np.float32)


def crop_frames(detections: Detections, fit: FaceFit) -> Doubles:
    """Where each crop lies in the image, (n, 3, 2) pixels: its top left corner, its top edge and its left edge.

    Args:
        detections: n faces.
        fit: that of their landmarks. It takes longer than all else here, and gives the pose, too.
    """
    centre = fit.shift + fit.scale[:, None] * (rotation(fit.angles) @ CROP_CENTRE)[:, :2]
    half = fit.scale * CROP_SIDE / 2
    roll = fit.angles[:, 2].copy()
    lost = ~np.isfinite(half)
    boxes = detections.boxes[lost].astype(np.float64)
    centre[lost] = (boxes[:, :2] + boxes[:, 2:]) / 2
    half[lost] = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1.0) / 2
    roll[lost] = 0.0
    right = half[:, None] * np.stack([np.cos(roll), np.sin(roll)], axis=1)
    down = np.stack([-right[:, 1], right[:, 0]], axis=1)
    return np.stack([centre - right - down, 2 * right, 2 * down], axis=1)


def turn_frames(frames: Doubles, degrees: NDArray[np.floating]) -> Doubles:
    """Frames (n, 3, 2) of ``crop_frames`` turned clockwise about their middles by degrees (n,).

    A frame that is no square, as of a crop that is squeezed into one, turns as the square does.
    """
    corner, across, down = frames[:, 0], frames[:, 1], frames[:, 2]
    middle = corner + (across + down) / 2
    cos, sin = np.cos(np.radians(degrees))[:, None], np.sin(np.radians(degrees))[:, None]
    across, down = cos * across + sin * down, cos * down - sin * across
    return np.stack([middle - (across + down) / 2, across, down], axis=1)


def frame_roll(frames: Doubles) -> Doubles:
    """By how many degrees the top edge of each frame (n, 3, 2) is rolled, (n,) in -180..180, clockwise above 0."""
    across = frames[:, 1]
    return np.asarray(np.degrees(np.arctan2(across[:, 1], across[:, 0])))


def frame_corners(frames: Doubles) -> NDArray[np.float32]:
    """Corners of frames (n, 3, 2), (n, 4, 2) pixels, clockwise from the top left."""
    corner, across, down = frames[:, 0], frames[:, 1], frames[:, 2]
    return np.stack([corner, corner + across, corner + across + down, corner + down], axis=1).astype(np.float32)


def cut_frames(image: Image, frames: Doubles, size: int) -> Image:
    """The pixels (n, size, size, 3) of the frames (n, 3, 2) of ``crop_frames``; see ``align_faces``."""
    check_image(image)
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}")
    crops = np.empty((len(frames), size, size, 3), np.uint8)
    for crop, frame in zip(crops, frames, strict=True):
        _sample(image, frame, crop)
    return crops


def _sample(image: Image, frame: Doubles, crop: Image) -> None:
    """Fill the crop (size, size, 3) from its frame in the image."""
    size = len(crop)
    corner, across, down = frame
    image, corner = _cut(image, corner, across, down)
    # Average down until a step from pixel to pixel of the crop is below two pixels of the image.
    shrink = max(1.0, np.hypot(*across) / size)
    if shrink > 1:
        height, width = image.shape[:2]
        small = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        scale = np.array(small) / (width, height)
        image = area_resize(image, small)
        corner, across, down = corner * scale, across * scale, down * scale
    first = corner + (across + down) / (2 * size) - 0.5  # centre of the first pixel, in OpenCV's counting
    to_image = np.column_stack([across / size, down / size, first])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(image, to_image, (size, size), crop, flags, cv2.BORDER_REPLICATE)


def _cut(
    image: NDArray[np.uint8], corner: Doubles, across: Doubles, down: Doubles
) -> tuple[NDArray[np.uint8], Doubles]:
    """The part of the image that the frame touches, with a margin, and the corner's place in it."""
    corners = corner + np.array([0 * across, across, down, across + down])
    margin = np.hypot(*across) * 0.1 + 2
    height, width = image.shape[:2]
    x1, y1 = np.floor(corners.min(axis=0) - margin).astype(int)
    x2, y2 = np.ceil(corners.max(axis=0) + margin).astype(int)
    x1, y1 = np.clip(x1, 0, width - 1), np.clip(y1, 0, height - 1)
    x2, y2 = np.clip(x2, x1 + 1, width), np.clip(y2, y1 + 1, height)
    return image[y1:y2, x1:x2], corner - (x1, y1)
