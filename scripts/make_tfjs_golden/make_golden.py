"""Write tests/training/data: features of real faces by TensorFlow.js, and tiny models that the tests always have.

    cd scripts/make_tfjs_golden && npm install && python make_golden.py

Needs Node 18 or later, scikit-image and, in pretrained/, what scripts/fetch_pretrained.sh gets. The faces are crops of
scikit-image's astronaut (NASA, public domain) and variants of it. The tiny models have the topology of the published
ones with few channels and random weights, stored in all the ways that TensorFlow.js knows.
"""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import data

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PRETRAINED = ROOT / "pretrained"
TARGET = ROOT / "tests" / "training" / "data"
STORAGES = ("float32", "float16", "uint8", "uint16")
WIDTHS = {"conv1": 32} | {f"conv_pw_{i}": w for i, w in enumerate((8,) * 4 + (12,) * 7 + (16,) * 2, start=1)}
DLIB = "face_recognition_model-weights_manifest.json"
"""Name by which face-api.js looks for dlib's network."""
DLIB_NARROWING = 8
"""Channels of dlib's network that are one of the tiny model's."""


def main() -> None:
    """Write the faces, the tiny models and the features of all."""
    TARGET.mkdir(parents=True, exist_ok=True)
    write_tiny_model(PRETRAINED / "faceres-deep.json", TARGET / "tiny-mobilenet.json")
    models = {
        "tiny-mobilenet": TARGET / "tiny-mobilenet.json",
        "faceres-deep": PRETRAINED / "faceres-deep.json",
        "faceres": PRETRAINED / "faceres.json",
    }
    golden: dict[str, NDArray[Any]] = {}
    for side, batch in faces().items():
        golden[f"faces/{side}"] = batch
        for name, path in models.items():
            golden[f"{name}/{side}"] = features(path, batch)
            print(name, side, golden[f"{name}/{side}"].shape, golden[f"{name}/{side}"][0, :4])
    np.savez_compressed(TARGET / "tfjs_golden.npz", **golden)
    write_dlib_golden()


def write_dlib_golden() -> None:
    """Write a tiny model like dlib's, and the descriptors that it and dlib's give by face-api.js."""
    tiny = TARGET / f"tiny-{DLIB}"
    write_tiny_dlib(PRETRAINED / DLIB, tiny)
    batch = dlib_faces()
    golden: dict[str, NDArray[Any]] = {"faces": batch}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(tiny, Path(folder, DLIB))
        shutil.copy(TARGET / "tiny-face_recognition_model.bin", folder)
        golden["tiny"] = descriptors(Path(folder), batch)
    golden["published"] = descriptors(PRETRAINED, batch)
    print("dlib", *((name, values.shape, values[0].ravel()[:4]) for name, values in golden.items()))
    np.savez_compressed(TARGET / "dlib_golden.npz", **golden)


def dlib_faces() -> NDArray[np.uint8]:
    """Real faces, (n, 150, 150, 3) uint8 RGB: plain and mirrored, as face-api.js takes them."""
    face = data.astronaut()[41:191, 155:305]
    return np.stack([face, face[:, ::-1]])


def descriptors(folder: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run dlib's network in face-api.js."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch, "faces.raw"), Path(scratch, "descriptors.raw")
        source.write_bytes(np.ascontiguousarray(batch).tobytes())
        subprocess.run(["node", HERE / "descriptors.mjs", folder, source, target], check=True)
        return np.fromfile(target, "<f4").reshape(len(batch), -1)


def write_tiny_dlib(published: Path, target: Path) -> None:
    """Write a manifest and its shard with the published one's names, few channels and random weights."""
    rng = np.random.default_rng(11)
    (group,) = json.loads(published.read_text())
    entries, content = [], b""
    for entry in group["weights"]:
        shape = [n if n < DLIB_NARROWING else n // DLIB_NARROWING for n in entry["shape"]]
        if entry["name"] == "fc":
            values = np.eye(shape[0], dtype=np.float32)  # so that the descriptor is the features
        elif entry["name"].endswith("filters"):
            values = rng.normal(0, np.prod(shape[:3]) ** -0.5, shape).astype(np.float32)
        else:
            values = rng.normal(1.0 if entry["name"].endswith("scale/weights") else 0.0, 0.3, shape).astype(np.float32)
        stored, quantisation = store(values, "float32" if entry["name"] == "fc" else "uint8")
        entries.append({"name": entry["name"], "shape": list(values.shape), "dtype": "float32"} | quantisation)
        content += stored
    shard = "tiny-face_recognition_model.bin"
    (target.parent / shard).write_bytes(content)
    target.write_text(json.dumps([{"paths": [shard], "weights": entries}], separators=(",", ":")) + "\n")


def faces() -> dict[int, NDArray[np.uint8]]:
    """Real faces by their side, (n, side, side, 3) uint8 RGB; no resampling that another release could change."""
    astronaut = data.astronaut()
    face = astronaut[60:172, 174:286]
    luma = (face @ np.array([0.299, 0.587, 0.114])).round().astype(np.uint8)
    return {
        112: np.stack(
            [face, face[:, ::-1], np.repeat(luma[..., None], 3, axis=2), astronaut[76:188, 159:271]]
        ),  # plain, mirrored, grey, shifted
        97: astronaut[None, 68:165, 180:277],  # odd sides all the way: 97, 49, 25, 13, 7, 4
        224: face.repeat(2, axis=0).repeat(2, axis=1)[None],
    }


def features(model: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Run one model in TensorFlow.js."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "faces.raw"), Path(folder, "features.raw")
        source.write_bytes(np.ascontiguousarray(batch).tobytes())
        subprocess.run(["node", HERE / "features.mjs", model, source, str(batch.shape[1]), target], check=True)
        return np.fromfile(target, "<f4").reshape(len(batch), -1)


def write_tiny_model(published: Path, target: Path) -> None:
    """Write a model with the published one's topology up to its features, and few random weights."""
    model = json.loads(published.read_text())
    nodes = model["modelTopology"]["node"]
    heads = ("age_pred", "gender_pred", "feats")
    nodes = [node for node in nodes if not node["name"].startswith(heads)]
    kept = {node["name"] for node in nodes}
    rng = np.random.default_rng(7)
    entries, content = [], b""
    inputs = 3
    for entry in model["weightsManifest"][0]["weights"]:
        if entry["name"] not in kept:
            continue
        layer = entry["name"].split("/")[0].removesuffix("_bn")
        values, inputs = random_weight(rng, entry["name"], layer, inputs)
        storage = STORAGES[len(entries) % len(STORAGES)] if values.ndim else "float32"
        stored, quantisation = store(values, storage)
        entries.append({"name": entry["name"], "shape": list(values.shape), "dtype": str(values.dtype)} | quantisation)
        content += stored
    shapes = {entry["name"]: entry["shape"] for entry in entries}
    for node in nodes:
        if node["op"] == "Const":
            node["attr"]["value"]["tensor"]["tensorShape"] = {"dim": [{"size": str(n)} for n in shapes[node["name"]]]}
    half = len(content) // 2  # two shards, cut in the middle of a weight
    shards = {f"{target.stem}.bin1": content[:half], f"{target.stem}.bin2": content[half:]}
    for name, part in shards.items():
        (target.parent / name).write_bytes(part)
    tiny = {
        "format": "graph-model",
        "generatedBy": "scripts/make_tfjs_golden",
        "modelTopology": {"node": nodes, "versions": {}},
        "weightsManifest": [{"paths": list(shards), "weights": entries}],
    }
    target.write_text(json.dumps(tiny, separators=(",", ":")) + "\n")


def random_weight(rng: np.random.Generator, name: str, layer: str, inputs: int) -> tuple[NDArray[Any], int]:
    """Draw a weight so that activations fill 0..6 and some are clipped; also give the channels after it."""
    if name.endswith("reduction_indices"):
        return np.array([1, 2], np.int32), inputs
    if name.endswith("/Cast"):
        return np.array(6, np.float32), inputs
    if name.endswith("/Const_1"):
        return np.array(0, np.float32), inputs
    if name.endswith("merged_input"):
        side = 3 if layer == "conv1" else 1
        outputs = WIDTHS[layer]
        spread = 0.02 if layer == "conv1" else 1.5 / np.sqrt(inputs)
        return rng.normal(0, spread, (side, side, inputs, outputs)).astype(np.float32), outputs
    if name.endswith("depthwise_kernel"):
        return rng.normal(0, 0.5, (3, 3, inputs, 1)).astype(np.float32), inputs
    if name.endswith("/mul"):
        return rng.uniform(0.5, 1.5, inputs).astype(np.float32), inputs
    return rng.normal(0.5, 0.5, inputs).astype(np.float32), inputs  # .../sub


def store(values: NDArray[Any], storage: str) -> tuple[bytes, dict[str, Any]]:
    """Bytes of a weight in the shard, and its "quantization" in the manifest."""
    if storage == "float32" or values.dtype != np.float32:
        return values.tobytes(), {}
    if storage == "float16":
        return values.astype("<f2").tobytes(), {"quantization": {"dtype": storage, "original_dtype": "float32"}}
    low, high = float(values.min()), float(values.max())
    scale = (high - low) / np.iinfo(storage).max
    steps = np.round((values.astype(np.float64) - low) / scale).astype(np.dtype(storage).newbyteorder("<"))
    quantisation = {"dtype": storage, "scale": scale, "min": low, "original_dtype": "float32"}
    return steps.tobytes(), {"quantization": quantisation}


if __name__ == "__main__":
    main()
