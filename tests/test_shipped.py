"""Models that come with the package: found by their names, and what was shipped."""

import hashlib
from pathlib import Path

import pytest

from regionfer import shipped
from regionfer.errors import ModelError
from regionfer.onnx_model import ExpressionModel
from regionfer.shipped import SHIPPED

TWINS = Path(__file__).parents[1] / "benchmarks/weights"


@pytest.fixture
def weights(tmp_path, tiny_path, monkeypatch):
    """The folder of the models that ship: the same tiny one by each name."""
    content = tiny_path.read_bytes()
    for name in SHIPPED:
        (tmp_path / f"{name}.onnx").write_bytes(content)
    sums = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}.onnx\n" for name in SHIPPED)
    (tmp_path / "SHA256SUMS").write_text(sums)
    monkeypatch.setattr(shipped, "WEIGHTS", tmp_path)
    return tmp_path


def test_where_none_is_named_it_is_the_default(weights):
    assert ExpressionModel.load().source == weights / "default.onnx"


@pytest.mark.parametrize("name", SHIPPED)
def test_is_found_by_name_unless_a_file_is_called_so(name, weights, tmp_path, monkeypatch):
    model = ExpressionModel.load(name)
    assert (model.source, str(model)) == (weights / f"{name}.onnx", name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(b"of the user")
    with pytest.raises(ModelError, match=rf"^{name}: not an ONNX model"):
        ExpressionModel.load(name)


def all_runs(training):
    """A run, those that it started from and those that taught it, and so on back."""
    yield training
    for earlier in (training.get("started_from"), *(training.get("learned_through") or ())):
        if earlier:
            yield from all_runs(earlier)


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_say_whence_the_weights_come(name):
    """Each run that led to them, and whose weights the first began on."""
    training = ExpressionModel.load(name, threads=1).card.training
    assert [file["file"] for file in training["pretraining"]] == ["faceres-deep.bin"]
    runs = list(all_runs(training))
    assert len(runs) > 4
    assert {run["dataset"] for run in runs} == {"FERPlus"}
    assert any("valid" in run["splits"] for run in runs)


@pytest.mark.parametrize(
    ("name", "twin", "start"),
    [
        ("default", "ferplus-long-heads", "ferplus-long-final"),
        ("accurate", "ferplus-224-long-heads", "ferplus-224-long-final"),
    ],
)
def test_its_figures_are_of_a_twin_that_did_not_learn_last_from_the_validation_split(name, twin, start):
    """Which lies in the repository, for whoever wants to check."""
    measured = ExpressionModel.load(TWINS / f"{twin}.onnx", threads=1).card
    card = ExpressionModel.load(name, threads=1).card
    assert (measured.name, card.training["started_from"]["name"]) == (twin, start)
    assert measured.training["splits"] == ["train", "train-divided"]
    assert "valid" in card.training["splits"]
    assert card.temperature == measured.temperature
    assert card.prior_shift == measured.prior_shift
    assert card.occlusion_threshold == measured.occlusion_threshold
    assert card.uncertainty == measured.uncertainty != {}
    assert [figures["measured_on"] for figures in card.metrics] == [f"{measured.name} {measured.version}"]


def test_is_verified(weights):
    # Bytes that ONNX ignores would go unnoticed without the hash.
    path = weights / "accurate.onnx"
    path.write_bytes(path.read_bytes() + b"\xd2\x3e\x00")
    with pytest.raises(ModelError, match=r"damaged, its SHA-256 is .*install regionfer again$") as caught:
        ExpressionModel.load("accurate")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert ExpressionModel.load("default").source.stem == "default"


def test_missing(weights):
    (weights / "default.onnx").unlink()
    with pytest.raises(ModelError, match="the default model is missing; install regionfer again"):
        ExpressionModel.load()


def test_no_such_file_names_those_that_ship(tmp_path):
    with pytest.raises(ModelError, match=r"no such model file; `default` and `accurate` come with regionfer$"):
        ExpressionModel.load(tmp_path / "other.onnx")
