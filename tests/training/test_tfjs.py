import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from regionfer.errors import CheckpointError  # noqa: E402
from regionfer.models import dlib_resnet, mobilenet  # noqa: E402
from regionfer.models.backbones import (  # noqa: E402
    DLIB,
    VGGFACE2_CAFFE,
    Backbone,
    Normalisation,
    Preprocessing,
    mobilenetv1_face,
    resnet29_face,
)
from regionfer.training.pretraining import load_pretrained  # noqa: E402
from regionfer.training.tfjs import backbone_state, read_tfjs, shard_files  # noqa: E402

DATA = Path(__file__).parent / "data"
PRETRAINED = Path(__file__).parents[2] / "pretrained"
SIDES = (97, 112, 224)
DLIB_FILE = "face_recognition_model-weights_manifest.json"
FACE_API = Normalisation(DLIB.mean, (255.0, 255.0, 255.0))
"""face-api.js divides by 255 what dlib divides by 256."""
TINY_WIDTHS = (8,) * 4 + (12,) * 7 + (16,) * 2


@pytest.fixture(scope="module")
def golden():
    """Faces and the features that TensorFlow.js gives for them, by scripts/make_tfjs_golden."""
    with np.load(DATA / "tfjs_golden.npz") as arrays:
        return dict(arrays)


def features(backbone: Backbone, faces: np.ndarray) -> np.ndarray:
    preprocessing = Preprocessing(backbone.normalisation, grey=False)
    with torch.inference_mode():
        return backbone(preprocessing(preprocessing.planes(torch.from_numpy(faces)))).mean((-2, -1)).numpy()


def largest_difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("side", SIDES)
def test_tiny_model_gives_the_features_of_tensorflow_js(golden, monkeypatch, side):
    monkeypatch.setattr(mobilenet, "WIDTHS", TINY_WIDTHS)
    backbone = Backbone(mobilenet.mobilenet_stages(), TINY_WIDTHS[-1], VGGFACE2_CAFFE)
    backbone.load_state_dict(backbone_state(DATA / "tiny-mobilenet.json"))
    found = features(backbone, golden[f"faces/{side}"])
    assert largest_difference(found, golden[f"tiny-mobilenet/{side}"]) < 1e-5


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ["faceres-deep", "faceres"])
def test_published_model_gives_the_features_of_tensorflow_js(golden, name, side):
    path = PRETRAINED / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"pretrained/{name}.json is missing; scripts/fetch_pretrained.sh gets it")
    backbone = mobilenetv1_face()
    backbone.load_state_dict(backbone_state(path))
    found = features(backbone, golden[f"faces/{side}"])
    assert largest_difference(found, golden[f"{name}/{side}"]) < 1e-4


def test_golden_faces_are_told_apart(golden):
    """Guards the golden values themselves: a broken run would give the same features for all."""
    plain, mirrored, grey, shifted = golden["faceres-deep/112"]
    for other in (mirrored, grey, shifted):
        assert 0.2 < np.linalg.norm(plain - other) / np.linalg.norm(plain) < 1


@pytest.fixture(scope="module")
def dlib_golden():
    """Faces and what face-api.js gives for them, by scripts/make_tfjs_golden."""
    with np.load(DATA / "dlib_golden.npz") as arrays:
        return dict(arrays)


def test_tiny_dlib_model_gives_the_features_of_face_api(dlib_golden, monkeypatch):
    monkeypatch.setattr(dlib_resnet, "STEM_WIDTH", 4)
    monkeypatch.setattr(dlib_resnet, "BLOCKS", {name: width // 8 for name, width in dlib_resnet.BLOCKS.items()})
    backbone = Backbone(dlib_resnet.dlib_resnet_stages(), 32, FACE_API)
    loaded = load_pretrained(backbone, DATA / f"tiny-{DLIB_FILE}")
    assert len(loaded.loaded) == 2 * 29  # a kernel and a bias for each convolution
    assert largest_difference(features(backbone, dlib_golden["faces"]), dlib_golden["tiny"]) < 1e-5


def test_the_files_that_hold_the_weights():
    assert shard_files(DATA / "tiny-mobilenet.json") == [DATA / f"tiny-mobilenet.bin{number}" for number in (1, 2)]
    assert shard_files(DATA / f"tiny-{DLIB_FILE}") == [DATA / "tiny-face_recognition_model.bin"]


def test_weights_of_the_other_network_are_refused():
    with pytest.raises(CheckpointError, match=r"manifest\.json: holds a network of another architecture"):
        load_pretrained(mobilenetv1_face(), DATA / f"tiny-{DLIB_FILE}")
    with pytest.raises(CheckpointError, match=r"tiny-mobilenet\.json: holds a network of another architecture"):
        load_pretrained(resnet29_face(), DATA / "tiny-mobilenet.json")


def test_published_dlib_model_gives_the_descriptors_of_face_api(dlib_golden):
    path = PRETRAINED / DLIB_FILE
    if not path.is_file():
        pytest.skip(f"pretrained/{DLIB_FILE} is missing; scripts/fetch_pretrained.sh gets it")
    backbone = resnet29_face()
    backbone.load_state_dict(backbone_state(path))
    backbone.normalisation = FACE_API
    descriptors = features(backbone, dlib_golden["faces"]) @ read_tfjs(path)["fc"]
    assert largest_difference(descriptors, dlib_golden["published"]) < 1e-4


def test_golden_descriptors_say_that_both_are_one_person(dlib_golden):
    """Guards the golden values themselves: dlib calls two faces one person's below a distance of 0.6."""
    plain, mirrored = dlib_golden["published"]
    assert 0.05 < np.linalg.norm(plain - mirrored) < 0.6


def write_model(folder: Path, weights: list[dict], content: bytes, **changes) -> Path:
    (folder / "model.bin").write_bytes(content)
    manifest = [{"paths": ["model.bin"], "weights": weights}]
    model = {"format": "graph-model", "modelTopology": {"node": []}, "weightsManifest": manifest} | changes
    path = folder / "model.json"
    path.write_text(json.dumps(model))
    return path


def quantised(kind: str, **fields: float) -> dict:
    return {"quantization": {"dtype": kind, **fields}}


STORED = {
    "float32": ("float32", {}, np.array([1.5, -2.0], "<f4"), [1.5, -2.0]),
    "int32": ("int32", {}, np.array([7, -8], "<i4"), [7, -8]),
    "bool": ("bool", {}, np.array([1, 0], "u1"), [True, False]),
    "float16": ("float32", quantised("float16"), np.array([0.5, -3.0], "<f2"), [0.5, -3.0]),
    "uint8": ("float32", quantised("uint8", scale=0.5, min=-1.0), np.array([0, 255], "u1"), [-1.0, 126.5]),
    "uint16": ("float32", quantised("uint16", scale=2.0, min=1.0), np.array([3, 65535], "<u2"), [7.0, 131071.0]),
    "int32-as-uint8": ("int32", quantised("uint8", scale=0.5, min=-2.0), np.array([1, 3], "u1"), [-1, 0]),
}


@pytest.mark.parametrize(("dtype", "extra", "stored", "expected"), STORED.values(), ids=STORED)
def test_every_kind_of_storage_is_read(tmp_path, dtype, extra, stored, expected):
    entry = {"name": "w", "shape": [2, 1], "dtype": dtype} | extra
    found = read_tfjs(write_model(tmp_path, [entry], stored.tobytes()))
    assert list(found) == ["w"]
    assert found["w"].dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found["w"], np.reshape(expected, (2, 1)))


def test_weights_follow_each_other_across_shards_and_groups(tmp_path):
    values = np.arange(6, dtype="<f4").tobytes()
    for name, part in {"a": values[:6], "b": values[6:16], "c": values[16:]}.items():
        (tmp_path / name).write_bytes(part)
    path = tmp_path / "model.json"
    groups = [
        {
            "paths": ["a", "b"],
            "weights": [
                {"name": "scalar", "shape": [], "dtype": "float32"},
                {"name": "row", "shape": [3], "dtype": "float32"},
            ],
        },
        {"paths": ["c"], "weights": [{"name": "pair", "shape": [1, 2], "dtype": "float32"}]},
    ]
    path.write_text(json.dumps({"modelTopology": {}, "weightsManifest": groups}))
    found = read_tfjs(path)
    assert {name: array.tolist() for name, array in found.items()} == {
        "scalar": 0.0,
        "row": [1.0, 2.0, 3.0],
        "pair": [[4.0, 5.0]],
    }


PAIR = [{"name": "w", "shape": [2], "dtype": "float32"}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (bytes(7), r"model\.json: the manifest describes 8 bytes of weights, model\.bin has 7; download"),
        (b"", r"describes 8 bytes of weights, model\.bin has 0"),
        (bytes(9), r"describes 8 bytes of weights, model\.bin has 9"),
    ],
    ids=["short", "empty", "long"],
)
def test_shard_of_another_size_is_refused(tmp_path, content, message):
    with pytest.raises(CheckpointError, match=message):
        read_tfjs(write_model(tmp_path, PAIR, content))


def test_missing_shard_is_named(tmp_path):
    path = write_model(tmp_path, PAIR, bytes(8))
    (tmp_path / "model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"model\.bin: no such file; model\.json keeps its weights there"):
        read_tfjs(path)


def test_missing_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.json: no such file; expected the \.json"):
        read_tfjs(tmp_path / "none.json")


def test_folder_instead_of_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be read: Is a directory"):
        read_tfjs(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n",
        b"",
        b"\xff\xfe{",
        b"[1, 2]",
        b"[]",
        b'[{"name": "x"}]',
        b'{"weightsManifest": []}',
        b'{"modelTopology": {}}',
    ],
    ids=["binary", "empty", "other-encoding", "list", "empty-list", "other-list", "no-topology", "no-manifest"],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "model.json"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.json: expected .* TensorFlow\.js graph model.*found other"):
        read_tfjs(path)


def test_layers_model_is_refused(tmp_path):
    path = write_model(tmp_path, PAIR, bytes(8), format="layers-model")
    with pytest.raises(CheckpointError, match=r"expected a TensorFlow\.js graph-model, found a layers-model"):
        read_tfjs(path)


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "string"},
        {"dtype": "float32"} | quantised("uint4"),
        {"dtype": "complex64"} | quantised("float16"),
    ],
    ids=["dtype", "quantisation", "dtype-quantised"],
)
def test_unknown_types_are_refused(tmp_path, entry):
    path = write_model(tmp_path, [{"name": "odd", "shape": [1]} | entry], bytes(4))
    with pytest.raises(CheckpointError, match=r"weight 'odd' is (string|uint4|complex64); expected one of"):
        read_tfjs(path)


@pytest.mark.parametrize(
    "entry",
    [{"name": "w", "shape": [1]}, {"name": "w", "dtype": "float32"}, {"shape": [1], "dtype": "float32"}],
    ids=["no-dtype", "no-shape", "no-name"],
)
def test_damaged_manifest_is_refused(tmp_path, entry):
    with pytest.raises(CheckpointError, match=r"model\.json: the weights manifest is damaged"):
        read_tfjs(write_model(tmp_path, [entry], bytes(4)))


def test_other_network_is_refused(tmp_path):
    path = write_model(tmp_path, PAIR, bytes(8))
    with pytest.raises(CheckpointError, match=r"expected a weight 'conv1/convolution/merged_input' .* found none"):
        backbone_state(path)


def test_weight_of_another_shape_is_refused(tmp_path):
    entry = {"name": "conv1/convolution/merged_input", "shape": [2], "dtype": "float32"}
    with pytest.raises(CheckpointError, match=r"with 4 axes, found shape \(2,\)"):
        backbone_state(write_model(tmp_path, [entry], bytes(8)))
