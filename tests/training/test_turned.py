"""Training faces drawn at known poses teach the pose, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from regionfer.errors import DatasetError, RecipeError
from regionfer.training.build import build_classifier
from regionfer.training.data import FaceData, blended_targets
from regionfer.training.recipe import Recipe
from regionfer.training.step import Losses, draw_step
from regionfer.training.turned import read_turned

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]
StepLosses = Callable[..., Losses]


def write_turned(folder: Path, lines: tuple[str, ...]) -> Path:
    folder.mkdir()
    (folder / "faces.csv").write_text("\n".join(("name,yaw,pitch,roll,source", *lines)))
    for number in range(3):
        cv2.imwrite(str(folder / f"t{number}.png"), np.full((48, 48), 40 * number, np.uint8))
    return folder


def test_only_faces_that_show_a_training_face_come_in(tmp_path: Path) -> None:
    lines = ("t0.png,60,5,-3,b.png", "t1.png,-80,0,0,held_out.png", "t2.png,20,1,2,a.png")
    turned = read_turned(write_turned(tmp_path / "turned", lines), ["Train/a.png", "Train/b.png"], 16)
    assert turned.faces.shape == (2, 16, 16, 3)
    assert turned.faces[:, 0, 0, 0].tolist() == [0, 80]
    assert turned.sources.tolist() == [1, 0]
    assert turned.poses.tolist() == [[60, 5, -3], [20, 1, 2]]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("t0.png,60,5,-3,other.png",), r"faces\.csv: expected faces whose 'source' is among the 1 training faces"),
        (("gone.png,60,5,-3,a.png",), r"faces\.csv: names a face that cannot be read: .*gone\.png"),
    ],
    ids=["no source", "missing image"],
)
def test_a_folder_that_is_of_no_use_is_refused(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_turned(write_turned(tmp_path / "turned", lines), ["a.png"], 16)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"faces\.csv: cannot read the table"):
        read_turned(tmp_path, ["a.png"], 16)


@pytest.mark.parametrize("attributes", [{"heads": True}, {"pose": "pose.csv"}], ids=["no poses", "no heads"])
def test_they_need_a_pose_head(attributes: dict[str, object], make_recipe: MakeRecipe) -> None:
    with pytest.raises(RecipeError, match=r"attributes\.turned teaches head pose"):
        make_recipe(attributes={**attributes, "turned": "turned"})


def test_they_teach_the_pose_and_no_expression(
    make_recipe: MakeRecipe, make_faces: MakeFaces, step_losses: StepLosses
) -> None:
    plain = replace(make_faces(8), poses=torch.full((8, 3), torch.nan), seen=torch.full((8,), torch.nan))
    drawn = np.zeros((8, 16, 16, 3), np.uint8)
    data = plain.with_turned(drawn, np.arange(8)[::-1].copy(), torch.tensor([[70.0, 0, 0]]).repeat(8, 1))
    assert len(data) == 16
    assert data.labels[8:].tolist() == plain.labels[::-1].tolist()
    assert data.landmarks is not None
    assert len(data.landmarks) == 16
    for soft in (1.0, 0.3):
        targets = blended_targets(data, soft)
        assert_close(targets[:8], blended_targets(plain, soft))
        assert not targets[8:].any()
    recipe = make_recipe(attributes={"heads": True, "pose": "p", "stage": 2}, augmentation={"occlude": 0.0})
    torch.manual_seed(0)
    classifier = build_classifier(recipe, 3)
    losses = {}
    for name, rows in (("plain", torch.arange(8)), ("turned", torch.arange(8, 16))):
        step = draw_step(recipe, classifier, data, rows, 0)
        losses[name] = step_losses(recipe, classifier, step, data)
        assert step.attributes is not None
        assert step.attributes.poses.isfinite().any() == (name == "turned")
    assert losses["plain"].cross_entropy > 0.1
    assert losses["turned"].cross_entropy == 0


@pytest.fixture
def with_drawn(make_faces: MakeFaces) -> FaceData:
    """40 faces, and 40 that are drawn of them; the pose of all is known, roll 0."""
    plain = replace(make_faces(40), poses=torch.zeros(40, 3))
    return plain.with_turned(np.zeros((40, 16, 16, 3), np.uint8), np.arange(40), torch.zeros(40, 3))


@pytest.mark.parametrize(("limit", "largest"), [(10.0, 10.0), (180.0, 50.0)], ids=["less", "no less"])
def test_they_are_turned_less_than_others(
    make_recipe: MakeRecipe, with_drawn: FaceData, limit: float, largest: float
) -> None:
    recipe = make_recipe(
        attributes={"heads": True, "pose": "p", "stage": 2, "turned": "t", "turned_rotation": limit},
        augmentation={"occlude": 0.0, "rotation": 50.0},
    )
    step = draw_step(recipe, build_classifier(recipe, 3), with_drawn, torch.arange(80), 0)
    assert step.attributes is not None
    rolls = step.attributes.poses[:, 2].abs()
    assert 40 < rolls[:40].max() <= 50
    assert 0.9 * largest < rolls[40:].max() <= largest + 1e-3


def test_their_pose_counts_more(make_recipe: MakeRecipe, with_drawn: FaceData) -> None:
    recipe = make_recipe(attributes={"heads": True, "pose": "p", "stage": 2, "turned": "t", "turned_weight": 3.0})
    rows = torch.tensor([0, 40])
    step = draw_step(recipe, build_classifier(recipe, 3), with_drawn, rows, 0)
    assert step.attributes is not None
    assert step.attributes.pose_weight.tolist() == [1, 3]


def test_profiles_among_the_others_have_a_weight_of_their_own(make_recipe: MakeRecipe, with_drawn: FaceData) -> None:
    assert with_drawn.poses is not None
    yaws = torch.tensor([44.0, -46, torch.nan, -60])
    poses = with_drawn.poses.clone()
    poses[[0, 1, 2, 40], 0] = yaws
    weights = {"turned_weight": 3.0, "profile_weight": 5.0}
    recipe = make_recipe(
        attributes={"heads": True, "pose": "p", "stage": 2, "turned": "t", **weights},
        augmentation={"occlude": 0.0},
    )
    rows = torch.tensor([0, 1, 2, 40])
    step = draw_step(recipe, build_classifier(recipe, 3), replace(with_drawn, poses=poses), rows, 0)
    assert step.attributes is not None
    assert step.attributes.pose_weight.tolist() == [1, 5, 0, 3]


def test_their_weight_is_theirs_in_the_loss(
    make_recipe: MakeRecipe, with_drawn: FaceData, step_losses: StepLosses
) -> None:
    """Of two faces A and two drawn ones T: C + (A + w T) / (1 + w), with C for what covers them."""
    assert with_drawn.poses is not None
    assert with_drawn.turned is not None
    data = replace(with_drawn, poses=with_drawn.poses + 60 * with_drawn.turned[:, None])
    losses = []
    for weight in (0, 1, 3):
        recipe = make_recipe(
            attributes={"heads": True, "pose": "p", "stage": 2, "turned": "t", "turned_weight": weight}
        )
        torch.manual_seed(0)
        classifier = build_classifier(recipe, 3)
        step = draw_step(recipe, classifier, data, torch.tensor([0, 1, 40, 41]), 0)
        losses.append(step_losses(recipe, classifier, step, data).attributes.item())
    none, even, heavy = losses
    assert abs(even - none) > 0.1
    assert heavy - none == pytest.approx(1.5 * (even - none), rel=1e-3)


def test_which_are_drawn_is_known_of_some_of_the_faces(with_drawn: FaceData) -> None:
    some = with_drawn.rows(np.array([0, 79, 40]))
    assert some.turned is not None
    assert some.turned.tolist() == [False, True, True]
