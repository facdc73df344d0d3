"""A network small enough to train within a test, and faces whose expression can be seen by it."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import nn

from regionfer.models import backbones
from regionfer.models.classifier import ExpressionClassifier
from regionfer.training.data import FaceData, blended_targets, class_weights
from regionfer.training.recipe import Recipe, parse_recipe
from regionfer.training.step import Losses, Step, part_losses

CLASSES = ("neutral", "happiness", "surprise")


def tiny_backbone() -> backbones.Backbone:
    """Three stages, 3 to 12 channels, side / 4."""
    stages = [
        nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(6, 12, 3, 2, 1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(12, 12, 3, 1, 1), nn.ReLU()),
    ]
    return backbones.Backbone(stages, features=12, normalisation=backbones.IMAGENET)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Recipes may name the backbone "tiny"; one thread, for the same sums each time."""
    monkeypatch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "tiny": tiny_backbone})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _recipe(**sections: object) -> Recipe:
    """A recipe for the tiny network; sections replace or extend its own, one level deep."""
    values: dict[str, object] = {
        "name": "tiny",
        "precision": "fp32",
        "model": {"backbone": "tiny", "crop_stage": 1, "crop_size": 4, "dropout": 0.1},
        "input": {"face_size": 16, "size": 16},
        "optimiser": {"batch": 8, "epochs": 2, "warmup_steps": 2, "backbone_lr": 0.01, "head_lr": 0.01},
    }
    for name, section in sections.items():
        own = values.get(name)
        values[name] = {**own, **section} if isinstance(own, dict) and isinstance(section, dict) else section
    return parse_recipe(values, "test recipe")


def _faces(n: int = 48, seed: int = 0) -> FaceData:
    """Noise with rows, columns or squares, by class; landmarks where a frontal face has them."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    faces = rng.integers(0, 60, (n, 16, 16, 3), dtype=np.uint8)
    y, x = np.indices((16, 16)) // 2 % 2
    patterns = np.stack([y, x, y ^ x]).astype(np.uint8)
    faces += 150 * patterns[labels][..., None]
    frontal = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)], dtype=np.float32)
    return FaceData(
        faces=torch.from_numpy(faces),
        labels=labels.astype(np.int64),
        targets=torch.eye(len(CLASSES))[labels],
        landmarks=torch.from_numpy(np.tile(frontal, (n, 1, 1))),
    )


@pytest.fixture(scope="session")
def make_recipe() -> Callable[..., Recipe]:
    """Make a recipe for the tiny network; keyword arguments replace or extend its sections."""
    return _recipe


@pytest.fixture(scope="session")
def make_faces() -> Callable[..., FaceData]:
    """Make n faces that the tiny network can learn."""
    return _faces


@pytest.fixture(scope="session")
def classes() -> tuple[str, ...]:
    """Names of the classes of these faces."""
    return CLASSES


def _step_losses(recipe: Recipe, classifier: ExpressionClassifier, step: Step, faces: FaceData) -> Losses:
    return part_losses(
        step,
        slice(0, len(step.rows)),
        recipe=recipe,
        classifier=classifier,
        network=classifier.network,
        data=faces,
        targets=blended_targets(faces, recipe.loss.soft_targets)[step.rows],
        weights=class_weights(faces, recipe.loss.class_balance),
    )


@pytest.fixture(scope="session")
def step_losses() -> Callable[..., Losses]:
    """Take the losses of a whole step, given recipe, classifier, step and faces."""
    return _step_losses
