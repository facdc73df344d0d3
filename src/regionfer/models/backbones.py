"""Backbones: a row of stages that turns a normalised picture into a feature map, so that it can be cut anywhere."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn

from regionfer.models.dlib_resnet import dlib_resnet_stages
from regionfer.models.mobilenet import mobilenet_stages
from regionfer.models.trunks import (
    Triple,
    TrunkError,
    build_network,
    cut_trunk,
    imagenet_normalisation,
    network_names,
)


@dataclass(frozen=True)
class Normalisation:
    """What a backbone's pretraining expects: ``(value - mean) / std``.

    Attributes:
        mean: three values in 0..255, in the order of ``channels``.
        std: three values in 0..255, in the order of ``channels``.
        channels: "rgb" or "bgr".
    """

    mean: Triple
    std: Triple
    channels: str = "rgb"


class Backbone(nn.Module):
    """A convolutional network without its classifier, cut into stages.

    Attributes:
        stages: modules run one after the other; the last gives (B, D, h, w).
        features: D, the number of values of a feature.
        normalisation: how pictures in 0..255 are brought to what the first stage expects.
        names: how the network that was cut calls each entry of this module's state, as its pretraining files do; empty
            where it was not cut out of one.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        features: int,
        normalisation: Normalisation,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.features = features
        self.normalisation = normalisation
        self.names = dict(names)

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
"""Of torchvision's weights."""

VGGFACE2_CAFFE = Normalisation(mean=(103.939, 116.779, 123.68), std=(1.0, 1.0, 1.0), channels="bgr")
"""Of HSE_FaceRec_tf's MobileNet."""

VGGFACE = Normalisation(mean=(129.1863, 104.7624, 93.594), std=(1.0, 1.0, 1.0))
"""Of VGG16 trained on VGGFace (Parkhi et al., BMVC 2015), with the first kernel in RGB order."""

DLIB = Normalisation(mean=(122.782, 117.001, 104.298), std=(256.0, 256.0, 256.0))
"""Of dlib's face recognition network."""

UNIT = Normalisation(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
"""Of the ResNet-18 trained on MS-Celeb-1M that RAN starts from: 0..1, as its authors' code gives it."""


def mobilenetv1_face() -> Backbone:
    """MobileNetV1 as HSE_FaceRec_tf trained it for face recognition on VGGFace2: 14 stages, 1024 features."""
    return Backbone(mobilenet_stages(), features=1024, normalisation=VGGFACE2_CAFFE)


def resnet29_face() -> Backbone:
    """The residual network that dlib's face recognition was trained with: 15 stages, 256 features."""
    return Backbone(dlib_resnet_stages(), features=256, normalisation=DLIB)


def torchvision_backbone(name: str, normalisation: Normalisation | None = None) -> Backbone:
    """A network of torchvision without its classifier, with random weights.

    ResNets, and the other residual families, have a stage for the stem and one for each block; VGGs and AlexNet one
    for each convolution with what follows it. VGGs keep their first two fully connected layers as a last stage, so
    that a feature is the 4096 values of fc7, as is usual with VGGFace. The maps before them are averaged to 7 x 7, so
    that pictures need not be 224 pixels wide. In all others the last map is the feature, before its mean.

    Args:
        name: as `torchvision.models.get_model` has it, such as "resnet50".
        normalisation: what the weights that will be read expect; None for torchvision's own.

    Raises:
        ValueError: torchvision has no such classification network, or it cannot be cut.
    """
    network = build_network(name)
    stages, features = cut_trunk(network)
    if normalisation is None:
        mean, std = imagenet_normalisation(name)
        normalisation = Normalisation(_in_levels(mean), _in_levels(std))
    return Backbone(stages, features, normalisation, network_names(network, stages))


def _in_levels(values: Triple) -> Triple:
    """From 0..1 to 0..255."""
    red, green, blue = (round(255 * value, 4) for value in values)
    return red, green, blue


BACKBONES: Mapping[str, Callable[[], Backbone]] = MappingProxyType(
    {
        "mobilenetv1-face": mobilenetv1_face,
        "resnet29-face": resnet29_face,
        "resnet18-face": partial(torchvision_backbone, "resnet18", UNIT),
        "vgg16-face": partial(torchvision_backbone, "vgg16", VGGFACE),
        "resnet18": partial(torchvision_backbone, "resnet18"),
        "resnet34": partial(torchvision_backbone, "resnet34"),
        "resnet50": partial(torchvision_backbone, "resnet50"),
        "vgg16": partial(torchvision_backbone, "vgg16"),
    }
)
"""Backbones by the name that recipes use. Those in "-face" expect pictures as the face recognition weights do that
they are named for (docs/pretraining.md); the others as torchvision's ImageNet weights do."""

TORCHVISION = "torchvision:"
"""May stand before the name of a network of torchvision, to tell it from a name of ours."""


def build_backbone(name: str) -> Backbone:
    """Build a backbone, with random weights.

    Args:
        name: one of ``BACKBONES``, or a classification network of torchvision, such as "mobilenet_v3_large" or
            "torchvision:mobilenet_v3_large".

    Raises:
        ValueError: there is none of that name, or it cannot be cut into stages.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    try:
        return torchvision_backbone(name.removeprefix(TORCHVISION))
    except TrunkError as error:
        known = ", ".join(BACKBONES)
        raise ValueError(f"{error}; known: {known}, and convolutional networks of torchvision") from error
