"""From a recipe to a network, and the crops it looks at."""

import numpy as np
import torch
from torch import Tensor

from regionfer import regions
from regionfer.errors import RecipeError
from regionfer.models.attention import MeanAggregation, RelationAttention, SelfAttention
from regionfer.models.backbones import BACKBONES, Backbone, Preprocessing
from regionfer.models.classifier import ExpressionClassifier
from regionfer.models.ran import Aggregation, RegionAttentionNetwork
from regionfer.training.pretraining import load_pretrained
from regionfer.training.recipe import ModelRecipe, Recipe, RegionsRecipe


def build_classifier(recipe: Recipe, classes: int, *, pretrained: bool = True) -> ExpressionClassifier:
    """Build the network that a recipe describes.

    Args:
        recipe: the recipe.
        classes: number of expressions.
        pretrained: whether to read ``model.pretrained``; off where a checkpoint's weights follow.

    Raises:
        RecipeError: the backbone is not known, or cannot be cut where the recipe says.
        CheckpointError: the pretraining file is missing or does not fit.
    """
    backbone = _backbone(recipe.model)
    if pretrained and recipe.model.pretrained is not None:
        load_pretrained(backbone, recipe.model.pretrained)
    try:
        network = RegionAttentionNetwork(
            backbone,
            _aggregation(recipe.model, backbone.features),
            classes,
            crop_stage=recipe.model.crop_stage,
            crop_size=recipe.model.crop_size,
            dropout=recipe.model.dropout,
        )
    except ValueError as error:
        raise RecipeError(f"recipe {recipe.name}: model.{error}") from error
    boxes = evaluation_regions(recipe.regions)
    return ExpressionClassifier(
        Preprocessing(backbone.normalisation, recipe.input.grey),
        network,
        recipe.input.size,
        None if boxes is None else torch.from_numpy(boxes),
    )


def evaluation_regions(recipe: RegionsRecipe) -> regions.Boxes | None:
    """The crops a trained network looks at, (R - 1, 4), or None where there are none or each face has its own.

    Random crops are drawn once, from a fixed seed: a model gives the same answer twice.
    """
    if recipe.generator == "fixed":
        return regions.fixed_regions()
    if recipe.generator == "random":
        return regions.random_regions(np.random.default_rng(0), 1, recipe.count)[0]
    return None


def training_regions(
    recipe: RegionsRecipe, rng: np.random.Generator, faces: int, landmarks: Tensor | None
) -> Tensor | None:
    """Crops of the faces of one step, (B, R - 1, 4), or None to use those of evaluation.

    Args:
        recipe: which generator.
        rng: source of random crops.
        faces: B.
        landmarks: (B, 5, 2) in 0..1 of the varied pictures, for landmark crops.

    Raises:
        RecipeError: landmark crops are asked for, and the faces come without landmarks.
    """
    if recipe.generator == "random":
        return torch.from_numpy(regions.random_regions(rng, faces, recipe.count))
    if recipe.generator == "landmark":
        if landmarks is None:
            raise RecipeError("regions.generator 'landmark' needs faces with landmarks; these have none")
        return torch.from_numpy(regions.landmark_regions(landmarks.numpy(), recipe.radii))
    return None


def region_names(recipe: RegionsRecipe) -> tuple[str, ...]:
    """Names of the whole face and of each crop, in the order of the network's outputs."""
    if recipe.generator == "fixed":
        return ("face", *regions.FIXED_REGIONS)
    if recipe.generator == "random":
        return ("face", *(f"random {i}" for i in range(1, recipe.count + 1)))
    if recipe.generator == "landmark":
        return ("face", *(f"{name} {radius:g}" for radius in recipe.radii for name in regions.LANDMARKS))
    return ("face",)


def _backbone(recipe: ModelRecipe) -> Backbone:
    if recipe.backbone not in BACKBONES:
        raise RecipeError(f"model.backbone: unknown {recipe.backbone!r}; known: {', '.join(BACKBONES)}")
    return BACKBONES[recipe.backbone]()


def _aggregation(recipe: ModelRecipe, features: int) -> Aggregation:
    if recipe.aggregation == "mean":
        return MeanAggregation(features)
    kind = SelfAttention if recipe.aggregation == "self-attention" else RelationAttention
    return kind(features, recipe.squash)
