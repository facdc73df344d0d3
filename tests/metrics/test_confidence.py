"""Calibration, risk and coverage, areas under curves: against scikit-learn and plain loops."""

import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from regionfer import metrics


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_reliability_agrees_with_scikit_learn(case, bins):
    labels, probabilities = case
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=bins, strategy="quantile")
    curve = metrics.reliability_curve(labels, probabilities, bins)
    np.testing.assert_allclose(curve.accuracy, accuracy)
    np.testing.assert_allclose(curve.confidence, mean_confidence)
    assert curve.counts.sum() == len(labels)
    assert np.ptp(curve.counts) <= 2  # equal mass


def test_reliability_keeps_equal_confidences_together():
    generator = np.random.default_rng(3)
    sure = generator.uniform(0.5, 1, 300).round(1)  # few distinct values: most bin edges fall on one
    labels, probabilities = generator.integers(0, 2, 300), np.stack([1 - sure, sure], axis=1)
    accuracy, confidence = calibration_curve(probabilities.argmax(1) == labels, sure, n_bins=15, strategy="quantile")
    curve = metrics.reliability_curve(labels, probabilities)
    np.testing.assert_allclose(curve.accuracy, accuracy)
    np.testing.assert_allclose(curve.confidence, confidence)
    turned = metrics.reliability_curve(labels[::-1], probabilities[::-1])
    np.testing.assert_allclose(turned.accuracy, accuracy)


def test_a_confidence_on_a_bin_edge_belongs_to_the_lower_bin():
    sure = np.array([0.5, 0.625, 0.75, 0.875, 1.0])  # the median is the edge
    curve = metrics.reliability_curve([1] * 5, np.stack([1 - sure, sure], axis=1), bins=2)
    assert curve.counts.tolist() == [3, 2]


def naive_calibration_error(labels, probabilities, bins):
    ranked = sorted(zip(probabilities.max(1), probabilities.argmax(1) == labels, strict=True))
    groups = [g for g in np.array_split(np.array(ranked, dtype=float), bins) if len(g)]
    return sum(len(g) * abs(g[:, 0].mean() - g[:, 1].mean()) for g in groups) / len(labels)


def test_calibration_error_agrees_with_a_plain_loop(example):
    labels, probabilities = example(n=450)  # 30 a bin and no ties: quantiles and counting cut alike
    expected = naive_calibration_error(labels, probabilities, 15)
    assert metrics.expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def naive_aurc(correct, confidence):
    return np.mean([np.mean(~correct[confidence >= threshold]) for threshold in confidence])


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
def test_aurc_agrees_with_a_plain_loop_in_any_order(example, decimals):
    labels, probabilities = example(n=200)
    confidence, correct = probabilities.max(1).round(decimals), probabilities.argmax(1) == labels
    assert metrics.aurc(correct, confidence) == pytest.approx(naive_aurc(correct, confidence))
    assert metrics.aurc(correct[::-1], confidence[::-1]) == pytest.approx(metrics.aurc(correct, confidence))


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("max_risk", [0.0, 0.05, 0.2, 1.0])
def test_threshold_keeps_the_risk_with_the_largest_coverage(example, decimals, max_risk):
    labels, probabilities = example(n=200)
    confidence, correct = probabilities.max(1).round(decimals), probabilities.argmax(1) == labels
    allowed = [t for t in confidence if np.mean(~correct[confidence >= t]) <= max_risk]
    assert metrics.threshold_for_risk(correct, confidence, max_risk) == min(allowed, default=math.inf)


def test_threshold_is_infinite_where_the_surest_are_wrong():
    assert metrics.threshold_for_risk([False, True], [0.9, 0.2], 0.1) == math.inf


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("coverage", [0.005, 0.5, 0.8, 0.9, 1.0])
def test_risk_at_coverage_agrees_with_a_plain_loop(example, decimals, coverage):
    labels, probabilities = example(n=200)
    confidence, correct = probabilities.max(1).round(decimals), probabilities.argmax(1) == labels
    threshold = sorted(confidence, reverse=True)[round(coverage * 200) - 1]
    expected = np.mean(~correct[confidence >= threshold])
    assert metrics.risk_at_coverage(correct, confidence, coverage) == pytest.approx(expected)


@pytest.mark.parametrize("decimals", [9, 1, 0], ids=["distinct", "ties", "two values"])
@pytest.mark.parametrize("share", [0.5, 0.05])
def test_roc_auc_agrees_with_scikit_learn(decimals, share):
    rng = np.random.default_rng(0)
    positive = rng.random(500) < share
    scores = (rng.random(500) * 0.7 + 0.3 * positive).round(decimals)
    assert metrics.roc_auc(positive, scores) == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores))


@pytest.mark.parametrize(("scores", "area"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], 0.0), ([5, 5, 5, 5], 0.5)])
def test_roc_auc_at_its_ends(scores, area):
    assert metrics.roc_auc([False, False, True, True], scores) == area
