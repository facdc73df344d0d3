"""How right: against scikit-learn, and figures that hang together."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from regionfer import metrics
from regionfer.labels import LABELS

ABC = ("a", "b", "c")


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


def test_score_as_json_has_stable_keys_and_no_nan(example):
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
