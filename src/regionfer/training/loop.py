"""The training loop."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from regionfer.errors import CheckpointError
from regionfer.metrics import Score, score
from regionfer.models.classifier import ExpressionClassifier
from regionfer.models.losses import region_biased_loss, soft_cross_entropy, visibility_loss
from regionfer.models.ran import Prediction
from regionfer.models.resampling import crop_regions
from regionfer.training.augmentation import draw_variation, vary
from regionfer.training.build import build_classifier, training_regions
from regionfer.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from regionfer.training.data import FaceData, blended_targets, mixed_seed, step_rows
from regionfer.training.recipe import OptimiserRecipe, Recipe

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True)
class Losses:
    """The parts of the loss of one step, each before its weight."""

    cross_entropy: Tensor
    region_biased: Tensor
    visibility: Tensor

    def total(self, recipe: Recipe) -> Tensor:
        """What is minimised."""
        weights = recipe.loss
        return (
            self.cross_entropy
            + weights.region_biased * self.region_biased
            + weights.visibility * self.visibility
        )


def train(
    recipe: Recipe,
    training: FaceData,
    validation: FaceData,
    out: Path,
    *,
    classes: tuple[str, ...],
    data: dict[str, Any] | None = None,
    resume: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Train a network; after each epoch evaluate it, write a checkpoint and keep the best.

    Args:
        recipe: what to train and how.
        training: faces to learn from.
        validation: faces to choose the epoch on.
        out: folder for ``last.safetensors``, ``best.safetensors``, ``log.csv`` and TensorBoard's files.
        classes: class names, in the order of the labels.
        data: facts about the data, kept in the checkpoint.
        resume: go on from ``last.safetensors`` where there is one; the result is that of an uninterrupted run.
        report: called with a line of text after each epoch.

    Returns:
        The checkpoint of the best epoch, by accuracy on ``validation``.

    Raises:
        CheckpointError: the folder holds another run, or the pretraining file does not fit.
        RecipeError: the recipe asks for what the data or the network does not have.
    """
    run = _Run(recipe, len(training), classes, data or {})
    if resume and (out / LAST).is_file():
        run.restore(load_checkpoint(out / LAST), out / LAST)
        report(f"resumed after epoch {run.epoch} of {recipe.optimiser.epochs}")
    elif (out / LAST).is_file():
        raise CheckpointError(f"{out}: holds a run already; give --resume to go on with it, or another folder")
    out.mkdir(parents=True, exist_ok=True)
    with SummaryWriter(out) as board:
        while run.epoch < recipe.optimiser.epochs:
            row = run.train_epoch(training)
            result = evaluate(run.evaluated, validation, classes, flip=recipe.test_time_flip)
            row |= {
                "valid_accuracy": result.accuracy,
                "valid_mean_recall": result.mean_recall,
                "valid_nll": result.nll,
            }
            run.history.append(row)
            if run.accelerator.is_main_process:
                _keep(run, out, board, row)
            report(
                f"epoch {run.epoch}: loss {row['loss']:.4f}, valid accuracy {result.accuracy:.2%}, "
                f"mean recall {result.mean_recall:.2%}, {row['faces_per_second']:.0f} faces/s"
            )
    return load_checkpoint(out / BEST)


def evaluate(
    classifier: ExpressionClassifier, data: FaceData, classes: tuple[str, ...], *, flip: bool, batch: int = 128
) -> Score:
    """Measure a classifier on faces."""
    return score(data.labels, predict(classifier, data, flip=flip, batch=batch), classes)


def predict(
    classifier: ExpressionClassifier, data: FaceData, *, flip: bool, batch: int = 128
) -> NDArray[np.float32]:
    """Probabilities of faces, (n, C); with ``flip`` the mean over each face and its mirror image."""
    classifier.eval()
    chunks = []
    with torch.inference_mode():
        for faces in data.faces.split(batch):
            probabilities = classifier(faces).probabilities
            if flip:
                probabilities = (probabilities + classifier(faces.flip(2)).probabilities) / 2
            chunks.append(probabilities)
    return torch.cat(chunks).float().numpy()


class _Run:
    """A run under way: the network, its average, the optimiser, and how far they are."""

    def __init__(self, recipe: Recipe, faces: int, classes: tuple[str, ...], data: dict[str, Any]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.classes, self.data = recipe, classes, data
        self.accelerator = Accelerator(mixed_precision="no" if recipe.precision == "fp32" else recipe.precision, cpu=not torch.cuda.is_available())
        self.classifier = build_classifier(recipe, len(classes)).to(
            self.accelerator.device, memory_format=torch.channels_last
        )
        self.average = AveragedModel(self.classifier, multi_avg_fn=_moving_average(recipe.optimiser.ema))
        self.optimiser = _optimiser(self.classifier, recipe.optimiser)
        self.steps = faces // recipe.optimiser.batch
        self.schedule = LambdaLR(self.optimiser, _learning_rate(recipe.optimiser, self.steps))
        self.network = self.accelerator.prepare(self.classifier.network)
        self.epoch = 0
        self.history: list[dict[str, float]] = []

    @property
    def evaluated(self) -> ExpressionClassifier:
        """The network whose accuracy counts: the average, or the last weights where nothing is averaged."""
        module = self.average.module
        assert isinstance(module, ExpressionClassifier)
        return module

    def train_epoch(self, training: FaceData) -> dict[str, float]:
        recipe, seed = self.recipe, self.recipe.seed
        targets = blended_targets(training, recipe.loss.soft_targets)
        self.classifier.train()
        sums: dict[str, float] = {"loss": 0.0, "cross_entropy": 0.0, "region_biased": 0.0, "visibility": 0.0}
        started = time.perf_counter()
        rows_of_steps = step_rows(len(training), recipe.optimiser.batch, seed, self.epoch)
        for step, rows in enumerate(self._progress(rows_of_steps)):
            torch.manual_seed(mixed_seed(seed, self.epoch, step, self.accelerator.process_index))  # dropout
            losses = self._losses(training, targets, rows, mixed_seed(seed, self.epoch, step))
            loss = losses.total(recipe)
            self._step(loss)
            for name, value in {"loss": loss, **vars(losses)}.items():
                sums[name] += value.item()
        self.epoch += 1
        seconds = time.perf_counter() - started
        means = {name: value / self.steps for name, value in sums.items()}
        pace = self.steps * recipe.optimiser.batch / seconds
        return {"epoch": self.epoch, **means, "seconds": seconds, "faces_per_second": pace}

    def _losses(self, training: FaceData, targets: Tensor, rows: Tensor, seed: int) -> Losses:
        """Vary the faces of a step, run the network on this process's share of them, and compare."""
        recipe = self.recipe
        variation = draw_variation(recipe.augmentation, len(rows), torch.Generator().manual_seed(seed))
        boxes = training_regions(recipe.regions, np.random.default_rng(seed), len(rows), None)
        share = self._share(len(rows))
        planes = self.classifier.preprocessing.planes(training.faces[rows[share]])
        pictures, erased = vary(planes, recipe.input.size, variation.rows(share))
        regions = self.classifier.regions if boxes is None else boxes[share]
        with self.accelerator.autocast():
            normalised = self.classifier.preprocessing(pictures).contiguous(memory_format=torch.channels_last)
            prediction: Prediction = self.network(normalised, regions)
        zero = prediction.logits.new_zeros(())
        attends = regions is not None and recipe.model.aggregation != "mean"
        return Losses(
            cross_entropy=soft_cross_entropy(prediction.logits, targets[rows[share]]),
            region_biased=region_biased_loss(prediction.mu, recipe.loss.margin) if attends else zero,
            visibility=visibility_loss(prediction.mu, _covered(erased, regions)) if attends else zero,
        )

    def _share(self, faces: int) -> slice:
        """The rows of a global batch that this process works on."""
        each = faces // self.accelerator.num_processes
        return slice(each * self.accelerator.process_index, each * (self.accelerator.process_index + 1))

    def _step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.recipe.optimiser.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.optimiser.gradient_clip)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.classifier)

    def _progress(self, rows: Iterator[Tensor]) -> Iterator[Tensor]:
        columns = (
            TextColumn(f"epoch {self.epoch + 1}/{self.recipe.optimiser.epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        from rich.console import Console
        with Progress(*columns, console=Console(stderr=True), disable=not self.accelerator.is_main_process) as bar:
            task = bar.add_task("", total=self.steps, pace="")
            for item in rows:
                yield item
                speed = bar.tasks[task].speed
                pace = f"{speed * self.recipe.optimiser.batch:.0f} faces/s" if speed else ""
                bar.update(task, advance=1, pace=pace)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(
            network=self.classifier.state_dict(),
            averaged=self.evaluated.state_dict(),
            optimiser=optimiser_tensors(self.optimiser),
            recipe=json.loads(self.recipe.model_dump_json()),
            classes=self.classes,
            epoch=self.epoch,
            history=self.history,
            data=self.data,
        )

    def restore(self, checkpoint: Checkpoint, path: Path) -> None:
        here = json.loads(self.recipe.model_dump_json())
        changed = [key for key in here if here[key] != checkpoint.recipe.get(key)]
        if changed or checkpoint.classes != self.classes:
            raise CheckpointError(f"{path}: made by another recipe or for other classes ({', '.join(changed)})")
        self.classifier.load_state_dict(dict(checkpoint.network))
        self.evaluated.load_state_dict(dict(checkpoint.averaged))
        restore_optimiser(self.optimiser, checkpoint.optimiser)
        self.epoch, self.history = checkpoint.epoch, checkpoint.history
        done = self.epoch * self.steps
        self.average.n_averaged.fill_(done)
        self.schedule.last_epoch = done - 1
        self.schedule.step()


def _keep(run: _Run, out: Path, board: SummaryWriter, row: dict[str, float]) -> None:
    """Write the checkpoint, the table and TensorBoard's figures of an epoch."""
    checkpoint = run.checkpoint()
    save_checkpoint(checkpoint, out / LAST)
    if row["valid_accuracy"] >= max(past["valid_accuracy"] for past in run.history):
        save_checkpoint(checkpoint, out / BEST)
    with (out / "log.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerows(run.history)
    for name, value in row.items():
        board.add_scalar(name, value, int(row["epoch"]))
    board.flush()


def _covered(erased: Tensor, regions: Tensor) -> Tensor:
    """Erased share of the whole face and of each region, (B, R) in 0..1."""
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    boxes = torch.cat([whole.expand(*regions.shape[:-2], 1, 4), regions], dim=-2)
    return crop_regions(erased, boxes, 8).mean((2, 3, 4))


def _optimiser(classifier: ExpressionClassifier, recipe: OptimiserRecipe) -> torch.optim.Optimizer:
    head = [*classifier.network.aggregation.parameters(), *classifier.network.classifier.parameters()]
    groups = [
        {"params": list(classifier.network.backbone.parameters()), "lr": recipe.backbone_lr},
        {"params": head, "lr": recipe.head_lr},
    ]
    if recipe.name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(groups, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _learning_rate(recipe: OptimiserRecipe, steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at each step."""
    total = steps * recipe.epochs
    warmup = min(recipe.warmup_steps, total // 2)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if recipe.schedule == "steps":
            return 0.1 ** sum(step >= epoch * steps for epoch in recipe.lr_drops)
        return (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1))) / 2

    return factor


def _moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Exponential moving average that forgets the start sooner while it is young."""

    @torch.no_grad()
    def update(averaged: Any, current: Any, steps: Tensor | int) -> None:
        keep = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(averaged, current, 1 - keep)

    return update
