"""The model file: an ONNX graph from aligned faces to expressions, with a card that says what it is.

The file is made by ``regionfer export`` and read here with ONNX Runtime; no torch is needed. Its graph has

* an input ``faces``, uint8 (N, H, W, 3) RGB, any N and any H = W (the card says which side is best), and, where
  the regions follow the face, an input ``landmarks``, float32 (N, 5, 2), x y in 0..1 of the aligned face;
* the outputs ``probabilities`` (N, C), ``mu``, ``nu`` and ``attention`` (N, R), all float32, and any of
  ``visibility`` (N, R), ``occlusion`` (N, 6) and ``pose`` (N, 3), float32, which older files lack: see `ModelOutput`;
* one JSON object in its metadata under the key ``regionfer``: the `ModelCard`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from regionfer.errors import ModelError
from regionfer.model_card import ModelCard
from regionfer.regions import LANDMARKS
from regionfer.runtime import choose_providers, open_session
from regionfer.shipped import find_model, is_shipped, read_model

METADATA_KEY = "regionfer"
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

    @property
    def fingerprint(self) -> str:
        """What tells this model from others, in every process: the hash of its file.

        Of a class of one's own its ``repr``, which should say what it is.
        """
        return repr(self)

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
            path: the ONNX file, or one of the names in `regionfer.shipped.SHIPPED` for a model that comes with this
                package; None for the default one.
            providers: ONNX Runtime's execution providers, the preferred one first; None for CUDA where the
                installed ONNX Runtime has it, else the CPU.
            threads: CPU threads for one run; None for one a core.

        Raises:
            ModelError: the file is missing, damaged, no ONNX model, not made by ``regionfer export``, or of another
                schema version; or a provider is not available.
        """
        source = find_model(path)
        content, sha256 = read_model(source)
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

    @property
    def fingerprint(self) -> str:
        """As in `Classifier`."""
        return self.sha256

    def __repr__(self) -> str:
        return f"ExpressionModel({str(self.source)!r}, {self.card.name} {self.card.version})"

    def __str__(self) -> str:
        return self.source.stem if is_shipped(self.source) else str(self.source)

    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        inputs: dict[str, NDArray[Any]] = {"faces": faces}
        if landmarks is not None:
            inputs["landmarks"] = landmarks
        return ModelOutput(**dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True)))


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
