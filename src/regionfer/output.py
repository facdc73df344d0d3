"""Where results go: tables written as they come, and a folder of drawn pictures.

Both are checked before the work begins, so that hours of it are not lost to a mistyped path.
"""

import csv
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from regionfer.errors import OutputError, writing
from regionfer.labels import LABELS
from regionfer.results import Expressions, row_columns

TABLE_SUFFIXES = (".csv", ".jsonl")


class TableWriter(Protocol):
    """Takes results one by one; each is on disk when ``write`` returns."""

    def write(self, result: Expressions) -> None:
        """Add the faces of an image, or a note that it has none."""
        ...


class CsvWriter:
    """A table with a header and a row a face, in the columns of `regionfer.results.row_columns`.

    An image without faces gives a row with its name only. Numbers have six significant digits; true and false are
    yes and no.
    """

    def __init__(self, file: TextIO, labels: Sequence[str] = LABELS) -> None:
        self._file = file
        self._rows = csv.DictWriter(file, row_columns(labels), restval="", lineterminator="\n")
        self._rows.writeheader()
        file.flush()

    def write(self, result: Expressions) -> None:
        """Add a row a face."""
        rows = result.to_rows() or [{"image": result.source}]
        self._rows.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        self._file.flush()


class JsonLinesWriter:
    """A JSON object a line and image, in the form of docs/results.md."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, result: Expressions) -> None:
        """Add a line."""
        self._file.write(result.to_json() + "\n")
        self._file.flush()


def check_table(path: str | Path) -> bool:
    """Check that a path names a kind of table that can be written.

    Returns:
        Whether a table is there already, which `open_table` would replace.

    Raises:
        OutputError: the suffix is another one.

    >>> check_table("faces.xlsx")
    Traceback (most recent call last):
    regionfer.errors.OutputError: faces.xlsx: unknown kind of table '.xlsx'; expected a name that ends in .csv or .jsonl
    """
    suffix = Path(path).suffix
    if str(path) != "-" and suffix.lower() not in TABLE_SUFFIXES:
        raise OutputError(
            f"{path}: unknown kind of table {suffix!r}; expected a name that ends in {' or '.join(TABLE_SUFFIXES)}"
        )
    with writing(Path(path)):
        return str(path) != "-" and Path(path).is_file() and Path(path).stat().st_size > 0


@contextmanager
def open_table(path: str | Path, labels: Sequence[str] = LABELS) -> Iterator[TableWriter]:
    """Open a file for results; what it held before is lost.

    Args:
        path: a name that ends in .csv (a row a face) or .jsonl (a line an image), or "-" for CSV on stdout.
        labels: the model's labels, which name columns of the CSV.

    Raises:
        OutputError: another suffix, or the file cannot be opened; ``write`` raises it where the file cannot be written.
    """
    check_table(path)
    # A file name that is not valid UTF-8 must not stop a batch: its odd bytes are written as \udcXX.
    if str(path) == "-":
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield CsvWriter(sys.stdout, labels)
        return
    path = Path(path)
    with writing(path):
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    try:
        with writing(path):
            writer = CsvWriter(file, labels) if path.suffix.lower() == ".csv" else JsonLinesWriter(file)
        yield _NamedWriter(path, writer)
    finally:
        with writing(path):
            file.close()


class _NamedWriter:
    """A writer whose errors name its file."""

    def __init__(self, path: Path, writer: TableWriter) -> None:
        self._path, self._writer = path, writer

    def write(self, result: Expressions) -> None:
        with writing(self._path):
            self._writer.write(result)


def is_drawing(path: Path) -> bool:
    """Whether a file is a picture that `PictureFolder` wrote: it carries its mark."""
    try:
        # The header alone, and as no other format: Image.open tries all, and warns of large photos.
        with JpegImagePlugin.JpegImageFile(path) as picture:
            return picture.info.get("comment") == _MARK
    except (OSError, ValueError, SyntaxError):
        return False


class PictureFolder:
    """A folder of drawn pictures, made if it is missing.

    A picture is named after its image, with the folder of the image before it where two images have the same name.
    It replaces what was drawn here before, but no other file, be it one of the images or not.

    Args:
        folder: where to.
        images: all images that may be drawn, which settles the names.

    Raises:
        OutputError: the folder cannot be made or written to.
    """

    def __init__(self, folder: str | Path, images: Iterable[str | Path]) -> None:
        self.folder = Path(folder)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise OutputError(f"{self.folder}: cannot be written to; check its permissions")
        self._names = _choose_names(self.folder, [Path(image) for image in images])

    @property
    def replaced(self) -> int:
        """How many pictures that were drawn before have names which those to come may take."""
        return sum(os.path.lexists(self.folder / name) for name in self._names.values())

    def save(self, image: str | Path, picture: NDArray[np.uint8]) -> Path:
        """Write the picture (H, W, 3) RGB uint8 of an image as JPEG, and return its path.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.folder / self._names[Path(image)]
        if max(picture.shape) > _LONGEST:
            size = f"{picture.shape[1]} x {picture.shape[0]}"
            raise OutputError(f"{path}: a JPEG has at most {_LONGEST:,} pixels a side, this picture is {size}")
        # Renamed when whole, so that a kill leaves no half picture; short, for names may be as long as can be.
        partial = self.folder / f".{os.getpid()}.partial"
        try:
            with writing(path):
                Image.fromarray(picture).save(partial, format="JPEG", quality=92, comment=_MARK)
                partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return path


_LONGEST = 65_500
_MARK = b"drawn by regionfer"


def _choose_names(folder: Path, images: Sequence[Path]) -> dict[Path, str]:
    originals = {os.path.realpath(image) for image in images}

    def is_free(path: Path) -> bool:
        return os.path.realpath(path) not in originals and (not os.path.lexists(path) or is_drawing(path))

    taken: set[str] = set()
    names: dict[Path, str] = {}
    for image in images:
        for stem in _stems(image):
            name = f"{stem}.jpg"
            # Some file systems do not tell upper from lower case.
            if name.casefold() not in taken and is_free(folder / name):
                break
        taken.add(name.casefold())
        names[image] = name
    return names


def _stems(image: Path) -> Iterator[str]:
    yield image.stem
    long = "_".join(part for part in (image.absolute().parent.name, image.stem) if part)
    yield long
    number = 2
    while True:
        yield f"{long}-{number}"
        number += 1


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else value
