"""The entries of challenge lists, in every form they have, and names found again whatever their folder or suffix.

The lists of the RAN paper have a form each; all are read by one set of rules, and so are lists of one's own:

=====================  ==================================  =============================================================
list                   a line                              its parts
=====================  ==================================  =============================================================
FERPlus occlusion      ``1_fer0030001.png 8 2``            label _ name, a constant, type of occlusion
FERPlus pose           ``3/fer0030002.jpg``                label / name
FERPlus train, test    ``0/fer0030003 6``                  label / name, number of views
RAF-DB occlusion       ``test_9999_aligned 3 4``           name, label, type of occlusion
RAF-DB pose            ``2/test_9998_aligned.jpg``         label / name
AffectNet occlusion    ``val/0/<56 hexadecimal digits>/``  split / label / name
AffectNet pose         ``0/<56 hexadecimal digits>.jpg``   label / name
one's own              a name or path a line; or a CSV     columns ``image``, ``face`` (its number in the image, from
                       with a header                       0) and ``label`` where wanted, and any other, such as
                                                           ``type`` or ``reason``, which become attributes
=====================  ==================================  =============================================================

Blank lines and lines that begin with ``#`` are passed over. Names are found whatever their suffix, folder, case and
zero padding, and RAF-DB's ``_aligned``.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from regionfer.datasets.findings import Finding
from regionfer.datasets.tables import delimiter_of, read_table, read_text
from regionfer.errors import DatasetError
from regionfer.images import IMAGE_SUFFIXES
from regionfer.labels import ALIASES, LABELS


@dataclass(frozen=True)
class Entry:
    """One entry: its line, its path as written, the label it claims ("" if none), and its attributes.

    ``face`` is the number of the face among those that the whole dataset has of the image, from 0; None if not said.
    """

    line: int
    path: str
    label: str
    attributes: Mapping[str, str]
    face: int | None = None


def read_entries(path: Path, index: "NameIndex") -> Iterator[Entry | Finding]:
    """Each line that is neither blank nor a comment, read or as a finding.

    Raises:
        DatasetError: the file cannot be read, or is a table without a column ``image``.
    """
    text = read_text(path)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if lines and _is_header(lines[0][1]):
        yield from _table_entries(path)
        return
    if lines:
        _refuse_another_table(path, lines[0][1], index)
    for number, line in lines:
        yield _read_line(number, line, index)


def table_with_images(path: Path) -> bool:
    """Whether a file begins with a header that has a column ``image``."""
    lines = (line.strip() for line in read_text(path).splitlines())
    return _is_header(next((line for line in lines if line and not line.startswith("#")), ""))


def _is_header(line: str) -> bool:
    cells = [cell.strip().strip('"').casefold() for cell in line.split(delimiter_of(line))]
    return "image" in cells


_OTHER_NAMES = ("name", "file", "filename", "file_name", "path", "image_name", "image_path", "img", "photo", "picture")
"""What tables call the column of images that is to be called ``image``."""


_NOT_OF_LISTS = ("pose_bin", "annotators", "majority")
"""Columns of the tables that ``regionfer annotate`` and its ``import`` write, of which each has one at least."""

_HEAD_WORDS = 3
"""Words in the head of a column, at most; a longer text between commas is a sentence."""


def _refuse_another_table(path: Path, line: str, index: "NameIndex") -> None:
    """Raise if a file begins as a table does, but without the column ``image``.

    A first line with an image in it is none of a table: it is read as any other, or becomes a finding.
    """
    cells = [cell.strip().strip('"') for cell in line.split(delimiter_of(line))]
    named = [cell for cell in cells if cell.casefold() in _OTHER_NAMES]
    numbers = all(is_number(cell) for cell in cells[1:] if cell)
    images = any(cell.casefold().endswith(tuple(IMAGE_SUFFIXES)) for cell in cells)
    prose = any(len(cell.split()) > _HEAD_WORDS for cell in cells)
    if index.find(line) or (not named and (len(cells) < 2 or numbers or images or prose)):
        return
    advice = f"; call the column {named[0]!r} so, if it names the images" if named else ""
    raise DatasetError(
        f"{path}: expected a name a line, or a table with a header that has a column 'image'; "
        f"found the columns {', '.join(cells)[:200]}{advice}"
    )


def _table_entries(path: Path) -> Iterator[Entry | Finding]:
    table = read_table(path, ("image",), comments=True)
    if found := [name for name in table.columns if name.casefold() in _NOT_OF_LISTS]:
        raise DatasetError(
            f"{path}: expected a list of faces, found a table about all of them (column {found[0]!r}); "
            "'regionfer annotate lists' makes lists of it"
        )
    for line, row in table.rows:
        others = {name.strip().casefold(): value for name, value in row.items() if name != "image"}
        label, face = others.pop("label", ""), others.pop("face", "")
        if not row["image"]:
            yield Finding("unreadable", "no image is named", line=line, cause="no name")
        elif face and not re.fullmatch(r"[0-9]+", face):
            text = f"column face: expected the number of a face in the image, from 0, found {face[:80]!r}"
            yield Finding("unreadable", text, line=line, cause="face")
        else:
            yield Entry(line, row["image"], label, others, int(face) if face else None)


def is_number(text: str) -> bool:
    """Whether a word of a list is a whole number."""
    return re.fullmatch(r"-?\d+", text) is not None


def _read_line(number: int, line: str, index: "NameIndex") -> Entry | Finding:
    if index.find(line):  # a name with blanks in it
        return Entry(number, line, index.split(line).label, {})
    path, *values = re.split(r"[\s,;]+", line.rstrip(",; "))
    label = index.split(path).label
    if not all(is_number(value) for value in values) or len(values) > 2:
        table = ", or a table with a header that has a column 'image'" if re.search(r"[,;\t]", line) else ""
        return Finding(
            "unreadable", f"expected a name and at most two numbers{table}; found {line[:80]!r}", line=number
        )
    if is_number(path) and not index.find(path):
        return Finding(
            "unreadable",
            f"expected a name, found the number {path} (is this the file of labels?)",
            line=number,
            cause="number",
        )
    if not values:
        return Entry(number, path, label, {})
    if len(values) == 2:  # FERPlus has a constant where RAF-DB has the label
        return Entry(number, path, label or values[0], {"type": values[1]})
    return Entry(number, path, label, {"views": values[0]}) if label else Entry(number, path, values[0], {})


@dataclass(frozen=True)
class Name:
    """A path taken apart: folders, innermost last; the stem without suffix; the label that stands before it, or ""."""

    folders: tuple[str, ...]
    stem: str
    label: str


class NameIndex:
    """Rows of a manifest by name; without names it takes paths apart, and finds nothing."""

    def __init__(self, names: Iterable[str] = (), classes: Sequence[str] = LABELS) -> None:
        self._folders: list[tuple[str, ...]] = []
        self._whole: dict[str, list[int]] = {}
        self._exact: dict[str, list[int]] = {}
        self._unpadded: dict[str, list[int]] = {}
        self._classes = {name.casefold() for name in (*classes, *LABELS, *ALIASES)}
        for row, name in enumerate(names):
            *folders, stem = _parts(str(name))
            self._folders.append(tuple(folders))
            self._whole.setdefault(str(name), []).append(row)
            self._exact.setdefault(stem, []).append(row)
            self._unpadded.setdefault(_unpad(stem), []).append(row)

    def split(self, path: str) -> Name:
        """A path of a list, with the label that its folder or its name begins with."""
        *folders, stem = _parts(path) or [""]
        label = folders[-1] if folders and self._is_label(folders[-1]) else ""
        prefix, _, rest = stem.partition("_")
        if not label and rest and stem not in self._exact and re.fullmatch(r"\d{1,2}", prefix):
            return Name(tuple(folders), rest, prefix)
        return Name(tuple(folders), stem, label)

    def _is_label(self, folder: str) -> bool:
        return re.fullmatch(r"\d{1,2}", folder) is not None or folder in self._classes

    def find(self, path: str) -> list[int]:
        """Rows of that very name; else those of a like name, of several those whose folders agree the longest."""
        if rows := self._whole.get(path.replace("\\", "/").removeprefix("./")):
            return rows
        name = self.split(path)
        rows = self._exact.get(name.stem) or self._unpadded.get(_unpad(name.stem), [])
        if len(rows) < 2:
            return rows
        agreement = [_common_end(self._folders[row], name.folders) for row in rows]
        return [row for row, length in zip(rows, agreement, strict=True) if length == max(agreement)]


def _parts(path: str) -> list[str]:
    parts = [part for part in path.casefold().replace("\\", "/").split("/") if part not in ("", ".")]
    if parts:
        stem, dot, suffix = parts[-1].rpartition(".")
        parts[-1] = (stem if dot and f".{suffix}" in IMAGE_SUFFIXES else parts[-1]).removesuffix("_aligned")
    return parts


def _unpad(stem: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", stem)


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    length = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        length += 1
    return length
