"""Which models know the images they are measured on, by their cards."""

import numpy as np
import pytest

from regionfer.evaluation import DatasetFaces, PhotoFaces, evaluate, stress
from regionfer.evaluation.known import find_known, known_lines
from regionfer.evaluation.report import to_html, to_markdown
from regionfer.evaluation.stress_report import to_html as stress_html
from regionfer.evaluation.stress_report import to_markdown as stress_markdown
from regionfer.fusion import FusedModel
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer
from regionfer.shipped import SHIPPED

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
    found = find_known([make_model(training)], manifest)
    assert [each.splits for each in found] == ([] if expected is None else [expected])
    assert all(each[:4] == ("learned", "model", "taught 0.0.1", dataset) for each in found)


def test_fused_models(make_model, make_manifest):
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    innocent, taught = make_model({}, "innocent"), make_model(ON_FERPLUS)
    found = find_known([FusedModel([innocent, taught, taught])], manifest)
    assert [each.model for each in found] == ["taught 0.0.1"]


@pytest.mark.parametrize("name", SHIPPED)
def test_models_that_ship(name, make_manifest):
    model = ExpressionModel.load(name, threads=1)
    for split in ("train", "valid", "test"):
        manifest = make_manifest(4, dataset="FERPlus", splits=np.array([split] * 4))
        hows = {each.how for each in find_known([model], manifest)}
        assert hows == {"train": {"learned"}, "valid": {"learned", "threshold"}, "test": set()}[split]


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
PLACE = {"dataset": "FERPlus", "split": "valid"}
MEASURED = {**PLACE, "n": 40, "accuracy": 0.8}


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        pytest.param({"training": {"dataset": "ferplus-votes", "valid_split": "valid"}}, ["epoch"], id="epoch"),
        pytest.param({"training": {"dataset": "own", "valid_split": "valid"}}, [], id="other faces"),
        pytest.param({"metrics": (MEASURED,), "uncertainty": THRESHOLD}, ["threshold"], id="threshold"),
        pytest.param({"uncertainty": {**THRESHOLD, **PLACE}}, ["threshold"], id="threshold, stated"),
        pytest.param({"metrics": ({**MEASURED, "n": 41},), "uncertainty": THRESHOLD}, [], id="measured alone"),
        pytest.param({"training": {"dataset": "FERPlus", "valid_split": ""}}, [], id="nothing"),
    ],
)
def test_what_was_chosen_on_the_faces(save_model, make_card, make_manifest, card, expected):
    model = ExpressionModel.load(save_model(make_card(name="fitted", **card)), threads=1)
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    assert [(each.how, each.splits) for each in find_known([model], manifest)] == [
        (how, ("valid",)) for how in expected
    ]
    assert find_known([model], make_manifest(40, dataset="FERPlus", splits=np.array(["test"] * 40))) == ()


def test_an_evaluation_says_on_which_faces_the_threshold_was_chosen(save_model, make_card, make_manifest):
    fitted = Recognizer(save_model(make_card(name="fitted", metrics=(MEASURED,), uncertainty=THRESHOLD)))
    for split, here in (("valid", True), ("test", False)):
        evaluation = evaluate(fitted, make_manifest(40, dataset="FERPlus", splits=np.array([split] * 40)))
        expected = {
            "what": "threshold",
            "role": "model",
            "model": "fitted 0.0.1",
            "dataset": "FERPlus",
            "splits": ["valid"],
        }
        assert evaluation.to_dict()["chosen_on"] == [expected] * here
        for text in (to_html(evaluation), to_markdown(evaluation)):
            assert ("fitted to this very split" in text) is here
            assert ("harder than the faces it was fitted to" in text) is not here
            assert (
                "calibration and threshold of fitted 0.0.1 were fitted to FERPlus valid, as its card" in text
            ) is here
    manifest = make_manifest(4, dataset="FERPlus", splits=np.array(["valid"] * 4))
    result = stress(fitted, DatasetFaces(manifest), kinds=["blur"])
    assert [each["splits"] for each in result.to_dict()["chosen_on"]] == [["valid"]]
    for text in (stress_html(result), stress_markdown(result)):
        assert "Threshold fitted here" in text


def test_the_threshold_of_a_model_is_not_that_of_its_baseline(save_model, make_card, make_manifest):
    models = [
        Recognizer(save_model(make_card(name=name, uncertainty={**THRESHOLD, **place}), seed=seed))
        for name, place, seed in (("elsewhere", {}, 0), ("here", PLACE, 3))
    ]
    manifest = make_manifest(40, dataset="FERPlus", splits=np.array(["valid"] * 40))
    text = to_markdown(evaluate(models[0], manifest, baseline=models[1]))
    assert "threshold of here 0.0.1 (the baseline) were fitted to FERPlus valid" in text
    assert "harder than the faces it was fitted to" in text


def test_a_stress_test_says_so(make_model, make_manifest, tmp_path):
    manifest = make_manifest(4, dataset="FERPlus", splits=np.array(["valid"] * 4))
    result = stress(Recognizer(make_model(ON_FERPLUS)), DatasetFaces(manifest), kinds=["blur"])
    assert [each["splits"] for each in result.to_dict()["learned_from"]] == [["valid"]]
    for text in (stress_html(result), stress_markdown(result)):
        ((heading, line),) = known_lines(result.known)
        assert heading in text
        assert line in text
    assert PhotoFaces([tmp_path]).known([Recognizer(make_model(ON_FERPLUS))]) == ()
