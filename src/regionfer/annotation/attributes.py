"""What a table of attributes says of a face: how it is turned and covered, how large and how sharp it is."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.faces.alignment import cut_frames
from regionfer.results import IMPROBABLE, Expressions, Face, Pose

POSE_BINS = ("0-30", "30-45", ">45")
"""Bins of the larger of |yaw| and |pitch|, degrees: up to 30, above 30 up to 45, above 45. Roll does not count: it is
undone before a face is recognised, and hides nothing of it."""

BLUR_SIDE = 64
"""Side, in pixels, to which a face is scaled before its sharpness is measured, so that faces can be compared."""


@dataclass(frozen=True)
class FaceRow:
    """A row of the table: one face. What is not known is None.

    Attributes:
        image: file, relative to the folder that the table's card names.
        face: number of the face in the image, from 0: of a folder as they were found, of a dataset as it lists them.
        yaw, pitch, roll: degrees, signs as in `regionfer.results.Pose`.
        pose_bin: one of ``POSE_BINS``.
        occluded_fraction: share of the face that is covered, 0..1.
        occluded_where: halves of the face that are covered, joined by "+", such as "lower+left"; "" if none is.
        face_size: the longer side of the face's box, pixels of the image.
        blur: variance of the Laplacian of the aligned grey face at ``BLUR_SIDE`` pixels; low values are blurred.
        expression: the most probable one.
        probability: that of the expression, 0..1.
        uncertain: whether the answer should not be relied on.
        uncertain_reason: why, one of `regionfer.results.UNCERTAIN_REASONS`.
        occluded: whether the face counts as covered.
        occluded_probability: 0..1 that it is covered.
        occluded_upper, occluded_lower, occluded_left, occluded_right: how far each half is covered, 0..1; left and
            right of the image.
        x1, y1, x2, y2: the box, pixels.
        label: the dataset's expression.
        split: the dataset's split.
    """

    image: str
    face: int
    yaw: float | None
    pitch: float | None
    roll: float | None
    pose_bin: str | None
    occluded_fraction: float | None
    occluded_where: str | None
    face_size: float
    blur: float
    expression: str
    probability: float
    uncertain: bool | None
    uncertain_reason: str | None
    occluded: bool | None
    occluded_probability: float | None
    occluded_upper: float | None
    occluded_lower: float | None
    occluded_left: float | None
    occluded_right: float | None
    x1: float
    y1: float
    x2: float
    y2: float
    label: str | None
    split: str | None

    @property
    def key(self) -> tuple[str, int]:
        """What names the face: its image and its number there."""
        return self.image, self.face

    @property
    def unfit(self) -> bool:
        """Whether the face cannot be judged, however probable its expression may be called."""
        return bool(self.uncertain_reason) and self.uncertain_reason != IMPROBABLE


def pose_bin(pose: Pose | None) -> str | None:
    """The bin of a pose, by the larger of |yaw| and |pitch|; None where the pose is unknown.

    >>> [pose_bin(Pose(*angles)) for angles in ((-30, 0, 80), (5, 31, 0), (-46, 0, 0))]
    ['0-30', '30-45', '>45']
    """
    if pose is None:
        return None
    turned = max(abs(pose.yaw), abs(pose.pitch))
    return POSE_BINS[(turned > 30) + (turned > 45)]


def measure_blur(image: NDArray[np.uint8], aligned: NDArray[np.float32]) -> float:
    """Variance of the Laplacian of a face, grey values 0..255; 0 is one colour, low values are blurred.

    Args:
        image: (H, W, 3) RGB uint8.
        aligned: (4, 2) corners of the aligned face, pixels, see `regionfer.results.Expressions`.
    """
    corners = aligned.astype(np.float64)
    frame = np.stack([corners[0], corners[1] - corners[0], corners[3] - corners[0]])
    grey = cv2.cvtColor(cut_frames(image, frame[None], BLUR_SIDE)[0], cv2.COLOR_RGB2GRAY)
    return float(np.float32(cv2.Laplacian(grey, cv2.CV_64F).var()))


def describe_faces(
    image: NDArray[np.uint8],
    result: Expressions,
    name: str,
    label: str | None = None,
    split: str | None = None,
    *,
    first: int = 0,
) -> list[FaceRow]:
    """One row a face of an image.

    Args:
        image: (H, W, 3) RGB uint8, in which the faces were found.
        result: the faces.
        name: of the image in the table.
        label: the dataset's expression, if the image has one.
        split: the dataset's split, if the image has one.
        first: number of the first of them in the image.
    """
    assert result.aligned is not None
    blurs = [measure_blur(image, corners) for corners in result.aligned]
    return [_row(name, first + k, face, blurs[k], label, split) for k, face in enumerate(result)]


def _row(name: str, number: int, face: Face, blur: float, label: str | None, split: str | None) -> FaceRow:
    yaw, pitch, roll = (None, None, None) if face.pose is None else face.pose
    covered = face.occlusion
    x1, y1, x2, y2 = face.box
    return FaceRow(
        image=name,
        face=number,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        pose_bin=pose_bin(face.pose),
        occluded_fraction=None if covered is None else covered.fraction,
        occluded_where=None if covered is None else "+".join(covered.where),
        face_size=max(x2 - x1, y2 - y1),
        blur=blur,
        expression=face.expression,
        probability=face.probability,
        uncertain=face.uncertain,
        uncertain_reason=face.uncertain_reason,
        occluded=None if covered is None else covered.occluded,
        occluded_probability=None if covered is None else covered.probability,
        occluded_upper=None if covered is None else covered.upper,
        occluded_lower=None if covered is None else covered.lower,
        occluded_left=None if covered is None else covered.left,
        occluded_right=None if covered is None else covered.right,
        x1=x1,
        y1=y1,
        x2=x2,
        y2=y2,
        label=label,
        split=split,
    )
