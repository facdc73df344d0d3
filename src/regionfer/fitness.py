"""Which faces show too little, or too little of a face, to be judged."""

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.images import image_size
from regionfer.onnx_model import ModelOutput
from regionfer.results import MAX_COVERED

MIN_FACE_SIDE = 16
"""A face whose box is less wide or high than this, in pixels, is not judged: it is uncertain, and how it is turned and
covered is unknown.

Measured with the model that ships on half of FERPlus Valid, made smaller and enlarged again: of the answers with a
probability of 0.65 or more, 8 % are wrong at 48 pixels, 15 % at 24, 29 % at 16, 45 % at 12, 57 % at 8. No threshold of
the probability can be trusted there.
"""

MIN_CONTRAST = 0.04
"""A face whose grey values spread less than this share of their mean, or less than `MIN_SPREAD`, is not judged either.

The spread is the standard deviation among 16 x 16 means over the face's box. The least of FERPlus Valid is 0.078 of the
mean; darkness scales mean and spread alike. A wall with the noise of a camera has 0.02 or less.
"""

MIN_SPREAD = 1.0
"""Grey levels, of 255; in the darkest photos, where rounding alone is a share of the mean. Faces darkened by seven
stops, of which nobody sees much, have 4."""

MAX_ROLL = 120.0
"""Degrees from which a face counts as upside down: it was turned upright and answered, but the answer is uncertain.

In a photo it may be no face, or its landmarks lie; of crops six to twelve in a hundred get another answer than upright.
"""

NO_FACE, NO_FACE_ANSWER = 0.2, 0.65
"""A face that is suspect (`Recognizer.check_crops`) is none if `CropCheck` is less sure of one than the first number,
any way up, and the most probable expression has less than the second.

So are 0.2 % of FERPlus Valid, most of them behind a hand, and all of 900 pictures of noise and patterns that the model
does not call covered.
"""


def unfit_reasons(
    sides: NDArray[np.floating],
    contrasted: NDArray[np.bool_],
    output: ModelOutput,
    roll: NDArray[np.floating],
    scores: NDArray[np.floating],
) -> NDArray[np.str_]:
    """Why each of n faces cannot be judged, as in `Expressions.unfit`; "" for those that can.

    Args:
        sides: (n,) shorter side of each face in its image, pixels.
        contrasted: (n,) what `has_contrast` says of each.
        output: what the model says of them.
        roll: (n,) degrees by which each was turned upright, by its landmarks and by what the model said.
        scores: (n,) what `Recognizer.check_crops` says of each.
    """
    found = {  # the first that holds is said
        "too small": sides < MIN_FACE_SIDE,
        "no contrast": ~contrasted,
        "no face": (scores < NO_FACE) & (output.probabilities.max(axis=1, initial=0) < NO_FACE_ANSWER),
        "upside down": np.abs(roll) > MAX_ROLL,
        "covered": mostly_covered(output),
    }
    return np.select([*found.values()], [np.array(reason) for reason in found], np.array("")).astype(np.str_)


def mostly_covered(output: ModelOutput) -> NDArray[np.bool_]:
    """Which of n faces, (n,), are covered by more than `MAX_COVERED`."""
    if output.occlusion is None:
        return np.zeros(len(output.probabilities), bool)
    return np.asarray(output.occlusion[:, 1] > MAX_COVERED)


def has_contrast(image: NDArray[np.uint8], box: NDArray[np.float32]) -> bool:
    """Whether the pixels within a box differ enough to show anything."""
    left, top = np.maximum(np.floor(box[:2]), 0).astype(int)
    right, bottom = np.minimum(np.ceil(box[2:]), image_size(image)).astype(int)
    if right <= left or bottom <= top:
        return False
    # Means of a few pixels each, lest noise be taken for contrast.
    means = cv2.resize(image[top:bottom, left:right], (16, 16), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(means, cv2.COLOR_RGB2GRAY)
    return bool(grey.std() >= max(MIN_SPREAD, MIN_CONTRAST * grey.mean()))
