"""The report's curves, drawn by matplotlib as SVG text."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regionfer.evaluation.evaluate import ALL, Evaluation
from regionfer.evaluation.tables import named_results
from regionfer.metrics import FEW, expected_calibration_error, reliability_curve, risk_coverage_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL_COLOUR, BASELINE_COLOUR, MUTED, GRID = "#1f5f99", "#b4560f", "#5b6470", "#e3e7ec"
SET_COLOURS = ("#1f2933", "#1f5f99", "#b4560f", "#2c7a4b", "#7a3e93", "#a8324a", "#5c6b00", "#00707a")

_STYLE: Any = {  # of RcParams, whose keys newer releases of matplotlib type one by one
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": "#323f4b",
    "axes.titlecolor": "#1f2933",
    "text.color": "#1f2933",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": "#52606d",
    "ytick.color": "#52606d",
    "grid.color": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a subset's name may have a dollar in it
    "svg.fonttype": "none",  # text stays text: small, searchable, in the reader's font
}


@dataclass(frozen=True, eq=False)
class _Curve:
    """One set of faces and one model: of those found labels (n,) and probabilities (n, C), and what share was found."""

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    found: float

    @property
    def correct(self) -> NDArray[np.bool_]:
        return np.asarray(self.probabilities.argmax(1) == self.labels)

    @property
    def confidence(self) -> NDArray[np.float32]:
        return np.asarray(self.probabilities.max(1))


def reliability_figure(evaluation: Evaluation) -> str:
    """Accuracy against confidence for each set, as SVG; on the diagonal a model is as right as it is sure.

    "" where not one face was found.
    """
    from matplotlib.figure import Figure

    sets = _curves(evaluation)
    if not sets:
        return ""
    columns = min(len(sets), 4)
    rows = math.ceil(len(sets) / columns)
    with style():
        figure = Figure(figsize=(2.65 * columns + 0.3, 2.95 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(sets) :]:
            axes.set_visible(False)
        for axes, (name, curves) in zip(grid.flat, sets.items(), strict=False):
            _draw_reliability(axes, name, curves)
        figure.supxlabel("confidence (probability of the answer)", fontsize=9.5, color="#323f4b")
        figure.supylabel("share that is right", fontsize=9.5, color="#323f4b")
        return as_svg(figure, "reliability")


def risk_coverage_figure(evaluation: Evaluation) -> str:
    """Errors among the answered when only the surest are answered, for each set, as SVG; "" where none was found."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    sets = _curves(evaluation)
    if not sets:
        return ""
    with style():
        figure = Figure(figsize=(8.2, 3.7), layout="constrained")
        axes = figure.subplots()
        for colour, (name, curves) in zip(_colours(), sets.items(), strict=False):
            for who, curve in curves.items():
                drawn = risk_coverage_curve(curve.correct, curve.confidence)
                label = name if len(curves) == 1 else f"{name}, {who}"
                line = "-" if who == "model" else (0, (4, 2))
                coverage = curve.found * drawn.coverage  # what was not found is never answered
                axes.plot(coverage, drawn.risk, color=colour, linestyle=line, linewidth=1.6, label=label)
        axes.set(xlabel="coverage: share of faces answered, the surest first", ylabel="errors among the answered")
        axes.set(xlim=(0, 1), ylim=(0, None))
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10]))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(loc="outside right upper")
        return as_svg(figure, "risk-coverage")


def _draw_reliability(axes: "Axes", name: str, curves: Mapping[str, _Curve]) -> None:
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))
    colours = {"model": MODEL_COLOUR, "baseline": BASELINE_COLOUR}
    for place, (who, curve) in enumerate(curves.items()):
        drawn = reliability_curve(curve.labels, curve.probabilities)
        axes.plot(drawn.confidence, drawn.accuracy, color=colours[who], linewidth=1.4, marker="o", markersize=3)
        ece = expected_calibration_error(curve.labels, curve.probabilities)
        text = f"{who}: ECE {100 * ece:.1f} %"
        ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}  # a curve may pass below
        where: dict[str, Any] = {"ha": "right", "transform": axes.transAxes, "bbox": ground}
        axes.text(0.97, 0.05 + 0.09 * place, text, color=colours[who], fontsize=9, **where)
    axes.set_title(f"{name}, n = {len(next(iter(curves.values())).labels):,}")
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", yticks=(0, 0.5, 1))
    axes.set_xticks((0, 0.5, 1), ("0", "0.5", "1"))


def _curves(evaluation: Evaluation) -> dict[str, dict[str, _Curve]]:
    """For each set with faces enough, each model's answers."""
    sets = {ALL: np.arange(len(evaluation.manifest))} | {subset.name: subset.rows for subset in evaluation.subsets}
    curves: dict[str, dict[str, _Curve]] = {}
    for name, rows in sets.items():
        for who, results in named_results(evaluation):
            answered = rows[results.answers.answered[rows]]
            if len(answered) >= FEW or (name == ALL and len(answered)):
                found = len(answered) / results.answers.counted[rows].sum()
                curve = _Curve(evaluation.manifest.labels[answered], results.answers.probabilities[answered], found)
                curves.setdefault(name, {})[who] = curve
    return curves


def _colours() -> Sequence[str]:
    return SET_COLOURS * 8  # more subsets than this no one can read


def style() -> AbstractContextManager[None]:
    """How the figures of reports look, as long as the context lasts."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def as_svg(figure: "Figure", name: str) -> str:
    """The figure as an SVG element to be put into a page, the same text each time."""
    import matplotlib

    text = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):  # ids are distinct between the figures of a page
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            bbox_inches="tight",
            pad_inches=0.05,
            metadata={"Date": None, "Creator": None},
        )
    return text.getvalue()[text.getvalue().index("<svg") :]  # without the head of a file
