"""Quantisation of a small convolutional model: what is computed in integers, what the card says, what is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper
from PIL import Image

from regionfer.cli import main
from regionfer.datasets import read_dataset
from regionfer.errors import ModelError, OutputError
from regionfer.metrics import mcnemar_exact
from regionfer.onnx_model import ExpressionModel
from regionfer.quantisation import Faces, measure_loss, quantise
from regionfer.training.export import store_in_half


def with_convolutions(model: onnx.ModelProto) -> None:
    """Two convolutions between the pixels of the tiny graph and their mean, the first followed by a ReLU."""
    graph, rng = model.graph, np.random.default_rng(5)
    kernels = {
        "network.first": rng.normal(0, 0.3, (8, 3, 1, 1)).astype(np.float32),
        "network.second": rng.normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32),
    }
    kernels["network.first"][0] *= 50  # one channel far larger than the others: only right if scaled by channel
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in kernels.items())
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "network.first"], ["one"], "first"),
        helper.make_node("Relu", ["one"], ["two"], "relu"),
        helper.make_node("Conv", ["two", "network.second"], ["three"], "second"),
        helper.make_node("Sigmoid", ["three"], ["four"]),
        helper.make_node("Transpose", ["four"], ["maps"], perm=[0, 2, 3, 1]),
    ]
    kept = list(graph.node)
    kept[1].input[0] = "maps"
    kept[2].op_type = "Mul"  # the maps are in 0..1, pixels were in 0..255
    graph.ClearField("node")
    graph.node.extend([kept[0], *nodes, *kept[1:]])
    next(tensor for tensor in graph.initializer if tensor.name == "white").CopyFrom(
        numpy_helper.from_array(np.array(1, dtype=np.float32), "white")
    )
    del graph.value_info[:]


def has_vnni() -> bool:
    """Whether 8-bit products are summed in 32 bits here: elsewhere they overflow, and weights must have 7."""
    info = Path("/proc/cpuinfo")
    return info.is_file() and "vnni" in info.read_text()


BITS = [
    pytest.param(True, id="7 bits"),
    pytest.param(False, id="8 bits", marks=pytest.mark.skipif(not has_vnni(), reason="this processor has no VNNI")),
]


@pytest.fixture(scope="module")
def original(save_model):
    return ExpressionModel.load(save_model(edit=with_convolutions))


@pytest.fixture(scope="module")
def sample(original):
    faces = np.random.default_rng(1).integers(0, 256, (60, 1, 1, 3), dtype=np.uint8).repeat(12, 1).repeat(12, 2)
    labels = original.run(faces).probabilities.argmax(1)
    return Faces(faces, labels, {"dataset": "made", "split": "train", "protocol": "none"})


@pytest.mark.parametrize("reduced", BITS)
def test_convolutions_compute_in_integers_and_answer_alike(original, sample, tmp_path, reduced):
    quantised = quantise(original, tmp_path / "deep" / "int8.onnx", sample, reduced=reduced)
    assert quantised.convolutions == 2
    ours, theirs = (model.run(sample.faces) for model in (quantised.model, original))
    assert 0 < np.abs(ours.probabilities - theirs.probabilities).max() < (0.1 if reduced else 0.05)
    graph = onnx.load(quantised.model.source).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [name for name in kinds if name.startswith("network.") and name.endswith("_quantized")]
    assert len(weights) == 2
    assert {kinds[name] for name in weights} == {onnx.TensorProto.INT8}
    # Weights of the head, and all around the convolutions, are as they were.
    assert kinds["to_logits"] == onnx.TensorProto.FLOAT
    scale = next(tensor for tensor in graph.initializer if tensor.name == "network.first_scale")
    assert numpy_helper.to_array(scale).shape == (8,)


@pytest.mark.parametrize("half", [False, True])
def test_convolutions_of_the_heads_stay_as_they_are(original, sample, tmp_path, half):
    proto = onnx.load(original.source)
    for tensor in proto.graph.initializer:
        tensor.name = tensor.name.replace("network.second", "network.heads.second")
    for node in proto.graph.node:
        node.input[:] = [name.replace("network.second", "network.heads.second") for name in node.input]
    if half:
        store_in_half(proto, ["network.first", "network.heads.second"])
    (tmp_path / "heads.onnx").write_bytes(proto.SerializeToString())
    quantised = quantise(ExpressionModel.load(tmp_path / "heads.onnx"), tmp_path / "int8.onnx", sample)
    assert quantised.convolutions == 1
    assert quantised.left["Conv"] == 1
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(quantised.model.source).graph.initializer}
    assert kinds["network.first.single_quantized" if half else "network.first_quantized"] == onnx.TensorProto.INT8
    assert kinds["network.heads.second"] == (onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT)


@pytest.mark.parametrize("reduced", BITS)
def test_weights_stored_in_half_precision(original, sample, tmp_path, reduced):
    """The casts of convolutions are undone first, as a weight behind a cast would not be taken for one; others stay."""
    proto = onnx.load(original.source)
    for tensor in proto.graph.initializer:  # as exported files have it, of what was stored in half later
        proto.graph.value_info.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    store_in_half(proto, ["network.first", "network.second", "to_mu"])
    (tmp_path / "half.onnx").write_bytes(proto.SerializeToString())
    half = ExpressionModel.load(tmp_path / "half.onnx")
    quantised = quantise(half, tmp_path / "int8.onnx", sample, reduced=reduced)
    kinds = {tensor.name: tensor.data_type for tensor in onnx.load(quantised.model.source).graph.initializer}
    weights = [name for name, kind in kinds.items() if kind == onnx.TensorProto.INT8 and name.startswith("network.")]
    assert len([name for name in weights if name.endswith("_quantized")]) == 2
    assert kinds["to_mu"] == onnx.TensorProto.FLOAT16
    ours, theirs = (model.run(sample.faces) for model in (quantised.model, half))
    assert np.abs(ours.probabilities - theirs.probabilities).max() < (0.1 if reduced else 0.05)


def test_the_card_is_kept_and_says_how(original, sample, tmp_path):
    card = quantise(original, tmp_path / "int8.onnx", sample, reduced=True).model.card
    assert (card.name, card.labels, card.licence) == ("tiny-int8", original.card.labels, "MIT")
    assert card.regions == original.card.regions
    made = card.architecture["quantization"]
    assert made["weights"] == "int8, 7 bits, by channel"
    assert (made["ranges"]["faces"], made["ranges"]["dataset"]) == (60, "made")
    assert made["made_of"]["sha256"] == original.sha256
    assert card.metrics == ()  # those of the float model are not its own
    assert card.architecture["backbone"] == "mean colour"


def test_its_own_figures_go_into_the_card(original, sample, tmp_path):
    quantised = quantise(original, tmp_path / "int8.onnx", sample).model
    wrong = sample._replace(labels=np.where(np.arange(60) < 6, (sample.labels + 1) % 8, sample.labels))
    loss = measure_loss(quantised, original, wrong)
    ours, theirs = (model.run(sample.faces).probabilities.argmax(1) for model in (quantised, original))
    assert loss.float_accuracy == 0.9
    assert loss.accuracy == (ours == wrong.labels).mean()
    assert loss.difference == pytest.approx(loss.accuracy - loss.float_accuracy)
    assert loss.agreement == (ours == theirs).mean()
    assert loss.mcnemar_p == mcnemar_exact(ours == wrong.labels, theirs == wrong.labels)
    (metric,) = ExpressionModel.load(quantised.source).card.metrics
    assert (metric["n"], metric["accuracy"], metric["split"]) == (60, loss.accuracy, "train")


def test_what_cannot_be_quantised(original, sample, tiny_model, tmp_path):
    with pytest.raises(ModelError, match="has no convolutions"):
        quantise(tiny_model, tmp_path / "a.onnx", sample)
    made = quantise(original, tmp_path / "b.onnx", sample).model
    with pytest.raises(ModelError, match="computes in integers already"):
        quantise(made, tmp_path / "c.onnx", sample)
    with pytest.raises(ValueError, match="there are no faces"):
        quantise(original, tmp_path / "c.onnx", sample._replace(faces=sample.faces[:0]))
    with pytest.raises(OutputError, match="a folder; expected a file"):
        quantise(original, tmp_path, sample)
    before = original.source.read_bytes()
    with pytest.raises(OutputError, match="is the float model"):
        quantise(original, original.source, sample)
    assert original.source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.onnx"]


class TestCommand:
    @pytest.fixture
    def corpus(self, sample, original, tmp_path):
        """A table of one's own with the classes of the model."""
        folder = tmp_path / "own"
        folder.mkdir()
        names = original.card.labels
        lines = ["image,label,split"]
        for row, (face, label) in enumerate(zip(sample.faces, sample.labels, strict=True)):
            Image.fromarray(face).save(folder / f"{row}.png")
            lines.append(f"{row}.png,{names[label]},{'train' if row % 3 else 'valid'}")
        (folder / "faces.csv").write_text("\n".join(lines) + "\n")
        return folder / "faces.csv"

    def test_from_a_model_to_a_smaller_one(self, corpus, original, tmp_path):
        out = tmp_path / "int8.onnx"
        arguments = ["quantize", original.source, out, "--dataset", "csv", "--data", corpus, "--valid", "valid"]
        result = CliRunner().invoke(main, [*map(str, arguments), "--samples", "30"])
        assert result.exit_code == 0, result.output
        assert "ranges of values from 30 of 40 faces of" in result.stderr
        assert "2 convolutions in integers" in result.stdout
        assert "valid, n = 20: accuracy " in result.stdout
        assert "times as fast" in result.stdout
        assert ExpressionModel.load(out).card.metrics[0]["split"] == "valid"
        assert "note" not in ExpressionModel.load(out).card.metrics[0]
        assert "warning" not in result.stderr

    def test_figures_on_faces_that_the_model_learned_from_say_so(self, corpus, save_model, make_card, tmp_path):
        name = read_dataset("csv", corpus).dataset
        card = make_card(training={"dataset": name, "splits": ["train", "valid"]})
        model, out = save_model(card, edit=with_convolutions), tmp_path / "int8.onnx"
        arguments = ["quantize", model, out, "--dataset", "csv", "--data", corpus, "--valid", "valid"]
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        said = f"learned from {name} valid, as its card says: figures on images that a model has seen flatter it"
        assert f"{said}\n" in result.stderr
        assert ExpressionModel.load(out).card.metrics[0]["note"].endswith(said)

    def test_what_the_threshold_was_fitted_to_is_kept(self, corpus, save_model, make_card, trusted_model, tmp_path):
        """In cards of earlier releases it stands beside the figures, which are not the integers'."""
        stored = trusted_model.card.uncertainty
        metric = {"dataset": "FERPlus", "split": "valid", "n": stored["n"], "accuracy": 0.9}
        model = save_model(make_card(metrics=(metric,), uncertainty=stored), edit=with_convolutions)
        arguments = ["quantize", model, tmp_path / "int8.onnx", "--dataset", "csv", "--data", corpus]
        assert CliRunner().invoke(main, list(map(str, arguments))).exit_code == 0
        card = ExpressionModel.load(tmp_path / "int8.onnx").card
        assert (card.metrics, card.threshold_faces) == ((), (("FERPlus", "valid"),))
        assert card.uncertainty == {**stored, "dataset": "FERPlus", "split": "valid"}

    def test_an_image_that_is_absent_is_left_out_and_told(self, corpus, original, tmp_path):
        (corpus.parent / "0.png").unlink()
        arguments = ["quantize", original.source, tmp_path / "q.onnx", "--dataset", "csv", "--data", corpus]
        result = CliRunner().invoke(main, [*map(str, arguments), "--valid", "valid"])
        assert result.exit_code == 0, result.output
        assert "0.png: no such file" in result.stderr
        assert "1 images of valid cannot be read and are left out" in result.stderr
        assert "valid, n = 19: accuracy " in result.stdout

    def test_other_classes_are_refused(self, corpus, original, tmp_path):
        corpus.write_text(corpus.read_text().replace("contempt", "awe").replace("happiness", "awe"))
        arguments = ["quantize", original.source, tmp_path / "q.onnx", "--dataset", "csv", "--data", corpus]
        result = CliRunner().invoke(main, list(map(str, arguments)))
        assert result.exit_code == 2
        assert "give the dataset that it was trained on" in result.stderr
