"""A model on a manifest and its challenge subsets, beside a baseline, with everything a report needs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets import Manifest, Subset
from regionfer.errors import DatasetError
from regionfer.evaluation.answers import (
    Advance,
    Answers,
    answer_faces,
    answer_photos,
    find_columns,
    looking_alike,
    looks,
    match_classes,
)
from regionfer.evaluation.known import Known, find_known, known_dict
from regionfer.evaluation.scores import Comparison, Measured, compare, measure
from regionfer.fusion import FusedModel
from regionfer.metrics import log_losses
from regionfer.onnx_model import Classifier, ExpressionModel
from regionfer.recognizer import Recognizer

SCHEMA_VERSION = 1
"""Version of the form that `Evaluation.to_dict` gives."""

ALL = "all"
"""Name of the set of all faces, beside the names of subsets."""

_MAX_TYPES = 12  # an attribute with more values than this is no kind, but a name or a number of its own


@dataclass(frozen=True, eq=False)
class Results:
    """Answers to one way of asking, faces as given or end to end, and their figures.

    Attributes:
        answers: one a face of the manifest.
        measured: figures by name of the set, `ALL` first, then the subsets.
    """

    answers: Answers
    measured: Mapping[str, Measured]

    def to_dict(self) -> dict[str, Any]:
        """Figures of all faces, and under ``subsets`` those of each subset, as plain values for JSON."""
        figures = {name: measured.to_dict() for name, measured in self.measured.items()}
        overall = figures.pop(ALL)
        return overall | {"subsets": figures}


@dataclass(frozen=True, eq=False)
class ModelResults:
    """What one model, or several fused, achieved.

    Attributes:
        name: names and versions on the model cards.
        models: a mapping a model file: name, version, weight among the fused and, where it comes from a file, file and
            sha256.
        faces: results on the faces as the dataset gives them.
        photos: results end to end; None if not asked for.
    """

    name: str
    models: tuple[Mapping[str, Any], ...]
    faces: Results
    photos: Results | None = None


class Group(NamedTuple):
    """Faces that belong together: all, a subset, or those of one type in a subset.

    Attributes:
        name: such as "occlusion, type 3".
        n: number of faces answered, by the baseline too where there is one.
        accuracy: 0..1.
        baseline_accuracy: 0..1 of the same faces, None without a baseline.
        attention: (R,) mean share of each region in the decision.
    """

    name: str
    n: int
    accuracy: float
    baseline_accuracy: float | None
    attention: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All results of an evaluation.

    Attributes:
        manifest: the n images, usually of one split.
        protocol: how images were kept and labelled, and how the model's classes became those of the dataset.
        subsets: rows of the manifest by name.
        model: the model's results.
        baseline: the baseline's results, or None.
        comparison: model against baseline on the faces as given, by name of the set; empty without a baseline.
        comparison_photos: the same end to end.
        known: the models that learned from these images, or were chosen or fitted on them, by their cards.
    """

    manifest: Manifest
    protocol: str
    subsets: tuple[Subset, ...]
    model: ModelResults
    baseline: ModelResults | None
    comparison: Mapping[str, Comparison]
    comparison_photos: Mapping[str, Comparison]
    known: tuple[Known, ...] = ()

    @property
    def split(self) -> str:
        """The split, or the splits joined by "+"."""
        return "+".join(dict.fromkeys(self.manifest.splits.tolist()))

    @property
    def failures(self) -> dict[str, str]:
        """Faces that are listed and whose image could not be read: why, by `Manifest.face_names`."""
        return self._errors(self.model)

    @property
    def baseline_failures(self) -> dict[str, str]:
        """Faces that are listed and to which the baseline has no answer: why, by `Manifest.face_names`."""
        return {} if self.baseline is None else self._errors(self.baseline)

    def _errors(self, results: ModelResults) -> dict[str, str]:
        errors, names = results.faces.answers.errors, self.manifest.face_names
        return {names[row]: errors[row] for row in sorted(errors)}

    @property
    def misses(self) -> tuple[tuple[str, str], ...]:
        """Image and reason of each face of the split that was not found when the dataset was prepared: no answer."""
        lost = self.manifest.misses.of_splits(set(self.manifest.splits.tolist()))
        return tuple(zip(lost.names.tolist(), lost.reasons.tolist(), strict=True))

    @property
    def accuracy_with_misses(self) -> float:
        """Accuracy, 0..1, on the faces as given if each of the `misses` counts as a wrong answer."""
        score = self.model.faces.measured[ALL].score
        return score.accuracy * score.n / (score.n + len(self.misses))

    def correct(self, results: Results) -> NDArray[np.bool_]:
        """Whether each answer is right, (n,)."""
        return np.asarray(results.answers.predictions == self.manifest.labels)

    def groups(self) -> list[Group]:
        """All faces, each subset, and within it each type that its list tells apart."""
        baseline = None if self.baseline is None else self.correct(self.baseline.faces)
        correct, answers = self.correct(self.model.faces), self.model.faces.answers
        answered = answers.answered
        if self.baseline is not None:
            answered = answered & self.baseline.faces.answers.answered
        groups = []
        for name, rows in _groups(len(self.manifest), self.subsets):
            rows = rows[answered[rows]]
            if len(rows):
                beside = None if baseline is None else float(baseline[rows].mean())
                share = answers.attention[rows].mean(0)
                groups.append(Group(name, len(rows), float(correct[rows].mean()), beside, share))
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Everything but single answers as JSON-safe values, in the form of docs/evaluation.md."""
        scores = self.model.faces.to_dict()
        where = {
            "dataset": self.manifest.dataset,
            "split": self.split,
            "protocol": self.protocol,
            "model": self.model.name,
        }
        for subset in self.subsets:
            figures = scores["subsets"][subset.name]
            scores["subsets"][subset.name] = {**where, **figures, "list": _list_dict(subset)}
        whole: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "regionfer": version("regionfer"),
            **where,
            "models": [dict(model) for model in self.model.models],
            **known_dict(self.known),
            **scores,
            "failures": len(self.failures),
            "failed_images": _failed(self.failures),
            "prepare_misses": self._misses_dict(),
            "groups": [self._group_dict(group) for group in self.groups()],
        }
        if self.model.photos is not None:
            whole["end_to_end"] = self.model.photos.to_dict()
        if self.baseline is not None:
            whole["comparison"] = self._comparison_dict(self.baseline)
        return whole

    def _misses_dict(self) -> dict[str, Any]:
        return {
            "n": len(self.misses),
            "reasons": dict(Counter(reason for _, reason in self.misses)),
            "accuracy_with_misses": self.accuracy_with_misses,
            "images": [{"image": name, "reason": reason} for name, reason in self.misses],
        }

    def _group_dict(self, group: Group) -> dict[str, Any]:
        names = self.model.faces.answers.region_names
        shares = dict(zip(names, group.attention.tolist(), strict=True))
        beside = {} if group.baseline_accuracy is None else {"baseline_accuracy": group.baseline_accuracy}
        return {"group": group.name, "n": group.n, "accuracy": group.accuracy, **beside, "attention": shares}

    def _comparison_dict(self, baseline: ModelResults) -> dict[str, Any]:
        whole = {
            "baseline": baseline.name,
            "models": [dict(model) for model in baseline.models],
            **_by_set(self.comparison),
            "baseline_scores": baseline.faces.to_dict(),
            "failures": len(self.baseline_failures),
            "failed_images": _failed(self.baseline_failures),
        }
        if baseline.photos is not None:
            scores = {"baseline_scores": baseline.photos.to_dict()}
            whole["end_to_end"] = _by_set(self.comparison_photos) | scores
        return whole


def evaluate(
    recognizer: Recognizer,
    manifest: Manifest,
    *,
    subsets: Sequence[Subset] = (),
    baseline: Recognizer | None = None,
    end_to_end: bool = False,
    advance: Advance = lambda images: None,
) -> Evaluation:
    """Evaluate a model.

    Images that cannot be read are left out and listed in `Evaluation.failures`.

    Args:
        recognizer: the model, or several fused, and the detector.
        manifest: n labelled images, usually of one split.
        subsets: rows of this manifest, each with a name of its own.
        baseline: a second model for a paired comparison.
        end_to_end: measure also with detection and alignment first, where a missed face is an error. Photos without
            face boxes can be measured in this way only.
        advance: called with the number of images done since, for a progress bar; `passes` times ``n`` in all.

    Raises:
        ModelError: a model lacks a class of the dataset, or needs landmarks that the dataset lacks.
        DatasetError: a subset has no image, no image of the manifest or of a subset could be read, or photos without
            boxes.
        ValueError: two subsets have the same name, or one is called "all".
    """
    names = [ALL, *(subset.name for subset in subsets)]
    if len(set(names)) < len(names):
        raise ValueError(f"subsets must have distinct names other than {ALL!r}, got {', '.join(names[1:])}")
    if empty := [subset.name for subset in subsets if not len(subset)]:
        raise DatasetError(f"{manifest.root}: subset {empty[0]!r} has no image here; leave it out")
    for each in (recognizer, baseline):  # before the work, not after the first model's
        if each is not None:
            find_columns(each, manifest)
    subsets = tuple(subsets)
    recognizer, *others = looking_alike([recognizer, *([] if baseline is None else [baseline])])
    model = _run(recognizer, manifest, subsets, end_to_end, advance)
    other = _run(others[0], manifest, subsets, end_to_end, advance) if others else None
    return Evaluation(
        manifest=manifest,
        protocol=protocol_of(recognizer, manifest),
        subsets=subsets,
        model=model,
        baseline=other,
        comparison={} if other is None else _compare(model.faces, other.faces, manifest, subsets),
        comparison_photos=(
            {}
            if other is None or other.photos is None or model.photos is None
            else _compare(model.photos, other.photos, manifest, subsets)
        ),
        known=find_known([each.model for each in (recognizer, baseline) if each is not None], manifest),
    )


def passes(*, baseline: bool, end_to_end: bool) -> int:
    """How often `evaluate` goes through all images."""
    return (1 + baseline) * (1 + end_to_end)


def _run(
    recognizer: Recognizer, manifest: Manifest, subsets: Sequence[Subset], end_to_end: bool, advance: Advance
) -> ModelResults:
    models = tuple(describe(recognizer.model))
    name = full_name(models)
    threshold, photos = recognizer.threshold, None
    if end_to_end:
        photos = _measure(answer_photos(recognizer, manifest, advance), manifest, subsets, threshold)
    if photos is not None and _lacks_faces(manifest):
        return ModelResults(name, models, photos, photos)
    faces = _measure(answer_faces(recognizer, manifest, advance), manifest, subsets, threshold)
    return ModelResults(name, models, faces, photos)


def _lacks_faces(manifest: Manifest) -> bool:
    """Whether images are photos of which no one says where the face is."""
    return not manifest.crops and manifest.boxes is None


def _measure(answers: Answers, manifest: Manifest, subsets: Sequence[Subset], threshold: float | None) -> Results:
    measured = {}
    for name, rows in _sets(len(manifest), subsets):
        counted = rows[answers.counted[rows]]
        if len(counted) == 0:
            raise DatasetError(f"{manifest.root}: none of the {len(rows)} images of subset {name!r} could be read")
        labels, probabilities = manifest.labels[counted], answers.probabilities[counted]
        judgeable = answers.judgeable[counted]
        measured[name] = measure(labels, probabilities, manifest.classes, threshold, judgeable)
    return Results(answers, measured)


def _compare(model: Results, baseline: Results, manifest: Manifest, subsets: Sequence[Subset]) -> dict[str, Comparison]:
    answers = (model.answers, baseline.answers)
    right, right_beside = (each.predictions == manifest.labels for each in answers)
    loss, loss_beside = (log_losses(manifest.labels, each.probabilities) for each in answers)
    both = model.answers.counted & baseline.answers.counted
    sets = {name: rows[both[rows]] for name, rows in _sets(len(manifest), subsets)}
    return {
        name: compare(right[rows], right_beside[rows], (loss[rows], loss_beside[rows])) for name, rows in sets.items()
    }


def _sets(count: int, subsets: Sequence[Subset]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    yield ALL, np.arange(count)
    for subset in subsets:
        yield subset.name, subset.rows


def _groups(count: int, subsets: Sequence[Subset]) -> Iterator[tuple[str, NDArray[np.intp]]]:
    yield ALL, np.arange(count)
    for subset in subsets:
        yield subset.name, subset.rows
        for attribute, values in subset.attributes.items():
            kinds = [kind for kind in np.unique(values) if str(kind)]
            if 1 < len(kinds) <= _MAX_TYPES:
                for kind in kinds:
                    yield f"{subset.name}, {attribute} {kind}", subset.rows[values == kind]


def describe(model: Classifier, weight: float = 1.0) -> Iterator[dict[str, Any]]:
    """For each file of a model its name, version, weight among the fused (they sum to 1), file name and SHA-256."""
    if isinstance(model, FusedModel):
        for each, share in zip(model.models, model.weights, strict=True):
            yield from describe(each, weight * share)
        return
    described = {"name": model.card.name, "version": model.card.version, "weight": weight}
    if isinstance(model, ExpressionModel):
        # Not its folder: reports are passed on, and the hash says which file it is.
        described |= {"file": model.source.name, "sha256": model.sha256}
    yield described


def full_name(models: Sequence[Mapping[str, Any]]) -> str:
    """Names and versions of what `describe` describes, fused models joined by " + ", with weights where they differ.

    >>> full_name([{"name": "a", "version": "1", "weight": 0.6}, {"name": "b", "version": "2", "weight": 0.4}])
    '0.6 x a 1 + 0.4 x b 2'
    """
    alike = len({round(model["weight"], 6) for model in models}) == 1
    names = [f"{model['name']} {model['version']}" for model in models]
    return " + ".join(
        name if alike else f"{model['weight']:.3g} x {name}" for name, model in zip(names, models, strict=True)
    )


def protocol_of(recognizer: Recognizer, manifest: Manifest) -> str:
    """How images were kept and labelled, how the model's classes became those of the dataset, how it looks at them."""
    labels, rules = recognizer.model.card.labels, [manifest.protocol]
    known = set(match_classes(labels, manifest.classes).tolist())
    if extra := [label for column, label in enumerate(labels) if column not in known]:
        rules.append(
            f"the model's probabilities restricted to the dataset's {len(manifest.classes)} classes and renormalised "
            f"(left out: {', '.join(extra)})"
        )
    if _lacks_faces(manifest):
        rules.append("faces found and aligned in the photos, one that is not found is an error")
    elif not manifest.crops:
        rules.append("faces cut as squares around the dataset's boxes")
    return "; ".join([*rules, looks(recognizer)])


def _list_dict(subset: Subset) -> dict[str, Any]:
    return {
        "file": None if subset.path is None else str(subset.path),
        "entries": subset.entries,
        "found": len(subset),
        "issues": [issue.to_dict() for issue in subset.issues],
    }


def _failed(failures: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"image": name, "error": error} for name, error in failures.items()]


def _by_set(comparison: Mapping[str, Comparison]) -> dict[str, Any]:
    figures = {name: each.to_dict() for name, each in comparison.items()}
    return figures.pop(ALL) | {"subsets": figures}
