from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regionfer.errors import CheckpointError
from regionfer.training import checkpoint as module
from regionfer.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)


def example() -> Checkpoint:
    return Checkpoint(
        network={"a.weight": torch.rand(2, 3)},
        averaged={"a.weight": torch.rand(2, 3)},
        optimiser={"0.exp_avg": torch.rand(2, 3)},
        recipe={"name": "x"},
        classes=("sad", "happy"),
        epoch=3,
        history=[{"loss": 0.5}],
        score={"accuracy": 0.5},
        data={"dataset": "made up"},
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved = example()
    save_checkpoint(saved, tmp_path / "a.safetensors")
    loaded = load_checkpoint(tmp_path / "a.safetensors")
    for name in ("recipe", "classes", "epoch", "history", "score", "data"):
        assert getattr(loaded, name) == getattr(saved, name)
    for group in module.GROUPS:
        one, two = getattr(loaded, group), getattr(saved, group)
        assert one.keys() == two.keys()
        assert all(torch.equal(one[key], two[key]) for key in one)
    assert '"epoch": 3' in (tmp_path / "a.json").read_text()
    assert not list(tmp_path.glob("*.partial"))


def test_a_write_that_fails_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    save_checkpoint(example(), path)
    before = path.read_bytes()

    def fail(tensors: object, target: Path, metadata: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(example(), path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such checkpoint"),
        (b"", "not a safetensors checkpoint"),
        (b"PK\x03\x04 a pickled file of torch.save", "not a safetensors checkpoint"),
        ("foreign", "it carries no recipe"),
        ("future", "checkpoint format 99, this release reads 1"),
    ],
    ids=["missing", "empty", "pickle", "foreign", "future"],
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: object, message: str) -> None:
    path = tmp_path / "a.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        metadata = {"regionfer": '{"format": 99}'} if content == "future" else None
        save_file({"x/y": torch.zeros(1)}, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith(str(path))


def test_an_optimiser_goes_on_where_it_was() -> None:
    def steps(optimiser: torch.optim.Optimizer, weight: torch.nn.Parameter, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            (weight**2).sum().backward()
            optimiser.step()

    start = torch.rand(4)
    whole = torch.nn.Parameter(start.clone())
    steps(torch.optim.AdamW([whole], lr=0.1), whole, 5)
    first = torch.nn.Parameter(start.clone())
    optimiser = torch.optim.AdamW([first], lr=0.1)
    steps(optimiser, first, 2)
    second = torch.nn.Parameter(first.detach().clone())
    fresh = torch.optim.AdamW([second], lr=0.1)
    restore_optimiser(fresh, optimiser_tensors(optimiser))
    steps(fresh, second, 3)
    assert torch.equal(second, whole)
