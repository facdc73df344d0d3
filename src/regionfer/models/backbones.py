"""Backbones: a row of stages that turns a normalised picture into a feature map, so that it can be cut anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torchvision
from torch import Tensor, nn

from regionfer.models.mobilenet import mobilenet_stages


@dataclass(frozen=True)
class Normalisation:
    """What a backbone's pretraining expects: ``(value - mean) / std``.

    Attributes:
        mean: three values in 0..255, in the order of ``channels``.
        std: three values in 0..255, in the order of ``channels``.
        channels: "rgb" or "bgr".
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "rgb"


class Backbone(nn.Module):
    """A convolutional network without its classifier, cut into stages.

    Attributes:
        stages: modules run one after the other; the last gives (B, D, h, w).
        features: D, the number of values of a feature.
        normalisation: how pictures in 0..255 are brought to what the first stage expects.
    """

    def __init__(self, stages: Sequence[nn.Module], features: int, normalisation: Normalisation) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.features = features
        self.normalisation = normalisation

    def forward(self, maps: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Run the stages ``start`` up to, not including, ``stop`` (default: all) on (B, C, H, W)."""
        for stage in self.stages[start:stop]:
            maps = stage(maps)
        return maps


class Preprocessing(nn.Module):
    """Faces as they come to normalised pictures; part of the exported graph, and used in training.

    Args:
        normalisation: what the backbone expects.
        grey: replace colour by luma (ITU-R BT.601), for networks trained on grey faces.
    """

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, normalisation: Normalisation, grey: bool) -> None:
        super().__init__()
        self.grey = grey
        self.reverse = normalisation.channels == "bgr"
        self.register_buffer("mean", torch.tensor(normalisation.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(normalisation.std).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("luma", torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1), persistent=False)

    def planes(self, faces: Tensor) -> Tensor:
        """Turn (B, H, W, 3) uint8 RGB into (B, 1 or 3, H, W) float32 in 0..255, grey or RGB."""
        planes = faces.permute(0, 3, 1, 2).float()
        return (planes * self.luma).sum(1, keepdim=True) if self.grey else planes

    def forward(self, planes: Tensor) -> Tensor:
        """Normalise (B, 1 or 3, S, S) in 0..255 to (B, 3, S, S), channels last in memory."""
        pictures = planes.expand(-1, 3, -1, -1)
        if self.reverse:
            pictures = pictures.flip(1)
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


IMAGENET = Normalisation(mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375))
VGGFACE2_CAFFE = Normalisation(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channels="bgr")


def mobilenetv1_face() -> Backbone:
    """MobileNetV1 as HSE_FaceRec_tf trained it for face recognition on VGGFace2: 14 stages, 1024 features."""
    return Backbone(mobilenet_stages(), features=1024, normalisation=VGGFACE2_CAFFE)


def resnet18() -> Backbone:
    """ResNet-18 of torchvision (He et al., 2016): the stem and 8 residual blocks, 9 stages, 512 features."""
    network = torchvision.models.resnet18()
    stem = nn.Sequential(network.conv1, network.bn1, network.relu, network.maxpool)
    blocks = [block for layer in (network.layer1, network.layer2, network.layer3, network.layer4) for block in layer]
    return Backbone([stem, *blocks], features=network.fc.in_features, normalisation=IMAGENET)


BACKBONES: Mapping[str, Callable[[], Backbone]] = MappingProxyType(
    {"mobilenetv1-face": mobilenetv1_face, "resnet18": resnet18}
)
"""Backbones by the name that recipes use."""
