"""What is given to a metric, checked: shapes, types, ranges. All raise ``ValueError``."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SUM_TOLERANCE = 1e-2  # probabilities kept in half precision sum to 1 only within this


def checked_pair(
    labels: ArrayLike, predictions: ArrayLike, classes: int | None = None
) -> tuple[NDArray[np.int64], ...]:
    """Labels and predictions, each (n,), checked."""
    truth, answers = _indices(labels, "labels", classes), _indices(predictions, "predictions", classes)
    check_same_length(truth, answers, "labels", "predictions")
    return truth, answers


def checked_probabilities(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels (n,) and probabilities (n, C), checked."""
    shares = np.asarray(probabilities, dtype=np.float64)
    if shares.ndim != 2 or shares.size == 0:
        raise ValueError(f"probabilities must have shape (n, C), n and C at least 1, got {shares.shape}")
    if not np.isfinite(shares).all():
        raise ValueError("probabilities must be finite, got NaN or infinity")
    if (shares < 0).any() or (np.abs(shares.sum(1) - 1) > _SUM_TOLERANCE).any():
        raise ValueError("probabilities must not be negative and rows must sum to 1; apply softmax to logits first")
    truth = _indices(labels, "labels", shares.shape[1])
    check_same_length(truth, shares, "labels", "probabilities")
    return truth, shares


def _indices(values: ArrayLike, name: str, classes: int | None) -> NDArray[np.int64]:
    """Class indices (n,), below the number of classes if that is given."""
    array = _vector(values, name)
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name} must be integer class indices, got {array.dtype}")
    if classes is not None and (array.min() < 0 or array.max() >= classes):
        raise ValueError(f"{name} must be in 0..{classes - 1}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def checked_booleans(values: ArrayLike, name: str) -> NDArray[np.bool_]:
    """Bools (n,)."""
    array = _vector(values, name)
    if array.dtype != np.bool_:
        raise ValueError(f"{name} must be bool, got {array.dtype}")
    return array


def checked_reals(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Finite numbers (n,)."""
    array = _vector(values, name).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    return array


def _vector(values: ArrayLike, name: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must have shape (n,), n at least 1, got {array.shape}")
    return array


def check_same_length(a: NDArray[Any], b: NDArray[Any], name_a: str, name_b: str) -> None:
    """Raise unless two arrays are of one length."""
    if len(a) != len(b):
        raise ValueError(f"{name_a} and {name_b} must be of one length, got {len(a)} and {len(b)}")
