"""Text tables as people save them: with a byte-order mark or not, any line ends, commas, semicolons or tabs."""

import codecs
import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from regionfer.errors import DatasetError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark, without the mark.

    Raises:
        DatasetError: it cannot be read, or is in another encoding.
    """
    with explained(path):
        return path.read_text(encoding=_encoding(path))


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the errors of reading a file of text into ours."""
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise DatasetError(f"{path}: expected text in UTF-8, found other bytes; save it as UTF-8") from error


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return "utf-16" if file.read(2) in _UTF_16 else "utf-8-sig"


@dataclass(frozen=True)
class Table:
    """A table with a header.

    Attributes:
        path: its file.
        columns: names in the order of the file, without surrounding blanks.
        rows: line number, from 1, and values by column name; blank lines are left out. Can be gone through once;
            raises DatasetError at a row that has another number of values.
    """

    path: Path
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, Mapping[str, str]]]


_Line = tuple[int, list[str]]


def read_table(
    path: Path,
    required: Sequence[str],
    *,
    optional: Sequence[str] = (),
    columns: Sequence[str] = (),
    comments: bool = False,
) -> Table:
    """Open a table; column names are compared without regard to case.

    Args:
        path: the file.
        required: columns that must be there; they get the spelling given here.
        optional: columns that may be there, and then get the spelling given here, too.
        columns: names of all columns, for a table with commas that may come without a header.
        comments: pass over lines that begin with ``#``.

    Raises:
        DatasetError: the file cannot be read, or a column is missing.
    """
    # Without a header, a first line of data may have more semicolons than commas.
    lines = read_cells(path, "," if columns else None, comments=comments)
    first = next(lines, None)
    if first is None:
        raise DatasetError(f"{path}: expected a table with columns {', '.join(required)}, found an empty file")
    spelling = {name.casefold(): name for name in (*required, *optional)}
    header = [spelling.get(name.strip().casefold(), name.strip()) for name in first[1]]
    if columns and required[0] not in header and len(header) == len(columns):
        return Table(path, tuple(columns), _rows(path, columns, chain([first], lines)))
    if missing := [name for name in required if name not in header]:
        raise DatasetError(
            f"{path}: expected columns {', '.join(required)}; found {', '.join(header)[:200]}; "
            f"missing: {', '.join(missing)}"
        )
    if len(set(header)) < len(header):
        raise DatasetError(f"{path}: a column name is there twice; found {', '.join(header)}")
    return Table(path, tuple(header), _rows(path, header, lines))


def _rows(path: Path, header: Sequence[str], lines: Iterator[_Line]) -> Iterator[tuple[int, Mapping[str, str]]]:
    for line, cells in lines:
        if len(cells) != len(header):
            raise DatasetError(f"{path}, line {line}: expected {len(header)} values, found {len(cells)}: {cells[:8]}")
        yield line, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def read_cells(path: Path, delimiter: str | None = None, *, comments: bool = False) -> Iterator[_Line]:
    """Line number, from 1, and cells of each line that is not blank.

    Args:
        path: the file.
        delimiter: between cells; found from the first line if not given.
        comments: pass over lines that begin with ``#``, too.

    Raises:
        DatasetError: the file cannot be read.
    """
    with explained(path), path.open(encoding=_encoding(path), newline="") as file:
        first = next((line for line in file if line.strip() and not (comments and _is_comment(line))), "")
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter or delimiter_of(first))
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) and not (comments and _is_comment(cells[0])):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise DatasetError(f"{path}, line {reader.line_num}: not a table: {error}") from error


def _is_comment(text: str) -> bool:
    return text.lstrip().startswith("#")


def delimiter_of(line: str) -> str:
    """Comma, semicolon or tab: whichever is most frequent in a line, usually the header.

    >>> delimiter_of("image;label")
    ';'
    """
    return max(",;\t", key=line.count)
