"""What is refused, and with which words."""

import math

import numpy as np
import pytest

from regionfer import metrics

ABC = ("a", "b", "c")
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
