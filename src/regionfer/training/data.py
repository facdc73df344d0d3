"""Training faces in memory, and the order in which they are seen."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regionfer.datasets.manifest import Manifest, load_faces


@dataclass(frozen=True, eq=False)
class FaceData:
    """Faces with what is known about them.

    Attributes:
        faces: (n, S, S, 3) uint8 RGB.
        labels: (n,) int64.
        targets: (n, C) float32, vote shares, rows sum to 1.
        landmarks: (n, 5, 2) float32 in 0..1 of the face, or None.
    """

    faces: Tensor
    labels: NDArray[np.int64]
    targets: Tensor
    landmarks: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def load(cls, manifest: Manifest, size: int) -> "FaceData":
        """Decode the face crops of a manifest at one size.

        Raises:
            ImageError: an image is missing or unreadable.
        """
        return cls(
            faces=torch.from_numpy(load_faces(manifest, size)),
            labels=manifest.labels,
            targets=torch.from_numpy(manifest.targets),
        )


def blended_targets(data: FaceData, soft: float) -> Tensor:
    """Training targets (n, C): ``soft`` parts of vote shares, the rest on the label alone."""
    hard = torch.nn.functional.one_hot(torch.from_numpy(data.labels), data.targets.shape[1]).float()
    return soft * data.targets + (1 - soft) * hard


def step_rows(n: int, batch: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Rows of each step of an epoch, (batch,) each; a last incomplete step is left out.

    The order depends on seed and epoch alone, so a resumed run goes on as if it had never stopped.
    """
    order = torch.randperm(n, generator=torch.Generator().manual_seed(mixed_seed(seed, epoch)))
    for start in range(0, n - batch + 1, batch):
        yield order[start : start + batch]


def mixed_seed(*parts: int) -> int:
    """One well-mixed seed out of several numbers, such as seed, epoch and step."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
