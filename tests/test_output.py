"""Tables as they come, and names of drawn pictures."""

import csv
import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionfer.errors import OutputError
from regionfer.output import PictureFolder, check_table, is_drawing, open_table
from regionfer.results import row_columns

PICTURE = np.full((8, 8, 3), 200, dtype=np.uint8)


@pytest.fixture
def results(recognizer, draw_squares):
    """Results of two images: one with two faces, one without."""
    full = recognizer.recognize(draw_squares((250, 20, 20), (20, 250, 20)), min_confidence=0)
    return [full, recognizer.recognize(draw_squares())]


class TestTables:
    def test_csv(self, results, tmp_path):
        path = tmp_path / "faces.csv"
        with open_table(path) as table:
            for result in results:
                table.write(result)
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
        assert tuple(rows[0]) == row_columns()
        assert [row["face"] for row in rows] == ["0", "1", ""]
        assert rows[2]["expression"] == ""
        assert float(rows[1]["probability"]) == pytest.approx(results[0][1].probability, rel=1e-5)
        assert rows[1]["region"] == results[0][1].region

    def test_json_lines(self, results, tmp_path):
        path = tmp_path / "faces.JSONL"
        with open_table(str(path)) as table:
            for result in results:
                table.write(result)
        assert [json.loads(line) for line in path.read_text().splitlines()] == [each.to_dict() for each in results]

    def test_errors_of_others_are_not_put_down_to_the_table(self, tmp_path):
        with pytest.raises(FileNotFoundError), open_table(tmp_path / "faces.csv"):
            (tmp_path / "other").read_text()

    def test_own_labels(self, tmp_path):
        with open_table(tmp_path / "faces.csv", ("calm", "tense")):
            pass
        assert "p_calm,p_tense" in (tmp_path / "faces.csv").read_text()

    @pytest.mark.parametrize("name", ["faces.csv", "faces.jsonl"])
    def test_is_on_disk_at_once(self, results, tmp_path, name):
        with open_table(tmp_path / name) as table:
            table.write(results[0])
            assert (tmp_path / name).read_text() != ""
            lines = len((tmp_path / name).read_text().splitlines())
        assert lines == len((tmp_path / name).read_text().splitlines())

    @pytest.mark.parametrize("name", ["faces.csv", "faces.jsonl"])
    def test_names_that_are_not_utf8(self, results, tmp_path, name):
        with open_table(tmp_path / name) as table:
            table.write(dataclasses.replace(results[0], source=os.fsdecode(b"caf\xe9.jpg")))
        assert "caf\\udce9.jpg" in (tmp_path / name).read_text(encoding="utf-8")

    def test_tells_whether_a_table_is_replaced(self, tmp_path):
        path = tmp_path / "faces.csv"
        assert not check_table(path)
        path.touch()
        assert not check_table(path)
        path.write_text("image,face\n")
        assert check_table(path)
        assert not check_table("-")

    @pytest.mark.parametrize("name", ["faces.xlsx", "faces", "csv"])
    def test_unknown_kind(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"unknown kind of table.* ends in \.csv or \.jsonl"), open_table(name):
            pass

    @pytest.mark.parametrize(
        ("name", "reason"), [("missing/faces.csv", "No such file"), ("folder.csv", "Is a directory")], ids=str
    )
    def test_cannot_be_written(self, tmp_path, name, reason):
        (tmp_path / "folder.csv").mkdir()
        with pytest.raises(OutputError, match=f"{name}: cannot be written: {reason}"), open_table(tmp_path / name):
            pass

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
    def test_disk_full(self, results, tmp_path):
        (tmp_path / "faces.csv").symlink_to("/dev/full")
        with (
            pytest.raises(OutputError, match=r"faces\.csv: cannot be written: No space left"),
            open_table(tmp_path / "faces.csv") as table,
        ):
            table.write(results[0])


class TestPictures:
    @pytest.mark.parametrize(
        ("images", "names"),
        [
            pytest.param(["a.jpg", "b.png"], ["a.jpg", "b.jpg"], id="after the image"),
            pytest.param(["x/a.jpg", "y/a.jpg"], ["a.jpg", "y_a.jpg"], id="same name in two folders"),
            pytest.param(["x/a.jpg", "x/a.png"], ["a.jpg", "x_a.jpg"], id="same stem"),
            pytest.param(["x/a.jpg", "x/a.png", "x/A.bmp"], ["a.jpg", "x_a.jpg", "x_A-2.jpg"], id="case"),
            pytest.param(["p/y/a.jpg", "q/y/a.jpg", "r/y/a.jpg"], ["a.jpg", "y_a.jpg", "y_a-2.jpg"], id="deep"),
        ],
    )
    def test_names_do_not_collide(self, tmp_path, images, names):
        folder = PictureFolder(tmp_path / "drawn", images)
        assert [folder.save(image, PICTURE).name for image in images] == names
        assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted(names)

    def test_never_replaces_a_photo(self, tmp_path):
        photo = tmp_path / "a.jpg"
        photo.write_bytes(b"precious")
        folder = PictureFolder(tmp_path, [photo])
        assert folder.save(photo, PICTURE).name == f"{tmp_path.name}_a.jpg"
        assert photo.read_bytes() == b"precious"

    def test_is_a_jpeg_of_the_picture(self, tmp_path):
        path = PictureFolder(tmp_path / "made" / "here", ["a.png"]).save("a.png", PICTURE)
        with Image.open(path) as image:
            assert (image.format, image.size) == ("JPEG", (8, 8))
            np.testing.assert_allclose(np.asarray(image), PICTURE, atol=2)

    def test_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match=r"file: cannot be written: File exists"):
            PictureFolder(tmp_path / "file", [])

    def test_replaces_what_was_drawn_and_nothing_else(self, tmp_path):
        Image.fromarray(PICTURE).save(tmp_path / "a.jpg")  # a photo beside a.png, which alone is drawn
        (tmp_path / "b.jpg").mkdir()
        (tmp_path / "c.jpg").symlink_to("nowhere")
        photo = (tmp_path / "a.jpg").read_bytes()
        images = ["x/a.png", "x/b.png", "x/c.png"]
        for _ in range(2):
            folder = PictureFolder(tmp_path, images)
            assert [folder.save(image, PICTURE).name for image in images] == ["x_a.jpg", "x_b.jpg", "x_c.jpg"]
        assert (tmp_path / "a.jpg").read_bytes() == photo
        assert [is_drawing(tmp_path / name) for name in ("a.jpg", "x_a.jpg", "b.jpg", "none.jpg")] == [
            False,
            True,
            False,
            False,
        ]
        assert PictureFolder(tmp_path, [*images, "x/d.png"]).replaced == 3

    def test_the_mark_is_looked_for_without_a_word_about_large_photos(self, tmp_path, monkeypatch):
        drawn = PictureFolder(tmp_path, ["a.png"]).save("a.png", PICTURE)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # of which Image.open warns, and the tests fail on warnings
        assert is_drawing(drawn)

    def test_picture_that_cannot_be_written(self, tmp_path):
        name = "a" * 252  # which has no room for a suffix
        with pytest.raises(OutputError, match=r"a\.jpg: cannot be written: File name too long"):
            PictureFolder(tmp_path, [name]).save(name, PICTURE)
        wide = np.zeros((1, 65_501, 3), np.uint8)
        with pytest.raises(OutputError, match=r"a JPEG has at most 65,500 pixels a side, this picture is 65501 x 1"):
            PictureFolder(tmp_path, ["b.png"]).save("b.png", wide)
        assert not list(tmp_path.iterdir())
        longest = "a" * 251
        assert PictureFolder(tmp_path, [longest]).save(longest, PICTURE).is_file()
