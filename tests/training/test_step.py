"""Each number of a recipe changes what it should, and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from regionfer.models.classifier import ExpressionClassifier
from regionfer.training.augmentation import moved_points
from regionfer.training.build import build_classifier
from regionfer.training.data import FaceData
from regionfer.training.recipe import Recipe
from regionfer.training.step import Losses, Step, draw_step

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]
ROWS = torch.arange(8)


def step_of(recipe: Recipe, faces: FaceData, seed: int = 0) -> tuple[ExpressionClassifier, Step]:
    torch.manual_seed(0)
    classifier = build_classifier(recipe, 3)
    return classifier, draw_step(recipe, classifier, faces, ROWS, seed)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"loss": {"margin": 0.5}}, "region_biased"),
        ({"loss": {"class_balance": 1.0}}, "cross_entropy"),
        ({"loss": {"soft_targets": 0.0}}, "cross_entropy"),
        ({"model": {"dropout": 0.8}}, "cross_entropy"),
        ({"augmentation": {"occlude": 1.0}}, "visibility"),
        ({"loss": {"biased": "share"}}, "region_biased"),
    ],
    ids=["margin", "class balance", "soft targets", "dropout", "covering", "biased"],
)
def test_a_setting_changes_its_part_of_the_loss(
    changes: dict[str, object],
    part: str,
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    step_losses: Callable[..., Losses],
) -> None:
    faces = make_faces(16)
    faces.targets.mul_(0.7).add_(0.1)  # votes that disagree

    def losses_of(recipe: Recipe) -> Losses:
        return step_losses(recipe, *step_of(recipe, faces), faces)

    before = losses_of(make_recipe(augmentation={"occlude": 0.0}))
    after = losses_of(make_recipe(**({"augmentation": {"occlude": 0.0}} | changes)))
    assert not torch.isclose(getattr(before, part), getattr(after, part), rtol=1e-3)


def test_the_total_is_the_weighted_sum(make_recipe: MakeRecipe) -> None:
    parts = Losses(*map(torch.tensor, (1.0, 10.0, 100.0, 1000.0)))
    recipe = make_recipe(loss={"region_biased": 0.5, "visibility": 0.25})
    assert parts.total(recipe).item() == 1 + 5 + 25 + 1000


def test_bf16_is_for_the_network_alone(
    make_recipe: MakeRecipe, make_faces: MakeFaces, step_losses: Callable[..., Losses]
) -> None:
    """In bfloat16 the places a picture is sampled at would be off by parts of a pixel."""
    seen: dict[str, tuple[Tensor, torch.dtype]] = {}
    for precision in ("fp32", "bf16"):
        recipe, faces = make_recipe(precision=precision), make_faces(8)
        classifier, step = step_of(recipe, faces)

        def watch(module: object, inputs: tuple[Tensor, ...], output: Tensor, name: str = precision) -> None:
            seen.setdefault(name, (inputs[0].clone(), output.dtype))

        classifier.network.backbone.stages[0][0].register_forward_hook(watch)
        step_losses(recipe, classifier, step, faces)
    assert seen["bf16"][1] == torch.bfloat16
    assert seen["fp32"][1] == torch.float32
    assert_close(seen["bf16"][0], seen["fp32"][0], atol=1e-3, rtol=0)


def test_random_crops_are_new_each_step_and_landmark_crops_follow_the_face(
    make_recipe: MakeRecipe, make_faces: MakeFaces
) -> None:
    faces = make_faces(8)
    random = make_recipe(regions={"generator": "random"})
    one, two = step_of(random, faces, seed=1)[1].regions, step_of(random, faces, seed=2)[1].regions
    assert one is not None
    assert two is not None
    assert not torch.equal(one, two)
    _, step = step_of(make_recipe(regions={"generator": "landmark", "radii": (0.2,)}), faces)
    assert step.regions is not None
    assert faces.landmarks is not None
    centres = moved_points(faces.landmarks, step.variation.affine).clamp(0, 1)
    assert_close(step.regions, torch.cat([centres - 0.2, centres + 0.2], -1).clamp(0, 1))
