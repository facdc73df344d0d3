"""Run an ablation: the common backbone if there is to be one, then every run of every row, then the table."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regionfer.ablation.conditions import CLEAN, COVERS, covered_faces, filled, find_landmarks, turned, yaw_of
from regionfer.ablation.figures import (
    TURNED,
    Answers,
    RowFigures,
    accuracies,
    compare_rows,
    predictions_of,
    recall_figure,
)
from regionfer.ablation.plan import BACKBONE, Ablation, Row
from regionfer.ablation.runs import (
    IDENTITY,
    MODEL,
    Corpus,
    Report,
    Runs,
    claim,
    has_run,
    limited,
    load_arrays,
    run_identity,
    save_arrays,
    with_landmarks,
)
from regionfer.ablation.table import AblationTable
from regionfer.errors import CheckpointError, DatasetError, RecipeError, RegionferError, writing
from regionfer.faces import MTCNN, FaceDetector
from regionfer.pace import Pace, measure_pace
from regionfer.training.data import FaceData
from regionfer.training.loop import train
from regionfer.training.recipe import Recipe, require_files
from regionfer.training.run_files import BEST, LAST
from regionfer.training.sources import Sources

LANDMARKS = "landmarks.npz"

ShowSearch = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""Given the number of faces to search, a context with a function that is told how many were done since."""


@dataclass(frozen=True)
class Settings:
    """How an ablation is run.

    Attributes:
        out: folder for everything.
        only: names of the rows to run; empty for all. The table has every row that has run before, too.
        seeds: use these for every row instead of its own.
        limit: at most so many faces to learn from, and as many held out: a trial.
        backbone: a checkpoint or pretraining file that all rows start from, in place of the common backbone or of what
            their recipes say.
        resume: go on with what is there.
        progress: show bars on standard error.
        workers: threads that look for landmarks.
    """

    out: Path
    only: Sequence[str] = ()
    seeds: tuple[int, ...] = ()
    limit: int | None = None
    backbone: Path | None = None
    resume: bool = False
    progress: bool = False
    workers: int = 1


def ablate(
    ablation: Ablation,
    sources: Sources,
    settings: Settings,
    *,
    detector: FaceDetector | None = None,
    report: Report = lambda line: None,
    show_search: ShowSearch = lambda total: nullcontext(lambda done: None),
) -> AblationTable:
    """Run an ablation and write its table, anew after each row.

    A run that fails is told of, and the others go on. Runs that are done are not done again.

    Args:
        ablation: what to run.
        sources: the faces that its recipes name.
        settings: where to, and which part of it.
        detector: finds landmarks where the dataset gives none; MTCNN if not given.
        report: called with lines for a person.
        show_search: shows how far the search for landmarks is.

    Raises:
        RecipeError: ``settings.only`` names a row that is not there; or runs are to start from what is not.
        DatasetError: there are no held-out faces.
        CheckpointError: the folder holds another ablation, or one at all without ``resume``.
        OutputError: the folder cannot be written to.
        RegionferError: the common backbone cannot be trained.
    """
    if unknown := [name for name in settings.only if name not in [row.name for row in ablation.rows]]:
        known = ", ".join(row.name for row in ablation.rows)
        raise RecipeError(f"{ablation.name}: no row is called {', '.join(unknown)}; there are {known}")
    if not settings.resume and next(settings.out.glob(f"**/{IDENTITY}"), None):
        raise CheckpointError(f"{settings.out}: holds runs already; give --resume to go on, or another folder")
    _require_starts(ablation, settings)
    faces = _Faces.of(ablation, sources, settings, detector or MTCNN(threads=1), show_search)
    backbone = settings.backbone
    if backbone is None and ablation.backbone is not None:
        backbone = _common_backbone(ablation.backbone, faces.corpus, settings, report)
    runs = Runs(faces.corpus, settings.out, backbone, settings.progress, report)
    results: dict[str, _Results] = {}
    for row in ablation.rows:
        results[row.name] = _run_row(row, runs, settings)
        table = _table(ablation, faces, results, {})
        table.write(settings.out)
    report("timing all models in turns")
    table = _table(ablation, faces, results, _paces(ablation, runs, results))
    table.write(settings.out)
    return table


def _require_starts(ablation: Ablation, settings: Settings) -> None:
    """See that all is there, or will be, that runs start from, before anything that takes minutes.

    Raises:
        RecipeError: something is not.
    """
    asked = [row for row in ablation.rows if not settings.only or row.name in settings.only]
    if settings.backbone is None and ablation.backbone is not None:
        if not (settings.out / BACKBONE / LAST).is_file():
            require_files(ablation.backbone, "model")
    elif settings.backbone is None:
        for row in asked:
            require_files(row.recipe, "model")
    to_come = {(row.name, seed) for row in asked for seed in settings.seeds or row.seeds}
    for row in asked:
        require_files(row.recipe, "teacher")
        for teacher, seed in row.taught_by:
            if (teacher, seed) not in to_come and not has_run(settings.out, teacher, seed):
                raise RecipeError(
                    f"{ablation.name}: {row.name} is taught by {teacher}, seed {seed}, which has not run in "
                    f"{settings.out}, nor is it to run now; run it, too"
                )


@dataclass(frozen=True, eq=False)
class _Faces:
    """The faces of an ablation, and the yaw (n,) of the held-out ones in degrees."""

    corpus: Corpus
    yaw: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        ablation: Ablation,
        sources: Sources,
        settings: Settings,
        detector: FaceDetector,
        show_search: ShowSearch,
    ) -> "_Faces":
        if sources.validation is None or not len(sources.validation):
            raise DatasetError(f"{ablation.name}: there are no held-out faces to measure on; set data.valid")
        training, held_out = (limited(data, settings.limit) for data in (sources.training, sources.validation))
        needed = [held_out]
        if any(row.recipe.regions.generator == "landmark" for row in ablation.rows):
            needed.append(training)  # for all rows alike: covers, too, are placed by landmarks
        points = _landmarks(needed, settings, detector, show_search)
        held_out = with_landmarks(held_out, filled(points[0]))
        if len(points) > 1:
            training = with_landmarks(training, filled(points[1]))
        pixels = held_out.faces.numpy()
        conditions = {CLEAN: pixels} | {kind: covered_faces(pixels, kind, points[0]) for kind in COVERS}
        facts = {**sources.facts, "n": len(training)}
        return cls(Corpus(training, held_out, conditions, sources.classes, facts), yaw_of(points[0]))

    @property
    def turned(self) -> NDArray[np.bool_]:
        """The most turned faces, (n,)."""
        return turned(self.yaw)


@dataclass(frozen=True, eq=False)
class _Results:
    """Answers of the runs of a row that ended, and why others did not, by seed."""

    answers: dict[int, Answers] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)


def _landmarks(
    sets: Sequence[FaceData], settings: Settings, detector: FaceDetector, show_search: ShowSearch
) -> list[NDArray[np.float32]]:
    """Landmarks (n, 5, 2) of sets of faces, as they come with them or as found; what was found is kept in a file."""
    path = settings.out / LANDMARKS
    kept = _kept_landmarks(path) if settings.resume else {}
    found = []
    for data in sets:
        if data.landmarks is not None:
            found.append(data.landmarks.numpy())
            continue
        # Under the faces that they were found in, for others have others.
        key = sha256(data.faces.numpy().tobytes()).hexdigest()
        if key not in kept:
            with show_search(len(data)) as advance:
                kept[key] = find_landmarks(data.faces.numpy(), detector, workers=settings.workers, advance=advance)
            with writing(settings.out):
                settings.out.mkdir(parents=True, exist_ok=True)
            save_arrays(kept, path)
        found.append(kept[key])
    return found


def _kept_landmarks(path: Path) -> dict[str, NDArray[np.float32]]:
    """Landmarks by a hash of their faces; none where there are none, or the file is damaged."""
    try:
        return load_arrays(path)
    except CheckpointError:
        return {}


def _common_backbone(recipe: Recipe, corpus: Corpus, settings: Settings, report: Report) -> Path:
    """The checkpoint of the run that all rows start from."""
    folder = settings.out / BACKBONE
    claim(folder, run_identity(recipe, corpus))
    report("the common backbone")
    train(
        recipe,
        corpus.training,
        corpus.held_out,
        folder,
        classes=corpus.classes,
        data=corpus.facts,
        resume=True,
        progress=settings.progress,
        report=lambda line: report(f"  {line}"),
    )
    return folder / BEST


def _run_row(row: Row, runs: Runs, settings: Settings) -> _Results:
    """Run a row, or if it was not asked for, take what is there of it."""
    results = _Results()
    asked = not settings.only or row.name in settings.only
    for seed in settings.seeds or row.seeds:
        if not asked and not runs.is_done(row.name, seed):
            continue
        try:
            results.answers[seed] = runs.finish(row.recipe.model_copy(update={"seed": seed}), row.taught_by)
        except (RegionferError, RuntimeError, MemoryError) as error:  # torch raises the second for want of memory
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            results.failures[seed] = reason
            runs.report(f"{row.name}, seed {seed}: failed: {reason}")
    return results


def _paces(ablation: Ablation, runs: Runs, results: Mapping[str, _Results]) -> dict[str, Pace]:
    """Speed of one model a row; none where the reference has no model."""
    models = {
        name: runs.folder(name, next(iter(result.answers))) / MODEL
        for name, result in results.items()
        if result.answers
    }
    if ablation.reference not in models:
        return {}
    held_out = runs.corpus.held_out
    assert held_out.landmarks is not None
    return measure_pace(models, ablation.reference, held_out.faces.numpy(), held_out.landmarks.numpy())


def _table(
    ablation: Ablation, faces: _Faces, results: Mapping[str, _Results], paces: Mapping[str, Pace]
) -> AblationTable:
    corpus = faces.corpus
    labels, classes = corpus.held_out.labels, corpus.classes
    rows = []
    for row in ablation.rows:
        result = results.get(row.name, _Results())
        if not result.answers and not result.failures:
            continue
        measured = accuracies(labels, faces.turned, result.answers) if result.answers else {}
        recall = recall_figure(labels, predictions_of(result.answers, CLEAN), classes) if result.answers else None
        seeds = tuple(result.answers)
        rows.append(RowFigures(row.name, row.title, seeds, measured, recall, paces.get(row.name), result.failures))
    there = {row.name for row in rows}
    comparisons = {
        (model, baseline): compare_rows(labels, faces.turned, results[model].answers, results[baseline].answers)
        for model, baseline in ablation.compared
        if {model, baseline} <= there
    }
    names = {"dataset", "protocol", "splits", "valid_split", "n", "commit"}
    facts = {name: value for name, value in corpus.facts.items() if name in names}
    facts |= {"held_out": len(labels), "pose_known": int(np.isfinite(faces.yaw).sum())}
    conditions = (*corpus.conditions, *([TURNED] if faces.turned.any() else []))
    return AblationTable(ablation.name, facts, ablation.reference, conditions, tuple(rows), comparisons)
