"""Fixtures shared by all tests: a tiny model file of our own form, and a detector that finds what it is told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from regionfer.faces import Detections
from regionfer.model_card import ModelCard, RegionCard
from regionfer.onnx_model import HEADS, METADATA_KEY, ExpressionModel
from regionfer.recognizer import Recognizer
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


TO_OCCLUSION = np.float32([[12, 12, 12, 12, 12, 12], [12, 0, 0, 12, 0, 0], [0, 0, 0, 0, 0, 12]])
TO_POSE = np.float32([[60, 0, 0], [0, 30, 0], [0, 0, 40]])


def tiny_graph(card: ModelCard, *, seed: int = 0, heads: Sequence[str] = ()) -> onnx.ModelProto:
    """A graph of our contract: a linear layer on the mean colour of a face gives logits, mu and nu.

    A face of one colour c (0..255) always gives the same answer, so that tests can tell faces apart by colour. With
    heads, a face is covered as far as it is red; green is a cover below and blue one at the right, which hide little
    of the whole. Its yaw is 60 degrees times its red, its pitch 30 times its green, its roll 40 times its blue. A
    region is as visible as the face is not red.
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
    for name in heads:
        if name == "pose":
            nodes.append(helper.make_node("MatMul", ["features", "to_pose"], ["pose"]))
        else:
            weights = [f"to_{name}", f"{name}_middle"]
            nodes.append(helper.make_node("Gemm", ["features", *weights], [f"{name}_logits"]))
            nodes.append(helper.make_node("Sigmoid", [f"{name}_logits"], [name]))
    if heads:
        red = np.float32([[-12], [0], [0]])
        constants |= {"to_occlusion": TO_OCCLUSION, "to_pose": TO_POSE, "to_visibility": np.tile(red, (1, regions))}
        constants |= {"occlusion_middle": np.array(-6, np.float32), "visibility_middle": np.array(6, np.float32)}
    inputs = [helper.make_tensor_value_info("faces", TensorProto.UINT8, ["n", "side", "side", 3])]
    if card.regions.boxes is None:
        inputs.append(helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["n", 5, 2]))
    sizes = {"probabilities": labels, "mu": regions, "nu": regions, "attention": regions}
    sizes |= {name: {"visibility": regions, "occlusion": 6, "pose": 3}[name] for name in heads}
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
    """A function that writes a tiny model and returns its path: ``save_model(card=..., seed=..., heads=...)``."""

    def save(
        card: ModelCard | None = None,
        *,
        seed: int = 0,
        heads: Sequence[str] = (),
        edit: Callable[[onnx.ModelProto], None] | None = None,
    ) -> Path:
        model = tiny_graph(card or tiny_card(), seed=seed, heads=heads)
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


UNCERTAINTY = {
    "threshold": 0.6,
    "risk": 0.1,
    "coverage": 0.8,
    "n": 500,
    "curve": {
        "threshold": [0.95, 0.9, 0.7, 0.5, 0.2],
        "coverage": [0.1, 0.3, 0.7, 0.9, 1.0],
        "risk": [0.04, 0.02, 0.06, 0.14, 0.2],
    },
}
"""A risk-coverage curve as a model card holds it; its surest answers are not the rightest."""


@pytest.fixture(scope="session")
def trusted_path(save_model: SaveModel) -> Path:
    """A tiny model file that says what is visible, how the head is turned, and when it is sure enough."""
    return save_model(tiny_card(uncertainty=UNCERTAINTY), heads=HEADS)


@pytest.fixture(scope="session")
def trusted_model(trusted_path: Path) -> ExpressionModel:
    """The same, loaded."""
    return ExpressionModel.load(trusted_path, threads=1)


Colour = tuple[int, int, int]


class SquareDetector:
    """Takes each bright square on black ground for a face that looks straight ahead, the largest one first.

    The k-th score is 0.95 - 0.1 k.
    """

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        bright = (image.max(axis=2) > 0).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(bright)
        squares = sorted(stats[1:], key=lambda row: (-row[cv2.CC_STAT_AREA], row[0]))
        if not squares:
            return Detections.empty()
        boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in squares], dtype=np.float32)
        scores = 0.95 - 0.1 * np.arange(len(boxes), dtype=np.float32)
        places = np.float32([[0.3, 0.35], [0.7, 0.35], [0.5, 0.57], [0.34, 0.8], [0.66, 0.8]])
        sides = boxes[:, None, 2:] - boxes[:, None, :2]
        return Detections(boxes, scores, boxes[:, None, :2] + places * sides)


def squares(*colours: Colour, height: int = 90) -> NDArray[np.uint8]:
    """An image with squares side by side, each a little smaller than the one before, for `SquareDetector`."""
    image = np.zeros((height, max(80, 80 * len(colours)), 3), dtype=np.uint8)
    for index, colour in enumerate(colours):
        side = 60 - 4 * index
        image[10 : 10 + side, 80 * index + 10 : 80 * index + 10 + side] = colour
    return image


@pytest.fixture
def plain_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let faces of one colour be judged, which the tiny models are to tell apart by it."""
    monkeypatch.setattr("regionfer.fitness.MIN_CONTRAST", 0.0)
    monkeypatch.setattr("regionfer.fitness.MIN_SPREAD", 0.0)
    monkeypatch.setattr("regionfer.fitness.NO_FACE", 0.0)


@pytest.fixture
def square_detector() -> SquareDetector:
    """A detector for the images of `draw_squares`."""
    return SquareDetector()


@pytest.fixture(scope="session")
def draw_squares() -> Callable[..., NDArray[np.uint8]]:
    """`squares`, for tests to call."""
    return squares


@pytest.fixture
def recognizer(tiny_model: ExpressionModel, square_detector: SquareDetector) -> Recognizer:
    """The tiny model behind the detector of squares."""
    return Recognizer(tiny_model, square_detector, threads=2)
