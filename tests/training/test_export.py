from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from regionfer.datasets import load_faces, read_ferplus
from regionfer.errors import CheckpointError, OutputError
from regionfer.metrics import accuracy
from regionfer.onnx_model import ExpressionModel
from regionfer.shipped import SHIPPED
from regionfer.training import calibration
from regionfer.training import export as module
from regionfer.training.build import build_classifier, load_classifier
from regionfer.training.calibration import MIN_FACES, Calibration, set_calibration
from regionfer.training.checkpoint import Checkpoint
from regionfer.training.data import FaceData
from regionfer.training.export import PARITY, _uncertainty, export, parity
from regionfer.training.loop import train
from regionfer.training.pretraining import load_model_file, model_file_state
from regionfer.training.recipe import Recipe, parse_recipe
from regionfer.uncertainty import Uncertainty

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]
FACTS = {"dataset": "patterns", "protocol": "drawn", "valid_split": "valid"}


@pytest.fixture
def checkpoint(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> Callable[..., Checkpoint]:
    def make(**sections: object) -> Checkpoint:
        recipe = make_recipe(optimiser={"epochs": 1}, **sections)
        return train(recipe, make_faces(), make_faces(12), tmp_path / "run", classes=classes, data=FACTS)

    return make


@pytest.mark.parametrize(
    ("sections", "flip"),
    [
        ({}, False),
        ({"model": {"crop_stage": 0, "crop_size": None}}, False),
        ({"regions": {"generator": "landmark", "radii": (0.2, 0.3)}}, True),
        ({"model": {"aggregation": "mean"}, "regions": {"generator": "none"}}, True),
        ({"model": {"squash": "sigmoid-softmax"}, "input": {"grey": False}}, False),
    ],
    ids=["late", "early", "landmark flipped", "plain flipped", "released colour"],
)
def test_the_graph_says_what_the_network_says(
    sections: dict[str, object],
    flip: bool,
    checkpoint: Callable[..., Checkpoint],
    make_faces: MakeFaces,
    tmp_path: Path,
) -> None:
    made = checkpoint(**sections)
    held_out = make_faces(9, seed=2)
    model, difference = export(made, tmp_path / "m.onnx", name="m", version="1", flip=flip, held_out=held_out)
    assert difference < PARITY
    classifier = load_classifier(made)
    classifier.flip = flip
    classifier.temperature.fill_(model.card.temperature)
    landmarks = held_out.landmarks.numpy() if model.card.regions.boxes is None else None
    # Any number of faces, and faces of another side than the network was traced with.
    for faces in (held_out.faces.numpy()[:1], np.repeat(held_out.faces.numpy(), 2, axis=1).repeat(2, axis=2)):
        assert parity(classifier, model, faces, None if landmarks is None else landmarks[: len(faces)]) < PARITY
    output = model.run(held_out.faces.numpy(), landmarks)
    np.testing.assert_allclose(output.attention.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(output.probabilities.sum(1), 1, atol=1e-5)


def test_the_card_tells_what_the_model_is(
    checkpoint: Callable[..., Checkpoint], make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    made = checkpoint()
    held_out = make_faces(12)
    baseline, _ = export(made, tmp_path / "b.onnx", name="base", version="1")
    model, _ = export(
        made, tmp_path / "m.onnx", name="m", version="2", licence="MIT", held_out=held_out, baseline=baseline
    )
    card = model.card
    assert (card.name, card.version, card.licence, card.labels) == ("m", "2", "MIT", classes)
    assert (card.face_size, card.input_size, card.color) == (16, 16, "grey")
    assert card.regions.names == ("face", "top left", "top right", "centre bottom", "centre 0.9", "centre 0.85")
    assert card.regions.boxes is not None
    assert card.regions.boxes[3] == (0.125, 0.25, 0.875, 1.0)
    assert card.architecture["cropping"] == "late"
    assert card.training["recipe"]["name"] == "tiny"
    (metric,) = card.metrics
    predicted = model.run(held_out.faces.numpy()).probabilities.argmax(1)
    assert metric["accuracy"] == accuracy(held_out.labels, predicted)
    assert metric["n"] == 12
    assert metric["dataset"] == "patterns"
    assert metric["baseline"]["name"] == "base"
    assert metric["baseline"]["accuracy"] == metric["accuracy"]


def test_half_the_size_says_the_same_and_can_be_trained_on(
    checkpoint: Callable[..., Checkpoint], make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    made, held_out = checkpoint(), make_faces(9, seed=2)
    whole, _ = export(made, tmp_path / "whole.onnx", name="m", version="1", held_out=held_out)
    half, difference = export(made, tmp_path / "half.onnx", name="m", version="1", held_out=held_out, half=True)
    assert difference < PARITY
    stored = {tensor.name: tensor for tensor in onnx.load(half.source).graph.initializer}
    weights = [name for name, _ in load_classifier(made).named_parameters()]
    assert {stored[name].data_type for name in weights} == {onnx.TensorProto.FLOAT16}
    faces = held_out.faces.numpy()
    np.testing.assert_allclose(half.run(faces).probabilities, whole.run(faces).probabilities, atol=0.01)
    classifier = build_classifier(parse_recipe(dict(made.recipe), "m"), len(classes))
    load_model_file(classifier, classes, half.source, parse_recipe(dict(made.recipe), "m"))
    classifier.flip = False
    assert parity(classifier.eval(), half, faces) < PARITY


def test_uncertainty_and_rare_classes_are_measured_and_final_weights_take_them_over(
    checkpoint: Callable[..., Checkpoint], make_faces: MakeFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, held_out = checkpoint(), make_faces(MIN_FACES, seed=2)
    held_out.labels[:20] = (held_out.labels[:20] + 1) % 3  # a tenth that nobody can get right
    fitted = Calibration(1.5, (-0.5, -0.5, 1.0))
    monkeypatch.setattr(calibration, "fit_prior_shift", lambda logits, labels, max_loss: fitted)
    model, _ = export(made, tmp_path / "m.onnx", name="m", version="3", held_out=held_out, max_loss=0.5, risk=0.25)
    assert model.card.prior_shift == pytest.approx(fitted.prior_shift)
    plain, _ = export(made, tmp_path / "plain.onnx", name="m", version="3")
    ratio = model.run(held_out.faces.numpy()).probabilities / plain.run(held_out.faces.numpy()).probabilities ** (
        1 / 1.5
    )
    np.testing.assert_allclose(np.log(ratio[:, 2] / ratio[:, 0]), 1.5, rtol=1e-3)
    uncertainty = Uncertainty.from_dict(model.card.uncertainty)
    probabilities = model.run(held_out.faces.numpy()).probabilities
    answered = probabilities.max(1) >= uncertainty.chosen.threshold
    wrong = probabilities.argmax(1) != held_out.labels
    assert wrong[answered].mean() <= 0.25
    assert answered.mean() == pytest.approx(uncertainty.chosen.coverage)
    final, _ = export(made, tmp_path / "final.onnx", name="final", version="1", measured=model.card)
    assert final.card.temperature == pytest.approx(model.card.temperature)
    assert final.card.prior_shift == pytest.approx(model.card.prior_shift)
    assert final.card.uncertainty == model.card.uncertainty
    assert final.card.metrics == ({**model.card.metrics[0], "measured_on": "m 3"},)
    np.testing.assert_allclose(final.run(held_out.faces.numpy()).probabilities, probabilities, atol=1e-5)
    next_one, _ = export(made, tmp_path / "next.onnx", name="next", version="2", measured=final.card)
    assert next_one.card.metrics == final.card.metrics  # still those of m 3


def test_a_graph_that_differs_is_not_written(
    checkpoint: Callable[..., Checkpoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = checkpoint()
    monkeypatch.setattr(module, "parity", lambda *_: 0.01)
    with pytest.raises(CheckpointError, match=r"differ by 0\.01, allowed 0\.0001"):
        export(made, tmp_path / "m.onnx", name="m", version="1")
    assert not list(tmp_path.glob("m.onnx*"))


def test_a_place_that_cannot_be_written_is_named(checkpoint: Callable[..., Checkpoint], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/m\.onnx: cannot write the model"):
        export(checkpoint(), tmp_path / "file" / "m.onnx", name="m", version="1")


def test_weights_that_do_not_fit_the_recipe_are_refused(
    checkpoint: Callable[..., Checkpoint], make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    made = checkpoint()
    plain = make_recipe(model={"aggregation": "mean"}, regions={"generator": "none"})
    other = Checkpoint(**{**vars(made), "recipe": plain.model_dump(mode="json")})
    with pytest.raises(CheckpointError, match="weights of another architecture than its recipe's: Unexpected key"):
        load_classifier(other)


def test_training_can_start_from_a_model_file(
    checkpoint: Callable[..., Checkpoint], make_recipe: MakeRecipe, classes: tuple[str, ...], tmp_path: Path
) -> None:
    made = checkpoint()
    export(made, tmp_path / "m.onnx", name="m", version="1")
    same = build_classifier(make_recipe(), len(classes))
    load_model_file(same, classes, tmp_path / "m.onnx", make_recipe())
    for name, value in same.state_dict().items():
        assert torch.equal(value, made.averaged[name]), name
    own = build_classifier(make_recipe(), 2)
    before = own.network.classifier.weight.clone()
    load_model_file(own, ("yes", "no"), tmp_path / "m.onnx", make_recipe())
    assert torch.equal(own.network.classifier.weight, before)
    assert torch.equal(own.network.backbone.stages[0][0].weight, same.network.backbone.stages[0][0].weight)
    plain = make_recipe(model={"aggregation": "mean"}, regions={"generator": "none"})
    with pytest.raises(
        CheckpointError,
        match=r"m\.onnx: holds a network of another architecture than recipe tiny: its aggregation is "
        r"relation-attention, the recipe's \[model\] has backbone = 'tiny', aggregation = 'mean'; ",
    ):
        load_model_file(build_classifier(plain, 3), classes, tmp_path / "m.onnx", plain)


def test_a_missing_pretraining_file_says_how_to_get_it(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(model={"backbone": "mobilenetv1-face", "pretrained": str(tmp_path / "faceres-deep.json")})
    with pytest.raises(CheckpointError, match=r"faceres-deep\.json: .* is missing; `scripts/fetch_pretrained\.sh`"):
        build_classifier(recipe, 3)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_model_says_what_its_network_says(
    name: str, ferplus_root: Path, ferplus_images: Callable[[list[str]], None]
) -> None:
    """The weights inside the shipped file, in torch, against the file in ONNX Runtime, on real faces."""
    held_out = read_ferplus(ferplus_root).split("valid").select(slice(0, 40))
    ferplus_images(held_out.names.tolist())
    faces = load_faces(held_out, 48)
    model = ExpressionModel.load(name)
    recipe = Recipe.model_validate(model.card.training["recipe"])
    classifier = build_classifier(recipe, len(model.card.labels), pretrained=False).eval()
    classifier.load_state_dict(model_file_state(model.source))
    classifier.flip = bool(model.card.architecture["test_time_flip"])
    set_calibration(classifier, Calibration(model.card.temperature, model.card.prior_shift))
    assert parity(classifier, model, faces) < PARITY
    right = model.run(faces).probabilities.argmax(1) == held_out.labels
    assert right.mean() > 0.7


def with_heads(made: Checkpoint, coverage: float, occluded: float) -> Checkpoint:
    biases = {
        f"network.heads.{name}.bias": torch.tensor([value])
        for name, value in (("coverage", coverage), ("occluded", occluded))
    }
    return replace(made, averaged={**made.averaged, **biases})


@pytest.fixture
def trained_with_heads(
    make_recipe: Callable[..., Recipe], make_faces: Callable[..., FaceData], classes: tuple[str, ...], tmp_path: Path
) -> Checkpoint:
    recipe = make_recipe(attributes={"heads": True, "stage": 2}, optimiser={"epochs": 1})
    return train(recipe, make_faces(), None, tmp_path / "heads", classes=classes)


@pytest.mark.parametrize(
    ("half", "coverage", "occluded"),
    [(True, 0.08, 0.080001), (False, 0.08, 0.08), (True, 0.0, -0.0), (False, -0.0, 0.0)],
)
def test_weights_that_are_alike_keep_their_names(
    trained_with_heads: Checkpoint, tmp_path: Path, half: bool, coverage: float, occluded: float
) -> None:
    made = with_heads(trained_with_heads, coverage, occluded)
    export(made, tmp_path / "m.onnx", name="m", version="1", half=half)
    found = model_file_state(tmp_path / "m.onnx")
    assert found.keys() == made.averaged.keys()
    step = 2e-4 if half else 1e-8
    for name, value in (("coverage", coverage), ("occluded", occluded)):
        assert found[f"network.heads.{name}.bias"].item() == pytest.approx(value, abs=step)


@pytest.mark.parametrize(
    ("half", "value", "message"),
    [(True, 7e4, "too large for half precision, or no numbers"), (False, float("nan"), "weights that are no numbers")],
)
def test_weights_that_are_no_numbers_are_refused(
    trained_with_heads: Checkpoint, tmp_path: Path, half: bool, value: float, message: str
) -> None:
    made = with_heads(trained_with_heads, value, value)
    with pytest.raises(CheckpointError, match=rf"^m: network\.heads\.\w+\.bias has .*{message}$"):
        export(made, tmp_path / "m.onnx", name="m", version="1", half=half)
    assert not list(tmp_path.glob("m.onnx*"))


@pytest.mark.parametrize(("mistakes", "risk", "known"), [(0, 0.01, True), (150, 0.01, False), (150, 0.1, True)])
def test_no_threshold_for_a_risk_that_too_few_answers_show(mistakes: int, risk: float, known: bool) -> None:
    """The surest fifty are right: too few to see a risk of 1 % in, and enough for one of 10 %."""
    shares = np.linspace(0.99, 0.6, 200, dtype=np.float32)
    labels = np.repeat([0, 1], [200 - mistakes, mistakes])
    faces = FaceData(torch.zeros(200, 4, 4, 3, dtype=torch.uint8), labels, torch.eye(2)[labels])
    stored = _uncertainty(np.column_stack([shares, 1 - shares]), faces, risk, {"dataset": "made", "split": "valid"})
    assert bool(stored) is known
    if known:
        low, high = stored["measured_risk_ci95"]
        assert low <= stored["measured_risk"] <= risk < high
        assert (stored["dataset"], stored["split"]) == ("made", "valid")
        assert Uncertainty.from_dict(stored).threshold_for(risk) == pytest.approx(stored["threshold"], abs=1e-5)
