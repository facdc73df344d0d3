"""The table of an ablation, as Markdown for people, CSV for spreadsheets and JSON for programs."""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionfer.ablation.conditions import CLEAN, TURNED_SHARE
from regionfer.ablation.figures import TURNED, Figure, RowFigures, SeedsCompared
from regionfer.errors import OutputError
from regionfer.evaluation.tables import interval_text, p_text, percent, signed, signed_interval
from regionfer.pace import THREADS

SCHEMA = 1
NAME = "table"
"""Name of the three files, before their suffix."""


@dataclass(frozen=True, eq=False)
class AblationTable:
    """All figures of an ablation.

    Attributes:
        name: of the ablation.
        facts: what was learned from and measured on.
        reference: name of the row that costs are multiples of.
        conditions: names, in the order of the columns.
        rows: in the order of the table.
        comparisons: by names of model and baseline, then by condition.
    """

    name: str
    facts: Mapping[str, Any]
    reference: str
    conditions: tuple[str, ...]
    rows: tuple[RowFigures, ...]
    comparisons: Mapping[tuple[str, str], Mapping[str, SeedsCompared]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "facts": dict(self.facts),
            "reference": self.reference,
            "conditions": list(self.conditions),
            "rows": [row.to_dict() for row in self.rows],
            "comparisons": [
                {
                    "model": model,
                    "baseline": baseline,
                    "conditions": {name: each.to_dict() for name, each in by_condition.items()},
                }
                for (model, baseline), by_condition in self.comparisons.items()
            ],
        }

    def to_markdown(self) -> str:
        """A page with the table, its comparisons and how to read them."""
        return "\n".join(self._lines()) + "\n"

    def to_csv(self) -> str:
        """A line a row; shares in 0..1."""
        names = ["accuracy_" + name.replace(" ", "_") for name in self.conditions]
        text = io.StringIO()
        figures = [*names, "mean_recall"]
        columns = [f"{figure}{part}" for figure in figures for part in ("", "_low", "_high", "_sd")]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["row", "title", "seeds", *columns, "faces_per_second", "cost", "failures"])
        for row in self.rows:
            shares = [*(row.accuracy.get(name) for name in self.conditions), row.mean_recall]
            pace = ["", ""] if row.pace is None else [f"{row.pace.faces_per_second:.1f}", f"{row.pace.cost:.3f}"]
            failures = "; ".join(f"seed {seed}: {reason}" for seed, reason in row.failures.items())
            cells = [cell for figure in shares for cell in _csv_cells(figure)]
            writer.writerow([row.name, row.title, len(row.seeds), *cells, *pace, failures])
        return text.getvalue()

    def write(self, folder: Path) -> Path:
        """Write the three files; the Markdown one is returned.

        Raises:
            OutputError: they cannot be written.
        """
        texts = {
            "json": json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n",
            "csv": self.to_csv(),
            "md": self.to_markdown(),
        }
        try:
            for suffix, text in texts.items():
                partial = folder / f"{NAME}.{suffix}.partial"
                partial.write_text(text, encoding="utf-8")
                partial.replace(folder / f"{NAME}.{suffix}")
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written to: {error.strerror or error}") from error
        return folder / f"{NAME}.md"

    def _lines(self) -> Iterator[str]:
        facts = self.facts
        yield f"# {self.name}\n"
        yield (
            f"{facts['dataset']}, {facts['protocol']}: {facts['n']:,} faces to learn from, "
            f"{facts['held_out']:,} held out to choose the epoch and to measure on; the yaw of "
            f"{facts['pose_known']:,} of them is known.\n"
        )
        conditions = [name for name in self.conditions if name != CLEAN]
        yield from _table(
            ["row", "seeds", "accuracy, %", "mean recall, %", *conditions, "faces/s", "cost"],
            map(self._cells, self.rows),
        )
        yield (
            "\nMeans over the seeds; in brackets 95 % intervals over the faces (bootstrap; a dash where it says "
            "nothing), behind ± the standard deviation over the seeds. The columns with the name of a cover are "
            f"accuracies on the same faces, each covered once; “{TURNED}” is the accuracy on the {TURNED_SHARE:.0%} of "
            "them with the largest known yaw. "
            f"Faces a second: ONNX Runtime, {THREADS} threads, one view; cost: time as a multiple of that of "
            f"“{self.reference}”, all rows in turns."
        )
        for (model, baseline), by_condition in self.comparisons.items():
            yield f"\n## {model} against {baseline}\n"
            yield from _table(
                ["faces", "seeds", "difference, points", "McNemar p, by seed"],
                ([name, *_comparison_cells(each)] for name, each in by_condition.items()),
            )
            if not by_condition:
                yield "\nNo seed of which both have ended."
        failed = [(row, seed, reason) for row in self.rows for seed, reason in row.failures.items()]
        if failed:
            yield "\n## Failed\n"
            yield from (f"- {row.name}, seed {seed}: {reason}" for row, seed, reason in failed)

    def _cells(self, row: RowFigures) -> list[str]:
        name = f"{row.title} (`{row.name}`)"
        if not row.accuracy:
            return [name, "0", *["–"] * (len(self.conditions) + 3)]
        pace = ("–", "–") if row.pace is None else (f"{row.pace.faces_per_second:.0f}", f"{row.pace.cost:.2f}")
        others = [_text(row.accuracy.get(condition)) for condition in self.conditions if condition != CLEAN]
        return [name, str(len(row.seeds)), _text(row.accuracy[CLEAN]), _text(row.mean_recall), *others, *pace]


def _table(columns: Sequence[str], rows: Iterator[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _text(figure: Figure | None) -> str:
    if figure is None:
        return "–"
    spread = "" if figure.spread is None else f" ± {100 * figure.spread:.2f}"
    return f"{percent(figure.mean, 2)}{spread} {interval_text(figure.ci95)}"


def _comparison_cells(compared: SeedsCompared) -> list[str]:
    ps = ", ".join(p_text(each.mcnemar_p) for each in compared.by_seed.values())
    difference = f"{signed(compared.difference, 2)} {signed_interval(compared.difference_ci95, 2)}"
    return [str(len(compared.by_seed)), difference, ps]


def _csv_cells(figure: Figure | None) -> list[str]:
    if figure is None:
        return [""] * 4
    spread = "" if figure.spread is None else f"{figure.spread:.5f}"
    interval = ("", "") if figure.ci95 is None else (f"{bound:.5f}" for bound in figure.ci95)
    return [f"{figure.mean:.5f}", *interval, spread]
