"""The model file: what a good one gives, and what each kind of bad one gets."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from regionfer.errors import ModelError
from regionfer.labels import LABELS
from regionfer.onnx_model import HEADS, ExpressionModel


def some_faces(count, side=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def expected_probabilities(path: Path, faces):
    """The tiny graph again, in NumPy."""
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    logits = faces.mean(axis=(1, 2)) / 255 @ weights["to_logits"]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


class TestRun:
    @pytest.mark.parametrize("count", [0, 1, 7, 32, 33, 70])
    def test_any_number_of_faces(self, tiny_model, tiny_path, count):
        output = tiny_model.run(faces := some_faces(count))
        assert output.probabilities.shape == (count, 8)
        assert output.mu.shape == output.nu.shape == output.attention.shape == (count, 6)
        assert all(array.dtype == np.float32 for array in output[:4])
        assert (output.visibility, output.occlusion, output.pose) == (None, None, None)
        np.testing.assert_allclose(output.probabilities, expected_probabilities(tiny_path, faces), atol=1e-5)
        np.testing.assert_allclose(output.attention.sum(axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize(("batch_size", "expected"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (32, [5])])
    def test_runs_are_of_bounded_size(self, tiny_path, monkeypatch, batch_size, expected):
        model, sizes = ExpressionModel.load(tiny_path), []
        session = model._session

        class Counting:
            def run(self, outputs, inputs):
                sizes.append(len(inputs["faces"]))
                return session.run(outputs, inputs)

        monkeypatch.setattr(model, "_session", Counting())
        model.run(some_faces(5), batch_size=batch_size)
        assert sizes == expected

    def test_any_side(self, tiny_model):
        assert tiny_model.run(some_faces(2, side=31)).probabilities.shape == (2, 8)

    def test_landmark_model(self, save_model, make_card):
        model = ExpressionModel.load(save_model(make_card(landmarks=True)))
        landmarks = np.full((3, 5, 2), 0.5, dtype=np.float32)
        assert model.run(some_faces(3), landmarks, batch_size=2).mu.shape == (3, 6)
        with pytest.raises(ValueError, match="landmarks must be given"):
            model.run(some_faces(3))
        with pytest.raises(ValueError, match=r"landmarks must have shape \(3, 5, 2\), got \(2, 5, 2\)"):
            model.run(some_faces(3), landmarks[:2])

    @pytest.mark.parametrize(
        "faces",
        [
            pytest.param(np.zeros((2, 12, 12, 3), dtype=np.float32), id="float"),
            pytest.param(np.zeros((12, 12, 3), dtype=np.uint8), id="one face without its axis"),
            pytest.param(np.zeros((2, 3, 12, 12), dtype=np.uint8), id="channels first"),
            pytest.param(np.zeros((2, 12, 10, 3), dtype=np.uint8), id="not square"),
        ],
    )
    def test_refuses_other_arrays(self, tiny_model, faces):
        with pytest.raises(ValueError, match=r"faces must be uint8 of shape \(n, S, S, 3\), got"):
            tiny_model.run(faces)

    def test_refuses_empty_batches(self, tiny_model):
        with pytest.raises(ValueError, match="batch_size must be 1 or more"):
            tiny_model.run(some_faces(1), batch_size=0)

    def test_threads_agree(self, tiny_model):
        inputs = [some_faces(9, seed=seed) for seed in range(24)]
        alone = [tiny_model.run(faces).probabilities for faces in inputs]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda faces: tiny_model.run(faces).probabilities, inputs))
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)


class TestHeads:
    """Outputs that a model may have, too."""

    @pytest.mark.parametrize("count", [0, 1, 5, 9])
    def test_what_they_say(self, trusted_model, count):
        output = trusted_model.run(faces := some_faces(count), batch_size=4)
        features = faces.mean(axis=(1, 2)) / 255
        logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
        np.testing.assert_allclose(output.visibility, np.tile(logistic(6 - 12 * features[:, :1]), (1, 6)), atol=1e-5)
        np.testing.assert_allclose(output.occlusion[:, 1], logistic(12 * features[:, 0] - 6), atol=1e-5)
        np.testing.assert_allclose(output.pose, features * [60, 30, 40], atol=1e-4)
        assert (output.visibility.shape, output.occlusion.shape) == ((count, 6), (count, 6))
        assert all(array.dtype == np.float32 for array in output)

    @pytest.mark.parametrize("heads", [("pose",), ("pose", "visibility"), ("occlusion",), ()], ids="+".join)
    def test_any_of_them(self, save_model, heads):
        model = ExpressionModel.load(save_model(heads=heads))
        output = model.run(some_faces(10), batch_size=3)
        given = {name for name in HEADS if getattr(output, name) is not None}
        assert given == set(heads) == set(model.heads)
        np.testing.assert_array_equal(
            output.mu, ExpressionModel.load(save_model()).run(some_faces(10), batch_size=3).mu
        )

    @pytest.mark.parametrize(
        ("name", "width", "message"),
        [
            ("visibility", 5, r"expected visibility as tensor\(float\) of shape \('any', 6\), found .* \('n', 5\)"),
            ("occlusion", 5, r"expected occlusion as tensor\(float\) of shape \('any', 6\)"),
            ("pose", 2, r"expected pose as tensor\(float\) of shape \('any', 3\)"),
        ],
    )
    def test_another_shape(self, save_model, name, width, message):
        def edit(model):
            (output,) = (node for node in model.graph.output if node.name == name)
            output.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width]))
            (tensor,) = (each for each in model.graph.initializer if each.name == f"to_{name}")
            narrow = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)[:, :width])
            tensor.CopyFrom(onnx.numpy_helper.from_array(narrow, tensor.name))

        path = save_model(heads=HEADS, edit=edit)
        with pytest.raises(ModelError, match=message) as caught:
            ExpressionModel.load(path)
        assert_one_line(caught, path)


class TestLoad:
    def test_card_and_hash(self, tiny_path, make_card):
        model = ExpressionModel.load(str(tiny_path))
        assert model.card == make_card()
        assert model.card.labels == LABELS
        assert model.sha256 == hashlib.sha256(tiny_path.read_bytes()).hexdigest()
        assert model.providers == ("CPUExecutionProvider",)
        assert "tiny 0.0.1" in repr(model)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("best.safetensors", r"a training checkpoint, .*: regionfer export .*/best\.safetensors best\.onnx$"),
            ("best.pth", "a PyTorch file; regionfer reads the .onnx models"),
        ],
    )
    def test_another_kind_of_weights(self, tmp_path, name, message):
        (tmp_path / name).write_bytes(b"weights")
        with pytest.raises(ModelError, match=f"{name}: {message}"):
            ExpressionModel.load(tmp_path / name)

    def test_in_messages_it_is_its_file(self, tiny_model, tiny_path):
        assert str(tiny_model) == str(tiny_path)
        assert tiny_model.fingerprint == tiny_model.sha256

    def test_own_labels(self, save_model, make_card):
        model = ExpressionModel.load(save_model(make_card(labels=("calm", "tense"))))
        assert model.run(some_faces(3)).probabilities.shape == (3, 2)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            pytest.param(None, "no such model file", id="missing"),
            pytest.param(b"", "not an ONNX model", id="empty"),
            pytest.param(b"this is a text", "not an ONNX model", id="text"),
            pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(500), "not an ONNX model", id="picture"),
            pytest.param("truncated", "not an ONNX model", id="truncated"),
            pytest.param("folder", "cannot be read as a model file", id="folder"),
            pytest.param(b"PK\x03\x04....best/data.pkl", "a PyTorch file; regionfer reads", id="torch"),
        ],
    )
    def test_not_a_model(self, tmp_path, tiny_path, content, message):
        path = tmp_path / "model.onnx"
        if content == "folder":
            path.mkdir()
        elif content is not None:
            path.write_bytes(tiny_path.read_bytes()[:300] if content == "truncated" else content)
        with pytest.raises(ModelError, match=message) as caught:
            ExpressionModel.load(path)
        assert_one_line(caught, path)

    @pytest.mark.parametrize(
        ("stored", "message"),
        [
            pytest.param(None, "of another kind, without 'regionfer'", id="another kind"),
            pytest.param("{", "the metadata is not JSON", id="not JSON"),
            pytest.param("[]", "must be a JSON object, found list", id="not an object"),
            pytest.param({"schema": 2}, "made for schema version 2, this release reads 1", id="newer schema"),
            pytest.param({"schema": None}, "made for schema version None", id="no schema"),
            pytest.param({"labels": "gone"}, "'labels' is missing", id="missing key"),
            pytest.param({"labels": ["one"]}, "two or more distinct names", id="one label"),
            pytest.param({"face_size": 0}, "sizes must be positive", id="no size"),
            pytest.param({"temperature": 0}, "temperature must be above 0", id="temperature"),
            pytest.param({"color": "bgr"}, "color must be 'rgb' or 'grey', got 'bgr'", id="colour"),
            pytest.param({"metrics": [{"dataset": "x"}]}, "a metric lacks accuracy, n", id="metric"),
            pytest.param(
                {"metrics": [{"dataset": "x", "n": 3, "accuracy": 84.0}]}, "accuracy must be in 0..1", id="percent"
            ),
            pytest.param({"labels": ["calm", "tense"]}, "wrong outputs: expected probabilities", id="labels"),
            pytest.param({"uncertainty": {"threshold": 0.5}}, "uncertainty lacks risk, coverage, n, curve", id="curve"),
            pytest.param({"occlusion_threshold": 50}, "occlusion_threshold must be between 0 and 1", id="covered"),
            pytest.param({"prior_shift": [0.1]}, "prior_shift must have 8 numbers or none", id="shift"),
        ],
    )
    def test_another_card(self, save_model, make_card, stored, message):
        def edit(model):
            del model.metadata_props[:]
            if stored is None:
                return
            text = stored
            if isinstance(stored, dict):
                card = make_card().to_dict() | stored
                text = json.dumps({key: value for key, value in card.items() if value != "gone"})
            helper.set_model_props(model, {"regionfer": text})

        path = save_model(edit=edit)
        with pytest.raises(ModelError, match=message) as caught:
            ExpressionModel.load(path)
        assert_one_line(caught, path)

    @pytest.mark.parametrize(
        ("edit", "message"),
        [
            pytest.param(
                lambda graph: graph.output.pop(),
                "wrong outputs: expected .*, and perhaps visibility, occlusion, pose, found probabilities, mu, nu;",
                id="output",
            ),
            pytest.param(
                lambda graph: graph.output.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 8])),
                "wrong outputs: expected .*, found probabilities, mu, nu, attention, logits",
                id="another output",
            ),
            pytest.param(
                lambda graph: graph.input.append(helper.make_tensor_value_info("age", TensorProto.FLOAT, [1])),
                "wrong inputs: expected faces, found faces, age",
                id="input",
            ),
            pytest.param(
                lambda graph: graph.input[0].type.tensor_type.shape.dim[3].ClearField("dim_value"), None, id="open size"
            ),
            pytest.param(
                lambda graph: graph.input[0].CopyFrom(
                    helper.make_tensor_value_info("faces", TensorProto.FLOAT, ["n", "side", "side", 3])
                ),
                r"expected faces as tensor\(uint8\) of shape \('any', 'any', 'any', 3\), found tensor\(float\)",
                id="type",
            ),
        ],
    )
    def test_another_graph(self, save_model, edit, message):
        path = save_model(edit=lambda model: edit(model.graph))
        if message is None:
            assert ExpressionModel.load(path)
            return
        with pytest.raises(ModelError, match=message) as caught:
            ExpressionModel.load(path)
        assert_one_line(caught, path)

    def test_unknown_provider(self, tiny_path):
        with pytest.raises(
            ModelError, match=r"provider MagicProvider is not in this ONNX Runtime.*CPUExecutionProvider"
        ):
            ExpressionModel.load(tiny_path, providers=["MagicProvider", "CPUExecutionProvider"])

    def test_other_threads_a_run(self, save_model):
        """A second session, of the bytes that were read: the file may be gone."""
        path = save_model()
        model = ExpressionModel.load(path, threads=2)
        path.unlink()
        assert model.concurrent
        alone = model.with_threads(1)
        assert alone._session.get_session_options().intra_op_num_threads == 1
        assert (alone.card, alone.source, alone.sha256) == (model.card, model.source, model.sha256)
        assert alone.with_threads(2)._session.get_session_options().intra_op_num_threads == 2
        faces = np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), np.uint8)
        np.testing.assert_allclose(alone.run(faces).probabilities, model.run(faces).probabilities, rtol=1e-5)

    def test_a_gpu_is_not_run_several_times_at_once(self, tiny_path, monkeypatch):
        monkeypatch.setattr(ExpressionModel, "providers", ("CUDAExecutionProvider", "CPUExecutionProvider"))
        model = ExpressionModel.load(tiny_path)
        assert not model.concurrent
        assert model.with_threads(1) is model

    def test_threads_are_counted_from_one(self, tiny_path):
        with pytest.raises(ValueError, match="threads must be at least 1"):
            ExpressionModel.load(tiny_path, threads=0)


def assert_one_line(caught, path):
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
