"""How fast models are beside each other in ONNX Runtime: they take turns, and the best round of each counts."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.onnx_model import MAX_FACES_PER_RUN, ExpressionModel

THREADS = 2
FACES = 16
"""Faces a turn, in runs of the usual size."""
ROUNDS = 7


class Pace(NamedTuple):
    """How fast a model is.

    Attributes:
        faces_per_second: one view a face, in the best of the rounds.
        cost: time a face as a multiple of the reference's, best round against best round.
    """

    faces_per_second: float
    cost: float


def measure_pace(
    models: Mapping[str, Path],
    reference: str,
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32] | None = None,
    *,
    threads: int = THREADS,
    rounds: int = ROUNDS,
    batch_size: int = MAX_FACES_PER_RUN,
) -> dict[str, Pace]:
    """Time models on the same faces.

    Args:
        models: files by name, the reference among them.
        reference: name of the model that costs are multiples of.
        faces: (n, S, S, 3) uint8 RGB; the first ``FACES`` of them are used, or ``batch_size`` if that is more.
        landmarks: (n, 5, 2) in 0..1, for models whose regions follow them.
        threads: CPU threads.
        rounds: turns of each model, after one that does not count.
        batch_size: faces in one run.
    """
    count = max(FACES, batch_size)
    batch, points = faces[:count], None if landmarks is None else landmarks[:count]
    loaded = {name: ExpressionModel.load(path, threads=threads) for name, path in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in loaded}
    for turn in range(rounds + 1):
        for name, model in loaded.items():
            start = time.perf_counter()
            model.run(batch, points, batch_size=batch_size)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: _pace(taken, seconds[reference], len(batch)) for name, taken in seconds.items()}


def _pace(taken: Sequence[float], beside: Sequence[float], faces: int) -> Pace:
    return Pace(faces / min(taken), min(taken) / min(beside))
