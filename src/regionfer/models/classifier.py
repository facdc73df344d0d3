"""From aligned faces as they come to probabilities: the graph that is trained, evaluated and exported."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from regionfer.models.backbones import Preprocessing
from regionfer.models.ran import Prediction, RegionAttentionNetwork
from regionfer.models.resampling import crop_regions


class Classified(NamedTuple):
    """Outputs of the exported graph, in its order.

    Attributes:
        probabilities: (B, C), rows sum to 1.
        mu: (B, R) in 0..1, self-attention weights; region 0 is the whole face.
        nu: (B, R) in 0..1, relation-attention weights.
        attention: (B, R), share of each region in the decision, rows sum to 1.
    """

    probabilities: Tensor
    mu: Tensor
    nu: Tensor
    attention: Tensor


class ExpressionClassifier(nn.Module):
    """Preprocessing, network and temperature in one graph.

    Args:
        preprocessing: colour and normalisation.
        network: RAN or its plain baseline.
        size: side of the network's input, pixels.
        regions: (R - 1, 4) crop boxes used when none are given with the faces; None for a network without regions.
        temperature: divides the logits (Guo et al., 2017).
    """

    regions: Tensor | None
    temperature: Tensor

    def __init__(
        self,
        preprocessing: Preprocessing,
        network: RegionAttentionNetwork,
        size: int,
        regions: Tensor | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.network = network
        self.size = size
        self.register_buffer("regions", regions, persistent=False)
        self.register_buffer("temperature", torch.tensor(temperature), persistent=False)
        self.register_buffer("whole", torch.tensor([[0.0, 0.0, 1.0, 1.0]]), persistent=False)

    whole: Tensor

    def predict(self, faces: Tensor, regions: Tensor | None = None) -> Prediction:
        """Logits and weights of (B, H, W, 3) uint8 RGB faces; ``regions`` (B, R - 1, 4) replace the fixed ones."""
        planes = crop_regions(self.preprocessing.planes(faces), self.whole, self.size)[:, 0]  # (B, 1 or 3, S, S)
        return self.classify(planes, regions)

    def classify(self, planes: Tensor, regions: Tensor | None = None) -> Prediction:
        """The same for (B, 1 or 3, S, S) in 0..255, after augmentation has resampled them."""
        pictures = self.preprocessing(planes).contiguous(memory_format=torch.channels_last)
        prediction: Prediction = self.network(pictures, self.regions if regions is None else regions)
        return prediction

    def forward(self, faces: Tensor, regions: Tensor | None = None) -> Classified:
        """Classify (B, H, W, 3) uint8 RGB faces; ``regions`` (B, R - 1, 4) replace the fixed ones."""
        logits, mu, nu = prediction = self.predict(faces, regions)
        return Classified((logits / self.temperature).softmax(1), mu, nu, prediction.share)
