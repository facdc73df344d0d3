"""The table of attributes on disk: Parquet, with its card in the file's metadata, or CSV, with its card beside it."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from regionfer.annotation.attributes import FaceRow
from regionfer.datasets.tables import explained as explained_reading
from regionfer.datasets.tables import read_table
from regionfer.errors import DatasetError, OutputError, writing

SCHEMA = 1
SUFFIXES = (".parquet", ".csv")
METADATA_KEY = b"regionfer"

_TABLE_HASH = "table_sha256"
"""In the card of a CSV: the hash of the table as it was written. Who edits the table later need not care."""

COLUMNS = tuple(each.name for each in fields(FaceRow))
_values = attrgetter(*COLUMNS)


def _kinds() -> Mapping[str, tuple[type, bool]]:
    """Type of each column, and whether it may be unknown."""
    kinds = {}
    for name, hint in get_type_hints(FaceRow).items():
        options = getattr(hint, "__args__", (hint,))
        kinds[name] = (options[0], type(None) in options)
    return MappingProxyType(kinds)


_KINDS = _kinds()


@dataclass(frozen=True)
class TableCard:
    """Where a table comes from.

    Attributes:
        dataset: name of the dataset; of a folder, the folder's name.
        reader: the name that `regionfer.datasets.read_dataset` knows it by, or "photos".
        root: folder that the images' names are relative to; of a dataset, what its reader was given.
        classes: the dataset's classes, in its order; none without labels.
        labels: the expressions that the model knows.
        model: name and version of the model.
        model_sha256: SHA-256 of the model's file; of fused models, of each with its weight.
        detect: faces were looked for; otherwise each image is a face.
        min_confidence: faces of which the detector was less sure were left out; None where none ran.
        threshold: answers less probable than this are uncertain; None where the model has none.
        upright: rolled faces were turned upright and looked at again.
    """

    dataset: str
    reader: str
    root: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    model: str
    model_sha256: str
    detect: bool
    min_confidence: float | None
    threshold: float | None
    upright: bool = False  # as of tables of releases that did not

    def to_json(self) -> str:
        """The card as one line of JSON."""
        return json.dumps({"schema": SCHEMA} | asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes, path: Path) -> "TableCard":
        """Read it.

        Raises:
            DatasetError: it is of another release, or not a card.
        """
        try:
            values = json.loads(text)
            values.pop(_TABLE_HASH, None)
            if values.pop("schema") != SCHEMA:
                raise DatasetError(f"{path}: made by another release; annotate again, or install that release")
            return cls(**values | {"classes": tuple(values["classes"]), "labels": tuple(values["labels"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            if isinstance(error, DatasetError):
                raise
            raise DatasetError(
                f"{path}: its card is not what 'regionfer annotate' writes: {error}; annotate again"
            ) from error


@dataclass(frozen=True, eq=False)
class AttributeTable:
    """Faces with their attributes, and where they come from."""

    card: TableCard
    rows: tuple[FaceRow, ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name what this table was made of and how, whatever file it is in."""
        return hashlib.sha256(self.card.to_json().encode()).hexdigest()[:12]

    def write(self, path: str | Path) -> None:
        """Write the table; a file of that name is replaced once the new one is whole.

        A CSV and its card are two files. The card is replaced first, and names the hash of its table, so that where
        the write was cut off in between, `read` knows the whole new table beside it, and puts it in its place.

        Raises:
            OutputError: another suffix than ``SUFFIXES``, or it cannot be written.
        """
        path = check_table_path(path)
        part = path.with_name(f"{path.name}.partial")
        with writing(path):
            if path.suffix.lower() == ".parquet":
                self._write_parquet(part)
            else:
                self._write_csv(part)
                self._write_card(path, part)
            part.replace(path)

    def _write_card(self, path: Path, part: Path) -> None:
        values = json.loads(self.card.to_json()) | {_TABLE_HASH: _hash(part)}
        beside = card_path(path)
        card = beside.with_name(f"{beside.name}.partial")
        card.write_text(json.dumps(values) + "\n", encoding="utf-8")
        card.replace(beside)

    def _write_parquet(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {str: pa.string(), int: pa.int32(), float: pa.float32(), bool: pa.bool_()}
        schema = pa.schema(
            [pa.field(name, types[kind], nullable=nullable) for name, (kind, nullable) in _KINDS.items()],
            metadata={METADATA_KEY: self.card.to_json().encode()},
        )
        columns = zip(*map(_values, self.rows), strict=True) if self.rows else [()] * len(COLUMNS)
        arrays = [pa.array(map(_plain, column), field.type) for column, field in zip(columns, schema, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")

    def _write_csv(self, path: Path) -> None:
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows([_cell(value) for value in _values(row)] for row in self.rows)

    @classmethod
    def read(cls, path: str | Path) -> "AttributeTable":
        """Read a table that `write` wrote.

        Where the write of a CSV was cut off between the card and the table, the table is put in its place first.

        Raises:
            DatasetError: it is missing, damaged, of another kind or without its card.
            OutputError: a write that was cut off cannot be finished here.
        """
        path = Path(path)
        if path.suffix.lower() == ".csv":
            _finish_write(path)
        if path.suffix.lower() not in SUFFIXES:
            raise DatasetError(
                f"{path}: expected a table by 'regionfer annotate', a name that ends in .parquet or .csv"
            )
        if not path.is_file():
            raise DatasetError(f"{path}: no such table; make one with 'regionfer annotate DIR --out {path.name}'")
        return cls._read_parquet(path) if path.suffix.lower() == ".parquet" else cls._read_csv(path)

    @classmethod
    def _read_parquet(cls, path: Path) -> "AttributeTable":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except (pa.ArrowException, OSError) as error:
            raise DatasetError(f"{path}: not a Parquet file that can be read: {error}") from error
        card = (table.schema.metadata or {}).get(METADATA_KEY)
        _check_columns(path, table.column_names)
        if card is None:
            raise DatasetError(
                f"{path}: has no card in its metadata; expected the file as 'regionfer annotate' wrote it"
            )
        columns = [table.column(name).to_pylist() for name in COLUMNS]
        return cls(TableCard.from_json(card, path), tuple(FaceRow(*values) for values in zip(*columns, strict=True)))

    @classmethod
    def _read_csv(cls, path: Path) -> "AttributeTable":
        table = read_table(path, ("image", "face"))
        _check_columns(path, table.columns)
        beside = card_path(path)
        if not beside.is_file():
            raise DatasetError(f"{path}: {beside.name} is missing beside it, which says where the images are")
        with explained_reading(beside):
            card = TableCard.from_json(beside.read_text(encoding="utf-8"), beside)
        return cls(card, tuple(_parse(path, line, values) for line, values in table.rows))


def check_table_path(path: str | Path) -> Path:
    """Check that a path names a table that can be written here.

    Raises:
        OutputError: another suffix, or its folder is missing.

    >>> check_table_path("faces.xlsx")
    Traceback (most recent call last):
    regionfer.errors.OutputError: faces.xlsx: expected a name that ends in .parquet or .csv
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; expected the name of a table")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: there is no folder {path.parent}; make it first")
    if path.suffix.lower() == ".parquet":
        import pyarrow  # noqa: F401  # a missing extra should be told before the work, not after it

    return path


def card_path(table: Path) -> Path:
    """Where the card of a CSV table is."""
    return table.with_name(f"{table.name}.json")


def _finish_write(path: Path) -> None:
    """Put a table in its place whose write was cut off after its card had been replaced.

    A part that does not have the hash in the card is of a write that was cut off before that: the table in place is
    still that of its card.
    """
    part = path.with_name(f"{path.name}.partial")
    try:
        values = json.loads(card_path(path).read_text(encoding="utf-8"))
        whole = part.is_file() and isinstance(values, dict) and values.get(_TABLE_HASH) == _hash(part)
    except (OSError, ValueError):  # no card, or none that can be read, of which `read` tells
        return
    if whole:
        with writing(path):
            part.replace(path)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_columns(path: Path, found: Sequence[str]) -> None:
    if missing := [name for name in COLUMNS if name not in found]:
        raise DatasetError(
            f"{path}: expected a table by 'regionfer annotate', with the columns {', '.join(COLUMNS)}; "
            f"missing: {', '.join(missing)}"
        )


def _plain(value: Any) -> Any:
    """A file name need not be valid UTF-8."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else value


_ANSWERS = MappingProxyType({"yes": True, "no": False})


def _parse(path: Path, line: int, values: Mapping[str, str]) -> FaceRow:
    parsed: dict[str, Any] = {}
    for name, (kind, nullable) in _KINDS.items():
        text = values[name]
        try:
            if not text and nullable and not (name == "occluded_where" and values["occluded"]):
                parsed[name] = None
            else:
                parsed[name] = _ANSWERS[text] if kind is bool else kind(text)
        except (ValueError, KeyError) as error:
            raise DatasetError(
                f"{path}, line {line}: column {name}: expected {_WANTED[kind]}, found {text!r}"
            ) from error
    return FaceRow(**parsed)


_WANTED: Mapping[type, str] = MappingProxyType(
    {str: "text", int: "a whole number", float: "a number", bool: "yes or no"}
)
