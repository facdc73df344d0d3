"""Crop and resize in one differentiable step, alike for pictures and for feature maps; and turn maps.

A bilinear crop of an upright box is separable: every output row is a weighted mean of input rows, every
output column one of input columns. Written as two small matrix products it trains, exports to ONNX
without custom operators, and gives the same numbers in both, which `torchvision.ops.roi_align` and
`grid_sample` do not promise. When a box shrinks, the kernel widens with it, so nothing aliases.
"""

import math

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
    width = ((high - low) * (source / target)).clamp_min(1.0)[..., None, None]
    return _weights_around(centres, source, width)  # (..., T, S)


def _weights_around(centres: Tensor, source: int, width: Tensor | float) -> Tensor:
    """Weights (..., source) of an axis's samples, falling to 0 at ``width`` samples from centres (...) in 0..1."""
    places = (centres * source - 0.5).clamp(0, source - 1)
    samples = torch.arange(source, dtype=centres.dtype, device=centres.device)
    weights = (1 - (places[..., None] - samples).abs() / width).clamp_min(0.0)
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


def turn_upright(maps: Tensor, turns: Tensor, size: int) -> Tensor:
    """Turn small feature maps back and resample each; without a turn as `crop_regions` of the whole.

    What lies beyond the edge is its nearest sample. A turn is not separable, so every output sample has a weight for
    every input sample: cheap for maps of ten samples a side, not for pictures.

    Args:
        maps: (B, C, S, S).
        turns: (B,) degrees by which each is turned clockwise, as seen.
        size: side of the result, samples.

    Returns:
        (B, C, size, size), in the type of ``maps``.

    Raises:
        ValueError: the maps are not square.
    """
    side = maps.shape[-1]
    if maps.shape[-2] != side:
        raise ValueError(f"maps to turn must be square, got {maps.shape[-2]} x {side}")
    width = max(side / size, 1.0)
    angles = turns.float() * (math.pi / 180)
    cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
    centres = (torch.arange(size, device=maps.device) + 0.5) / size - 0.5  # from the middle
    y, x = centres.repeat_interleave(size), centres.repeat(size)  # (size * size,)
    rows = _weights_around(0.5 + sine * x + cosine * y, side, width)  # (B, size * size, S)
    columns = _weights_around(0.5 + cosine * x - sine * y, side, width)
    weights = (rows[..., :, None] * columns[..., None, :]).flatten(2).to(maps.dtype)  # (B, size * size, S * S)
    turned = weights @ maps.flatten(2).transpose(1, 2)  # (B, size * size, C)
    return turned.transpose(1, 2).reshape(-1, maps.shape[1], size, size)


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
