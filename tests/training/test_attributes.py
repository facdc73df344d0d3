"""Heads that say what covers a face and how it is turned: their targets, and that they alone learn from them."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from regionfer.errors import CheckpointError, DatasetError
from regionfer.models import attributes, backbones
from regionfer.models.resampling import crop_regions
from regionfer.training.attribute_tables import covered_as_seen, pose_of, read_table
from regionfer.training.attribute_targets import UNSEEN_WEIGHT, attribute_losses, attribute_targets
from regionfer.training.augmentation import draw_variation, turned_poses
from regionfer.training.build import build_classifier, load_classifier
from regionfer.training.checkpoint import load_checkpoint
from regionfer.training.data import FaceData
from regionfer.training.export import PARITY, export
from regionfer.training.loop import LAST, train
from regionfer.training.optimisation import build_optimiser
from regionfer.training.pretraining import load_heads, load_model_file, load_whole
from regionfer.training.recipe import AttributesRecipe, AugmentationRecipe, Recipe

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]
STILL = {"flip": 0, "rotation": 0, "scale": 0, "aspect": 0, "shift": 0, "contrast": 0, "brightness": 0, "occlude": 0}
HEADS = {"heads": True, "stage": 2, "pose": "poses.csv", "seen": "seen.csv"}


def with_attributes(faces: FaceData) -> FaceData:
    """Every third face was looked at; the brighter a face, the further it is turned."""
    n = len(faces)
    seen = torch.full((n,), torch.nan)
    seen[::3] = (torch.arange(n)[::3] % 2).float()
    yaw = faces.faces.float().mean((1, 2, 3)) - 100
    return replace(faces, seen=seen, poses=torch.stack([yaw, torch.zeros(n), torch.zeros(n)], dim=1))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (20.0, -10.0, 5.0)),
        ({"flip": 1}, (-20.0, -10.0, -5.0)),
        ({"scale": 0.3, "shift": 0.2}, (20.0, -10.0, 5.0)),
    ],
    ids=["as it is", "mirrored", "moved"],
)
def test_a_pose_follows_the_picture(changes: dict[str, float], expected: tuple[float, ...]) -> None:
    recipe = AugmentationRecipe.model_validate(STILL | changes)
    variation = draw_variation(recipe, 4, torch.Generator().manual_seed(0))
    found = turned_poses(torch.tensor([[20.0, -10.0, 5.0]]).expand(4, 3), variation.affine)
    assert_close(found, torch.tensor(expected).expand(4, 3), atol=1e-3, rtol=0)


@pytest.mark.parametrize("flip", [0, 1])
def test_roll_turns_as_the_eyes_do(flip: int) -> None:
    """The roll of a face without any is the slope of the line from the image's left eye to its right one."""
    from regionfer.training.augmentation import moved_points

    recipe = AugmentationRecipe.model_validate(STILL | {"rotation": 30, "flip": flip})
    variation = draw_variation(recipe, 8, torch.Generator().manual_seed(1))
    level = torch.tensor([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]).expand(8, 5, 2)
    left, right = moved_points(level, variation.affine)[:, :2].unbind(1)
    slope = torch.atan2(*(right - left).unbind(1)[::-1]) * 180 / math.pi
    roll = turned_poses(torch.zeros(8, 3), variation.affine)[:, 2]
    assert slope.abs().max() > 10
    assert_close(roll, slope, atol=1e-3, rtol=0)


def test_what_is_known_of_covered_seen_and_other_faces(make_faces: MakeFaces) -> None:
    faces = replace(make_faces(4), seen=torch.tensor([1.0, 0.0, torch.nan, torch.nan]))
    recipe = AttributesRecipe(heads=True, seen_weight=3)
    variation = draw_variation(AugmentationRecipe.model_validate(STILL), 4, torch.Generator())
    alpha = torch.zeros(4, 48, 48)
    alpha[3, 20:40, 10:40] = 1
    found = attribute_targets(recipe, faces, torch.arange(4), replace(variation, alpha=alpha))
    assert found is not None
    assert found.occluded.tolist() == [1, 0, 0, 1]
    assert found.occluded_weight.tolist() == pytest.approx([3, 3, UNSEEN_WEIGHT, 1])
    assert found.coverage_weight.tolist() == pytest.approx([0, 1, UNSEEN_WEIGHT, 1])
    alpha[2, 0, 0] = 1  # something in a corner, beside the face
    found = attribute_targets(recipe, faces, torch.arange(4), replace(variation, alpha=alpha))
    assert found is not None
    assert found.occluded_weight[2] == 0


def test_a_hidden_face_is_covered_and_says_nothing_of_its_pose(make_faces: MakeFaces) -> None:
    faces = with_attributes(make_faces(40))
    variation = draw_variation(AugmentationRecipe.model_validate(STILL | {"hide": 0.5}), 40, torch.Generator())
    found = attribute_targets(AttributesRecipe(heads=True), faces, torch.arange(40), variation)
    hidden = variation.alpha.amin((1, 2)) == 1
    assert found is not None
    assert 10 < hidden.sum() < 30
    assert found.occluded[hidden].tolist() == [1] * int(hidden.sum())
    assert found.poses[hidden].isnan().all()
    assert found.poses[~hidden].isfinite().all()
    assert found.pose_weight.tolist() == (~hidden).float().tolist()


def test_a_face_on_its_head_looks_covered_and_has_no_pose(make_faces: MakeFaces) -> None:
    faces = with_attributes(make_faces(40))
    variation = draw_variation(AugmentationRecipe.model_validate(STILL | {"overturn": 0.5}), 40, torch.Generator())
    found = attribute_targets(AttributesRecipe(heads=True), faces, torch.arange(40), variation)
    overturned = variation.overturned
    assert found is not None
    assert 10 < overturned.sum() < 30
    assert variation.alpha.max() == 0  # nothing is drawn over it
    assert found.alpha.amin((1, 2)).bool().equal(overturned)
    assert found.occluded[overturned].min() == found.occluded_weight[overturned].min() == 1
    assert found.poses.isnan().all(1).equal(overturned)


def test_the_parts_of_a_step_have_the_loss_of_the_whole(make_recipe: MakeRecipe, make_faces: MakeFaces) -> None:
    recipe, faces = make_recipe(attributes=HEADS), with_attributes(make_faces(16))
    classifier = build_classifier(recipe, 3)
    assert classifier.network.heads is not None
    variation = draw_variation(recipe.augmentation, 16, torch.Generator().manual_seed(0))
    targets = attribute_targets(recipe.attributes, faces, torch.arange(16), variation)
    assert targets is not None
    logits = classifier.network.heads(torch.randn(16, 12, 4, 4))
    whole = attribute_losses(logits, targets, slice(0, 16))
    halves = [
        attribute_losses(type(logits)(*(None if x is None else x[part] for x in logits)), targets, part)
        for part in (slice(0, 8), slice(8, 16))
    ]
    assert_close(sum(halves) / 2, whole)


def test_heads_learn_while_all_else_is_frozen(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces = with_attributes(make_faces(48))
    train(make_recipe(), faces, None, tmp_path / "plain", classes=classes)
    recipe = make_recipe(
        attributes=HEADS,
        optimiser={"epochs": 6, "backbone_lr": 0, "head_lr": 0, "attribute_lr": 0.01, "ema": 0.5},
        augmentation={"occlude": 0.5},
    )
    start = tmp_path / "plain" / LAST
    end = train(recipe, faces, None, tmp_path / "heads", classes=classes, start=start)
    before, after = load_checkpoint(start).averaged, end.averaged
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(name.startswith("network.heads.") for name in after)
    losses = [row["attributes"] for row in end.history]
    assert losses[-1] < 0.8 * losses[0]
    model, difference = export(end, tmp_path / "heads.onnx", name="heads", version="1")
    assert difference < PARITY
    output = model.run(faces.faces.numpy()[:5])
    assert output.visibility is not None
    assert output.visibility.shape == (5, 6)
    assert output.occlusion is not None
    assert output.occlusion.shape == (5, 6)
    assert output.pose is not None
    assert output.pose.shape == (5, 3)


def test_what_is_frozen_gets_no_gradient_and_is_not_optimised(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe(attributes=HEADS, optimiser={"backbone_lr": 0, "head_lr": 0})
    network = build_classifier(recipe, 3).network
    assert network.heads is not None
    heads = list(network.heads.parameters())
    learning = [p for group in build_optimiser(network, recipe.optimiser).param_groups for p in group["params"]]
    assert [id(parameter) for parameter in learning] == [id(parameter) for parameter in heads]
    assert {id(p) for p in network.parameters() if p.requires_grad} == {id(parameter) for parameter in heads}


def test_the_pose_learns_alone(
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even the means of a frozen backbone's normalisation move."""
    plain = backbones.BACKBONES["tiny"]

    def normalised() -> backbones.Backbone:
        backbone = plain()
        backbone.stages[0].append(nn.BatchNorm2d(6))
        return backbone

    monkeypatch.setitem(backbones.BACKBONES, "tiny", normalised)  # type: ignore[arg-type]
    faces = with_attributes(make_faces(48))
    made = train(make_recipe(attributes=HEADS), faces, None, tmp_path / "heads", classes=classes)
    rates = {"backbone_lr": 0, "head_lr": 0, "attribute_lr": 0, "pose_lr": 0.01}
    recipe = make_recipe(attributes=HEADS, optimiser={**rates, "ema": 0.5})
    end = train(recipe, faces, None, tmp_path / "pose", classes=classes, start=tmp_path / "heads" / LAST)
    changed = {name for name, value in end.averaged.items() if not torch.equal(value, made.averaged[name])}
    assert changed == {name for name in made.averaged if name.startswith("network.heads.pose.")}


@pytest.mark.parametrize(("pose", "expected"), [(None, [0.2]), (0.3, [0.2, 0.3]), (0, [0.2])])
def test_the_pose_learns_at_its_own_rate_or_that_of_the_heads(
    make_recipe: MakeRecipe, pose: float | None, expected: list[float]
) -> None:
    rates = {"backbone_lr": 0, "head_lr": 0, "attribute_lr": 0.2, "pose_lr": pose}
    recipe = make_recipe(attributes=HEADS, optimiser=rates)
    network = build_classifier(recipe, 3).network
    groups = build_optimiser(network, recipe.optimiser).param_groups
    assert sorted({group["lr"] for group in groups}) == expected
    assert network.heads is not None
    assert network.heads.pose is not None
    assert {parameter.requires_grad for parameter in network.heads.pose.parameters()} == {pose != 0}


def test_with_the_mirror_image_the_pose_is_the_mean_and_covers_stay(
    make_recipe: MakeRecipe, make_faces: MakeFaces
) -> None:
    torch.manual_seed(0)
    classifier = build_classifier(make_recipe(attributes=HEADS), 3).eval()
    faces = make_faces(8).faces
    with torch.no_grad():
        classifier.flip = False
        plain = [classifier(each) for each in (faces, faces.flip(2))]
        classifier.flip = True
        both = [classifier(each) for each in (faces, faces.flip(2))]
    signs = torch.tensor([-1.0, 1, -1])
    assert_close(both[0].pose, (plain[0].pose + plain[1].pose * signs) / 2)
    assert_close(both[1].pose, both[0].pose * signs)
    assert (both[0].pose - plain[0].pose).abs().max() > 0.1
    assert_close(both[0].visibility, plain[0].visibility)
    assert_close(both[0].occlusion, plain[0].occlusion)


def test_both_looks_have_a_loss(make_faces: MakeFaces) -> None:
    faces = with_attributes(make_faces(8))
    assert faces.poses is not None
    faces = replace(faces, poses=torch.tensor([[20.0, -10.0, 30.0]]).expand(8, 3))
    variation = draw_variation(AugmentationRecipe.model_validate(STILL), 8, torch.Generator().manual_seed(0))
    targets = attribute_targets(AttributesRecipe.model_validate(HEADS), faces, torch.arange(8), variation)
    assert targets is not None
    pose = targets.poses / attributes.POSE_SCALE

    def loss(pose: Tensor, first_roll: Tensor) -> float:
        found = attributes.AttributeLogits(torch.zeros(8, 4, 4), torch.zeros(8), pose, first_roll)
        return float(attribute_losses(found, targets, slice(0, 8)))

    right = loss(pose, pose[:, 2:])
    off, yaw = torch.tensor(1.0), torch.tensor([1.0, 0.0, 0.0])
    assert loss(pose, pose[:, 2:] + off) - right == pytest.approx(1 - 0.05, abs=1e-4)
    assert loss(pose + yaw, pose[:, 2:]) - right == pytest.approx(1 - 0.05, abs=1e-4)
    assert loss(pose + yaw, pose[:, :1] + yaw[:1]) > loss(pose + yaw, pose[:, 2:])  # its target is the roll


class FirstPoseHead(nn.Sequential):
    """The layers that weights before version 9 have, by their names."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__(nn.Linear(channels * attributes.CELLS**2, reduced), nn.ReLU(), nn.Linear(reduced, 3))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        boxes = torch.tensor(attributes.HALVES[:1])
        pose = super().forward(crop_regions(maps, boxes, attributes.CELLS).flatten(1))
        return pose, pose[:, 2:]


class SecondPoseHead(nn.Module):
    """Those that version 9 has."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.hidden = nn.Linear(reduced * attributes.CELLS**2, attributes.POSE_WIDTH)
        self.angles = nn.Linear(attributes.POSE_WIDTH, 3)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        boxes = torch.tensor(attributes.HALVES[:1])
        reduced = self.reduce(crop_regions(maps, boxes, attributes.CELLS).squeeze(1)).relu()
        pose = self.angles(self.hidden(reduced.flatten(1)).relu())
        return pose, pose[:, 2:]


@pytest.mark.parametrize("earlier_head", [FirstPoseHead, SecondPoseHead])
def test_a_pose_head_of_another_make_begins_anew_if_it_learns(
    earlier_head: type[nn.Module],
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faces = with_attributes(make_faces(48))
    one_epoch = {"epochs": 1}
    whole = make_recipe(attributes=HEADS, optimiser=one_epoch)
    with monkeypatch.context() as earlier:
        earlier.setattr(attributes, "PoseHead", earlier_head)
        made = train(whole, faces, None, tmp_path / "made", classes=classes)
        export(made, tmp_path / "made.onnx", name="heads", version="1")
    frozen = {"backbone_lr": 0, "head_lr": 0, "attribute_lr": 0, "epochs": 1}
    for start in (tmp_path / "made.onnx", tmp_path / "made" / LAST):
        out, said = tmp_path / f"from{start.suffix}", list[str]()
        recipe = make_recipe(attributes=HEADS, optimiser={**frozen, "pose_lr": 0.01})
        end = train(recipe, faces, None, out, classes=classes, start=start, report=said.append)
        assert f"{start}: its pose head is of another make; the pose is learned from the start" in said
        assert end.averaged["network.heads.pose.roll.0.weight"].shape[0] == attributes.ROLL_WIDTH
        others = [name for name in made.averaged if not name.startswith("network.heads.pose.")]
        assert all(torch.equal(end.averaged[name], made.averaged[name]) for name in others)
        asleep = make_recipe(attributes=HEADS, optimiser={"pose_lr": 0})
        with pytest.raises(CheckpointError, match=rf"{start.name}: its pose head is of another make.*or learn"):
            train(asleep, faces, None, tmp_path / f"asleep{start.suffix}", classes=classes, start=start)
    with pytest.raises(CheckpointError, match=r"last\.safetensors: its pose head is of another make"):
        train(whole, faces, None, tmp_path / "made", classes=classes, resume=True)
    with pytest.raises(CheckpointError, match="old: its pose head is of another make"):
        load_classifier(made, "old")


def test_a_pose_head_of_the_same_make_is_kept(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    recipe, said = make_recipe(attributes=HEADS, optimiser={"epochs": 1}), list[str]()
    made = train(recipe, with_attributes(make_faces(48)), None, tmp_path / "made", classes=classes)
    export(made, tmp_path / "made.onnx", name="heads", version="1")
    from_file, from_checkpoint = (build_classifier(recipe, 3) for _ in range(2))
    load_model_file(from_file, classes, tmp_path / "made.onnx", recipe, said.append)
    load_whole(from_checkpoint, classes, tmp_path / "made" / LAST, recipe, said.append)
    for classifier in (from_file, from_checkpoint):
        state = classifier.state_dict()
        assert all(torch.equal(state[name], made.averaged[name]) for name in state if ".heads." in name)
    assert said == []


def test_heads_that_a_start_lacks_must_learn(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces = with_attributes(make_faces(48))
    bare = make_recipe(optimiser={"epochs": 1})
    train(bare, faces, None, tmp_path / "bare", classes=classes)
    recipe = make_recipe(attributes=HEADS, optimiser={"attribute_lr": 0, "pose_lr": 0.01})
    with pytest.raises(CheckpointError, match=r"tensors are missing \(network\.heads\.reduce\.weight"):
        load_whole(build_classifier(recipe, 3), classes, tmp_path / "bare" / LAST, recipe)


@pytest.mark.parametrize("kind", ["checkpoint", "model file"])
def test_heads_start_from_those_of_another_network(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path, kind: str
) -> None:
    faces, once = with_attributes(make_faces(48)), {"epochs": 1}
    recipe = make_recipe(attributes=HEADS, optimiser=once)
    made = train(recipe, faces, None, tmp_path / "made", classes=classes, data={"splits": ["theirs"]})
    train(make_recipe(optimiser=once, seed=1), faces, None, tmp_path / "bare", classes=classes)
    theirs = tmp_path / "made" / LAST
    if kind == "model file":
        theirs = tmp_path / "made.onnx"
        export(made, theirs, name="made", version="1")
    pose_alone = {"backbone_lr": 0, "head_lr": 0, "attribute_lr": 0, "pose_lr": 1e-3, "epochs": 1}
    begun = make_recipe(attributes={**HEADS, "pretrained": theirs}, optimiser=pose_alone)
    start = tmp_path / "bare" / LAST
    end = train(begun, faces, None, tmp_path / "end", classes=classes, start=start)
    bare = load_checkpoint(start).averaged
    for name, value in end.averaged.items():
        if ".heads.pose." not in name:
            assert torch.equal(value, (made.averaged if ".heads." in name else bare)[name]), name
    assert [each["splits"] for each in end.data["learned_through"]] == [["theirs"]]
    with pytest.raises(CheckpointError, match=r"last\.safetensors: expected a network with heads .*, found none in it"):
        load_heads(build_classifier(recipe, 3), start, recipe)


def test_heads_without_a_pose_start_from_some_with_one(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = make_recipe(attributes=HEADS, optimiser={"epochs": 1})
    made = train(recipe, with_attributes(make_faces(48)), None, tmp_path / "made", classes=classes)
    without = make_recipe(attributes={**HEADS, "pose": None})
    classifier = build_classifier(without, 3)
    load_whole(classifier, classes, tmp_path / "made" / LAST, without)
    load_heads(classifier, tmp_path / "made" / LAST, without)
    assert torch.equal(classifier.state_dict()["network.heads.mix.weight"], made.averaged["network.heads.mix.weight"])


def test_a_pose_head_is_given_to_a_network_with_heads_that_has_none(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces, once = with_attributes(make_faces(48)), {"epochs": 1}
    made = train(make_recipe(attributes=HEADS, optimiser=once), faces, None, tmp_path / "made", classes=classes)
    without = make_recipe(attributes={**HEADS, "pose": None}, optimiser=once, seed=1)
    train(without, faces, None, tmp_path / "without", classes=classes)
    given = {**HEADS, "pretrained": tmp_path / "made" / LAST}
    for pose_lr in (0, 1e-9):
        said: list[str] = []
        frozen = {"backbone_lr": 0, "head_lr": 1e-9, "attribute_lr": 0, "pose_lr": pose_lr, "epochs": 1}
        recipe, out = make_recipe(attributes=given, optimiser=frozen), tmp_path / f"rate {pose_lr}"
        start = tmp_path / "without" / LAST
        end = train(recipe, faces, None, out, classes=classes, start=start, report=said.append)
        for name in ("network.heads.mix.weight", "network.heads.pose.angles.bias"):
            torch.testing.assert_close(end.averaged[name], made.averaged[name], atol=1e-5, rtol=0)
        assert not any("from the start" in line for line in said)


@pytest.mark.parametrize(
    ("section", "changed", "message"),
    [
        ("attributes", {"stage": 1}, r"its attributes\.stage is 2, that of recipe .* is 1$"),
        (
            "model",
            {"backbone": "mobilenetv1-face"},
            r"its model\.backbone is tiny, that of recipe .* is mobilenetv1-face$",
        ),
    ],
)
def test_heads_that_read_other_features_are_refused(
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
    section: str,
    changed: dict[str, object],
    message: str,
) -> None:
    made = make_recipe(attributes=HEADS, optimiser={"epochs": 1})
    train(made, with_attributes(make_faces(48)), None, tmp_path / "made", classes=classes)
    other = made.model_copy(update={section: getattr(made, section).model_copy(update=changed)})
    with pytest.raises(CheckpointError, match=message):
        load_heads(build_classifier(made, 3), tmp_path / "made" / LAST, other)


def test_a_network_without_heads_starts_from_one_with_them(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    one_epoch = {"epochs": 1}
    faces = with_attributes(make_faces())
    made = train(make_recipe(attributes=HEADS, optimiser=one_epoch), faces, None, tmp_path / "heads", classes=classes)
    export(made, tmp_path / "heads.onnx", name="heads", version="1")
    for start in (tmp_path / "heads.onnx", tmp_path / "heads" / LAST):
        out = tmp_path / f"from{start.suffix}"
        end = train(make_recipe(optimiser=one_epoch), make_faces(), None, out, classes=classes, start=start)
        assert not any(name.startswith("network.heads.") for name in end.averaged)


def test_a_checkpoint_of_another_network_is_no_start(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    train(make_recipe(optimiser={"epochs": 1}), make_faces(), None, tmp_path / "ran", classes=classes)
    plain = make_recipe(regions={"generator": "none"}, model={"aggregation": "mean"})
    with pytest.raises(CheckpointError, match=r"last\.safetensors: .*: its aggregation is relation-attention"):
        train(plain, make_faces(), None, tmp_path / "plain", classes=classes, start=tmp_path / "ran" / LAST)


def test_tables_are_read_by_name(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("name,kind,yaw,pitch,roll\na.png,none,1,2,3\nb.png,hand,,,\n", encoding="utf-8-sig")
    table = read_table(path)
    assert [covered_as_seen(table, name) for name in ("a.png", "b.png")] == [0, 1]
    assert pose_of(table, "a.png") == pose_of(table, "Train/a.png") == (1, 2, 3)
    unsure = {"a.png": {"yaw": "1", "pitch": "2", "roll": "3", "confidence": "0.1"}}
    assert np.isnan(pose_of(unsure, "a.png")).all()
    assert np.isnan([covered_as_seen(table, "c.png"), *pose_of(table, "b.png"), *pose_of(table, "c.png")]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read the table"),
        ("image,kind\na.png,none\n", "expected a column 'name', found image, kind"),
        ("name,kind\na.png,none\na.png,hand\n", "found 1 names again"),
    ],
    ids=["missing", "no names", "twice"],
)
def test_a_table_of_another_form_is_refused(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_table(path)


def test_cells_of_another_form_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"a\.png: expected yaw, pitch and roll in degrees"):
        pose_of({"a.png": {"yaw": "left", "pitch": "0", "roll": "0"}}, "a.png")
    with pytest.raises(DatasetError, match=r"a\.png: expected what covers it"):
        covered_as_seen({"a.png": {"yaw": "0"}}, "a.png")
