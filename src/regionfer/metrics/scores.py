"""How right: accuracy, recall, F1 and likelihood, one by one and together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.labels import LABELS
from regionfer.metrics.checks import checked_pair, checked_probabilities
from regionfer.metrics.confidence import expected_calibration_error
from regionfer.metrics.intervals import wilson_interval


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of predictions that are right.

    >>> accuracy([0, 1, 2, 2], [0, 1, 2, 0])
    0.75
    """
    truth, answers = checked_pair(labels, predictions)
    return float(np.mean(truth == answers))


def confusion_matrix(labels: ArrayLike, predictions: ArrayLike, classes: Sequence[str] = LABELS) -> NDArray[np.int64]:
    """Count faces by true class (row) and predicted class (column), (C, C).

    >>> confusion_matrix([0, 0, 1], [0, 1, 1], ("sad", "happy")).tolist()
    [[1, 1], [0, 1]]
    """
    truth, answers = checked_pair(labels, predictions, len(classes))
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
    truth, _ = checked_probabilities(labels, probabilities)
    return float(log_losses(truth, np.asarray(probabilities)).mean())


def log_losses(labels: NDArray[np.int64], probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Negative log-likelihood of each true class, (n,), in nats; NaN where the probabilities are. Clipped as in `nll`.

    >>> log_losses(np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, np.nan]])).round(3).tolist()
    [0.693, nan]
    """
    smallest = np.finfo(probabilities.dtype if probabilities.dtype.kind == "f" else np.float64).eps
    of_true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(of_true.clip(smallest, 1.0)), dtype=np.float64)


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
    truth, shares = checked_probabilities(labels, probabilities)
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
        nll: of the faces that have an answer, nats; NaN if none has.
        ece: of them, too, 0..1.

    Raises:
        ValueError: counts of another shape, or of no face.

    >>> score_counts(np.array([[2, 0, 1], [1, 0, 0]]), ("sad", "happy"), 0.5, 0.1).accuracy
    0.5
    """
    size = len(classes)
    if counts.shape not in ((size, size), (size, size + 1)) or not counts.any():
        raise ValueError(
            f"counts must be ({size}, {size}) or ({size}, {size + 1}), of a face or more, got {counts.shape}"
        )
    confusion = counts[:, :size]
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
