"""What confidence is worth: calibration, risk where only sure answers count, areas under curves."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.metrics.checks import check_same_length, checked_booleans, checked_probabilities, checked_reals

CALIBRATION_BINS = 15


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
    truth, shares = checked_probabilities(labels, probabilities)
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
    hits, sureness = checked_booleans(correct, "correct"), checked_reals(confidence, "confidence")
    check_same_length(hits, sureness, "correct", "confidence")
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
    kinds, values = checked_booleans(positive, "positive"), checked_reals(scores, "scores")
    check_same_length(kinds, values, "positive", "scores")
    positives = int(kinds.sum())
    negatives = len(kinds) - positives
    if not positives or not negatives:
        raise ValueError(f"expected items of both kinds, got {positives} positive and {negatives} negative ones")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2  # the mean rank of equal scores, from 1
    wins = ranks[place][kinds].sum() - positives * (positives + 1) / 2
    return float(wins / (positives * negatives))
