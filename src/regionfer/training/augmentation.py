"""Random variations of training faces, for a whole batch at once.

All randomness comes from one generator and is drawn for the whole global batch, so that a resumed run, or one spread
over processes, sees exactly the faces that an uninterrupted run in one process sees.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from regionfer.models.classifier import MIRRORED
from regionfer.models.resampling import crop_regions
from regionfer.occluders import draw_cover, draw_occluder
from regionfer.regions import TYPICAL_LANDMARKS
from regionfer.training.recipe import AugmentationRecipe

COVER_SIDE = 48
"""Side at which what covers a face is drawn, pixels over the whole picture: about as sharp as the faces themselves."""

SIDES = 12, 16, 20, 24, 32
"""What may be left of a face that is made coarse, pixels over its side."""

FULL_SIDE = COVER_SIDE
"""Stands for a face that is left as it is."""


@dataclass(frozen=True, eq=False)
class Variation:
    """How each of B faces is varied.

    Attributes:
        affine: (B, 2, 3), from places in the varied picture to places in the face, both in -1..1.
        contrast: (B,) factor around the mean.
        brightness: (B,) shift, share of the full range.
        alpha: (B, T, T) opacity, 0..1, of what lies over the varied picture.
        cover: (B, T, T, 3) uint8 RGB, its colour.
        side: (B,) pixels over the face that are left of it, at most ``FULL_SIDE``, which leaves it as it is.
        overturned: (B,) bool, whether it stands on its head.
    """

    affine: Tensor
    contrast: Tensor
    brightness: Tensor
    alpha: Tensor
    cover: Tensor
    side: Tensor
    overturned: Tensor

    def rows(self, rows: slice) -> "Variation":
        """The variation of some of the faces."""
        return Variation(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> "Variation":
        """The same on another device."""
        return Variation(**{name: value.to(device) for name, value in vars(self).items()})


def draw_variation(
    recipe: AugmentationRecipe,
    faces: int,
    generator: torch.Generator,
    *,
    landmarks: Tensor | None = None,
    skins: Tensor | None = None,
    rotation_limits: Tensor | None = None,
) -> Variation:
    """Draw a variation for each of some faces.

    Args:
        recipe: how much is varied.
        faces: how many, B.
        generator: source of all randomness.
        landmarks: (B, 5, 2), x y in 0..1 of the faces, where masks and glasses sit; typical ones if not given.
        skins: (B, 3) RGB in 0..255, of which hands are; drawn if not given.
        rotation_limits: (B,) degrees by which each is rolled at most, where that is less than the recipe's rotation.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(faces).uniform_(low, high, generator=generator)

    def chance(probability: float) -> Tensor:
        return uniform(0, 1) < probability

    mirror = torch.where(chance(recipe.flip), -1.0, 1.0)
    angle = uniform(-recipe.rotation, recipe.rotation) * (math.pi / 180)
    if rotation_limits is not None and recipe.rotation:
        angle = angle * (rotation_limits / recipe.rotation).clamp_max(1.0)
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
    # Nothing is drawn for recipes without, so that they go on drawing what they always did.
    overturned = chance(recipe.overturn) if recipe.overturn else torch.zeros(faces, dtype=torch.bool)
    affine[overturned, :, :2] *= -1  # half a turn
    covered = chance(recipe.occlude)
    typical = torch.tensor(TYPICAL_LANDMARKS).expand(faces, -1, -1)
    places = moved_points(typical if landmarks is None else landmarks, affine)
    seed = int(torch.randint(2**62, (1,), generator=generator))
    rng = np.random.default_rng(seed)
    alpha, cover = _covers(recipe, covered, places, skins, rng)
    contrast = 1 + uniform(-recipe.contrast, recipe.contrast)
    brightness = uniform(-recipe.brightness, recipe.brightness)
    # Drawn last, so that recipes without them draw what they did before there were any.
    for row in chance(recipe.hide).nonzero()[:, 0].tolist():
        alpha[row], cover[row] = 1, torch.from_numpy(draw_cover(rng, COVER_SIDE))
    sides = torch.tensor(SIDES)[torch.randint(len(SIDES), (faces,), generator=generator)]
    side = torch.where(chance(recipe.coarse), sides, FULL_SIDE)
    return Variation(affine, contrast, brightness, alpha, cover, side, overturned)


def _covers(
    recipe: AugmentationRecipe, covered: Tensor, places: Tensor, skins: Tensor | None, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """What lies over each face: opacity (B, T, T) and colour (B, T, T, 3)."""
    alpha = np.zeros((len(covered), COVER_SIDE, COVER_SIDE), dtype=np.float32)
    cover = np.zeros((*alpha.shape, 3), dtype=np.uint8)
    for row in covered.nonzero()[:, 0].tolist():
        kind = recipe.occluders[int(rng.integers(len(recipe.occluders)))]
        skin = None if skins is None else skins[row].numpy()
        occluder = draw_occluder(kind, rng, COVER_SIDE, landmarks=places[row].numpy(), skin=skin)
        alpha[row], cover[row] = occluder.alpha, occluder.colour
    return torch.from_numpy(alpha), torch.from_numpy(cover)


def vary(planes: Tensor, size: int, variation: Variation, cover: Tensor) -> Tensor:
    """Apply a variation and bring faces to the network's input size, in one sampling.

    Args:
        planes: (B, C, H, W) in 0..255.
        size: side of the result.
        variation: one for each face.
        cover: (B, C, T, T) in 0..255, the variation's cover as planes like those of the faces.

    Returns:
        (B, C, size, size) in 0..255.
    """
    if planes.shape[-1] > size:  # grid_sample does not smooth when it shrinks
        planes = crop_regions(planes, planes.new_tensor([[0.0, 0.0, 1.0, 1.0]]), size)[:, 0]
    planes = _coarse(planes, variation.side)
    grid = F.affine_grid(variation.affine, [len(planes), 1, size, size], align_corners=False)
    pictures = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    mean = pictures.mean((1, 2, 3), keepdim=True)
    pictures = (pictures - mean) * _column(variation.contrast) + mean + 255 * _column(variation.brightness)
    over = F.interpolate(torch.cat([variation.alpha.unsqueeze(1), cover], dim=1), size=(size, size), mode="bilinear")
    return pictures.clamp(0, 255).lerp(over[:, 1:], over[:, :1])


def _coarse(planes: Tensor, sides: Tensor) -> Tensor:
    """Faces (B, C, H, W) with as much detail left as so many pixels (B,) hold; at ``FULL_SIDE`` as they are."""
    left = {*sides.tolist()}
    if left == {FULL_SIDE}:
        return planes
    planes = planes.clone()
    for side in left:
        if side < min(FULL_SIDE, planes.shape[-1]):
            rows = sides == side
            small = F.interpolate(planes[rows], size=(side, side), mode="area")
            planes[rows] = F.interpolate(small, size=planes.shape[-2:], mode="bilinear", align_corners=False)
    return planes


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


def turned_poses(poses: Tensor, affine: Tensor) -> Tensor:
    """Head poses in the varied pictures.

    Yaw and roll change sign in a mirror image, and roll follows a turn of the picture.

    Args:
        poses: (B, 3) yaw, pitch, roll in degrees, signs as in `regionfer.results.Pose`.
        affine: (B, 2, 3) of the variation.
    """
    linear = affine[:, :, :2]
    side = torch.linalg.det(linear).sign()  # -1 for a mirror image
    across = torch.linalg.solve(linear, torch.tensor([1.0, 0.0]).expand(len(affine), 2)) * side[:, None]
    turn = torch.atan2(across[:, 1], across[:, 0]) * (180 / math.pi)
    yaw, pitch, roll = poses.unbind(1)
    return torch.stack([side * yaw, pitch, side * roll + turn], dim=1)


def drop_factors(faces: int, width: int, dropout: float, generator: torch.Generator) -> Tensor:
    """Factors (faces, width) of inverted dropout: 0 for the share that is dropped, else 1 / (1 - dropout)."""
    return (torch.rand(faces, width, generator=generator) >= dropout).float() / (1 - dropout)


def _column(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)
