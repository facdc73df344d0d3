import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from regionfer.datasets import Subset, column_subset
from regionfer.datasets.manifest import Dropped
from regionfer.errors import DatasetError, ModelError
from regionfer.evaluation import evaluate, passes
from regionfer.evaluation.tables import failure_table, risk_table
from regionfer.labels import LABELS
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer

SCORE_KEYS = {
    *("n", "accuracy", "accuracy_ci95", "mean_recall", "macro_f1", "nll", "ece"),
    *("classes", "per_class", "confusion", "risk_at_80", "risk_at_90"),
}
STABLE_KEYS = SCORE_KEYS | {"dataset", "split", "protocol", "model", "subsets"}
"""Readers of the JSON count on these."""


@pytest.fixture
def other(save_model, make_card, square_detector):
    """A second model, with other weights."""
    return Recognizer(ExpressionModel.load(save_model(make_card(name="other"), seed=3), threads=1), square_detector)


@pytest.fixture
def subsets():
    kinds = np.array(["upper", "lower", "upper", "", "lower"])
    return [Subset("occlusion", np.array([4, 2, 0, 39, 30]), {"type": kinds}), Subset("pose30", np.arange(10, 40))]


CURVE = {"threshold": [0.9, 0.01], "coverage": [0.5, 1.0], "risk": [0.1, 0.5]}


class TestFigures:
    def test_known_answers(self, recognizer, make_manifest, subsets):
        """The first 30 of 40 faces are labelled as the model answers, the others not."""
        evaluation = evaluate(recognizer, make_manifest(), subsets=subsets)
        figures = evaluation.to_dict()
        assert list(figures)[:1] == ["schema_version"]
        assert figures.keys() >= STABLE_KEYS
        assert (figures["dataset"], figures["split"], figures["protocol"]) == (
            "Colours",
            "test",
            "as drawn; each face looked at once",
        )
        assert (figures["model"], figures["n"], figures["accuracy"]) == ("tiny 0.0.1", 40, 0.75)
        assert figures["accuracy_ci95"] == pytest.approx([0.598, 0.858], abs=1e-3)  # Wilson, by hand
        assert figures["classes"] == list(LABELS)
        assert np.trace(figures["confusion"]) == 30
        assert list(figures["subsets"]) == ["occlusion", "pose30"]
        for name, n, right in (("occlusion", 5, 3), ("pose30", 30, 20)):
            subset = figures["subsets"][name]
            assert subset.keys() >= SCORE_KEYS
            assert (subset["n"], subset["accuracy"]) == (n, pytest.approx(right / n))
        assert figures["failures"] == 0
        assert "comparison" not in figures
        assert "end_to_end" not in figures
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures

    @pytest.mark.usefixtures("plain_faces")
    def test_answering_only_the_surest(self, recognizer, trusted_path, make_manifest, said, subsets):
        manifest = make_manifest()
        trusted = Recognizer(trusted_path, max_risk=0.14)
        evaluation = evaluate(trusted, manifest, subsets=subsets, baseline=recognizer)
        judgeable = trusted.recognize_crops(manifest.pixels).judgeable
        figures = evaluation.to_dict()
        confidence, correct = said(40).max(1), said(40).argmax(1) == manifest.labels
        for scores, rows in ((figures, np.arange(40)), (figures["subsets"]["pose30"], np.arange(10, 40))):
            surest = rows[np.argsort(-confidence[rows])]
            for share in (80, 90):
                expected = 1 - correct[surest[: len(rows) * share // 100]].mean()
                assert scores[f"risk_at_{share}"] == pytest.approx(expected)
            answered = rows[(confidence[rows] >= 0.5) & judgeable[rows]]
            assert scores["selection"]["coverage"] == len(answered) / len(rows) > 0
            assert scores["selection"]["risk"] == pytest.approx(1 - correct[answered].mean())
        assert figures["comparison"]["baseline_scores"]["selection"] is None
        risks = risk_table(evaluation)
        assert [row[0] for row in risks.rows][::3] == ["all", "all, baseline"]
        assert [len(row) for row in risks.rows] == [len(risks.columns)] * 6 == [7] * 6
        assert len(risk_table(evaluate(recognizer, manifest)).columns) == 4

    @pytest.mark.usefixtures("plain_faces")
    @pytest.mark.parametrize("end_to_end", [False, True])
    def test_what_cannot_be_judged(self, save_model, make_card, make_manifest, square_detector, end_to_end):
        """Red faces are covered, by this model; of half the faces the probability would do."""
        card = make_card(uncertainty={"threshold": 0.01, "risk": 0.5, "coverage": 1.0, "n": 9, "curve": CURVE})
        model = ExpressionModel.load(save_model(card, heads=["visibility", "occlusion"]), threads=1)
        colours = np.array([[255, 0, 0], [0, 255, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
        pixels = np.broadcast_to(colours[:, None, None], (4, 40, 40, 3))
        figures = evaluate(Recognizer(model, square_detector), make_manifest(4, pixels=pixels), end_to_end=end_to_end)
        assert figures.to_dict()["selection"]["coverage"] == 0.5
        assert figures.to_dict()["n"] == 4

    def test_a_face_without_contrast_is_not_answered(self, trusted_path, make_manifest):
        flat = np.full((4, 40, 40, 3), (0, 0, 200), np.uint8)
        halves = flat.copy()
        halves[:, :, 20:] = (0, 0, 250)
        recognizer = Recognizer(trusted_path, max_risk=1)
        chosen = (make_manifest(4, pixels=pixels) for pixels in (flat, halves))
        coverages = [evaluate(recognizer, each).to_dict()["selection"]["coverage"] for each in chosen]
        assert coverages == [0.0, 1.0]

    @pytest.mark.usefixtures("plain_faces")
    def test_a_small_face_is_not_answered(self, trusted_path, make_manifest):
        blue = np.zeros((4, 40, 40, 3), np.uint8) + np.array([0, 0, 255], np.uint8)
        small, large = (make_manifest(4, pixels=blue[:, :height]) for height in (15, 16))
        recognizer = Recognizer(trusted_path, max_risk=1)
        coverages = [evaluate(recognizer, each).to_dict()["selection"]["coverage"] for each in (small, large)]
        assert coverages == [0.0, 1.0]

    def test_groups(self, recognizer, make_manifest, subsets):
        evaluation = evaluate(recognizer, make_manifest(), subsets=subsets)
        groups = {group["group"]: group for group in evaluation.to_dict()["groups"]}
        assert [(name, group["n"]) for name, group in groups.items()] == [
            ("all", 40),
            ("occlusion", 5),
            ("occlusion, type lower", 2),
            ("occlusion, type upper", 2),
            ("pose30", 30),
        ]
        assert groups["occlusion, type upper"]["accuracy"] == 1.0
        attention = evaluation.model.faces.answers.attention[[4, 0]].mean(0)
        shares = groups["occlusion, type upper"]["attention"]
        assert list(shares) == list(recognizer.model.card.regions.names)
        assert list(shares.values()) == pytest.approx(attention.tolist())

    def test_failures_are_left_out(self, recognizer, on_disk):
        subset = Subset("some", np.array([2, 3, 4]))
        figures = evaluate(recognizer, on_disk, subsets=[subset], end_to_end=True).to_dict()
        assert (figures["n"], figures["failures"], figures["subsets"]["some"]["n"]) == (10, 2, 2)
        assert [each["image"] for each in figures["failed_images"]] == ["003.png", "007.png"]
        assert figures["accuracy"] == 0.7  # nine, rows 0 to 8, are labelled right, two of them are gone
        assert figures["end_to_end"]["n"] == 10

    def test_faces_of_one_photo_are_counted_each(self, recognizer, on_disk):
        names = on_disk.names.copy()
        names[4] = "003.png"  # which is missing
        gone = Dropped.of([("a.jpg", "test", "no face found")] * 2 + [("b.jpg", "train", "no face found")])
        manifest = replace(on_disk, names=names, face_numbers=np.eye(12, dtype=np.int64)[4], misses=gone)
        evaluation = evaluate(recognizer, manifest)
        assert list(evaluation.failures) == ["003.png, face 0", "003.png, face 1", "007.png"]
        assert len(evaluation.misses) == 2
        right = evaluation.correct(evaluation.model.faces).sum()
        assert evaluation.accuracy_with_misses == pytest.approx(right / (9 + 2))

    def test_a_subset_without_images(self, recognizer, on_disk):
        with pytest.raises(DatasetError, match="none of the 2 images of subset 'lost' could be read"):
            evaluate(recognizer, on_disk, subsets=[Subset("lost", np.array([3, 7]))])

    def test_an_empty_subset_is_refused_first(self, recognizer, make_manifest):
        manifest = make_manifest(attributes={"masked": np.array(["", "no"] * 20)})
        steps = []
        with pytest.raises(DatasetError, match="subset 'masked' has no image here"):
            evaluate(recognizer, manifest, subsets=[column_subset(manifest, "masked")], advance=steps.append)
        assert steps == []

    @pytest.mark.parametrize("output", ["probabilities", "attention"])
    @pytest.mark.parametrize("end_to_end", [False, True])
    def test_an_answer_that_is_no_number_is_a_failure(
        self, recognizer, make_manifest, draw_squares, monkeypatch, output, end_to_end
    ):
        run, pixels = ExpressionModel.run, np.stack([draw_squares((20 * k, 250, 20)) for k in range(4)])

        def overflow(self, faces, *arguments, **options):
            answers = run(self, faces, *arguments, **options)
            getattr(answers, output)[1, -1] = np.nan
            return answers

        monkeypatch.setattr(ExpressionModel, "run", overflow)
        figures = evaluate(recognizer, make_manifest(4, pixels=pixels), end_to_end=end_to_end).to_dict()
        assert (figures["n"], figures["failures"]) == (3, 1)
        assert figures["failed_images"] == [
            {"image": "001.png", "error": "001.png: the model's answer is not a number"}
        ]
        assert not end_to_end or figures["end_to_end"]["n"] == 3
        json.dumps(figures, allow_nan=False)

    @pytest.mark.parametrize("names", [["all"], ["pose", "pose"]], ids=["all", "twice"])
    def test_names(self, recognizer, make_manifest, names):
        with pytest.raises(ValueError, match="subsets must have distinct names other than 'all'"):
            evaluate(recognizer, make_manifest(), subsets=[Subset(name, np.arange(3)) for name in names])

    def test_rule_for_classes_of_the_model_alone(self, recognizer, make_manifest):
        manifest = make_manifest(
            classes=LABELS[:7], labels=np.zeros(40, int), targets=np.eye(7, dtype=np.float32)[np.zeros(40, int)]
        )
        figures = evaluate(recognizer, manifest).to_dict()
        assert figures["protocol"].startswith(
            "as drawn; the model's probabilities restricted to the dataset's 7 classes"
        )
        assert "left out: contempt" in figures["protocol"]
        assert len(figures["confusion"]) == 7


class TestSeveralModels:
    def test_fused(self, recognizer, other, make_manifest):
        fused = Recognizer([recognizer.model, other.model])
        evaluation = evaluate(fused, make_manifest())
        assert evaluation.model.name == "tiny 0.0.1 + other 0.0.1"
        assert [model["sha256"] for model in evaluation.to_dict()["models"]] == [
            recognizer.model.sha256,
            other.model.sha256,
        ]
        single = [evaluate(each, make_manifest()).model.faces.answers for each in (recognizer, other)]
        mean = (single[0].probabilities + single[1].probabilities) / 2
        assert np.allclose(evaluation.model.faces.answers.probabilities, mean, atol=1e-6)

    def test_comparison(self, recognizer, other, make_manifest, subsets):
        evaluation = evaluate(recognizer, make_manifest(), subsets=subsets, baseline=other, end_to_end=True)
        figures = evaluation.to_dict()
        compared, alone = figures["comparison"], evaluate(other, make_manifest(), subsets=subsets).to_dict()
        assert compared["baseline"] == "other 0.0.1"
        assert compared["baseline_scores"]["accuracy"] == alone["accuracy"]
        assert compared["difference"] == pytest.approx(figures["accuracy"] - alone["accuracy"])
        assert compared["only_model"] - compared["only_baseline"] == round(40 * compared["difference"])
        # Every face is answered by both.
        assert compared["nll_difference"] == pytest.approx(figures["nll"] - alone["nll"])
        for name in ("occlusion", "pose30"):
            nll = figures["subsets"][name]["nll"] - alone["subsets"][name]["nll"]
            assert compared["subsets"][name]["nll_difference"] == pytest.approx(nll)
            difference = figures["subsets"][name]["accuracy"] - alone["subsets"][name]["accuracy"]
            assert compared["subsets"][name]["difference"] == pytest.approx(difference)
        whole, whole_alone = compared["end_to_end"], figures["end_to_end"]
        assert whole.keys() >= {"difference", "mcnemar_p", "subsets", "baseline_scores"}
        assert whole["nll_difference"] == pytest.approx(whole_alone["nll"] - whole["baseline_scores"]["nll"])
        assert "baseline_accuracy" in figures["groups"][0]

    def test_weights(self, recognizer, other, make_manifest):
        fused = Recognizer([recognizer.model, other.model], weights=[0.2, 0.6])
        figures = evaluate(fused, make_manifest(), baseline=fused).to_dict()
        assert figures["model"] == figures["comparison"]["baseline"] == "0.25 x tiny 0.0.1 + 0.75 x other 0.0.1"
        for models in (figures["models"], figures["comparison"]["models"]):
            assert [model["weight"] for model in models] == pytest.approx([0.25, 0.75])
        assert evaluate(recognizer, make_manifest()).to_dict()["models"][0]["weight"] == 1.0

    def test_failures_of_the_baseline(self, recognizer, other, make_manifest, monkeypatch):
        run = ExpressionModel.run

        def overflow(self, faces, *arguments, **options):
            answers = run(self, faces, *arguments, **options)
            if self is other.model:
                answers.probabilities[3] = np.nan
            return answers

        monkeypatch.setattr(ExpressionModel, "run", overflow)
        evaluation = evaluate(recognizer, make_manifest(10), baseline=other)
        figures = evaluation.to_dict()
        assert (figures["n"], figures["failures"], figures["comparison"]["n"]) == (10, 0, 9)
        failed = [{"image": "003.png", "error": "003.png: the model's answer is not a number"}]
        assert (figures["comparison"]["failures"], figures["comparison"]["failed_images"]) == (1, failed)
        assert failure_table(evaluation).rows == (("003.png", f"{failed[0]['error']} (baseline)"),)
        both = np.arange(10) != 3
        accuracies = [evaluation.correct(each.faces)[both].mean() for each in (evaluation.model, evaluation.baseline)]
        group = figures["groups"][0]
        assert (group["n"], group["accuracy"], group["baseline_accuracy"]) == (9, *map(pytest.approx, accuracies))

    def test_itself(self, recognizer, make_manifest):
        compared = evaluate(recognizer, make_manifest(), baseline=recognizer).to_dict()["comparison"]
        assert (compared["difference"], compared["difference_ci95"], compared["mcnemar_p"]) == (0.0, None, 1.0)

    def test_a_baseline_of_other_classes_is_refused_first(self, recognizer, save_model, make_card, make_manifest):
        card = make_card(labels=("calm", "tense"))
        baseline = Recognizer(ExpressionModel.load(save_model(card), threads=1))
        steps = []
        with pytest.raises(ModelError, match="does not know neutral, happiness"):
            evaluate(recognizer, make_manifest(), baseline=baseline, advance=steps.append)
        assert steps == []


class TestEndToEnd:
    @pytest.fixture
    def photos(self, make_manifest, draw_squares):
        """Three photos with a face each, one without."""
        colours = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (0, 0, 0)]
        return make_manifest(4, pixels=np.stack([draw_squares(colour) for colour in colours]))

    def test_a_missed_face_is_an_error(self, recognizer, photos):
        figures = evaluate(recognizer, photos, end_to_end=True).to_dict()["end_to_end"]
        found = recognizer.recognize(list(photos.pixels[:3]))
        right = sum(
            result[0].expression == LABELS[label] for result, label in zip(found, photos.labels[:3], strict=True)
        )
        assert (figures["n"], figures["missed"], figures["accuracy"]) == (4, 1, right / 4)
        assert np.sum(figures["confusion"]) == 3
        assert sum(entry["n"] for entry in figures["per_class"].values()) == 4

    def test_a_missed_face_has_no_likelihood_to_compare(self, recognizer, photos, save_model, square_detector):
        other = Recognizer(ExpressionModel.load(save_model(seed=3), threads=1), square_detector)
        figures = evaluate(recognizer, photos, baseline=other, end_to_end=True).to_dict()
        compared = figures["comparison"]["end_to_end"]
        assert (compared["n"], compared["nll_n"]) == (4, 3)
        expected = figures["end_to_end"]["nll"] - compared["baseline_scores"]["nll"]
        assert compared["nll_difference"] == pytest.approx(expected) != 0

    def test_photos_without_boxes_are_measured_so_alone(self, recognizer, photos):
        bare = photos.__class__(**{**photos.__dict__, "crops": False})
        figures = evaluate(recognizer, bare, end_to_end=True).to_dict()
        assert figures["accuracy"] == figures["end_to_end"]["accuracy"]
        assert figures["missed"] == 1
        assert "faces found and aligned in the photos" in figures["protocol"]

    @pytest.mark.parametrize("baseline", [False, True])
    @pytest.mark.parametrize("end_to_end", [False, True])
    def test_progress(self, recognizer, photos, baseline, end_to_end):
        steps = []
        beside = recognizer if baseline else None
        evaluate(recognizer, photos, baseline=beside, end_to_end=end_to_end, advance=steps.append)
        assert sum(steps) == 4 * passes(baseline=baseline, end_to_end=end_to_end)


def test_base_install_is_enough():
    """Only a report needs matplotlib and Jinja."""
    extra = {"matplotlib", "jinja2", "torch", "onnxruntime"}
    code = f"import sys, regionfer.evaluation; print(*({extra!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
