"""Targets from trained networks."""

import json
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.testing import assert_close

from regionfer.errors import CheckpointError
from regionfer.models import backbones
from regionfer.training import loop, teacher
from regionfer.training.build import load_classifier
from regionfer.training.checkpoint import load_checkpoint
from regionfer.training.data import FaceData
from regionfer.training.display import Display
from regionfer.training.export import export
from regionfer.training.inference import predict, predict_shared
from regionfer.training.loop import BEST, train
from regionfer.training.origin import gather_pretraining, learned, pretraining_of
from regionfer.training.recipe import Recipe, TeacherRecipe, load_recipe, portable
from regionfer.training.teacher import ANSWERS, averaged_targets, taught_targets

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]


@pytest.fixture
def taught(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> Callable[..., Tensor]:
    """Train a teacher; targets of faces with it, given its weight."""
    train(make_recipe(), make_faces(), None, tmp_path / "teacher", classes=classes)

    def targets(weight: float, faces: FaceData, names: tuple[str, ...] = classes) -> Tensor:
        recipe = TeacherRecipe(checkpoints=(tmp_path / "teacher" / BEST,), weight=weight)
        return taught_targets(faces.targets, recipe, Accelerator(cpu=True), faces, names, tmp_path, Display())

    return targets


def test_a_teachers_answers_to_the_faces_as_they_are_are_mixed_in(
    taught: Callable[..., Tensor], make_faces: MakeFaces, tmp_path: Path
) -> None:
    faces = make_faces(20, seed=3)
    answers = predict(load_classifier(load_checkpoint(tmp_path / "teacher" / BEST)), faces)
    assert_close(taught(1.0, faces), torch.from_numpy(answers))
    assert_close(taught(0.25, faces), 0.75 * faces.targets + 0.25 * torch.from_numpy(answers))
    assert_close(taught(0.0, faces), faces.targets)
    assert_close(taught(0.25, faces).sum(1), torch.ones(20))


def test_faces_that_teach_no_expression_are_not_looked_at(taught: Callable[..., Tensor], make_faces: MakeFaces) -> None:
    faces = make_faces(20, seed=3)
    turned = faces.with_turned(faces.faces[:5].numpy(), np.arange(5), torch.zeros(5, 3))
    targets = taught(0.5, turned)
    assert torch.equal(targets[:20], taught(0.5, faces))
    assert not targets[20:].any()


def test_answers_are_kept_for_a_resumed_run_and_are_those_of_these_faces(
    taught: Callable[..., Tensor], make_faces: MakeFaces, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looks = []

    def look(*arguments: object, **options: object) -> object:
        looks.append(arguments)
        return predict_shared(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(teacher, "predict_shared", look)
    one, two = make_faces(20, seed=3), make_faces(20, seed=4)
    first = taught(0.5, one)
    assert torch.equal(taught(0.5, one), first)
    assert len(looks) == 1
    assert not torch.equal(taught(0.5, two), first)
    assert len(looks) == 2
    taught(0.5, one)
    assert len(looks) == 2
    (tmp_path / ANSWERS).write_bytes(b"half a fi")
    assert torch.equal(taught(0.5, one), first)
    assert len(looks) == 3


def test_a_teacher_of_other_classes_is_refused(taught: Callable[..., Tensor], make_faces: MakeFaces) -> None:
    with pytest.raises(CheckpointError, match=r"best\.safetensors: expected a teacher of a, b, c, found one of"):
        taught(0.5, make_faces(8), ("a", "b", "c"))


def test_a_model_file_teaches_as_the_checkpoint_does_that_it_was_made_of(
    taught: Callable[..., Tensor], make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces, told = make_faces(20, seed=3), []
    wanted = taught(1.0, faces)
    checkpoint = load_checkpoint(tmp_path / "teacher" / BEST)
    model, _ = export(checkpoint, tmp_path / "t.onnx", name="t", version="1", held_out=make_faces(300), max_loss=0.5)
    assert model.card.temperature != 1  # which a teacher does not need: it answers as the network in training does
    recipe = TeacherRecipe(checkpoints=(tmp_path / "t.onnx",), weight=1.0)
    out = tmp_path / "student"
    out.mkdir()
    targets = taught_targets(
        faces.targets, recipe, Accelerator(cpu=True), faces, classes, out, Display(report=told.append)
    )
    assert_close(targets, wanted)
    assert told[0] == f"{tmp_path / 't.onnx'}: looks at 20 training faces"
    assert told[-1].startswith(f"{tmp_path / 't.onnx'}: teaches, and answers ")


def test_a_run_learns_from_its_teacher(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    """With labels that say the same of every face, what a network knows of them comes from its teacher."""
    faces = make_faces()
    train(make_recipe(optimiser={"epochs": 6}), faces, None, tmp_path / "teacher", classes=classes)
    dull = replace(faces, targets=torch.full_like(faces.targets, 1 / 3))
    recipe = make_recipe(teacher={"checkpoints": [tmp_path / "teacher" / BEST], "weight": 1.0}, optimiser={"epochs": 6})
    student = train(recipe, dull, None, tmp_path / "student", classes=classes)
    assert (predict(load_classifier(student), faces).argmax(1) == faces.labels).mean() > 0.9


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_average_of_a_run_answers_for_faces_as_they_are(
    precision: str, make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces = make_faces(12, seed=3)
    average = load_classifier(train(make_recipe(), make_faces(), None, tmp_path, classes=classes))
    average.flip = False
    answers = torch.from_numpy(predict(average, faces))
    average.train()  # as a copy of a network in training is
    computed: list[torch.dtype] = []
    stage = average.network.backbone.stages[0]
    stage.register_forward_hook(lambda module, inputs, output: computed.append(output.dtype))
    targets = faces.targets.clone()
    targets[0] = 0  # teaches no expression
    mixed = averaged_targets(targets, 0.25, average, faces.faces, faces.landmarks, precision)
    assert not mixed[0].any()
    expected = 0.75 * faces.targets + 0.25 * answers
    assert_close(mixed[1:], expected[1:], atol=0.005 if precision == "bf16" else 1e-6, rtol=0)
    assert mixed.dtype == torch.float32
    assert {*computed} == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert not average.training


def test_a_run_is_taught_by_its_average_more_and_more_over_its_first_epoch(
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    weights, averages = [], []
    training = replace(make_faces(), landmarks=torch.rand(48, 5, 2, generator=torch.Generator().manual_seed(0)))
    answers = torch.tensor([0.5, 0.3, 0.2])

    class Watched(AveragedModel):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            averages.append(self.module)

    def watch(
        targets: Tensor, weight: float, average: object, faces: Tensor, landmarks: Tensor, precision: str
    ) -> Tensor:
        weights.append(weight)
        assert average is averages[-1]
        assert precision == "fp32"
        rows = [int((training.faces == face).flatten(1).all(1).nonzero()) for face in faces]
        assert len({*rows}) == 8
        assert torch.equal(targets, training.targets[rows])
        assert torch.equal(landmarks, training.landmarks[rows])
        return (1 - weight) * targets + weight * answers

    monkeypatch.setattr(loop, "AveragedModel", Watched)
    monkeypatch.setattr(loop, "averaged_targets", watch)
    recipe = make_recipe(teacher={"average_weight": 0.6})
    taught = train(recipe, training, None, tmp_path / "taught", classes=classes)
    np.testing.assert_allclose(weights, [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, *[0.6] * 6])  # 48 faces, 8 a step, two epochs
    alone = train(make_recipe(), training, None, tmp_path / "alone", classes=classes)
    assert len(weights) == 12, "asked although it has no part in the targets"
    assert taught.history[0]["loss"] != pytest.approx(alone.history[0]["loss"], rel=1e-4)


@pytest.mark.parametrize("kind", ["checkpoint", "model file"])
def test_the_card_says_what_teachers_and_pretrained_networks_learned_from(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path, kind: str
) -> None:
    seen = {"dataset": "FERPlus", "splits": ["valid"]}
    checkpoint = train(make_recipe(), make_faces(), None, tmp_path / "first", classes=classes, data=seen)
    first = tmp_path / "first" / BEST
    if kind == "model file":
        first = tmp_path / "first.onnx"
        export(checkpoint, first, name="exported", version="1")
    other = tmp_path / f"other{first.suffix}"
    other.write_bytes(first.read_bytes())
    recipe = make_recipe(teacher={"checkpoints": [first]}, model={"pretrained": other})
    taught = train(recipe, make_faces(), None, tmp_path / "taught", classes=classes, data={"dataset": "own"})
    through = [(each["dataset"], each["splits"]) for each in taught.data["learned_through"]]
    assert through == [("FERPlus", ["valid"])] * 2
    start = tmp_path / "taught" / BEST
    last = train(make_recipe(), make_faces(), None, tmp_path / "last", classes=classes, start=start)
    assert last.data["started_from"]["learned_through"][0]["splits"] == ["valid"]
    name = "exported" if kind == "model file" else "tiny"
    assert last.data["started_from"]["learned_through"][0]["name"] == name, "however far back"
    begun = train(make_recipe(), make_faces(), None, tmp_path / "begun", classes=classes, start=first)
    assert begun.data["started_from"]["name"] == name


def test_the_card_says_whose_weights_came_first_however_many_runs_follow(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.safetensors"
    save_file(backbones.BACKBONES["tiny"]().state_dict(), theirs)
    theirs.with_suffix(".json").write_text('{"layers": 3}')  # as a checkpoint of ours has, but it is none
    facts = {"file": theirs.name, "origin": "a university, MIT", "sha256": sha256(theirs.read_bytes()).hexdigest()}
    recipe = make_recipe(model={"pretrained": theirs, "pretrained_origin": facts["origin"]})
    first = train(recipe, make_faces(), None, tmp_path / "first", classes=classes)
    assert first.data["pretraining"] == [facts]
    assert "learned_through" not in first.data

    ours = tmp_path / "first" / BEST
    begun = make_recipe(model={"pretrained": ours, "pretrained_origin": "myself"}, teacher={"checkpoints": [ours]})
    second = train(begun, make_faces(), None, tmp_path / "second", classes=classes)
    third = train(recipe, make_faces(), None, tmp_path / "third", classes=classes, start=tmp_path / "second" / BEST)
    assert second.data["pretraining"] == third.data["pretraining"] == [facts]
    assert len(second.data["learned_through"]) == 1, "it is teacher and start, and named once"
    assert json.dumps(third.data).count(theirs.name) == 1

    exported, _ = export(third, tmp_path / "third.onnx", name="third", version="1")
    assert exported.card.training["pretraining"] == [facts]


DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("tiny-face_recognition_model-weights_manifest.json", ["tiny-face_recognition_model.bin"]),
        ("tiny-mobilenet.json", ["tiny-mobilenet.bin1", "tiny-mobilenet.bin2"]),
    ],
)
def test_the_card_names_the_files_that_hold_the_weights(make_recipe: MakeRecipe, name: str, files: list[str]) -> None:
    found = gather_pretraining({}, make_recipe(model={"pretrained": DATA / name}))
    digests = [sha256((DATA / file).read_bytes()).hexdigest() for file in files]
    assert found == [
        {"file": file, "origin": "not stated", "sha256": digest} for file, digest in zip(files, digests, strict=True)
    ]


def test_runs_of_earlier_releases_name_their_pretraining_by_their_recipe() -> None:
    theirs = {"file": "theirs.bin", "origin": "MIT"}
    recipe = {"model": {"pretrained": "theirs.bin", "pretrained_origin": "MIT"}}
    assert pretraining_of({"pretraining": theirs}, {}) == pretraining_of({}, recipe) == [theirs]
    assert pretraining_of({"pretraining": None}, {"model": {"pretrained": None}}) == pretraining_of({}, {}) == []
    assert pretraining_of({"pretraining": []}, recipe) == pretraining_of({"started_from": {"n": 3}}, recipe) == []
    assert pretraining_of({"pretraining": "none"}, "none") == []  # type: ignore[arg-type]  # the card of somebody else
    facts = {"started_from": learned({"pretraining": theirs}, {}), "learned_through": [learned({}, recipe)]}
    assert gather_pretraining(facts, None) == [theirs]


def test_a_teacher_that_needs_landmarks(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    train(make_recipe(regions={"generator": "landmark"}), make_faces(), None, tmp_path / "first", classes=classes)
    faces, recipe = make_faces(), make_recipe(teacher={"checkpoints": [tmp_path / "first" / BEST]})
    bare = FaceData(faces.faces, faces.labels, faces.targets)
    with pytest.raises(CheckpointError, match="this teacher's regions follow landmarks, which the training faces lack"):
        train(recipe, bare, None, tmp_path / "taught", classes=classes)


def test_a_network_that_began_on_nothing_has_no_pretraining(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    assert train(make_recipe(), make_faces(), None, tmp_path, classes=classes).data["pretraining"] == []


def test_teachers_are_looked_for_beside_the_recipes_and_shown_without_their_folder(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "x.toml"
    path.write_text('name = "x"\n[teacher]\ncheckpoints = ["runs/a.safetensors", "runs/b.safetensors"]')
    recipe = load_recipe(path)
    assert recipe.teacher.checkpoints == (tmp_path / "runs/a.safetensors", tmp_path / "runs/b.safetensors")
    assert portable(recipe).teacher.checkpoints == (Path("a.safetensors"), Path("b.safetensors"))
