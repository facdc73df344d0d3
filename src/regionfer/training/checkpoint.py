"""Checkpoints: tensors in a safetensors file, everything else in a JSON file beside it. Nothing is ever unpickled."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from regionfer.errors import CheckpointError, OutputError

FORMAT = 1
"""Version of the checkpoint format; raised when a key changes its meaning."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training run as it stood after an epoch.

    Attributes:
        network: parameters and buffers of the network being trained.
        averaged: the same of its moving average, which is what is evaluated.
        optimiser: state tensors by ``<parameter number>.<name>``.
        recipe: the resolved recipe.
        classes: class names in output order.
        epoch: epochs done.
        history: one row of figures an epoch.
        score: how well the averaged network did on the validation faces, all figures of `regionfer.metrics.Score`.
        data: what it was trained on.
    """

    network: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]
    epoch: int
    history: list[dict[str, float]] = field(default_factory=list)
    score: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


_CARRIED = "regionfer"
"""Key of the safetensors file's metadata under which the JSON goes."""

GROUPS = ("network", "averaged", "optimiser")


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write ``path`` (.safetensors) and its JSON, each whole or not at all.

    Raises:
        OutputError: they cannot be written.
    """
    tensors = {
        f"{group}/{name}": tensor.detach().contiguous().clone()
        for group in GROUPS
        for name, tensor in getattr(checkpoint, group).items()
    }
    facts = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "classes": list(checkpoint.classes),
        "recipe": checkpoint.recipe,
        "history": checkpoint.history,
        "score": checkpoint.score,
        "data": checkpoint.data,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # The JSON goes into the tensors' file too, so that the pair cannot come apart when the run is killed between the
    # two renames; the file beside it is for people.
    text = json.dumps(facts, indent=2)
    replace_file(path, lambda temporary: save_file(tensors, temporary, metadata={_CARRIED: text}))
    replace_file(path.with_suffix(".json"), lambda temporary: temporary.write_text(text + "\n", encoding="utf-8"))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind or of another version.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        facts, tensors = _read(path)
        if facts.get("format") != FORMAT:
            raise CheckpointError(f"{path}: checkpoint format {facts.get('format')}, this release reads {FORMAT}")
        return _parse(facts, tensors)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a whole checkpoint of regionfer: {error} is unknown or missing") from error
    except (SafetensorError, OSError, ValueError, AttributeError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: not a safetensors checkpoint of regionfer: {error}") from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file that is there was written by `save_checkpoint`; other people's weights are not."""
    if path.suffix != ".safetensors":
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return _CARRIED in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _parse(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Checkpoint:
    groups: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS}
    for key, tensor in tensors.items():
        group, _, name = key.partition("/")
        groups[group][name] = tensor
    return Checkpoint(
        network=groups["network"],
        averaged=groups["averaged"],
        optimiser=groups["optimiser"],
        recipe=facts["recipe"],
        classes=tuple(facts["classes"]),
        epoch=facts["epoch"],
        history=facts["history"],
        score=facts.get("score", {}),
        data=facts["data"],
    )


def optimiser_tensors(optimiser: Optimizer) -> dict[str, Tensor]:
    """State of an optimiser as flat tensors."""
    state: Mapping[int, Mapping[str, Tensor]] = optimiser.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def restore_optimiser(optimiser: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimiser_tensors`; learning rates stay those of the optimiser given."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    if _CARRIED not in metadata:
        raise ValueError("it carries no recipe")
    return json.loads(metadata[_CARRIED]), load_file(path)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file beside a path, then put it in its place: a run that is killed leaves the old one or the new one.

    Raises:
        OutputError: it cannot be written.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        write(temporary)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
