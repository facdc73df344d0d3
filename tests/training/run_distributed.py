"""Trains the tiny network of conftest.py; started by torchrun, or by itself, from test_distributed.py."""

import argparse
import json
import os
import runpy
from pathlib import Path

from torch import Tensor

from regionfer.models import backbones
from regionfer.training import loop
from regionfer.training.loop import leave_processes, train
from regionfer.training.step import Step

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die-after", type=int, help="epochs")
    arguments = parser.parse_args()
    made = runpy.run_path(str(HERE / "conftest.py"))
    backbones.BACKBONES = {**backbones.BACKBONES, "tiny": made["tiny_backbone"]}
    recipe = made["_recipe"](loss={"visibility": 1.0}, teacher={"average_weight": 0.5}, optimiser={"epochs": 3})

    def report(line: str) -> None:
        if arguments.die_after and line.startswith(f"epoch {arguments.die_after}"):
            raise KeyboardInterrupt

    figures: list[list[float]] = []
    step_of_run = loop._Run._step

    def noted(run: loop._Run, step: Step) -> Tensor:
        parts = step_of_run(run, step)
        figures.append(parts.tolist())
        return parts

    loop._Run._step = noted  # type: ignore[method-assign]

    # 31 held-out faces: two processes cannot share them evenly.
    faces, held_out = made["_faces"](), made["_faces"](31, 1)
    train(recipe, faces, held_out, arguments.out, classes=made["CLASSES"], resume=arguments.resume, report=report)
    arguments.out.with_suffix(f".{os.environ.get('RANK', '0')}.json").write_text(json.dumps(figures))
    leave_processes()


if __name__ == "__main__":
    main()
