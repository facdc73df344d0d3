"""What annotators said, read from Label Studio's JSON export."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regionfer.annotation.label_studio import SCHEMA
from regionfer.annotation.questions import Judgement, Question, judge, questions, unknown_annotator
from regionfer.annotation.table import AttributeTable
from regionfer.datasets.findings import Finding
from regionfer.datasets.tables import explained
from regionfer.errors import DatasetError

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, pixels."""

SAME_BOX = 1.0
"""Pixels by which the sides of a face's box may differ: tables as CSV are rounded."""

_HOW = "in Label Studio choose Export, then JSON (not JSON-MIN or another format)"
_OURS = ("name", "face", "regionfer")
"""Fields that `regionfer.annotation.label_studio.export_tasks` writes into the data of each task."""
_KEEP = "'regionfer annotate export' writes it; import its tasks into Label Studio as they are, and export again"
_CONFIGURED = "use the labelling configuration that was exported with the tasks"


@dataclass(frozen=True, eq=False)
class Export:
    """The content of an export.

    Attributes:
        tasks: number of tasks.
        judgements: what was said, one a face and annotator.
        boxes: the boxes that the tasks of each of these faces were made of; None where a task does not say.
        table: fingerprint of the table whose faces these are.
        labels: the expressions that could be chosen.
        findings: annotations that were left out, and why.
    """

    tasks: int
    judgements: tuple[Judgement, ...]
    boxes: Mapping[tuple[str, int], tuple[Box | None, ...]]
    table: str
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_export(path: str | Path) -> Export:
    """Read an export of a project whose tasks `regionfer.annotation.label_studio.export_tasks` wrote.

    Skipped and empty annotations are left out; of several of one annotator on one face, the last is taken. One that
    names no annotator is taken for that of another person.

    Raises:
        DatasetError: it is no such export: another format or project, or a field is missing.
    """
    path = Path(path)
    tasks = _load(path)
    _check_project(path, tasks)
    marks = {json.dumps(_mark(f"{path}, task {_name(task, i)}", task), sort_keys=True) for i, task in enumerate(tasks)}
    if len(marks) > 1:
        raise DatasetError(f"{path}: has tasks of {len(marks)} tables; import the exports of each project by itself")
    mark = json.loads(marks.pop())
    asked = questions(tuple(mark["labels"]))
    said: dict[tuple[str, int, str], Judgement] = {}
    boxes: dict[tuple[str, int], tuple[Box | None, ...]] = {}
    nameless: Counter[tuple[str, int]] = Counter()
    findings: list[Finding] = []
    for number, task in enumerate(tasks):
        for item in _judgements(f"{path}, task {_name(task, number)}", task, asked):
            if isinstance(item, Finding):
                findings.append(item)
                continue
            if not item.annotator:
                nameless[item.key] += 1
                item = replace(item, annotator=unknown_annotator(nameless[item.key]))
            key = (*item.key, item.annotator)
            if key in said:
                findings.append(_repeated(item))
            said[key] = item
            boxes[item.key] = (*boxes.get(item.key, ()), _box(task))
    if nameless:
        findings.insert(0, _nameless(nameless.total()))
    if not said:
        raise DatasetError(
            f"{path}: none of its {len(tasks):,} tasks has an annotation yet; annotate, then export again"
        )
    return Export(
        len(tasks), tuple(said.values()), MappingProxyType(boxes), mark["table"], tuple(mark["labels"]), tuple(findings)
    )


def _load(path: Path) -> list[Any]:
    with explained(path):
        text = path.read_text(encoding="utf-8-sig")
    try:
        tasks = json.loads(text)
    except ValueError as error:
        raise DatasetError(f"{path}: expected Label Studio's JSON export, found no JSON: {error}; {_HOW}") from error
    if not isinstance(tasks, list) or not tasks:
        found = "an empty list" if tasks == [] else f"one {type(tasks).__name__}"
        raise DatasetError(f"{path}: expected a list of tasks, found {found}; {_HOW}")
    return tasks


def _name(task: Any, number: int) -> Any:
    return task.get("id", number + 1) if isinstance(task, dict) else number + 1


def _check_project(path: Path, tasks: Sequence[Any]) -> None:
    """Refuse an export none of whose tasks looks as if `export_tasks` wrote it, saying what it is about."""
    found = [task["data"] for task in tasks if isinstance(task, dict) and isinstance(task.get("data"), dict)]
    if not found or any("regionfer" in data or {"name", "face"} <= data.keys() for data in found):
        return
    held = ", ".join(dict.fromkeys(str(name) for data in found for name in data)) or "nothing"
    answered = ", ".join(dict.fromkeys(name for task in tasks for name in _answered(task))) or "nothing"
    raise DatasetError(
        f"{path}: the export of another project: its tasks hold {held[:200]} and answer {answered[:200]}; expected "
        f"those that 'regionfer annotate export' writes, which hold {', '.join(_OURS)} and ask "
        f"{', '.join(questions(()))}"
    )


def _answered(task: Any) -> Iterator[str]:
    """Names of the questions that the annotations of a task answer, whatever else may be wrong with it."""
    annotations = task.get("annotations") if isinstance(task, dict) else None
    for annotation in annotations if isinstance(annotations, list) else ():
        results = annotation.get("result") if isinstance(annotation, dict) else None
        for result in results if isinstance(results, list) else ():
            if isinstance(result, dict) and "from_name" in result:
                yield str(result["from_name"])


def _mark(where: str, task: Any) -> Mapping[str, Any]:
    """What `export_tasks` noted in a task's data."""
    _need(where, task, ("data", "annotations"), _HOW)
    data = task["data"]
    _need(f"{where}, data", data, _OURS, _KEEP)
    mark = data["regionfer"]
    _need(f"{where}, data, regionfer", mark, ("schema", "table", "labels"), _KEEP)
    if mark["schema"] != SCHEMA:
        raise DatasetError(f"{where}: made by another release (schema {mark['schema']}, this one reads {SCHEMA})")
    _check(f"{where}, data, name", data["name"], isinstance(data["name"], str), "text")
    _check(f"{where}, data, face", data["face"], type(data["face"]) is int, "a whole number")
    _check(f"{where}, data, regionfer, table", mark["table"], isinstance(mark["table"], str), "text")
    _check(f"{where}, data, regionfer, labels", mark["labels"], _is_texts(mark["labels"]), "a list of expressions")
    box = data.get("box")
    numbers = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    _check(f"{where}, data, box", box, box is None or numbers, "four numbers")
    return dict(mark)


def _check(where: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise DatasetError(f"{where}: expected {expected}, found {value!r:.80}; {_KEEP}")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _box(task: Any) -> Box | None:
    box = task["data"].get("box")
    return None if box is None else (box[0], box[1], box[2], box[3])


def _need(where: str, value: Any, keys: Sequence[str], advice: str) -> None:
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: expected an object, found {type(value).__name__}; {advice}")
    if missing := [key for key in keys if key not in value]:
        found = ", ".join(map(str, value)) or "nothing"
        raise DatasetError(f"{where}: lacks {', '.join(missing)}; found: {found[:200]}; {advice}")


def _judgements(where: str, task: Any, asked: Mapping[str, Question]) -> Iterator[Judgement | Finding]:
    data, given = task["data"], task["annotations"]
    if not isinstance(given, list):
        raise DatasetError(f"{where}: expected a list of annotations, found {type(given).__name__}; {_HOW}")
    for annotation in sorted(given, key=_age):
        number = annotation.get("id", "") if isinstance(annotation, dict) else ""
        _need(f"{where}, annotation {number}".rstrip(), annotation, ("result", "completed_by"), _HOW)
        face = f"{data['name']}, face {data['face']}"
        known = _annotator(annotation["completed_by"])
        who = known or "unknown"
        if annotation.get("was_cancelled"):
            yield Finding("skipped", f"{face}: skipped by annotator {who}", severity="note")
            continue
        chosen = dict(_choices(f"{where}, annotation of {who}", annotation["result"], asked))
        if not chosen:
            yield Finding("empty", f"{face}: annotator {who} chose nothing", severity="warning")
            continue
        yield Judgement(data["name"], data["face"], known, judge(chosen))


def _age(annotation: Any) -> tuple[str, int]:
    """What orders the annotations of a task in time."""
    if not isinstance(annotation, dict):
        return "", 0
    number = annotation.get("id")
    time = annotation.get("updated_at") or annotation.get("created_at") or ""
    return str(time), number if isinstance(number, int) else 0


def _annotator(completed_by: Any) -> str:
    """Who made an annotation; "" if it does not say.

    Label Studio writes the number of a user, or an object, which depends on how the export is made; null of annotations
    that were imported, and of users who were deleted.
    """
    if isinstance(completed_by, dict):
        completed_by = completed_by.get("email") or completed_by.get("id")
    return "" if completed_by is None else str(completed_by)


def _choices(where: str, results: Any, asked: Mapping[str, Question]) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(results, list):
        raise DatasetError(f"{where}: expected a list of results, found {type(results).__name__}; {_HOW}")
    for result in results:
        _need(where, result, ("from_name", "value"), _HOW)
        name, value = str(result["from_name"]), result["value"]
        if name not in asked:
            raise DatasetError(
                f"{where}: answers a question {name!r}, which is not asked here; expected {', '.join(asked)}; "
                f"{_CONFIGURED}"
            )
        _need(f"{where}, {name}", value, ("choices",), _HOW)
        if not isinstance(value["choices"], list):
            raise DatasetError(f"{where}, {name}: expected a list of answers, found {value['choices']!r:.80}")
        question, answers = asked[name], tuple(value["choices"])
        if strange := [answer for answer in answers if answer not in question.answers]:
            raise DatasetError(
                f"{where}, {name}: expected one of {', '.join(question.answers)}; "
                f"found {', '.join(map(str, strange))}; {_CONFIGURED}"
            )
        if len(answers) > 1 and not question.several:
            raise DatasetError(f"{where}, {name}: expected one answer, found {', '.join(answers)}")
        if answers:
            yield name, answers


def _nameless(count: int) -> Finding:
    what = "1 annotation names" if count == 1 else f"{count:,} annotations name"
    text = f"{what} no annotator (completed_by is null); each counts as another annotator of its face"
    return Finding("nameless", text, severity="note", count=count)


def _repeated(judgement: Judgement) -> Finding:
    text = f"{judgement.image}, face {judgement.face}: annotated by {judgement.annotator} again; the last is taken"
    return Finding("repeated", text, severity="warning")


def of_table(export: Export, table: AttributeTable, path: str | Path) -> Export:
    """What an export says of the faces of a table; the others are left out, and a finding each of the kinds "image",
    "face", "box" and "no box" counts and names them. Of tasks without a box, that it fits is taken for granted.

    Raises:
        DatasetError: the tasks were made from another table, or no face is left.
    """
    if export.table != table.fingerprint:
        chosen, known = ", ".join(export.labels), ", ".join(table.card.labels)
        labels = "" if chosen == known else f", the expressions to choose from were {chosen}, its model knows {known}"
        raise DatasetError(
            f"{path}: the export of another project: its tasks were made from table {export.table}, this table of "
            f"{table.card.dataset} is {table.fingerprint}{labels}; give the table that was exported"
        )
    faces = _Known(table)
    kinds = {key: faces.misfit(key, boxes) for key, boxes in export.boxes.items()}
    findings = tuple(_misfits(kinds, table))
    fitting = tuple(each for each in export.judgements if kinds[each.key] in ("", NO_BOX))
    if not fitting:
        raise DatasetError(
            f"{path}: none of its {len(kinds):,} faces is left: {'; '.join(each.text for each in findings)}"
        )
    return replace(export, judgements=fitting, findings=(*findings, *export.findings))


NO_BOX = "no box"

MISFITS: Mapping[str, str] = MappingProxyType(
    {
        "image": "of an image that is not in the table of {dataset}: left out",
        "face": "whose number that image does not have in the table of {dataset}: left out",
        "box": "with another box in the table of {dataset}, so another face: left out",
        NO_BOX: "in tasks without a box, so not compared with the table of {dataset}",
    }
)
"""How a face of an export may not be one of a table."""


class _Known:
    """The faces of a table."""

    def __init__(self, table: AttributeTable) -> None:
        self._boxes = {row.key: (row.x1, row.y1, row.x2, row.y2) for row in table.rows}
        self._images = {row.image for row in table.rows}

    def misfit(self, key: tuple[str, int], boxes: Sequence[Box | None]) -> str:
        """One of `MISFITS`, or "" of a face of the table."""
        if key not in self._boxes:
            return "face" if key[0] in self._images else "image"
        given = [box for box in boxes if box is not None]
        if any(abs(a - b) > SAME_BOX for box in given for a, b in zip(box, self._boxes[key], strict=True)):
            return "box"
        return "" if len(given) == len(boxes) else NO_BOX


def _misfits(kinds: Mapping[tuple[str, int], str], table: AttributeTable) -> Iterator[Finding]:
    for kind, text in MISFITS.items():
        names = [f"{image}, face {face}" for (image, face), each in kinds.items() if each == kind]
        if names:
            faces = f"{len(names):,} of {len(kinds):,} faces"
            told = f"{faces} {text.format(dataset=table.card.dataset)}, such as {names[0]}"
            yield Finding(
                kind, told, severity="note" if kind == NO_BOX else "error", count=len(names), examples=tuple(names[:3])
            )
