"""Fixtures shared by all tests: a tiny model file of our own form, and a detector that finds what it is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from regionfer.onnx_model import METADATA_KEY, ExpressionModel, ModelCard, RegionCard
from regionfer.regions import FIXED_REGIONS, LANDMARKS, WHOLE_FACE

FIXED_CARD = RegionCard("fixed", ("face", *FIXED_REGIONS), (WHOLE_FACE, *FIXED_REGIONS.values()))
LANDMARK_CARD = RegionCard("landmark", ("face", *LANDMARKS), boxes=None, radii=(0.25,))


def tiny_card(*, landmarks: bool = False, **changes: object) -> ModelCard:
    """A card of a model for 12 pixel faces, with the paper's fixed regions or with regions at the landmarks."""
    values: dict[str, object] = {
        "name": "tiny",
        "version": "0.0.1",
        "face_size": 12,
        "input_size": 12,
        "regions": LANDMARK_CARD if landmarks else FIXED_CARD,
        "architecture": {"backbone": "mean colour"},
        "training": {"data": "none", "licence": "MIT", "recipe": "none", "commit": "0" * 40, "pretraining": "none"},
        "metrics": ({"dataset": "nothing", "split": "valid", "n": 10, "accuracy": 0.5, "accuracy_ci95": [0.2, 0.8]},),
        "licence": "MIT",
    }
    return ModelCard(**(values | changes))  # type: ignore[arg-type]


def tiny_graph(card: ModelCard, *, seed: int = 0) -> onnx.ModelProto:
    """A graph of our contract: a linear layer on the mean colour of a face gives logits, mu and nu.

    A face of one colour c (0..255) always gives the same answer, so that tests can tell faces apart by colour.
    """
    rng = np.random.default_rng(seed)
    labels, regions = len(card.labels), len(card.regions.names)
    nodes = [
        helper.make_node("Cast", ["faces"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "sides"], ["colour"], keepdims=0),
        helper.make_node("Div", ["colour", "white"], ["features"]),
        helper.make_node("MatMul", ["features", "to_logits"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("MatMul", ["features", "to_mu"], ["mu_logits"]),
        helper.make_node("Sigmoid", ["mu_logits"], ["mu"]),
        helper.make_node("MatMul", ["features", "to_nu"], ["nu_logits"]),
        helper.make_node("Sigmoid", ["nu_logits"], ["nu"]),
        helper.make_node("Mul", ["mu", "nu"], ["weight"]),
        helper.make_node("ReduceSum", ["weight", "columns"], ["total"], keepdims=1),
        helper.make_node("Div", ["weight", "total"], ["attention"]),
    ]
    constants: dict[str, NDArray[np.generic]] = {
        "sides": np.array([1, 2]),
        "columns": np.array([1]),
        "white": np.array(255, dtype=np.float32),
        "to_logits": rng.normal(0, 4, (3, labels)).astype(np.float32),
        "to_mu": rng.normal(0, 2, (3, regions)).astype(np.float32),
        "to_nu": rng.normal(0, 2, (3, regions)).astype(np.float32),
    }
    inputs = [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", "side", "side", 3])]
    if card.regions.boxes is None:
        inputs.append(helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["n", 5, 2]))
    sizes = {"probabilities": labels, "mu": regions, "nu": regions, "attention": regions}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in sizes.items()]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {METADATA_KEY: card.to_json()})
    return model


@pytest.fixture(scope="session")
def make_card() -> Callable[..., ModelCard]:
    """`tiny_card`, for tests to call."""
    return tiny_card


SaveModel = Callable[..., Path]


@pytest.fixture(scope="session")
def save_model(tmp_path_factory: pytest.TempPathFactory) -> SaveModel:
    """A function that writes a tiny model and returns its path: ``save_model(card=..., seed=..., edit=...)``."""

    def save(
        card: ModelCard | None = None, *, seed: int = 0, edit: Callable[[onnx.ModelProto], None] | None = None
    ) -> Path:
        model = tiny_graph(card or tiny_card(), seed=seed)
        if edit is not None:
            edit(model)
        path = tmp_path_factory.mktemp("models") / "tiny.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return save


@pytest.fixture(scope="session")
def tiny_path(save_model: SaveModel) -> Path:
    """A tiny model file with the fixed regions."""
    return save_model()


@pytest.fixture(scope="session")
def tiny_model(tiny_path: Path) -> ExpressionModel:
    """The tiny model, loaded."""
    return ExpressionModel.load(tiny_path, threads=1)
