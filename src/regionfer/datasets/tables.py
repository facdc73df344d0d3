"""Text tables as people save them: with a byte-order mark or not, any line ends, commas, semicolons or tabs."""

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionfer.errors import DatasetError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark, without the mark.

    Raises:
        DatasetError: it cannot be read, or is in another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{path}: expected text in UTF-8, found byte {error.start} outside it; save it as UTF-8"
        ) from error


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        path: its file.
        columns: names in the order of the file, as written but for surrounding blanks.
        rows: line number, from 1, and values by column name; blank lines are left out.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


def read_table(path: Path, required: Sequence[str], *, columns: Sequence[str] | None = None) -> Table:
    """Read a table; column names are compared without regard to case.

    Args:
        path: the file.
        required: columns that must be there; they get the spelling given here.
        columns: names for a table that may come without a header.

    Raises:
        DatasetError: the file cannot be read, a column is missing, or a row has another number of values.
    """
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise DatasetError(f"{path}: expected a table with columns {', '.join(required)}, found an empty file")
    header = [cell.strip() for cell in first[1]]
    if columns is not None and required[0].casefold() not in {name.casefold() for name in header}:
        return Table(path, tuple(columns), tuple(_rows(path, columns, [first, *lines])))
    spelling = {name.casefold(): name for name in required}
    header = [spelling.get(name.casefold(), name) for name in header]
    if missing := [name for name in required if name not in header]:
        raise DatasetError(
            f"{path}: expected columns {', '.join(required)}; found {', '.join(header)}; missing: {', '.join(missing)}"
        )
    if len(set(header)) < len(header):
        raise DatasetError(f"{path}: a column name is there twice; found {', '.join(header)}")
    return Table(path, tuple(header), tuple(_rows(path, header, lines)))


def _rows(
    path: Path, header: Sequence[str], lines: "Iterator[tuple[int, list[str]]] | list[tuple[int, list[str]]]"
) -> Iterator[tuple[int, Mapping[str, str]]]:
    for line, cells in lines:
        if len(cells) != len(header):
            raise DatasetError(f"{path}, line {line}: expected {len(header)} values, found {len(cells)}: {cells[:8]}")
        yield line, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each line that is not blank."""
    text = read_text(path)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter_of(text))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: not a table: {error}") from error


def delimiter_of(text: str) -> str:
    r"""Comma, semicolon or tab: whichever is most frequent in the first line.

    >>> delimiter_of("image;label\n1,5.jpg;fear")
    ';'
    """
    header = text.lstrip().partition("\n")[0]
    return max(",;\t", key=header.count)
