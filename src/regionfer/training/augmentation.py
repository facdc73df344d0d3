"""Random variations of training faces, for a whole batch at once.

All randomness comes from one generator and is drawn for the whole global batch, so that a resumed run, or one spread
over processes, sees exactly the faces that an uninterrupted run in one process sees.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from regionfer.models.classifier import MIRRORED
from regionfer.models.resampling import crop_regions
from regionfer.training.recipe import AugmentationRecipe

TEXTURE = 8
"""Side of the random texture that fills an erased box, samples over the whole picture."""


@dataclass(frozen=True, eq=False)
class Variation:
    """How each of B faces is varied.

    Attributes:
        affine: (B, 2, 3), from places in the varied picture to places in the face, both in -1..1.
        contrast: (B,) factor around the mean.
        brightness: (B,) shift, share of the full range.
        erased: (B, 4) box x1 y1 x2 y2 in 0..1 of the varied picture; empty boxes erase nothing.
        fill: (B, 1, T, T) grey values 0..255 that are stretched over the picture and seen in the erased box.
    """

    affine: Tensor
    contrast: Tensor
    brightness: Tensor
    erased: Tensor
    fill: Tensor

    def rows(self, rows: slice) -> "Variation":
        """The variation of some of the faces."""
        return Variation(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> "Variation":
        """The same on another device."""
        return Variation(**{name: value.to(device) for name, value in vars(self).items()})


def draw_variation(recipe: AugmentationRecipe, faces: int, generator: torch.Generator) -> Variation:
    """Draw a variation for each of ``faces`` faces."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(faces).uniform_(low, high, generator=generator)

    def chance(probability: float) -> Tensor:
        return uniform(0, 1) < probability

    mirror = torch.where(chance(recipe.flip), -1.0, 1.0)
    angle = uniform(-recipe.rotation, recipe.rotation) * (math.pi / 180)
    scale = 1 + uniform(-recipe.scale, recipe.scale)
    aspect = 1 + uniform(-recipe.aspect, recipe.aspect)
    shift = [uniform(-2 * recipe.shift, 2 * recipe.shift) for _ in range(2)]  # the side is 2 long
    cosine, sine = angle.cos() / scale, angle.sin() / scale
    affine = torch.stack(
        [
            torch.stack([mirror * cosine * aspect, -mirror * sine, shift[0]], dim=1),
            torch.stack([sine * aspect, cosine, shift[1]], dim=1),
        ],
        dim=1,
    )
    return Variation(
        affine=affine,
        contrast=1 + uniform(-recipe.contrast, recipe.contrast),
        brightness=uniform(-recipe.brightness, recipe.brightness),
        erased=_erased_boxes(uniform(*recipe.erase_area) * chance(recipe.erase), uniform),
        fill=_fills(faces, chance(0.5), generator),
    )


def _erased_boxes(area: Tensor, uniform: Callable[[float, float], Tensor]) -> Tensor:
    """Boxes (B, 4) of given areas, sides at most 2:1, anywhere within the face."""
    stretch = (uniform(-1, 1) * math.log(2) / 2).exp()
    sides = torch.stack([area.sqrt() * stretch, area.sqrt() / stretch], dim=1).clamp_max(1)
    corner = torch.stack([uniform(0, 1), uniform(0, 1)], dim=1) * (1 - sides)
    return torch.cat([corner, corner + sides], dim=1)


def _fills(faces: int, plain: Tensor, generator: torch.Generator) -> Tensor:
    """One grey value for the ``plain`` ones, a coarse random texture for the others."""
    texture = torch.empty(faces, 1, TEXTURE, TEXTURE).uniform_(0, 255, generator=generator)
    return torch.where(_column(plain), texture[:, :, :1, :1], texture)


def vary(planes: Tensor, size: int, variation: Variation) -> Tensor:
    """Apply a variation and bring faces to the network's input size, in one sampling.

    Args:
        planes: (B, C, H, W) in 0..255.
        size: side of the result.
        variation: one for each face.

    Returns:
        (B, C, size, size) in 0..255.
    """
    if planes.shape[-1] > size:  # grid_sample does not smooth when it shrinks
        planes = crop_regions(planes, planes.new_tensor([[0.0, 0.0, 1.0, 1.0]]), size)[:, 0]
    grid = F.affine_grid(variation.affine, [len(planes), 1, size, size], align_corners=False)
    pictures = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    pictures = (pictures - mean) * _column(variation.contrast) + mean + 255 * _column(variation.brightness)
    fill = F.interpolate(variation.fill, size=(size, size), mode="bilinear", align_corners=False)
    return torch.where(inside(variation.erased, size), fill, pictures.clamp(0, 255))


def moved_points(points: Tensor, affine: Tensor) -> Tensor:
    """Where the points of a face are in its varied picture.

    Args:
        points: (B, 5, 2) landmarks, x y in 0..1 of the face.
        affine: (B, 2, 3) of the variation.

    Returns:
        (B, 5, 2) in 0..1 of the varied picture; in a mirror image left and right have changed places.
    """
    linear, shift = affine[:, :, :2], affine[:, :, 2]
    moved = torch.linalg.solve(linear, (2 * points - 1 - shift[:, None]).transpose(1, 2)).transpose(1, 2)
    moved = (moved + 1) / 2
    mirrored = torch.linalg.det(linear) < 0
    return torch.where(mirrored[:, None, None], moved[:, MIRRORED], moved)


def covered_share(regions: Tensor, erased: Tensor) -> Tensor:
    """Share of each region that lies in the erased box.

    Args:
        regions: (R, 4) or (B, R, 4), x1 y1 x2 y2 in 0..1.
        erased: (B, 4), one box a face.

    Returns:
        (B, R) in 0..1.
    """
    low = torch.maximum(regions[..., :2], erased[:, None, :2])
    high = torch.minimum(regions[..., 2:], erased[:, None, 2:])
    area = (regions[..., 2:] - regions[..., :2]).prod(-1)
    return (high - low).clamp_min(0).prod(-1) / area.clamp_min(1e-9)


def drop_factors(faces: int, width: int, dropout: float, generator: torch.Generator) -> Tensor:
    """Factors (faces, width) of inverted dropout: 0 for the share that is dropped, else 1 / (1 - dropout)."""
    return (torch.rand(faces, width, generator=generator) >= dropout).float() / (1 - dropout)


def inside(boxes: Tensor, size: int) -> Tensor:
    """Which samples of a square lie in each box, (B, 1, size, size) bool."""
    centres = (torch.arange(size, device=boxes.device) + 0.5) / size
    x1, y1, x2, y2 = (edge[:, None] for edge in boxes.unbind(1))
    columns, rows = (centres >= x1) & (centres < x2), (centres >= y1) & (centres < y2)
    return (rows[:, :, None] & columns[:, None, :]).unsqueeze(1)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
