"""Lines of a table that name an image again."""

from collections.abc import Hashable, Sequence

from regionfer.datasets.findings import EXAMPLES, Finding, Severity


def first_lines(
    keys: Sequence[Hashable],
    values: Sequence[Hashable],
    lines: Sequence[int],
    table: str,
    splits: Sequence[str] | None = None,
) -> tuple[list[int], tuple[Finding, ...]]:
    """Which rows of a table name an image for the first time, and what the other rows are.

    Args:
        keys: what tells images apart, by row: usually their names.
        values: what a row says of its image, such as its label and split.
        lines: number of the line of each row.
        table: their file, for the findings, as seen from the corpus' folder.
        splits: what split each row is in, for the findings; None where the table does not say.

    Returns:
        Rows to keep, in their order; and a warning for lines that say the same again, an error for those that
        contradict the first.
    """
    first: dict[Hashable, int] = {}
    same: list[tuple[int, int]] = []
    other: list[tuple[int, int]] = []
    for row, key in enumerate(keys):
        before = first.setdefault(key, row)
        if before != row:
            (same if values[row] == values[before] else other).append((row, before))

    def example(row: int, before: int) -> str:
        key = keys[row]
        return f"{key[0] if isinstance(key, tuple) else key}: line {lines[row]} after line {lines[before]}"

    kinds: tuple[tuple[str, list[tuple[int, int]], str, Severity], ...] = (
        ("contradiction", other, "and contradicts the line before", "error"),
        ("listed twice", same, "and says the same", "warning"),
    )
    return list(first.values()), tuple(
        Finding(
            kind,
            _text(table, len(pairs), what),
            severity,
            count=len(pairs),
            examples=tuple(example(*pair) for pair in pairs[:EXAMPLES]),
            splits=tuple(sorted({splits[row] for pair in pairs for row in pair})) if splits else (),
        )
        for kind, pairs, what, severity in kinds
        if pairs
    )


def _text(table: str, count: int, what: str) -> str:
    each = "1 line names" if count == 1 else f"{count:,} times a line names"
    return f"{table}: {each} an image again {what}; the first line counts"
