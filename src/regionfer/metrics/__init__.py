"""How right, how sure and how surely better: accuracy, calibration, selective answering, intervals, paired tests.

Pure functions on arrays of n faces. ``labels`` and ``predictions`` are (n,) integer indices into ``classes``,
``probabilities`` are (n, C) with rows that sum to 1, ``correct`` is (n,) bool, ``confidence`` is (n,), higher is
surer. Empty inputs, other shapes, indices out of range and NaNs raise ``ValueError``. `recall_of_counts` and
`f1_of_counts` take tables of counts instead, also many at once, and check nothing: they run on each resample.
Nor does `log_losses`, which keeps the NaN of faces without an answer.
"""

from regionfer.metrics.confidence import (
    CALIBRATION_BINS,
    ReliabilityCurve,
    RiskCoverageCurve,
    aurc,
    expected_calibration_error,
    reliability_curve,
    risk_at_coverage,
    risk_coverage_curve,
    roc_auc,
    threshold_for_risk,
    wrong_at_coverage,
)
from regionfer.metrics.intervals import (
    FEW,
    FEW_APART,
    FEW_OF_CLASS,
    Interval,
    bootstrap_interval,
    difference_interval,
    mcnemar_exact,
    mean_interval,
    paired_bootstrap,
    telling,
    wilson_interval,
)
from regionfer.metrics.scores import (
    ClassScore,
    Score,
    accuracy,
    confusion_matrix,
    f1_of_counts,
    log_losses,
    macro_f1,
    mean_recall,
    nll,
    recall_of_counts,
    recall_per_class,
    score,
    score_counts,
)

__all__ = [
    "CALIBRATION_BINS",
    "FEW",
    "FEW_APART",
    "FEW_OF_CLASS",
    "ClassScore",
    "Interval",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "Score",
    "accuracy",
    "aurc",
    "bootstrap_interval",
    "confusion_matrix",
    "difference_interval",
    "expected_calibration_error",
    "f1_of_counts",
    "log_losses",
    "macro_f1",
    "mcnemar_exact",
    "mean_interval",
    "mean_recall",
    "nll",
    "paired_bootstrap",
    "recall_of_counts",
    "recall_per_class",
    "reliability_curve",
    "risk_at_coverage",
    "risk_coverage_curve",
    "roc_auc",
    "score",
    "score_counts",
    "telling",
    "threshold_for_risk",
    "wilson_interval",
    "wrong_at_coverage",
]
