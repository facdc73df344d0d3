"""Optimiser, learning rate and moving average, as a recipe describes them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, AdamW, Optimizer

from regionfer.models.ran import RegionAttentionNetwork
from regionfer.training.recipe import OptimiserRecipe


def build_optimiser(network: RegionAttentionNetwork, recipe: OptimiserRecipe) -> Optimizer:
    """An optimiser with up to four groups: backbone; attention and classifier; heads of [attributes]; their pose.

    What has a learning rate of 0 is frozen: it gets no gradient, nor any decay, and has no group. See `set_training`.
    """
    backbone = list(network.backbone.parameters())
    pose = [] if network.heads is None or network.heads.pose is None else list(network.heads.pose.parameters())
    heads = [] if network.heads is None else [p for p in network.heads.parameters() if p not in {*pose}]
    apart = {*backbone, *heads, *pose}
    decision = [p for p in network.parameters() if p not in apart]
    rates = (
        (backbone, recipe.backbone_lr),
        (decision, recipe.head_lr),
        (heads, recipe.attribute_lr),
        (pose, recipe.pose_rate),
    )
    for parameters, rate in rates:
        for parameter in parameters:
            parameter.requires_grad_(rate > 0)
    groups = [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters and rate > 0]
    if recipe.name == "adamw":
        return AdamW(groups, weight_decay=recipe.weight_decay)
    return SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def set_training(network: RegionAttentionNetwork, recipe: OptimiserRecipe) -> None:
    """Make a network ready to learn; a backbone that is frozen goes on normalising as it did."""
    network.train()
    if recipe.backbone_lr == 0:
        network.backbone.eval()


def learning_rate(recipe: OptimiserRecipe, steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step of a run with ``steps`` steps an epoch."""
    total = steps * recipe.epochs
    warmup = min(recipe.warmup_steps, total // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if recipe.schedule == "steps":
            return float(0.1 ** sum(step >= epoch * steps for epoch in recipe.lr_drops))
        return (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1))) / 2

    return factor


def moving_average(decay: float) -> Callable[[Any, Any, Tensor | int], None]:
    """Update rule of an exponential moving average that forgets its start sooner while it is young.

    For `torch.optim.swa_utils.AveragedModel`. A fixed decay of 0.999 would still hold 4 % of the starting weights
    after 3,000 steps.
    """

    @torch.no_grad()
    def update(averaged: Any, current: Any, steps: Tensor | int) -> None:
        keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - keep)
        else:  # counters of batch norms
            torch._foreach_copy_(averaged, current)

    return update
