"""One training step: what is drawn for it, and the losses of any part of its faces.

Everything random is drawn for the whole step at once, from a seed that names the step. So a resumed run, a run spread
over processes, and one that splits its steps to save memory all see the same faces, crops and dropped values.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from regionfer.models.attributes import covered_share
from regionfer.models.classifier import ExpressionClassifier, with_whole
from regionfer.models.losses import coverage_differences, region_biased_loss, soft_cross_entropy, visibility_loss
from regionfer.models.ran import Prediction
from regionfer.training.attribute_targets import AttributeTargets, attribute_losses, attribute_targets
from regionfer.training.augmentation import Variation, draw_variation, drop_factors, moved_points, vary
from regionfer.training.build import draw_regions
from regionfer.training.data import FaceData
from regionfer.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class Losses:
    """The parts of the loss of some faces, each before its weight; scalars."""

    cross_entropy: Tensor
    region_biased: Tensor
    visibility: Tensor
    attributes: Tensor

    def total(self, recipe: Recipe) -> Tensor:
        """What is minimised."""
        regions = recipe.loss.region_biased * self.region_biased + recipe.loss.visibility * self.visibility
        return self.cross_entropy + regions + self.attributes

    def detached(self) -> Tensor:
        """The parts as numbers, (4,), in the order of the fields."""
        return torch.stack([getattr(self, field.name).detach().float() for field in fields(self)])


@dataclass(frozen=True, eq=False)
class Step:
    """What is drawn for the B faces of one step.

    Attributes:
        rows: (B,) which faces.
        variation: how each is varied.
        regions: crops, (R - 1, 4) or (B, R - 1, 4), or None for a network without regions.
        covered: (B, R) covered share of the whole face and of each crop, or None without regions.
        keep: (B, width) dropout factors.
        attributes: what covers the varied faces and how they are turned, or None for a network that is not to say it.
    """

    rows: Tensor
    variation: Variation
    regions: Tensor | None
    covered: Tensor | None
    keep: Tensor
    attributes: AttributeTargets | None


def draw_step(recipe: Recipe, classifier: ExpressionClassifier, data: FaceData, rows: Tensor, seed: int) -> Step:
    """Draw everything random of one step."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = None if data.landmarks is None else data.landmarks[rows]
    skins = data.faces[rows].float().mean((1, 2))
    limits = None if data.turned is None else _rotation_limits(recipe, data.turned[rows])
    variation = draw_variation(
        recipe.augmentation, len(rows), generator, landmarks=landmarks, skins=skins, rotation_limits=limits
    )
    attributes = attribute_targets(recipe.attributes, data, rows, variation)
    keep = drop_factors(len(rows), classifier.network.aggregation.width, recipe.model.dropout, generator)
    regions = draw_regions(recipe.regions, seed, len(rows))
    if regions is None:
        regions = classifier.boxes(None if landmarks is None else moved_points(landmarks, variation.affine))
    if regions is None:
        return Step(rows, variation, None, None, keep, attributes)
    regions = regions.cpu()
    covered = covered_share(with_whole(regions), variation.alpha)
    return Step(rows, variation, regions, covered, keep, attributes)


def _rotation_limits(recipe: Recipe, turned: Tensor) -> Tensor:
    """By how many degrees each face (B,) may be rolled."""
    return torch.where(turned, recipe.attributes.turned_rotation, recipe.augmentation.rotation)


def part_losses(
    step: Step,
    part: slice,
    *,
    recipe: Recipe,
    classifier: ExpressionClassifier,
    network: nn.Module,
    data: FaceData,
    targets: Tensor,
    weights: Tensor | None = None,
) -> Losses:
    """Losses of a part of a step's faces; their mean over equal parts is the loss of the step.

    Args:
        step: what was drawn.
        part: which of its faces.
        recipe: weights and margins.
        classifier: its preprocessing is used, and says on which device.
        network: the classifier's network as prepared for one or several processes.
        data: the training faces.
        targets: (B, C) of the part's faces, on the network's device.
        weights: (C,) factors of the classes.
    """
    device = classifier.temperature.device
    rows = step.rows[part]
    planes = classifier.preprocessing.planes(data.faces[rows].to(device))
    variation = step.variation.rows(part).to(device)
    cover = classifier.preprocessing.planes(variation.cover)
    pictures = classifier.preprocessing(vary(planes, recipe.input.size, variation, cover))
    regions = None if step.regions is None else (step.regions if step.regions.ndim == 2 else step.regions[part])
    # The network alone: in bfloat16 the places that a picture is sampled at would be off by parts of a pixel.
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        prediction: Prediction = network(
            pictures, None if regions is None else regions.to(device), step.keep[part].to(device)
        )
    cross_entropy = soft_cross_entropy(prediction.logits, targets, weights)
    zero = cross_entropy.new_zeros(())
    attributes = zero
    if step.attributes is not None and prediction.attributes is not None:
        attributes = attribute_losses(prediction.attributes, step.attributes, part)
    if step.covered is None or recipe.model.aggregation == "mean":
        return Losses(cross_entropy, zero, zero, attributes)
    weighed = prediction.mu if recipe.loss.biased == "mu" else prediction.share
    total = coverage_differences(step.covered).sum() * (len(rows) / len(step.rows))
    return Losses(
        cross_entropy,
        region_biased=region_biased_loss(weighed, recipe.loss.margin),
        visibility=visibility_loss(weighed, step.covered[part].to(device), total=total.to(device)),
        attributes=attributes,
    )
