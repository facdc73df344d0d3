"""The table on disk."""

import csv
import json
from pathlib import Path

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


def test_the_fingerprint_is_of_what_was_annotated_and_how(table, make_table):
    """Faces that came or went are told one by one; see `of_table`."""
    whole = make_table(*table.rows)
    assert whole.fingerprint == make_table(*table.rows[:2]).fingerprint
    assert whole.fingerprint != make_table(*table.rows, root="/elsewhere").fingerprint


class TestCutOff:
    """A CSV and its card are two files; whenever the write stops, both are of the same table."""

    @pytest.fixture
    def stop(self, monkeypatch):
        """A function that makes the n-th file not come into its place."""

        def at(number):
            calls = []
            replace = Path.replace

            def stopping(self, target):
                calls.append(target)
                if len(calls) == number:
                    raise KeyboardInterrupt
                return replace(self, target)

            monkeypatch.setattr(Path, "replace", stopping)

        return at

    @pytest.mark.parametrize("there", [True, False], ids=["replaced", "new"])
    def test_between_card_and_table(self, table, make_table, make_row, stop, monkeypatch, tmp_path, there):
        path = tmp_path / "t.csv"
        if there:
            make_table(make_row("old.png"), root="/old").write(path)
        stop(2)
        with pytest.raises(KeyboardInterrupt):
            table.write(path)
        monkeypatch.undo()
        assert path.exists() == there
        back = AttributeTable.read(path)
        assert (back.card, back.rows) == (table.card, table.rows)
        assert sorted(each.name for each in tmp_path.iterdir()) == ["t.csv", "t.csv.json"]

    def test_before_the_card(self, table, make_table, make_row, stop, monkeypatch, tmp_path):
        path, old = tmp_path / "t.csv", make_table(make_row("old.png"), root="/old")
        old.write(path)
        stop(1)
        with pytest.raises(KeyboardInterrupt):
            table.write(path)
        monkeypatch.undo()
        back = AttributeTable.read(path)
        assert (back.card, back.rows) == (old.card, old.rows)
        table.write(path)
        assert AttributeTable.read(path).rows == table.rows

    def test_within_the_table(self, table, make_table, make_row, tmp_path):
        path, old = tmp_path / "t.csv", make_table(make_row("old.png"), root="/old")
        old.write(path)
        table.write(tmp_path / "whole.csv")
        whole = (tmp_path / "whole.csv").read_bytes()
        (tmp_path / "t.csv.partial").write_bytes(whole[: len(whole) // 2])
        assert AttributeTable.read(path).rows == old.rows

    def test_a_table_that_was_edited(self, table, tmp_path):
        table.write(tmp_path / "t.csv")
        lines = (tmp_path / "t.csv").read_text().splitlines(keepends=True)
        (tmp_path / "t.csv").write_text("".join(lines[:-1]))
        assert AttributeTable.read(tmp_path / "t.csv").rows == table.rows[:-1]


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("t.xlsx", "", "t.xlsx: expected a table by 'regionfer annotate'"),
            ("none.csv", None, "none.csv: no such table; make one with 'regionfer annotate DIR --out none.csv'"),
            ("t.parquet", "PAR1", "t.parquet: not a Parquet file"),
            ("faces.csv", "image,face\na,0\n", "faces.csv: expected a table by 'regionfer annotate', with the columns"),
            ("bare.csv", ",".join(COLUMNS) + "\n", "bare.csv: bare.csv.json is missing beside it"),
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
            (",no,,no,", ",maybe,,no,", "line 4: column uncertain: expected yes or no, found 'maybe'"),
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
