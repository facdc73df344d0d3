"""A stress test as tables, curves, and one self-contained HTML page."""

import csv
from collections.abc import Callable, Sequence
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from regionfer.degradations import DEGRADATIONS, LEVELS, Degradation
from regionfer.evaluation import figures, tables
from regionfer.evaluation.known import known_lines
from regionfer.evaluation.report import (
    HTML,
    MARKDOWN,
    Picture,
    data_uri,
    markdown_table,
    markdown_text,
    model_lines,
    open_template,
    prepare_report,
    write_files,
)
from regionfer.evaluation.stress import OVERALL, Example, Point, Stress, StressedModel
from regionfer.evaluation.stress_answers import CLEAN, Condition
from regionfer.evaluation.tables import NO_BOOTSTRAP, NO_DIFFERENCE, Table, percent
from regionfer.metrics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES = "curves.csv"
"""Name of the file with a row a kind, level and model."""

WRONG = "wrong-among-answered"
"""Name of the measure that is counted over the answered alone."""

Figure = tuple[float, Interval | None]

_COLUMNS = 4  # panels in a row of a figure


class Measure(NamedTuple):
    """A figure of a `Point` that is drawn as a curve.

    Attributes:
        name: for files and anchors.
        title: for people.
        short: the same as the head of a column.
        note: how to read it.
        value: the figure and its interval, None where that says nothing; None where the model has none.
        weight: how much a level counts in a mean of several.
    """

    name: str
    title: str
    short: str
    note: str
    value: Callable[[Point], Figure | None]
    weight: Callable[[Point], float] = lambda point: 1.0


def measures(result: Stress) -> list[Measure]:
    """What is drawn of a result: the share that is right and, where they are known, coverage, risk and calibration."""
    labelled = result.labelled
    right = (
        "Share of right answers."
        if labelled
        else "Share of answers that are the same as the model's own to the clean face; nobody said which are right."
    )
    wrong = "wrong" if labelled else "not that to the clean face"
    named = [
        Measure(
            result.right, result.right.capitalize(), result.right, right, lambda point: (point.right, point.right_ci95)
        ),
        Measure(
            "coverage",
            "Coverage",
            "answered",
            "Of all faces of a level, the share whose answer is not uncertain: probable enough for the model's "
            "threshold, on a face that can be judged: not too small, plain, covered or upside down. The others count "
            "as unanswered here and in the next figure; in the rest every face counts with its most probable answer. "
            "Degraded faces, dark ones too, may be left unanswered, and a model that knows when it cannot see answers "
            "less as the faces get worse. Coverage that stays high in the dark is no good sign: the model is sure of "
            "what it cannot see.",
            _coverage,
        ),
        Measure(
            WRONG,
            "Wrong among the answered" if labelled else "Changed among the answered",
            "wrong of these" if labelled else "changed of these",
            f"Of the answers that are not uncertain, the share that is {wrong}. Level curves mean that the threshold "
            "keeps its promise on degraded faces.",
            _risk,
            lambda point: 0.0 if point.selection is None else point.selection.coverage,
        ),
        Measure(
            "calibration",
            "Calibration error (ECE)",
            "ECE",
            "Distance between how sure the model is and how often it is right, 15 bins of equal mass; lower is better.",
            lambda point: None if point.ece is None else (point.ece, point.ece_ci95),
        ),
    ]
    points = [point for _, each in result.named_models() for point in each.points.values()]
    return [measure for measure in named if any(measure.value(point) is not None for point in points)]


def _coverage(point: Point) -> Figure | None:
    if point.selection is None:
        return None
    return point.selection.coverage, point.coverage_ci95


def _risk(point: Point) -> Figure | None:
    if point.selection is None or point.selection.risk is None:
        return None
    return point.selection.risk, point.selection.risk_ci95


def summary_tables(result: Stress) -> list[Table]:
    """The tables for the screen, which also head the reports."""
    return [level_table(result), mean_table(result)]


def level_table(result: Stress) -> Table:
    """The share that is right on clean faces, at each level of each kind, and as the mean over its levels.

    With a baseline there are three rows a kind: of the model, of the baseline, and their difference.
    """
    columns = ("kind", *_whose(result), "clean", *map(str, LEVELS), "mean of 1 to 5")
    rows: list[tuple[str, ...]] = []
    for name in (*result.kinds, OVERALL):
        means = [_mean_right(each, result.kinds if name == OVERALL else (name,)) for _, each in result.named_models()]
        rows += _level_rows(result, name, means)
    note = f"In brackets 95 % intervals by bootstrap over the faces, {NO_BOOTSTRAP}."
    if result.baseline is not None:
        note += " Difference: model minus baseline in percentage points, on the same pictures."
    return Table(
        f"{result.right.capitalize()} by kind and level, %", columns, tuple(rows), note, heads=1 + len(_whose(result))
    )


def _level_rows(result: Stress, name: str, shares: Sequence[Sequence[float]]) -> list[tuple[str, ...]]:
    """Rows of one kind, from the shares of each model by level, the clean faces first."""
    title, mean = _kind_title(name), result.means[name]
    own = tables.figure_text(mean.right, mean.right_ci95)
    if mean.baseline_right is None or mean.difference is None:
        return [(title, *map(percent, shares[0]), own)]
    difference = f"{tables.signed(mean.difference)} {tables.signed_interval(mean.difference_ci95)}"
    model, baseline = shares
    return [
        (title, "model", *map(percent, model), own),
        ("", "baseline", *map(percent, baseline), percent(mean.baseline_right)),
        ("", "difference", *(tables.signed(a - b) for a, b in zip(model, baseline, strict=True)), difference),
    ]


def mean_table(result: Stress) -> Table:
    """What is drawn as curves, as the mean over the levels of each kind: a row a kind and model."""
    drawn = measures(result)
    columns = ("kind", *_whose(result), *(measure.short for measure in drawn))
    rows: list[tuple[str, ...]] = []
    for name in (CLEAN.kind, *result.kinds, OVERALL):
        for who, each in result.named_models():
            points = [each.points[condition] for condition in _degraded(result, name)]
            heads = (_kind_title(name), who) if who == "model" else ("", who)
            rows.append((*heads[: 1 + len(_whose(result))], *(_mean_cell(measure, points) for measure in drawn)))
    shown = ", ".join(measure.short for measure in drawn)
    note = "Of the clean faces, and of each kind the mean over its five levels."
    if risk := next((measure for measure in drawn if measure.name == WRONG), None):
        note += f" Answered: the answer is not uncertain; {risk.short} is counted over all levels together."
    return Table(
        f"{shown[0].upper()}{shown[1:]}: mean over the levels, %",
        columns,
        tuple(rows),
        note,
        heads=1 + len(_whose(result)),
    )


def _whose(result: Stress) -> tuple[str, ...]:
    """Heads of the column that tells model from baseline; none where there is no baseline."""
    return () if result.baseline is None else ("whose",)


def _kind_title(name: str) -> str:
    return DEGRADATIONS[name].title if name in DEGRADATIONS else name.capitalize()


def _degraded(result: Stress, name: str) -> list[Condition]:
    """The conditions of which a row of a table is the mean."""
    if name == CLEAN.kind:
        return [CLEAN]
    return [condition for kind in (result.kinds if name == OVERALL else (name,)) for condition in _conditions(kind)[1:]]


def _mean_right(model: StressedModel, kinds: Sequence[str]) -> list[float]:
    """The share that is right by level, the clean faces first; the mean over kinds."""
    levels = zip(*(_conditions(kind) for kind in kinds), strict=True)
    return [fmean(model.points[condition].right for condition in conditions) for conditions in levels]


def _mean_cell(measure: Measure, points: Sequence[Point]) -> str:
    """Mean of a figure over levels; that of a share of the answered is the share of all that are answered."""
    known = [(value[0], measure.weight(point)) for point in points if (value := measure.value(point)) is not None]
    if not sum(weight for _, weight in known):
        return "–"
    return percent(fmean([value for value, _ in known], [weight for _, weight in known]))


def kind_table(result: Stress, kind: str) -> Table:
    """All figures of one kind: a row a level and model."""
    drawn = measures(result)
    titles = (measure.title[0].lower() + measure.title[1:] for measure in drawn)
    columns = ("level", *(f"{title}, %" for title in titles), "mean confidence, %")
    if result.comparison:
        columns += ("difference",)
    rows = []
    for condition in _conditions(kind):
        for who, each in result.named_models():
            point = each.points[condition]
            name = condition_text(condition, result.amounts[condition]) + ("" if who == "model" else f", {who}")
            row = [name, *(_cell(measure.value(point)) for measure in drawn), percent(point.confidence)]
            if result.comparison:
                row.append(tables.difference_text(result.comparison[condition]) if who == "model" else "")
            rows.append(tuple(row))
    note = "In brackets 95 % intervals, Wilson's"
    note += f"; that of the calibration error by bootstrap, {NO_BOOTSTRAP}." if result.labelled else "."
    if result.comparison:
        note += (
            f" Difference: model minus baseline in percentage points, paired bootstrap over the faces, {NO_DIFFERENCE}."
        )
    return Table(DEGRADATIONS[kind].title, columns, tuple(rows), note)


def left_out_table(result: Stress) -> Table | None:
    """Images that could not be read, and faces that could not be used; None if there are none."""
    rows = (*result.failures.items(), *result.left_out.items())
    if not rows:
        return None
    return Table(f"Left out: {len(rows):,}", ("image", "reason"), rows, "They are in none of the figures.")


def condition_text(condition: Condition, amount: float) -> str:
    """What was done, such as "3: 25 % covered".

    >>> condition_text(Condition("resolution", 2), 24.0), condition_text(CLEAN, 0.0)
    ('2: 24 px', 'clean')
    """
    if condition == CLEAN:
        return CLEAN.kind
    unit = DEGRADATIONS[condition.kind].unit
    return f"{condition.level}: {amount:.0f} {unit}"


def caption(condition: Condition, amount: float) -> str:
    """What was done to a picture, such as "mask, level 3 of 5: 25 % covered".

    >>> caption(Condition("resolution", 2), 24.0), caption(CLEAN, 0.0)
    ('low resolution, level 2 of 5: 24 px', 'clean')
    """
    if condition == CLEAN:
        return CLEAN.kind
    degradation = DEGRADATIONS[condition.kind]
    title = degradation.title[0].lower() + degradation.title[1:]
    return f"{title}, level {condition.level} of {len(LEVELS)}: {amount:.0f} {degradation.unit}"


def write_stress_report(result: Stress, folder: str | Path) -> Path:
    """Write ``report.html``, ``report.md`` and ``curves.csv``, and return the path of the page.

    The page opens from disk without a network and without scripts. It contains the faces in `Stress.examples`.

    Raises:
        OutputError: the folder cannot be written to, or what reports are made with is not installed.
    """
    prepare_report(folder)
    write_files(folder, {HTML: to_html(result), MARKDOWN: to_markdown(result), CURVES: to_csv(result)})
    return Path(folder) / HTML


def to_html(result: Stress) -> str:
    """The page, as text."""
    drawn = measures(result)
    return open_template("stress.html.j2").render(
        result=result,
        clean=result.model.points[CLEAN],
        mean=result.means[OVERALL],
        measures=drawn,
        drawings={measure.name: curve_figure(result, measure) for measure in drawn},
        degradations=DEGRADATIONS,
        summary_tables=summary_tables(result),
        kind_tables={kind: kind_table(result, kind) for kind in result.kinds},
        galleries={kind: _galleries(result, kind) for kind in result.kinds},
        left_out=left_out_table(result),
        percent=percent,
        interval_phrase=tables.interval_phrase,
        signed=tables.signed,
        known=known_lines(result.known),
        version=version("regionfer"),
    )


def to_markdown(result: Stress) -> str:
    """All tables."""
    title, protocol = markdown_text(result.title), markdown_text(result.protocol)
    head = [f"# Stress test, {title}: {markdown_text(result.model.name)}", "", f"- Protocol: {protocol}"]
    head += [f"- Faces: {len(result.names):,}", f"- Seed: {result.seed}", *model_lines("Model", result.model.models)]
    if result.baseline is not None:
        head += model_lines("Baseline", result.baseline.models)
    head += [f"- {heading}: {markdown_text(text)}" for heading, text in known_lines(result.known)]
    shown = [*summary_tables(result), *(kind_table(result, kind) for kind in result.kinds)]
    if (left_out := left_out_table(result)) is not None:
        shown.append(left_out)
    return "\n".join(head) + "\n\n" + "\n".join(markdown_table(table) for table in shown)


def to_csv(result: Stress) -> str:
    """The curves, a row a kind, level and model; shares in 0..1, an empty cell where there is no figure."""
    file = StringIO()
    columns = ["kind", "level", "amount", "unit", "who", "model", *result.model.points[CLEAN].to_dict(result.right)]
    bounds = [name for name in columns if name.endswith("_ci95")]
    header = [part for name in columns for part in ((f"{name}_low", f"{name}_high") if name in bounds else (name,))]
    writer = csv.DictWriter(file, header, lineterminator="\n")
    writer.writeheader()
    for kind in result.kinds:
        for condition in _conditions(kind):
            for who, each in result.named_models():
                row: dict[str, Any] = {"kind": kind, "level": condition.level, "amount": result.amounts[condition]}
                row |= {"unit": DEGRADATIONS[kind].unit, "who": who, "model": each.name}
                row |= each.points[condition].to_dict(result.right)
                for name in bounds:
                    row[f"{name}_low"], row[f"{name}_high"] = row.pop(name) or ("", "")
                writer.writerow(row)
    return file.getvalue()


def curve_figure(result: Stress, measure: Measure) -> str:
    """One figure of every kind against its level, with 95 % bands, as SVG; the baseline's is dashed."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    columns = min(len(result.kinds), _COLUMNS)
    rows = -(-len(result.kinds) // columns)
    with figures.style():
        figure = Figure(figsize=(2.6 * columns + 0.4, 2.5 * rows + 0.3), layout="constrained")
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in grid.flat[len(result.kinds) :]:
            axes.set_visible(False)
        for axes, kind in zip(grid.flat, result.kinds, strict=False):
            _draw_curves(axes, result, measure, DEGRADATIONS[kind])
        first = grid.flat[0]
        first.set_ylim(0, 1.02 if measure.name in (result.right, "coverage") else None)
        first.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if result.baseline is not None:
            figure.legend(*first.get_legend_handles_labels(), loc="outside upper right", ncols=2)
        return figures.as_svg(figure, f"stress-{measure.name}")


def _draw_curves(axes: "Axes", result: Stress, measure: Measure, degradation: Degradation) -> None:
    colours = {"model": figures.MODEL_COLOUR, "baseline": figures.BASELINE_COLOUR}
    conditions = _conditions(degradation.name)
    for who, each in result.named_models():
        values = [measure.value(each.points[condition]) for condition in conditions]
        known = [(level, *value) for level, value in enumerate(values) if value is not None]
        if not known:
            continue
        levels, shares = [place for place, _, _ in known], [share for _, share, _ in known]
        # Without an interval the band has no width there.
        low, high = zip(*((share, share) if bounds is None else bounds for _, share, bounds in known), strict=True)
        line = "-" if who == "model" else (0, (4, 2))
        axes.plot(
            levels, shares, color=colours[who], linestyle=line, linewidth=1.6, marker="o", markersize=3, label=who
        )
        axes.fill_between(levels, low, high, color=colours[who], alpha=0.13, linewidth=0)
    amounts = [f"{result.amounts[condition]:.0f}" for condition in conditions[1:]]
    axes.set_xticks(range(len(conditions)), ["clean", *amounts], fontsize=8.5)
    axes.set_xlim(-0.45, len(LEVELS) + 0.35)
    axes.set_title(degradation.title)
    axes.set_xlabel(degradation.unit)


class Gallery(NamedTuple):
    """One example face under one kind.

    Attributes:
        face: its name, as of the photo or in the dataset.
        pictures: the clean one first, then one a level.
    """

    face: str
    pictures: list[Picture]


def _galleries(result: Stress, kind: str) -> list[Gallery]:
    """The pictures of each example face, which say for themselves what they show."""
    return [
        Gallery(name, [_picture(result, condition, pictures[condition]) for condition in _conditions(kind)])
        for name, pictures in result.examples.items()
    ]


def _picture(result: Stress, condition: Condition, example: Example) -> Picture:
    return Picture(data_uri(example.pixels), caption(condition, result.amounts[condition]), example.answers)


def _conditions(kind: str) -> list[Condition]:
    return [CLEAN, *(Condition(kind, level) for level in LEVELS)]


def _cell(value: Figure | None) -> str:
    return "–" if value is None else tables.figure_text(*value)
