"""Weights that training starts from: a backbone's pretraining, or a whole model file."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from regionfer.errors import CheckpointError
from regionfer.model_card import ModelCard
from regionfer.models.backbones import VGGFACE, Backbone
from regionfer.models.classifier import ExpressionClassifier
from regionfer.onnx_model import ExpressionModel
from regionfer.training.checkpoint import Checkpoint, load_checkpoint
from regionfer.training.recipe import Recipe, parse_recipe
from regionfer.training.tfjs import backbone_state
from regionfer.training.weights_file import read_tensors

_HEAD = re.compile(r"(fc\w*|classifier|heads?|last_linear|feature|logits|alpha|beta|aggregation|aux\d|AuxLogits)\.")
"""Layers behind the features, as torchvision, the MS-Celeb-1M ResNet, the authors' RAN and ours call them."""

_COUNTER = "num_batches_tracked"
"""What batch norms count, and no one needs: files of old releases and model files do not have it."""

_HEADS = "network.heads."
"""Before the names of what [attributes] adds."""

_POSE = f"{_HEADS}pose."
"""Before the names of the pose head."""

_OURS = "averaged/network."
"""What a checkpoint of ours puts before the names of the network that is evaluated."""

_VGGFACE = re.compile(r"(?:features\.)?conv(_?)(\d_\d)(?:-conv)?\.(weight|bias)")
_VGG16_LAYERS = {
    **{
        f"{block}_{layer}": f"features.{number}"
        for block, numbers in enumerate(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), start=1)
        for layer, number in enumerate(numbers, start=1)
    },
    **{"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"},
}
"""Layers of VGG16, by the paper's numbers, in torchvision's network."""


@dataclass(frozen=True)
class Loaded:
    """What a pretraining file gave to a backbone.

    Attributes:
        path: the file.
        loaded: names of the backbone's tensors that were read.
        skipped: names in the file that the backbone has no use for: the classifier of what it was trained for.
        missing: names of the backbone's tensors that were not in the file and stay as they were; only counters of
            batches, which old files lack.
    """

    path: Path
    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.path}: {len(self.loaded)} tensors loaded"
        for word, names in (("skipped", self.skipped), ("missing", self.missing)):
            text += f", {len(names)} {word} ({_some(names)})" if names else f", none {word}"
        return text


def load_pretrained(backbone: Backbone, path: Path) -> Loaded:
    """Read pretraining weights into a backbone, all of them or none.

    Args:
        backbone: changed in place.
        path: a file of one of these kinds, told apart by suffix and keys:

            - weights of TensorFlow.js (``.json`` with its ``.bin`` beside it), for "mobilenetv1-face" and
              "resnet29-face";
            - ``.safetensors``, or a file of ``torch.save``, with the names that torchvision uses for the network,
              with or without ``module.`` before them and a "state_dict" around them;
            - the same with the names of a PyTorch conversion of VGGFace's VGG16, for "vgg16-face";
            - a checkpoint of a regionfer training run with the same backbone, or a model file (``.onnx``) of one that
              keeps its weights as they are trained: one without batch norms, in floats.

    Raises:
        CheckpointError: the file is missing, of a kind that cannot be read, holds more than tensors, or is made for
            another backbone: it lacks a tensor, has one of another shape, or layers that the backbone does not have.
        ModelError: a model file is none.
    """
    if not path.is_file():
        where = "docs/pretraining.md says from where"
        raise CheckpointError(
            f"{path}: the backbone's pretraining file is missing; "
            + (f"`scripts/fetch_pretrained.sh` gets it, {where}" if path.suffix == ".json" else f"get it, {where}")
        )
    found = _read(path)
    if any(_VGGFACE.fullmatch(name) for name in found):
        if backbone.normalisation != VGGFACE:
            raise CheckpointError(f"{path}: holds VGG16 trained on VGGFace; set model.backbone to 'vgg16-face'")
        found = _vggface_names(found)
    found = {backbone.names.get(name, name): tensor for name, tensor in found.items()}
    wanted = {backbone.names.get(name, name): tensor for name, tensor in backbone.state_dict().items()}
    skipped = tuple(name for name in found if name not in wanted and _HEAD.match(name))
    missing = tuple(name for name in wanted if name not in found and name.endswith(_COUNTER))
    kept = {name: tensor for name, tensor in found.items() if name not in skipped}
    if path.suffix.lower() == ".onnx":
        require_batch_norms(wanted, kept, path)
    _require_fit({name: tensor for name, tensor in wanted.items() if name not in missing}, kept, path)
    with torch.no_grad():
        for name, tensor in kept.items():
            wanted[name].copy_(tensor)
    return Loaded(path, loaded=tuple(kept), skipped=skipped, missing=missing)


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by their names in a backbone; of a network of ours those of the averaged one."""
    if path.suffix == ".json":
        return backbone_state(path)
    if path.suffix.lower() == ".onnx":
        tensors, ours = dict(load_trained(path).averaged), "network."
    else:
        tensors, ours = read_tensors(path), _OURS
    network = {name.removeprefix(ours): tensor for name, tensor in tensors.items() if name.startswith(ours)}
    return {name.removeprefix("backbone."): tensor for name, tensor in network.items()} or tensors


def _vggface_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From the names of VGGFace's conversions to those of torchvision's VGG16.

    ``conv1_1`` is the spelling of the one out of MatConvNet, which expects RGB; ``conv_1_1`` of those out of Torch,
    which expect BGR, so that their first kernel is turned round.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if match := _VGGFACE.fullmatch(name):
            underscore, layer, kind = match.groups()
            turned = underscore and layer == "1_1" and kind == "weight"
            renamed[f"{_VGG16_LAYERS.get(layer, layer)}.{kind}"] = tensor.flip(1) if turned else tensor
        else:
            layer, _, kind = name.removeprefix("fc.").partition(".")
            renamed[f"{_VGG16_LAYERS.get(layer, layer)}.{kind}"] = tensor
    return renamed


def require_pose_head(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str | Path) -> None:
    """See that a state has the pose head that a network has, if both have one.

    Raises:
        CheckpointError: it has one of another make, as releases before had.
    """
    ours, theirs = _shapes(wanted, _POSE), _shapes(found, _POSE)
    if ours and theirs and ours != theirs:
        raise CheckpointError(
            f"{source}: its pose head is of another make, that of another release; use that release, or learn the pose "
            "anew: start from it (--from) with [attributes] pose given and optimiser.pose_lr above 0"
        )


def require_batch_norms(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that weights have the batch norms of a network, which model files do not keep.

    Raises:
        CheckpointError: they have not.
    """
    if any(name.endswith("running_mean") and name not in found for name in wanted):
        raise CheckpointError(
            f"{source}: this network has batch norms, and export folded them into the convolutions; give the "
            "checkpoint that the model file was made of, such as RUN/best.safetensors"
        )


def _require_fit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path) -> None:
    """Raise unless both have the same names and shapes."""
    require_pose_head(wanted, found, path)
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted]
    shapes = [
        f"{name}: expected {tuple(tensor.shape)}, found {tuple(found[name].shape)}"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    faults = [
        f"{len(names)} {what} ({_some(names)})"
        for names, what in (
            (missing, f"of {len(wanted)} tensors are missing"),
            (shapes, "tensors have another shape"),
            (unknown, "tensors are of layers that are not there"),
        )
        if names
    ]
    if faults:
        raise CheckpointError(f"{path}: holds a network of another architecture: {', '.join(faults)}")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def load_model_file(
    classifier: ExpressionClassifier,
    classes: tuple[str, ...],
    path: str | Path | None,
    recipe: Recipe,
    report: Callable[[str], None] = lambda line: None,
) -> ModelCard:
    """Start a network from the weights inside a model file.

    The classifier's last layer is taken over only where the classes are the same, in the same order; else it stays as
    it was made. So do all heads of [attributes] that are to begin as others (``attributes.pretrained``); and heads that
    the file lacks, or a pose head that is of another make in it, as in those of older versions, if they learn.

    Args:
        classifier: changed in place.
        classes: the classes it is to tell apart.
        path: a file made by ``regionfer export``; None for the model that comes with regionfer.
        recipe: what the network was built by.
        report: called with a line of text if a pose head begins anew.

    Returns:
        The card of the model file.

    Raises:
        ModelError: the file is missing or no model file.
        CheckpointError: the file holds a network of another architecture, or the network has batch norms, which model
            files do not keep.
    """
    model = ExpressionModel.load(path)
    _require_architecture(model.source, model.card.architecture, recipe)
    state = model_file_state(model.source)
    wanted = classifier.state_dict()
    state = _fitted(wanted, state, recipe, model.source, report, same_classes=model.card.labels == classes)
    require_batch_norms(wanted, state, model.source)
    _require_fit({name: tensor for name, tensor in wanted.items() if not name.endswith(_COUNTER)}, state, model.source)
    classifier.load_state_dict(wanted | state)
    return model.card


def load_whole(
    classifier: ExpressionClassifier,
    classes: tuple[str, ...],
    path: Path,
    recipe: Recipe,
    report: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Start a network from the averaged weights of a checkpoint, attention and classifier among them.

    As with `load_model_file`, a classifier of other classes stays as it was made, and so do heads that are to begin as
    others, or that learn and that the checkpoint lacks or has of another make.

    Args:
        classifier: changed in place.
        classes: the classes it is to tell apart.
        path: a checkpoint, such as RUN/best.safetensors.
        recipe: what the network was built by.
        report: called with a line of text if a pose head begins anew.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: the file is no checkpoint, or holds a network of another architecture.
    """
    checkpoint = load_checkpoint(path)
    _require_architecture(path, checkpoint.recipe.get("model", {}), recipe)
    wanted = classifier.state_dict()
    state = _fitted(wanted, checkpoint.averaged, recipe, path, report, same_classes=checkpoint.classes == classes)
    _require_fit(wanted, state, path)
    classifier.load_state_dict(state)
    return checkpoint


def load_heads(classifier: ExpressionClassifier, path: Path, recipe: Recipe) -> None:
    """Start the heads of [attributes] from the averaged ones of another network of the same backbone.

    Args:
        classifier: has heads; changed in place.
        path: a checkpoint or a model file.
        recipe: what the classifier was built by.

    Raises:
        CheckpointError: the network in it has another backbone; it has no heads, reads them from another stage, lacks
            the pose head that the classifier has, or has one of another make.
        ModelError: the model file is missing or is none.
    """
    trained = load_trained(path)
    wanted = {name: value for name, value in classifier.state_dict().items() if name.startswith(_HEADS)}
    found = {name: value for name, value in trained.averaged.items() if name.startswith(_HEADS)}
    if not found:
        raise CheckpointError(f"{path}: expected a network with heads for attributes.pretrained, found none in it")
    theirs = parse_recipe(dict(trained.recipe), str(path))
    for key, ours, other in (
        ("model.backbone", recipe.model.backbone, theirs.model.backbone),
        ("attributes.stage", recipe.attributes.stage, theirs.attributes.stage),
    ):
        if ours != other:
            raise CheckpointError(
                f"{path}: its heads read other features: its {key} is {other}, that of recipe {recipe.name} is {ours}"
            )
    if not _shapes(wanted, _POSE):
        found = {name: value for name, value in found.items() if not name.startswith(_POSE)}
    _require_fit(wanted, found, path)
    classifier.load_state_dict(found, strict=False)


def load_trained(path: Path) -> Checkpoint:
    """A trained network: a checkpoint, or a model file (.onnx) as a checkpoint that cannot be gone on with.

    A model file keeps the averaged weights alone, and its card says by which recipe they were trained.

    Raises:
        CheckpointError: the checkpoint cannot be read, or the model file computes in integers or has no recipe.
        ModelError: the model file is missing or is none.
    """
    if path.suffix.lower() != ".onnx":
        return load_checkpoint(path)
    card = ExpressionModel.load(path).card
    _require_floats(path, card.architecture)
    recipe = card.training.get("recipe")
    if not isinstance(recipe, Mapping):
        raise CheckpointError(
            f"{path}: its card has no recipe, which would say how the network is built; give a checkpoint, or a file "
            "made by 'regionfer export'"
        )
    state = model_file_state(path)
    return Checkpoint(
        network=state,
        averaged=state,
        optimiser={},
        recipe=recipe,
        classes=card.labels,
        epoch=card.training.get("epoch", 0),
        data={
            **{name: value for name, value in card.training.items() if name not in ("recipe", "epoch")},
            "name": card.name,
            "version": card.version,
        },
    )


def _require_floats(path: Path, architecture: Mapping[str, Any]) -> None:
    if "quantization" in architecture:
        raise CheckpointError(f"{path}: computes in integers, which cannot be trained on; give the float model")


def _require_architecture(path: Path, found: Mapping[str, Any], recipe: Recipe) -> None:
    """Raise unless a file holds a network of the recipe's backbone and aggregation, in single precision."""
    _require_floats(path, found)
    wanted = {name: getattr(recipe.model, name) for name in ("backbone", "aggregation")}
    different = [f"{name} is {found[name]}" for name in wanted if found.get(name, wanted[name]) != wanted[name]]
    if different:
        asked = ", ".join(f"{name} = {value!r}" for name, value in wanted.items())
        raise CheckpointError(
            f"{path}: holds a network of another architecture than recipe {recipe.name}: "
            f"its {', its '.join(different)}, the recipe's [model] has {asked}; take a recipe with the "
            "file's, a file of such a network, or leave out --from, to start from model.pretrained"
        )


def _fitted(
    wanted: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    recipe: Recipe,
    path: Path,
    report: Callable[[str], None],
    *,
    same_classes: bool,
) -> dict[str, Tensor]:
    """A state for a network that may have other classes, and heads of [attributes] where the other has none or none
    where it has some: the classifier of other classes, and new heads that learn or are given, stay as they are. So
    does a pose head of another make than the other's, as that of older weights is, if it learns the pose.
    """
    for heads in (_HEADS, _POSE):
        if not _shapes(wanted, heads):
            state = {name: value for name, value in state.items() if not name.startswith(heads)}
    new = [] if same_classes else ["network.classifier."]
    if recipe.attributes.pretrained is not None:
        new.append(_HEADS)
    elif not _shapes(state, _HEADS):
        new += [_HEADS] if recipe.optimiser.attribute_lr else []
    elif recipe.learns_pose and _shapes(wanted, _POSE) != (theirs := _shapes(state, _POSE)):
        new.append(_POSE)
        found = "its pose head is of another make" if theirs else "it has no pose head"
        report(f"{path}: {found}; the pose is learned from the start")
    kept = {name: value for name, value in state.items() if not name.startswith((*new,))}
    return {**kept, **{name: value for name, value in wanted.items() if name.startswith((*new,))}}


def _shapes(state: Mapping[str, Tensor], prefix: str) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in state.items() if name.startswith(prefix)}


def model_file_state(path: Path) -> dict[str, Tensor]:
    """Weights inside a model file, by the name they have in `ExpressionClassifier`."""
    graph = onnx.load(path).graph
    named: Mapping[str, np.ndarray] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {
        name: torch.from_numpy(value.astype(np.float32)) for name, value in named.items() if name.startswith("network.")
    }
