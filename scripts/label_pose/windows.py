"""Square windows of an image, turned and enlarged to what Face Mesh reads."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from face_mesh import SIDE
from numpy.typing import NDArray

AROUND_FACE = 1.5  # window over the mesh's longer side: what Face Mesh was trained with


class Window(NamedTuple):
    """A square of an image."""

    x: float  # centre, pixels; 0 is the image's left edge
    y: float
    side: float  # pixels
    roll: float  # radians, clockwise as seen: the window is turned like a head of that roll


def whole(image: NDArray[np.uint8], scale: float) -> Window:
    """The window around an image (h, w), ``scale`` times as wide as its longer side."""
    height, width = image.shape[:2]
    return Window(width / 2, height / 2, scale * max(height, width), 0.0)


def around(points: NDArray[np.floating], roll: float) -> Window:
    """The window around a face's points (p, 2) in pixels of the image, turned by its roll."""
    cosine, sine = np.cos(roll), np.sin(roll)
    axes = np.array([[cosine, sine], [-sine, cosine]])  # upright coordinates from the image's
    upright = points @ axes.T
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = (low + high) / 2 @ axes
    return Window(float(x), float(y), AROUND_FACE * float((high - low).max()), roll)


def cut(image: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """The window's content, (192, 192); outside the image its edge goes on, which Face Mesh likes better than grey."""
    matrix = to_image(window)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV counts from the middle of the first pixel
    flags = (cv2.INTER_CUBIC if window.side < SIDE else cv2.INTER_AREA) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def to_image(window: Window) -> NDArray[np.float64]:
    """The (2, 3) matrix that takes x y of the cut window to x y of the image."""
    scale = window.side / SIDE
    cosine, sine = scale * np.cos(window.roll), scale * np.sin(window.roll)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([window.x, window.y]) - turn @ [SIDE / 2, SIDE / 2]
    return np.column_stack([turn, shift])
