import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from regionfer.errors import CheckpointError, DatasetError, OutputError, RecipeError
from regionfer.models.classifier import ExpressionClassifier
from regionfer.training import loop
from regionfer.training.build import build_classifier
from regionfer.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from regionfer.training.data import FaceData, blended_targets, class_weights, mixed_seed, step_rows
from regionfer.training.loop import BEST, LAST, train
from regionfer.training.optimisation import build_optimiser, learning_rate, moving_average
from regionfer.training.recipe import DataRecipe, OptimiserRecipe, Recipe

MakeRecipe = Callable[..., Recipe]
MakeFaces = Callable[..., FaceData]
Fit = Callable[..., Checkpoint]

SGD = {
    "name": "sgd",
    "backbone_lr": 0.03,
    "head_lr": 0.03,
    "schedule": "steps",
    "lr_drops": (6,),
    "ema": 0.0,
    "gradient_clip": None,
}


@pytest.fixture
def fit(make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path) -> Fit:
    """Train the tiny network in the test's folder: sections of the recipe, numbers of faces, and options of `train`."""

    def run(
        sections: dict[str, object] | None = None,
        faces: int = 48,
        held_out: int | None = None,
        out: Path = tmp_path,
        **options: object,
    ) -> Checkpoint:
        valid = None if held_out is None else make_faces(held_out)
        return train(make_recipe(**(sections or {})), make_faces(faces), valid, out, classes=classes, **options)

    return run


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"model": {"crop_stage": 0, "crop_size": None}},
        {"model": {"aggregation": "self-attention", "squash": "sigmoid-softmax"}},
        {"regions": {"generator": "random", "count": 3}},
        {"regions": {"generator": "landmark", "radii": (0.25,)}},
        {"model": {"aggregation": "mean"}, "regions": {"generator": "none"}},
        {"optimiser": SGD},
        {"loss": {"visibility": 1.0, "soft_targets": 0.5}},
        {"precision": "bf16"},
    ],
    ids=["late", "early", "self-attention", "random", "landmark", "plain", "sgd", "visibility", "bf16"],
)
def test_every_kind_of_network_learns(
    sections: dict[str, object],
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(**sections)
    epochs = recipe.optimiser.model_copy(update={"epochs": 8})
    still = recipe.augmentation.model_copy(update={"shift": 0.0, "rotation": 0.0, "scale": 0.0, "occlude": 0.2})
    recipe = recipe.model_copy(update={"optimiser": epochs, "augmentation": still})
    best = train(recipe, make_faces(96), make_faces(30, seed=1), tmp_path, classes=classes)
    assert best.history[-1]["loss"] < best.history[0]["loss"]
    assert max(row["valid_accuracy"] for row in best.history) > 0.6  # a third by chance


@pytest.mark.parametrize("teacher", [{}, {"average_weight": 0.5}], ids=["alone", "taught by its average"])
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    teacher: dict[str, float],
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(optimiser={"epochs": 3}, teacher=teacher)
    faces, held_out = make_faces(), make_faces(12, seed=1)

    class KilledError(Exception):
        pass

    def kill(line: str) -> None:
        if line.startswith("epoch 1"):
            raise KilledError

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(recipe, faces, held_out, whole, classes=classes)
    with pytest.raises(KilledError):
        train(recipe, faces, held_out, parts, classes=classes, report=kill)
    assert load_checkpoint(parts / LAST).epoch == 1
    lines: list[str] = []
    train(recipe, faces, held_out, parts, classes=classes, resume=True, report=lines.append)
    assert lines[0] == "resumed after epoch 1 of 3"
    one, two = load_checkpoint(whole / LAST), load_checkpoint(parts / LAST)
    assert same(dict(one.network), dict(two.network))
    assert same(dict(one.averaged), dict(two.averaged))
    assert same(dict(one.optimiser), dict(two.optimiser))
    assert [row["loss"] for row in one.history] == [row["loss"] for row in two.history]


@pytest.mark.parametrize("write", [1, 2, 3, 4], ids=lambda write: f"before write {write}")
def test_a_run_killed_while_it_writes_loses_nothing(
    write: int,
    make_recipe: MakeRecipe,
    make_faces: MakeFaces,
    classes: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class KilledError(Exception):
        pass

    writes = 0

    def save(checkpoint: Checkpoint, path: Path) -> None:
        nonlocal writes
        writes += 1
        if writes == write:
            raise KilledError
        save_checkpoint(checkpoint, path)

    recipe, faces, held_out = make_recipe(), make_faces(), make_faces(12, seed=1)
    whole = train(recipe, faces, held_out, tmp_path / "whole", classes=classes)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", save)
        patch.setattr(loop, "predict_shared", scripted(0.5, 0.9))  # both epochs are the best so far
        with pytest.raises(KilledError):
            train(recipe, faces, held_out, tmp_path / "parts", classes=classes)
    best = train(recipe, faces, held_out, tmp_path / "parts", classes=classes, resume=True)
    last = load_checkpoint(tmp_path / "parts" / LAST)
    assert best.epoch <= last.epoch == 2
    assert same(dict(last.network), dict(load_checkpoint(tmp_path / "whole" / LAST).network))
    assert whole.classes == best.classes


def scripted(*accuracies: float) -> Callable[..., np.ndarray]:
    """Stands for `predict_shared`: answers with these accuracies, epoch by epoch."""
    shares = iter(accuracies)

    def answer(accelerator: object, classifier: object, data: FaceData, **options: object) -> np.ndarray:
        right = np.arange(len(data)) < next(shares) * len(data)
        return np.eye(3, dtype=np.float32)[np.where(right, data.labels, (data.labels + 1) % 3)] * 0.98 + 0.006666667

    return answer


def test_the_best_epoch_is_the_one_with_the_best_accuracy(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "predict_shared", scripted(0.5, 0.9, 0.7))
    best = fit({"optimiser": {"epochs": 3}}, held_out=20)
    last = load_checkpoint(tmp_path / LAST)
    assert (best.epoch, last.epoch) == (2, 3)
    assert best.score["accuracy"] == pytest.approx(0.9)
    assert not same(dict(best.averaged), dict(last.averaged))


def test_what_is_evaluated_and_kept_is_the_average(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def answer(accelerator: object, classifier: ExpressionClassifier, data: FaceData, **options: object) -> np.ndarray:
        seen.append({name: value.clone() for name, value in classifier.state_dict().items()})
        return scripted(1.0)(accelerator, classifier, data)

    monkeypatch.setattr(loop, "predict_shared", answer)
    kept = fit({"optimiser": {"epochs": 1}}, held_out=20)
    assert same(seen[0], dict(kept.averaged))
    assert not same(dict(kept.averaged), dict(kept.network))


def test_each_step_has_the_learning_rate_of_its_schedule(
    fit: Fit, make_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = []

    class Watched(torch.optim.AdamW):
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            rates.append([group["lr"] for group in self.param_groups])
            super().step(closure)

    monkeypatch.setattr("regionfer.training.optimisation.AdamW", Watched)
    sections = {"optimiser": {"backbone_lr": 0.01, "head_lr": 0.02}}
    fit(sections)
    factor = learning_rate(make_recipe(**sections).optimiser, 6)
    assert rates == [pytest.approx([0.01 * factor(step), 0.02 * factor(step)]) for step in range(12)]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_optimiser_has_the_settings_of_the_recipe(name: str, make_recipe: MakeRecipe) -> None:
    settings = {"name": name, "backbone_lr": 0.1, "head_lr": 0.2, "weight_decay": 0.3, "momentum": 0.4}
    recipe = make_recipe(optimiser=settings)
    network = build_classifier(recipe, 3).network
    backbone, head = build_optimiser(network, recipe.optimiser).param_groups
    assert (backbone["lr"], head["lr"]) == (0.1, 0.2)
    assert {backbone["weight_decay"], head["weight_decay"]} == {0.3}
    assert backbone.get("momentum", 0.4) == 0.4
    assert len(backbone["params"]) == len(list(network.backbone.parameters()))
    assert len(head["params"]) == 6  # weight and bias of mu, nu and the classifier


def test_the_best_epoch_is_kept_and_the_log_has_a_row_an_epoch(
    fit: Fit, classes: tuple[str, ...], tmp_path: Path
) -> None:
    facts = {"dataset": "bands"}
    best = fit({"optimiser": {"epochs": 3}}, held_out=12, data=facts)
    last = load_checkpoint(tmp_path / LAST)
    assert best.score["accuracy"] == max(row["valid_accuracy"] for row in last.history)
    assert best.data == {**facts, "pretraining": []}
    assert best.classes == classes
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert float(rows[-1]["valid_accuracy"]) == last.score["accuracy"]
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_without_held_out_faces_the_last_epoch_is_kept(fit: Fit) -> None:
    kept = fit()
    assert kept.epoch == 2
    assert not kept.score


def test_a_folder_with_a_run_is_not_overwritten(fit: Fit) -> None:
    short: dict[str, object] = {"optimiser": {"epochs": 1}}
    fit(short)
    with pytest.raises(CheckpointError, match="holds a run already; give --resume"):
        fit(short)
    with pytest.raises(CheckpointError, match=r"made by another run: seed was 0, is 1, .*; train in another folder"):
        fit({"seed": 1}, resume=True)
    with pytest.raises(CheckpointError, match="data n was None, is 48"):
        fit(short, resume=True, data={"n": 48})


def test_a_folder_that_cannot_be_made_is_named(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="file/run: cannot be written: Not a directory"):
        fit(out=tmp_path / "file" / "run")


def test_a_log_that_cannot_be_written_is_named(fit: Fit, tmp_path: Path) -> None:
    (tmp_path / "log.csv").mkdir()
    with pytest.raises(OutputError, match=r"log\.csv: cannot be written: Is a directory"):
        fit()


def test_a_run_goes_on_where_its_files_lie_elsewhere_now(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    train(make_recipe(), make_faces(), None, tmp_path / "a" / "teacher", classes=classes)

    def go(place: str) -> Checkpoint:
        recipe = make_recipe(teacher={"checkpoints": [tmp_path / place / "teacher" / BEST]})
        return train(recipe, make_faces(), None, tmp_path / place / "taught", classes=classes, resume=True)

    first = go("a")
    (tmp_path / "a").rename(tmp_path / "b")
    assert same(dict(go("b").averaged), dict(first.averaged))


def test_no_face_to_choose_the_epoch_on_is_refused(fit: Fit) -> None:
    with pytest.raises(DatasetError, match="no faces to choose the epoch on"):
        fit(held_out=0)


def test_landmark_regions_need_landmarks(
    make_recipe: MakeRecipe, make_faces: MakeFaces, classes: tuple[str, ...], tmp_path: Path
) -> None:
    faces = make_faces()
    bare = FaceData(faces.faces, faces.labels, faces.targets)
    recipe = make_recipe(regions={"generator": "landmark"})
    with pytest.raises(RecipeError, match="needs faces with landmarks"):
        train(recipe, bare, None, tmp_path, classes=classes)


def test_no_more_threads_than_the_container_may_use(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        monkeypatch.setattr("regionfer.training.loop.cores", lambda: 2)
        fit()
        assert torch.get_num_threads() == 2
        monkeypatch.setattr("regionfer.training.loop.cores", lambda: 5)
        fit(resume=True)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_run_that_diverges_says_so(fit: Fit) -> None:
    with pytest.raises(RecipeError, match=r"the loss is no number any more at step .* of epoch 1; lower"):
        fit({"optimiser": {**SGD, "backbone_lr": 1e30, "warmup_steps": 0}})


def test_fewer_faces_than_a_step_are_refused(fit: Fit) -> None:
    with pytest.raises(RecipeError, match=r"optimiser\.batch is 8, but an epoch has only 6 faces.* such as 4$"):
        fit(faces=6)


def rows_of(labels: list[int], batch: int, epoch: int = 0, **data: object) -> torch.Tensor:
    recipe = DataRecipe.model_validate(data)
    return torch.cat(list(step_rows(np.array(labels), recipe, batch, seed=0, epoch=epoch)))


def test_an_epoch_sees_each_face_at_most_once_and_no_two_epochs_are_alike() -> None:
    one, again, other = (rows_of([0] * 20, 6, epoch) for epoch in (0, 0, 1))
    assert len(one) == 18
    assert len(set(one.tolist())) == 18
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "shares"),
    [
        ({"sampling": "natural"}, (0.9, 0.1)),
        ({"sampling": "oversample"}, (0.5, 0.5)),
        ({"sampling": "oversample", "balance": 0.5}, (0.75, 0.25)),
        ({"sampling": "oversample", "balance": 0.0}, (0.9, 0.1)),
        ({"sampling": "undersample"}, (0.5, 0.5)),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
def test_sampling_gives_rare_classes_their_share(options: dict[str, object], shares: tuple[float, float]) -> None:
    labels = [0] * 900 + [1] * 100
    seen = np.array(labels)[rows_of(labels, 10, **options).numpy()]
    assert np.bincount(seen) / len(seen) == pytest.approx(shares, abs=0.04)
    assert len(seen) == (200 if options["sampling"] == "undersample" else 1000)


def test_class_weights_even_out_the_classes() -> None:
    labels = np.array([0] * 6 + [1] * 3 + [2])
    data = FaceData(torch.zeros(10, 1, 1, 3), labels, torch.eye(3)[labels])
    weights = class_weights(data, 1.0)
    assert_close(weights * torch.tensor([6.0, 3.0, 1.0]), torch.full((3,), 10 / 3))
    assert_close(class_weights(data, 0.0), torch.ones(3))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_step_in_parts_is_the_step_as_a_whole(accumulate: int, fit: Fit, tmp_path: Path) -> None:
    runs = [
        fit(
            {"optimiser": {"accumulate": parts}, "loss": {"visibility": 1.0}, "teacher": {"average_weight": 0.5}},
            out=tmp_path / str(parts),
        )
        for parts in (1, accumulate)
    ]
    for name in ("loss", "cross_entropy", "region_biased", "visibility"):
        assert runs[0].history[-1][name] == pytest.approx(runs[1].history[-1][name], rel=1e-4), name
    assert runs[0].history[-1]["visibility"] > 0


def test_a_step_that_cannot_be_split_is_refused(fit: Fit) -> None:
    with pytest.raises(RecipeError, match="cannot be split evenly over 1 processes with 3 parts each"):
        fit({"optimiser": {"accumulate": 3}})


def test_seeds_of_neighbouring_steps_differ() -> None:
    assert len({mixed_seed(0, epoch, step) for epoch in range(10) for step in range(10)}) == 100


def test_targets_blend_votes_and_label() -> None:
    data = FaceData(torch.zeros(1, 2, 2, 3), torch.tensor([1]).numpy(), torch.tensor([[0.25, 0.75]]))
    assert_close(blended_targets(data, 0.5), torch.tensor([[0.125, 0.875]]))


@pytest.mark.parametrize(
    ("changes", "step", "expected"),
    [
        ({"schedule": "cosine"}, 0, 0.1),
        ({"schedule": "cosine"}, 9, 1.0),
        ({"schedule": "cosine"}, 55, 0.5),
        ({"schedule": "cosine"}, 100, 0.0),
        ({"schedule": "steps", "lr_drops": (3, 6)}, 29, 1.0),
        ({"schedule": "steps", "lr_drops": (3, 6)}, 30, 0.1),
        ({"schedule": "steps", "lr_drops": (3, 6)}, 60, 0.01),
    ],
)
def test_learning_rate_follows_its_schedule(changes: dict[str, object], step: int, expected: float) -> None:
    recipe = OptimiserRecipe.model_validate({"epochs": 10, "warmup_steps": 10} | changes)
    assert learning_rate(recipe, steps=10)(step) == pytest.approx(expected)


def test_a_young_average_follows_and_an_old_one_holds() -> None:
    update = moving_average(0.9)
    averaged, current = [torch.zeros(1)], [torch.ones(1)]
    update(averaged, current, torch.tensor(1))
    assert averaged[0].item() == pytest.approx(1 - 2 / 11)
    averaged = [torch.zeros(1)]
    update(averaged, current, torch.tensor(1000))
    assert averaged[0].item() == pytest.approx(0.1)
