"""What the recogniser returns: the faces of one image with their expressions, pose and region weights.

An `Expressions` holds arrays for all faces of an image; ``expressions[0]`` is one `Face` with names
instead of columns. ``to_dict`` and ``to_json`` give the form described in docs/results.md, ``to_rows``
the lines of a table.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from regionfer.labels import LABELS, canonical_label
from regionfer.regions import LANDMARKS

_Value = TypeVar("_Value")

SCHEMA_VERSION = 1
"""Version of the form that ``to_dict``, ``to_json`` and ``to_rows`` give."""


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
    """

    name: str
    box: tuple[float, float, float, float]
    mu: float
    nu: float
    attention: float


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
    """

    box: Box
    score: float | None
    probabilities: Mapping[str, float]
    pose: Pose | None
    landmarks: Mapping[str, tuple[float, float]] | None
    regions: tuple[Region, ...]

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
        return self.probabilities[_find_label(expression, tuple(self.probabilities))]

    def __str__(self) -> str:
        x1, y1, x2, y2 = self.box
        return (
            f"{self.expression} {self.probability:.0%}  box {x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}  "
            f"pose {_pose_text(self.pose)}  region {self.region}"
        )


@dataclass(frozen=True, eq=False)
class Expressions:
    """Expressions of the n faces of one image, the detector's surest face first.

    ``len(e)`` is n; ``e[0]`` is a `Face`; ``e[:2]``, ``e[mask]`` and ``e[indices]`` are again `Expressions`.
    The arrays cannot be written to.

    Attributes:
        boxes: (n, 4) float32, x1 y1 x2 y2, pixels of the image as given (turned as its EXIF says), origin top left.
        scores: (n,) float32, the detector's confidence 0..1; NaN where no detector ran.
        pose: (n, 3) float32, yaw pitch roll in degrees, signs as in `Pose`; NaN where unknown.
        probabilities: (n, C) float32, rows sum to 1, columns in the order of ``labels``.
        mu: (n, R) float32 in 0..1, self-attention of each region.
        nu: (n, R) float32 in 0..1, relation-attention of each region.
        attention: (n, R) float32, share of each region in the decision, rows sum to 1.
        regions: (R, 4) or, where they follow the landmarks, (n, R, 4) float32: boxes of the regions, x1 y1 x2 y2
            in 0..1 of the aligned face; region 0 is the whole face.
        region_names: R names.
        labels: C names of expressions.
        landmarks: (n, 5, 2) float32, x y in pixels, in ``LANDMARKS`` order; None where unknown.
        aligned: (n, 4, 2) float32, corners of the aligned face in pixels of the image: x y of its top left,
            top right, bottom right and bottom left; None where the faces were not aligned.
        image_size: width, height in pixels; None where the faces come from images of different sizes.
        source: name of the image, as given; None for an image from memory.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    pose: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    mu: NDArray[np.float32]
    nu: NDArray[np.float32]
    attention: NDArray[np.float32]
    regions: NDArray[np.float32]
    region_names: tuple[str, ...]
    labels: tuple[str, ...] = LABELS
    landmarks: NDArray[np.float32] | None = None
    aligned: NDArray[np.float32] | None = None
    image_size: tuple[int, int] | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        n, c, r = len(self.boxes), len(self.labels), len(self.region_names)
        expected: dict[str, tuple[tuple[int, ...], ...]] = {
            "boxes": ((n, 4),),
            "scores": ((n,),),
            "pose": ((n, 3),),
            "probabilities": ((n, c),),
            "mu": ((n, r),),
            "nu": ((n, r),),
            "attention": ((n, r),),
            "regions": ((r, 4), (n, r, 4)),
            "landmarks": ((n, len(LANDMARKS), 2),),
            "aligned": ((n, 4, 2),),
        }
        for name, shapes in expected.items():
            array = getattr(self, name)
            if array is None and name in ("landmarks", "aligned"):
                continue
            if array.shape not in shapes:
                raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}, got {array.shape}")
            view = np.asarray(array, dtype=np.float32).view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Face]:
        return (self._face(index) for index in range(len(self)))

    @overload
    def __getitem__(self, key: int | np.integer[Any]) -> Face: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | Sequence[bool] | NDArray[Any]) -> Self: ...
    def __getitem__(self, key: Any) -> Face | Self:
        if isinstance(key, int | np.integer):
            if not -len(self) <= key < len(self):
                raise IndexError(f"face {key} of {len(self)}")
            return self._face(int(key) % len(self))
        return self._select(key if isinstance(key, slice) else _checked_key(key))

    @property
    def expressions(self) -> tuple[str, ...]:
        """The most probable expression of each face."""
        return tuple(self.labels[column] for column in self.probabilities.argmax(axis=1))

    def probability_of(self, expression: str) -> NDArray[np.float32]:
        """Probability (n,) of an expression by its name or alias ("happy" is "happiness").

        Raises:
            ValueError: the model knows no such expression.
        """
        return self.probabilities[:, self.labels.index(_find_label(expression, self.labels))]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-safe Python values, in the form of docs/results.md; what is unknown is None."""
        return {
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "image_size": None if self.image_size is None else list(self.image_size),
            "labels": list(self.labels),
            "faces": [self._face_dict(index, face) for index, face in enumerate(self)],
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """`to_dict` as JSON text, on one line unless ``indent`` is given."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=indent)

    def to_rows(self) -> list[dict[str, Any]]:
        """One mapping a face with the keys of `row_columns`, for tables; what is unknown is None."""
        return [self._row(index, face) for index, face in enumerate(self)]

    def __str__(self) -> str:
        count = f"{len(self)} {'face' if len(self) == 1 else 'faces'}"
        lines = [f"{self.source or 'image'}: {count}"]
        return "\n".join(lines + [f"  {index}  {face}" for index, face in enumerate(self)])

    def __repr__(self) -> str:
        return f"<Expressions of {self.source or 'image'}: {len(self)} faces ({', '.join(self.expressions)})>"

    def _select(self, key: Any) -> Self:
        chosen: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            shared = each.name == "regions" and value.ndim == 2
            chosen[each.name] = value[key] if isinstance(value, np.ndarray) and not shared else value
        return type(self)(**chosen)

    def _face(self, index: int) -> Face:
        score = float(self.scores[index])
        angles = self.pose[index].tolist()
        points = None if self.landmarks is None else self.landmarks[index].tolist()
        boxes = (self.regions if self.regions.ndim == 2 else self.regions[index]).tolist()
        weights = (self.mu[index].tolist(), self.nu[index].tolist(), self.attention[index].tolist())
        named_regions = zip(self.region_names, map(tuple, boxes), *weights, strict=True)
        return Face(
            box=Box(*self.boxes[index].tolist()),
            score=None if math.isnan(score) else score,
            probabilities=_by_name(self.labels, self.probabilities[index].tolist()),
            pose=None if any(map(math.isnan, angles)) else Pose(*angles),
            landmarks=None if points is None else _by_name(LANDMARKS, [(x, y) for x, y in points]),
            regions=tuple(Region(*each) for each in named_regions),
        )

    def _face_dict(self, index: int, face: Face) -> dict[str, Any]:
        return {
            "face": index,
            "box": face.box._asdict(),
            "score": face.score,
            "expression": face.expression,
            "probability": face.probability,
            "probabilities": dict(face.probabilities),
            "pose": None if face.pose is None else face.pose._asdict(),
            "landmarks": None if face.landmarks is None else {k: list(v) for k, v in face.landmarks.items()},
            "region": face.region,
            "regions": [region._asdict() | {"box": list(region.box)} for region in face.regions],
            "aligned": None if self.aligned is None else self.aligned[index].tolist(),
        }

    def _row(self, index: int, face: Face) -> dict[str, Any]:
        pose = (None, None, None) if face.pose is None else face.pose
        probabilities = face.probabilities.values()
        values = (self.source, index, *face.box, face.expression, face.probability, *probabilities, *pose, face.region)
        return dict(zip(row_columns(self.labels), values, strict=True))


def row_columns(labels: Sequence[str] = LABELS) -> tuple[str, ...]:
    """Column names of a table of faces.

    ``image`` is the source, ``face`` its number in the image from 0, ``x1 y1 x2 y2`` its box in pixels, ``p_...``
    one probability a label, ``yaw pitch roll`` degrees, ``region`` the name of the region with the largest weight.

    >>> row_columns(["calm", "tense"])[6:10]
    ('expression', 'probability', 'p_calm', 'p_tense')
    """
    place = ("image", "face", "x1", "y1", "x2", "y2")
    return (*place, "expression", "probability", *(f"p_{label}" for label in labels), "yaw", "pitch", "roll", "region")


def _by_name(names: Sequence[str], values: Sequence[_Value]) -> Mapping[str, _Value]:
    return dict(zip(names, values, strict=True))


def _checked_key(key: Any) -> NDArray[Any]:
    indices = np.asarray(key)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "biu"):
        raise TypeError(f"faces are chosen by a number, a slice, a mask or numbers, got {key!r}")
    return indices if indices.size or indices.dtype.kind == "b" else indices.astype(np.intp)


def _find_label(expression: str, labels: tuple[str, ...]) -> str:
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
    return "unknown" if pose is None else "yaw {:+.0f} pitch {:+.0f} roll {:+.0f}".format(*pose)
