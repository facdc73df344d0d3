import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score, recall_score

from regionfer.evaluation.scores import compare, measure
from regionfer.metrics import FEW, FEW_APART, FEW_OF_CLASS, paired_bootstrap, score, wilson_interval

CLASSES = ("calm", "tense", "glad")


def answers(n=300, seed=0):
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.6, 0.6, 0.6], n).astype(np.float32)
    labels = np.array([rng.choice(3, p=row / row.sum()) for row in probabilities.astype(float)])
    return labels, probabilities


class TestMeasure:
    def test_all_found(self):
        labels, probabilities = answers()
        measured = measure(labels, probabilities, CLASSES)
        assert measured.score.to_dict() == score(labels, probabilities, CLASSES).to_dict()
        assert measured.missed.tolist() == [0, 0, 0]

    def test_a_missed_face_is_an_error(self):
        """scikit-learn sees the missed as a class of their own, of which no face is."""
        labels, probabilities = answers()
        probabilities[::7] = np.nan
        missed = np.isnan(probabilities[:, 0])
        predictions = np.where(missed, 3, np.nan_to_num(probabilities).argmax(1))
        measured = measure(labels, probabilities, CLASSES)
        assert measured.score.n == 300
        assert measured.score.accuracy == np.mean(labels == predictions)
        of_classes = {"labels": [0, 1, 2], "average": None}
        assert [entry.recall for entry in measured.score.per_class] == pytest.approx(
            recall_score(labels, predictions, **of_classes)
        )
        assert measured.score.macro_f1 == pytest.approx(
            f1_score(labels, predictions, labels=[0, 1, 2], average="macro")
        )
        assert [entry.n for entry in measured.score.per_class] == np.bincount(labels).tolist()
        assert measured.missed.tolist() == np.bincount(labels[missed], minlength=3).tolist()
        answered = score(labels[~missed], probabilities[~missed], CLASSES)
        assert (measured.score.nll, measured.score.ece) == (answered.nll, answered.ece)
        assert measured.score.confusion.tolist() == answered.confusion.tolist()

    def test_all_missed(self):
        measured = measure(np.array([0, 2]), np.full((2, 3), np.nan, np.float32), CLASSES)
        figures = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
        assert (figures["n"], figures["accuracy"], figures["missed"]) == (2, 0.0, 2)
        assert (figures["nll"], figures["ece"], figures["nll_ci95"], figures["ece_ci95"]) == (None,) * 4

    def test_one_face(self):
        figures = measure(np.array([1]), np.array([[0.2, 0.7, 0.1]], np.float32), CLASSES).to_dict()
        assert (figures["accuracy"], figures["mean_recall"]) == (1.0, 1.0)
        low, high = figures["accuracy_ci95"]
        assert (low, high) == (pytest.approx(0.2065, abs=1e-3), 1.0)  # Wilson, 1 of 1
        bootstrap = ("mean_recall_ci95", "macro_f1_ci95", "nll_ci95", "ece_ci95")
        assert [figures[name] for name in bootstrap] == [None] * 4

    @pytest.mark.parametrize(("n", "known"), [(FEW - 1, False), (FEW, True)])
    def test_of_few_faces_bootstrap_says_nothing(self, n, known):
        labels, probabilities = answers(n)
        intervals = measure(labels, probabilities, CLASSES).intervals
        assert {intervals[name] is not None for name in ("nll", "ece")} == {known}

    @pytest.mark.parametrize(("rare", "known"), [(FEW_OF_CLASS - 1, False), (FEW_OF_CLASS, True)])
    def test_of_a_class_of_few_faces_bootstrap_says_nothing(self, rare, known):
        labels = np.repeat([0, 1], [100, rare])
        shares = np.tile([[0.7, 0.3], [0.6, 0.4], [0.2, 0.8]], (60, 1))[: 100 + rare]
        intervals = measure(labels, shares, ("often", "rare", "never")[:2]).intervals
        assert [intervals[name] is not None for name in ("mean_recall", "macro_f1", "nll")] == [known, known, True]

    def test_a_class_without_faces_is_in_the_macro_f1_of_every_resample(self):
        """One answer in 200 names it: it is absent from 37 % of resamples, whose F1 would be that of the others."""
        labels = np.repeat([0, 1], 100)
        shares = np.where(np.arange(3) == labels[:, None], 0.8, 0.1)
        shares[0] = [0.1, 0.1, 0.8]
        measured = measure(labels, shares, ("calm", "tense", "neither"))
        low, high = measured.intervals["macro_f1"]
        assert low < measured.score.macro_f1 <= high < 0.67

    def test_where_all_are_right(self):
        labels = np.array([0, 1] * 50)
        shares = np.where(np.arange(2) == labels[:, None], 0.9, 0.1)
        intervals = measure(labels, shares, ("calm", "tense")).intervals
        assert [intervals[name] for name in ("mean_recall", "macro_f1", "nll", "ece")] == [None] * 4
        assert intervals["risk_at_90"][0] == 0 < intervals["risk_at_90"][1] < 0.05

    def test_where_each_class_is_answered_alike(self):
        """One class always right, the other always wrong, but not always the same way."""
        labels = np.repeat([0, 1], 30)
        predictions = np.r_[np.zeros(30, int), np.tile([0, 2], 15)]
        intervals = measure(labels, np.eye(3, dtype=np.float32)[predictions], CLASSES).intervals
        assert (intervals["mean_recall"], intervals["macro_f1"]) == (None, None)

    @pytest.mark.parametrize("name", ["mean_recall", "macro_f1", "nll", "ece"])
    def test_intervals_are_as_wide_as_samples_differ(self, name):
        """The half width is 1.96 standard deviations of the figure over samples; wider for the ECE, never narrower."""
        low, high = measure(*answers(), CLASSES).intervals[name]
        figures = [getattr(measure_quickly(seed), name) for seed in range(1, 200)]
        assert low <= getattr(measure_quickly(0), name) <= high
        assert 0.75 < (high - low) / 2 / (1.96 * np.std(figures)) < (1.5 if name == "ece" else 1.25)

    def test_the_interval_of_the_ece_lies_around_it(self):
        """Of a calibrated model the ECE is noise, and resampling adds noise, which must not move the interval."""
        labels, probabilities = answers(3000)
        measured = measure(labels, probabilities, CLASSES)
        assert np.mean(measured.intervals["ece"]) == pytest.approx(measured.score.ece, rel=0.1)

    def test_the_same_each_time(self):
        assert measure(*answers(), CLASSES).to_dict() == measure(*answers(), CLASSES).to_dict()

    def test_recall_of_resamples(self):
        """The bootstrap's own statistic, on the sample itself, against scikit-learn."""
        labels, probabilities = answers()
        interval = measure(np.repeat(labels, 30), np.repeat(probabilities, 30, 0), CLASSES).intervals["mean_recall"]
        assert np.mean(interval) == pytest.approx(balanced_accuracy_score(labels, probabilities.argmax(1)), abs=3e-3)


class TestRisk:
    """Answering only the surest."""

    SHARES = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.6, 0.4, 0], [0.5, 0.5, 0]], np.float32)
    LABELS = np.array([0, 1, 0, 0, 1])  # the second and the fifth answer are wrong

    def test_known_answers(self):
        figures = measure(self.LABELS, self.SHARES, CLASSES, threshold=0.65).to_dict()
        assert figures["risk_at_80"] == 1 / 4
        assert figures["risk_at_90"] == 2 / 5  # of five faces, 90 % are all
        assert figures["risk_at_80_ci95"] == list(wilson_interval(1, 4))
        assert figures["risk_at_90_ci95"] == list(wilson_interval(2, 5))
        selection = figures["selection"]
        assert (selection["threshold"], selection["coverage"], selection["risk"]) == (0.65, 3 / 5, 1 / 3)
        assert selection["risk_ci95"] == pytest.approx([0.0615, 0.7923], abs=1e-3)  # Wilson, 1 of 3

    def test_without_a_threshold(self):
        assert measure(self.LABELS, self.SHARES, CLASSES).to_dict()["selection"] is None

    def test_nothing_is_sure_enough(self):
        selection = measure(self.LABELS, self.SHARES, CLASSES, threshold=0.95).to_dict()["selection"]
        assert selection == {"threshold": 0.95, "coverage": 0.0, "risk": None, "risk_ci95": None}

    def test_missed_faces_come_last(self):
        """Five answers of ten faces: four of five are answered at most, so 80 % take in three missed ones."""
        shares = np.concatenate([self.SHARES, np.full((5, 3), np.nan, np.float32)])
        labels = np.concatenate([self.LABELS, np.zeros(5, int)])
        measured = measure(labels, shares, CLASSES, threshold=0.0)
        assert (measured.risk_at_80, measured.risk_at_90) == (7 / 10, 7 / 10)
        assert (measured.selection.coverage, measured.selection.risk) == (5 / 10, 2 / 5)


def measure_quickly(seed):
    return score(*answers(seed=seed), CLASSES)


class TestCompare:
    def test_figures(self):
        model = np.array([True] * 90 + [False] * 10)
        baseline = np.array([True] * 80 + [False] * 10 + [True] * 2 + [False] * 8)
        compared = compare(model, baseline)
        assert (compared.n, compared.accuracy, compared.baseline_accuracy) == (100, 0.9, 0.82)
        assert (compared.only_model, compared.only_baseline) == (10, 2)
        assert compared.difference == pytest.approx(0.08)
        assert compared.mcnemar_p == pytest.approx(2 * sum((1, 12, 66)) / 2**12)  # binomial, 2 or fewer of 12
        low, high = compared.difference_ci95
        assert 0.0 < low < 0.08 < high < 0.16

    @pytest.mark.parametrize("n", [1, FEW - 1, 200])
    def test_no_interval_of_few_or_of_equal_answers(self, n):
        right = np.arange(n) % 3 > 0
        assert compare(right, right).to_dict()["difference_ci95"] is None
        assert (compare(right, ~right).difference_ci95 is None) == (n < FEW)

    @pytest.mark.parametrize(("apart", "known"), [(FEW_APART - 1, False), (FEW_APART, True)])
    def test_no_interval_where_they_differ_on_few(self, apart, known):
        """Five that one alone gets right would leave out 0, at p = 0.06."""
        assert (compare(np.ones(500, bool), np.arange(500) >= apart).difference_ci95 is not None) is known

    def test_nll(self):
        """The faces differ far more than the models: only pairs show that one is surer on average."""
        rng = np.random.default_rng(0)
        hard = rng.exponential(1.0, 300)
        own, other = hard + rng.uniform(0, 0.02, 300), hard + 0.03
        right = rng.random(300) < 0.8
        there, back = compare(right, right, (own, other)), compare(right, right, (other, own))
        assert (there.nll_n, there.nll_difference) == (300, pytest.approx((own - other).mean()))
        low, high = there.nll_difference_ci95
        assert -0.022 < low < there.nll_difference < high < -0.018
        assert (low, high) == paired_bootstrap(own, other)
        assert back.nll_difference == pytest.approx(-there.nll_difference)
        assert back.nll_difference_ci95 == pytest.approx((-high, -low), abs=0.0005)
        assert json.loads(json.dumps(there.to_dict()))["nll_difference_ci95"] == [low, high]

    def test_nll_of_faces_that_both_answer(self):
        own, other = np.array([0.2, np.nan, 0.4, 0.6]), np.array([0.1, 0.1, np.nan, 0.2])
        right = np.ones(4, bool)
        few = compare(right, right, (own, other)).to_dict()
        assert (few["nll_n"], few["nll_difference_ci95"]) == (2, None)
        assert few["nll_difference"] == pytest.approx((0.2 + 0.6) / 2 - (0.1 + 0.2) / 2)
        none = compare(right[:1], right[:1], (own[1:2], other[1:2])).to_dict()
        assert (none["nll_n"], none["nll_difference"], none["nll_difference_ci95"]) == (0, None, None)
        assert not any(key.startswith("nll") for key in compare(right, right).to_dict())

    def test_the_other_way_round(self):
        rng = np.random.default_rng(0)
        a, b = rng.random(200) < 0.8, rng.random(200) < 0.7
        there, back = compare(a, b), compare(b, a)
        assert there.difference == -back.difference
        assert there.mcnemar_p == back.mcnemar_p
        assert there.difference_ci95 == pytest.approx([-bound for bound in back.difference_ci95[::-1]], abs=0.011)
        assert json.loads(json.dumps(there.to_dict()))["difference_ci95"] == list(there.difference_ci95)
