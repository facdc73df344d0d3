"""What models answer to degraded faces, a group of faces after the other, and how that is kept on disk."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.degradations import Degraded, degrade
from regionfer.evaluation.answers import Advance, match_classes, restrict
from regionfer.evaluation.stress_faces import FaceBatch
from regionfer.recognizer import Recognizer


class Condition(NamedTuple):
    """What was done to all faces: a kind of `DEGRADATIONS` and its level; level 0 is nothing."""

    kind: str
    level: int


CLEAN = Condition("clean", 0)


@dataclass(frozen=True, eq=False)
class StressAnswers:
    """The answers of m models to n faces under c conditions.

    Attributes:
        names: n names of faces.
        images: how many images, readable or not, these faces took.
        labels: (n,) int64, or None where they are not known.
        failures: images that could not be read: why, by name.
        left_out: images or faces that could not be used: why, by name.
        amounts: (c,) float64, sum of the amounts over the faces.
        probabilities: (m, c, n, C) float32, rows sum to 1.
        judgeable: (m, c, n) bool, False for faces that cannot be judged, see `regionfer.results.UNCERTAIN_REASONS`.
        pictures: by condition the first e faces, (e, T, T, 3) uint8 RGB.
    """

    names: tuple[str, ...]
    images: int
    labels: NDArray[np.int64] | None
    failures: Mapping[str, str]
    left_out: Mapping[str, str]
    amounts: NDArray[np.float64]
    probabilities: NDArray[np.float32]
    judgeable: NDArray[np.bool_]
    pictures: tuple[NDArray[np.uint8], ...]

    def to_bytes(self) -> bytes:
        """As a compressed archive of arrays."""
        notes = {"names": self.names, "images": self.images, "failures": self.failures, "left_out": self.left_out}
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ("amounts", "probabilities", "judgeable")}
        arrays |= {} if self.labels is None else {"labels": self.labels}
        arrays |= {f"pictures_{number}": pictures for number, pictures in enumerate(self.pictures)}
        file = BytesIO()
        np.savez_compressed(file, notes=np.frombuffer(json.dumps(notes).encode(), np.uint8), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "StressAnswers":
        """Read what `to_bytes` wrote.

        Raises:
            ValueError, KeyError: it is something else.
        """
        try:
            with np.load(BytesIO(content), allow_pickle=False) as file:
                arrays = dict(file)
        except (zipfile.BadZipFile, EOFError) as error:
            raise ValueError(str(error)) from error
        notes = json.loads(arrays.pop("notes").tobytes())
        notes["names"] = tuple(notes["names"])
        labels = arrays.pop("labels", None)
        figures = {name: arrays.pop(name) for name in ("amounts", "probabilities", "judgeable")}
        pictures = tuple(arrays[f"pictures_{number}"] for number in range(len(arrays)))
        return cls(labels=labels, pictures=pictures, **notes, **figures)


@dataclass(frozen=True)
class Asker:
    """Degrades faces, and lets models answer.

    Attributes:
        recognizers: m models.
        classes: C names of classes, in which answers are counted.
        conditions: c conditions.
        seed: of the degradations.
        batch_size: largest number of faces in one run of the network.
    """

    recognizers: Sequence[Recognizer]
    classes: Sequence[str]
    conditions: Sequence[Condition]
    seed: int
    batch_size: int

    def ask(self, batch: FaceBatch, pictures: int, advance: Advance = lambda images: None) -> StressAnswers:
        """The answers to some faces, and the pictures of the first of them."""
        models, conditions, n = len(self.recognizers), len(self.conditions), len(batch.names)
        amounts = np.zeros(conditions)
        probabilities = np.zeros((models, conditions, n, len(self.classes)), np.float32)
        judgeable = np.zeros((models, conditions, n), bool)
        shown = []
        for number, condition in enumerate(self.conditions):
            if n == 0:
                advance(batch.images / conditions)
                continue
            # Last condition's pictures go before this one's are made.
            degraded = [_degrade(batch, row, condition, self.seed) for row in range(n)]
            amounts[number] = sum(each.amount for each in degraded)
            for who, recognizer in enumerate(self.recognizers):
                probabilities[who, number], judgeable[who, number] = self._answer(recognizer, degraded)
            if pictures > 0:
                shown.append(np.stack([each.pixels for each in degraded[:pictures]]))
            advance(batch.images / conditions)
        return StressAnswers(
            names=batch.names,
            images=batch.images,
            labels=batch.labels,
            failures=batch.failures,
            left_out=batch.left_out,
            amounts=amounts,
            probabilities=probabilities,
            judgeable=judgeable,
            pictures=tuple(shown),
        )

    def _answer(
        self, recognizer: Recognizer, degraded: Sequence[Degraded]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Probabilities (n, C) of faces of one side, and whether each can be judged."""
        model = recognizer.model
        result = recognizer.recognize_crops(
            np.stack([each.pixels for each in degraded]),
            np.stack([each.landmarks for each in degraded]) if model.needs_landmarks else None,
            batch_size=self.batch_size,
        )
        return restrict(result.probabilities, match_classes(model.card.labels, self.classes)), result.judgeable


def _degrade(batch: FaceBatch, row: int, condition: Condition, seed: int) -> Degraded:
    face, landmarks = batch.pixels[row], batch.landmarks[row]
    if condition == CLEAN:
        return Degraded(face, landmarks, 0.0)
    return degrade(face, condition.kind, condition.level, landmarks=landmarks, seed=seed)
