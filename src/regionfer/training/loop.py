"""The training loop."""

import csv
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from regionfer.errors import CheckpointError, RecipeError
from regionfer.models.classifier import ExpressionClassifier
from regionfer.models.losses import region_biased_loss, soft_cross_entropy, visibility_loss
from regionfer.models.ran import Prediction
from regionfer.models.resampling import crop_regions
from regionfer.training.augmentation import draw_variation, moved_points, vary
from regionfer.training.build import build_classifier, draw_regions
from regionfer.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from regionfer.training.data import FaceData, blended_targets, mixed_seed, step_rows
from regionfer.training.inference import evaluate
from regionfer.training.optimisation import build_optimiser, learning_rate, moving_average
from regionfer.training.recipe import Recipe

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
        return self.cross_entropy + weights.region_biased * self.region_biased + weights.visibility * self.visibility


def train(
    recipe: Recipe,
    training: FaceData,
    validation: FaceData | None,
    out: Path,
    *,
    classes: tuple[str, ...],
    data: Mapping[str, Any] | None = None,
    resume: bool = False,
    progress: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Checkpoint:
    """Train a network; after each epoch evaluate it, write a checkpoint and keep the best.

    Args:
        recipe: what to train and how.
        training: faces to learn from.
        validation: faces to choose the epoch on; None keeps the last epoch.
        out: folder for ``last.safetensors``, ``best.safetensors``, ``log.csv`` and TensorBoard's files.
        classes: class names, in the order of the labels.
        data: facts about the data, kept in the checkpoint.
        resume: go on from ``last.safetensors`` where there is one; the result is that of an uninterrupted run.
        progress: show a bar on standard error.
        report: called with a line of text after each epoch.

    Returns:
        The checkpoint of the best epoch, by accuracy on ``validation``.

    Raises:
        CheckpointError: the folder holds another run, or the pretraining file does not fit.
        RecipeError: the recipe asks for what the data or the network does not have.
    """
    if len(training) < recipe.optimiser.batch:
        raise RecipeError(f"optimiser.batch is {recipe.optimiser.batch}, but there are only {len(training)} faces")
    if recipe.regions.generator == "landmark" and training.landmarks is None:
        raise RecipeError(f"recipe {recipe.name}: regions.generator 'landmark' needs faces with landmarks")
    run = _Run(recipe, len(training), classes, dict(data or {}), progress)
    if (out / LAST).is_file():
        if not resume:
            raise CheckpointError(f"{out}: holds a run already; give --resume to go on with it, or another folder")
        run.restore(load_checkpoint(out / LAST), out / LAST)
        report(f"resumed after epoch {run.epoch} of {recipe.optimiser.epochs}")
    out.mkdir(parents=True, exist_ok=True)
    with SummaryWriter(out) as board:
        while run.epoch < recipe.optimiser.epochs:
            row = run.train_epoch(training)
            line = f"epoch {run.epoch}: loss {row['loss']:.4f}, {row['faces_per_second']:.0f} faces/s"
            if validation is not None:
                result = evaluate(run.evaluated, validation, classes)
                run.score = result.to_dict()
                row |= {f"valid_{name}": run.score[name] for name in ("accuracy", "mean_recall", "nll", "ece")}
                line += f", valid accuracy {result.accuracy:.2%}, mean recall {result.mean_recall:.2%}"
            run.history.append(row)
            if run.accelerator.is_main_process:
                _keep(run, out, board)
            report(line)
    run.accelerator.wait_for_everyone()
    return load_checkpoint(out / BEST)


class _Run:
    """A run under way: the network, its average, the optimiser, and how far they are."""

    def __init__(
        self, recipe: Recipe, faces: int, classes: tuple[str, ...], data: dict[str, Any], progress: bool
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.classes, self.data, self.progress = recipe, classes, data, progress
        self.accelerator = Accelerator(
            mixed_precision="no" if recipe.precision == "fp32" else recipe.precision, cpu=not torch.cuda.is_available()
        )
        self.classifier = build_classifier(recipe, len(classes)).to(self.accelerator.device)
        self.classifier.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.classifier, multi_avg_fn=moving_average(recipe.optimiser.ema))
        self.optimiser = build_optimiser(self.classifier.network, recipe.optimiser)
        self.steps = faces // recipe.optimiser.batch
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.rate_factor = learning_rate(recipe.optimiser, self.steps)
        self.network = self.accelerator.prepare(self.classifier.network)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.score: dict[str, Any] = {}

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
            self._step(loss, self.epoch * self.steps + step)
            for name, value in {"loss": loss, **vars(losses)}.items():
                sums[name] += value.item()
            if not math.isfinite(sums["loss"]):
                raise RecipeError(
                    f"recipe {recipe.name}: the loss is {loss.item()} at step {step + 1} of epoch {self.epoch + 1}; "
                    "lower the learning rates, or set optimiser.gradient_clip"
                )
        self.epoch += 1
        seconds = time.perf_counter() - started
        means = {name: value / self.steps for name, value in sums.items()}
        pace = self.steps * recipe.optimiser.batch / seconds
        return {"epoch": self.epoch, **means, "seconds": seconds, "faces_per_second": pace}

    def _losses(self, training: FaceData, targets: Tensor, rows: Tensor, seed: int) -> Losses:
        """Vary the faces of a step, run the network on this process's share of them, and compare."""
        recipe, device = self.recipe, self.accelerator.device
        variation = draw_variation(recipe.augmentation, len(rows), torch.Generator().manual_seed(seed))
        drawn = draw_regions(recipe.regions, seed, len(rows))
        share = self._share(len(rows))
        rows, variation = rows[share], variation.rows(share)
        pictures, erased = vary(
            self.classifier.preprocessing.planes(training.faces[rows]), recipe.input.size, variation
        )
        landmarks = None if training.landmarks is None else moved_points(training.landmarks[rows], variation.affine)
        boxes = self.classifier.boxes(landmarks) if drawn is None else drawn[share]
        with self.accelerator.autocast():
            prediction: Prediction = self.network(self.classifier.preprocessing(pictures.to(device)), boxes)
        cross_entropy = soft_cross_entropy(prediction.logits, targets[rows].to(device))
        if boxes is None or recipe.model.aggregation == "mean":
            zero = cross_entropy.new_zeros(())
            return Losses(cross_entropy, zero, zero)
        return Losses(
            cross_entropy,
            region_biased=region_biased_loss(prediction.mu, recipe.loss.margin),
            visibility=visibility_loss(prediction.mu, _covered(erased, boxes.cpu()).to(device)),
        )

    def _share(self, faces: int) -> slice:
        """The rows of a global batch that this process works on."""
        each = faces // self.accelerator.num_processes
        return slice(each * self.accelerator.process_index, each * (self.accelerator.process_index + 1))

    def _step(self, loss: Tensor, number: int) -> None:
        for group, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * self.rate_factor(number)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        if self.recipe.optimiser.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.optimiser.gradient_clip)
        self.optimiser.step()
        self.average.update_parameters(self.classifier)

    def _progress(self, rows: Iterator[Tensor]) -> Iterator[Tensor]:
        columns = (
            TextColumn(f"epoch {self.epoch + 1}/{self.recipe.optimiser.epochs}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            TimeRemainingColumn(),
        )
        shown = self.progress and self.accelerator.is_main_process
        with Progress(*columns, console=Console(stderr=True), disable=not shown) as bar:
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
            score=self.score,
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
        self.average.n_averaged.fill_(self.epoch * self.steps)


def _keep(run: _Run, out: Path, board: SummaryWriter) -> None:
    """Write the checkpoint, the table and TensorBoard's figures of the epoch just done."""
    checkpoint, row = run.checkpoint(), run.history[-1]
    save_checkpoint(checkpoint, out / LAST)
    if row.get("valid_accuracy", 0) >= max(past.get("valid_accuracy", 0) for past in run.history):
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
