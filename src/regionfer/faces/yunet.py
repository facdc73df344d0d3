"""YuNet through OpenCV, with a model file given by the user.

Source: Wu, Peng, Yu, 2023, "YuNet: A Tiny Millisecond-level Face Detector". The model file,
``face_detection_yunet_2023mar.onnx``, is in https://github.com/opencv/opencv_zoo (MIT); none is shipped here.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.errors import ModelError
from regionfer.faces.detection import Detections, check_image


class YuNet:
    """Faces with five landmarks, by YuNet.

    One object may be used from several threads; they take turns, because OpenCV's detector keeps the image's
    size as a state.

    Args:
        model: path of the ONNX file.
        min_confidence: score in 0..1 that a face must reach.

    Raises:
        ModelError: the file is missing, or OpenCV cannot read a network from it.
        ValueError: ``min_confidence`` is not in 0..1.
    """

    def __init__(self, model: str | Path, *, min_confidence: float = 0.7) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence must be in 0..1, got {min_confidence}")
        path = Path(model)
        if not path.is_file():
            raise ModelError(
                f"{path}: no such file; expected YuNet's ONNX file, such as face_detection_yunet_2023mar.onnx "
                "of https://github.com/opencv/opencv_zoo"
            )
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_confidence)
        except cv2.error as error:
            raise ModelError(
                f"{path}: OpenCV cannot read a face detector from it ({error.err or error}); expected YuNet's ONNX file"
            ) from error
        self._lock = threading.Lock()

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Faces of one image (H, W, 3) RGB uint8, highest score first.

        Raises:
            ValueError: the image has another shape or type.
        """
        check_image(image)
        height, width = image.shape[:2]
        with self._lock:
            self._detector.setInputSize((width, height))
            _, rows = self._detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return _detections([] if rows is None else np.asarray(rows), width, height)


def _detections(rows: ArrayLike, width: int, height: int) -> Detections:
    """OpenCV's rows (n, 15): x y w h, five points, score.

    OpenCV names the points from the person's side, right eye first: seen in the image, the same order as here.
    """
    rows = np.asarray(rows, dtype=np.float32).reshape(-1, 15)
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1).reshape(-1, 2, 2)
    boxes = corners.clip(0, (width, height)).reshape(-1, 4)
    return Detections(boxes, rows[:, 14].clip(0, 1), rows[:, 4:14].reshape(-1, 5, 2))
