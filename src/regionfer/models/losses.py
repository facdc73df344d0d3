"""The losses of RAN."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss


def region_biased_loss(mu: Tensor, margin: float = 0.02) -> Tensor:
    """RB-loss: some crop should weigh more than the whole face, by a margin.

    ``max(0, margin - (mu_max - mu_0))``, mu_max over the crops only (Wang et al., 2020, eq. 8), averaged over the
    faces.

    Args:
        mu: (B, R) self-attention weights, region 0 the whole face, R > 1; or any other weights of the regions.
        margin: alpha of the paper.

    >>> round(region_biased_loss(torch.tensor([[0.5, 0.4, 0.3]]), margin=0.02).item(), 5)  # 0.02 - (0.4 - 0.5)
    0.12
    """
    return (margin - (mu[:, 1:].amax(1) - mu[:, 0])).clamp_min(0).mean()


def soft_cross_entropy(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Cross-entropy against a distribution, averaged over the faces.

    Args:
        logits: (B, C).
        target: (B, C), rows sum to 1.
        class_weights: (C,) factors of the classes; 1 if not given.
    """
    weighted = target if class_weights is None else target * class_weights
    return -(weighted * torch.log_softmax(logits.float(), dim=1)).sum(1).mean()


def coverage_differences(covered: Tensor) -> Tensor:
    """How much more region i is covered than region j, 0 where it is not, (B, R, R) for (B, R)."""
    return (covered[:, :, None] - covered[:, None, :]).clamp_min(0)


def visibility_loss(mu: Tensor, covered: Tensor, margin: float = 0.2, total: Tensor | None = None) -> Tensor:
    """A region that is more covered should weigh less: this project's extension of the RB-loss.

    For each two regions of a face, ``max(0, margin * (c_i - c_j) - (mu_j - mu_i))`` where region i is more covered
    than j; averaged over such pairs, weighted by how much their coverage differs.

    Args:
        mu: (B, R) self-attention weights, or any other weights of the regions.
        covered: (B, R) in 0..1, known share of each region that is hidden.
        margin: difference of weight asked for between a hidden region and a visible one.
        total: what the weighted sum is divided by, where these are a part of a larger batch; the sum of the weights of
            these faces if not given.

    >>> round(visibility_loss(torch.tensor([[0.5, 0.5]]), torch.tensor([[1.0, 0.0]])).item(), 5)
    0.2
    """
    difference = coverage_differences(covered)
    advantage = mu[:, None, :] - mu[:, :, None]  # (B, R, R), mu_j - mu_i
    shortfall = (margin * difference - advantage).clamp_min(0)
    return (difference * shortfall).sum() / (difference.sum() if total is None else total).clamp_min(1e-6)


def coverage_loss(coverage: Tensor, alpha: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Cross-entropy of the covered share of each sample of a map, averaged over samples and faces.

    Args:
        coverage: (B, h, w) logits.
        alpha: (B, h, w) in 0..1, the known shares.
        weights: (B,) of the faces, 0 where the shares are not known.
        total: what the weighted sum over faces is divided by: the sum of the weights of the whole batch.
    """
    each = binary_cross_entropy_with_logits(coverage, alpha, reduction="none").mean((1, 2))
    return (each * weights).sum() / total.clamp_min(1e-6)


def occluded_loss(logits: Tensor, occluded: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """Cross-entropy of whether anything covers a face.

    Args:
        logits: (B,).
        occluded: (B,) 1 or 0; anything where the weight is 0.
        weights: (B,) of the faces, 0 where it is not known.
        total: what the weighted sum is divided by: the sum of the weights of the whole batch.

    >>> logits, known = torch.tensor([0.0, 9.0]), torch.tensor([1.0, 0.0])
    >>> round(occluded_loss(logits, known, known, torch.tensor(1.0)).item(), 4)  # log 2; the second is not known
    0.6931
    """
    each = binary_cross_entropy_with_logits(logits, occluded, weight=weights, reduction="sum")
    return each / total.clamp_min(1e-6)


def pose_loss(pose: Tensor, known: Tensor, weights: Tensor, total: Tensor, scale: float) -> Tensor:
    """Smooth L1 distance of head poses, or of some of their K angles, in units of ``scale`` degrees.

    Args:
        pose: (B, K) in units of ``scale``.
        known: (B, K) in degrees, NaN where unknown.
        weights: (B,) of the faces, 0 where the pose is not known.
        total: what the weighted sum over faces is divided by: the sum of the weights of the whole batch.
        scale: degrees of a unit.
    """
    usable = known.isfinite().all(1)
    distances = smooth_l1_loss(pose[usable], known[usable] / scale, beta=0.1, reduction="none").sum(1)
    return (distances * weights[usable]).sum() / total.clamp_min(1e-6)
