"""Figures over seeds, by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from regionfer.ablation.figures import accuracies, accuracy_figure, compare_rows, predictions_of, recall_figure
from regionfer.metrics import mcnemar_exact, wilson_interval

LABELS = np.repeat([0, 1, 2], [60, 30, 10])
CLASSES = ("a", "b", "c")


def answers(seed, right):
    """Probabilities of which a share is right."""
    rng = np.random.default_rng(seed)
    predicted = np.where(rng.random(len(LABELS)) < right, LABELS, (LABELS + 1) % 3)
    return {"clean": np.eye(3, dtype=np.float32)[predicted]}


def test_accuracy_and_spread_over_seeds():
    right = np.array([[True] * 80 + [False] * 20, [True] * 70 + [False] * 30])
    figure = accuracy_figure(right)
    assert figure.mean == pytest.approx(0.75)
    assert figure.spread == pytest.approx(np.std([0.8, 0.7], ddof=1))
    assert figure.ci95[0] < 0.7 < 0.8 < figure.ci95[1]
    alone = accuracy_figure(right[:1])
    assert alone.spread is None
    np.testing.assert_allclose(alone.ci95, wilson_interval(80, 100), atol=0.02)


def test_mean_recall_is_scikit_learn_s():
    runs = {0: answers(0, 0.8), 1: answers(1, 0.6)}
    figure = recall_figure(LABELS, predictions_of(runs, "clean"), CLASSES)
    expected = [balanced_accuracy_score(LABELS, run["clean"].argmax(1)) for run in runs.values()]
    np.testing.assert_allclose(figure.by_seed, expected)
    assert figure.mean == pytest.approx(np.mean(expected))
    assert figure.ci95[0] < figure.mean < figure.ci95[1]
    # Ten faces of class c decide a third of it: its interval is the wider one.
    right = predictions_of(runs, "clean") == LABELS
    width = accuracy_figure(right).ci95
    assert figure.ci95[1] - figure.ci95[0] > width[1] - width[0]


def test_turned_faces_are_a_part_of_the_clean_ones():
    turned = np.arange(100) < 25
    figures = accuracies(LABELS, turned, {0: answers(0, 0.8)})
    right = answers(0, 0.8)["clean"].argmax(1) == LABELS
    assert figures["turned"].n == 25
    assert figures["turned"].mean == right[turned].mean()
    assert "turned" not in accuracies(LABELS, np.zeros(100, dtype=bool), {0: answers(0, 0.8)})


def test_rows_are_compared_over_the_seeds_that_both_have():
    turned = np.zeros(100, dtype=bool)
    model = {0: answers(0, 0.9), 1: answers(1, 0.9), 2: answers(2, 0.9)}
    baseline = {1: answers(4, 0.6), 0: answers(5, 0.6)}
    compared = compare_rows(LABELS, turned, model, baseline)["clean"]
    rights = [[runs[seed]["clean"].argmax(1) == LABELS for seed in (0, 1)] for runs in (model, baseline)]
    assert compared.difference == pytest.approx(np.mean(rights[0]) - np.mean(rights[1]))
    assert compared.difference_ci95[0] < compared.difference < compared.difference_ci95[1]
    assert compared.by_seed.keys() == {0, 1}
    assert compared.by_seed[1].mcnemar_p == mcnemar_exact(rights[0][1], rights[1][1])
    assert compare_rows(LABELS, turned, {3: answers(0, 0.9)}, baseline) == {}
