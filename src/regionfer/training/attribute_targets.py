"""What the heads of [attributes] should say of the varied faces of a step, and how far they are from it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from regionfer.models.attributes import POSE_SCALE, AttributeLogits, covered_share
from regionfer.models.losses import coverage_loss, occluded_loss, pose_loss
from regionfer.models.resampling import crop_regions
from regionfer.training.augmentation import Variation, turned_poses
from regionfer.training.data import FaceData
from regionfer.training.recipe import AttributesRecipe

FACE = (0.15, 0.1, 0.85, 1.0)
"""Box of the face itself in a crop: what lies outside hides nothing of it."""

LEAST = 0.01
"""Share of that box from which on a face counts as covered."""

HIDDEN = 0.9
"""Share of that box from which on nothing shows how the face is turned."""

PROFILE = 45.0
"""Degrees of yaw, to either side, beyond which a face has the weight of profiles."""

UNSEEN_WEIGHT = 0.1
"""Weight of a face that nothing was drawn over and nobody looked at. Most of them are uncovered, but about a fifth are
not, and with full weight the heads would learn to tell drawn hands from real ones."""


@dataclass(frozen=True, eq=False)
class AttributeTargets:
    """What is known of the B varied faces of a step.

    Attributes:
        alpha: (B, T, T) opacity of what was drawn over each; 1 all over one that stands on its head.
        occluded: (B,) 1 where something covers the face, 0 where nothing does.
        occluded_weight: (B,) how far that is to be believed, 0 for not at all.
        coverage_weight: (B,) the same of ``alpha``: 0 where something that was not drawn covers the face.
        poses: (B, 3) degrees, NaN where unknown.
        pose_weight: (B,) how far they count, 0 where unknown.
    """

    alpha: Tensor
    occluded: Tensor
    occluded_weight: Tensor
    coverage_weight: Tensor
    poses: Tensor
    pose_weight: Tensor


def attribute_targets(
    recipe: AttributesRecipe, data: FaceData, rows: Tensor, variation: Variation
) -> AttributeTargets | None:
    """Put together what is known of the faces ``rows`` as they were varied; None for a network without such heads."""
    if not recipe.heads:
        return None
    # What stands on its head is to look wholly covered: no network tells its expression, parts or pose.
    alpha = torch.where(variation.overturned[:, None, None], 1.0, variation.alpha)
    share = covered_share(torch.tensor([FACE]), alpha)[:, 0]
    drawn = share > LEAST
    beside = ~drawn & (alpha.amax((1, 2)) > 0)  # drawn, but hardly on the face: neither covered nor not
    unknown = torch.full((len(rows),), torch.nan)
    seen = unknown if data.seen is None else data.seen[rows]
    looked = seen.isfinite()
    weight = torch.where(looked, recipe.seen_weight, UNSEEN_WEIGHT)
    weight = torch.where(drawn, 1.0, torch.where(beside, 0.0, weight))
    poses = unknown[:, None].expand(-1, 3) if data.poses is None else turned_poses(data.poses[rows], variation.affine)
    poses = torch.where((share > HIDDEN)[:, None], torch.nan, poses)
    turned = torch.zeros(len(rows), dtype=torch.bool) if data.turned is None else data.turned[rows]
    pose_weight = torch.where(poses[:, 0].abs() > PROFILE, recipe.profile_weight, 1.0)
    pose_weight = torch.where(turned, recipe.turned_weight, pose_weight)
    return AttributeTargets(
        alpha=alpha,
        occluded=(drawn | (seen == 1)).float(),
        occluded_weight=weight,
        coverage_weight=torch.where((seen == 1) & ~drawn, 0.0, weight.clamp_max(1.0)),
        poses=poses,
        pose_weight=torch.where(poses.isfinite().all(1), pose_weight, 0.0),
    )


def attribute_losses(found: AttributeLogits, targets: AttributeTargets, part: slice) -> Tensor:
    """The loss of a part of a step's faces; its sum over equal parts, divided by their number, is that of the step.

    Args:
        found: what the heads say of the faces of the part.
        targets: of the whole step.
        part: which of its faces.
    """
    device, size = found.coverage.device, int(found.coverage.shape[-1])
    parts = len(targets.occluded) / len(found.occluded)
    alpha = crop_regions(targets.alpha[part, None], torch.tensor([[0.0, 0.0, 1.0, 1.0]]), size)[:, 0, 0].to(device)

    def total(weights: Tensor) -> Tensor:
        return (weights.sum() / parts).to(device)

    losses = coverage_loss(
        found.coverage, alpha, targets.coverage_weight[part].to(device), total(targets.coverage_weight)
    ) + occluded_loss(
        found.occluded,
        targets.occluded[part].to(device),
        targets.occluded_weight[part].to(device),
        total(targets.occluded_weight),
    )
    if found.pose is not None:
        assert found.first_roll is not None
        # The first look has a loss of its own, or it would learn whatever turn serves the second best.
        for angles, axes in ((found.pose, slice(None)), (found.first_roll, slice(2, 3))):
            losses = losses + pose_loss(
                angles,
                targets.poses[part, axes].to(device),
                targets.pose_weight[part].to(device),
                total(targets.pose_weight),
                POSE_SCALE,
            )
    return losses
