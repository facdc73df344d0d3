"""Weights that a backbone starts from, whoever published them."""

from pathlib import Path

from torch import Tensor

from regionfer.errors import CheckpointError
from regionfer.models.backbones import Backbone
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
    state: dict[str, Tensor] = mobilenetv1_face_state(path)
    try:
        backbone.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise CheckpointError(f"{path}: does not fit this backbone: {reason}") from error
