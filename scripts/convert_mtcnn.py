# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=1.26", "onnx>=1.16", "joblib>=1.4", "lz4>=4.3"]
# ///
"""Write MTCNN's three networks as ONNX from the weights in the PyPI package mtcnn 1.0.0 (MIT).

    pip download --no-deps mtcnn==1.0.0
    python scripts/convert_mtcnn.py mtcnn-1.0.0-py3-none-any.whl

The wheel must have the SHA-256 below: its arrays are pickled, and only this file is known to be harmless.
The same wheel and the same release of onnx give the same bytes.

The graphs take pixels as they are, uint8 (N, H, W, 3) RGB, and hold the scaling (x - 127.5) / 128 themselves.
They keep what TensorFlow computes: 'same' max pooling that pads below and to the right only, and the swap of rows and
columns before the first dense layer (the networks were trained in Matlab, where images are stored column by column).
Where the same function can be written in a way that ONNX Runtime computes faster on a CPU, it is; the methods say how.

| file      | outputs                                                                                        |
|-----------|------------------------------------------------------------------------------------------------|
| pnet.onnx | scores (N, h, w), offsets (N, h, w, 4), one 12 x 12 window every 2 pixels                      |
| rnet.onnx | scores (N,), offsets (N, 4), from 24 x 24 pixels                                               |
| onet.onnx | scores (N,), offsets (N, 4), landmarks (N, 5, 2) x y in 0..1 of the window, from 48 x 48 pixels |

Offsets are x1 y1 x2 y2 as shares of the window's side.
"""

import argparse
import hashlib
import io
import tempfile
import zipfile
from pathlib import Path

import joblib
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WHEEL_SHA256 = "0a96b4868e56db9ae984449519642be6dba03240e608a67e928ebb47833e9144"
SOURCE = "mtcnn 1.0.0 of the Python Package Index (https://github.com/ipazc/mtcnn)"
LICENCE = "MIT, Copyright (c) 2019-2024 Iván de Paz Centeno"
PAPER = "Zhang, Zhang, Li, Qiao, 2016, Joint Face Detection and Alignment using MTCNN, arXiv:1604.02878"
TARGET = Path(__file__).parents[1] / "src" / "regionfer" / "faces" / "weights"

BLOCK = 16  # channels that ONNX Runtime computes at a time (8 without AVX-512); with fewer it reorders between layers

Arrays = list[np.ndarray]


class _Graph:
    """An ONNX graph that grows node by node; every method returns the name of its result."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = iter(arrays)
        self.spare = 0  # channels of zeros that fill up the last layer's block
        self.order: np.ndarray | None = None  # which of its inputs the next dense layer meets in each place
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, values: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def add(self, operation: str, *inputs: str, result: str | None = None, **attributes: object) -> str:
        name = result or f"{operation.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operation, list(inputs), [name], name=f"{name}_node", **attributes))
        return name

    def pixels(self, x: str) -> str:
        """uint8 (N, H, W, 3) to float32 (N, 3, H, W) in -1..1."""
        x = self.add("Cast", x, to=TensorProto.FLOAT)
        x = self.add("Sub", x, self.constant(np.float32(127.5)))
        x = self.add("Mul", x, self.constant(np.float32(1 / 128)))
        return self.add("Transpose", x, perm=[0, 3, 1, 2])

    def conv(self, x: str, *, fill: bool = False) -> str:
        """The next layer; ``fill`` adds channels of zeros up to a whole block, which saves reordering around it."""
        kernel, bias = self.kernel(), next(self.arrays)
        self.spare = -len(bias) % BLOCK if fill else 0
        kernel = np.pad(kernel, [(0, self.spare), (0, 0), (0, 0), (0, 0)])
        return self.add("Conv", x, self.constant(kernel), self.constant(np.pad(bias, (0, self.spare))))

    def kernel(self) -> np.ndarray:
        kernel = next(self.arrays).transpose(3, 2, 0, 1)  # height width in out -> out in height width
        return np.pad(kernel, [(0, 0), (0, self.spare), (0, 0), (0, 0)])

    def mix(self, x: str, channels: np.ndarray) -> str:
        """Mixtures (m, n) of the n channels of x."""
        return self.add("Conv", x, self.constant(channels[:, :, None, None].astype(np.float32)))

    def prelu(self, x: str) -> str:
        """As slope * x + (1 - slope) * max(x, 0): in PRelu, ONNX Runtime branches at each value, at twice the time."""
        slope = next(self.arrays)
        slope = np.pad(slope.reshape(-1, 1, 1), [(0, self.spare), (0, 0), (0, 0)]) if slope.ndim == 3 else slope
        below = self.add("Mul", x, self.constant(slope))
        above = self.add("Mul", self.add("Relu", x), self.constant(1 - slope))
        return self.add("Add", above, below)

    def conv_prelu_pool(self, x: str, side: int) -> str:
        """The next three layers, with the pooling before PRelu, which then has a quarter of the values.

        With a slope a of 0 or more the two can change places. Below 0, the largest PRelu(x) of a window comes from its
        largest x or from its smallest: it is the larger of p = max(largest, 0) and q = -a max(-smallest, 0), that is
        p + max(q - p, 0). The smallest is minus the largest of -x, a channel more. These channels cost no time as
        long as they fill up a block.
        """
        kernel, bias, slope = self.kernel(), next(self.arrays), np.ravel(next(self.arrays))
        falling = np.flatnonzero(slope < 0)
        same, more = np.eye(len(slope)), np.eye(len(falling))
        assert len(same) + len(more) <= BLOCK, "the negated channels would take a block of their own"
        channels = np.concatenate([same, -same[falling]]).astype(np.float32)
        kernel, bias = np.tensordot(channels, kernel, 1), channels @ bias
        largest = self.pool(self.add("Conv", x, self.constant(kernel), self.constant(bias)), side, "same")
        above = self.add("Relu", largest)
        excess = self.add("Relu", self.mix(above, np.hstack([-same[falling], more * -slope[falling]])))
        below = np.hstack([np.diag(slope.clip(0)), np.zeros((len(same), len(more)))])
        rest = np.hstack([np.diag(1 - slope.clip(0)), np.zeros((len(same), len(more)))])
        pooled = self.add("Add", self.mix(largest, below), self.mix(above, rest))
        return self.add("Add", pooled, self.mix(excess, same[:, falling]))

    def pool(self, x: str, side: int, padding: str) -> str:
        padding = {"same": "SAME_UPPER", "valid": "VALID"}[padding]
        return self.add("MaxPool", x, kernel_shape=[side, side], strides=[2, 2], auto_pad=padding)

    def flatten(self, x: str, channels: int, side: int) -> str:
        """(N, channels, side, side) in a row, as it is; it is the next dense layer that expects W, H, C and swaps."""
        self.order = np.arange(side * side * channels).reshape(side, side, channels).transpose(2, 1, 0).ravel()
        return self.add("Flatten", x)

    def dense(self, x: str, result: str | None = None) -> str:
        kernel, bias = next(self.arrays), next(self.arrays)
        if self.order is not None:
            kernel, self.order = kernel[self.order], None
        return self.add("Gemm", x, self.constant(kernel), self.constant(bias), result=result)

    def scan_heads(self, x: str) -> None:
        """Offsets and scores of every window from one convolution.

        Of a softmax over (no face, face) the second is the sigmoid of their difference.
        """
        (offset_kernel, offset_bias), (kernel, bias) = ((self.kernel(), next(self.arrays)) for _ in range(2))
        kernel = np.concatenate([offset_kernel, kernel[1:] - kernel[:1]])
        bias = np.concatenate([offset_bias, bias[1:] - bias[:1]])
        heads = self.add("Conv", x, self.constant(kernel), self.constant(bias))
        heads = self.add("Transpose", heads, perm=[0, 2, 3, 1])
        four, last = self.constant(np.array([4])), self.constant(np.array([3]))
        self.add("Slice", heads, self.constant(np.array([0])), four, last, result="offsets")
        self.add("Sigmoid", self.add("Gather", heads, self.constant(np.int64(4)), axis=3), result="scores")

    def face_share(self, logits: str) -> None:
        """Softmax over (no face, face), of which the second is kept as 'scores'."""
        shares = self.add("Softmax", logits, axis=1)
        self.add("Gather", shares, self.constant(np.int64(1)), axis=1, result="scores")

    def model(self, name: str, side: int | None, outputs: dict[str, list[int | str]]) -> onnx.ModelProto:
        assert next(self.arrays, None) is None, "the package holds more arrays than the network has layers"
        image = ["n", side or "height", side or "width", 3]
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("images", TensorProto.UINT8, image)],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, shape) for key, shape in outputs.items()],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        model.producer_name = "regionfer scripts/convert_mtcnn.py"
        notes = {"source": SOURCE, "source_sha256": WHEEL_SHA256, "licence": LICENCE, "paper": PAPER}
        helper.set_model_props(model, notes)
        onnx.checker.check_model(model, full_check=True)
        return model


def _pnet(arrays: Arrays) -> onnx.ModelProto:
    g = _Graph(arrays)
    x = g.conv_prelu_pool(g.pixels("images"), 2)
    x = g.prelu(g.conv(x))
    x = g.prelu(g.conv(x))
    g.scan_heads(x)
    return g.model("pnet", None, {"scores": ["n", "rows", "columns"], "offsets": ["n", "rows", "columns", 4]})


def _rnet(arrays: Arrays) -> onnx.ModelProto:
    g = _Graph(arrays)
    x = g.pool(g.prelu(g.conv(g.pixels("images"), fill=True)), 3, "same")
    x = g.pool(g.prelu(g.conv(x)), 3, "valid")
    x = g.flatten(g.prelu(g.conv(x)), 64, 3)
    x = g.prelu(g.dense(x))
    g.dense(x, result="offsets")
    g.face_share(g.dense(x))
    return g.model("rnet", 24, {"scores": ["n"], "offsets": ["n", 4]})


def _onet(arrays: Arrays) -> onnx.ModelProto:
    g = _Graph(arrays)
    x = g.pool(g.prelu(g.conv(g.pixels("images"))), 3, "same")
    x = g.pool(g.prelu(g.conv(x)), 3, "valid")
    x = g.pool(g.prelu(g.conv(x)), 2, "same")
    x = g.flatten(g.prelu(g.conv(x)), 128, 3)
    x = g.prelu(g.dense(x))
    g.dense(x, result="offsets")
    points = g.add("Reshape", g.dense(x), g.constant(np.array([-1, 2, 5])))  # five x, then five y
    g.add("Transpose", points, perm=[0, 2, 1], result="landmarks")
    g.face_share(g.dense(x))
    return g.model("onet", 48, {"scores": ["n"], "offsets": ["n", 4], "landmarks": ["n", 5, 2]})


def read_arrays(wheel: bytes, name: str) -> Arrays:
    """The list of arrays in one of the package's files, in the order of its layers."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive, tempfile.TemporaryDirectory() as folder:
        return joblib.load(archive.extract(f"mtcnn/assets/weights/{name}.lz4", folder))


def main() -> None:
    """Read the wheel named on the command line, write three ONNX files and SHA256SUMS."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, help="mtcnn-1.0.0-py3-none-any.whl")
    parser.add_argument("--output", type=Path, default=TARGET, help="folder to write to (default: the package)")
    arguments = parser.parse_args()

    wheel = arguments.wheel.read_bytes()
    found = hashlib.sha256(wheel).hexdigest()
    if found != WHEEL_SHA256:
        parser.error(f"{arguments.wheel}: expected SHA-256 {WHEEL_SHA256}, found {found}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    sums = []
    for name, build in {"pnet": _pnet, "rnet": _rnet, "onet": _onet}.items():
        path = arguments.output / f"{name}.onnx"
        path.write_bytes(build(read_arrays(wheel, name)).SerializeToString(deterministic=True))
        sums.append(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")
    (arguments.output / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    print("\n".join(sums))


if __name__ == "__main__":
    main()
