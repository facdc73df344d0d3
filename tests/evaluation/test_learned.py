"""Which models learned from the images they are measured on, by their cards."""

import numpy as np
import pytest

from regionfer.evaluation import DatasetFaces, PhotoFaces, evaluate, stress
from regionfer.evaluation.learned import chosen_text, find_chosen, find_learned, learned_text
from regionfer.evaluation.report import to_html, to_markdown
from regionfer.evaluation.stress_report import to_html as stress_html
from regionfer.evaluation.stress_report import to_markdown as stress_markdown
from regionfer.onnx_model import ExpressionModel, FusedModel
from regionfer.recognizer import Recognizer

ON_FERPLUS = {"dataset": "FERPlus", "splits": ["train", "train-divided", "valid"]}


@pytest.fixture
def make_model(save_model, make_card):
    """A function that makes a model whose card tells of some training."""
    return lambda training, name="taught", seed=0: ExpressionModel.load(
        save_model(make_card(name=name, training=training), seed=seed), threads=1
    )


@pytest.mark.parametrize(
    ("training", "dataset", "splits", "expected"),
    [
        pytest.param(ON_FERPLUS, "FERPlus", ["valid"], ("valid",), id="same"),
        pytest.param(ON_FERPLUS, "FERPlus", ["test"], None, id="another split"),
        pytest.param(ON_FERPLUS, "RAF-DB", ["valid"], None, id="another dataset"),
        pytest.param(ON_FERPLUS, "ferplus-votes", ["train-divided"], ("train",), id="votes"),
        pytest.param(
            {"dataset": "ferplus-votes", "splits": ["train-divided"]}, "FERPlus", ["train"], ("train",), id="part"
        ),
        pytest.param(
            {"dataset": "AffectNet-8", "splits": ["valid"]}, "AffectNet-7", ["valid"], ("valid",), id="affectnet"
        ),
        pytest.param(ON_FERPLUS, "FERPlus", ["test", "valid", "train"], ("valid", "train"), id="several splits"),
        pytest.param(
            {"dataset": "own", "splits": ["train"], "started_from": ON_FERPLUS},
            "FERPlus",
            ["valid"],
            ("valid",),
            id="started from",
        ),
        pytest.param(
            {"dataset": "own", "started_from": {"started_from": ON_FERPLUS}},
            "FERPlus",
            ["valid"],
            ("valid",),
            id="twice",
        ),
        pytest.param(
            {"dataset": "own", "started_from": {"learned_through": [{"dataset": "own"}, ON_FERPLUS]}},
            "FERPlus",
            ["valid"],
            ("valid",),
            id="taught",
        ),
        pytest.param({"data": "none", "splits": None}, "FERPlus", ["valid"], None, id="nothing said"),
    ],
)
def test_by_the_card(make_model, make_manifest, training, dataset, splits, expected):
    manifest = make_manifest(40, dataset=dataset, splits=np.array((splits * 40)[:40]))
    found = find_learned(make_model(training), manifest)
    assert [each.splits for each in found] == ([] if expected is None else [expected])
    assert all((each.role, each.model, each.dataset) == ("model", "taught 0.0.1", dataset) for each in found)


def test_fused_models(make_model, make_manifest):
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    innocent, taught = make_model({}, "innocent"), make_model(ON_FERPLUS)
    found = find_learned(FusedModel([innocent, taught, taught]), manifest)
    assert [each.model for each in found] == ["taught 0.0.1"]


@pytest.mark.parametrize("name", ["default", "accurate"])
def test_models_that_ship(name, make_manifest):
    model = ExpressionModel.load(name, threads=1)
    for split in ("train", "valid", "test"):
        manifest = make_manifest(4, dataset="FERPlus", splits=np.array([split] * 4))
        assert bool(find_learned(model, manifest)) == (split != "test")


def test_an_evaluation_says_so(make_model, make_manifest):
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    taught, other = Recognizer(make_model({}, "other")), Recognizer(make_model(ON_FERPLUS, seed=3))
    evaluation = evaluate(taught, manifest, baseline=other)
    expected = {"role": "baseline", "model": "taught 0.0.1", "dataset": "FERPlus", "splits": ["valid"]}
    assert evaluation.to_dict()["learned_from"] == [expected]
    for text in (to_html(evaluation), to_markdown(evaluation)):
        assert "taught 0.0.1 (the baseline) learned from FERPlus valid, as its card says" in text
    clean = evaluate(taught, manifest)
    assert clean.to_dict()["learned_from"] == []
    assert "Seen before" not in to_html(clean) + to_markdown(clean)


CURVE = {"threshold": [0.9, 0.2], "coverage": [0.5, 1.0], "risk": [0.0, 0.2]}
THRESHOLD = {"threshold": 0.2, "risk": 0.2, "coverage": 1.0, "n": 40, "curve": CURVE}
MEASURED = {"dataset": "FERPlus", "split": "valid", "n": 40, "accuracy": 0.8}


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        pytest.param({"training": {"dataset": "ferplus-votes", "valid_split": "valid"}}, True, id="the epoch"),
        pytest.param({"training": {"dataset": "own", "valid_split": "valid"}}, False, id="of other faces"),
        pytest.param({"metrics": (MEASURED,), "uncertainty": THRESHOLD}, True, id="the threshold"),
        pytest.param({"metrics": ({**MEASURED, "n": 41},), "uncertainty": THRESHOLD}, False, id="measured alone"),
        pytest.param({"training": {"dataset": "FERPlus", "valid_split": ""}}, False, id="nothing"),
    ],
)
def test_what_was_chosen_on_the_faces(save_model, make_card, make_manifest, card, expected):
    model = ExpressionModel.load(save_model(make_card(name="fitted", **card)), threads=1)
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    assert [each.splits for each in find_chosen(model, manifest)] == [("valid",)] * expected
    assert find_chosen(model, make_manifest(40, dataset="FERPlus", splits=np.array(["test"] * 40))) == ()


def test_an_evaluation_says_on_which_faces_the_threshold_was_chosen(save_model, make_card, make_manifest):
    fitted = Recognizer(save_model(make_card(name="fitted", metrics=(MEASURED,), uncertainty=THRESHOLD)))
    for split, here in (("valid", True), ("test", False)):
        evaluation = evaluate(fitted, make_manifest(40, dataset="FERPlus", splits=np.array([split] * 40)))
        assert bool(evaluation.to_dict()["chosen_on"]) is here
        for text in (to_html(evaluation), to_markdown(evaluation)):
            assert ("chosen on these very faces" in text) is here
            assert ("chosen on other faces" in text) is not here
            assert ("fitted 0.0.1 was calibrated on FERPlus valid, as its card says" in text) is here
    manifest = make_manifest(4, dataset="FERPlus", splits=np.array(["valid"] * 4))
    result = stress(fitted, DatasetFaces(manifest), kinds=["blur"])
    for text in (stress_html(result), stress_markdown(result)):
        assert chosen_text(result.chosen) in text


def test_a_stress_test_says_so(make_model, make_manifest, tmp_path):
    manifest = make_manifest(4, dataset="FERPlus", splits=np.array(["valid"] * 4))
    result = stress(Recognizer(make_model(ON_FERPLUS)), DatasetFaces(manifest), kinds=["blur"])
    assert [each["splits"] for each in result.to_dict()["learned_from"]] == [["valid"]]
    for text in (stress_html(result), stress_markdown(result)):
        assert learned_text(result.learned) in text
    assert PhotoFaces([tmp_path]).learned([Recognizer(make_model(ON_FERPLUS))]) == ()
    assert PhotoFaces([tmp_path]).chosen([Recognizer(make_model(ON_FERPLUS))]) == ()
