"""A model file whose backbone computes in 8-bit integers: smaller, and faster on most processors.

Weights are rounded channel by channel, the values between layers tensor by tensor, to the range that they have on a
sample of training faces (static quantisation, Jacob et al., 2018, arXiv:1712.05877). Preprocessing, crops, attention,
classifier and heads stay in single precision: they take little time, and shares of regions need the digits.
"""

import logging
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from regionfer.errors import ModelError, OutputError
from regionfer.metrics import Interval, difference_interval, mcnemar_exact, score
from regionfer.model_card import ModelCard
from regionfer.onnx_model import METADATA_KEY, ExpressionModel
from regionfer.runtime import load_quantization

CALIBRATION_BATCH = 16
"""Faces in one run of the float model."""

_FOLLOWERS = ("Clip", "Relu", "Add", "MaxPool")
"""What may stand between two convolutions, and be computed in integers with them."""

_HEADS = "network.heads."
"""How the weights are called that say what covers a face and how it is turned."""

_FIGURES = ("n", "accuracy", "accuracy_ci95", "mean_recall", "macro_f1", "nll", "ece")


class Quantised(NamedTuple):
    """What came of a quantisation.

    Attributes:
        model: the new model.
        convolutions: how many compute in integers.
        left: operators of other layers with weights, which stay in single precision, with their number.
    """

    model: ExpressionModel
    convolutions: int
    left: Mapping[str, int]


class Faces(NamedTuple):
    """Labelled faces, and what they are.

    Attributes:
        faces: (n, S, S, 3) uint8 RGB.
        labels: (n,) indices into the model's labels.
        facts: ``dataset``, ``split`` and ``protocol``, for the card.
        landmarks: (n, 5, 2) in 0..1, for models whose regions follow them.
    """

    faces: NDArray[np.uint8]
    labels: NDArray[np.int64]
    facts: Mapping[str, str]
    landmarks: NDArray[np.float32] | None = None


class Loss(NamedTuple):
    """The quantised model against the float one, on the same n faces.

    Attributes:
        n: number of faces.
        accuracy, float_accuracy: of either, 0..1.
        difference: quantised minus float.
        difference_ci95: 95 % interval of it, paired bootstrap over the faces; None where it says nothing.
        mcnemar_p: two-sided p-value of McNemar's exact test.
        agreement: share of faces to which both give the same answer.
    """

    n: int
    accuracy: float
    float_accuracy: float
    difference: float
    difference_ci95: Interval | None
    mcnemar_p: float
    agreement: float


def quantise(model: ExpressionModel, path: Path, sample: Faces, *, reduced: bool = False) -> Quantised:
    """Write a model as one that computes in 8-bit integers.

    Args:
        model: a model file in single precision.
        path: the file to write.
        sample: training faces from which the ranges of values are taken, one at least.
        reduced: use 7 bits for the weights. Processors without VNNI add products up in 16 bits, which 8 bits overflow.

    Raises:
        ModelError: the model is quantised already, or has no convolutions.
        OutputError: the file cannot be written.
        ValueError: there are no faces, or no landmarks where they are needed.
    """
    if not len(sample.faces):
        raise ValueError("there are no faces to take the ranges of values from")
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected a file to write the model to")
    if path.resolve() == model.source.resolve():
        raise OutputError(f"{path}: is the float model, which stays needed; give the other another name")
    proto = onnx.load(model.source)
    _unfold_half(proto.graph)
    graph = proto.graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        raise ModelError(f"{model.source}: computes in integers already; give the model that it was made of")
    chosen = _backbone_nodes(graph)
    convolutions = sum(node.op_type == "Conv" for node in chosen)
    if not convolutions:
        raise ModelError(f"{model.source}: has no convolutions, which are what is computed in integers")
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        left = _float_layers(graph, {node.name for node in chosen})
        _quantise_graph(proto, partial, [node.name for node in chosen], _batches(model, sample), reduced)
        write_card(partial, _card(model, sample, reduced))
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the model: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return Quantised(ExpressionModel.load(path), convolutions, left)


def measure_loss(model: ExpressionModel, original: ExpressionModel, held_out: Faces) -> Loss:
    """Measure a quantised model beside the one it was made of, and write its own figures into its card."""
    ours, theirs = (each.run(held_out.faces, held_out.landmarks).probabilities for each in (model, original))
    figures = score(held_out.labels, ours, model.card.labels).to_dict()
    metric = {**held_out.facts, **{name: figures[name] for name in _FIGURES}}
    write_card(model.source, replace(model.card, metrics=(metric,)))
    answers, beside = ours.argmax(1), theirs.argmax(1)
    right, right_beside = answers == held_out.labels, beside == held_out.labels
    return Loss(
        n=len(right),
        accuracy=float(right.mean()),
        float_accuracy=float(right_beside.mean()),
        difference=float(right.mean() - right_beside.mean()),
        difference_ci95=difference_interval(right, right_beside),
        mcnemar_p=mcnemar_exact(right, right_beside),
        agreement=float((answers == beside).mean()),
    )


def write_card(path: Path, card: ModelCard) -> None:
    """Put another card into a model file.

    Raises:
        OutputError: the file cannot be written.
    """
    proto = onnx.load(path)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    rewritten = path.with_name(path.name + ".rewritten")
    try:
        rewritten.write_bytes(proto.SerializeToString())
        rewritten.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write the model: {error.strerror or error}") from error


def _backbone_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Convolutions but those of the heads, and what follows them without leaving the values of convolutions."""
    constants = {tensor.name for tensor in graph.initializer}
    made: set[str] = set()
    chosen = []
    for node in graph.node:
        values = [name for name in node.input if name and name not in constants]
        follows = node.op_type in _FOLLOWERS and bool(values) and all(name in made for name in values)
        if _computes(node) or follows:
            chosen.append(node)
            made.update(node.output)
    return chosen


def _computes(node: onnx.NodeProto) -> bool:
    """Whether it is a convolution that is to compute in integers."""
    return node.op_type == "Conv" and not any(name.startswith(_HEADS) for name in node.input)


def _unfold_half(graph: onnx.GraphProto) -> None:
    """Put the weights of these convolutions in single precision where they are stored in half, with a cast behind."""
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    known = [value for value in graph.value_info if value.name not in halves]  # the others may still say float
    del graph.value_info[:]
    graph.value_info.extend(known)
    wanted = {name for node in graph.node if _computes(node) for name in node.input}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in halves]
    for node in (each for each in casts if each.output[0] in wanted):
        tensor = halves[node.input[0]]
        single = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(single, node.output[0]))
        graph.node.remove(node)


def _float_layers(graph: onnx.GraphProto, quantised: Container[str]) -> dict[str, int]:
    constants = {tensor.name for tensor in graph.initializer if tensor.name.startswith("network.")}
    casts = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in constants]
    constants |= {node.output[0] for node in casts}
    kinds = [
        n.op_type for n in graph.node if n.op_type != "Cast" and n.name not in quantised and constants & set(n.input)
    ]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}


def _batches(model: ExpressionModel, sample: Faces) -> list[dict[str, NDArray[Any]]]:
    inputs: dict[str, NDArray[Any]] = {"faces": sample.faces}
    if model.card.regions.boxes is None:
        if sample.landmarks is None:
            raise ValueError("the regions of this model follow the landmarks: landmarks must be given")
        inputs["landmarks"] = sample.landmarks
    starts = range(0, len(sample.faces), CALIBRATION_BATCH)
    return [{name: array[start : start + CALIBRATION_BATCH] for name, array in inputs.items()} for start in starts]


def _quantise_graph(
    proto: onnx.ModelProto,
    path: Path,
    nodes: Sequence[str],
    batches: Sequence[Mapping[str, NDArray[Any]]],
    reduced: bool,
) -> None:
    library = load_quantization()

    class Batches(library.CalibrationDataReader):  # type: ignore[misc,name-defined]  # its base is known at run time only
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> Mapping[str, NDArray[Any]] | None:
            return next(self._left, None)

    with _quiet():  # it advises a simplification that the exporter has made already
        library.quantize_static(
            proto,
            str(path),
            Batches(),
            quant_format=library.QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduced,
            activation_type=library.QuantType.QUInt8,
            weight_type=library.QuantType.QInt8,
            nodes_to_quantize=list(nodes),
        )


def _card(model: ExpressionModel, sample: Faces, reduced: bool) -> ModelCard:
    """The card of the float model, with how it was quantised.

    Its figures stay with the file they were measured on; its risk-coverage curve, without which no answer would be
    uncertain, is kept and said to be the float model's.
    """
    card = model.card
    quantization = {
        "weights": f"int8, {'7' if reduced else '8'} bits, by channel",
        "activations": "uint8, by tensor",
        "ranges": {"method": "smallest and largest value", "faces": len(sample.faces), **sample.facts},
        **({"uncertainty": "measured on the float model"} if card.uncertainty else {}),
        "made_of": {"name": card.name, "version": card.version, "sha256": model.sha256},
    }
    architecture = {**card.architecture, "quantization": quantization}
    # What its threshold was fitted to stands beside the figures in cards of earlier releases, and these go.
    places = (dict(zip(("dataset", "split"), place, strict=True)) for place in card.threshold_faces[:1])
    uncertainty = {**card.uncertainty, **next(places, {})}
    return replace(card, name=f"{card.name}-int8", architecture=architecture, metrics=(), uncertainty=uncertainty)


@contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
