"""Describe all faces of a folder or dataset, in parts, so that an interrupted run goes on where it stopped."""

import csv
import json
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regionfer.annotation.attributes import FaceRow, describe_faces
from regionfer.annotation.inputs import Inputs, is_crops
from regionfer.annotation.table import AttributeTable, TableCard, check_table_path
from regionfer.errors import DatasetError, writing
from regionfer.images import ImageSource
from regionfer.parts import Parts, digest
from regionfer.recognizer import MIN_CONFIDENCE, Outcome, Recognizer

CROPS, PHOTOS = 512, 32
"""Face crops, or photos, a part. An interruption costs a part at most, and what is begun of the next: some seconds of
work. Faces of two parts never go through the network together, so that the numbers of a part are the same, whether the
run was interrupted or not."""

Reasons = Mapping[tuple[str, int | None], str]
"""Why a row is lost, by its image and the number of its face there; None where no face of the image is known."""

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""

NO_FACE = "no face found"
OTHER_FACE = "no face found where the dataset has it"


@dataclass(frozen=True)
class Annotated:
    """What a run did.

    Attributes:
        table: where the table is.
        images: number of images gone through.
        faces: number of rows.
        resumed: number of images that an interrupted run had done before.
        redone: number of images that it had done, but that were gone through again with those replaced since.
        misses: why, by image in which no face was found, or by the dataset's face that was not.
        failures: why, by image or dataset's face whose image could not be read; folders are among them.
        losses: the file that lists both; None if there are none.
    """

    table: Path
    images: int
    faces: int
    resumed: int
    redone: int
    misses: Reasons
    failures: Reasons
    losses: Path | None


def annotate(
    inputs: Inputs,
    out: str | Path,
    recognizer: Recognizer,
    *,
    detect: bool | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    progress: Progress = lambda done, total: None,
) -> Annotated:
    """Write a table with a row a face; if a run with the same images and settings was interrupted, go on.

    Parts that are done lie in a folder beside the table, which is removed at the end. Those with an image that was
    replaced since are done again.

    Args:
        inputs: the images.
        out: the table, .parquet or .csv.
        recognizer: finds and recognises the faces.
        detect: look for faces; by default unless the dataset has face crops.
        min_confidence: leave out faces of which the detector is less sure.
        progress: told how many images are done.

    Raises:
        OutputError: the table cannot be written.
        DatasetError: another run was interrupted here, or the images are photos and faces must not be looked for.
        ModelError: the model needs landmarks, which crops lack.
    """
    out = check_table_path(out)
    detect = not is_crops(inputs) if detect is None else detect
    if not detect and inputs.manifest is not None and not inputs.manifest.crops:
        raise DatasetError(f"{inputs.root}: {inputs.dataset} has photos here, not face crops; let faces be looked for")
    card = _card(inputs, recognizer, detect, min_confidence)
    run = _Run(inputs, recognizer, card)
    kept = Parts(out.with_name(f"{out.name}.parts"))
    begun = range(min(kept.open(_settings(inputs, card)), run.count))
    fresh = {number for number in begun if kept.load(number, _Part.from_json).stamp == run.stamp(number)}
    done = _Counted(run.size(fresh), len(inputs), progress)
    missing = [number for number in range(run.count) if number not in fresh]
    with closing(run.describe(missing, done)) as described:
        for number, part in described:
            kept.save(number, part.to_json().encode())
    parts = [kept.load(number, _Part.from_json) for number in range(run.count)]
    table = AttributeTable(card, tuple(row for part in parts for row in part.rows))
    table.write(out)
    misses = {key: reason for part in parts for key, reason in part.misses.items()}
    failures: dict[tuple[str, int | None], str] = {(text.partition(": ")[0], None): text for text in inputs.unreadable}
    failures |= {key: reason for part in parts for key, reason in part.failures.items()}
    losses = _write_losses(out, misses, failures)
    kept.remove()
    resumed, redone = run.size(fresh), run.size(set(begun) - fresh)
    return Annotated(out, len(inputs), len(table), resumed, redone, misses, failures, losses)


class _Counted:
    """Counts images that are done, those of an interrupted run first, and tells of each."""

    def __init__(self, done: int, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = done, total, progress
        progress(done, total)

    def advance(self) -> None:
        """Another one is done."""
        self._done += 1
        self._progress(self._done, self._total)


@dataclass
class _Part:
    """What became of some images, as they were when ``stamp`` was taken."""

    stamp: str = ""
    rows: list[FaceRow] = field(default_factory=list)
    misses: dict[tuple[str, int | None], str] = field(default_factory=dict)
    failures: dict[tuple[str, int | None], str] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(
            {"stamp": self.stamp, "rows": [vars(row) for row in self.rows]}
            | {"misses": _lines(self.misses), "failures": _lines(self.failures)}
        )

    @classmethod
    def from_json(cls, text: bytes) -> "_Part":
        values = json.loads(text)
        rows = [FaceRow(**row) for row in values["rows"]]
        misses, failures = (
            {(name, face): reason for name, face, reason in values[kind]} for kind in ("misses", "failures")
        )
        return cls(values["stamp"], rows, misses, failures)


def _lines(reasons: Reasons) -> list[tuple[str, int | None, str]]:
    return [(name, face, reason) for (name, face), reason in reasons.items()]


@dataclass(frozen=True, eq=False)
class _Run:
    """The parts of the work."""

    inputs: Inputs
    recognizer: Recognizer
    card: TableCard

    @property
    def count(self) -> int:
        return -(-len(self.inputs) // _size_of_parts(self.card))

    def size(self, numbers: Collection[int]) -> int:
        """Number of images in some parts."""
        return sum(len(self._rows(number)) for number in numbers)

    def stamp(self, number: int) -> str:
        """What changes when an image of a part is replaced."""
        return digest(self.inputs.stamp(row) for row in self._rows(number))

    def _rows(self, number: int) -> range:
        size = _size_of_parts(self.card)
        return range(number * size, min((number + 1) * size, len(self.inputs)))

    def describe(self, numbers: Sequence[int], done: _Counted) -> Generator[tuple[int, _Part], None, None]:
        """Some parts, in rising order: their numbers and what became of their images. The next is begun meanwhile."""
        stamps: dict[int, str] = {}

        def sources() -> Iterator[ImageSource]:
            for number in numbers:
                # Before the images are read: what is replaced meanwhile must be seen later.
                stamps[number] = self.stamp(number)
                yield from (self.inputs.source(row) for row in self._rows(number))

        outcomes = self.recognizer.stream(
            sources(),
            detect=self.card.detect,
            min_confidence=MIN_CONFIDENCE if self.card.min_confidence is None else self.card.min_confidence,
            group_size=_size_of_parts(self.card),
            keep_images=True,
        )
        with closing(outcomes):
            for number in numbers:
                part = _Part()
                for row in self._rows(number):
                    self._take(part, row, next(outcomes))
                    done.advance()
                part.stamp = stamps[number]
                yield number, part

    def _take(self, part: _Part, row: int, outcome: Outcome) -> None:
        name, first = self.inputs.names[row], self.inputs.first_faces[row]
        key = (name, None if self.inputs.manifest is None else first)
        if outcome.result is None or outcome.image is None:
            part.failures[key] = str(outcome.error)
            return
        chosen = self.inputs.chosen(row, outcome.result.boxes)
        if not chosen:
            part.misses[key] = OTHER_FACE if len(outcome.result) else NO_FACE
        label, split = self.inputs.labels[row], self.inputs.splits[row]
        part.rows += describe_faces(outcome.image, outcome.result[chosen], name, label, split, first=first)


def _card(inputs: Inputs, recognizer: Recognizer, detect: bool, min_confidence: float) -> TableCard:
    model = recognizer.model
    return TableCard(
        dataset=inputs.dataset,
        reader=inputs.reader,
        root=str(inputs.root),
        classes=inputs.classes,
        labels=model.card.labels,
        model=f"{model.card.name} {model.card.version}",
        model_sha256=model.fingerprint,
        detect=detect,
        min_confidence=min_confidence if detect else None,
        threshold=recognizer.threshold,
        upright=recognizer.upright,
    )


def _size_of_parts(card: TableCard) -> int:
    return PHOTOS if card.detect else CROPS


def _settings(inputs: Inputs, card: TableCard) -> Mapping[str, Any]:
    lines = zip(inputs.names, inputs.labels, inputs.splits, strict=True)
    return {
        "folder": card.root,
        "images": digest(f"{name}\0{label}\0{split}" for name, label, split in lines),
        "model": card.model_sha256,
        "detect": card.detect,
        "min_confidence": card.min_confidence,
        "threshold": card.threshold,
        "upright": card.upright,
        "part": _size_of_parts(card),
    }


def _write_losses(table: Path, misses: Reasons, failures: Reasons) -> Path | None:
    """List the images and faces without a row beside the table; a list of an earlier run goes."""
    path = table.with_name(f"{table.stem}.misses.csv")
    with writing(path):
        if not misses and not failures:
            path.unlink(missing_ok=True)
            return None
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image", "face", "reason"))
            told = [(name, face, reason.split(f"{name}: ", 1)[-1]) for name, face, reason in _lines(failures)]
            writer.writerows([*_lines(misses), *told])  # the image has a column of its own
    return path
