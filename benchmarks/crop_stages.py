"""The figure of the trade-off over crop stages: ``python benchmarks/crop_stages.py OUT.png [--table TABLE.json]``.

Measures, in ONNX Runtime on two threads unless told otherwise, what RAN costs beside the plain backbone if the feature
map is cropped before each stage (0 crops the picture); all networks take turns. Accuracies come from the table of an
ablation with rows ``stage-K`` (recipes/crop-stages.toml); without one only the cost is drawn.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from networks import cropped, made_faces, save_network

from regionfer.pace import FACES, THREADS, measure_pace

PLAIN = "plain"
STAGES = (0, 2, 4, 6, 8, 10, 11, 12, 13)
LIMIT = 1.5
"""Cost beside the plain backbone that late cropping is to stay below."""


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--table", type=Path, help="table.json of an ablation with rows stage-K")
    parser.add_argument("--size", type=int, default=96, help="side of the networks' input, pixels")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    costs = measure(arguments.size, arguments.threads, arguments.rounds)
    accuracies = {} if arguments.table is None else read_accuracies(arguments.table)
    for stage, cost in costs.items():
        accuracy = f"{accuracies[stage]['mean']:8.2%}" if stage in accuracies else "       –"
        print(f"stage {stage:2}: {cost:5.2f} times the plain backbone, accuracy {accuracy}")
    title = f"Six views at {arguments.size} px, ONNX Runtime, threads: {arguments.threads}"
    draw(costs, accuracies, title, arguments.figure)


def measure(size: int, threads: int, rounds: int) -> dict[int, float]:
    """Cost by stage, as a multiple of the plain backbone's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {PLAIN: save_network(cropped(None, size), folder / "plain.onnx")}
        models |= {str(stage): save_network(cropped(stage, size), folder / f"{stage}.onnx") for stage in STAGES}
        paces = measure_pace(models, PLAIN, made_faces(FACES), threads=threads, rounds=rounds)
    return {stage: paces[str(stage)].cost for stage in STAGES}


def read_accuracies(table: Path) -> dict[int, dict[str, Any]]:
    """Accuracy on the clean held-out faces by stage; -1 is the plain backbone."""
    rows = {row["name"]: row for row in json.loads(table.read_text(encoding="utf-8"))["rows"] if row["accuracy"]}
    found = {int(name.removeprefix("stage-")): row for name, row in rows.items() if name.startswith("stage-")}
    if PLAIN in rows:
        found[-1] = rows[PLAIN]
    return {stage: row["accuracy"]["clean"] for stage, row in found.items()}


def draw(costs: dict[int, float], accuracies: dict[int, dict[str, Any]], title: str, path: Path) -> None:
    """Cost, and above it accuracy with its interval, by stage."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2 if accuracies else 1, sharex=True, figsize=(6.4, 5.6 if accuracies else 3.2))
    below = axes[1] if accuracies else axes
    below.plot(list(costs), list(costs.values()), "o-", color="tab:blue")
    below.axhline(LIMIT, color="tab:grey", linestyle="--", linewidth=1)
    below.text(0, LIMIT + 0.08, f"{LIMIT:g} times", color="tab:grey")
    below.set(xlabel="stage that the crop is taken before (0: the picture)", ylabel="time / plain backbone")
    below.set(ylim=(0, None), xticks=list(costs))
    if accuracies:
        stages = sorted(stage for stage in accuracies if stage >= 0)
        means = [100 * accuracies[stage]["mean"] for stage in stages]
        reach = [
            [abs(100 * accuracies[stage]["ci95"][end] - mean) for stage, mean in zip(stages, means, strict=True)]
            for end in (0, 1)
        ]
        axes[0].errorbar(stages, means, yerr=reach, fmt="o-", capsize=3, color="tab:orange", label="RAN")
        if -1 in accuracies:
            axes[0].axhline(100 * accuracies[-1]["mean"], color="black", linewidth=1, label="plain backbone")
        axes[0].set(ylabel="accuracy, %")
        axes[0].legend()
    figure.suptitle(title)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
