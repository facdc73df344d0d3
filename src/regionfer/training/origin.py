"""What weights learned from, and on whose they began: what checkpoints and model cards say of it."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regionfer.training.checkpoint import Checkpoint, is_checkpoint
from regionfer.training.pretraining import load_trained
from regionfer.training.recipe import Recipe
from regionfer.training.tfjs import shard_files

Facts = dict[str, Any]


def learned(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> Facts:
    """From what weights were learned, and those that they started from in their turn.

    Args:
        data: what a checkpoint, or ``training`` of a model card, says.
        recipe: their recipe's values; empty if not known.
    """
    name = {key: data[key] for key in ("name", "version") if data.get(key)}
    if not name and isinstance(recipe, Mapping) and recipe.get("name"):  # a card may hold anything
        name = {"name": recipe["name"]}
    facts: Facts = name | {key: data.get(key) for key in ("dataset", "protocol", "splits", "n", "commit")}
    if others := pretraining_of(data, recipe):
        facts["pretraining"] = others
    if isinstance(earlier := data.get("started_from"), Mapping):
        facts["started_from"] = learned(earlier, {})
    if through := [learned(each, {}) for each in data.get("learned_through") or () if isinstance(each, Mapping)]:
        facts["learned_through"] = through
    return facts


def pretraining_of(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> list[Facts]:
    """Other people's weights that a network, those that it started from or its teachers began on.

    Args:
        data: as in `learned`. Earlier releases name one file or none here.
        recipe: as in `learned`; where ``data`` names none, it says which it was.
    """
    found = data.get("pretraining")
    if isinstance(found, list):
        return found
    if isinstance(found, Mapping):
        return [dict(found)]
    model = recipe.get("model", {}) if isinstance(recipe, Mapping) else {}  # a card may hold anything
    path = model.get("pretrained")
    if not path or data.get("started_from") or data.get("learned_through"):
        return []
    return [{"file": Path(path).name, "origin": model.get("pretrained_origin") or _NOT_STATED}]


def sources(recipe: Recipe, *, pretrained: bool) -> list[Facts]:
    """From what teachers, a network that gives its heads, and one in ``model.pretrained`` if taken, learned."""
    paths = dict.fromkeys(recipe.teacher.checkpoints)  # each once, in their order
    if recipe.attributes.pretrained:
        paths[recipe.attributes.pretrained] = None
    if pretrained and (path := recipe.model.pretrained) and _is_ours(path):
        paths[path] = None
    return [learned_by(load_trained(path)) for path in paths]


def learned_by(checkpoint: Checkpoint) -> Facts:
    """`learned` of a checkpoint."""
    return learned(checkpoint.data, checkpoint.recipe)


def gather_pretraining(facts: Facts, recipe: Recipe | None) -> list[Facts]:
    """Other people's weights that a run begins on, and those that its start and teachers did.

    They do not say what they learned from; the recipe may. Taken out of what ``facts`` says of the start and teachers,
    so that they are named once, however many runs lie between.

    Args:
        facts: changed in place.
        recipe: with the file that the run begins on, which is there; None if it begins on a trained network.
    """
    found: list[Facts] = []
    if recipe is not None and (path := recipe.model.pretrained) and not _is_ours(path):
        for file in shard_files(path) if path.suffix == ".json" else (path,):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            origin = recipe.model.pretrained_origin or _NOT_STATED
            found.append({"file": file.name, "origin": origin, "sha256": digest})
    for earlier in (facts.get("started_from", {}), *facts.get("learned_through", ())):
        found += [each for each in earlier.pop("pretraining", ()) if each not in found]
    return found


def _is_ours(path: Path) -> bool:
    """Whether a file that is there holds a network that regionfer trained: it says itself what it learned from."""
    return path.suffix.lower() == ".onnx" or is_checkpoint(path)


_NOT_STATED = "not stated"
