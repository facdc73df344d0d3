"""From aligned faces as they come to probabilities: the graph that is trained, evaluated and exported."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from regionfer.models.backbones import Preprocessing
from regionfer.models.ran import Prediction, RegionAttentionNetwork
from regionfer.models.resampling import crop_regions

MIRRORED = [1, 0, 2, 4, 3]
"""Which of MTCNN's five landmarks each one becomes in a mirror image."""


class Classified(NamedTuple):
    """Outputs of the exported graph, in its order.

    Attributes:
        probabilities: (B, C), rows sum to 1.
        mu: (B, R) in 0..1, self-attention weights; region 0 is the whole face.
        nu: (B, R) in 0..1, relation-attention weights.
        attention: (B, R), share of each region in the decision, rows sum to 1.
        visibility: (B, R) in 0..1, visible share of each region.
        occlusion: (B, 6) in 0..1: probability that something covers the face; covered share of the face and of its
            upper, lower, left and right half.
        pose: (B, 3) yaw, pitch, roll in degrees.

    The last three are None for a network without such heads.
    """

    probabilities: Tensor
    mu: Tensor
    nu: Tensor
    attention: Tensor
    visibility: Tensor | None = None
    occlusion: Tensor | None = None
    pose: Tensor | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs that are there."""
        return tuple(name for name, value in self._asdict().items() if value is not None)


class LandmarkRegions(nn.Module):
    """Square crops around five landmarks, cut at the edge of the face.

    The same boxes as `regionfer.regions.landmark_regions`, inside the graph.

    Args:
        radii: half sides of the squares, shares of the face; one set of five crops a radius.
    """

    def __init__(self, radii: Sequence[float]) -> None:
        super().__init__()
        self.radii = tuple(radii)

    def forward(self, landmarks: Tensor) -> Tensor:
        """Boxes (B, 5 * len(radii), 4) around landmarks (B, 5, 2), x y in 0..1."""
        points = landmarks.clamp(0, 1)
        return torch.cat([torch.cat([points - r, points + r], dim=-1) for r in self.radii], dim=1).clamp(0, 1)


class ExpressionClassifier(nn.Module):
    """Preprocessing, network and temperature in one graph.

    The buffer ``prior_shift``, (C,), at first zeros, is added to the calibrated logits, to answer for another mix of
    classes than that of the training faces (Saerens et al., 2002, doi:10.1162/089976602753284446).

    Args:
        preprocessing: colour and normalisation.
        network: RAN or its plain baseline.
        size: side of the network's input, pixels.
        regions: (R - 1, 4) crop boxes, or how to place them around landmarks; None for a network without regions.
        temperature: divides the logits (Guo et al., 2017).
        flip: answer with the mean over a face and its mirror image, expression and pose, at twice the cost. The
            weights of the regions, and what covers them, stay those of the face as it is.
    """

    regions: Tensor | None
    temperature: Tensor
    prior_shift: Tensor
    whole: Tensor

    def __init__(
        self,
        preprocessing: Preprocessing,
        network: RegionAttentionNetwork,
        size: int,
        regions: Tensor | LandmarkRegions | None = None,
        temperature: float = 1.0,
        flip: bool = False,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network
        self.size = size
        self.flip = flip
        self.place_regions = regions if isinstance(regions, LandmarkRegions) else None
        boxes = None if isinstance(regions, LandmarkRegions) else regions
        self.register_buffer("regions", boxes, persistent=False)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)
        self.register_buffer("prior_shift", torch.zeros(network.classifier.out_features), persistent=False)
        self.register_buffer("whole", torch.tensor([[0.0, 0.0, 1.0, 1.0]]), persistent=False)

    def boxes(self, landmarks: Tensor | None = None) -> Tensor | None:
        """The crops of these faces, (R - 1, 4) or (B, R - 1, 4), or None for a network without regions.

        Raises:
            ValueError: the crops follow landmarks, and none are given.
        """
        if self.place_regions is None:
            return self.regions
        if landmarks is None:
            raise ValueError("the regions of this network follow the landmarks: landmarks must be given")
        boxes: Tensor = self.place_regions(landmarks)
        return boxes

    def pictures(self, faces: Tensor) -> Tensor:
        """What the network is given of (B, H, W, 3) uint8 RGB faces: (B, 3, S, S), normalised."""
        planes = crop_regions(self.preprocessing.planes(faces), self.whole, self.size)[:, 0]  # (B, 1 or 3, S, S)
        pictures: Tensor = self.preprocessing(planes)
        return pictures

    def predict(self, faces: Tensor, landmarks: Tensor | None = None) -> Prediction:
        """Logits and weights of (B, H, W, 3) uint8 RGB faces, with (B, 5, 2) landmarks in 0..1 where needed."""
        prediction: Prediction = self.network(self.pictures(faces), self.boxes(landmarks))
        return prediction

    def forward(self, faces: Tensor, landmarks: Tensor | None = None) -> Classified:
        """Classify (B, H, W, 3) uint8 RGB faces, with (B, 5, 2) landmarks in 0..1 where needed."""
        prediction = self.predict(faces, landmarks)
        probabilities, logits = self._calibrated(prediction), prediction.attributes
        if self.flip:
            mirrored = self.predict(faces.flip(2), None if landmarks is None else mirror_points(landmarks))
            probabilities = (probabilities + self._calibrated(mirrored)) / 2
            if logits is not None and mirrored.attributes is not None:
                logits = logits.with_pose_of_mirror(mirrored.attributes)
        classified = Classified(probabilities, prediction.mu, prediction.nu, prediction.share)
        if self.network.heads is None or logits is None:
            return classified
        crops = self.boxes(landmarks)
        crops = self.whole[:0] if crops is None else crops
        return classified._replace(**self.network.heads.attributes(logits, with_whole(crops))._asdict())

    def _calibrated(self, prediction: Prediction) -> Tensor:
        return (prediction.logits / self.temperature + self.prior_shift).softmax(1)


def with_whole(crops: Tensor) -> Tensor:
    """All that a network looks at, (R, 4) or (B, R, 4): the whole face, then the crops (R - 1, 4) or (B, R - 1, 4)."""
    whole = crops.new_tensor([0.0, 0.0, 1.0, 1.0]).expand(*crops.shape[:-2], 1, 4)
    return torch.cat([whole, crops], dim=-2)


def mirror_points(landmarks: Tensor) -> Tensor:
    """Landmarks (B, 5, 2) in 0..1 of the mirrored face; left and right change places."""
    x, y = landmarks.unbind(-1)
    return torch.stack([1 - x, y], dim=-1)[:, MIRRORED]
