"""Whether a picture that should be one face looks like one, by the last network of MTCNN.

A face that was found in a photo has passed that network as it was cut then; what was mistaken for a face may not pass
it again once it is aligned. A crop that comes as a face has not been looked at.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from regionfer.faces.mtcnn import load_network, run_in_parts
from regionfer.images import area_resize

SIDE = 48  # pixels that O-Net sees


class CropCheck:
    """O-Net alone, on whole crops. May be used from several threads.

    Args:
        providers: as in `regionfer.faces.MTCNN`.
        threads: likewise.
    """

    def __init__(self, providers: Sequence[str] | None = None, threads: int | None = None) -> None:
        self._onet = load_network("onet", providers, threads)

    def scores(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """How surely each of n crops shows a face, (n,) in 0..1, in the quarter turn in which that is surest.

        Args:
            crops: (n, S, S, 3) RGB uint8.
        """
        resized = [area_resize(crop, (SIDE, SIDE)) for crop in crops]
        windows = np.stack(resized) if resized else np.empty((0, SIDE, SIDE, 3), np.uint8)
        turns = [np.ascontiguousarray(np.rot90(windows, quarters, (1, 2))) for quarters in range(4)]
        return np.max([run_in_parts(self._onet, ["scores"], each)[0] for each in turns], axis=0)  # type: ignore[no-any-return]
