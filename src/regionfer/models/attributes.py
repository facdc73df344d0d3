"""What the network says of a face besides its expression: what covers it, and how it is turned.

Not of the paper. The heads read the feature map of one stage of the backbone and give nothing back to it: their
gradient stops there, so that a network learns the same expressions with and without them.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from regionfer.models.resampling import crop_regions, interval_shares, turn_upright

POSE_SCALE = 45.0
"""Degrees that an output of 1 of the pose head means."""

CELLS = 5
"""Side of the map that head pose is read from."""

POSE_WIDTH = 256
"""Hidden units of the pose head."""

ROLL_WIDTH = 64
"""Hidden units of its first look, which only sees how the face is rolled."""

HALVES = ((0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0), (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))
"""The whole face, its upper, lower, left and right half, x1 y1 x2 y2."""


class AttributeLogits(NamedTuple):
    """What the heads give in training.

    Attributes:
        coverage: (B, h, w), logit of the covered share of each sample of the map.
        occluded: (B,), logit of the probability that something covers the face.
        pose: (B, 3), yaw, pitch and roll in units of ``POSE_SCALE``; None without a pose head.
        first_roll: (B, 1), roll at the first look, in the same units; None without a pose head.
    """

    coverage: Tensor
    occluded: Tensor
    pose: Tensor | None
    first_roll: Tensor | None

    def with_pose_of_mirror(self, mirrored: "AttributeLogits") -> "AttributeLogits":
        """The same, but for the pose: the mean over these faces and their mirror images, where yaw and roll change
        sign.
        """
        if self.pose is None or mirrored.pose is None:
            return self
        yaw, pitch, roll = mirrored.pose.unbind(1)
        return self._replace(pose=(self.pose + torch.stack([-yaw, pitch, -roll], dim=1)) / 2)


class Attributes(NamedTuple):
    """What is said of B faces with R regions.

    Attributes:
        visibility: (B, R) in 0..1, visible share of each region.
        occlusion: (B, 6) in 0..1: probability that something covers the face; covered share of the face, and of its
            upper, lower, left and right half, sides as in the image.
        pose: (B, 3), yaw, pitch and roll in degrees, signs as in `regionfer.results.Pose`; None without a pose head.
    """

    visibility: Tensor
    occlusion: Tensor
    pose: Tensor | None


class AttributeHeads(nn.Module):
    """Small heads on a feature map.

    Args:
        channels: C of the map.
        pose: whether to estimate the head pose.
        width: channels of the heads; the pose head has twice as many.
    """

    halves: Tensor

    def __init__(self, channels: int, *, pose: bool, width: int = 64) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, 2 * width, 1)
        self.mix = nn.Conv2d(2 * width, width, 3, padding=1)
        self.coverage = nn.Conv2d(width, 1, 1)
        self.occluded = nn.Linear(2 * width, 1)
        self.pose = PoseHead(channels, 2 * width) if pose else None
        self.register_buffer("halves", torch.tensor(HALVES), persistent=False)

    def forward(self, maps: Tensor) -> AttributeLogits:  # (B, C, h, w)
        """Read the heads off a map."""
        maps = maps.detach().float()
        mixed = relu(self.mix(relu(self.reduce(maps))))  # (B, W, h, w)
        pooled = torch.cat([mixed.mean((-2, -1)), mixed.amax((-2, -1))], dim=1)  # (B, 2W)
        pose, first_roll = (None, None) if self.pose is None else self.pose(maps)
        return AttributeLogits(self.coverage(mixed).squeeze(1), self.occluded(pooled).squeeze(1), pose, first_roll)

    def attributes(self, logits: AttributeLogits, regions: Tensor) -> Attributes:
        """Put into words what the heads gave.

        Args:
            logits: of B faces.
            regions: (R, 4) or (B, R, 4) boxes, x1 y1 x2 y2 in 0..1, the whole face among them.
        """
        covered = logits.coverage.sigmoid()  # (B, h, w)
        visibility = 1 - covered_share(regions, covered)
        halves = covered_share(self.halves, covered)  # (B, 5)
        occlusion = torch.cat([logits.occluded.sigmoid().unsqueeze(1), halves], dim=1)  # (B, 6)
        return Attributes(visibility, occlusion, None if logits.pose is None else logits.pose * POSE_SCALE)


class PoseHead(nn.Module):
    """Head pose from two looks at a square feature map, whatever its side.

    The first look sees how the face is rolled; then the map is turned upright by that, so that eyes, nose and mouth
    lie where they do in an upright face, and looked at again. The network itself runs once.

    Args:
        channels: C of the map.
        reduced: channels that are left of them.
    """

    whole: Tensor

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, reduced, 1)
        self.roll = nn.Sequential(nn.Linear(reduced * CELLS**2, ROLL_WIDTH), nn.ReLU(), nn.Linear(ROLL_WIDTH, 1))
        self.hidden = nn.Linear(reduced * CELLS**2, POSE_WIDTH)
        self.angles = nn.Linear(POSE_WIDTH, 3)
        self.register_buffer("whole", torch.tensor(HALVES[:1]), persistent=False)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:  # (B, C, h, w) -> (B, 3), (B, 1)
        """Yaw, pitch and roll, and the roll at the first look, in units of ``POSE_SCALE``."""
        reduced = self.reduce(maps)  # (B, W, h, w)
        first = self.roll(relu(crop_regions(reduced, self.whole, CELLS).flatten(1)))
        upright = turn_upright(reduced, first.squeeze(1) * POSE_SCALE, CELLS)
        yaw, pitch, rest = self.angles(relu(self.hidden(relu(upright).flatten(1)))).unbind(1)
        return torch.stack([yaw, pitch, rest + first.squeeze(1)], dim=1), first


def covered_share(regions: Tensor, alpha: Tensor) -> Tensor:
    """Share of each region that is covered.

    Args:
        regions: (R, 4) or (B, R, 4), x1 y1 x2 y2 in 0..1.
        alpha: (B, T, T) opacity, 0..1, of what covers each face.

    Returns:
        (B, R) in 0..1.
    """
    x1, y1, x2, y2 = regions.unbind(-1)
    rows, columns = (interval_shares(*edges, alpha.shape[-1]) for edges in ((y1, y2), (x1, x2)))  # (..., R, T)
    return (rows @ alpha * columns).sum(-1)
