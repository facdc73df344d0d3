"""What a model file says of itself, as JSON in its metadata: labels, regions, data, licence, recipe, figures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from regionfer.errors import ModelError
from regionfer.labels import LABELS
from regionfer.regions import LANDMARKS, WHOLE_FACE, landmark_regions
from regionfer.uncertainty import Uncertainty

SCHEMA = 1
"""Version of the metadata and of the graph's inputs and outputs that this release reads and writes."""

FACE_REGION = "face"
"""Name of region 0, the whole aligned face."""


@dataclass(frozen=True)
class RegionCard:
    """The regions that a model looks at.

    Attributes:
        generator: "fixed", "random" (drawn once, then kept) or "landmark"; "none" for a plain backbone.
        names: R names, the first is "face".
        boxes: R boxes x1 y1 x2 y2 in 0..1 of the aligned face, the first is the whole face; None where the
            boxes follow the landmarks.
        radii: landmark regions only: half sides of their squares, as shares of the face.
    """

    generator: str = "none"
    names: tuple[str, ...] = (FACE_REGION,)
    boxes: tuple[tuple[float, ...], ...] | None = (WHOLE_FACE,)
    radii: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.names or self.names[0] != FACE_REGION or len(set(self.names)) != len(self.names):
            raise ValueError(f"regions.names must be distinct and begin with {FACE_REGION!r}, got {self.names}")
        if self.boxes is None:
            if len(self.names) != 1 + len(LANDMARKS) * len(self.radii):
                raise ValueError(f"regions: {len(self.names)} names do not fit {len(self.radii)} radii and no boxes")
        elif len(self.boxes) != len(self.names) or any(len(box) != 4 for box in self.boxes):
            raise ValueError(f"regions: expected a box of four numbers for each of {len(self.names)} names")

    def place(self, faces: int, landmarks: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Boxes of the regions, x1 y1 x2 y2 in 0..1 of the aligned face.

        Args:
            faces: number of faces n.
            landmarks: (n, 5, 2) in 0..1 of the aligned face; needed where the boxes follow them.

        Returns:
            (R, 4) where the boxes are the same for all faces, else (n, R, 4).

        Raises:
            ValueError: the regions follow landmarks, and none are given.
        """
        if self.boxes is not None:
            return np.array(self.boxes, dtype=np.float32)
        if landmarks is None:
            raise ValueError("the regions of this model follow the landmarks: landmarks must be given")
        whole = np.tile(np.array(WHOLE_FACE, dtype=np.float32), (faces, 1, 1))
        return np.concatenate([whole, landmark_regions(landmarks, self.radii)], axis=1)


@dataclass(frozen=True)
class ModelCard:
    """What a model is: stored as JSON in the model file itself.

    Attributes:
        name: a short name, for people.
        version: version of the weights.
        labels: C names of the expressions, in the order of the probabilities.
        face_size: side in pixels at which faces are best aligned for this model.
        input_size: side in pixels to which the graph itself resizes every region.
        color: what the backbone sees, "rgb" or "grey"; for information, the input is RGB either way.
        regions: the regions it looks at.
        temperature: what the logits were divided by to calibrate the probabilities; 1 if not calibrated.
        architecture: backbone, attention and their sizes.
        training: data, their licence, recipe, commit, origin and licence of the pretraining.
        metrics: measured results, one mapping each with at least ``dataset``, ``n`` and ``accuracy`` (0..1), and
            where known ``split``, ``protocol``, ``accuracy_ci95`` (low, high), ``mean_recall``, ``baseline``.
        licence: licence of the weights.
        limits: where it is known to fail, and what it is not for.
        uncertainty: from which probability on its answers count: ``threshold``, ``risk``, ``coverage`` and ``n``, and
            ``curve`` with lists ``threshold``, ``coverage`` and ``risk``; see `Uncertainty`. Where known, also the
            ``dataset`` and ``split`` it was fitted to, and ``measured_risk`` with ``measured_risk_ci95`` (low, high).
            Empty if not measured.
        occlusion_threshold: a face counts as covered where the probability of it is at least this.
        prior_shift: C numbers that the graph adds to the logits, for other class frequencies than in training; empty
            if none.
    """

    name: str
    version: str
    face_size: int
    input_size: int
    labels: tuple[str, ...] = LABELS
    color: str = "rgb"
    regions: RegionCard = RegionCard()
    temperature: float = 1.0
    architecture: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[Mapping[str, Any], ...] = ()
    licence: str = "unknown"
    limits: str = "not stated"
    uncertainty: Mapping[str, Any] = field(default_factory=dict)
    occlusion_threshold: float = 0.5
    prior_shift: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels must be two or more distinct names, got {self.labels}")
        if self.face_size < 1 or self.input_size < 1:
            raise ValueError(f"sizes must be positive, got face_size {self.face_size}, input_size {self.input_size}")
        if self.color not in ("rgb", "grey"):
            raise ValueError(f"color must be 'rgb' or 'grey', got {self.color!r}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        for metric in self.metrics:
            if missing := {"dataset", "n", "accuracy"} - metric.keys():
                raise ValueError(f"a metric lacks {', '.join(sorted(missing))}: {dict(metric)}")
            if not 0 <= metric["accuracy"] <= 1:
                raise ValueError(f"accuracy must be in 0..1, got {metric['accuracy']}")
        if self.uncertainty:
            Uncertainty.from_dict(self.uncertainty)
        if not 0 < self.occlusion_threshold < 1:
            raise ValueError(f"occlusion_threshold must be between 0 and 1, got {self.occlusion_threshold}")
        if self.prior_shift and len(self.prior_shift) != len(self.labels):
            raise ValueError(f"prior_shift must have {len(self.labels)} numbers or none, got {self.prior_shift}")

    @property
    def threshold_faces(self) -> tuple[tuple[str, str], ...]:
        """Dataset and split that the threshold of uncertain answers was fitted to; empty where the card does not say.

        Cards of earlier releases say it only of their figures, which are of the same faces where these are as many.
        """
        places = [metric for metric in self.metrics if metric["n"] == self.uncertainty.get("n")]
        stated = [self.uncertainty] if "dataset" in self.uncertainty else places
        return tuple((str(each["dataset"]), str(each.get("split"))) for each in stated)

    def to_dict(self) -> dict[str, Any]:
        """All fields and the schema version, as JSON-safe values."""
        card: dict[str, Any] = {"schema": SCHEMA} | {f.name: getattr(self, f.name) for f in fields(self)}
        card["regions"] = {f.name: getattr(self.regions, f.name) for f in fields(self.regions)}
        return json.loads(json.dumps(card, allow_nan=False))  # type: ignore[no-any-return]

    def to_json(self) -> str:
        """The card as stored in the model file.

        >>> card = ModelCard(name="tiny", version="1", face_size=48, input_size=96)
        >>> ModelCard.from_json(card.to_json()) == card
        True
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a card.

        Raises:
            ModelError: no JSON object, another schema version, a key that is missing, or a value out of range.
        """
        try:
            stored = json.loads(text)
        except json.JSONDecodeError as error:
            raise ModelError(f"the metadata is not JSON ({error})") from error
        if not isinstance(stored, dict):
            raise ModelError(f"the metadata must be a JSON object, found {type(stored).__name__}")
        if (schema := stored.get("schema")) != SCHEMA:
            raise ModelError(
                f"made for schema version {schema}, this release reads {SCHEMA}; export the checkpoint again, "
                "or install the release of regionfer that made it"
            )
        try:
            return cls._from_stored(stored)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ModelError(f"the metadata does not fit schema version {SCHEMA}: {reason}") from error

    @classmethod
    def _from_stored(cls, stored: Mapping[str, Any]) -> Self:
        regions = stored["regions"]
        boxes = regions["boxes"]
        return cls(
            name=str(stored["name"]),
            version=str(stored["version"]),
            labels=tuple(str(label) for label in stored["labels"]),
            face_size=int(stored["face_size"]),
            input_size=int(stored["input_size"]),
            color=stored["color"],
            regions=RegionCard(
                generator=str(regions["generator"]),
                names=tuple(str(name) for name in regions["names"]),
                boxes=None if boxes is None else tuple(tuple(float(x) for x in box) for box in boxes),
                radii=tuple(float(radius) for radius in regions.get("radii", ())),
            ),
            temperature=float(stored["temperature"]),
            architecture=dict(stored["architecture"]),
            training=dict(stored["training"]),
            metrics=tuple(dict(metric) for metric in stored["metrics"]),
            licence=str(stored["licence"]),
            limits=str(stored.get("limits", "not stated")),
            uncertainty=dict(stored.get("uncertainty", {})),
            occlusion_threshold=float(stored.get("occlusion_threshold", 0.5)),
            prior_shift=tuple(float(value) for value in stored.get("prior_shift", ())),
        )
