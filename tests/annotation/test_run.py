"""Whole runs: folders and datasets, what is lost, and what an interruption costs."""

import csv
import json
import os
import shutil
from dataclasses import replace

import pytest
from PIL import Image

import regionfer.annotation.run as module
from regionfer.annotation import AttributeTable, annotate, read_inputs, write_lists
from regionfer.annotation.inputs import Inputs
from regionfer.datasets import read_dataset, read_subset
from regionfer.errors import DatasetError, OutputError
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer

RED, GREEN, BLUE, GREY = (120, 0, 0), (0, 120, 0), (0, 0, 120), (90, 90, 90)


@pytest.fixture
def trusted(trusted_model, square_detector):
    return Recognizer(trusted_model, square_detector, threads=1)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(module, "CROPS", 2)
    monkeypatch.setattr(module, "PHOTOS", 2)


@pytest.mark.usefixtures("plain_faces")
class TestFolder:
    def test_a_row_a_face(self, trusted, draw_squares, tmp_path):
        folder = tmp_path / "album"
        (folder / "below").mkdir(parents=True)
        for name, faces in {"a.png": (RED, GREEN), "none.png": (), "below/b.png": (BLUE,)}.items():
            Image.fromarray(draw_squares(*faces)).save(folder / name)
        (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:60])
        inputs = read_inputs(folder, recursive=True)
        done = annotate(inputs, tmp_path / "t.parquet", trusted, min_confidence=0.5)
        table = AttributeTable.read(tmp_path / "t.parquet")
        assert [row.key for row in table.rows] == [("a.png", 0), ("a.png", 1), ("below/b.png", 0)]
        assert [row.face_size for row in table.rows] == [60, 56, 60]
        assert (done.images, done.faces) == (4, 3)
        assert done.misses == {("none.png", None): "no face found"}
        assert list(done.failures) == [("cut.png", None)]
        with done.losses.open() as file:
            lost = {row["image"]: row for row in csv.DictReader(file)}
        assert lost["none.png"] == {"image": "none.png", "face": "", "reason": "no face found"}
        assert lost["cut.png"]["reason"].startswith("is damaged or cut off")
        assert not (tmp_path / "t.parquet.parts").exists()

    def test_crops(self, trusted, colours, tmp_path):
        folder = colours(a=RED, b=GREEN, c=GREY)
        annotate(read_inputs(folder), tmp_path / "t.csv", trusted, detect=False)
        rows = {row.image: row for row in AttributeTable.read(tmp_path / "t.csv").rows}
        assert rows["a.png"].yaw == pytest.approx(60 * 120 / 255, abs=0.1)
        assert rows["b.png"].pitch == pytest.approx(30 * 120 / 255, abs=0.1)
        assert rows["a.png"].occluded_fraction > rows["c.png"].occluded_fraction > rows["b.png"].occluded_fraction

    def test_one_photo(self, trusted, draw_squares, tmp_path):
        Image.fromarray(draw_squares(RED)).save(tmp_path / "one.png")
        annotate(read_inputs(tmp_path / "one.png"), tmp_path / "t.csv", trusted)
        assert [row.image for row in AttributeTable.read(tmp_path / "t.csv").rows] == ["one.png"]

    def test_a_table_of_images(self, trusted, colours, tmp_path):
        colours(a=RED, b=GREEN)
        (tmp_path / "list.csv").write_text("image;label;split\nfaces/b.png;fear;test\nfaces/a.png;;\n")
        inputs = read_inputs(tmp_path / "list.csv")
        annotate(inputs, tmp_path / "t.csv", trusted, detect=False)
        rows = AttributeTable.read(tmp_path / "t.csv").rows
        labelled = [(row.image, row.label, row.split) for row in rows]
        assert labelled == [("faces/b.png", "fear", "test"), ("faces/a.png", None, None)]

    @pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
    def test_a_name_that_is_no_utf_8(self, trusted, colours, tmp_path, name):
        folder = colours(a=RED)
        (folder / "a.png").rename(folder / "b\udce9.png")
        annotate(read_inputs(folder), tmp_path / name, trusted, detect=False)
        (row,) = AttributeTable.read(tmp_path / name).rows
        assert row.image == "b\\udce9.png"

    def test_an_upside_down_photo(self, tiny_model, request, tmp_path):
        with Image.open(request.config.rootpath / "examples" / "hopper.jpg") as photo:
            photo.convert("RGB").rotate(180).save(tmp_path / "down.png")
        annotate(read_inputs(tmp_path / "down.png"), tmp_path / "t.csv", Recognizer(tiny_model, threads=1))
        (row,) = AttributeTable.read(tmp_path / "t.csv").rows
        assert abs(row.roll) > 150
        assert row.pose_bin == "0-30"

    def test_folders_that_cannot_be_read_are_all_named(self, trusted, colours, tmp_path):
        inputs = read_inputs(colours(a=RED))
        texts = tuple(f"C:\\photos\\{name}: cannot be read: Access is denied" for name in "xy")
        done = annotate(replace(inputs, unreadable=texts), tmp_path / "t.csv", trusted, detect=False)
        assert tuple(done.failures.values()) == texts

    def test_the_list_of_losses_names_an_image_once(self, trusted, colours, tmp_path):
        folder = colours(a=RED)
        (folder / "b: c.png").write_bytes(b"no image")
        done = annotate(read_inputs(folder), tmp_path / "t.csv", trusted, detect=False)
        (failure,) = done.failures.values()
        with done.losses.open(newline="") as file:
            (line,) = csv.DictReader(file)
        assert (line["image"], line["face"]) == ("b: c.png", "")
        assert failure == f"{folder / 'b: c.png'}: {line['reason']}"

    def test_an_old_list_of_losses_goes(self, trusted, colours, tmp_path):
        (tmp_path / "t.misses.csv").write_text("image,reason\nold.png,no face found\n")
        done = annotate(read_inputs(colours(a=RED)), tmp_path / "t.csv", trusted, detect=False)
        assert done.losses is None
        assert not (tmp_path / "t.misses.csv").exists()


class TestDataset:
    def test_crops_are_not_searched(self, trusted, trees, tmp_path):
        inputs = read_inputs(trees / "ferplus", "ferplus", splits=("test",))
        annotate(inputs, tmp_path / "t.parquet", trusted)
        table = AttributeTable.read(tmp_path / "t.parquet")
        assert not table.card.detect
        assert table.card.classes[:2] == ("neutral", "happiness")
        assert {row.split for row in table.rows} == {"test"}
        assert [row.label for row in table.rows] == list(inputs.labels)
        assert len(table) == 16

    def test_pixels_of_a_table(self, trusted, trees, tmp_path):
        inputs = read_inputs(trees / "ferplus-tables", "ferplus")
        annotate(inputs, tmp_path / "t.parquet", trusted)
        assert len(AttributeTable.read(tmp_path / "t.parquet")) == len(inputs)

    def test_of_a_photo_the_labelled_face(self, trusted, draw_squares, tmp_path):
        Image.fromarray(draw_squares(RED, BLUE)).save(tmp_path / "p.png")
        Image.fromarray(draw_squares(GREEN)).save(tmp_path / "q.png")
        rows = "p.png,fear,90,10,146,66\nq.png,anger,0,60,8,68\n"
        (tmp_path / "own.csv").write_text("image,label,x1,y1,x2,y2\n" + rows)
        inputs = read_inputs(tmp_path / "own.csv", "csv")
        done = annotate(inputs, tmp_path / "t.csv", trusted, min_confidence=0.5)
        (row,) = AttributeTable.read(tmp_path / "t.csv").rows
        assert (row.key, row.x1, row.label) == (("p.png", 0), 90, "fear")
        assert done.misses == {("q.png", 0): "no face found where the dataset has it"}

    def test_faces_of_one_photo_have_numbers_of_their_own(self, trusted, draw_squares, tmp_path):
        Image.fromarray(draw_squares(RED, BLUE)).save(tmp_path / "p.png")
        rows = "p.png,fear,90,10,146,66\np.png,anger,0,60,8,68\np.png,sadness,10,10,70,70\n"
        (tmp_path / "own.csv").write_text("image,label,x1,y1,x2,y2\n" + rows)
        inputs = read_inputs(tmp_path / "own.csv", "csv")
        done = annotate(inputs, tmp_path / "t.csv", trusted, min_confidence=0.5)
        found = [(*row.key, row.x1, row.label) for row in AttributeTable.read(tmp_path / "t.csv").rows]
        assert found == [("p.png", 0, 90, "fear"), ("p.png", 2, 10, "sadness")]
        assert done.misses == {("p.png", 1): "no face found where the dataset has it"}
        assert done.losses.read_text() == "image,face,reason\np.png,1,no face found where the dataset has it\n"

    def test_each_face_of_a_damaged_photo_is_listed(self, trusted, draw_squares, tmp_path):
        Image.fromarray(draw_squares(RED)).save(tmp_path / "p.png")
        (tmp_path / "q.png").write_bytes(b"")
        rows = "p.png,fear,10,10,70,70\nq.png,anger,0,60,8,68\nq.png,sadness,10,10,70,70\n"
        (tmp_path / "own.csv").write_text("image,label,x1,y1,x2,y2\n" + rows)
        done = annotate(read_inputs(tmp_path / "own.csv", "csv"), tmp_path / "t.csv", trusted, min_confidence=0.5)
        assert list(done.failures) == [("q.png", 0), ("q.png", 1)]
        assert [line[:8] for line in done.losses.read_text().splitlines()[1:]] == ["q.png,0,", "q.png,1,"]

    @pytest.mark.usefixtures("plain_faces")
    @pytest.mark.parametrize("splits", [(), ("test",)])
    def test_lists_of_a_split_pick_the_faces_of_the_table(self, trusted, draw_squares, tmp_path, splits):
        Image.fromarray(draw_squares(RED, BLUE, GREEN)).save(tmp_path / "p.png")
        boxes = {10: "fear,train", 90: "anger,test", 170: "fear,test"}
        lines = [f"p.png,{said},{x},10,{x + 60 - 4 * k},{70 - 4 * k}" for k, (x, said) in enumerate(boxes.items())]
        (tmp_path / "own.csv").write_text("\n".join(["image,label,split,x1,y1,x2,y2", *lines]))
        annotate(
            read_inputs(tmp_path / "own.csv", "csv", splits=splits), tmp_path / "t.csv", trusted, min_confidence=0.5
        )
        table = AttributeTable.read(tmp_path / "t.csv")
        numbers = {row.face: row.x1 for row in table.rows}
        assert numbers == {1: 90, 2: 170} if splits else {0: 10, 1: 90, 2: 170}
        write_lists(table, tmp_path / "lists", split="test", occluded_above=0.0)
        test = read_dataset("csv", tmp_path / "own.csv").split("test")
        subset = read_subset(tmp_path / "lists" / "occlusion_own.csv", test)
        assert subset.issues == ()
        assert test.boxes[subset.rows, 0].tolist() == [row.x1 for row in table.rows if row.split == "test"]

    def test_photos_are_no_crops(self, trusted, trees, tmp_path):
        inputs = read_inputs(trees / "affectnet", "affectnet-8")
        with pytest.raises(DatasetError, match="has photos here, not face crops; let faces be looked for"):
            annotate(inputs, tmp_path / "t.csv", trusted, detect=False)


class TestInterruption:
    @pytest.fixture
    def inputs(self, colours):
        return read_inputs(colours(**{f"f{k}": (20 * k, 10 * k, 200 - 20 * k) for k in range(9)}))

    @pytest.fixture
    def interrupt(self, trusted, inputs, small_parts):
        """A run that is interrupted within its third part."""

        def run(out):
            def progress(done, total):
                if done == 5:
                    raise KeyboardInterrupt

            with pytest.raises(KeyboardInterrupt):
                annotate(inputs, out, trusted, detect=False, progress=progress)

        return run

    @pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
    def test_the_result_is_the_same(self, trusted, inputs, interrupt, small_parts, tmp_path, name):
        annotate(inputs, tmp_path / f"straight-{name}", trusted, detect=False)
        interrupt(tmp_path / name)
        assert not (tmp_path / name).exists()
        seen = []
        done = annotate(inputs, tmp_path / name, trusted, detect=False, progress=lambda done, total: seen.append(done))
        assert seen == [4, 5, 6, 7, 8, 9]
        assert done.resumed == 4
        assert (tmp_path / name).read_bytes() == (tmp_path / f"straight-{name}").read_bytes()
        assert not (tmp_path / f"{name}.parts").exists()

    def test_parts_do_not_share_runs(self, trusted, inputs, interrupt, small_parts, tmp_path, monkeypatch):
        """So that the numbers of a part do not depend on what came before it: all of them are of the same runs."""
        monkeypatch.setattr(trusted, "_upright", False)  # a second look is a run, too
        runs, run = [], ExpressionModel._run

        def spy(model, faces, landmarks):
            runs.append((faces[:, 0, 0].tolist(), model._session.get_session_options().intra_op_num_threads))
            return run(model, faces, landmarks)

        monkeypatch.setattr(ExpressionModel, "_run", spy)
        annotate(inputs, tmp_path / "straight.csv", trusted, detect=False)
        straight = sorted(runs)
        assert [len(faces) for faces, _ in straight] == [2, 2, 2, 2, 1]
        interrupt(tmp_path / "t.csv")
        runs.clear()
        annotate(inputs, tmp_path / "t.csv", trusted, detect=False)
        assert sorted(runs) == straight[2:]

    def test_the_next_part_is_begun_before_one_ends(self, trusted, inputs, small_parts, tmp_path, monkeypatch):
        taken, source = [], Inputs.source
        monkeypatch.setattr(Inputs, "source", lambda self, row: taken.append(row) or source(self, row))
        ahead = []
        annotate(
            inputs, tmp_path / "t.csv", trusted, detect=False, progress=lambda done, _: ahead.append(len(taken) - done)
        )
        assert max(ahead) > 2

    def test_what_is_replaced_during_the_run_is_seen_by_the_next(self, trusted, inputs, small_parts, colours, tmp_path):
        """A part is stamped before its images are read: here the first, when its first image is done."""

        def progress(done, total):
            if done == 1:
                colours(f0=(0, 0, 255))
            if done == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            annotate(inputs, tmp_path / "t.csv", trusted, detect=False, progress=progress)
        done = annotate(inputs, tmp_path / "t.csv", trusted, detect=False)
        assert (done.resumed, done.redone) == (2, 2)
        annotate(inputs, tmp_path / "straight.csv", trusted, detect=False)
        assert (tmp_path / "t.csv").read_bytes() == (tmp_path / "straight.csv").read_bytes()

    def test_other_settings(self, trusted, inputs, interrupt, tmp_path):
        interrupt(tmp_path / "t.csv")
        with pytest.raises(
            DatasetError, match=r"t.csv.parts: a run with other settings .*\(different: detect, min_confidence"
        ):
            annotate(inputs, tmp_path / "t.csv", trusted, detect=True)

    def test_other_images(self, trusted, inputs, interrupt, colours, tmp_path):
        interrupt(tmp_path / "t.csv")
        with pytest.raises(DatasetError, match=r"\(different: images\)"):
            annotate(read_inputs(colours(new=RED)), tmp_path / "t.csv", trusted, detect=False)

    def test_images_that_were_replaced_are_done_again(self, trusted, inputs, interrupt, colours, tmp_path):
        interrupt(tmp_path / "t.csv")
        colours(f3=(255, 0, 0))
        seen = []
        out = tmp_path / "t.csv"
        done = annotate(inputs, out, trusted, detect=False, progress=lambda done, total: seen.append(done))
        assert (done.resumed, done.redone, seen) == (2, 2, list(range(2, 10)))
        annotate(inputs, tmp_path / "straight.csv", trusted, detect=False)
        assert out.read_bytes() == (tmp_path / "straight.csv").read_bytes()

    @pytest.mark.parametrize("change", ["size", "time"])
    def test_size_and_time_tell(self, trusted, inputs, interrupt, tmp_path, change):
        interrupt(tmp_path / "t.csv")
        path = inputs.root / "f0.png"
        before = path.stat()
        if change == "size":
            path.write_bytes(path.read_bytes() + b" ")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + (1000 if change == "time" else 0)))
        assert annotate(inputs, tmp_path / "t.csv", trusted, detect=False).redone == 2

    def test_pixels_of_a_table_that_were_replaced(self, trusted, trees, small_parts, tmp_path):
        inputs = read_inputs(trees / "ferplus-tables", "ferplus")
        stamps = [inputs.stamp(row) for row in range(2)]
        inputs.manifest.pixels[1] = 255 - inputs.manifest.pixels[1]
        assert [inputs.stamp(row) == stamp for row, stamp in enumerate(stamps)] == [True, False]

    def test_another_folder_with_images_of_the_same_names(self, trusted, inputs, interrupt, tmp_path):
        interrupt(tmp_path / "t.csv")
        copy = shutil.copytree(inputs.root, tmp_path / "copy")
        with pytest.raises(DatasetError, match=r"\(different: folder\)"):
            annotate(read_inputs(copy), tmp_path / "t.csv", trusted, detect=False)

    def test_a_damaged_part(self, trusted, inputs, interrupt, tmp_path):
        interrupt(tmp_path / "t.csv")
        part = tmp_path / "t.csv.parts" / "part-000000.json"
        part.write_text(part.read_text()[:50])
        with pytest.raises(DatasetError, match=r"part-000000.json: damaged.*delete it and call again"):
            annotate(inputs, tmp_path / "t.csv", trusted, detect=False)

    def test_lost_images_are_told_after_all(self, trusted, inputs, interrupt, tmp_path):
        (inputs.root / "f0.png").write_bytes(b"")
        interrupt(tmp_path / "t.csv")
        done = annotate(inputs, tmp_path / "t.csv", trusted, detect=False)
        assert list(done.failures) == [("f0.png", None)]


class TestBadInput:
    @pytest.mark.parametrize(
        ("place", "dataset", "message"),
        [
            ("none", None, "none: no such file or folder"),
            (".", None, "is a folder without images"),
            ("empty.csv", None, "expected a row an image, found only the header"),
            ("other.csv", None, "expected columns image; found name"),
            ("gap.csv", None, "gap.csv, line 2: no image is named"),
            ("again.csv", None, "again.csv, line 4: image a.png is in line 2 already; name each image once"),
            (".", "ferplus", "expected"),
            (".", "fer2013", "unknown dataset 'fer2013'"),
        ],
    )
    def test_inputs(self, tmp_path, place, dataset, message):
        (tmp_path / "empty.csv").write_text("image,label\n")
        (tmp_path / "other.csv").write_text("name\na\n")
        (tmp_path / "gap.csv").write_text("image,label\n,fear\n")
        (tmp_path / "again.csv").write_text("image,label\na.png,fear\nb.png,fear\n./a.png,anger\n")
        with pytest.raises(DatasetError, match=message):
            read_inputs(tmp_path / place, dataset)

    def test_no_name_is_not_the_current_folder(self, colours, monkeypatch):
        monkeypatch.chdir(colours(a=RED))
        with pytest.raises(DatasetError, match="'': is empty"):
            read_inputs("")

    def test_splits_belong_to_a_dataset(self, tmp_path):
        with pytest.raises(DatasetError, match="name it with --dataset"):
            read_inputs(tmp_path, splits=("test",))

    @pytest.mark.parametrize(
        ("out", "message"),
        [("t.xlsx", "ends in .parquet or .csv"), ("no/t.csv", "there is no folder"), ("d.csv", "is a folder")],
    )
    def test_out(self, trusted, colours, tmp_path, out, message):
        (tmp_path / "d.csv").mkdir()
        with pytest.raises(OutputError, match=message):
            annotate(read_inputs(colours(a=RED)), tmp_path / out, trusted, detect=False)

    def test_nothing_readable(self, trusted, tmp_path):
        (tmp_path / "faces").mkdir()
        (tmp_path / "faces" / "a.png").write_bytes(b"no image")
        done = annotate(read_inputs(tmp_path / "faces"), tmp_path / "t.parquet", trusted, detect=False)
        assert (done.faces, len(done.failures)) == (0, 1)
        assert len(AttributeTable.read(tmp_path / "t.parquet")) == 0


def test_the_card(trusted, trusted_model, colours, tmp_path):
    folder = colours(a=RED)
    annotate(read_inputs(folder), tmp_path / "t.csv", trusted)
    card = json.loads((tmp_path / "t.csv.json").read_text())
    assert (card["dataset"], card["reader"], card["root"]) == ("faces", "photos", str(folder))
    assert (card["model_sha256"], card["min_confidence"], card["threshold"]) == (trusted_model.sha256, 0.9, 0.6)
