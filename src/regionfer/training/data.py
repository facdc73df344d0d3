"""Training faces in memory, and the order in which they are seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regionfer.datasets.manifest import Manifest, ReadableFaces
from regionfer.training.recipe import DataRecipe


@dataclass(frozen=True, eq=False)
class FaceData:
    """Faces with what is known about them.

    Attributes:
        faces: (n, S, S, 3) uint8 RGB.
        labels: (n,) int64.
        targets: (n, C) float32, vote shares, rows sum to 1; or to 0, for a face that teaches no expression.
        landmarks: (n, 5, 2) float32 in 0..1 of the face, or None.
        seen: (n,) float32, 1 where somebody looked and something covers the face, 0 where nothing does, NaN where
            nobody looked; or None.
        poses: (n, 3) float32 yaw, pitch, roll in degrees, NaN where unknown; or None.
        turned: (n,) bool, which are training faces drawn anew at their pose; or None.
    """

    faces: Tensor
    labels: NDArray[np.int64]
    targets: Tensor
    landmarks: Tensor | None = None
    seen: Tensor | None = None
    poses: Tensor | None = None
    turned: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: NDArray[np.intp]) -> "FaceData":
        """Some of the faces, in this order."""
        index = torch.from_numpy(rows)
        known = (self.landmarks, self.seen, self.poses, self.turned)
        return FaceData(
            self.faces[index], self.labels[rows], self.targets[index], *(None if x is None else x[index] for x in known)
        )

    def with_turned(self, faces: NDArray[np.uint8], sources: NDArray[np.intp], poses: Tensor) -> "FaceData":
        """These and m more, which show faces of these at other poses and teach no expression.

        Args:
            faces: (m, S, S, 3) uint8 RGB.
            sources: (m,) which of these each shows: it is drawn as often as its label says.
            poses: (m, 3) yaw, pitch and roll in degrees.
        """
        m, landmarks = len(faces), self.landmarks
        unknown = torch.full((m,), torch.nan)
        if landmarks is not None:
            landmarks = torch.cat([landmarks, landmarks.mean(0, keepdim=True).expand(m, -1, -1)])
        return FaceData(
            faces=torch.cat([self.faces, torch.from_numpy(faces)]),
            labels=np.concatenate([self.labels, self.labels[sources]]),
            targets=torch.cat([self.targets, torch.zeros(m, self.targets.shape[1])]),
            landmarks=landmarks,
            seen=None if self.seen is None else torch.cat([self.seen, unknown]),
            poses=torch.cat([unknown.new_full((len(self), 3), torch.nan) if self.poses is None else self.poses, poses]),
            turned=torch.arange(len(self) + m) >= len(self),
        )

    @classmethod
    def of(cls, readable: ReadableFaces) -> "FaceData":
        """Decoded face crops of a manifest; those of a prepared corpus stay on the disk.

        Landmarks come along where the manifest has both pixels and landmarks, as a prepared corpus does.
        """
        manifest = readable.manifest
        return cls(
            faces=torch.from_numpy(readable.faces),
            labels=manifest.labels,
            targets=torch.from_numpy(manifest.targets),
            landmarks=_landmarks(manifest),
        )


def _landmarks(manifest: Manifest) -> Tensor | None:
    """Landmarks in 0..1 of the faces; a face without them gets the mean of the others."""
    if manifest.landmarks is None or manifest.pixels is None or np.isnan(manifest.landmarks).all(0).any():
        return None
    height, width = manifest.pixels.shape[1:3]
    points = manifest.landmarks / np.array([width, height], dtype=np.float32)
    filled = np.where(np.isnan(points), np.nanmean(points, axis=0), points)
    return torch.from_numpy(filled.astype(np.float32))


def blended_targets(data: FaceData, soft: float) -> Tensor:
    """Training targets (n, C): ``soft`` parts of vote shares, the rest on the label alone; none for a face without."""
    hard = torch.nn.functional.one_hot(torch.from_numpy(data.labels), data.targets.shape[1]).float()
    return soft * data.targets + (1 - soft) * hard * data.targets.sum(1, keepdim=True).round()


def class_weights(data: FaceData, balance: float) -> Tensor:
    """Factors of the classes in the loss, (C,): counts to the power of ``-balance``, on average 1 over the faces."""
    counts = np.bincount(data.labels, minlength=data.targets.shape[1])
    weights = np.maximum(counts, 1).astype(np.float64) ** -balance
    return torch.from_numpy(weights / (weights * counts).sum() * counts.sum()).float()


def step_rows(labels: NDArray[np.int64], recipe: DataRecipe, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Rows of each step of an epoch, (batch,) each; a last incomplete step is left out.

    The order depends on seed and epoch alone, so a resumed run goes on as if it had never stopped.
    """
    generator = torch.Generator().manual_seed(mixed_seed(seed, epoch))
    order = _epoch_rows(labels, recipe, generator)
    for start in range(0, len(order) - batch + 1, batch):
        yield order[start : start + batch]


def epoch_size(labels: NDArray[np.int64], recipe: DataRecipe) -> int:
    """Faces that an epoch sees."""
    if recipe.sampling != "undersample":
        return len(labels)
    counts = np.bincount(labels)
    return int(counts[counts > 0].min() * (counts > 0).sum())


def _epoch_rows(labels: NDArray[np.int64], recipe: DataRecipe, generator: torch.Generator) -> Tensor:
    order = torch.randperm(len(labels), generator=generator)
    if recipe.sampling == "natural":
        return order
    counts = np.bincount(labels)
    if recipe.sampling == "oversample":
        chance = torch.from_numpy(counts[labels].astype(np.float64) ** -recipe.balance)
        return torch.multinomial(chance, len(labels), replacement=True, generator=generator)
    shuffled = labels[order.numpy()]
    rarest = counts[counts > 0].min()
    kept = np.concatenate([np.flatnonzero(shuffled == label)[:rarest] for label in np.flatnonzero(counts)])
    return order[torch.from_numpy(np.sort(kept))]


def mixed_seed(*parts: int) -> int:
    """One well-mixed seed out of several numbers, such as seed, epoch and step."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
