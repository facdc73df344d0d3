"""From which probability on an answer counts: a threshold, and the risk-coverage curve that it was chosen on.

Coverage is the share of faces that are answered when the less sure ones are not, risk the share of wrong answers
among them. A model file carries both, measured on validation faces; see `regionfer.metrics.risk_coverage_curve`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self


class OperatingPoint(NamedTuple):
    """What comes of answering only faces whose most probable expression has at least this probability; all in 0..1."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True)
class Uncertainty:
    """When a model's answer is sure enough.

    Attributes:
        chosen: the model's own threshold, its coverage, and the risk that it was chosen to keep.
        n: number of faces that this was measured on.
        curve: points to choose another threshold from, with the risks measured.
    """

    chosen: OperatingPoint
    n: int
    curve: tuple[OperatingPoint, ...]

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Read the form that a model card holds.

        Raises:
            ValueError: a key is missing, a number is not in 0..1, or the curve's lists differ in length.

        >>> stored = {"threshold": 0.6, "risk": 0.1, "coverage": 0.9, "n": 200}
        >>> stored["curve"] = {"threshold": [0.8, 0.6, 0.2], "coverage": [0.5, 0.9, 1.0], "risk": [0.02, 0.1, 0.15]}
        >>> Uncertainty.from_dict(stored).threshold_for(0.05)
        0.8
        """
        if missing := [key for key in ("threshold", "risk", "coverage", "n", "curve") if key not in stored]:
            raise ValueError(f"uncertainty lacks {', '.join(missing)}")
        curve = stored["curve"]
        if not isinstance(curve, Mapping) or (missing := [key for key in OperatingPoint._fields if key not in curve]):
            raise ValueError(f"uncertainty.curve must have {', '.join(OperatingPoint._fields)}, got {curve!r}")
        columns = [[float(value) for value in curve[key]] for key in OperatingPoint._fields]
        if len({len(column) for column in columns}) != 1:
            raise ValueError(f"uncertainty.curve must have lists of one length, got {[*map(len, columns)]}")
        if int(stored["n"]) < 1:
            raise ValueError(f"uncertainty.n must be at least 1, got {stored['n']}")
        return cls(
            chosen=_checked(OperatingPoint(*(float(stored[key]) for key in OperatingPoint._fields))),
            n=int(stored["n"]),
            curve=tuple(_checked(OperatingPoint(*point)) for point in zip(*columns, strict=True)),
        )

    def threshold_for(self, max_risk: float) -> float:
        """The threshold that answers most faces with at most this share of wrong answers among them.

        A risk of 1 % cannot be seen in fewer than 100 answers: points of the curve with fewer than ``1 / max_risk`` do
        not count.

        Raises:
            ValueError: ``max_risk`` is not in 0..1, or less than the surest answers had, or than can be seen.
        """
        if not 0 <= max_risk <= 1:
            raise ValueError(f"max_risk must be in 0..1, got {max_risk}")
        points = (*self.curve, self.chosen)
        allowed = [point for point in points if self._least_risk(point) <= max_risk]
        if not allowed:
            enough = math.ceil(min(map(self._least_risk, points)) * 1000) / 1000
            raise ValueError(
                f"max_risk {max_risk:g} cannot be kept, or is too small to be seen, on the {self.n:,} validation "
                f"faces; give {enough:g} or more"
            )
        return max(allowed, key=lambda point: point.coverage).threshold

    def _least_risk(self, point: OperatingPoint) -> float:
        """The least that the risk at a point can be said to be."""
        answers = point.coverage * self.n
        return max(point.risk, 1 / answers) if answers > 0 else math.inf


def _checked(point: OperatingPoint) -> OperatingPoint:
    for name, value in point._asdict().items():
        if not 0 <= value <= 1:
            raise ValueError(f"uncertainty: {name} must be in 0..1, got {value}")
    return point
