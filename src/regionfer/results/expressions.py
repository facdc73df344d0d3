"""All faces of an image, as arrays, as faces, as JSON, and as rows of a table."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from regionfer.labels import LABELS
from regionfer.regions import LANDMARKS
from regionfer.results.face import IMPROBABLE, Box, Face, Pose, Region, find_label
from regionfer.results.occlusion import Occlusion

_Value = TypeVar("_Value")

_OPTIONAL = ("landmarks", "aligned", "visibility", "occlusion", "unfit")
_PARTS = 6  # columns of `Expressions.occlusion`

SCHEMA_VERSION = 3
"""Version of the form that ``to_dict``, ``to_json`` and ``to_rows`` give."""


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
        landmarks: (n, 5, 2) float32, x y in pixels, in ``LANDMARKS`` order; None where unknown, NaN for faces whose
            detector gives none.
        aligned: (n, 4, 2) float32, corners of the aligned face in pixels of the image: x y of its top left,
            top right, bottom right and bottom left; None where the faces were not aligned.
        image_size: width, height in pixels; None of several crops, each of which is an image of its own.
        source: name of the image, as given; None for an image from memory.
        visibility: (n, R) float32 in 0..1, how visible each region is; None where the model does not say, NaN for
            faces of which nothing can be said: too small, without contrast, or none at all.
        occlusion: (n, 6) float32 in 0..1, columns as `Occlusion`; None and NaN as for ``visibility``.
        occlusion_threshold: probability from which a face counts as covered.
        unfit: (n,) str, why each face cannot be judged, one of `UNCERTAIN_REASONS`, or "" if it can be; None if all
            can be.
        threshold: answers less probable than this are uncertain; None where no threshold is known.
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
    visibility: NDArray[np.float32] | None = None
    occlusion: NDArray[np.float32] | None = None
    occlusion_threshold: float = 0.5
    unfit: NDArray[np.str_] | None = None
    threshold: float | None = None

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
            "visibility": ((n, r),),
            "occlusion": ((n, _PARTS),),
            "unfit": ((n,),),
        }
        for name, shapes in expected.items():
            array = getattr(self, name)
            if array is None and name in _OPTIONAL:
                continue
            if array.shape not in shapes:
                raise ValueError(f"{name} must have shape {' or '.join(map(str, shapes))}, got {array.shape}")
            view = np.asarray(array, dtype=np.str_ if name == "unfit" else np.float32).view()
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

    @property
    def uncertain(self) -> tuple[bool | None, ...]:
        """Whether each answer should not be counted on; see `Face.uncertain`."""
        return tuple(self._uncertain(index) for index in range(len(self)))

    @property
    def uncertain_reasons(self) -> tuple[str | None, ...]:
        """Why each answer should not be counted on; see `Face.uncertain_reason`."""
        return tuple(self._reason(index) for index in range(len(self)))

    @property
    def judgeable(self) -> NDArray[np.bool_]:
        """Whether each face (n,) can be judged at all."""
        return np.ones(len(self), bool) if self.unfit is None else np.asarray(self.unfit == "", bool)

    def probability_of(self, expression: str) -> NDArray[np.float32]:
        """Probability (n,) of an expression by its name or alias ("happy" is "happiness").

        Raises:
            ValueError: the model knows no such expression.
        """
        return self.probabilities[:, self.labels.index(find_label(expression, self.labels))]

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
        lines = [f"{self.source or 'image'}: {self._count()}"]
        return "\n".join(lines + [f"  {index}  {face}" for index, face in enumerate(self)])

    def __repr__(self) -> str:
        return f"<Expressions of {self.source or 'image'}: {self._count()} ({', '.join(self.expressions)})>"

    def _count(self) -> str:
        return f"{len(self)} {'face' if len(self) == 1 else 'faces'}"

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
        points: Mapping[str, tuple[float, float]] | None = None
        if self.landmarks is not None and not np.isnan(self.landmarks[index]).any():
            points = _by_name(LANDMARKS, [(x, y) for x, y in self.landmarks[index].tolist()])
        boxes = (self.regions if self.regions.ndim == 2 else self.regions[index]).tolist()
        weights = [array[index].tolist() for array in (self.mu, self.nu, self.attention)]
        visible = [None] * len(self.region_names) if self.visibility is None else self._visibility(index)
        named_regions = zip(self.region_names, map(tuple, boxes), *weights, visible, strict=True)
        return Face(
            box=Box(*self.boxes[index].tolist()),
            score=None if math.isnan(score) else score,
            probabilities=_by_name(self.labels, self.probabilities[index].tolist()),
            pose=None if any(map(math.isnan, angles)) else Pose(*angles),
            landmarks=points,
            regions=tuple(Region(*each) for each in named_regions),
            occlusion=self._occlusion(index),
            uncertain=self._uncertain(index),
            uncertain_reason=self._reason(index),
        )

    def _occlusion(self, index: int) -> Occlusion | None:
        if self.occlusion is None or np.isnan(self.occlusion[index]).any():
            return None
        return Occlusion._make((*self.occlusion[index].tolist(), self.occlusion_threshold))

    def _visibility(self, index: int) -> list[float | None]:
        assert self.visibility is not None
        return [None if math.isnan(value) else value for value in self.visibility[index].tolist()]

    def _uncertain(self, index: int) -> bool | None:
        return None if self.threshold is None and self.judgeable[index] else self._reason(index) is not None

    def _reason(self, index: int) -> str | None:
        if self.unfit is not None and self.unfit[index]:
            return str(self.unfit[index])
        improbable = self.threshold is not None and float(self.probabilities[index].max()) < self.threshold
        return IMPROBABLE if improbable else None

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
            "occlusion": None if face.occlusion is None else _occlusion_dict(face.occlusion),
            "uncertain": face.uncertain,
            "uncertain_reason": face.uncertain_reason,
        }

    def _row(self, index: int, face: Face) -> dict[str, Any]:
        pose = (None, None, None) if face.pose is None else face.pose
        probabilities = face.probabilities.values()
        answer = (self.source, index, *face.box, face.expression, face.probability, *probabilities, *pose, face.region)
        cover = face.occlusion
        covered: tuple[Any, ...] = (None, None, None, None)
        if cover is not None:
            covered = (cover.occluded, cover.probability, cover.fraction, "+".join(cover.where))
        trust = (face.uncertain, face.uncertain_reason)
        return dict(zip(row_columns(self.labels), (*answer, *covered, *trust), strict=True))


def row_columns(labels: Sequence[str] = LABELS) -> tuple[str, ...]:
    """Column names of a table of faces.

    ``image`` is the source, ``face`` its number in the image from 0, ``x1 y1 x2 y2`` its box in pixels, ``p_...``
    one probability a label, ``yaw pitch roll`` degrees, ``region`` the name of the region with the largest weight,
    ``occluded`` whether the face counts as covered, ``occluded_probability`` how probably it is, ``occluded_fraction``
    how much of it is and ``occluded_where`` its covered halves, joined by "+"; ``uncertain`` whether the answer should
    not be counted on, and ``uncertain_reason`` why. Where a table of attributes has these columns, they mean the same.

    >>> row_columns(["calm", "tense"])[6:10]
    ('expression', 'probability', 'p_calm', 'p_tense')
    """
    place = ("image", "face", "x1", "y1", "x2", "y2")
    answer = ("expression", "probability", *(f"p_{label}" for label in labels), "yaw", "pitch", "roll", "region")
    covered = ("occluded", "occluded_probability", "occluded_fraction", "occluded_where")
    return (*place, *answer, *covered, "uncertain", "uncertain_reason")


def _occlusion_dict(occlusion: Occlusion) -> dict[str, Any]:
    return occlusion._asdict() | {"occluded": occlusion.occluded, "where": list(occlusion.where)}


def _by_name(names: Sequence[str], values: Sequence[_Value]) -> Mapping[str, _Value]:
    return dict(zip(names, values, strict=True))


def _checked_key(key: Any) -> NDArray[Any]:
    indices = np.asarray(key)
    if indices.ndim != 1 or (indices.size and indices.dtype.kind not in "biu"):
        raise TypeError(f"faces are chosen by a number, a slice, a mask or numbers, got {key!r}")
    return indices if indices.size or indices.dtype.kind == "b" else indices.astype(np.intp)
