"""The model file: an ONNX graph from aligned faces to expressions, with a card that says what it is.

The file is made by ``regionfer export`` and read here with ONNX Runtime; no torch is needed. Its graph has

* an input ``faces``, uint8 (N, H, W, 3) RGB, any N and any H = W (the card says which side is best), and, where
  the regions follow the face, an input ``landmarks``, float32 (N, 5, 2), x y in 0..1 of the aligned face;
* the outputs ``probabilities`` (N, C), ``mu``, ``nu`` and ``attention`` (N, R), all float32, and any of
  ``visibility`` (N, R), ``occlusion`` (N, 6) and ``pose`` (N, 3), float32, which older files lack: see `ModelOutput`;
* one JSON object in its metadata under the key ``regionfer``: the `ModelCard`.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from regionfer.errors import ModelError
from regionfer.labels import LABELS
from regionfer.regions import LANDMARKS, WHOLE_FACE, landmark_regions
from regionfer.runtime import choose_providers, open_session
from regionfer.uncertainty import Uncertainty

SCHEMA = 1
"""Version of the metadata and of the graph's inputs and outputs that this release reads and writes."""

METADATA_KEY = "regionfer"
FACE_REGION = "face"
"""Name of region 0, the whole aligned face."""

SHIPPED = ("default", "accurate")
"""Names of the models that come with this package: the fast one, and the one that errs least."""

WEIGHTS = Path(__file__).parent / "weights"
MAX_FACES_PER_RUN = 8
"""Faces that go through the network at once, unless the caller says otherwise; bounds the memory of a run.

On a CPU, 4 to 8 take the least time a face, and 32 take a fifth more (measured: the intermediate maps no longer fit
its cache) and 130 MB more. On a GPU, ask for more."""

OUTPUTS = ("probabilities", "mu", "nu", "attention")
"""Outputs that every model has."""

HEADS = ("visibility", "occlusion", "pose")
"""Outputs that a model may have, too."""

OCCLUSION_PARTS = ("probability", "fraction", "upper", "lower", "left", "right")
"""Columns of the output ``occlusion``."""

_PYTORCH = (".pth", ".pt", ".ckpt")

_ANGLES = ("yaw", "pitch", "roll")


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


class ModelOutput(NamedTuple):
    """What the network says about n faces.

    Attributes:
        probabilities: (n, C) float32, rows sum to 1, columns in the order of the card's labels.
        mu: (n, R) float32 in 0..1, self-attention of each region.
        nu: (n, R) float32 in 0..1, relation-attention of each region.
        attention: (n, R) float32, mu * nu as shares, rows sum to 1.
        visibility: (n, R) float32 in 0..1, how visible each region is. None where the model does not say, as below.
        occlusion: (n, 6) float32 in 0..1: probability that something covers the face, and the covered share of the
            face and of its upper, lower, left and right half; left and right as in the image.
        pose: (n, 3) float32, yaw pitch roll of the head in the aligned face, degrees, signs as in `results.Pose`.
    """

    probabilities: NDArray[np.float32]
    mu: NDArray[np.float32]
    nu: NDArray[np.float32]
    attention: NDArray[np.float32]
    visibility: NDArray[np.float32] | None = None
    occlusion: NDArray[np.float32] | None = None
    pose: NDArray[np.float32] | None = None


class Classifier(ABC):
    """What the recogniser needs of a model: one file, or several fused.

    Attributes:
        card: labels, face size and regions.
        heads: those of `HEADS` that it has.
        needs_landmarks: whether regions follow the landmarks.
        concurrent: whether several threads may run it at once, and gain by it: on a CPU, not on a GPU.
    """

    card: ModelCard
    heads: tuple[str, ...]
    needs_landmarks: bool
    concurrent: bool = False

    def run(
        self,
        faces: NDArray[np.uint8],
        landmarks: NDArray[np.float32] | None = None,
        *,
        batch_size: int = MAX_FACES_PER_RUN,
    ) -> ModelOutput:
        """Classify aligned faces, at most ``batch_size`` of them in a run of the network.

        Args:
            faces: (n, S, S, 3) uint8 RGB; S = ``card.face_size`` is best.
            landmarks: (n, 5, 2) float32, x y in 0..1 of the aligned face, in ``LANDMARKS`` order. Needed where the
                model's regions follow them, else left aside.
            batch_size: largest number of faces in one run, 1 or more.

        Raises:
            ValueError: an array of another shape or type, or no landmarks where they are needed.
        """
        _check_faces(faces)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        points = _checked_landmarks(landmarks, len(faces)) if self.needs_landmarks else None
        if len(faces) == 0:
            widths = _widths(self.card)
            return ModelOutput(**{name: _empty(widths[name]) for name in (*OUTPUTS, *self.heads)})
        parts = (slice(start, start + batch_size) for start in range(0, len(faces), batch_size))
        runs = [self._run(faces[part], None if points is None else points[part]) for part in parts]
        return runs[0] if len(runs) == 1 else _join(runs)

    def with_threads(self, threads: int) -> "Classifier":
        """The model with so many CPU threads a run, for callers that make several runs at once.

        Itself if that cannot be chosen.
        """
        del threads
        return self

    @abstractmethod
    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        """One run of the network, on one face or more."""


class ExpressionModel(Classifier):
    """A model file, ready to run. Make one with `ExpressionModel.load`. Safe to use from several threads.

    Attributes:
        card: what the model is.
        source: the file it was read from.
        sha256: hexadecimal SHA-256 of the file.
    """

    def __init__(self, session: Any, card: ModelCard, source: Path, sha256: str) -> None:
        self._session = session
        self._outputs = tuple(node.name for node in session.get_outputs())
        self.needs_landmarks = any(node.name == "landmarks" for node in session.get_inputs())
        self.heads = tuple(name for name in HEADS if name in self._outputs)
        self.card = card
        self.source = source
        self.sha256 = sha256
        self.concurrent = self.providers[0] == "CPUExecutionProvider"
        self._reopen: Callable[[int], Any] | None = None

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> Self:
        """Read a model file.

        Args:
            path: the ONNX file, or one of the names in ``SHIPPED`` for a model that comes with this package; None for
                the default one.
            providers: ONNX Runtime's execution providers, the preferred one first; None for CUDA where the
                installed ONNX Runtime has it, else the CPU.
            threads: CPU threads for one run; None for one a core.

        Raises:
            ModelError: the file is missing, damaged, no ONNX model, not made by ``regionfer export``, or of another
                schema version; or a provider is not available.
        """
        source = find_model(path)
        content = _read(source)
        sha256 = hashlib.sha256(content).hexdigest()
        if source.parent == WEIGHTS:
            _verify_shipped(source, sha256)
        session = _open_session(source, content, providers, threads)
        try:
            card = _read_card(session)
            _check_graph(session, card)
        except ModelError as error:
            raise ModelError(f"{source}: {error}") from error
        model = cls(session, card, source, sha256)
        if model.concurrent:
            model._reopen = partial(_open_session, source, content, model.providers)  # not the file: it may change
        return model

    def with_threads(self, threads: int) -> Self:
        """As in `Classifier`: in a session of its own, of the same bytes."""
        if self._reopen is None:
            return self
        model = type(self)(self._reopen(threads), self.card, self.source, self.sha256)
        model._reopen = self._reopen
        return model

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred one first."""
        return tuple(self._session.get_providers())

    def __repr__(self) -> str:
        return f"ExpressionModel({str(self.source)!r}, {self.card.name} {self.card.version})"

    def __str__(self) -> str:
        return self.source.stem if self.source.parent == WEIGHTS else str(self.source)

    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        inputs: dict[str, NDArray[Any]] = {"faces": faces}
        if landmarks is not None:
            inputs["landmarks"] = landmarks
        return ModelOutput(**dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True)))


class FusedModel(Classifier):
    """Several models as one, by the weighted mean of their probabilities (the paper's score-level fusion).

    The attention shown is that of the first model, whose regions the card names. Occlusion and pose are the mean over
    the models that have these outputs, visibility over those of them with the first model's regions. Probabilities
    that are averaged have another risk at each threshold than those of any one model: the card of two models or more
    has no ``uncertainty``.

    Args:
        models: two or more models with the same labels.
        weights: one non-negative weight a model; equal if None. They need not sum to 1.

    Raises:
        ModelError: the models have other labels than the first.
        ValueError: no models, or weights that do not fit.
    """

    def __init__(self, models: Sequence[Classifier], weights: Sequence[float] | None = None) -> None:
        if not models:
            raise ValueError("expected one model or more to fuse, got none")
        first = models[0].card
        for model in models[1:]:
            if model.card.labels != first.labels:
                raise ModelError(
                    f"{model} has the labels {', '.join(model.card.labels)}, the first model has "
                    f"{', '.join(first.labels)}; only models with the same labels can be fused"
                )
        share = np.asarray([1.0] * len(models) if weights is None else weights, dtype=np.float64)
        if share.shape != (len(models),) or (share < 0).any() or not 0 < share.sum() < np.inf:
            raise ValueError(f"weights must be {len(models)} numbers, none below 0, got {weights}")
        self.models = tuple(models)
        self.weights = tuple((share / share.sum()).tolist())
        self.needs_landmarks = any(model.needs_landmarks for model in models)
        self.heads = tuple(name for name in HEADS if self._sources(name))
        self.concurrent = all(model.concurrent for model in models)
        self.card = first if len(models) == 1 else self._fused_card()

    def with_threads(self, threads: int) -> "FusedModel":
        """As in `Classifier`, of each model."""
        return FusedModel([model.with_threads(threads) for model in self.models], self.weights)

    def __repr__(self) -> str:
        return f"FusedModel({list(self.models)!r}, weights={list(self.weights)})"

    def __str__(self) -> str:
        return " + ".join(map(str, self.models))

    def _fused_card(self) -> ModelCard:
        cards = [model.card for model in self.models]
        sources = self._sources("occlusion") or dict(enumerate(self.weights))
        threshold = sum(weight * cards[index].occlusion_threshold for index, weight in sources.items())
        # The graphs take any side: align for the model that sees most.
        side = max(card.face_size for card in cards)
        return replace(cards[0], face_size=side, uncertainty={}, occlusion_threshold=threshold, prior_shift=())

    def _sources(self, head: str) -> dict[int, float]:
        """The models that a head's answer is the mean of, and their weights; none if no model has it."""
        regions = self.models[0].card.regions
        fit = {
            index: weight
            for index, (model, weight) in enumerate(zip(self.models, self.weights, strict=True))
            if weight > 0 and head in model.heads and (head != "visibility" or model.card.regions == regions)
        }
        whole = sum(fit.values())
        return {index: weight / whole for index, weight in fit.items()}

    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        outputs = [model.run(faces, landmarks, batch_size=len(faces)) for model in self.models]
        fused: dict[str, Any] = dict.fromkeys(HEADS)
        fused |= {name: _mean(outputs, name, self._sources(name)) for name in self.heads}
        fused["probabilities"] = _mean(outputs, "probabilities", dict(enumerate(self.weights)))
        return outputs[0]._replace(**fused)


def _mean(outputs: Sequence[ModelOutput], name: str, weights: Mapping[int, float]) -> NDArray[np.float32]:
    """Weighted mean of an output over some of the models."""
    return np.asarray(sum(weight * getattr(outputs[i], name) for i, weight in weights.items()), dtype=np.float32)


def find_model(path: str | Path | None) -> Path:
    """The file of a model: a path is itself; None, or a name in ``SHIPPED`` that is no file here, one that is shipped.

    >>> find_model("faces.onnx").name, find_model(None).name, find_model("accurate").name
    ('faces.onnx', 'default.onnx', 'accurate.onnx')
    """
    name = SHIPPED[0] if path is None else str(path)
    return WEIGHTS / f"{name}.onnx" if name in SHIPPED and not Path(name).is_file() else Path(name)


def hash_of(model: Classifier) -> str:
    """What names a model: the hash of its file, or of all its files with their weights."""
    if isinstance(model, FusedModel):
        parts = zip(model.weights, model.models, strict=True)
        return " + ".join(f"{weight:.6g} x {hash_of(each)}" for weight, each in parts)
    return model.sha256 if isinstance(model, ExpressionModel) else repr(model)


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except FileNotFoundError as error:
        if source.parent == WEIGHTS:
            raise ModelError(f"{source}: the {source.stem} model is missing; install regionfer again") from error
        raise ModelError(f"{source}: no such model file; {' and '.join(SHIPPED)} come with regionfer") from error
    except OSError as error:
        raise ModelError(f"{source}: cannot be read as a model file ({error.strerror})") from error


def _verify_shipped(source: Path, sha256: str) -> None:
    """Compare the shipped model with the list of hashes that is shipped beside it."""
    sums = _read(source.with_name("SHA256SUMS")).decode()
    expected = {name.lstrip("*"): digest for digest, name in (line.split() for line in sums.splitlines() if line)}
    if expected.get(source.name) != sha256:
        raise ModelError(
            f"{source}: damaged, its SHA-256 is {sha256}, expected {expected.get(source.name)}; install regionfer again"
        )


def _open_session(source: Path, content: bytes, wanted: Sequence[str] | None, threads: int | None) -> Any:
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    try:
        providers = choose_providers(wanted)
    except ValueError as error:
        raise ModelError(f"{source}: {error}") from error
    try:
        session = open_session(content, providers=providers, threads=threads)
    except Exception as error:  # ONNX Runtime's exceptions have no common base but this one
        raise ModelError(f"{source}: {_other_kind(source, content, str(error))}") from error
    if wanted and (lacking := set(providers) - set(session.get_providers())):
        raise ModelError(
            f"{source}: ONNX Runtime could not start {', '.join(sorted(lacking))}; check its driver and libraries, "
            "or choose another provider"
        )
    return session


def _other_kind(source: Path, content: bytes, error: str) -> str:
    """What a file is that ONNX Runtime does not read, and what to do."""
    if source.suffix == ".safetensors":
        model = source.with_suffix(".onnx").name
        return f"a training checkpoint, not a model file; export it first: regionfer export {source} {model}"
    if source.suffix in _PYTORCH or (content.startswith(b"PK\x03\x04") and b"/data.pkl" in content[:4096]):
        return "a PyTorch file; regionfer reads the .onnx models that 'regionfer export' makes"
    if "INVALID_PROTOBUF" in error or not content:
        return "not an ONNX model, or damaged; expected a file made by 'regionfer export'"
    return f"not an ONNX model that ONNX Runtime reads: {error.strip().partition(chr(10))[0]}"


def _read_card(session: Any) -> ModelCard:
    stored = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    if stored is None:
        raise ModelError(
            f"an ONNX model of another kind, without {METADATA_KEY!r} in its metadata; "
            "expected a file made by regionfer export"
        )
    return ModelCard.from_json(stored)


def _check_graph(session: Any, card: ModelCard) -> None:
    """Compare inputs and outputs with the contract at the top of this file; sizes left open are not compared."""
    expected_inputs: dict[str, tuple[str, list[int | None]]] = {"faces": ("tensor(uint8)", [None, None, None, 3])}
    if card.regions.boxes is None:
        expected_inputs["landmarks"] = ("tensor(float)", [None, len(LANDMARKS), 2])
    expected_outputs = {name: ("tensor(float)", [None, width]) for name, width in _widths(card).items()}
    _check_nodes("inputs", session.get_inputs(), expected_inputs)
    _check_nodes("outputs", session.get_outputs(), expected_outputs, optional=HEADS)


def _widths(card: ModelCard) -> dict[str, int]:
    """Columns of each output."""
    regions = len(card.regions.names)
    widths = {"probabilities": len(card.labels), "mu": regions, "nu": regions, "attention": regions}
    return widths | {"visibility": regions, "occlusion": len(OCCLUSION_PARTS), "pose": len(_ANGLES)}


def _check_nodes(
    kind: str,
    found: Sequence[Any],
    expected: Mapping[str, tuple[str, Sequence[int | None]]],
    optional: Sequence[str] = (),
) -> None:
    names = {node.name for node in found}
    if not expected.keys() - optional <= names <= expected.keys():
        wanted = ", ".join(name for name in expected if name not in optional)
        more = f", and perhaps {', '.join(optional)}" if optional else ""
        listed = ", ".join(node.name for node in found)
        raise ModelError(f"wrong {kind}: expected {wanted}{more}, found {listed}; export the checkpoint again")
    for node in found:
        dtype, shape = expected[node.name]
        fits = node.type == dtype and len(node.shape) == len(shape)
        # A size that the graph leaves open is a name (str) or None.
        fits = fits and all(
            want is None or not isinstance(size, int) or size == want
            for size, want in zip(node.shape, shape, strict=False)
        )
        if not fits:
            wanted_shape = tuple("any" if size is None else size for size in shape)
            raise ModelError(
                f"wrong {kind}: expected {node.name} as {dtype} of shape {wanted_shape}, "
                f"found {node.type} of shape {tuple(node.shape)}; export the checkpoint again"
            )


def _check_faces(faces: NDArray[np.uint8]) -> None:
    if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] != 3:
        raise ValueError(f"faces must be uint8 of shape (n, S, S, 3), got {faces.dtype} of shape {faces.shape}")


def _checked_landmarks(landmarks: NDArray[np.float32] | None, faces: int) -> NDArray[np.float32]:
    if landmarks is None:
        raise ValueError("the regions of this model follow the landmarks: landmarks must be given")
    if landmarks.shape != (faces, len(LANDMARKS), 2):
        raise ValueError(f"landmarks must have shape {(faces, len(LANDMARKS), 2)}, got {landmarks.shape}")
    return landmarks.astype(np.float32, copy=False)


def _empty(width: int) -> NDArray[np.float32]:
    return np.empty((0, width), dtype=np.float32)


def _join(runs: Sequence[ModelOutput]) -> ModelOutput:
    """The outputs of several runs in a row."""
    parts: dict[str, Any] = {name: [getattr(run, name) for run in runs] for name in ModelOutput._fields}
    joined: dict[str, Any] = {n: None if each[0] is None else np.concatenate(each) for n, each in parts.items()}
    return ModelOutput(**joined)
