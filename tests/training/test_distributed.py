"""Two processes on this machine, with gloo, against one process with the same global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regionfer.training.checkpoint import Checkpoint, load_checkpoint
from regionfer.training.loop import LAST

SCRIPT = Path(__file__).parent / "run_distributed.py"


def run(out: Path, *arguments: str, processes: int, fails: bool = False) -> Checkpoint:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), str(out), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.returncode != 0) is fails, done.stderr
    return load_checkpoint(out / LAST)


def test_two_processes_train_as_one_does_and_resume(tmp_path: Path) -> None:
    one = run(tmp_path / "one", processes=1)
    two = run(tmp_path / "two", processes=2)
    for alone, shared in zip(one.history, two.history, strict=True):
        for name in ("loss", "cross_entropy", "region_biased", "visibility"):
            assert shared[name] == pytest.approx(alone[name], rel=1e-4), name
    alone_steps, *shared_steps = (
        np.array(json.loads((tmp_path / f"{name}.json").read_text())) for name in ("one.0", "two.0", "two.1")
    )
    assert len(alone_steps) == 3 * 6  # epochs of 48 faces, 8 a step
    for steps in shared_steps:
        np.testing.assert_allclose(steps, alone_steps, rtol=1e-4, atol=1e-6)
    # Each held-out face counts once, whoever looked at it.
    assert two.score["n"] == one.score["n"] == 31
    assert two.score["confusion"] == one.score["confusion"]
    for name, value in one.network.items():
        assert (value - two.network[name]).abs().max() < 1e-4, name

    assert run(tmp_path / "parts", "--die-after", "1", processes=2, fails=True).epoch == 1
    resumed = run(tmp_path / "parts", "--resume", processes=2)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in two.history]
