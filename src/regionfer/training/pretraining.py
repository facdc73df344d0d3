"""Weights that training starts from: a backbone's pretraining, or a whole model file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from regionfer.errors import CheckpointError
from regionfer.models.backbones import Backbone
from regionfer.models.classifier import ExpressionClassifier
from regionfer.onnx_model import ExpressionModel, ModelCard
from regionfer.training.tfjs import mobilenetv1_face_state


def load_pretrained(backbone: Backbone, path: Path) -> None:
    """Read pretraining weights into a backbone, all of them or none.

    Args:
        backbone: changed in place.
        path: a TensorFlow.js graph model (``.json`` with its ``.bin`` beside it), for "mobilenetv1-face".

    Raises:
        CheckpointError: the file is missing, of a kind that cannot be read, or made for another backbone.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: the backbone's pretraining file is missing; `scripts/fetch_pretrained.sh` gets it, "
            "docs/pretraining.md says from where"
        )
    if path.suffix != ".json":
        raise CheckpointError(f"{path}: expected a TensorFlow.js model (.json), found {path.suffix or 'no suffix'}")
    try:
        backbone.load_state_dict(mobilenetv1_face_state(path))
    except RuntimeError as error:
        raise CheckpointError(f"{path}: does not fit this backbone: {_reason(error)}") from error


def load_model_file(classifier: ExpressionClassifier, classes: tuple[str, ...], path: str | Path | None) -> ModelCard:
    """Start a network from the weights inside a model file.

    The classifier's last layer is taken over only where the classes are the same, in the same order; else it stays as
    it was made.

    Args:
        classifier: changed in place.
        classes: the classes it is to tell apart.
        path: a file made by ``regionfer export``; None for the model that comes with regionfer.

    Returns:
        The card of the model file.

    Raises:
        ModelError: the file is missing or no model file.
        CheckpointError: the file holds a network of another architecture.
    """
    model = ExpressionModel.load(path)
    state = model_file_state(model.source)
    wanted = classifier.state_dict()
    if model.card.labels != classes:
        state |= {key: value for key, value in wanted.items() if key.startswith("network.classifier.")}
    try:
        classifier.load_state_dict({key: value for key, value in state.items() if key in wanted})
    except RuntimeError as error:
        raise CheckpointError(f"{model.source}: holds a network of another architecture: {_reason(error)}") from error
    return model.card


def model_file_state(path: Path) -> dict[str, Tensor]:
    """Weights inside a model file, by the name they have in `ExpressionClassifier`."""
    graph = onnx.load(path).graph
    named: Mapping[str, np.ndarray] = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    return {name: torch.from_numpy(value.copy()) for name, value in named.items() if name.startswith("network.")}


def _reason(error: RuntimeError) -> str:
    """The first of the differences that torch lists."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip()
