"""Figures of an ablation: accuracy and mean recall over seeds, with intervals, and rows compared face by face."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.evaluation.scores import Comparison, as_list, compare
from regionfer.metrics import FEW_OF_CLASS, Interval, difference_interval, mean_interval, mean_recall, telling
from regionfer.pace import Pace

RESAMPLES = 2000
TURNED = "turned"
"""Name of the condition that is a part of the clean faces."""

Answers = Mapping[str, NDArray[np.float32]]


class Figure(NamedTuple):
    """A share over the seeds of a row.

    Attributes:
        n: number of faces.
        mean: over the seeds, 0..1.
        ci95: 95 % interval of it, bootstrap over the faces; what other seeds would give is not in it. None where it
            says nothing, see `regionfer.metrics.telling`.
        by_seed: one value a seed.
    """

    n: int
    mean: float
    ci95: Interval | None
    by_seed: tuple[float, ...]

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None for a single one."""
        return float(np.std(self.by_seed, ddof=1)) if len(self.by_seed) > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "n": self.n,
            "mean": self.mean,
            "ci95": as_list(self.ci95),
            "sd_over_seeds": self.spread,
            "by_seed": list(self.by_seed),
        }


@dataclass(frozen=True, eq=False)
class RowFigures:
    """What is known of a row.

    Attributes:
        name, title: of the row.
        seeds: seeds of the runs that ended.
        accuracy: by condition; empty if no run ended.
        mean_recall: over the clean faces.
        pace: speed in ONNX Runtime.
        failures: reasons, by seed, of runs that did not end.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    accuracy: Mapping[str, Figure]
    mean_recall: Figure | None
    pace: Pace | None
    failures: Mapping[int, str]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "name": self.name,
            "title": self.title,
            "seeds": list(self.seeds),
            "accuracy": {name: figure.to_dict() for name, figure in self.accuracy.items()},
            "mean_recall": None if self.mean_recall is None else self.mean_recall.to_dict(),
            "faces_per_second": None if self.pace is None else self.pace.faces_per_second,
            "cost": None if self.pace is None else self.pace.cost,
            "failures": {str(seed): reason for seed, reason in self.failures.items()},
        }


class SeedsCompared(NamedTuple):
    """Two rows on the same faces under one condition; differences are the model's accuracy minus the baseline's.

    Attributes:
        difference: of the means over the seeds that both rows have.
        difference_ci95: 95 % interval of it, paired bootstrap over the faces; None where it says nothing.
        by_seed: each pair of runs of one seed, with McNemar's test.
    """

    difference: float
    difference_ci95: Interval | None
    by_seed: Mapping[int, Comparison]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return {
            "difference": self.difference,
            "difference_ci95": as_list(self.difference_ci95),
            "by_seed": {str(seed): comparison.to_dict() for seed, comparison in self.by_seed.items()},
        }


def accuracies(
    labels: NDArray[np.int64], turned: NDArray[np.bool_], answers: Mapping[int, Answers]
) -> dict[str, Figure]:
    """Accuracy by condition, of the answers of some seeds; "turned" are the clean faces that are turned."""
    return {name: accuracy_figure(right) for name, right in _rights(labels, turned, answers).items()}


def accuracy_figure(right: NDArray[np.bool_]) -> Figure:
    """Accuracy of (seeds, n) right answers.

    >>> accuracy_figure(np.array([[True, True, False, True], [True, False, False, True]])).by_seed
    (0.75, 0.5)
    """
    by_face = right.mean(axis=0)
    interval = mean_interval(by_face, n_resamples=RESAMPLES)
    return Figure(right.shape[1], float(by_face.mean()), interval, tuple(right.mean(axis=1).tolist()))


def recall_figure(labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Mean recall of (seeds, n) predictions; the interval draws faces anew within each class."""
    by_face = (predictions == labels).mean(axis=0)
    rng = np.random.default_rng(0)
    present, faces = np.unique(labels, return_counts=True)
    drawn = np.zeros(RESAMPLES)
    for label in present:
        of_class = by_face[labels == label]
        drawn += of_class[rng.integers(0, len(of_class), (RESAMPLES, len(of_class)))].mean(axis=1) / len(present)
    low, high = np.quantile(drawn, [0.025, 0.975])
    by_seed = tuple(mean_recall(labels, row, classes) for row in predictions)
    interval = telling((float(low), float(high)), len(labels)) if faces.min() >= FEW_OF_CLASS else None
    return Figure(len(labels), float(np.mean(by_seed)), interval, by_seed)


def compare_rows(
    labels: NDArray[np.int64],
    turned: NDArray[np.bool_],
    model: Mapping[int, Answers],
    baseline: Mapping[int, Answers],
) -> dict[str, SeedsCompared]:
    """Compare two rows by condition over the seeds that both have; empty if they have none in common."""
    seeds = [seed for seed in model if seed in baseline]
    if not seeds:
        return {}
    ours = _rights(labels, turned, {seed: model[seed] for seed in seeds})
    theirs = _rights(labels, turned, {seed: baseline[seed] for seed in seeds})
    compared = {}
    for name, right in ours.items():
        beside = theirs[name]
        interval = difference_interval(right.mean(axis=0), beside.mean(axis=0), n_resamples=RESAMPLES)
        compared[name] = SeedsCompared(
            difference=float(right.mean() - beside.mean()),
            difference_ci95=interval,
            by_seed={seed: compare(a, b) for seed, a, b in zip(seeds, right, beside, strict=True)},
        )
    return compared


def predictions_of(answers: Mapping[int, Answers], condition: str) -> NDArray[np.int64]:
    """Most probable classes (seeds, n) under a condition."""
    return np.stack([each[condition].argmax(axis=1) for each in answers.values()])


def _rights(
    labels: NDArray[np.int64], turned: NDArray[np.bool_], answers: Mapping[int, Answers]
) -> dict[str, NDArray[np.bool_]]:
    """Whether each answer is right, (seeds, n), by condition."""
    conditions = list(next(iter(answers.values())))
    rights = {name: predictions_of(answers, name) == labels for name in conditions}
    if turned.any():
        rights[TURNED] = rights[conditions[0]][:, turned]
    return rights
