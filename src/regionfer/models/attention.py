"""From the features of a face and its regions to one compact feature, and the weight each region had in it.

All aggregations share one interface: ``(B, R, D)`` features in, region 0 the whole face; out come the compact
feature, mu and nu. ``width`` tells the classifier how many values the compact feature has.

Source: Wang et al., 2020, arXiv:1905.04075, equations 3 to 6.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Squash = Literal["sigmoid", "sigmoid-softmax"]


class Aggregated(NamedTuple):
    """What an aggregation gives.

    Attributes:
        feature: (B, width), the compact feature P.
        mu: (B, R) in 0..1, the coarse weight of each region.
        nu: (B, R) in 0..1, the weight refined with the whole.
    """

    feature: Tensor
    mu: Tensor
    nu: Tensor


def region_share(mu: Tensor, nu: Tensor) -> Tensor:
    """Share of each region in the compact feature: mu * nu, rows scaled to sum to 1, (B, R).

    >>> region_share(torch.tensor([[0.5, 0.5]]), torch.tensor([[0.2, 0.6]])).tolist()
    [[0.25, 0.75]]
    """
    weight = mu * nu
    return weight / weight.sum(1, keepdim=True)


class RegionWeight(nn.Module):
    """One learned weight a region: sigma(q . x).

    Args:
        width: values of x.
        squash: "sigmoid" as in the paper; "sigmoid-softmax" puts a softmax over the regions behind it, as the
            released code does.
    """

    def __init__(self, width: int, squash: Squash = "sigmoid") -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        self.softmax = squash == "sigmoid-softmax"

    def forward(self, features: Tensor) -> Tensor:  # (B, R, width)
        """Weigh the regions, (B, R) in 0..1."""
        # Flat, so that the exported graph keeps the learned weights under their name: a model file can be trained on.
        weights: Tensor = self.score(features.flatten(0, 1)).view(features.shape[:2]).sigmoid()
        return weights.softmax(1) if self.softmax else weights


class MeanAggregation(nn.Module):
    """The plain mean of the regions' features: without regions, the plain backbone itself."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width = features

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Average the regions."""
        ones = torch.ones_like(features[..., 0])
        return Aggregated(features.mean(1), ones, ones)  # (B, D), (B, R), (B, R)


class SelfAttention(nn.Module):
    """Self-attention only: P is the content representation F_m (eq. 3 and 4)."""

    def __init__(self, features: int, squash: Squash = "sigmoid") -> None:
        super().__init__()
        self.width = features
        self.self_weight = RegionWeight(features, squash)

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Weigh and sum the regions."""
        mu = self.self_weight(features)  # (B, R)
        return Aggregated(_weighted_mean(features, mu), mu, torch.ones_like(mu))


class RelationAttention(nn.Module):
    """Self-attention, then relation-attention of each region against the whole (eq. 3 to 6)."""

    def __init__(self, features: int, squash: Squash = "sigmoid") -> None:
        super().__init__()
        self.width = 2 * features
        self.self_weight = RegionWeight(features, squash)
        self.relation_weight = RegionWeight(2 * features, squash)

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Weigh each region by itself, then by its relation to all of them."""
        mu = self.self_weight(features)  # (B, R)
        content = _weighted_mean(features, mu)  # (B, D), F_m
        pairs = torch.cat([features, content.unsqueeze(1).expand_as(features)], dim=-1)  # (B, R, 2D)
        nu = self.relation_weight(pairs)  # (B, R)
        return Aggregated(_weighted_mean(pairs, mu * nu), mu, nu)


def _weighted_mean(features: Tensor, weights: Tensor) -> Tensor:
    """Mean of (B, R, D) over the regions with weights (B, R)."""
    return (weights.unsqueeze(-1) * features).sum(1) / weights.sum(1, keepdim=True)
