"""How right, how sure and how surely better: accuracy, calibration, selective answering, intervals, paired tests.

Pure functions on arrays of n faces. ``labels`` and ``predictions`` are (n,) integer indices into ``classes``,
``probabilities`` are (n, C) with rows that sum to 1, ``correct`` is (n,) bool, ``confidence`` is (n,), higher is
surer. Empty inputs, other shapes, indices out of range and NaNs raise ``ValueError``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.labels import LABELS

Interval = tuple[float, float]

CALIBRATION_BINS = 15
FEW = 30
"""Of fewer faces a bootstrap interval says nothing, and a curve shows noise only."""
FEW_APART = 10
"""If two models differ on fewer faces, a bootstrap interval of their difference says nothing: with five that one alone
gets right, of any number of faces, it leaves out 0, while McNemar's exact test has p = 0.06."""
FEW_OF_CLASS = 10
"""With a class of fewer faces, a bootstrap interval of a mean over the classes says nothing: such a class has hardly
any spread of its own."""
_SUM_TOLERANCE = 1e-2  # probabilities kept in half precision sum to 1 only within this
_CHUNK_ITEMS = 1 << 21  # items resampled at once: bounds the memory of a bootstrap to some tens of MB


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of predictions that are right.

    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    truth, answers = _pair(labels, predictions)
    return float(np.mean(truth == answers))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = LABELS) -> NDArray[np.int64]:
    """Count faces by true class (row) and predicted class (column), (C, C).

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], ("sad", "happy")).tolist()
    [[1, 1], [0, 1]]
    """
    truth, answers = _pair(labels, predictions, len(classes))
    size = len(classes)
    return np.bincount(truth * size + answers, minlength=size * size).reshape(size, size).astype(np.int64)


def recall_per_class(labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = LABELS) -> NDArray[np.float64]:
    """Share of each class that is found, (C,); NaN for a class without a face.

    >>> recall_per_class([0, 0, 1], [0, 1, 1], ("sad", "happy", "angry")).tolist()
    [0.5, 1.0, nan]
    """
    return recall_of_counts(confusion_matrix(labels, predictions, classes))


def mean_recall(labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = LABELS) -> float:
    """Mean of the recalls of the classes that have faces ("balanced accuracy").

    >>> mean_recall([0, 0, 1], [0, 1, 1], ("sad", "happy", "angry"))
    0.75
    """
    return float(np.nanmean(recall_per_class(labels, predictions, classes)))


def macro_f1(labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = LABELS) -> float:
    """Mean of the F1 of the classes that occur, as a label or as a prediction.

    >>> macro_f1([0, 0, 1, 1], [0, 1, 1, 1], ("sad", "happy", "angry"))  # mean of 2/3 and 4/5
    0.7333333333333334
    """
    return float(np.nanmean(f1_of_counts(confusion_matrix(labels, predictions, classes))))


def nll(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean negative log-likelihood of the true class, in nats.

    Probabilities are clipped at the epsilon of their type, so that one underflow does not make it infinite.

    >>> nll([0, 1], [[0.5, 0.5], [0.75, 0.25]]) == (math.log(2) + math.log(4)) / 2
    True
    """
    truth, shares = _labelled(labels, probabilities)
    given = np.asarray(probabilities).dtype
    smallest = np.finfo(given if given.kind == "f" else np.float64).eps
    return float(-np.log(np.clip(shares[np.arange(len(truth)), truth], smallest, 1.0)).mean())


def wilson_interval(correct: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson, 1927), within 0..1.

    Args:
        correct: number of successes, 0..n.
        n: number of trials, at least 1.
        level: coverage, between 0 and 1.

    >>> [round(bound, 4) for bound in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(f"expected 0 <= correct <= n and n >= 1, got correct {correct}, n {n}")
    z = NormalDist().inv_cdf(0.5 + _level(level) / 2)
    share, weight = correct / n, z * z / n
    centre = (share + weight / 2) / (1 + weight)
    half = math.sqrt(weight * (share * (1 - share) + weight / 4)) / (1 + weight)
    low = 0.0 if correct == 0 else centre - half  # exact at the ends, where rounding would leave 1e-17
    high = 1.0 if correct == n else centre + half
    return low, high


def bootstrap_interval(
    statistic: Callable[..., NDArray[np.float64]],
    *arrays: ArrayLike,
    n_resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over faces (Efron, 1979).

    The arrays are resampled together, so a face keeps its label, its prediction and whatever else is given of it.

    Args:
        statistic: takes the arrays resampled, each (b, n, ...), and gives the b values of the statistic.
        arrays: one or more, each (n, ...).
        n_resamples: number of resamples drawn with replacement.
        level: coverage, between 0 and 1.
        seed: the same seed gives the same interval.

    >>> low, high = bootstrap_interval(lambda correct: correct.mean(1), [True] * 80 + [False] * 20)
    >>> 0.70 < low < 0.74 and 0.86 < high < 0.89
    True
    """
    items = [np.asarray(array) for array in arrays]
    if not items or any(array.ndim == 0 for array in items) or len({len(array) for array in items}) != 1:
        raise ValueError(f"expected arrays of one length, got shapes {[array.shape for array in items]}")
    n = len(items[0])
    if n == 0:
        raise ValueError("expected at least one item, got none")
    if n_resamples < 1:
        raise ValueError(f"n_resamples must be at least 1, got {n_resamples}")
    tail = (1 - _level(level)) / 2
    generator = np.random.default_rng(seed)
    values = np.empty(n_resamples)
    chunk = max(1, _CHUNK_ITEMS // n)
    for start in range(0, n_resamples, chunk):
        count = min(chunk, n_resamples - start)
        drawn = generator.integers(0, n, (count, n))
        result = np.asarray(statistic(*(array[drawn] for array in items)))
        if result.shape != (count,):
            raise ValueError(f"the statistic must give shape {(count,)} for {count} resamples, got {result.shape}")
        values[start : start + count] = result
    if np.isnan(values).any():
        raise ValueError(f"the statistic is NaN on {int(np.isnan(values).sum())} of {n_resamples} resamples")
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def paired_bootstrap(
    values_a: ArrayLike, values_b: ArrayLike, *, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of ``mean(a) - mean(b)``, both measured on the same n faces.

    Args:
        values_a: (n,), one value a face, such as whether model a is right.
        values_b: (n,), the same of model b.
        n_resamples: number of resamples drawn with replacement.
        level: coverage, between 0 and 1.
        seed: the same seed gives the same interval.

    >>> paired_bootstrap([1, 1, 0, 1], [0, 0, -1, 0])  # a is 1 above b on each face
    (1.0, 1.0)
    """
    a, b = _reals(values_a, "values_a"), _reals(values_b, "values_b")
    _same_length(a, b, "values_a", "values_b")
    return bootstrap_interval(
        lambda difference: difference.mean(1), a - b, n_resamples=n_resamples, level=level, seed=seed
    )


def telling(interval: Interval, n: int) -> Interval | None:
    """A bootstrap interval, or None where it says nothing.

    It knows the n faces alone: of few it is far too narrow, and where they are all alike it has no width.

    >>> telling((0.7, 0.9), 100), telling((0.7, 0.9), 3), telling((1.0, 1.0), 100)
    ((0.7, 0.9), None, None)
    """
    low, high = interval
    return interval if n >= FEW and low < high else None


def difference_interval(
    values_a: ArrayLike, values_b: ArrayLike, *, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """`paired_bootstrap`, or None where it says nothing, see `telling` and ``FEW_APART``.

    >>> right, other = np.ones(100), np.ones(100)
    >>> other[:5] = 0
    >>> difference_interval(right, other) is None
    True
    """
    a, b = _reals(values_a, "values_a"), _reals(values_b, "values_b")
    _same_length(a, b, "values_a", "values_b")
    if (a != b).sum() < FEW_APART:
        return None
    return telling(paired_bootstrap(a, b, n_resamples=n_resamples, level=level, seed=seed), len(a))


def mcnemar_exact(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """Two-sided exact p-value that two models err alike on the same n faces (McNemar, 1947).

    Only faces that exactly one of the models gets right count; under the hypothesis each model is right on half of
    them. Computed in whole numbers, so it is exact for thousands of faces.

    >>> mcnemar_exact([True, True, True, False], [False, False, False, False])  # 3 to 0: 2 / 2**3
    0.25
    """
    a, b = _booleans(correct_a, "correct_a"), _booleans(correct_b, "correct_b")
    _same_length(a, b, "correct_a", "correct_b")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    trials = only_a + only_b
    ways = term = 1
    for successes in range(min(only_a, only_b)):
        term = term * (trials - successes) // (successes + 1)  # binomial(trials, successes + 1)
        ways += term
    p_value: float = 2 * ways / 2**trials
    return min(1.0, p_value)


class ReliabilityCurve(NamedTuple):
    """Accuracy against confidence, in bins of rising confidence; bins without faces are left out.

    Attributes:
        confidence: (k,), mean probability of the predicted class.
        accuracy: (k,), share of right predictions.
        counts: (k,), faces in the bin.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]


def reliability_curve(labels: ArrayLike, probabilities: ArrayLike, bins: int = CALIBRATION_BINS) -> ReliabilityCurve:
    """Accuracy against top-label confidence in bins of equal mass (the quantiles of the confidence).

    Equal confidences stay in one bin, so the order of the faces does not matter.

    >>> curve = reliability_curve([0, 0, 1, 0], [[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.5, 0.5]], bins=2)
    >>> [values.round(2).tolist() for values in curve]
    [[0.55, 0.85], [0.5, 1.0], [2, 2]]
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    truth, shares = _labelled(labels, probabilities)
    confidence, correct = shares.max(1), shares.argmax(1) == truth
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1)[1:-1])
    place = np.searchsorted(edges, confidence)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    sums = [np.bincount(place, values, minlength=bins)[filled] for values in (confidence, correct)]
    return ReliabilityCurve(sums[0] / count[filled], sums[1] / count[filled], count[filled].astype(np.int64))


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance of confidence and accuracy over the bins of `reliability_curve`, weighted by their faces, 0..1.

    >>> expected_calibration_error([0, 1], [[0.75, 0.25], [0.75, 0.25]])  # 75 % sure, 50 % right
    0.25
    """
    curve = reliability_curve(labels, probabilities, bins)
    return float(np.average(np.abs(curve.confidence - curve.accuracy), weights=curve.counts))


class RiskCoverageCurve(NamedTuple):
    """What share is answered, and how often wrongly, when only faces at or above a threshold are answered.

    Attributes:
        threshold: (k,), the distinct confidences, falling.
        coverage: (k,), share of faces answered, rising to 1.
        risk: (k,), share of the answered that is wrong.
    """

    threshold: NDArray[np.float64]
    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]


def risk_coverage_curve(correct: ArrayLike, confidence: ArrayLike) -> RiskCoverageCurve:
    """Risk against coverage at each distinct confidence (El-Yaniv and Wiener, 2010).

    >>> curve = risk_coverage_curve([True, False, True, False], [0.9, 0.8, 0.8, 0.1])
    >>> [values.round(3).tolist() for values in curve]
    [[0.9, 0.8, 0.1], [0.25, 0.75, 1.0], [0.0, 0.333, 0.5]]
    """
    hits, sureness = _booleans(correct, "correct"), _reals(confidence, "confidence")
    _same_length(hits, sureness, "correct", "confidence")
    order = np.argsort(-sureness, kind="stable")
    falling = sureness[order]
    last = np.append(falling[1:] != falling[:-1], True)  # the last face of each distinct confidence
    answered = np.arange(1, len(falling) + 1)
    risk = np.cumsum(~hits[order]) / answered
    return RiskCoverageCurve(falling[last], (answered / len(falling))[last], risk[last])


def aurc(correct: ArrayLike, confidence: ArrayLike) -> float:
    """Area under the risk-coverage curve, 0..1, lower is better (Geifman et al., 2019, arXiv:1805.08206).

    The mean, over the faces, of the risk when each face's own confidence is the threshold; equal confidences share
    one threshold, so the order of the faces does not matter.

    >>> aurc([True, False], [0.9, 0.8])  # mean of 0 and 1/2
    0.25
    """
    curve = risk_coverage_curve(correct, confidence)
    return float(np.average(curve.risk, weights=np.diff(curve.coverage, prepend=0.0)))


def threshold_for_risk(correct: ArrayLike, confidence: ArrayLike, max_risk: float) -> float:
    """Lowest confidence to answer at so that at most ``max_risk`` of the answers are wrong.

    Returns infinity (answer nothing) where even the surest faces are wrong too often.

    >>> threshold_for_risk([True, True, False, False], [0.9, 0.8, 0.7, 0.1], max_risk=0.4)
    0.7
    """
    if not 0 <= max_risk <= 1:
        raise ValueError(f"max_risk must be in 0..1, got {max_risk}")
    curve = risk_coverage_curve(correct, confidence)
    allowed = curve.threshold[curve.risk <= max_risk]
    return float(allowed[-1]) if len(allowed) else math.inf


def risk_at_coverage(correct: ArrayLike, confidence: ArrayLike, coverage: float) -> float:
    """Share of wrong answers when at least this share of the faces is answered, the surest first.

    Equal confidences are answered together, so the order of the faces does not matter.

    Args:
        correct: (n,) whether each answer is right.
        confidence: (n,).
        coverage: above 0, at most 1.

    >>> risk_at_coverage([True, True, False, True, False], [0.9, 0.8, 0.7, 0.6, 0.1], coverage=0.8)
    0.25
    """
    wrong, answered = wrong_at_coverage(correct, confidence, coverage)
    return wrong / answered


def wrong_at_coverage(correct: ArrayLike, confidence: ArrayLike, coverage: float) -> tuple[int, int]:
    """The same as two numbers: of wrong answers, and of answers.

    >>> wrong_at_coverage([True, True, False, True, False], [0.9, 0.8, 0.7, 0.6, 0.1], coverage=0.8)
    (1, 4)
    """
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be above 0 and at most 1, got {coverage}")
    curve = risk_coverage_curve(correct, confidence)
    place = np.searchsorted(curve.coverage, coverage)
    answered = round(float(curve.coverage[place]) * np.size(correct))
    return round(float(curve.risk[place]) * answered), answered


def roc_auc(positive: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive item has the higher score of two, a tie counting half.

    By the ranks of the scores (Hanley and McNeil, 1982), so no threshold is involved.

    Args:
        positive: (n,) bool, with at least one item of each kind.
        scores: (n,), higher is more positive.

    >>> roc_auc([True, True, False, False], [0.9, 0.4, 0.4, 0.1])
    0.875
    """
    kinds, values = _booleans(positive, "positive"), _reals(scores, "scores")
    _same_length(kinds, values, "positive", "scores")
    positives = int(kinds.sum())
    negatives = len(kinds) - positives
    if not positives or not negatives:
        raise ValueError(f"expected items of both kinds, got {positives} positive and {negatives} negative ones")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal scores, from 1
    wins = ranks[place][kinds].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))


@dataclass(frozen=True)
class ClassScore:
    """One class: n faces of it, and precision, recall and F1 in 0..1, NaN where nothing defines them."""

    n: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, eq=False)
class Score:
    """How well probabilities fit labels, on n faces.

    Attributes:
        n: number of faces.
        accuracy: share that is right.
        accuracy_ci95: Wilson's 95 % interval of it.
        mean_recall: mean over the classes that have faces.
        macro_f1: mean over the classes that occur as a label or as a prediction.
        nll: mean negative log-likelihood, nats.
        ece: expected calibration error, 15 bins of equal mass.
        classes: the C names.
        per_class: C entries, in the order of ``classes``.
        confusion: (C, C) counts, rows the true class.
    """

    n: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    mean_recall: float
    macro_f1: float
    nll: float
    ece: float
    classes: tuple[str, ...]
    per_class: tuple[ClassScore, ...]
    confusion: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Give the same fields as plain values for JSON; NaN becomes None, ``per_class`` is keyed by name."""
        return {
            "n": self.n,
            "accuracy": self.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
            "mean_recall": self.mean_recall,
            "macro_f1": self.macro_f1,
            "nll": self.nll,
            "ece": self.ece,
            "classes": list(self.classes),
            "per_class": {
                name: {
                    "n": entry.n,
                    "precision": _none_if_nan(entry.precision),
                    "recall": _none_if_nan(entry.recall),
                    "f1": _none_if_nan(entry.f1),
                }
                for name, entry in zip(self.classes, self.per_class, strict=True)
            },
            "confusion": self.confusion.tolist(),
        }


def score(labels: ArrayLike, probabilities: ArrayLike, classes: Sequence[str] = LABELS) -> Score:
    """Score probabilities against labels; the prediction is the class with the largest probability.

    Args:
        labels: (n,) indices into ``classes``.
        probabilities: (n, C), rows sum to 1.
        classes: the C names.

    >>> result = score([0, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]], ("sad", "happy"))
    >>> result.n, round(result.accuracy, 3), result.mean_recall, result.confusion.tolist()
    (3, 0.667, 0.75, [[1, 1], [0, 1]])
    """
    truth, shares = _labelled(labels, probabilities)
    if shares.shape[1] != len(classes):
        raise ValueError(f"probabilities must have {len(classes)} columns, one a class, got {shares.shape[1]}")
    confusion = confusion_matrix(truth, shares.argmax(1), classes)
    return score_counts(confusion, classes, nll(labels, probabilities), expected_calibration_error(truth, shares))


def score_counts(counts: NDArray[np.int64], classes: Sequence[str], nll: float, ece: float) -> Score:
    """Score a table of counts.

    Args:
        counts: (C, C) or (C, C + 1), by true class and by prediction; the last column, where there is one more than
            classes, counts faces without an answer, which are errors.
        classes: the C names.
        nll: of the faces that have an answer.
        ece: of them, too.

    >>> score_counts(np.array([[2, 0, 1], [1, 0, 0]]), ("sad", "happy"), 0.5, 0.1).accuracy
    0.5
    """
    confusion = counts[:, : len(classes)]
    right, n = int(confusion.trace()), int(counts.sum())
    recall, f1 = recall_of_counts(counts), f1_of_counts(counts)
    precision = _ratio(confusion.diagonal(), confusion.sum(0))
    return Score(
        n=n,
        accuracy=right / n,
        accuracy_ci95=wilson_interval(right, n),
        mean_recall=float(np.nanmean(recall)),
        macro_f1=float(np.nanmean(f1)),
        nll=nll,
        ece=ece,
        classes=tuple(classes),
        per_class=tuple(
            ClassScore(int(count), float(p), float(r), float(f))
            for count, p, r, f in zip(counts.sum(1), precision, recall, f1, strict=True)
        ),
        confusion=confusion,
    )


def recall_of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Recall (..., C) from counts (..., C, C) or (..., C, C + 1), see `score_counts`; NaN for a class without faces."""
    return _ratio(np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1))


def f1_of_counts(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """F1 (..., C) from such counts; NaN for a class that is neither a label nor a prediction."""
    answered = counts[..., : counts.shape[-2]]
    return _ratio(2 * np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1) + answered.sum(-2))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    """Divide, NaN where the whole is 0."""
    quotient = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient


def _none_if_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return level


def _pair(labels: ArrayLike, predictions: ArrayLike, classes: int | None = None) -> tuple[NDArray[np.int64], ...]:
    truth, answers = _indices(labels, "labels", classes), _indices(predictions, "predictions", classes)
    _same_length(truth, answers, "labels", "predictions")
    return truth, answers


def _labelled(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.ndim != 2 or shares.size == 0:
        raise ValueError(f"probabilities must have shape (n, C), n and C at least 1, got {shares.shape}")
    if not np.isfinite(shares).all():
        raise ValueError("probabilities must be finite, got NaN or infinity")
    if (shares < 0).any() or (np.abs(shares.sum(1) - 1) > _SUM_TOLERANCE).any():
        raise ValueError("probabilities must not be negative and rows must sum to 1; apply softmax to logits first")
    truth = _indices(labels, "labels", shares.shape[1])
    _same_length(truth, shares, "labels", "probabilities")
    return truth, shares


def _indices(values: ArrayLike, name: str, classes: int | None) -> NDArray[np.int64]:
    array = _vector(values, name)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integer class indices, got {array.dtype}")
    if classes is not None and (array.min() < 0 or array.max() >= classes):
        raise ValueError(f"{name} must be in 0..{classes - 1}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def _booleans(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    array = _vector(values, name)
    if array.dtype != np.bool_:
        raise ValueError(f"{name} must be bool, got {array.dtype}")
    return array


def _reals(values: ArrayLike, name: str) -> NDArray[np.float64]:
    array = _vector(values, name).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return array


def _vector(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (n,), n at least 1, got {array.shape}")
    return array


def _same_length(a: NDArray[Any], b: NDArray[Any], name_a: str, name_b: str) -> None:
    if len(a) != len(b):
        raise ValueError(f"{name_a} and {name_b} must be of one length, got {len(a)} and {len(b)}")
