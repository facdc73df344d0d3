"""Lines of a table that name an image again."""

from collections.abc import Hashable, Sequence

from regionfer.datasets.findings import EXAMPLES, Finding, Severity


def first_lines(
    keys: Sequence[Hashable], values: Sequence[Hashable], lines: Sequence[int], table: str
) -> tuple[list[int], tuple[Finding, ...]]:
    """Which rows of a table name an image for the first time, and what the other rows are.

    Args:
        keys: what tells images apart, by row: usually their names.
        values: what a row says of its image, such as its label and split.
        lines: number of the line of each row.
        table: their file, for the findings, as seen from the corpus' folder.

    Returns:
        Rows to keep, in their order; and a warning for lines that say the same again, an error for those that
        contradict the first.
    """
    first: dict[Hashable, int] = {}
    same: list[str] = []
    other: list[str] = []
    for row, key in enumerate(keys):
        before = first.setdefault(key, row)
        if before != row:
            name = key[0] if isinstance(key, tuple) else key
            kind = same if values[row] == values[before] else other
            kind.append(f"{name}: line {lines[row]} after line {lines[before]}")
    kinds: tuple[tuple[str, list[str], str, Severity], ...] = (
        ("contradiction", other, "and contradicts the line before", "error"),
        ("listed twice", same, "and says the same", "warning"),
    )
    return list(first.values()), tuple(
        Finding(kind, _text(table, rows, what), severity, count=len(rows), examples=tuple(rows[:EXAMPLES]))
        for kind, rows, what, severity in kinds
        if rows
    )


def _text(table: str, rows: Sequence[str], what: str) -> str:
    each = "1 line names" if len(rows) == 1 else f"{len(rows):,} times a line names"
    return f"{table}: {each} an image again {what}; the first line counts"
