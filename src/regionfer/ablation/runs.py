"""One run of a row: train, export, answer the held-out faces under every condition; each done once and kept."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from regionfer.errors import CheckpointError, OutputError, RecipeError
from regionfer.models.classifier import mirror_points
from regionfer.onnx_model import ExpressionModel
from regionfer.training.checkpoint import load_checkpoint, replace_file
from regionfer.training.data import FaceData
from regionfer.training.export import export
from regionfer.training.loop import train
from regionfer.training.recipe import Recipe, parse_recipe, portable, require_files
from regionfer.training.run_files import BEST

ANSWERS, IDENTITY, MODEL = "answers.npz", "run.json", "model.onnx"
UNFINISHED = "answers.unfinished.npz"
"""Answers so far, under some of the conditions: early crops need half an hour for all."""

Report = Callable[[str], None]
Probabilities = Mapping[str, NDArray[np.float32]]
"""(n, C) of the held-out faces, by condition."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """What all runs learn from and are measured on.

    Attributes:
        training: faces to learn from.
        held_out: n faces on which the epoch is chosen.
        conditions: (n, S, S, 3) uint8 RGB, the same n faces by condition.
        classes: C names.
        facts: what they are, for checkpoints.
    """

    training: FaceData
    held_out: FaceData
    conditions: Mapping[str, NDArray[np.uint8]]
    classes: tuple[str, ...]
    facts: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of faces and labels."""
        content = hashlib.sha256("\n".join(self.classes).encode())
        for data in (self.training, self.held_out):
            for array in (data.faces.numpy(), data.labels, data.targets.numpy()):
                content.update(np.ascontiguousarray(array).data)
        return content.hexdigest()


@dataclass(frozen=True)
class Runs:
    """How runs are made.

    Attributes:
        corpus: faces.
        out: a folder a row, and in it one a seed.
        backbone: checkpoint or pretraining file that every run's backbone starts from; None for what its recipe says.
        progress: show a bar on standard error.
        report: called with lines for a person.
    """

    corpus: Corpus
    out: Path
    backbone: Path | None
    progress: bool = False
    report: Report = lambda line: None

    def folder(self, row: str, seed: int) -> Path:
        """Folder of a run."""
        return run_folder(self.out, row, seed)

    def is_done(self, row: str, seed: int) -> bool:
        """Whether a run has left its answers."""
        return has_run(self.out, row, seed)

    def finish(self, recipe: Recipe, taught_by: Sequence[tuple[str, int]] = ()) -> Probabilities:
        """Answers of a run, which is trained, or trained to its end, if they are not there.

        Args:
            recipe: of the run; its name is that of the row.
            taught_by: row and seed of the runs that are its teachers.

        Raises:
            RecipeError: weights or teachers that it starts from are not there.
            CheckpointError: the folder holds another run.
            RegionferError: as training and export.
        """
        recipe = self._started(recipe, taught_by)
        require_files(recipe, "model", "teacher")
        folder = self.folder(recipe.name, recipe.seed)
        claim(folder, self._identity(recipe))
        if self.is_done(recipe.name, recipe.seed):
            self.report(f"{recipe.name}, seed {recipe.seed}: done before")
            return load_answers(folder)
        self.report(f"{recipe.name}, seed {recipe.seed}")
        corpus = self.corpus
        train(
            recipe,
            corpus.training,
            corpus.held_out,
            folder,
            classes=corpus.classes,
            data=corpus.facts,
            resume=True,
            progress=self.progress,
            report=lambda line: self.report(f"  {line}"),
        )
        exported, _ = export(load_checkpoint(folder / BEST), folder / MODEL, name=recipe.name, version=str(recipe.seed))
        landmarks = None if corpus.held_out.landmarks is None else corpus.held_out.landmarks.numpy()
        answers = load_answers(folder, UNFINISHED) if (folder / UNFINISHED).is_file() else {}
        for name, faces in corpus.conditions.items():
            if name not in answers:
                answers[name] = answer(exported, faces, landmarks, flip=recipe.test_time_flip)
                save_arrays(answers, folder / UNFINISHED)
        (folder / UNFINISHED).replace(folder / ANSWERS)
        return answers

    def _started(self, recipe: Recipe, taught_by: Sequence[tuple[str, int]]) -> Recipe:
        """The recipe with the files that a run starts from."""
        sections: dict[str, Any] = {}
        if self.backbone is not None:
            # What the recipe says of its own file is not true of this one.
            changed = {"pretrained": self.backbone, "pretrained_origin": ""}
            sections["model"] = recipe.model.model_copy(update=changed)
        if taught_by:
            teachers = tuple(self.folder(*run) / BEST for run in taught_by)
            sections["teacher"] = recipe.teacher.model_copy(update={"checkpoints": teachers})
        return recipe.model_copy(update=sections)

    def _identity(self, recipe: Recipe) -> dict[str, Any]:
        start, teachers = recipe.model.pretrained, recipe.teacher.checkpoints
        return run_identity(recipe, self.corpus) | {
            "backbone": start and _digest(start),
            "teachers": [_digest(path) for path in teachers] or None,  # None as in runs of before there were any
            "conditions": list(self.corpus.conditions),
        }


def run_folder(out: Path, row: str, seed: int) -> Path:
    """Folder of a run of an ablation in ``out``."""
    return out / row / f"seed-{seed}"


def has_run(out: Path, row: str, seed: int) -> bool:
    """Whether a run of an ablation in ``out`` has left its answers."""
    return (run_folder(out, row, seed) / ANSWERS).is_file()


def run_identity(recipe: Recipe, corpus: Corpus) -> dict[str, Any]:
    """What decides a run, but for where its files lie."""
    return {"recipe": _as_kept(recipe), "faces": corpus.fingerprint}


def _as_kept(recipe: Recipe) -> dict[str, Any]:
    bare = {"model": {"pretrained", "pretrained_origin"}, "teacher": {"checkpoints"}}
    return portable(recipe).model_dump(mode="json", exclude=bare)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make the folder of a run, or see that it is the same run's.

    Raises:
        CheckpointError: it is another run's.
        OutputError: it cannot be made.
    """
    path = folder / IDENTITY
    if path.is_file():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            # As this release writes it: one before may not have known every key.
            found["recipe"] = _as_kept(parse_recipe(found["recipe"], str(path)))
        except (ValueError, KeyError, TypeError, RecipeError):
            found = {}
        if changed := [name for name, value in identity.items() if found.get(name) != value]:
            raise CheckpointError(f"{folder}: made by another run: other {', '.join(changed)}; give another --out")
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written to: {error.strerror or error}") from error


def answer(
    model: ExpressionModel, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None, *, flip: bool
) -> NDArray[np.float32]:
    """Probabilities (n, C) of faces; with ``flip`` the mean over face and mirror image."""
    shares = model.run(faces, landmarks).probabilities
    if not flip:
        return shares
    mirrored = None if landmarks is None else mirror_points(torch.from_numpy(landmarks)).numpy()
    other = model.run(np.ascontiguousarray(faces[:, :, ::-1]), mirrored).probabilities
    return np.asarray((shares + other) / 2, dtype=np.float32)


def load_answers(folder: Path, name: str = ANSWERS) -> dict[str, NDArray[np.float32]]:
    """Answers that a run left.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        return load_arrays(folder / name)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete it to have the run measured again") from error


def load_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """What `save_arrays` wrote.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    try:
        # Opened here, for numpy leaves a damaged file open.
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def save_arrays(arrays: Mapping[str, NDArray[np.float32]], path: Path) -> None:
    """Write arrays by name, whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """

    def write(partial: Path) -> None:
        with partial.open("wb") as file:  # given a name, numpy would put its own suffix behind it
            np.savez(file, **arrays)  # type: ignore[arg-type]

    replace_file(path, write)


def limited(data: FaceData, count: int | None) -> FaceData:
    """At most ``count`` faces, chosen at random but always the same, in their order."""
    if count is None or count >= len(data):
        return data
    rows = np.sort(np.random.default_rng(0).choice(len(data), count, replace=False))
    return data.rows(rows)


def with_landmarks(data: FaceData, landmarks: NDArray[np.float32]) -> FaceData:
    """The same faces with landmarks (n, 5, 2) in 0..1."""
    return replace(data, landmarks=torch.from_numpy(landmarks))
