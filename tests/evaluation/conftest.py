"""Small datasets of faces of one colour, to which the tiny model's answers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionfer.datasets import Manifest
from regionfer.labels import LABELS
from regionfer.onnx_model import ExpressionModel


def colours(count: int, seed: int = 0) -> np.ndarray:
    """Colours (n, 3) that the tiny model tells apart."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3)).astype(np.uint8)


def say(model: ExpressionModel, count: int, seed: int = 0) -> np.ndarray:
    """The model's probabilities (n, C) for faces of `colours`."""
    faces = np.broadcast_to(colours(count, seed)[:, None, None], (count, 12, 12, 3)).copy()
    return model.run(faces).probabilities


@pytest.fixture
def said(tiny_model: ExpressionModel) -> Callable[[int], np.ndarray]:
    """A function that gives the tiny model's probabilities (n, C) for the n faces of a manifest."""
    return lambda count: say(tiny_model, count)


@pytest.fixture
def make_manifest(tiny_model: ExpressionModel) -> Callable[..., Manifest]:
    """A function that makes a manifest of n one-coloured faces, of which a share is labelled as the model answers."""

    def make(count: int = 40, *, right: float = 0.75, root: Path = Path("nowhere"), **changes: object) -> Manifest:
        answers = say(tiny_model, count).argmax(1)
        labels = np.where(np.arange(count) < right * count, answers, (answers + 1) % len(LABELS)).astype(np.int64)
        values: dict[str, object] = {
            "dataset": "Colours",
            "protocol": "as drawn",
            "root": root,
            "names": np.array([f"{row:03}.png" for row in range(count)]),
            "labels": labels,
            "targets": np.eye(len(LABELS), dtype=np.float32)[labels],
            "splits": np.array(["test"] * count),
            "pixels": np.broadcast_to(colours(count)[:, None, None], (count, 16, 16, 3)),
        }
        return Manifest(**(values | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture
def on_disk(make_manifest, tmp_path) -> Manifest:
    """Twelve faces as files, of which one is missing and one is damaged."""
    for row, colour in enumerate(colours(12)):
        Image.fromarray(np.broadcast_to(colour, (20, 20, 3)).copy()).save(tmp_path / f"{row:03}.png")
    (tmp_path / "003.png").unlink()
    (tmp_path / "007.png").write_bytes(b"no image")
    return make_manifest(12, root=tmp_path, pixels=None)
