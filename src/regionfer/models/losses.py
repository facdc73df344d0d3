"""The losses of RAN."""

import torch
from torch import Tensor


def region_biased_loss(mu: Tensor, margin: float = 0.02) -> Tensor:
    """RB-loss: some crop should weigh more than the whole face, by a margin.

    ``max(0, margin - (mu_max - mu_0))``, mu_max over the crops only (Wang et al., 2020, eq. 8), averaged over the
    faces.

    Args:
        mu: (B, R) self-attention weights, region 0 the whole face, R > 1.
        margin: alpha of the paper.

    >>> region_biased_loss(torch.tensor([[0.5, 0.4, 0.3]]), margin=0.02).item()  # 0.02 - (0.4 - 0.5)
    0.11999999731779099
    """
    return (margin - (mu[:, 1:].amax(1) - mu[:, 0])).clamp_min(0).mean()


def soft_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy against a distribution, averaged over the faces.

    Args:
        logits: (B, C).
        target: (B, C), rows sum to 1.
    """
    return -(target * torch.log_softmax(logits.float(), dim=1)).sum(1).mean()


def visibility_loss(mu: Tensor, covered: Tensor, margin: float = 0.2) -> Tensor:
    """A region that is more covered should weigh less: this project's extension of the RB-loss.

    For each two regions of a face, ``max(0, margin * (c_i - c_j) - (mu_j - mu_i))`` where region i is more covered
    than j; averaged over such pairs, weighted by how much their coverage differs.

    Args:
        mu: (B, R) self-attention weights.
        covered: (B, R) in 0..1, known share of each region that is hidden.
        margin: difference of weight asked for between a hidden region and a visible one.

    >>> visibility_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])).item()
    0.20000000298023224
    """
    difference = (covered[:, :, None] - covered[:, None, :]).clamp_min(0)  # (B, R, R), i more covered than j
    advantage = mu[:, None, :] - mu[:, :, None]  # (B, R, R), mu_j - mu_i
    shortfall = (margin * difference - advantage).clamp_min(0)
    return (difference * shortfall).sum() / difference.sum().clamp_min(1e-6)
