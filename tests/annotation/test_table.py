"""The table on disk."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from regionfer.annotation import AttributeTable
from regionfer.annotation.table import COLUMNS
from regionfer.errors import DatasetError

FIRST = [
    "image",
    "face",
    "yaw",
    "pitch",
    "roll",
    "pose_bin",
    "occluded_fraction",
    "occluded_where",
    "face_size",
    "blur",
]


@pytest.fixture
def table(make_row, make_table, covered):
    known = {"yaw": -31.25, "pitch": 2.5, "roll": 0.0, "pose_bin": "30-45", "uncertain": True, "label": "fear"}
    return make_table(
        make_row("b c.png", 1, split="test", **known, **covered(0.75, lower=0.5)),
        make_row("ä.png"),
        make_row("c.png", uncertain=False, **covered(0.25)),
        root="/somewhere",
    )


@pytest.mark.parametrize("name", ["t.parquet", "t.csv", "T.CSV"])
def test_there_and_back(table, tmp_path, name):
    table.write(tmp_path / name)
    back = AttributeTable.read(tmp_path / name)
    assert (back.card, back.rows) == (table.card, table.rows)
    assert back.fingerprint == table.fingerprint
    assert not list(tmp_path.glob("*.partial"))


def test_columns(table, tmp_path):
    table.write(tmp_path / "t.parquet")
    table.write(tmp_path / "t.csv")
    assert list(COLUMNS[:10]) == FIRST
    assert pq.read_table(tmp_path / "t.parquet").column_names == list(COLUMNS)
    with (tmp_path / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert (rows[0]["occluded"], rows[0]["uncertain"], rows[0]["occluded_where"]) == ("yes", "yes", "lower")
    assert (rows[1]["occluded"], rows[1]["yaw"]) == ("", "")
    assert pq.read_table(tmp_path / "t.parquet").column("yaw").to_pylist() == [-31.25, None, None]


def test_covered_nowhere_is_not_unknown(table, tmp_path):
    table.write(tmp_path / "t.csv")
    assert [row.occluded_where for row in AttributeTable.read(tmp_path / "t.csv").rows] == ["lower", None, ""]


def test_the_fingerprint_is_that_of_the_faces(table, make_row, make_table):
    assert table.fingerprint != make_table(*table.rows[:2], root="/somewhere").fingerprint


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("t.xlsx", "", "t.xlsx: expected a table by 'regionfer annotate'"),
            ("none.csv", None, "none.csv: no such table; make one with 'regionfer annotate DIR --out none.csv'"),
            ("t.parquet", "PAR1", "t.parquet: not a Parquet file"),
            ("other.csv", "image,face\na,0\n", "other.csv: other.csv.json is missing beside it"),
        ],
    )
    def test_files(self, tmp_path, name, text, message):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DatasetError, match=message):
            AttributeTable.read(tmp_path / name)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("48,48,,\n", "48,wide,,\n", "line 3: column y2: expected a number, found 'wide'"),
            (",no,no,", ",maybe,no,", "line 4: column uncertain: expected yes or no, found 'maybe'"),
            ("blur", "sharpness", "missing: blur"),
        ],
    )
    def test_cells(self, table, tmp_path, old, new, message):
        path = tmp_path / "t.csv"
        table.write(path)
        path.write_text(path.read_text().replace(old, new))
        with pytest.raises(DatasetError, match=message):
            AttributeTable.read(path)

    def test_a_parquet_file_of_another_kind(self, tmp_path):
        import pyarrow as pa

        pq.write_table(pa.table({"image": ["a"]}), tmp_path / "t.parquet")
        with pytest.raises(DatasetError, match="missing: face, yaw"):
            AttributeTable.read(tmp_path / "t.parquet")

    def test_another_release(self, table, tmp_path):
        table.write(tmp_path / "t.csv")
        card = tmp_path / "t.csv.json"
        card.write_text(json.dumps(json.loads(card.read_text()) | {"schema": 99}))
        with pytest.raises(DatasetError, match="made by another release"):
            AttributeTable.read(tmp_path / "t.csv")

    def test_a_damaged_card(self, table, tmp_path):
        table.write(tmp_path / "t.csv")
        (tmp_path / "t.csv.json").write_text('{"schema": 1}')
        with pytest.raises(DatasetError, match=r"t.csv.json: its card is not what 'regionfer annotate' writes"):
            AttributeTable.read(tmp_path / "t.csv")
