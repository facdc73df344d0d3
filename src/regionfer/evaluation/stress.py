"""A model on degraded faces: how soon it fails, and whether it notices, beside a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.degradations import DEGRADATIONS, LEVELS
from regionfer.errors import NoFaceError
from regionfer.evaluation.answers import Advance, looking_alike
from regionfer.evaluation.evaluate import describe, full_name
from regionfer.evaluation.known import Known, known_dict
from regionfer.evaluation.scores import (
    RESAMPLES,
    Comparison,
    Selection,
    as_list,
    compare,
    ece_interval,
    select,
)
from regionfer.evaluation.stress_answers import CLEAN, Asker, Condition, StressAnswers
from regionfer.evaluation.stress_faces import CHUNK, StressFaces, Taken
from regionfer.metrics import (
    Interval,
    difference_interval,
    expected_calibration_error,
    mean_interval,
    wilson_interval,
)
from regionfer.onnx_model import MAX_FACES_PER_RUN
from regionfer.parts import Parts
from regionfer.recognizer import Recognizer

SCHEMA_VERSION = 1
"""Version of the form that `Stress.to_dict` gives."""

OVERALL = "all kinds"
"""Name of the mean over all kinds, beside the names of kinds."""


class Point(NamedTuple):
    """One model under one condition; all figures in 0..1, intervals of 95 %.

    Attributes:
        n: number of faces.
        right: share of right answers or, of unlabelled faces, of answers that agree with that to the clean face.
        right_ci95: Wilson's interval.
        confidence: mean probability of the answer.
        ece: expected calibration error; None of unlabelled faces, to which no answer is right.
        ece_ci95: bootstrap over faces; None where it says nothing, see `regionfer.metrics.telling`.
        selection: what share is answered, not uncertain, and how much of that is wrong (or disagrees); None without
            a threshold.
        coverage_ci95: Wilson's interval of the share answered.
    """

    n: int
    right: float
    right_ci95: Interval
    confidence: float
    ece: float | None
    ece_ci95: Interval | None
    selection: Selection | None
    coverage_ci95: Interval | None

    def to_dict(self, right: str) -> dict[str, Any]:
        """The same as plain values for JSON, ``right`` under another name."""
        return {
            "n": self.n,
            right: self.right,
            f"{right}_ci95": list(self.right_ci95),
            "confidence": self.confidence,
            "ece": self.ece,
            "ece_ci95": as_list(self.ece_ci95),
            "coverage": None if self.selection is None else self.selection.coverage,
            "coverage_ci95": as_list(self.coverage_ci95),
            "wrong_among_answered": None if self.selection is None else self.selection.risk,
            "wrong_among_answered_ci95": None if self.selection is None else self.selection.to_dict()["risk_ci95"],
        }


class Mean(NamedTuple):
    """The mean over the levels of a kind, or over all kinds; intervals by bootstrap over faces, None where they say
    nothing, see `regionfer.metrics.telling` and `regionfer.metrics.difference_interval`.

    Attributes:
        right: of the model, 0..1.
        right_ci95: 95 % interval.
        baseline_right: of the baseline; None without one, as the next two.
        difference: model minus baseline, -1..1.
        difference_ci95: paired.
    """

    right: float
    right_ci95: Interval | None
    baseline_right: float | None = None
    difference: float | None = None
    difference_ci95: Interval | None = None


@dataclass(frozen=True, eq=False)
class StressedModel:
    """One model's answers to n faces under all conditions.

    Attributes:
        name: names and versions on the model cards.
        models: a mapping a model file, see `describe`.
        threshold: answers less probable than this are uncertain; None where the model has none.
        probabilities: (n, C) float32 by condition, rows sum to 1.
        correct: (n,) bool by condition, whether each answer is right, or agrees.
        points: figures by condition.
    """

    name: str
    models: tuple[Mapping[str, Any], ...]
    threshold: float | None
    probabilities: Mapping[Condition, NDArray[np.float32]]
    correct: Mapping[Condition, NDArray[np.bool_]]
    points: Mapping[Condition, Point]


class Example(NamedTuple):
    """One face under one condition.

    Attributes:
        pixels: (T, T, 3) uint8 RGB.
        answers: what each model says, such as "happiness 93%" or "fear 36%, uncertain", the model first.
    """

    pixels: NDArray[np.uint8]
    answers: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stress:
    """All results of a stress test.

    Attributes:
        title: whose faces.
        protocol: how faces and labels came about.
        labelled: whether answers are compared with labels; else with the model's own answer to the clean face.
        kinds: names of the degradations.
        seed: of the degradations.
        classes: C names.
        names: n names of faces.
        model: the model's results.
        baseline: the baseline's, or None.
        comparison: model against baseline by condition; empty without a baseline.
        amounts: mean amount of each condition over the faces, in the unit of its kind.
        means: by kind, and `OVERALL`.
        examples: of the first faces, by their names: pictures by condition.
        failures: images that could not be read: why, by name.
        left_out: images or faces that could not be used: why, by name.
        known: the models that learned from these images, or were chosen or fitted on them, by their cards.
    """

    title: str
    protocol: str
    labelled: bool
    kinds: tuple[str, ...]
    seed: int
    classes: tuple[str, ...]
    names: tuple[str, ...]
    model: StressedModel
    baseline: StressedModel | None
    comparison: Mapping[Condition, Comparison]
    amounts: Mapping[Condition, float]
    means: Mapping[str, Mean]
    examples: Mapping[str, Mapping[Condition, Example]]
    failures: Mapping[str, str]
    left_out: Mapping[str, str]
    known: tuple[Known, ...] = ()

    @property
    def right(self) -> str:
        """What the share of right answers is called: accuracy, or agreement."""
        return "accuracy" if self.labelled else "agreement"

    def named_models(self) -> list[tuple[str, StressedModel]]:
        """The model and, if there is one, the baseline."""
        return [("model", self.model), *([] if self.baseline is None else [("baseline", self.baseline)])]

    def to_dict(self) -> dict[str, Any]:
        """Everything but single answers and pictures as JSON-safe values, in the form of docs/stress.md."""
        whole: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "regionfer": version("regionfer"),
            "faces": self.title,
            "protocol": self.protocol,
            "measure": self.right,
            "n": len(self.names),
            "seed": self.seed,
            "classes": list(self.classes),
            **known_dict(self.known),
        }
        for who, each in self.named_models():
            models = [dict(model) for model in each.models]
            whole[who] = {"name": each.name, "models": models, "threshold": each.threshold}
            whole[who]["clean"] = each.points[CLEAN].to_dict(self.right)
        if self.comparison:
            whole["clean_comparison"] = self.comparison[CLEAN].to_dict()
        whole["kinds"] = {kind: self._kind_dict(kind) for kind in self.kinds}
        whole["mean"] = _mean_dict(self.means[OVERALL], self.right)
        whole["failed_images"] = [{"image": name, "error": error} for name, error in self.failures.items()]
        whole["left_out"] = [{"face": name, "reason": reason} for name, reason in self.left_out.items()]
        return whole

    def _kind_dict(self, kind: str) -> dict[str, Any]:
        levels = []
        for level in LEVELS:
            condition = Condition(kind, level)
            entry: dict[str, Any] = {"level": level, "amount": self.amounts[condition]}
            entry |= {who: each.points[condition].to_dict(self.right) for who, each in self.named_models()}
            if self.comparison:
                entry["comparison"] = self.comparison[condition].to_dict()
            levels.append(entry)
        return {"unit": DEGRADATIONS[kind].unit, "levels": levels, "mean": _mean_dict(self.means[kind], self.right)}


def stress(
    recognizer: Recognizer,
    faces: StressFaces,
    *,
    baseline: Recognizer | None = None,
    kinds: Sequence[str] = tuple(DEGRADATIONS),
    seed: int = 0,
    batch_size: int = MAX_FACES_PER_RUN,
    examples: int = 0,
    parts: Parts | None = None,
    advance: Advance = lambda images: None,
) -> Stress:
    """Degrade faces, five levels a kind, and let models answer them.

    Faces are read and degraded in small groups; what is kept of each is the answers.

    Args:
        recognizer: the model, or several fused, with its threshold, and the detector.
        faces: where they come from.
        baseline: a second model, which gets the same pictures.
        kinds: which of `DEGRADATIONS`, each once.
        seed: of what is drawn at random; the same faces and seed give the same pictures.
        batch_size: largest number of faces in one run of the network.
        examples: keep the pictures of so many faces.
        parts: keep here what is done, and go on after what lies here from a run that was stopped; with suffix ".npz".
            It holds the answers and the pictures of the examples, and is the caller's to remove.
        advance: called with the number of images done since, also in fractions, for a progress bar.

    Raises:
        ValueError: an unknown kind, one twice, or none.
        ModelError: a model does not fit the faces or, of unlabelled faces, a baseline has other labels.
        DatasetError: a dataset does not say where the faces are, or the parts are of another run.
        OutputError: the parts cannot be written.
        NoFaceError: there is no face.
    """
    check_kinds(kinds)
    recognizers = looking_alike([recognizer, *([] if baseline is None else [baseline])])
    classes = faces.classes(recognizers)
    conditions = [CLEAN, *(Condition(kind, level) for kind in kinds for level in LEVELS)]
    answers = _gather(
        Asker(recognizers, classes, conditions, seed, batch_size), faces, max(0, examples), parts, advance
    )
    whole = _Whole(conditions, answers)
    failures = _merged(faces.failures, *(part.failures for part in answers))
    left_out = _merged(*(part.left_out for part in answers))
    if not whole.names():
        if parts is not None:
            parts.remove()  # with nothing in it that is worth keeping
        raise NoFaceError(_nothing(faces, failures, left_out))
    model, *others = (whole.model(number, each) for number, each in enumerate(recognizers))
    other = others[0] if others else None
    return Stress(
        title=faces.title,
        protocol=faces.protocol(recognizers[0]),
        labelled=faces.labelled,
        kinds=tuple(kinds),
        seed=seed,
        classes=classes,
        names=whole.names(),
        model=model,
        baseline=other,
        comparison={} if other is None else {c: compare(model.correct[c], other.correct[c]) for c in conditions},
        amounts=whole.amounts(),
        means={name: _mean(model, other, chosen) for name, chosen in _chosen(kinds).items()},
        examples=whole.examples(classes, [each.threshold for each in recognizers]),
        failures=failures,
        left_out=left_out,
        known=faces.known(recognizers),
    )


def check_kinds(kinds: Sequence[str]) -> None:
    """Check names of degradations.

    Raises:
        ValueError: an unknown one, one twice, or none.

    >>> check_kinds(["mask", "smog"])
    Traceback (most recent call last):
    ValueError: unknown kind 'smog'; known: mask, sunglasses, hand, border, blur, resolution, rotation, darkness
    """
    known = ", ".join(DEGRADATIONS)
    if not kinds:
        raise ValueError(f"expected at least one kind of {known}")
    for kind in kinds:
        if kind not in DEGRADATIONS:
            raise ValueError(f"unknown kind {kind!r}; known: {known}")
        if list(kinds).count(kind) > 1:
            raise ValueError(f"{kind!r} is given twice")


def _settings(recognizers: Sequence[Recognizer], faces: StressFaces, asker: Asker, examples: int) -> dict[str, Any]:
    """What settles the answers; a threshold, which figures follow from, may change."""
    return {
        "faces": faces.settings,
        "models": [each.model.fingerprint for each in recognizers],
        "upright": recognizers[0].upright,
        "kinds": list(dict.fromkeys(condition.kind for condition in asker.conditions)),
        "seed": asker.seed,
        "examples": examples,
        "faces a part": CHUNK,
    }


def _gather(
    asker: Asker, faces: StressFaces, examples: int, parts: Parts | None, advance: Advance
) -> list[StressAnswers]:
    """The answers to all faces, those of an interrupted run among them."""
    count = 0 if parts is None else parts.open(_settings(asker.recognizers, faces, asker, examples))
    held = [] if parts is None else [parts.load(number, StressAnswers.from_bytes) for number in range(count)]
    images, seen = sum(each.images for each in held), sum(len(each.names) for each in held)
    if held:
        advance(images)
    side = max(each.model.card.face_size for each in asker.recognizers)  # the graphs take any side
    for batch in faces.batches(asker.recognizers, side, Taken(images, seen)):
        held.append(asker.ask(batch, examples - seen, advance))
        if parts is not None:
            parts.save(len(held) - 1, held[-1].to_bytes())
        seen += len(batch.names)
    return held


@dataclass(frozen=True, eq=False)
class _Whole:
    """The answers to all faces, whose figures are wanted."""

    conditions: Sequence[Condition]
    parts: Sequence[StressAnswers]

    def labels(self) -> NDArray[np.int64] | None:
        labels = [part.labels for part in self.parts if part.labels is not None]
        return np.concatenate(labels) if labels else None

    def names(self) -> tuple[str, ...]:
        return tuple(name for part in self.parts for name in part.names)

    def amounts(self) -> dict[Condition, float]:
        means = sum(part.amounts for part in self.parts) / len(self.names())
        return dict(zip(self.conditions, np.asarray(means).tolist(), strict=True))

    def model(self, number: int, recognizer: Recognizer) -> StressedModel:
        """The answers of a model and their figures, by the labels, or by the answers to the clean faces."""
        shares = np.concatenate([part.probabilities[number] for part in self.parts], axis=1)
        judged = np.concatenate([part.judgeable[number] for part in self.parts], axis=1)
        probabilities = dict(zip(self.conditions, shares, strict=True))
        judgeable = dict(zip(self.conditions, judged, strict=True))
        labels = self.labels()
        truth = probabilities[CLEAN].argmax(1) if labels is None else labels
        correct = {condition: np.asarray(each.argmax(1) == truth) for condition, each in probabilities.items()}
        points = {
            condition: _point(each, correct[condition], judgeable[condition], labels, recognizer.threshold)
            for condition, each in probabilities.items()
        }
        models = tuple(describe(recognizer.model))
        return StressedModel(full_name(models), models, recognizer.threshold, probabilities, correct, points)

    def examples(
        self, classes: Sequence[str], thresholds: Sequence[float | None]
    ) -> dict[str, dict[Condition, Example]]:
        shown: dict[str, dict[Condition, Example]] = {}
        for part in self.parts:
            for number, (condition, pictures) in enumerate(zip(self.conditions, part.pictures, strict=False)):
                for row, pixels in enumerate(pictures):
                    answers = zip(
                        part.probabilities[:, number, row], part.judgeable[:, number, row], thresholds, strict=True
                    )
                    said = tuple(_say(classes, *answer) for answer in answers)
                    shown.setdefault(part.names[row], {})[condition] = Example(pixels, said)
        return shown


def _point(
    shares: NDArray[np.float32],
    correct: NDArray[np.bool_],
    judgeable: NDArray[np.bool_],
    labels: NDArray[np.int64] | None,
    threshold: float | None,
) -> Point:
    n, confidence = len(correct), shares.max(1).astype(np.float64)
    ece, ece_ci95, selection, coverage_ci95 = None, None, None, None
    if labels is not None:
        ece = expected_calibration_error(labels, shares)
        ece_ci95 = ece_interval(labels, shares.astype(np.float64), ece)
    if threshold is not None:
        # A face that cannot be judged is uncertain however sure the network is.
        selection = select(correct, np.where(judgeable, confidence, -1.0), threshold)
        coverage_ci95 = wilson_interval(round(selection.coverage * n), n)
    right = int(correct.sum())
    mean = float(confidence.mean())
    return Point(n, right / n, wilson_interval(right, n), mean, ece, ece_ci95, selection, coverage_ci95)


def _chosen(kinds: Sequence[str]) -> dict[str, list[Condition]]:
    """The conditions of each kind, and of all."""
    by_kind = {kind: [Condition(kind, level) for level in LEVELS] for kind in kinds}
    return by_kind | {OVERALL: [condition for each in by_kind.values() for condition in each]}


def _mean(model: StressedModel, baseline: StressedModel | None, conditions: Sequence[Condition]) -> Mean:
    own = np.mean([model.correct[condition] for condition in conditions], axis=0)
    interval = mean_interval(own, n_resamples=RESAMPLES)
    if baseline is None:
        return Mean(float(own.mean()), interval)
    other = np.mean([baseline.correct[condition] for condition in conditions], axis=0)
    return Mean(
        right=float(own.mean()),
        right_ci95=interval,
        baseline_right=float(other.mean()),
        difference=float(own.mean() - other.mean()),
        difference_ci95=difference_interval(own, other, n_resamples=RESAMPLES),
    )


def _mean_dict(mean: Mean, right: str) -> dict[str, Any]:
    own = {right: mean.right, f"{right}_ci95": as_list(mean.right_ci95)}
    if mean.difference is None:
        return own
    beside = {f"baseline_{right}": mean.baseline_right, "difference": mean.difference}
    return own | beside | {"difference_ci95": as_list(mean.difference_ci95)}


def _say(
    classes: Sequence[str], probabilities: NDArray[np.float32], judgeable: np.bool_, threshold: float | None
) -> str:
    uncertain = not judgeable or (threshold is not None and probabilities.max() < threshold)
    return f"{classes[int(probabilities.argmax())]} {probabilities.max():.0%}{', uncertain' if uncertain else ''}"


def _merged(*reasons: Mapping[str, str]) -> dict[str, str]:
    return {name: reason for each in reasons for name, reason in each.items()}


def _nothing(faces: StressFaces, failures: Mapping[str, str], left_out: Mapping[str, str]) -> str:
    reasons = [*failures.items(), *left_out.items()]
    first = f"; the first: {reasons[0][0]}: {reasons[0][1].removeprefix(f'{reasons[0][0]}: ')}" if reasons else ""
    return (
        f"{faces.title}: no face to degrade in {faces.images:,} images{first}; give photos with faces, or "
        "--no-detect where each image is one face already"
    )
