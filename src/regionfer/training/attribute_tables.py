"""Tables that say what covers training faces, and how their heads are turned: a line a face, by its name."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from regionfer.errors import DatasetError

POSE = ("yaw", "pitch", "roll")

LEAST_CONFIDENCE = 0.3
"""From which ``confidence`` on a pose counts as known, where a table has that column."""

Row = Mapping[str, str]


def read_table(path: Path) -> Mapping[str, Row]:
    """Read a CSV file with a column ``name`` and any others.

    Args:
        path: the file; names as in the manifest of the dataset, such as "FER2013Train/fer0000000.png", or without
            their folder.

    Returns:
        The other columns of each face by its name.

    Raises:
        DatasetError: the file is missing, is no text, has no column ``name``, or names a face twice.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
    except OSError as error:
        raise DatasetError(f"{path}: cannot read the table: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot read the table: {error}") from error
    if "name" not in (reader.fieldnames or ()):
        raise DatasetError(f"{path}: expected a column 'name', found {', '.join(reader.fieldnames or ()) or 'nothing'}")
    table = {row["name"]: row for row in rows}
    if len(table) != len(rows):
        raise DatasetError(f"{path}: expected a line a face, found {len(rows) - len(table)} names again")
    return table


def _row(table: Mapping[str, Row], name: str) -> Row | None:
    return table.get(name) or table.get(PurePosixPath(name).name)


def covered_as_seen(table: Mapping[str, Row], name: str) -> float:
    """1 where something covers a face, 0 where its ``kind`` is "none", NaN where nobody looked.

    Raises:
        DatasetError: the table has no column ``kind``.

    >>> covered_as_seen({"a.png": {"name": "a.png", "kind": "glasses"}}, "a.png")
    1.0
    """
    row = _row(table, name)
    if row is None:
        return math.nan
    if not row.get("kind"):
        raise DatasetError(
            f"{name}: expected what covers it, or 'none', in the column 'kind' of the table, found nothing"
        )
    return float(row["kind"] != "none")


def pose_of(table: Mapping[str, Row], name: str) -> tuple[float, float, float]:
    """Yaw, pitch and roll of a face in degrees, NaN where unknown: no line, empty cells, or hardly any confidence.

    Raises:
        DatasetError: a cell is no number, or the table lacks a column.

    >>> pose_of({"a.png": {"yaw": "10", "pitch": "-5", "roll": "0.5"}}, "a.png")
    (10.0, -5.0, 0.5)
    """
    row = _row(table, name)
    if row is None or not all(row.get(angle, "?") for angle in POSE):
        return math.nan, math.nan, math.nan
    try:
        if float(row.get("confidence") or 1) < LEAST_CONFIDENCE:
            return math.nan, math.nan, math.nan
        yaw, pitch, roll = (float(row[angle]) for angle in POSE)
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{name}: expected yaw, pitch and roll in degrees in the table of poses: {error}") from error
    return yaw, pitch, roll
