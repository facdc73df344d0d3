"""Torchvision's classification networks without their classifier, cut into stages.

A trunk is cut where one tensor passes from one module to the next and is not changed in place by the next: a stage
begins with a convolution or a block, and takes the norms, activations and poolings behind it along. Otherwise the map
that is handed over for cropping would change under the hands of who holds it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn
from torchvision import models

Triple = tuple[float, float, float]

_INCEPTIONS = ("googlenet", "inception_v3")
_FOLLOWERS = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.MaxPool2d, nn.Dropout)
_PROBE = 96
"""Side of the picture that finds out how many channels a trunk ends with; the least that all of them take."""


class TrunkError(ValueError):
    """A network that torchvision does not have, or that has no trunk."""


def build_network(name: str) -> nn.Module:
    """A classification network of torchvision with random weights.

    Raises:
        TrunkError: there is none of that name.
    """
    if name not in models.list_models(module=models):
        raise TrunkError(f"unknown backbone {name!r}")
    # These two warn unless told how to begin, and have side branches that only training from scratch needs.
    options = {"aux_logits": False, "init_weights": True} if name in _INCEPTIONS else {}
    network: nn.Module = models.get_model(name, **options)
    return network


def imagenet_normalisation(name: str) -> tuple[Triple, Triple]:
    """Mean and standard deviation, in 0..1 and RGB, that torchvision's own weights of a network expect."""
    if name in _INCEPTIONS:  # their forward brings the usual normalisation to -1..1
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    preset = models.get_model_weights(name).DEFAULT.transforms()
    return tuple(preset.mean), tuple(preset.std)


def cut_trunk(network: nn.Module) -> tuple[list[nn.Module], int]:
    """Cut the trunk of a network into stages, which stay the network's own modules.

    Args:
        network: one that `torchvision.models` built.

    Returns:
        The stages, from (B, 3, H, W) to the last map (B, D, h, w), and D.

    Raises:
        TrunkError: the network has none, as transformers.
    """
    layers = next((layers for family, layers in _TRUNKS.items() if isinstance(network, family)), None)
    if layers is None:
        raise TrunkError(f"{type(network).__name__} has no row of feature maps that can be cut or cropped")
    stages = _grouped(layers(network))
    if isinstance(network, models.VGG):
        stages.append(_connected(network))
    return stages, channels_after(stages)


def network_names(network: nn.Module, stages: Sequence[nn.Module]) -> dict[str, str]:
    """What a network calls each entry of the state of `Backbone` with these stages."""
    names = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
    state = nn.ModuleList(stages).state_dict(prefix="stages.", keep_vars=True)
    return {key: names[id(tensor)] for key, tensor in state.items()}


def _grouped(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Stages of one leading layer each and what follows it."""
    groups: list[list[nn.Module]] = []
    for layer in layers:
        if groups and isinstance(layer, _FOLLOWERS):
            groups[-1].append(layer)
        else:
            groups.append([layer])
    return [group[0] if len(group) == 1 else nn.Sequential(*group) for group in groups]


def channels_after(stages: Iterable[nn.Module]) -> int:
    """Channels of the map that stages make of a picture; batch norms do not learn from finding out."""
    network = nn.Sequential(*stages).eval()
    weight = next(network.parameters())
    with torch.inference_mode():
        channels = int(network(weight.new_zeros(1, 3, _PROBE, _PROBE)).shape[1])
    network.train()
    return channels


def _connected(network: models.VGG) -> nn.Module:
    """Fully connected layers of a VGG up to fc7, from any map to (B, 4096, 1, 1)."""
    fc6, relu6, dropout, fc7, relu7 = network.classifier[:5]
    return nn.Sequential(
        network.avgpool, nn.Flatten(), fc6, relu6, dropout, fc7, relu7, nn.Unflatten(1, (fc7.out_features, 1, 1))
    )


def _resnet(network: models.ResNet) -> list[nn.Module]:
    stem = [network.conv1, network.bn1, network.relu, network.maxpool]
    return [*stem, *network.layer1, *network.layer2, *network.layer3, *network.layer4]


def _shufflenet(network: models.ShuffleNetV2) -> list[nn.Module]:
    blocks = [*network.stage2, *network.stage3, *network.stage4]
    return [network.conv1, network.maxpool, *blocks, network.conv5]


def _regnet(network: models.RegNet) -> list[nn.Module]:
    return [network.stem, *(block for stage in network.trunk_output for block in stage)]


def _features(network: nn.Module) -> list[nn.Module]:
    return list(network.get_submodule("features").children())


def _densenet(network: models.DenseNet) -> list[nn.Module]:
    return [*network.features, nn.ReLU(inplace=True)]  # which its forward applies


def _mnasnet(network: models.MNASNet) -> list[nn.Module]:
    return list(network.layers)


def _until_pooling(network: nn.Module) -> list[nn.Module]:
    children = dict(network.named_children())
    return list(children.values())[: list(children).index("avgpool")]


_TRUNKS: Mapping[type[nn.Module], Callable[..., list[nn.Module]]] = {
    models.ResNet: _resnet,
    models.VGG: _features,
    models.AlexNet: _features,
    models.ConvNeXt: _features,
    models.DenseNet: _densenet,
    models.EfficientNet: _features,
    models.GoogLeNet: _until_pooling,
    models.Inception3: _until_pooling,
    models.MNASNet: _mnasnet,
    models.MobileNetV2: _features,
    models.MobileNetV3: _features,
    models.RegNet: _regnet,
    models.ShuffleNetV2: _shufflenet,
    models.SqueezeNet: _features,
}
