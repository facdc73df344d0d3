"""Intervals and paired tests, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from regionfer import metrics


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


def test_bootstrap_keeps_the_rows_of_several_arrays_together(example):
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
