"""One face: where it is, what is recognised in it, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from regionfer.labels import canonical_label
from regionfer.results.occlusion import Occlusion, covered_text, share_text

IMPROBABLE = "improbable"
UNCERTAIN_REASONS = ("too small", "no contrast", "no face", "upside down", "covered", IMPROBABLE)
"""Why an answer is uncertain. All but the last are said of faces that cannot be judged, whatever the probability; of
several that hold, the first is named."""


class Box(NamedTuple):
    """A rectangle in pixels of the image, origin top left; it may reach beyond the image's edge."""

    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.x1, self.y1, self.x2, self.y2

    @property
    def xywh(self) -> tuple[float, float, float, float]:
        """Left, top, width, height.

        >>> Box(10, 20, 40, 60).xywh
        (10, 20, 30, 40)
        """
        return self.x1, self.y1, self.x2 - self.x1, self.y2 - self.y1


class Pose(NamedTuple):
    """Direction of a head in degrees, as seen in the image.

    Attributes:
        yaw: above 0 where the face is turned to the image's right.
        pitch: above 0 where the face looks up.
        roll: above 0 where the head is tilted clockwise.
    """

    yaw: float
    pitch: float
    roll: float


class Region(NamedTuple):
    """One region of a face and its part in the decision.

    Attributes:
        name: "face" for the whole face, else the name of the crop.
        box: x1 y1 x2 y2 in 0..1 of the aligned face.
        mu: self-attention, 0..1.
        nu: relation-attention, 0..1.
        attention: share in the decision, 0..1; the shares of a face's regions sum to 1.
        visibility: how visible it is, 0..1; None where the model does not say, or nothing can be said of the face:
            too small, without contrast, or none at all.
    """

    name: str
    box: tuple[float, float, float, float]
    mu: float
    nu: float
    attention: float
    visibility: float | None = None


@dataclass(frozen=True)
class Face:
    """One face of an image.

    Attributes:
        box: where it is, in pixels.
        score: the detector's confidence, 0..1; None where no detector ran.
        probabilities: 0..1 by expression, in the model's order; they sum to 1.
        pose: direction of the head; None where unknown.
        landmarks: x y in pixels by name, in ``LANDMARKS`` order; None where unknown.
        regions: the model's regions, the whole face first.
        occlusion: what of it is covered; None as the visibility of its regions.
        uncertain: whether the answer should not be counted on: its probability is too low for the risk that was asked
            for, or the face cannot be judged. None where no threshold is known.
        uncertain_reason: why, one of `UNCERTAIN_REASONS`; None if it is not uncertain.
    """

    box: Box
    score: float | None
    probabilities: Mapping[str, float]
    pose: Pose | None
    landmarks: Mapping[str, tuple[float, float]] | None
    regions: tuple[Region, ...]
    occlusion: Occlusion | None = None
    uncertain: bool | None = None
    uncertain_reason: str | None = None

    @property
    def expression(self) -> str:
        """The most probable expression."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @property
    def probability(self) -> float:
        """Probability of the most probable expression, 0..1."""
        return max(self.probabilities.values())

    @property
    def region(self) -> str:
        """Name of the region with the largest share in the decision."""
        return max(self.regions, key=lambda region: region.attention).name

    def probability_of(self, expression: str) -> float:
        """Probability of an expression by its name or alias ("happy" is "happiness").

        Raises:
            ValueError: the model knows no such expression.
        """
        return self.probabilities[find_label(expression, tuple(self.probabilities))]

    def __str__(self) -> str:
        x1, y1, x2, y2 = self.box
        parts = [
            f"{self.expression} {share_text(self.probability)}",
            f"box {x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}",
            f"pose {_pose_text(self.pose)}",
            f"region {self.region}",
        ]
        if covered := covered_text(self.occlusion):
            parts.append(f"covered {covered}")
        if self.uncertain:
            parts.append(f"uncertain: {self.uncertain_reason}")
        return "  ".join(parts)


def find_label(expression: str, labels: tuple[str, ...]) -> str:
    """The label, among some, that an expression or an alias of it means.

    Raises:
        ValueError: none of them.
    """
    if expression in labels:
        return expression
    try:
        label = canonical_label(expression)
    except ValueError:
        label = ""
    if label not in labels:
        raise ValueError(f"unknown expression {expression!r}; expected one of {', '.join(labels)}")
    return label


def _pose_text(pose: Pose | None) -> str:
    return "unknown" if pose is None else "yaw {:+z.0f} pitch {:+z.0f} roll {:+z.0f}".format(*pose)
