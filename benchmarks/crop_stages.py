"""The figure of the trade-off over crop stages: ``python benchmarks/crop_stages.py OUT.png [--table TABLE.json]``.

Measures, in ONNX Runtime on two threads unless told otherwise, what RAN costs beside the plain backbone if the feature
map is cropped before each stage (0 crops the picture); all networks take turns. Accuracies come from the table of an
ablation with rows ``stage-K`` (recipes/crop-stages.toml); without one only the cost is drawn.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping
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
    parser.add_argument("--table", type=Path, help="table.json of an ablation with rows stage-K, of the same --size")
    parser.add_argument("--size", type=int, default=96, help="side of the networks' input, pixels")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    import_pyplot()  # what lacks is to show before minutes of measuring
    table = {} if arguments.table is None else json.loads(arguments.table.read_text(encoding="utf-8"))
    accuracies = read_accuracies(table)
    if arguments.table is not None and not accuracies.keys() & set(STAGES):
        parser.error(f"{arguments.table}: expected the table of an ablation with rows stage-K, found none")
    costs = measure(arguments.size, arguments.threads, arguments.rounds)
    for stage, cost in costs.items():
        accuracy = f"{accuracies[stage]['mean']:8.2%}" if stage in accuracies else "       –"
        print(f"stage {stage:2}: {cost:5.2f} times the plain backbone, accuracy {accuracy}")
    title = f"Six views at {arguments.size} px, ONNX Runtime, threads: {arguments.threads}{read_facts(table)}"
    draw(costs, accuracies, title, arguments.figure)


def measure(size: int, threads: int, rounds: int) -> dict[int, float]:
    """Cost by stage, as a multiple of the plain backbone's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = {PLAIN: save_network(cropped(None, size), folder / "plain.onnx")}
        models |= {str(stage): save_network(cropped(stage, size), folder / f"{stage}.onnx") for stage in STAGES}
        paces = measure_pace(models, PLAIN, made_faces(FACES), threads=threads, rounds=rounds)
    return {stage: paces[str(stage)].cost for stage in STAGES}


def read_accuracies(table: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Accuracy on the clean held-out faces by stage; -1 is the plain backbone; nothing of an empty table."""
    rows = {row["name"]: row["accuracy"] for row in table.get("rows", ()) if row["accuracy"]}
    stages = {PLAIN: -1} | {f"stage-{stage}": stage for stage in STAGES}
    return {stage: rows[name]["clean"] for name, stage in stages.items() if name in rows}


def read_facts(table: Mapping[str, Any]) -> str:
    """On which faces the accuracies were measured, as a line of the title."""
    if not table:
        return ""
    facts = table["facts"]
    measured_on = f"{facts['dataset']} {facts['valid_split']}, {facts['protocol']}, n = {facts['held_out']:,}"
    return f"\n{measured_on}; {facts['n']:,} faces to learn from"


def import_pyplot() -> Any:
    """Matplotlib, of the extra `report`, drawing to files."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def draw(costs: dict[int, float], accuracies: dict[int, dict[str, Any]], title: str, path: Path) -> None:
    """Accuracy with its interval against cost, and below it cost by stage."""
    pyplot = import_pyplot()
    figure, axes = pyplot.subplots(2 if accuracies else 1, figsize=(6.4, 6.4 if accuracies else 3.2), squeeze=False)
    if accuracies:
        _draw_trade(axes[0, 0], costs, accuracies)
    below = axes[-1, 0]
    below.plot(list(costs), list(costs.values()), "o-", color="tab:blue")
    below.axhline(LIMIT, color="tab:grey", linestyle="--", linewidth=1)
    below.text(0, LIMIT + 0.08, f"{LIMIT:g} times", color="tab:grey")
    below.set(xlabel="stage that the crop is taken before (0: the picture)", ylabel="time / plain backbone")
    below.set(ylim=(0, None), xticks=list(costs))
    figure.suptitle(title, fontsize="medium")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _draw_trade(axes: Any, costs: dict[int, float], accuracies: dict[int, dict[str, Any]]) -> None:
    """One point a stage, with its number, and one for the plain backbone; intervals are 95 %."""
    stages = sorted((stage for stage in accuracies if stage in costs), key=costs.__getitem__)
    axes.plot(
        [costs[stage] for stage in stages], [100 * accuracies[stage]["mean"] for stage in stages], color="tab:orange"
    )
    for stage, accuracy in accuracies.items():
        cost, mean = costs.get(stage, 1.0), 100 * accuracy["mean"]
        reach = [[abs(100 * bound - mean)] for bound in accuracy["ci95"]]
        colour = "tab:orange" if stage in costs else "black"
        axes.errorbar(cost, mean, yerr=reach, fmt="o", capsize=3, color=colour)
        axes.annotate(f"{stage}" if stage in costs else PLAIN, (cost, mean), xytext=(5, 5), textcoords="offset points")
    axes.axvline(LIMIT, color="tab:grey", linestyle="--", linewidth=1)
    axes.set(xlabel="time / plain backbone (numbers: the stage that the crop is taken before)", ylabel="accuracy, %")


if __name__ == "__main__":
    main()
