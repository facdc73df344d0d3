"""From a recipe to a network, and the crops it looks at."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from regionfer import regions
from regionfer.errors import CheckpointError, RecipeError
from regionfer.models.attention import MeanAggregation, RelationAttention, SelfAttention
from regionfer.models.attributes import AttributeHeads
from regionfer.models.backbones import Backbone, Preprocessing, build_backbone
from regionfer.models.classifier import ExpressionClassifier, LandmarkRegions
from regionfer.models.ran import Aggregation, RegionAttentionNetwork
from regionfer.models.trunks import channels_after
from regionfer.training.checkpoint import Checkpoint
from regionfer.training.pretraining import load_pretrained, require_batch_norms, require_pose_head
from regionfer.training.recipe import ModelRecipe, Recipe, RegionsRecipe, parse_recipe


def build_classifier(
    recipe: Recipe,
    classes: int,
    *,
    pretrained: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> ExpressionClassifier:
    """Build the network that a recipe describes.

    Args:
        recipe: the recipe.
        classes: number of expressions.
        pretrained: whether to read ``model.pretrained``; off where a checkpoint's weights follow.
        report: called with a line that says what the pretraining file gave.

    Raises:
        RecipeError: the backbone is not known, or cannot be cut where the recipe says.
        CheckpointError: the pretraining file is missing or does not fit.
    """
    try:
        backbone = build_backbone(recipe.model.backbone)
        network = RegionAttentionNetwork(
            backbone,
            _aggregation(recipe.model, backbone.features),
            classes,
            crop_stage=recipe.model.crop_stage,
            crop_size=recipe.model.crop_size,
            heads=_heads(recipe, backbone),
            head_stage=recipe.attributes.stage,
        )
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: [model]: {error}") from error
    if pretrained and recipe.model.pretrained is not None:
        report(str(load_pretrained(backbone, recipe.model.pretrained)))
    return ExpressionClassifier(
        Preprocessing(backbone.normalisation, recipe.input.grey),
        network,
        recipe.input.size,
        build_regions(recipe.regions),
        flip=recipe.test_time_flip,
    )


def load_classifier(checkpoint: Checkpoint, source: str = "checkpoint") -> ExpressionClassifier:
    """The averaged network of a checkpoint, ready to classify.

    Raises:
        CheckpointError: the weights do not fit the network that the checkpoint's recipe describes.
    """
    recipe = parse_recipe(dict(checkpoint.recipe), source)
    classifier = build_classifier(recipe, len(checkpoint.classes), pretrained=False)
    wanted = classifier.state_dict()
    require_batch_norms(wanted, checkpoint.averaged, source)
    require_pose_head(wanted, checkpoint.averaged, source)
    try:
        classifier.load_state_dict(dict(checkpoint.averaged))
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"{source}: weights of another architecture than its recipe's: {reason}") from error
    return classifier.eval()


def build_regions(recipe: RegionsRecipe) -> Tensor | LandmarkRegions | None:
    """The crops a trained network looks at: boxes (R - 1, 4), or how to place them around landmarks, or none.

    Random crops are drawn once, from a fixed seed: a model gives the same answer twice.
    """
    match recipe.generator:
        case "fixed":
            return torch.from_numpy(regions.fixed_regions())
        case "random":
            return torch.from_numpy(regions.random_regions(np.random.default_rng(0), 1, recipe.count)[0])
        case "landmark":
            return LandmarkRegions(recipe.radii)
        case "none":
            return None


def draw_regions(recipe: RegionsRecipe, seed: int, faces: int) -> Tensor | None:
    """Random crops for the faces of one training step, (B, R - 1, 4); None where crops are not drawn."""
    if recipe.generator != "random":
        return None
    return torch.from_numpy(regions.random_regions(np.random.default_rng(seed), faces, recipe.count))


def region_names(recipe: RegionsRecipe) -> tuple[str, ...]:
    """Names of the whole face and of each crop, in the order of the network's outputs."""
    if recipe.generator == "fixed":
        return ("face", *regions.FIXED_REGIONS)
    if recipe.generator == "random":
        return ("face", *(f"random {i}" for i in range(1, recipe.count + 1)))
    if recipe.generator == "landmark":
        return ("face", *(f"{name} {radius:g}" for radius in recipe.radii for name in regions.LANDMARKS))
    return ("face",)


def _heads(recipe: Recipe, backbone: Backbone) -> AttributeHeads | None:
    if not recipe.attributes.heads:
        return None
    first, stages = recipe.model.crop_stage, len(backbone.stages)
    if not first <= recipe.attributes.stage < stages:
        raise RecipeError(
            f"recipe {recipe.name}: attributes.stage must be in {first}..{stages - 1}, from model.crop_stage to the "
            f"last of {recipe.model.backbone}, got {recipe.attributes.stage}"
        )
    channels = channels_after(backbone.stages[: recipe.attributes.stage])
    return AttributeHeads(channels, pose=recipe.attributes.pose is not None)


def _aggregation(recipe: ModelRecipe, features: int) -> Aggregation:
    if recipe.aggregation == "mean":
        return MeanAggregation(features)
    kind = SelfAttention if recipe.aggregation == "self-attention" else RelationAttention
    return kind(features, recipe.squash)
