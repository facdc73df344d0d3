"""The faces of a stress test: a labelled dataset's, or those found in one's own photos."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets import Manifest
from regionfer.datasets.manifest import resize_face
from regionfer.errors import ImageError, ModelError
from regionfer.evaluation.answers import check_faces, find_columns, load_face, looks, match_classes
from regionfer.evaluation.evaluate import protocol_of
from regionfer.evaluation.known import Known, find_known
from regionfer.faces import Detections
from regionfer.faces.alignment import align_faces, aligned_landmarks
from regionfer.fitness import MIN_FACE_SIDE
from regionfer.images import read_image
from regionfer.onnx_model import Classifier
from regionfer.parts import digest
from regionfer.recognizer import MIN_CONFIDENCE, Recognizer

CHUNK = 16
"""Faces taken at once, or more where one photo has them: they, and one degradation of them, are all that is in memory.
They are also what an interruption costs at most: some seconds."""


@dataclass(frozen=True, eq=False)
class FaceBatch:
    """Some faces, clean.

    Attributes:
        names: n names.
        pixels: (n, S, S, 3) uint8 RGB.
        landmarks: (n, 5, 2) float32, x y in 0..1 of the face; NaN where unknown.
        labels: (n,) int64, or None where they are not known.
        images: how many images, readable or not, these faces took.
        failures: which of these could not be read: why, by name.
        left_out: images, or faces in them, that were read and could not be used: why, by name.
    """

    names: tuple[str, ...]
    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    images: int
    failures: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)


class Taken(NamedTuple):
    """What an interrupted run has gone through."""

    images: int = 0
    faces: int = 0


class StressFaces(Protocol):
    """Where faces come from."""

    title: str
    """Of the report: whose faces."""

    labelled: bool

    failures: Mapping[str, str]
    """Inputs in which no image was found: why, by name."""

    @property
    def images(self) -> int:
        """How many images there are."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON values that settle which faces these are, so that a run goes on with the same only."""
        ...

    def classes(self, recognizers: Sequence[Recognizer]) -> tuple[str, ...]:
        """Names of the classes that answers are counted in, for a model and, perhaps, its baseline.

        Raises:
            ModelError: a model does not fit them, or lacks landmarks.
            DatasetError: the dataset does not say where the faces are.
        """
        ...

    def protocol(self, recognizer: Recognizer) -> str:
        """How faces and labels came about."""
        ...

    def known(self, recognizers: Sequence[Recognizer]) -> tuple[Known, ...]:
        """Which of a model and, perhaps, its baseline know these images, by their cards."""
        ...

    def batches(self, recognizers: Sequence[Recognizer], side: int, taken: Taken) -> Iterator[FaceBatch]:
        """The faces, some `CHUNK` at once, of a side in pixels, with landmarks where a model needs them.

        After what whole batches have ``taken``, the same batches come as without an interruption.
        """
        ...


@dataclass(eq=False)
class DatasetFaces:
    """The faces of a dataset as it gives them, with its labels.

    Args:
        manifest: usually one split.
        limit: take so many at most, drawn at random; None for all.
        seed: of the draw.
    """

    manifest: Manifest
    limit: int | None = None
    seed: int = 0
    labelled: bool = field(default=True, init=False)
    failures: Mapping[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        splits = "+".join(dict.fromkeys(self.manifest.splits.tolist()))
        self.title = f"{self.manifest.dataset}, {splits}"
        self.rows = _draw(len(self.manifest), self.limit, self.seed)
        self._names = self.manifest.face_names

    @property
    def images(self) -> int:
        """How many images there are, of those drawn."""
        return len(self.rows)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The dataset, where it is, and the faces drawn with their labels and boxes."""
        drawn = self.manifest.select(self.rows)
        boxes = [None] * len(drawn) if drawn.boxes is None else drawn.boxes.tolist()
        faces = zip(drawn.face_names, drawn.labels.tolist(), boxes, strict=True)
        images = digest(f"{name}\0{label}\0{box}" for name, label, box in faces)
        return {"title": self.title, "folder": str(self.manifest.root.resolve()), "images": images}

    def classes(self, recognizers: Sequence[Recognizer]) -> tuple[str, ...]:
        """The dataset's classes, once the models were checked to know them."""
        for each in recognizers:
            find_columns(each, self.manifest)
            check_faces(each, self.manifest)
        return self.manifest.classes

    def protocol(self, recognizer: Recognizer) -> str:
        """The dataset's own."""
        drawn = f"; {len(self.rows):,} of {len(self.manifest):,} images, drawn at random with seed {self.seed}"
        whole = len(self.rows) == len(self.manifest)
        return protocol_of(recognizer, self.manifest) + ("" if whole else drawn)

    def known(self, recognizers: Sequence[Recognizer]) -> tuple[Known, ...]:
        """As far as the cards name the dataset and its splits."""
        return find_known([each.model for each in recognizers], self.manifest)

    def batches(self, recognizers: Sequence[Recognizer], side: int, taken: Taken) -> Iterator[FaceBatch]:
        """The faces in the order of the dataset."""
        needs_landmarks = any(each.model.needs_landmarks for each in recognizers)
        for start in range(taken.images, len(self.rows), CHUNK):
            rows = self.rows[start : start + CHUNK]
            faces = [load_face(self.manifest, int(row), side) for row in rows]
            names = [self._names[row] for row in rows]
            failures = {name: face for name, face in zip(names, faces, strict=True) if isinstance(face, str)}
            good = [(n, f, int(row)) for n, f, row in zip(names, faces, rows, strict=True) if not isinstance(f, str)]
            left_out = {n: _TOO_SMALL for n, face, _ in good if face.side < MIN_FACE_SIDE}
            lacking = {n for n, face, _ in good if needs_landmarks and np.isnan(face.landmarks).any()}
            left_out |= dict.fromkeys(sorted(lacking), "the dataset gives no landmarks of this face")
            good = [each for each in good if each[0] not in left_out]
            yield FaceBatch(
                names=tuple(name for name, _, _ in good),
                pixels=_stack([face.pixels for _, face, _ in good], (side, side, 3), np.uint8),
                landmarks=_stack([face.landmarks for _, face, _ in good], (5, 2), np.float32),
                labels=self.manifest.labels[[row for _, _, row in good]],
                images=len(rows),
                failures=failures,
                left_out=left_out,
            )


@dataclass(eq=False)
class PhotoFaces:
    """The faces in photos, which nobody labelled.

    Args:
        paths: the photos.
        detect: find and align the faces; else each image is one face.
        min_confidence: leave out faces of which the detector is less sure, 0..1.
        limit: take so many faces at most, from photos in random order; None for all.
        seed: of that order.
        failures: inputs in which no photo was found: why, by name.
    """

    paths: Sequence[Path]
    detect: bool = True
    min_confidence: float = MIN_CONFIDENCE
    limit: int | None = None
    seed: int = 0
    failures: Mapping[str, str] = field(default_factory=dict)
    labelled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.title = "own photos" if self.detect else "own face crops"
        self._order = list(self.paths)
        if self.limit is not None:
            self._order = [self.paths[number] for number in np.random.default_rng(self.seed).permutation(self.images)]

    @property
    def images(self) -> int:
        """How many photos there are."""
        return len(self.paths)

    @property
    def settings(self) -> Mapping[str, Any]:
        """The photos in their order, and how faces are found in them."""
        return {
            "photos": digest(str(path.absolute()) for path in self._order),
            "detect": self.detect,
            "min_confidence": self.min_confidence if self.detect else None,
            "limit": self.limit,
        }

    def classes(self, recognizers: Sequence[Recognizer]) -> tuple[str, ...]:
        """The model's labels, once the baseline was checked to have the same."""
        for each in recognizers:
            if each.model.needs_landmarks and not self.detect:
                raise ModelError(
                    f"{each.model}: its regions follow landmarks, which are found in photos only; leave out "
                    "--no-detect, or choose a model with fixed regions"
                )
        labels = recognizers[0].model.card.labels
        for each in recognizers[1:]:
            _check_same(labels, each.model)
        return labels

    def protocol(self, recognizer: Recognizer) -> str:
        """How the faces were got."""
        way = "faces found and aligned" if self.detect else "each image taken as one face"
        drawn = ""
        if self.limit is not None:
            faces = "1 face" if self.limit == 1 else f"{self.limit:,} faces"
            drawn = f"; at most {faces}, photos in random order, seed {self.seed}"
        rule = f"{way}, then degraded; an answer agrees if it is the model's own to the clean face{drawn}"
        return f"{rule}; {looks(recognizer)}"

    def known(self, recognizers: Sequence[Recognizer]) -> tuple[Known, ...]:
        """None: no card tells of one's own photos."""
        return ()

    def batches(self, recognizers: Sequence[Recognizer], side: int, taken: Taken) -> Iterator[FaceBatch]:
        """The faces in the order in which the photos are read, all of a photo together."""
        left = sys.maxsize if self.limit is None else self.limit - taken.faces
        waiting: list[FaceBatch] = []
        for path in self._order[taken.images :]:
            if left == 0:
                break
            batch = _first(self._read(path, recognizers[0], side), left)
            waiting.append(batch)
            left -= len(batch.names)
            if len(waiting) >= CHUNK or sum(len(each.names) for each in waiting) >= CHUNK:
                yield _join(waiting)
                waiting = []
        if waiting:
            yield _join(waiting)

    def _read(self, path: Path, recognizer: Recognizer, side: int) -> FaceBatch:
        nothing = FaceBatch((), np.empty((0, side, side, 3), np.uint8), np.empty((0, 5, 2), np.float32), None, 1)
        try:
            image = read_image(path)
        except ImageError as error:
            return replace(nothing, failures={str(path): str(error)})
        if self.detect:
            found = recognizer.detector.detect(image)
            found = found[found.scores >= self.min_confidence]
            sides = (found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1)
        else:
            found, sides = Detections.empty(), np.array([min(image.shape[:2])], np.float32)
        if len(sides) == 0:
            return replace(nothing, left_out={str(path): "no face found"})
        names = [str(path) if len(sides) == 1 else f"{path}, face {number + 1}" for number in range(len(sides))]
        nothing = replace(
            nothing,
            left_out={name: _TOO_SMALL for name, each in zip(names, sides, strict=True) if each < MIN_FACE_SIDE},
        )
        names = [name for name, each in zip(names, sides, strict=True) if each >= MIN_FACE_SIDE]
        if not names:
            return nothing
        if not self.detect:
            return replace(nothing, names=tuple(names), pixels=resize_face(image, side)[None], landmarks=_UNKNOWN)
        found = found[sides >= MIN_FACE_SIDE]
        return replace(
            nothing,
            names=tuple(names),
            pixels=align_faces(image, found, side),
            landmarks=aligned_landmarks(found),
        )


_TOO_SMALL = f"a face below {MIN_FACE_SIDE} pixels, too small to be judged"

_UNKNOWN = np.full((1, 5, 2), np.nan, np.float32)


def _draw(count: int, limit: int | None, seed: int) -> NDArray[np.intp]:
    """Rows drawn at random, in their order."""
    if limit is None or limit >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:limit])


def _check_same(labels: Sequence[str], baseline: Classifier) -> None:
    """Raise ModelError unless a baseline has these labels and no others."""
    try:
        match_classes(baseline.card.labels, labels)
        match_classes(labels, baseline.card.labels)
    except ModelError as error:
        raise ModelError(
            f"{baseline}: a baseline needs the model's labels, {', '.join(labels)}; "
            f"this one has {', '.join(baseline.card.labels)}"
        ) from error


def _stack(items: Sequence[NDArray[Any]], shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    return np.stack(items) if items else np.empty((0, *shape), dtype)


def _join(batches: Sequence[FaceBatch]) -> FaceBatch:
    return FaceBatch(
        names=tuple(name for batch in batches for name in batch.names),
        pixels=np.concatenate([batch.pixels for batch in batches]),
        landmarks=np.concatenate([batch.landmarks for batch in batches]),
        labels=None,
        images=sum(batch.images for batch in batches),
        failures={name: reason for batch in batches for name, reason in batch.failures.items()},
        left_out={name: reason for batch in batches for name, reason in batch.left_out.items()},
    )


def _first(batch: FaceBatch, count: int) -> FaceBatch:
    """The first faces of an unlabelled batch."""
    return replace(batch, names=batch.names[:count], pixels=batch.pixels[:count], landmarks=batch.landmarks[:count])
