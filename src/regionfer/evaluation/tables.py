"""The tables of an evaluation, as text in rows, for the screen, for Markdown and for HTML alike."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regionfer.evaluation.evaluate import ALL, Evaluation, Results
from regionfer.evaluation.scores import Comparison, Measured
from regionfer.metrics import FEW, FEW_APART, FEW_OF_CLASS, ClassScore, Interval

NO_BOOTSTRAP = f"a dash where there are fewer than {FEW} faces or all are answered alike"
"""Why a bootstrap interval is missing."""

NO_DIFFERENCE = f"a dash where there are fewer than {FEW} faces or the two differ on fewer than {FEW_APART}"
"""Why a bootstrap interval of a difference is missing."""

SHOWN = 20
"""Findings of a list that are told one by one."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table; its first columns name the row, the others hold figures.

    Attributes:
        title: a short line.
        columns: k headings.
        rows: k texts each; where the first is "", the row belongs to that above it.
        note: how to read it.
        shade: (rows, k) in 0..1, how dark each cell is, where a picture helps; else None.
        heads: how many columns name the row.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    shade: NDArray[np.float64] | None = None
    heads: int = 1


def accuracy_tables(evaluation: Evaluation) -> list[Table]:
    """The paper's table: accuracy of baseline and model by subset; none without a baseline."""
    return [_comparison_table("Accuracy, %", evaluation.comparison)] if evaluation.comparison else []


def scores_table(evaluation: Evaluation) -> Table:
    """All figures by subset; the baseline's below the model's."""
    columns = ("set", "n", "accuracy, %", "mean recall, %", "macro F1, %", "NLL, nats", "ECE, %")
    rows = [_scores_row(name, measured) for name, measured in evaluation.model.faces.measured.items()]
    if evaluation.baseline is not None:
        beside = evaluation.baseline.faces.measured.items()
        rows += [_scores_row(f"{name}, baseline", measured) for name, measured in beside]
    note = (
        f"In brackets 95 % intervals: Wilson's for accuracy, bootstrap over faces for the others, "
        f"{NO_BOOTSTRAP}, and for mean recall and macro F1 where a class has fewer than {FEW_OF_CLASS}. Mean recall is "
        "the mean over the classes that have faces. NLL: negative log-likelihood of the true class. ECE: expected "
        "calibration error, 15 bins of equal mass."
    )
    return Table("Figures by subset", columns, tuple(rows), note)


def risk_table(evaluation: Evaluation) -> Table:
    """Wrong answers among the surest, by subset; the baseline's below the model's."""
    named = list(named_results(evaluation))
    chosen = any(each.selection is not None for _, results in named for each in results.measured.values())
    columns = ("set", "n", "of 80 %", "of 90 %", *(("threshold", "answered", "of these") if chosen else ()))
    rows = [
        _risk_row(name if who == "model" else f"{name}, {who}", measured, chosen)
        for who, results in named
        for name, measured in results.measured.items()
    ]
    note = (
        "Share of wrong answers when only the surest 80 or 90 % of the faces of the set are answered; in brackets "
        "Wilson's 95 % interval."
    )
    if chosen:
        note += (
            " Then the model's own threshold, or that of --max-risk: what share of the faces is answered (those that "
            "cannot be judged, such as too small or too covered ones, are not), and how many of these answers are "
            "wrong. "
        )
        note += (
            "It was fitted to this very split, so that few are wrong here says little of other faces."
            if any((each.how, each.role) == ("threshold", "model") for each in evaluation.known)
            else "In a set that is harder than the faces it was fitted to more are wrong."
        )
    return Table("Wrong among the surest, %", columns, tuple(rows), note)


def end_to_end_tables(evaluation: Evaluation) -> list[Table]:
    """Accuracy with detection first beside that on the faces as given; none if it was not asked for."""
    photos = evaluation.model.photos
    if photos is None:
        return []
    columns = ("set", "n", "not found", "faces as given", "end to end", "of the found")
    rows = [
        _end_to_end_row(name, evaluation.model.faces.measured[name], measured)
        for name, measured in photos.measured.items()
    ]
    note = (
        "End to end the face is first detected and aligned in the image; a face that is not found counts as an error."
    )
    tables = [Table("End to end: accuracy, %", columns, tuple(rows), note)]
    if evaluation.comparison_photos:
        tables.append(_comparison_table("End to end: accuracy against the baseline, %", evaluation.comparison_photos))
    return tables


def class_table(evaluation: Evaluation) -> Table:
    """Precision, recall and F1 of each class over all faces."""
    score = evaluation.model.faces.measured[ALL].score
    columns = ["class", "n", "precision", "recall", "F1"]
    rows = [[name, *_class_cells(entry)] for name, entry in zip(score.classes, score.per_class, strict=True)]
    if evaluation.baseline is not None:
        columns.append("recall, baseline")
        beside = evaluation.baseline.faces.measured[ALL].score.per_class
        for row, entry in zip(rows, beside, strict=True):
            row.append(percent(entry.recall))
    return Table("By class, %", tuple(columns), tuple(map(tuple, rows)))


def group_table(evaluation: Evaluation) -> Table:
    """Accuracy and mean attention by region, over all faces, subsets and types of occlusion or pose."""
    groups = evaluation.groups()
    baseline = evaluation.baseline is not None
    columns = ["faces", "n", "accuracy, %", *(["baseline, %"] if baseline else [])]
    fixed = len(columns)
    rows, shade = [], []
    for group in groups:
        beside = [] if group.baseline_accuracy is None else [percent(group.baseline_accuracy)]
        shares = group.attention.tolist()
        rows.append((group.name, f"{group.n:,}", percent(group.accuracy), *beside, *map(percent, shares)))
        shade.append([0.0] * fixed + shares)
    names = evaluation.model.faces.answers.region_names
    note = "Share of each region in the decision, %, the mean over the faces."
    if len(evaluation.model.models) > 1:
        note += f" Of the fused models, that of the first: {evaluation.model.models[0]['name']}."
    if len(names) == 1:
        note = "This model looks at the whole face only."
    shades = np.array(shade)
    return Table("Attention by region", (*columns, *names), tuple(rows), note, shades / shades.max(initial=1e-9))


def confusion_tables(evaluation: Evaluation) -> list[Table]:
    """Confusion matrices, of all faces and of each subset."""
    return [_confusion_table(name, measured) for name, measured in evaluation.model.faces.measured.items()]


def list_table(evaluation: Evaluation) -> Table | None:
    """What is wrong with the subset lists; None if nothing is."""
    rows: list[tuple[str, ...]] = []
    for subset in evaluation.subsets:
        rows += [
            (subset.name, issue.severity, issue.kind, "" if issue.line is None else str(issue.line), issue.text)
            for issue in subset.issues[:SHOWN]
        ]
        if rest := Counter(issue.kind for issue in subset.issues[SHOWN:]):
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in rest.most_common())
            rows.append((subset.name, "", "more", "", f"and {rest.total():,} more, all in the JSON: {kinds}"))
    if not rows:
        return None
    note = "Lists are joined to the dataset by name; what does not fit is told here, and nothing is dropped silently."
    return Table("Findings in the lists", ("list", "severity", "kind", "line", "finding"), tuple(rows), note)


def failure_table(evaluation: Evaluation) -> Table | None:
    """Images that are listed and could not be read, or not answered by the baseline; None if there are none."""
    failures = evaluation.failures
    of_baseline = [each for each in evaluation.baseline_failures.items() if each[0] not in failures]
    if not failures and not of_baseline:
        return None
    note = "They are in none of the figures."
    if of_baseline:
        note += " Those to which the baseline alone has no answer are in none of the comparison."
    return Table(
        f"Images that could not be read: {len(failures):,}",
        ("image", "reason"),
        (*failures.items(), *((name, f"{error} (baseline)") for name, error in of_baseline)),
        note,
    )


def miss_table(evaluation: Evaluation) -> Table | None:
    """Images that gave no face when the dataset was prepared; None if there are none."""
    if not evaluation.misses:
        return None
    note = (
        "They are in none of the figures. If each counts as a wrong answer, accuracy is "
        f"{percent(evaluation.accuracy_with_misses, 2)} %."
    )
    return Table(
        f"Images without a face since the dataset was prepared: {len(evaluation.misses):,}",
        ("image", "reason"),
        evaluation.misses,
        note,
    )


def summary_tables(evaluation: Evaluation) -> list[Table]:
    """The tables for the screen."""
    tables = [*accuracy_tables(evaluation), scores_table(evaluation), risk_table(evaluation)]
    return tables + end_to_end_tables(evaluation)


def all_tables(evaluation: Evaluation) -> Iterator[Table]:
    """Every table, in the order of the report."""
    yield from summary_tables(evaluation)
    yield class_table(evaluation)
    yield group_table(evaluation)
    yield from confusion_tables(evaluation)
    last = (list_table(evaluation), failure_table(evaluation), miss_table(evaluation))
    yield from (table for table in last if table is not None)


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage without its sign; a dash for NaN.

    >>> percent(0.8855, 2), percent(float("nan"))
    ('88.55', '–')
    """
    return "–" if share != share else f"{100 * share:.{digits}f}"


def interval_text(interval: Interval | None, digits: int = 1, scale: float = 100) -> str:
    """An interval in brackets, in per cent unless scaled otherwise; a dash where there is none.

    >>> interval_text((0.87, 0.895)), interval_text(None)
    ('(87.0–89.5)', '(–)')
    """
    return "(–)" if interval is None else f"({scale * interval[0]:.{digits}f}–{scale * interval[1]:.{digits}f})"


def interval_phrase(interval: Interval | None) -> str:
    """An interval in words, in per cent.

    >>> interval_phrase((0.87, 0.895)), interval_phrase(None)
    ('95 % interval 87.0–89.5', 'no 95 % interval')
    """
    return "no 95 % interval" if interval is None else f"95 % interval {interval_text(interval)[1:-1]}"


def figure_text(value: float | None, interval: Interval | None, digits: int = 1, scale: float = 100) -> str:
    """A figure with its interval, in per cent unless scaled otherwise; a dash where there is no figure.

    >>> figure_text(0.8855, (0.87, 0.895)), figure_text(1.0, None), figure_text(float("nan"), None)
    ('88.5 (87.0–89.5)', '100.0 (–)', '–')
    """
    if value is None or value != value:
        return "–"
    return f"{scale * value:.{digits}f} {interval_text(interval, digits, scale)}"


def accuracy_text(measured: Measured) -> str:
    """Accuracy with its interval, in per cent."""
    return f"{percent(measured.score.accuracy, 2)} {interval_text(measured.score.accuracy_ci95)}"


def difference_text(comparison: Comparison) -> str:
    """Difference in percentage points with its interval, signs written out."""
    return f"{signed(comparison.difference, 2)} {signed_interval(comparison.difference_ci95)}"


def _nll_text(comparison: Comparison) -> str:
    """Difference of NLL with its interval, signs written out; a dash where there is none.

    >>> from regionfer.evaluation.scores import compare
    >>> right = np.array([True])
    >>> _nll_text(compare(right, right, (np.array([0.25]), np.array([0.375])))), _nll_text(compare(right, right))
    ('−0.125 (–)', '–')
    """
    if comparison.nll_difference is None:
        return "–"
    interval = signed_interval(comparison.nll_difference_ci95, 3, 1)
    return f"{signed(comparison.nll_difference, 3, 1)} {interval}"


def signed_interval(interval: Interval | None, digits: int = 1, scale: float = 100) -> str:
    """An interval of a difference, in percentage points unless scaled otherwise, in brackets; a dash if there is none.

    >>> signed_interval((-0.01, 0.02)), signed_interval(None)
    ('(−1.0 to +2.0)', '(–)')
    """
    if interval is None:
        return "(–)"
    low, high = (signed(bound, digits, scale) for bound in interval)
    return f"({low} to {high})"


def p_text(p: float) -> str:
    """A p-value.

    >>> p_text(0.0342), p_text(1e-9)
    ('0.034', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _comparison_table(title: str, comparison: Mapping[str, Comparison]) -> Table:
    columns = ("set", "n", "baseline", "model", "difference", "McNemar p", "NLL difference, nats")
    rows = [
        (
            name,
            f"{each.n:,}",
            percent(each.baseline_accuracy, 2),
            percent(each.accuracy, 2),
            difference_text(each),
            p_text(each.mcnemar_p),
            _nll_text(each),
        )
        for name, each in comparison.items()
    ]
    note = (
        "Differences, of accuracy in percentage points: in brackets 95 % intervals by paired bootstrap over the faces, "
        f"{NO_DIFFERENCE} (of accuracy). p of McNemar's exact test, two-sided. NLL: negative log-likelihood of the "
        "true class, over the faces that both answer; below 0 the model is better."
    )
    return Table(title, columns, tuple(rows), note)


def _scores_row(name: str, measured: Measured) -> tuple[str, ...]:
    score, intervals = measured.score, measured.intervals
    return (
        name,
        f"{score.n:,}",
        accuracy_text(measured),
        figure_text(score.mean_recall, intervals["mean_recall"]),
        figure_text(score.macro_f1, intervals["macro_f1"]),
        figure_text(score.nll, intervals["nll"], 3, 1),
        figure_text(score.ece, intervals["ece"]),
    )


def _risk_row(name: str, measured: Measured, chosen: bool) -> tuple[str, ...]:
    risks = (figure_text(getattr(measured, risk), measured.intervals[risk]) for risk in ("risk_at_80", "risk_at_90"))
    row = (name, f"{measured.score.n:,}", *risks)
    selection = measured.selection
    if selection is None:
        return row + ("–",) * (3 * chosen)
    of_these = figure_text(selection.risk, selection.risk_ci95)
    return (*row, f"{selection.threshold:.3f}", percent(selection.coverage), of_these)


def _end_to_end_row(name: str, faces: Measured, photos: Measured) -> tuple[str, ...]:
    n, missed = photos.score.n, int(photos.missed.sum())
    of_found = photos.score.accuracy * n / (n - missed) if missed < n else float("nan")
    texts = (f"{missed:,} ({percent(missed / n)} %)", accuracy_text(faces), accuracy_text(photos), percent(of_found, 2))
    return (name, f"{n:,}", *texts)


def _class_cells(entry: ClassScore) -> tuple[str, ...]:
    return (f"{entry.n:,}", percent(entry.precision), percent(entry.recall), percent(entry.f1))


def _confusion_table(name: str, measured: Measured) -> Table:
    confusion, classes = measured.score.confusion, measured.score.classes
    sums = confusion.sum(1, keepdims=True)
    shade = np.column_stack([np.zeros(len(classes)), confusion / np.maximum(sums, 1)])
    rows = [(row_name, *(f"{count:,}" for count in row)) for row_name, row in zip(classes, confusion, strict=True)]
    note = "Faces by true class (row) and answer (column); the darker, the larger the share of the row."
    return Table(f"Confusion: {name} (n = {measured.score.n:,})", ("true", *classes), tuple(rows), note, shade)


def signed(share: float, digits: int = 1, scale: float = 100) -> str:
    """A difference of shares in percentage points, unless scaled otherwise, its sign written out.

    >>> signed(-0.0123), signed(0.002)
    ('−1.2', '+0.2')
    """
    return f"{scale * share:+.{digits}f}".replace("-", "−")


def named_results(evaluation: Evaluation) -> Sequence[tuple[str, Results]]:
    """The model's results on the faces as given, and the baseline's if there is one."""
    named = [("model", evaluation.model.faces)]
    if evaluation.baseline is not None:
        named.append(("baseline", evaluation.baseline.faces))
    return named
