"""How surely: intervals of figures, and whether two models differ."""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.metrics.checks import check_same_length, checked_booleans, checked_reals

Interval = tuple[float, float]

FEW = 30
"""Of fewer faces a bootstrap interval says nothing, and a curve shows noise only."""
FEW_APART = 10
"""If two models differ on fewer faces, a bootstrap interval of their difference says nothing: with five that one alone
gets right, of any number of faces, it leaves out 0, while McNemar's exact test has p = 0.06."""
FEW_OF_CLASS = 10
"""With a class of fewer faces, a bootstrap interval of a mean over the classes says nothing: such a class has hardly
any spread of its own."""
_CHUNK_ITEMS = 1 << 21  # items resampled at once: bounds the memory of a bootstrap to some tens of MB


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
    a, b = checked_reals(values_a, "values_a"), checked_reals(values_b, "values_b")
    check_same_length(a, b, "values_a", "values_b")
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


def mean_interval(values: ArrayLike, *, n_resamples: int = 2000, level: float = 0.95, seed: int = 0) -> Interval | None:
    """`bootstrap_interval` of the mean of one value a face, or None where it says nothing, see `telling`.

    >>> low, high = mean_interval([True] * 80 + [False] * 20)
    >>> 0.70 < low < 0.80 < high < 0.90, mean_interval([True] * 100)
    (True, None)
    """
    each = checked_reals(values, "values")
    interval = bootstrap_interval(lambda drawn: drawn.mean(1), each, n_resamples=n_resamples, level=level, seed=seed)
    return telling(interval, len(each))


def difference_interval(
    values_a: ArrayLike, values_b: ArrayLike, *, n_resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> Interval | None:
    """`paired_bootstrap`, or None where it says nothing, see `telling` and ``FEW_APART``.

    >>> right, other = np.ones(100), np.ones(100)
    >>> other[:5] = 0
    >>> difference_interval(right, other) is None
    True
    """
    a, b = checked_reals(values_a, "values_a"), checked_reals(values_b, "values_b")
    check_same_length(a, b, "values_a", "values_b")
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
    a, b = checked_booleans(correct_a, "correct_a"), checked_booleans(correct_b, "correct_b")
    check_same_length(a, b, "correct_a", "correct_b")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    trials = only_a + only_b
    ways = term = 1
    for successes in range(min(only_a, only_b)):
        term = term * (trials - successes) // (successes + 1)  # binomial(trials, successes + 1)
        ways += term
    p_value: float = 2 * ways / 2**trials
    return min(1.0, p_value)


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    return level
