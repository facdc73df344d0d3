"""The training loop, in one process or several (started with torchrun or `accelerate launch`)."""

import csv
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from regionfer.errors import CheckpointError, DatasetError, RecipeError, writing
from regionfer.metrics import score
from regionfer.models.classifier import ExpressionClassifier
from regionfer.threads import cores
from regionfer.training.build import build_classifier
from regionfer.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from regionfer.training.data import FaceData, blended_targets, class_weights, epoch_size, mixed_seed, step_rows
from regionfer.training.display import Display
from regionfer.training.inference import predict_shared
from regionfer.training.optimisation import build_optimiser, learning_rate, moving_average, set_training
from regionfer.training.origin import gather_pretraining, learned, learned_by, sources
from regionfer.training.pretraining import load_heads, load_model_file, load_whole, require_pose_head
from regionfer.training.recipe import OptimiserRecipe, Recipe, parse_recipe, portable
from regionfer.training.run_files import BEST, LAST, goes_on
from regionfer.training.step import Losses, Step, draw_step, part_losses
from regionfer.training.teacher import averaged_targets, taught_targets


def train(
    recipe: Recipe,
    training: FaceData,
    validation: FaceData | None,
    out: Path,
    *,
    classes: tuple[str, ...],
    data: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
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
        start: a model file, or a checkpoint (.safetensors), whose weights to start from instead of the recipe's
            pretraining; "default" for the model that comes with regionfer.
        resume: go on from ``last.safetensors`` where there is one; the result is that of an uninterrupted run.
        progress: show bars on standard error.
        report: called with a line of text at the start and after each epoch, and without bars also now and then within
            one, and while teachers look at the faces.

    Returns:
        The checkpoint of the best epoch, by accuracy on ``validation``.

    Raises:
        CheckpointError: the folder holds another run, or the pretraining file or a teacher does not fit.
        ModelError: a model file that is a teacher, or to start from, is none.
        DatasetError: there are no validation faces.
        OutputError: the folder cannot be written to.
        RecipeError: the recipe asks for what the data or the network does not have.
    """
    _check_faces(recipe, training, validation)
    resumed = goes_on(out, resume=resume)
    torch.set_num_threads(min(torch.get_num_threads(), cores()))  # torch does not see the limit of a container
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    if not accelerator.is_main_process:
        progress, report = False, lambda line: None
    torch.manual_seed(recipe.seed)
    classifier = build_classifier(recipe, len(classes), pretrained=not resumed and start is None, report=report)
    facts = dict(data or {})
    if not resumed:
        if start is not None:
            facts["started_from"] = _start(classifier, classes, start, recipe, report)
        if recipe.attributes.pretrained is not None:
            load_heads(classifier, recipe.attributes.pretrained, recipe)
        if through := sources(recipe, pretrained=start is None):
            facts["learned_through"] = through
        facts["pretraining"] = gather_pretraining(facts, recipe if start is None else None)
    display = Display(progress, report)
    run = _Run(accelerator, recipe, classifier, training, classes, facts, display)
    if resumed:
        run.restore(load_checkpoint(out / LAST), out / LAST)
        report(f"resumed after epoch {run.epoch} of {recipe.optimiser.epochs}")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    run.targets = taught_targets(run.targets, recipe.teacher, accelerator, training, classes, out, display)
    with writing(out):
        board = SummaryWriter(out) if run.accelerator.is_main_process else None
    with nullcontext() if board is None else board:
        while run.epoch < recipe.optimiser.epochs:
            row = run.train_epoch()
            if validation is not None:
                row |= run.validate(validation)
            run.history.append(row)
            if board is not None:
                _keep(run, out, board)
                report(_told(row))
    run.accelerator.wait_for_everyone()
    return load_checkpoint(out / BEST)


def _check_faces(recipe: Recipe, training: FaceData, validation: FaceData | None) -> None:
    """Raise where the faces are too few, or lack what the recipe needs."""
    if (faces := epoch_size(training.labels, recipe.data)) < recipe.optimiser.batch:
        raise RecipeError(
            f"recipe {recipe.name}: optimiser.batch is {recipe.optimiser.batch}, but an epoch has only {faces} faces, "
            "and an incomplete batch is left out; "
            + (f"give a smaller one, such as {1 << (faces.bit_length() - 1)}" if faces else "give it some")
        )
    bare = [faces for faces in (training, validation) if faces is not None and faces.landmarks is None]
    if recipe.regions.generator == "landmark" and bare:
        raise RecipeError(
            f"recipe {recipe.name}: regions.generator 'landmark' needs faces with landmarks; find them with "
            "'regionfer data prepare', and train on what it writes"
        )
    if validation is not None and not len(validation):
        raise DatasetError("there are no faces to choose the epoch on; give some, or set data.valid to ''")


def _told(row: Mapping[str, float]) -> str:
    """An epoch in a line."""
    line = f"epoch {row['epoch']}: loss {row['loss']:.4f}, {row['faces_per_second']:.0f} faces/s"
    if "valid_accuracy" not in row:
        return line
    return f"{line}, valid accuracy {row['valid_accuracy']:.2%}, mean recall {row['valid_mean_recall']:.2%}"


def leave_processes() -> None:
    """Take leave of the other processes, once a program of several has trained for the last time.

    A process that ends while it still belongs to their group may abort in the threads of gloo. Alone, nothing is done.
    """
    PartialState().destroy_process_group()


def _start(
    classifier: ExpressionClassifier,
    classes: tuple[str, ...],
    start: str | Path,
    recipe: Recipe,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Take over the weights of a model file or a checkpoint; what it is, for the card."""
    if Path(start).suffix == ".safetensors":
        checkpoint = load_whole(classifier, classes, Path(start), recipe, report)
        theirs = portable(parse_recipe(dict(checkpoint.recipe), str(start)))
        known = {**learned_by(checkpoint), "name": theirs.name, "epoch": checkpoint.epoch}
        return {**known, "recipe": json.loads(theirs.model_dump_json())}
    card = load_model_file(classifier, classes, None if start == "default" else start, recipe, report)
    return {
        **learned(card.training, card.training.get("recipe", {})),
        "name": card.name,
        "version": card.version,
        "licence": card.licence,
    }


class _Run:
    """A run under way: the network, its average, the optimiser, and how far they are."""

    def __init__(
        self,
        accelerator: Accelerator,
        recipe: Recipe,
        classifier: ExpressionClassifier,
        training: FaceData,
        classes: tuple[str, ...],
        data: dict[str, Any],
        display: Display,
    ) -> None:
        self.recipe, self.training, self.classes, self.data = recipe, training, classes, data
        self.accelerator, self.display = accelerator, display
        self.parts = _parts(recipe.optimiser, self.accelerator.num_processes, self.accelerator.process_index)
        self.classifier = classifier.to(self.accelerator.device)
        self.classifier.to(memory_format=torch.channels_last)
        self.average = AveragedModel(
            self.classifier, multi_avg_fn=moving_average(recipe.optimiser.ema), use_buffers=True
        )
        self.optimiser = build_optimiser(self.classifier.network, recipe.optimiser)
        self.base_rates = [group["lr"] for group in self.optimiser.param_groups]
        self.steps = epoch_size(training.labels, recipe.data) // recipe.optimiser.batch
        self.rate_factor = learning_rate(recipe.optimiser, self.steps)
        self.network = self.accelerator.prepare(self.classifier.network)
        self.targets = blended_targets(training, recipe.loss.soft_targets)
        self.weights = class_weights(training, recipe.loss.class_balance).to(self.accelerator.device)
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.score: dict[str, Any] = {}

    @property
    def evaluated(self) -> ExpressionClassifier:
        """The network whose accuracy counts: the average, or the last weights where nothing is averaged."""
        module = self.average.module
        assert isinstance(module, ExpressionClassifier)
        return module

    @property
    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on."""
        return _identity(self.recipe, self.classes, self.data)

    def train_epoch(self) -> dict[str, float]:
        """Go once through the training faces; means of the losses, and the pace."""
        recipe, started = self.recipe, time.perf_counter()
        set_training(self.classifier.network, self.recipe.optimiser)
        sums = torch.zeros(len(fields(Losses)) + 1)
        rows_of_steps = step_rows(self.training.labels, recipe.data, recipe.optimiser.batch, recipe.seed, self.epoch)
        for number, rows in enumerate(self._progress(rows_of_steps)):
            seed = mixed_seed(recipe.seed, self.epoch, number)
            # For backbones with dropout of their own, such as VGG.
            torch.manual_seed(mixed_seed(seed, self.accelerator.process_index))
            parts = self._step(draw_step(recipe, self.classifier, self.training, rows, seed))
            sums += parts
            if not parts.isfinite().all():
                raise RecipeError(
                    f"recipe {recipe.name}: the loss is no number any more at step {number + 1} of epoch "
                    f"{self.epoch + 1}; lower the learning rates, or set optimiser.gradient_clip"
                )
        self.epoch += 1
        seconds = time.perf_counter() - started
        names = ("loss", *(field.name for field in fields(Losses)))
        means = dict(zip(names, (sums / self.steps).tolist(), strict=True))
        pace = self.steps * recipe.optimiser.batch / seconds
        return {"epoch": self.epoch, **means, "seconds": seconds, "faces_per_second": pace}

    def validate(self, validation: FaceData) -> dict[str, float]:
        """Measure the average on the validation faces; the figures for the log. All of them stay in ``score``."""
        with self.display.faces(f"epoch {self.epoch}, validation", len(validation)) as advance:
            probabilities = predict_shared(self.accelerator, self.evaluated, validation, advance=advance)
        self.score = score(validation.labels, probabilities, self.classes).to_dict()
        return {f"valid_{name}": self.score[name] for name in ("accuracy", "mean_recall", "nll", "ece")}

    def _step(self, step: Step) -> Tensor:
        """Change the weights once; the loss and its parts over all processes, (4,)."""
        done = int(self.average.n_averaged)
        for group, rate in zip(self.optimiser.param_groups, self.base_rates, strict=True):
            group["lr"] = rate * self.rate_factor(done)
        self.optimiser.zero_grad(set_to_none=True)
        figures = torch.zeros(len(fields(Losses)) + 1)
        for part in self.parts:
            # Gradients are exchanged between processes with the last part only.
            with nullcontext() if part is self.parts[-1] else self.accelerator.no_sync(self.network):
                losses = self._losses(step, part)
                loss = losses.total(self.recipe)
                self.accelerator.backward(loss / len(self.parts))
            figures += torch.cat([loss.detach().float().view(1), losses.detached()]).cpu() / len(self.parts)
        if self.recipe.optimiser.gradient_clip is not None:
            nn.utils.clip_grad_norm_(self.classifier.parameters(), self.recipe.optimiser.gradient_clip)
        self.optimiser.step()
        self.average.update_parameters(self.classifier)
        if self.accelerator.num_processes > 1:
            figures = self.accelerator.reduce(figures.to(self.accelerator.device), "mean").cpu()
        return figures

    def _losses(self, step: Step, part: slice) -> Losses:
        return part_losses(
            step,
            part,
            recipe=self.recipe,
            classifier=self.classifier,
            network=self.network,
            data=self.training,
            targets=self._targets(step.rows[part]),
            weights=self.weights,
        )

    def _targets(self, rows: Tensor) -> Tensor:
        """Targets of these faces (B,), on the run's device."""
        device, teacher = self.accelerator.device, self.recipe.teacher
        targets = self.targets[rows].to(device)
        if not teacher.average_weight:
            return targets
        # In its first epoch the average knows less than the labels.
        grown = min(int(self.average.n_averaged) / self.steps, 1.0)
        landmarks = None if self.training.landmarks is None else self.training.landmarks[rows].to(device)
        faces = self.training.faces[rows].to(device)
        weight = teacher.average_weight * grown
        return averaged_targets(targets, weight, self.evaluated, faces, landmarks, self.recipe.precision)

    def _progress(self, rows: Iterator[Tensor]) -> Iterator[Tensor]:
        what = f"epoch {self.epoch + 1} of {self.recipe.optimiser.epochs}"
        batch = self.recipe.optimiser.batch
        with self.display.faces(what, self.steps * batch) as advance:
            for item in rows:
                yield item
                advance(batch)

    def checkpoint(self) -> Checkpoint:
        """The run as it stands."""
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
        """Go on from a checkpoint of the same recipe."""
        theirs = parse_recipe(dict(checkpoint.recipe), str(path))
        if changed := _differences(_identity(theirs, checkpoint.classes, checkpoint.data), self.identity):
            raise CheckpointError(f"{path}: made by another run: {changed}; train in another folder with --out")
        require_pose_head(self.classifier.state_dict(), checkpoint.network, path)
        self.classifier.load_state_dict(dict(checkpoint.network))
        self.evaluated.load_state_dict(dict(checkpoint.averaged))
        restore_optimiser(self.optimiser, checkpoint.optimiser)
        self.epoch, self.history, self.data = checkpoint.epoch, checkpoint.history, dict(checkpoint.data)
        self.average.n_averaged.fill_(self.epoch * self.steps)


def _keep(run: _Run, out: Path, board: SummaryWriter) -> None:
    """Write the checkpoint, the table and TensorBoard's figures of the epoch just done."""
    checkpoint, row = run.checkpoint(), run.history[-1]
    # The best first: a run killed between the two does this epoch again.
    if row.get("valid_accuracy", 0) >= max(past.get("valid_accuracy", 0) for past in run.history):
        save_checkpoint(checkpoint, out / BEST)
    save_checkpoint(checkpoint, out / LAST)
    log = out / "log.csv"
    with writing(log), log.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        writer.writeheader()
        writer.writerows(run.history)
    for name, value in row.items():
        board.add_scalar(name, value, int(row["epoch"]))
    board.flush()


def _identity(recipe: Recipe, classes: tuple[str, ...], data: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a run, but for where its files lie, as one flat mapping."""
    sections = portable(recipe).model_dump(mode="json", exclude={"model": {"pretrained"}})
    values: dict[str, Any] = {}
    for key, value in sections.items():
        values |= {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
    facts = {f"data {name}": data.get(name) for name in ("dataset", "protocol", "splits", "n")}
    return {**values, "classes": list(classes), **facts}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} was {old.get(key)!r}, is {new[key]!r}" for key in new if old.get(key) != new[key])


def _parts(recipe: OptimiserRecipe, processes: int, index: int) -> list[slice]:
    """The parts of a step that one of several processes works on, one after the other."""
    pieces = processes * recipe.accumulate
    if recipe.batch % pieces:
        raise RecipeError(
            f"optimiser.batch is {recipe.batch}, which cannot be split evenly over {processes} processes "
            f"with {recipe.accumulate} parts each"
        )
    size = recipe.batch // pieces
    first = index * recipe.accumulate
    return [slice(start * size, (start + 1) * size) for start in range(first, first + recipe.accumulate)]
