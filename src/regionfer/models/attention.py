"""From the features of a face and its regions to one compact feature, and the weight each region had in it.

All aggregations share one interface: ``(B, R, D)`` features in, region 0 the whole face; out come the compact
feature, mu and nu. ``width`` tells the classifier how many values the compact feature has.

Source: Wang et al., 2020, arXiv:1905.04075, equations 3 to 6.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from regionfer.models.squash import Squash


class Aggregated(NamedTuple):
    """What an aggregation gives.

    Attributes:
        feature: (B, width), the compact feature P.
        mu: (B, R) in 0..1, the coarse weight of each region.
        nu: (B, R) in 0..1, the weight refined with the whole.
        share: (B, R), share of each region in P: mu * nu, rows scaled to sum to 1.
    """

    feature: Tensor
    mu: Tensor
    nu: Tensor
    share: Tensor


class RegionWeight(nn.Module):
    """The logarithm of one learned weight a region, log sigma(q . x).

    Only ratios of weights decide, so training may shrink all of them together until they are hardly more than rounding;
    their logarithms keep the ratios exact.

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
        """Weigh the regions, (B, R), at most 0."""
        # Flat, so that the exported graph keeps the learned weights under their name: a model file can be trained on.
        scores: Tensor = self.score(features.flatten(0, 1)).view(features.shape[:2])
        # log sigma(x) as -softplus(-x): a logsigmoid would be exported as the log of a rounded sigmoid.
        return scores.sigmoid().log_softmax(1) if self.softmax else -softplus(-scores)


class MeanAggregation(nn.Module):
    """The plain mean of the regions' features: without regions, the plain backbone itself."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.width = features

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Average the regions."""
        ones = torch.ones_like(features[..., 0])
        return Aggregated(features.mean(1), ones, ones, ones / ones.shape[1])  # (B, D), (B, R) three times


class SelfAttention(nn.Module):
    """Self-attention only: P is the content representation F_m (eq. 3 and 4)."""

    def __init__(self, features: int, squash: Squash = "sigmoid") -> None:
        super().__init__()
        self.width = features
        self.self_weight = RegionWeight(features, squash)

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Weigh and sum the regions."""
        log_mu = self.self_weight(features)  # (B, R)
        share = log_mu.softmax(1)
        return Aggregated(_mixed(features, share), log_mu.exp(), torch.ones_like(log_mu), share)


class RelationAttention(nn.Module):
    """Self-attention, then relation-attention of each region against the whole (eq. 3 to 6)."""

    def __init__(self, features: int, squash: Squash = "sigmoid") -> None:
        super().__init__()
        self.width = 2 * features
        self.self_weight = RegionWeight(features, squash)
        self.relation_weight = RegionWeight(2 * features, squash)

    def forward(self, features: Tensor) -> Aggregated:  # (B, R, D)
        """Weigh each region by itself, then by its relation to all of them."""
        log_mu = self.self_weight(features)  # (B, R)
        content = _mixed(features, log_mu.softmax(1))  # (B, D), F_m: mu_i / sum mu is a softmax of log mu
        pairs = torch.cat([features, content.unsqueeze(1).expand_as(features)], dim=-1)  # (B, R, 2D)
        log_nu = self.relation_weight(pairs)  # (B, R)
        share = (log_mu + log_nu).softmax(1)  # mu_i nu_i / sum mu nu
        return Aggregated(_mixed(pairs, share), log_mu.exp(), log_nu.exp(), share)  # P is (B, 2D)


def _mixed(features: Tensor, shares: Tensor) -> Tensor:
    """Sum (B, R, D) over the regions with shares (B, R)."""
    return (shares.unsqueeze(-1) * features).sum(1)
