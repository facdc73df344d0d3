import json
import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics
from sklearn.calibration import calibration_curve

from regionfer import metrics
from regionfer.labels import LABELS

ABC = ("a", "b", "c")


def example(n: int = 402, classes: int = 8, absent: tuple[int, ...] = (), seed: int = 0):
    """Labels and probabilities that are right more often than not; ``absent`` classes have no faces."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([c for c in range(classes) if c not in absent], size=n)
    logits = generator.normal(size=(n, classes)) + 2.0 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities


@pytest.fixture(params=[(), (7,), (2, 5)], ids=["all-classes", "one-absent", "two-absent"])
def case(request):
    return example(absent=request.param)


def test_counts_agree_with_scikit_learn(case):
    labels, probabilities = case
    predictions = probabilities.argmax(1)
    present = np.unique(labels)
    expected = sklearn_metrics.confusion_matrix(labels, predictions, labels=range(8))
    recall = sklearn_metrics.recall_score(labels, predictions, labels=present, average=None)

    assert metrics.accuracy(labels, predictions) == sklearn_metrics.accuracy_score(labels, predictions)
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, predictions), expected)
    np.testing.assert_allclose(metrics.recall_per_class(labels, predictions)[present], recall)
    assert np.isnan(np.delete(metrics.recall_per_class(labels, predictions), present)).all()
    assert metrics.mean_recall(labels, predictions) == pytest.approx(recall.mean())
    assert metrics.macro_f1(labels, predictions) == pytest.approx(
        sklearn_metrics.f1_score(labels, predictions, average="macro")
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nll_agrees_with_scikit_learn(case, dtype):
    labels, probabilities = case
    probabilities = probabilities.astype(dtype)
    as_double = probabilities.astype(np.float64)  # scikit-learn warns about rows that miss 1 by a float32 rounding
    expected = sklearn_metrics.log_loss(labels, as_double / as_double.sum(1, keepdims=True), labels=range(8))
    assert metrics.nll(labels, probabilities) == pytest.approx(expected, rel=1e-6)


def test_nll_stays_finite_where_the_true_class_has_no_probability():
    assert metrics.nll([0], np.array([[0.0, 1.0]], np.float32)) == pytest.approx(-math.log(np.finfo(np.float32).eps))


@pytest.mark.parametrize(("correct", "n"), [(0, 5), (5, 5), (1, 7), (2683, 3137), (30, 31)])
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_interval_agrees_with_scipy(correct, n, level):
    expected = stats.binomtest(correct, n).proportion_ci(level, method="wilson")
    assert metrics.wilson_interval(correct, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_interval_ends_exactly_at_the_ends():
    assert metrics.wilson_interval(0, 7)[0] == 0.0
    assert metrics.wilson_interval(7, 7)[1] == 1.0


def two_column_mean_ratio(a, b):
    return a.mean(-1) / b.mean(-1)


@pytest.mark.parametrize("chunk", [1 << 21, 700], ids=["one-chunk", "many-chunks"])
def test_bootstrap_agrees_with_scipy_on_the_same_draws(monkeypatch, chunk):
    monkeypatch.setattr("regionfer.metrics.intervals._CHUNK_ITEMS", chunk)
    a, b = np.random.default_rng(1).uniform(1, 2, (2, 60))
    expected = stats.bootstrap(
        (a, b),
        lambda a, b, axis: two_column_mean_ratio(a, b),
        paired=True,
        vectorized=True,
        n_resamples=999,
        confidence_level=0.9,
        method="percentile",
        random_state=np.random.default_rng(5),
    ).confidence_interval
    found = metrics.bootstrap_interval(two_column_mean_ratio, a, b, n_resamples=999, level=0.9, seed=5)
    assert found == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_bootstrap_keeps_the_rows_of_several_arrays_together():
    labels, probabilities = example(n=50)
    low, high = metrics.bootstrap_interval(
        lambda truth, shares: (shares.argmax(-1) == truth).mean(1), labels, probabilities, n_resamples=300
    )
    assert low < metrics.accuracy(labels, probabilities.argmax(1)) < high


def test_paired_bootstrap_is_narrower_than_the_models_apart():
    generator = np.random.default_rng(0)
    b = generator.random(500) < 0.8
    a = b | (generator.random(500) < 0.1)  # a errs only where b errs
    low, high = metrics.paired_bootstrap(a, b)
    apart = metrics.bootstrap_interval(lambda x: x.mean(1), a)
    assert 0 < low < a.mean() - b.mean() < high
    assert high - low < (apart[1] - apart[0]) / 2
    assert (low, high) == metrics.bootstrap_interval(lambda x: x.mean(1), a.astype(float) - b)


def test_the_seed_decides_the_draws():
    values = np.random.default_rng(0).normal(size=(2, 80))
    assert metrics.paired_bootstrap(*values, seed=1) == metrics.paired_bootstrap(*values, seed=1)
    assert metrics.paired_bootstrap(*values, seed=1) != metrics.paired_bootstrap(*values, seed=2)


@pytest.mark.parametrize(
    ("only_a", "only_b", "both"),
    [(0, 0, 4), (1, 0, 0), (5, 5, 1), (12, 3, 40), (3, 12, 40), (140, 100, 2900), (3000, 2700, 10), (4000, 0, 1)],
)
def test_mcnemar_agrees_with_the_binomial_test(only_a, only_b, both):
    a = np.repeat([True, False, True], [only_a, only_b, both])
    b = np.repeat([False, True, True], [only_a, only_b, both])
    trials = only_a + only_b
    expected = stats.binomtest(only_a, trials).pvalue if trials else 1.0
    assert metrics.mcnemar_exact(a, b) == pytest.approx(expected, rel=1e-9)


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


def test_calibration_error_agrees_with_a_plain_loop():
    labels, probabilities = example(n=450)  # 30 a bin and no ties: quantiles and counting cut alike
    expected = naive_calibration_error(labels, probabilities, 15)
    assert metrics.expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def naive_aurc(correct, confidence):
    return np.mean([np.mean(~correct[confidence >= threshold]) for threshold in confidence])


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
def test_aurc_agrees_with_a_plain_loop_in_any_order(decimals):
    labels, probabilities = example(n=200)
    confidence, correct = probabilities.max(1).round(decimals), probabilities.argmax(1) == labels
    assert metrics.aurc(correct, confidence) == pytest.approx(naive_aurc(correct, confidence))
    assert metrics.aurc(correct[::-1], confidence[::-1]) == pytest.approx(metrics.aurc(correct, confidence))


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("max_risk", [0.0, 0.05, 0.2, 1.0])
def test_threshold_keeps_the_risk_with_the_largest_coverage(decimals, max_risk):
    labels, probabilities = example(n=200)
    confidence, correct = probabilities.max(1).round(decimals), probabilities.argmax(1) == labels
    allowed = [t for t in confidence if np.mean(~correct[confidence >= t]) <= max_risk]
    assert metrics.threshold_for_risk(correct, confidence, max_risk) == min(allowed, default=math.inf)


def test_threshold_is_infinite_where_the_surest_are_wrong():
    assert metrics.threshold_for_risk([False, True], [0.9, 0.2], 0.1) == math.inf


@pytest.mark.parametrize("decimals", [9, 1], ids=["distinct", "ties"])
@pytest.mark.parametrize("coverage", [0.005, 0.5, 0.8, 0.9, 1.0])
def test_risk_at_coverage_agrees_with_a_plain_loop(decimals, coverage):
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


def test_score_gathers_the_single_metrics(case):
    labels, probabilities = case
    predictions = probabilities.argmax(1)
    result = metrics.score(labels, probabilities)
    right = int((predictions == labels).sum())
    precision, recall, f1, count = sklearn_metrics.precision_recall_fscore_support(
        labels, predictions, labels=range(8), zero_division=np.nan
    )

    assert (result.n, result.classes) == (len(labels), LABELS)
    assert result.accuracy == metrics.accuracy(labels, predictions)
    assert result.accuracy_ci95 == metrics.wilson_interval(right, len(labels))
    assert result.mean_recall == metrics.mean_recall(labels, predictions)
    assert result.macro_f1 == metrics.macro_f1(labels, predictions)
    assert result.nll == metrics.nll(labels, probabilities)
    assert result.ece == metrics.expected_calibration_error(labels, probabilities)
    np.testing.assert_array_equal([c.n for c in result.per_class], count)
    np.testing.assert_allclose([c.precision for c in result.per_class], precision)
    np.testing.assert_allclose([c.recall for c in result.per_class], recall)
    np.testing.assert_allclose([c.f1 for c in result.per_class], f1)


def test_counts_may_be_stacked_and_have_faces_without_an_answer():
    counts = np.random.default_rng(0).integers(1, 9, (5, 8, 9))
    counts[1, 3] = 0
    for of_counts in (metrics.recall_of_counts, metrics.f1_of_counts):
        np.testing.assert_array_equal(of_counts(counts), [of_counts(table) for table in counts])
        assert (of_counts(counts[0]) < of_counts(counts[0, :, :8])).all()
    missed, answered = (metrics.score_counts(table, LABELS, 0.5, 0.1) for table in (counts[0], counts[0, :, :8]))
    assert missed.n == answered.n + counts[0, :, 8].sum()
    assert [each.precision for each in missed.per_class] == [each.precision for each in answered.per_class]
    np.testing.assert_array_equal(missed.confusion, answered.confusion)


@pytest.mark.parametrize("shape", [(2, 2), (3, 2), (3, 5), (3, 4)])
def test_counts_that_are_none_are_refused(shape):
    counts = np.ones(shape, np.int64) * (shape != (3, 4))
    with pytest.raises(ValueError, match=r"counts must be \(3, 3\) or \(3, 4\), of a face or more"):
        metrics.score_counts(counts, ABC, 0.5, 0.1)


def test_score_as_json_has_stable_keys_and_no_nan():
    labels, probabilities = example(n=60, classes=3, absent=(1,))
    result = metrics.score(labels, probabilities, ABC)
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert list(found) == [
        *("n", "accuracy", "accuracy_ci95", "mean_recall", "macro_f1"),
        *("nll", "ece", "classes", "per_class", "confusion"),
    ]
    assert found["classes"] == list(found["per_class"]) == list(ABC)
    assert found["per_class"]["b"]["recall"] is None
    assert found["per_class"]["b"]["n"] == 0
    assert found["confusion"] == result.confusion.tolist()
    assert found["accuracy_ci95"] == list(result.accuracy_ci95)


GOOD = [[0.5, 0.5]]
REFUSED = {
    "empty": (lambda: metrics.accuracy([], []), r"labels must have shape \(n,\), n at least 1, got \(0,\)"),
    "two-axes": (lambda: metrics.accuracy([[0]], [[0]]), r"labels must have shape .* got \(1, 1\)"),
    "float-labels": (lambda: metrics.accuracy([0.0], [0]), "labels must be integer class indices, got float64"),
    "lengths": (lambda: metrics.accuracy([0, 1], [0]), "labels and predictions must be of one length, got 2 and 1"),
    "index-high": (lambda: metrics.confusion_matrix([0], [3], ABC), r"predictions must be in 0\.\.2, got 3\.\.3"),
    "index-low": (lambda: metrics.mean_recall([-1], [0], ABC), r"labels must be in 0\.\.2, got -1\.\.-1"),
    "nan-probability": (lambda: metrics.nll([0], [[math.nan, 1.0]]), "must be finite"),
    "logits": (lambda: metrics.nll([0], [[3.0, 1.0]]), "apply softmax to logits first"),
    "negative": (lambda: metrics.nll([0], [[-0.5, 1.5]]), "must not be negative"),
    "flat": (lambda: metrics.expected_calibration_error([0], [0.5]), r"must have shape \(n, C\).*got \(1,\)"),
    "no-probabilities": (lambda: metrics.score([], np.empty((0, 8))), r"must have shape \(n, C\).*got \(0, 8\)"),
    "rows": (lambda: metrics.score([0, 1], GOOD, ABC[:2]), "labels and probabilities must be of one length"),
    "columns": (lambda: metrics.score([0], GOOD, ABC), "must have 3 columns, one a class, got 2"),
    "bins": (lambda: metrics.reliability_curve([0], GOOD, 0), "bins must be at least 1, got 0"),
    "wilson-empty": (lambda: metrics.wilson_interval(0, 0), "got correct 0, n 0"),
    "wilson-more": (lambda: metrics.wilson_interval(4, 3), "got correct 4, n 3"),
    "level": (lambda: metrics.wilson_interval(1, 3, 95), "level must be between 0 and 1, got 95"),
    "not-bool": (lambda: metrics.mcnemar_exact([1], [True]), "correct_a must be bool"),
    "nan-confidence": (lambda: metrics.aurc([True], [math.nan]), "confidence must be finite"),
    "risk": (lambda: metrics.threshold_for_risk([True], [0.5], 5), r"max_risk must be in 0\.\.1, got 5"),
    "coverage": (lambda: metrics.risk_at_coverage([True], [0.5], 0), "coverage must be above 0 and at most 1, got 0"),
    "one-kind": (lambda: metrics.roc_auc([True, True], [0.1, 0.2]), "got 2 positive and 0 negative ones"),
    "auc-lengths": (lambda: metrics.roc_auc([True, False], [0.1]), "positive and scores must be of one length"),
    "bootstrap-none": (lambda: metrics.bootstrap_interval(np.mean), "expected arrays of one length"),
    "bootstrap-empty": (lambda: metrics.bootstrap_interval(np.mean, []), "expected at least one item"),
    "bootstrap-lengths": (lambda: metrics.bootstrap_interval(np.mean, [1], [1, 2]), "expected arrays of one length"),
    "bootstrap-scalar": (lambda: metrics.bootstrap_interval(np.mean, [1.0]), r"must give shape \(2000,\).*got \(\)"),
    "bootstrap-nan": (
        lambda: metrics.bootstrap_interval(lambda x: x.mean(1), [math.nan], n_resamples=9),
        "NaN on 9 of 9 resamples",
    ),
    "bootstrap-count": (
        lambda: metrics.bootstrap_interval(lambda x: x.mean(1), [1.0], n_resamples=0),
        "n_resamples must be at least 1, got 0",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
