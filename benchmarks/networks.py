"""Model files of networks that nobody trained: their weights do not matter to their speed."""

import json
from pathlib import Path

import numpy as np

from regionfer.labels import LABELS
from regionfer.onnx_model import ExpressionModel
from regionfer.quantisation import Faces, quantise
from regionfer.training.build import build_classifier
from regionfer.training.checkpoint import Checkpoint
from regionfer.training.export import export
from regionfer.training.recipe import Recipe, load_recipe

RECIPE = Path(__file__).parent.parent / "recipes" / "ferplus-ran.toml"
FACE_SIZE = 48


def cropped(stage: int | None, size: int, crop_size: int | None = None) -> Recipe:
    """RAN with the shipped model's backbone, cropped before a stage; None for the plain backbone."""
    changes = {"model.pretrained": None, "input.size": size}
    if stage is None:
        changes |= {"model.aggregation": "mean", "regions.generator": "none"}
    else:
        changes |= {"model.crop_stage": stage, "model.crop_size": crop_size}
    return load_recipe(RECIPE, changes)


def save_network(recipe: Recipe, path: Path) -> Path:
    """Export the network of a recipe with random weights."""
    weights = build_classifier(recipe, len(LABELS), pretrained=False).state_dict()
    checkpoint = Checkpoint(
        network={}, averaged=weights, optimiser={}, recipe=json.loads(recipe.model_dump_json()), classes=LABELS, epoch=0
    )
    export(checkpoint, path, name=path.stem, version="0")
    return path


def save_int8(model: Path, path: Path) -> Path:
    """The same network in 8-bit integers."""
    faces = made_faces(16)
    quantise(ExpressionModel.load(model), path, Faces(faces, np.zeros(len(faces), np.int64), {"dataset": "noise"}))
    return path


def made_faces(count: int) -> np.ndarray:
    """Noise, (count, 48, 48, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, FACE_SIZE, FACE_SIZE, 3), dtype=np.uint8)
