"""Crop and resize in one differentiable step, alike for pictures and for feature maps.

A bilinear crop of an upright box is separable: every output row is a weighted mean of input rows, every
output column one of input columns. Written as two small matrix products it trains, exports to ONNX
without custom operators, and gives the same numbers in both, which `torchvision.ops.roi_align` and
`grid_sample` do not promise. When a box shrinks, the kernel widens with it, so nothing aliases.
"""

import torch
from torch import Tensor


def interpolation_matrix(low: Tensor, high: Tensor, source: int, target: int) -> Tensor:
    """Weights that resample an axis of ``source`` samples to ``target`` samples of an interval.

    Sample centres lie at ``(i + 0.5) / source``, as in ``align_corners=False``. Beyond the axis the edge
    sample repeats.

    Args:
        low: (...) start of the interval, 0..1 of the axis.
        high: (...) end of the interval, 0..1 of the axis.
        source: samples of the input axis.
        target: samples of the output axis.

    Returns:
        (..., target, source), rows sum to 1.
    """
    offsets = (torch.arange(target, dtype=low.dtype, device=low.device) + 0.5) / target
    centres = low[..., None] + (high - low)[..., None] * offsets  # (..., T)
    centres = (centres * source - 0.5).clamp(0, source - 1)
    samples = torch.arange(source, dtype=low.dtype, device=low.device)
    width = ((high - low) * (source / target)).clamp_min(1.0)[..., None, None]
    weights = (1 - (centres[..., None] - samples).abs() / width).clamp_min(0.0)  # (..., T, S)
    return weights / weights.sum(-1, keepdim=True)


def crop_regions(maps: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Crop boxes out of pictures or feature maps and resample each to a square.

    Args:
        maps: (B, C, H, W).
        boxes: (R, 4) the same for all, or (B, R, 4); x1 y1 x2 y2 in 0..1, origin top left.
        size: side of the result, samples.

    Returns:
        (B, R, C, size, size), in the type of ``maps``.
    """
    channels, height, width = maps.shape[1:]
    x1, y1, x2, y2 = boxes.float().unbind(-1)
    rows = interpolation_matrix(y1, y2, height, size).to(maps.dtype)  # ([B,] R, size, H)
    columns = interpolation_matrix(x1, x2, width, size).to(maps.dtype)  # ([B,] R, size, W)
    # Channels stay innermost, as convolutions want them: few large products instead of many tiny ones, and no copy.
    lines = maps.permute(0, 2, 3, 1).reshape(-1, height, width * channels)
    cropped = rows.flatten(-3, -2) @ lines  # (B, R * size, W * C)
    cropped = cropped.view(-1, boxes.shape[-2], size, width, channels)
    cropped = columns.unsqueeze(-3) @ cropped  # (B, R, size, size, C)
    return cropped.permute(0, 1, 4, 2, 3)


def interval_shares(low: Tensor, high: Tensor, samples: int) -> Tensor:
    """Weights that average an axis over an interval, by the exact overlap of the interval with each sample.

    Args:
        low: (...) start of the interval, 0..1 of the axis.
        high: (...) end of the interval, 0..1 of the axis.
        samples: samples of the axis.

    Returns:
        (..., samples); they sum to 1, or to 0 for an empty interval.

    >>> interval_shares(torch.tensor(0.25), torch.tensor(1.0), 2)
    tensor([0.3333, 0.6667])
    """
    edges = torch.arange(samples, dtype=low.dtype, device=low.device) / samples
    shares = (high[..., None] - edges).clamp(0.0, 1 / samples) - (low[..., None] - edges).clamp(0.0, 1 / samples)
    return shares / shares.sum(-1, keepdim=True).clamp_min(1e-9)
