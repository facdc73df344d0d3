"""Figures of one set of faces, with intervals; a face that was not found is an error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.metrics import (
    CALIBRATION_BINS,
    FEW_OF_CLASS,
    Interval,
    Score,
    bootstrap_interval,
    difference_interval,
    f1_of_counts,
    log_losses,
    mcnemar_exact,
    mean_interval,
    recall_of_counts,
    score,
    score_counts,
    telling,
    wilson_interval,
    wrong_at_coverage,
)

RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class Measured:
    """How well the answers fit the labels of n faces.

    Attributes:
        score: the figures; its n counts missed faces, for which nothing was answered: errors for accuracy and for
            recall, left out of the confusion, of NLL and of ECE.
        intervals: 95 % intervals. By bootstrap of ``mean_recall``, ``macro_f1``, ``nll`` and ``ece``, None where they
            say nothing, see `regionfer.metrics.telling` and, of the first two, ``FEW_OF_CLASS`` there; Wilson's of
            ``risk_at_80`` and ``risk_at_90``. For accuracy see ``score.accuracy_ci95``.
        missed: (C,) faces of each class that were not found.
        risk_at_80: share of wrong answers when the surest 80 % of the faces are answered; those not found come last.
        risk_at_90: the same for 90 %.
        selection: what comes of leaving the uncertain faces out; None where no threshold is known.
    """

    score: Score
    intervals: dict[str, Interval | None]
    missed: NDArray[np.int64]
    risk_at_80: float
    risk_at_90: float
    selection: "Selection | None" = None

    def to_dict(self) -> dict[str, Any]:
        """The score's keys, ``..._ci95`` for each interval and the other fields, as plain values for JSON."""
        figures = {key: None if value != value else value for key, value in self.score.to_dict().items()}
        intervals = {f"{name}_ci95": as_list(interval) for name, interval in self.intervals.items()}
        risks = {"risk_at_80": self.risk_at_80, "risk_at_90": self.risk_at_90}
        selection = {"selection": None if self.selection is None else self.selection.to_dict()}
        return figures | intervals | {"missed": int(self.missed.sum())} | risks | selection


class Selection(NamedTuple):
    """Only the answers at or above a threshold of the probability.

    Attributes:
        threshold: 0..1.
        coverage: share of all faces that is answered.
        risk: share of wrong answers among them; None if nothing is answered.
        risk_ci95: Wilson's 95 % interval of it.
    """

    threshold: float
    coverage: float
    risk: float | None
    risk_ci95: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return self._asdict() | {"risk_ci95": as_list(self.risk_ci95)}


def select(correct: NDArray[np.bool_], confidence: NDArray[np.float64], threshold: float) -> Selection:
    """Leave uncertain faces out.

    Args:
        correct: (n,) whether each answer is right.
        confidence: (n,) probability of each answer.
        threshold: the least to answer at.

    >>> select(np.array([True, True, False, False]), np.array([0.9, 0.8, 0.7, 0.2]), 0.7)[:2]
    (0.7, 0.75)
    """
    answered = confidence >= threshold
    n, wrong = int(answered.sum()), int((answered & ~correct).sum())
    if n == 0:
        return Selection(threshold, 0.0, None, None)
    return Selection(threshold, n / len(correct), wrong / n, wilson_interval(wrong, n))


def measure(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
    threshold: float | None = None,
    judgeable: NDArray[np.bool_] | None = None,
) -> Measured:
    """Score answers.

    Args:
        labels: (n,) indices into ``classes``, n at least 1.
        probabilities: (n, C), rows sum to 1; a row of NaN is a face that was not found.
        classes: the C names.
        threshold: answers less probable than this are uncertain; None where no threshold is known.
        judgeable: (n,) False for faces whose answers are uncertain however probable; None if there are none.

    >>> labels, answers = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [np.nan, np.nan]])
    >>> measured = measure(labels, answers, ("calm", "tense"))
    >>> measured.score.n, round(measured.score.accuracy, 3), measured.score.mean_recall, measured.missed.tolist()
    (3, 0.667, 0.75, [0, 1])
    """
    found = ~np.isnan(probabilities[:, 0])
    missed = np.bincount(labels[~found], minlength=len(classes))
    answered = score(labels[found], probabilities[found], classes) if found.any() else None
    measured = answered if answered is not None and found.all() else _with_missed(answered, missed, classes)
    intervals: dict[str, Interval | None] = dict.fromkeys(("mean_recall", "macro_f1", "nll", "ece"))
    predictions = np.where(found, np.nan_to_num(probabilities).argmax(1), len(classes))
    intervals["mean_recall"] = _counts_interval(labels, predictions, len(classes), recall_of_counts)
    intervals["macro_f1"] = _counts_interval(labels, predictions, len(classes), f1_of_counts)
    if answered is not None:
        shares = probabilities[found].astype(np.float64)
        intervals["nll"] = mean_interval(log_losses(labels[found], probabilities[found]), n_resamples=RESAMPLES)
        intervals["ece"] = ece_interval(labels[found], shares, answered.ece)
    correct, confidence = predictions == labels, np.where(found, np.nan_to_num(probabilities).max(1), -1.0)
    (wrong_80, of_80), (wrong_90, of_90) = (wrong_at_coverage(correct, confidence, share) for share in (0.8, 0.9))
    intervals |= {"risk_at_80": wilson_interval(wrong_80, of_80), "risk_at_90": wilson_interval(wrong_90, of_90)}
    return Measured(
        measured,
        intervals,
        missed,
        risk_at_80=wrong_80 / of_80,
        risk_at_90=wrong_90 / of_90,
        selection=(
            None
            if threshold is None
            else select(correct, confidence if judgeable is None else np.where(judgeable, confidence, -1.0), threshold)
        ),
    )


class Comparison(NamedTuple):
    """Two models on the same n faces; "difference" is the model's accuracy minus the baseline's.

    Attributes:
        n: number of faces.
        accuracy: of the model, 0..1.
        baseline_accuracy: of the baseline, 0..1.
        difference: -1..1.
        difference_ci95: 95 % interval of it, paired bootstrap over faces; None where it says nothing,
            see `regionfer.metrics.difference_interval`.
        mcnemar_p: two-sided p-value of McNemar's exact test.
        only_model: faces that only the model gets right.
        only_baseline: faces that only the baseline gets right.
        nll_n: number of faces that both answer; None if their likelihoods were not asked for.
        nll_difference: mean negative log-likelihood of the true class, the model's less the baseline's, nats, over
            these: below 0 where the model is better. It weighs how sure each answer is, so it may tell two models apart
            that are right about as often. None where no face is answered by both.
        nll_difference_ci95: 95 % interval of it, paired bootstrap over faces; None where it says nothing, see
            `regionfer.metrics.telling`.
    """

    n: int
    accuracy: float
    baseline_accuracy: float
    difference: float
    difference_ci95: Interval | None
    mcnemar_p: float
    only_model: int
    only_baseline: int
    nll_n: int | None = None
    nll_difference: float | None = None
    nll_difference_ci95: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON, without the likelihoods if they were not asked for."""
        intervals = {name: as_list(getattr(self, name)) for name in ("difference_ci95", "nll_difference_ci95")}
        figures = self._asdict() | intervals
        return {key: value for key, value in figures.items() if self.nll_n is not None or not key.startswith("nll_")}


def compare(
    correct: NDArray[np.bool_],
    baseline: NDArray[np.bool_],
    losses: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Comparison:
    """Compare two models face by face.

    Args:
        correct: (n,) whether the model is right.
        baseline: (n,) whether the baseline is right about the same face.
        losses: (n,) of the model and (n,) of the baseline, `regionfer.metrics.log_losses` of each face, to compare
            likelihoods as well; NaN without an answer.

    >>> compare(np.array([True, True, False, True]), np.array([True, False, False, False])).difference
    0.5
    """
    return Comparison(
        n=len(correct),
        accuracy=float(correct.mean()),
        baseline_accuracy=float(baseline.mean()),
        difference=float(correct.mean() - baseline.mean()),
        difference_ci95=difference_interval(correct, baseline, n_resamples=RESAMPLES),
        mcnemar_p=mcnemar_exact(correct, baseline),
        only_model=int((correct & ~baseline).sum()),
        only_baseline=int((baseline & ~correct).sum()),
        **({} if losses is None else _nll_difference(*losses)),
    )


def _nll_difference(losses: NDArray[np.float64], baseline: NDArray[np.float64]) -> dict[str, Any]:
    by_face = losses - baseline
    by_face = by_face[~np.isnan(by_face)]
    if len(by_face) == 0:
        return {"nll_n": 0}
    return {
        "nll_n": len(by_face),
        "nll_difference": float(by_face.mean()),
        "nll_difference_ci95": mean_interval(by_face, n_resamples=RESAMPLES),
    }


def _with_missed(answered: Score | None, missed: NDArray[np.int64], classes: Sequence[str]) -> Score:
    """A score in which missed faces are errors."""
    size = len(classes)
    confusion = np.zeros((size, size), np.int64) if answered is None else answered.confusion
    nll, ece = (float("nan"), float("nan")) if answered is None else (answered.nll, answered.ece)
    return score_counts(np.column_stack([confusion, missed]), classes, nll, ece)


def _counts_interval(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    size: int,
    of_classes: Callable[[NDArray[np.int64]], NDArray[np.float64]],
) -> Interval | None:
    """Bootstrap interval of the mean, over the classes that have it, of a figure (..., C) of the counts (..., C, C + 1)
    by true class, and by prediction or missed.

    Faces are drawn again within each class, and the mean is over the classes of the sample, so that no resample is a
    mean of fewer; a class without faces that is answered in none of a resample has 0 there. None where it says nothing,
    see `regionfer.metrics.telling` and ``FEW_OF_CLASS``; nor does it where all faces of each class are answered alike,
    for then no resample differs in what is right.
    """
    cells = size * (size + 1)
    counts = _tally((labels * (size + 1) + predictions)[None], cells).reshape(size, size + 1)
    faces = counts.sum(1)
    if faces[faces > 0].min() < FEW_OF_CLASS:
        return None
    known = ~np.isnan(of_classes(counts))
    rng = np.random.default_rng(0)
    drawn = np.zeros((RESAMPLES, size, size + 1), dtype=np.int64)
    for true, row in enumerate(counts):
        if row.sum():
            drawn[:, true] = rng.multinomial(row.sum(), row / row.sum(), size=RESAMPLES)
    low, high = np.quantile(np.nan_to_num(of_classes(drawn)[:, known]).mean(1), [0.025, 0.975])
    is_alike = (np.diagonal(counts)[faces > 0] % faces[faces > 0] == 0).all()
    return None if is_alike else telling((float(low), float(high)), len(labels))


def ece_interval(labels: NDArray[np.int64], shares: NDArray[np.float64], ece: float) -> Interval | None:
    """Bootstrap interval of the ECE, in the bins of the sample.

    Distances cannot cancel, so the ECE of a resample is above that of the sample, on average: by noise alone. The
    interval is moved down by that much. None where it says nothing, see `regionfer.metrics.telling`.
    """
    confidence, correct = shares.max(1), shares.argmax(1) == labels
    edges = np.quantile(confidence, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
    values: list[NDArray[np.float64]] = []

    def of_resamples(places: NDArray[np.int64], gaps: NDArray[np.float64]) -> NDArray[np.float64]:  # (b, n) both
        values.append(np.abs(_tally(places, CALIBRATION_BINS, gaps)).sum(1) / places.shape[1])
        return values[-1]

    low, high = bootstrap_interval(
        of_resamples, np.searchsorted(edges, confidence), confidence - correct, n_resamples=RESAMPLES
    )
    noise = float(np.concatenate(values).mean()) - ece
    return telling((max(0.0, low - noise), max(0.0, high - noise)), len(labels))


def _tally(codes: NDArray[np.int64], size: int, weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
    """Count, or sum the weights of, each code 0..size-1 in each row: (b, n) to (b, size)."""
    rows = len(codes)
    apart = (codes + size * np.arange(rows)[:, None]).ravel()
    return np.bincount(apart, None if weights is None else weights.ravel(), rows * size).reshape(rows, size)


def as_list(interval: Interval | None) -> list[float] | None:
    """An interval for JSON."""
    return None if interval is None else list(interval)
