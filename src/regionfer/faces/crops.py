"""Whether a picture that should be one face looks like one, and which way up, by the last network of MTCNN.

A face that was found in a photo has passed that network as it was cut then; what was mistaken for a face may not pass
it again once it is aligned. A crop that comes as a face has not been looked at.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.faces.mtcnn import load_network, run_in_parts

SIDE = 48  # pixels that O-Net sees
UPRIGHT = 0.95  # score from which on a crop is not turned by 90 degrees: the other way up it could hardly be surer


class CropCheck:
    """O-Net alone, on whole crops. May be used from several threads.

    Args:
        providers: as in `regionfer.faces.MTCNN`.
        threads: likewise.
    """

    def __init__(self, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        self._onet = load_network("onet", providers, threads)

    def scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How surely each of n crops shows a face, 0..1: (n, 3), as it is, turned by 180 degrees, and by 90 to the
        side where that is surer; the last is 0 where the first is ``UPRIGHT``.

        Args:
            crops: (n, S, S, 3) RGB uint8.
        """
        way = cv2.INTER_AREA if crops.shape[1] > SIDE else cv2.INTER_LINEAR
        windows = np.empty((len(crops), SIDE, SIDE, 3), np.uint8)
        for window, crop in zip(windows, crops, strict=True):
            cv2.resize(crop, (SIDE, SIDE), window, interpolation=way)
        scores = np.zeros((len(crops), 3), np.float32)
        scores[:, 0], scores[:, 1] = self._scores(windows), self._scores(np.rot90(windows, 2, (1, 2)))
        doubtful = scores[:, 0] < UPRIGHT
        sides = [self._scores(np.rot90(windows[doubtful], quarters, (1, 2))) for quarters in (1, 3)]
        scores[doubtful, 2] = np.maximum(*sides)
        return scores

    def _scores(self, windows: NDArray[np.uint8]) -> NDArray[np.float32]:
        return run_in_parts(self._onet, ["scores"], np.ascontiguousarray(windows))[0]
