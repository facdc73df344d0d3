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
from regionfer.datasets.findings import Finding
from regionfer.datasets.tables import explained
from regionfer.errors import DatasetError

Box = tuple[float, float, float, float]
"""x1 y1 x2 y2, pixels."""

_HOW = "in Label Studio choose Export, then JSON (not JSON-MIN or another format)"
_OURS = ("name", "face", "regionfer")
"""Fields that `regionfer.annotation.label_studio.export_tasks` writes into the data of each task."""
_KEEP = "'regionfer annotate export' writes it; import its tasks into Label Studio as they are, and export again"
_CONFIGURED = "use the labelling configuration that was exported with the tasks"


@dataclass(frozen=True)
class Origin:
    """What a task was made of, as far as it says: those of earlier releases do not say all.

    Attributes:
        box: of the face.
        digest: of the pixels of its image, see `regionfer.annotation.inputs.digest`.
    """

    box: Box | None
    digest: str | None


@dataclass(frozen=True, eq=False)
class Export:
    """The content of an export.

    Attributes:
        tasks: number of tasks.
        judgements: what was said, one a face and annotator.
        origins: what the tasks of each of these faces were made of.
        table: fingerprint of the table whose faces these are.
        labels: the expressions that could be chosen.
        findings: annotations that were left out, and why.
    """

    tasks: int
    judgements: tuple[Judgement, ...]
    origins: Mapping[tuple[str, int], tuple[Origin, ...]]
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
    origins: dict[tuple[str, int], tuple[Origin, ...]] = {}
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
            origins[item.key] = (*origins.get(item.key, ()), _origin(task))
    if nameless:
        findings.insert(0, _nameless(nameless.total()))
    if not said:
        raise DatasetError(
            f"{path}: none of its {len(tasks):,} tasks has an annotation yet; annotate, then export again"
        )
    return Export(
        len(tasks),
        tuple(said.values()),
        MappingProxyType(origins),
        mark["table"],
        tuple(mark["labels"]),
        tuple(findings),
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
    digest = data.get("digest")
    _check(f"{where}, data, digest", digest, digest is None or isinstance(digest, str), "text")
    return dict(mark)


def _check(where: str, value: Any, fits: bool, expected: str) -> None:
    if not fits:
        raise DatasetError(f"{where}: expected {expected}, found {value!r:.80}; {_KEEP}")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _origin(task: Any) -> Origin:
    box = task["data"].get("box")
    return Origin(None if box is None else (box[0], box[1], box[2], box[3]), task["data"].get("digest"))


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
