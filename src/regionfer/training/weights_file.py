"""Named tensors out of other people's files, by their keys. Nothing but tensors is ever unpickled."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from regionfer.errors import CheckpointError

_CONTAINERS = ("state_dict", "model_state_dict", "model")
_WRAPPERS = ("module.", "model.", "backbone.", "encoder.")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the weights of a PyTorch or safetensors file.

    Args:
        path: ``.safetensors``, or anything that ``torch.save`` wrote: a state by name, alone or as "state_dict",
            "model_state_dict" or "model" in a checkpoint.

    Returns:
        Tensors by name, without what wrappers put before every name, such as ``module.`` of DataParallel.

    Raises:
        CheckpointError: the file is damaged, of another kind, holds no named tensors, or holds more than tensors,
            numbers and text. Such a file is refused before anything in it runs.
    """
    safe = path.suffix == ".safetensors"
    return _unwrapped(_read_safetensors(path) if safe else _state(_unpickle(path), path))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file: {error}") from error
    if not tensors:
        raise CheckpointError(f"{path}: expected tensors by name, found none")
    return tensors


def _unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the pickle protocols of old files
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes of any other kind make the reader fail in any way
        culprit = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if culprit:
            raise CheckpointError(
                f"{path}: not loaded, as it holds more than tensors ({culprit[1]}) and reading that could run code of "
                "whoever made it; have it saved again as safetensors, or with torch.save of its state_dict alone"
            ) from error
        raise CheckpointError(
            f"{path}: neither a safetensors file nor one that torch.save wrote, or damaged ({type(error).__name__})"
        ) from error


def _state(content: Any, path: Path) -> dict[str, Tensor]:
    """The named tensors in what was read; numbers and text beside them, such as an epoch, are left out."""
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors: dict[str, Tensor] = {}
    if isinstance(content, Mapping):
        tensors = {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(
            f"{path}: expected tensors by name, alone or under {', '.join(_CONTAINERS)}, found {_describe(content)}"
        )
    return tensors


def _describe(content: Any) -> str:
    if isinstance(content, Mapping):
        return f"the keys {', '.join(map(str, list(content)[:5])) or '(none)'}"
    return f"a {type(content).__name__}"


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in _WRAPPERS if all(key.startswith(p) for key in tensors)), None):
        tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
    return tensors
