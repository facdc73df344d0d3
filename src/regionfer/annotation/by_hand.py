"""The labels that annotators gave, as a table: what most of them say, and where they disagree."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from regionfer.annotation.agreement import Dispute, Verdict
from regionfer.annotation.questions import NO, OCCLUSIONS, PLACES, UNUSABLE, YES
from regionfer.datasets.tables import read_table
from regionfer.errors import DatasetError, writing


@dataclass(frozen=True)
class HandLabel:
    """What most annotators say of a face; "" where no answer has a majority.

    Attributes:
        image, face: which face it is, as in the table of attributes.
        annotators: number of those who judged it.
        agreed: "no" if the face is among the disagreements, else "yes".
        unusable: "yes" or "no".
        expression: one of those that could be chosen.
        pose_bin: one of `regionfer.annotation.attributes.POSE_BINS`.
        occluded: "yes" or "no".
        occlusion: what covers the face, joined by "+".
        place: where it is covered, joined by "+".
    """

    image: str
    face: int
    annotators: int
    agreed: str
    unusable: str
    expression: str
    pose_bin: str
    occluded: str
    occlusion: str
    place: str

    @property
    def key(self) -> tuple[str, int]:
        """What names the face."""
        return self.image, self.face


COLUMNS = tuple(each.name for each in fields(HandLabel))


def hand_label(verdict: Verdict) -> HandLabel:
    """A verdict as a row."""
    values = verdict.values
    return HandLabel(
        image=verdict.image,
        face=verdict.face,
        annotators=verdict.annotators,
        agreed=NO if verdict.disputed else YES,
        unusable=values.get(UNUSABLE, ""),
        expression=values.get("expression", ""),
        pose_bin=values.get("pose_bin", ""),
        occluded=values.get("occluded", ""),
        occlusion=_joined(values, "occlusion", OCCLUSIONS),
        place=_joined(values, "place", PLACES),
    )


def _joined(values: Mapping[str, str], question: str, answers: Sequence[str]) -> str:
    return "+".join(answer for answer in answers if values.get(f"{question}: {answer}") == YES)


def write_hand_labels(path: str | Path, verdicts: Iterable[Verdict]) -> None:
    """Write a row a face.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(Path(path), COLUMNS, (astuple(hand_label(verdict)) for verdict in verdicts))


def write_disagreements(path: str | Path, verdicts: Iterable[Verdict]) -> int:
    """Write a row a face and field on which annotators disagree; the number of rows.

    Columns: image, face, field, majority ("" if there is none), answers ("1: fear; 2: unusable"), reason
    ("no majority of 2 annotators: 1 fear, 1 unusable").

    Raises:
        OutputError: the file cannot be written.
    """
    rows = [
        (each.image, each.face, name, each.values.get(name, ""), _answers(dispute), dispute.reason)
        for each in verdicts
        for name, dispute in each.disputed.items()
    ]
    _write(Path(path), ("image", "face", "field", "majority", "answers", "reason"), rows)
    return len(rows)


def _answers(dispute: Dispute) -> str:
    return "; ".join(f"{annotator}: {answer}" for annotator, answer in dispute.answers.items())


def read_hand_labels(path: str | Path) -> Mapping[tuple[str, int], HandLabel]:
    """Read what `write_hand_labels` wrote, by face.

    Raises:
        DatasetError: a column is missing, or a cell is of another form.
    """
    path = Path(path)
    table = read_table(path, COLUMNS)
    labels = (_parse(path, line, values) for line, values in table.rows)
    return {label.key: label for label in labels}


def _parse(path: Path, line: int, values: Mapping[str, str]) -> HandLabel:
    for name in ("face", "annotators"):
        if not values[name].isdigit():
            raise DatasetError(f"{path}, line {line}: column {name}: expected a number, found {values[name]!r}")
    for name in ("unusable", "occluded"):
        if values[name] not in (YES, NO, ""):
            raise DatasetError(f"{path}, line {line}: column {name}: expected yes or no, found {values[name]!r}")
    numbers = {name: int(values[name]) for name in ("face", "annotators")}
    return HandLabel(**{name: values[name] for name in COLUMNS} | numbers)  # type: ignore[arg-type]


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    part = path.with_name(f"{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        part.replace(path)
