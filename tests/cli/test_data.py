"""The commands of ``regionfer data``."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import regionfer.preparation
from regionfer.cli import main
from regionfer.datasets import READERS, load_prepared
from regionfer.datasets.official import LISTS_ADDRESS


@pytest.fixture
def run():
    def data(*arguments):
        return CliRunner().invoke(main, ["data", *map(str, arguments)])

    return data


@pytest.fixture
def faces(tmp_path):
    """A folder with two faces a class, all different."""
    for label in ("calm", "pain"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(2):
            noise = np.random.default_rng([number, len(label), label == "pain"]).integers(0, 255, (30, 30, 3))
            Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "faces" / label / f"{number}.png")
    return tmp_path / "faces"


def test_help_names_every_dataset(run):
    text = " ".join(run("--help").stdout.split())
    for name in READERS:
        assert f" {name}" in text, name


class TestCheck:
    def test_a_whole_folder(self, run, faces):
        result = run("check", "folder", "--data", faces)
        assert result.exit_code == 0
        assert result.stdout.splitlines()[-1] == "as it should be: 0 errors, 0 warnings"
        assert "4 images read, 30 x 30 pixels" in result.stdout

    def test_counts_beside_the_official(self, run, trees):
        result = run("check", "rafdb", "--data", trees / "rafdb")
        assert result.exit_code == 1
        rows = {line.rsplit("  ", 2)[0].strip(): line for line in result.stdout.splitlines()}
        assert rows["images listed"].split("  ")[-1].strip() == "14 of 3,068"
        assert "of 4,772" in rows["happiness"]
        assert "error: test: expected 3,068 images listed, found 14" in result.stdout

    def test_ferplus_as_distributed(self, run, ferplus_root):
        result = run("check", "ferplus", "--data", ferplus_root, "--no-images")
        assert "28,558 of 28,558" in result.stdout
        assert "3,579 of 3,579" in result.stdout
        assert "25,045 of 25,045" in result.stdout
        assert "3,191 of 3,191" in result.stdout
        assert "warning: test: not there" in result.stdout

    def test_a_folder_of_ferplus_without_its_table(self, run, trees, tmp_path):
        root = tmp_path / "ferplus"
        shutil.copytree(trees / "ferplus", root)
        (root / "FER2013Valid" / "label.csv").unlink(missing_ok=True)
        (root / "FER2013Valid").mkdir(exist_ok=True)
        result = run("check", "ferplus", "--data", root)
        assert (
            "warning: valid: the folder FER2013Valid has no label.csv, so none of its images is read" in result.stdout
        )
        assert "valid: not there" not in result.stdout
        assert "FER2013Valid: expected label.csv" in run("check", "ferplus", "--data", root, "--split", "valid").stderr

    def test_images_with_divided_votes_alone(self, run, trees, tmp_path):
        arguments = ("ferplus-votes", "--data", trees / "ferplus", "--split", "train-divided")
        result = run("check", *arguments)
        assert "1 of 3,366" in result.stdout
        assert run("prepare", *arguments, "-o", tmp_path / "out").exit_code == 0
        prepared = run("check", "prepared", "--data", tmp_path / "out", "--split", "train-divided")
        assert "1 of 3,366" in prepared.stdout
        refused = run("check", "ferplus", "--data", trees / "ferplus", "--split", "train-divided")
        assert "FERPlus has no split train-divided here; found: train, valid, test" in refused.stderr

    def test_a_split_of_a_prepared_copy_brings_its_divided_votes_along(self, run, trees, tmp_path):
        assert run("prepare", "ferplus-votes", "--data", trees / "ferplus", "-o", tmp_path / "out").exit_code == 0
        options = ("--split", "train", "--no-images", "--json")
        direct = json.loads(run("check", "ferplus-votes", "--data", trees / "ferplus", *options).stdout)
        prepared = json.loads(run("check", "prepared", "--data", tmp_path / "out", *options).stdout)
        assert list(prepared["splits"]) == ["train", "train-divided"]
        assert prepared["splits"] == direct["splits"]
        assert prepared["findings"] == direct["findings"]

    def test_json(self, run, trees):
        result = run("check", "sfew", "--data", trees / "sfew", "--split", "valid", "--json")
        assert result.exit_code == 1
        values = json.loads(result.stdout)
        assert list(values["splits"]) == ["valid"]
        assert values["splits"]["valid"]["official_kept"] == 436
        assert [finding["kind"] for finding in values["findings"]] == ["count"]

    @pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1), (["--strict", "--no-images"], 0)])
    def test_warnings(self, run, faces, options, code):
        shutil.copy(faces / "calm" / "0.png", faces / "calm" / "copy.png")
        Image.fromarray(np.full((30, 30, 3), 9, np.uint8)).save(faces / "pain" / "2.png")
        result = run("check", "folder", "--data", faces, *options)
        assert result.exit_code == code
        assert ("calm/0.png = calm/copy.png" in result.stdout) is ("--no-images" not in options)

    def test_workers_without_work(self, run, faces):
        result = run("check", "folder", "--data", faces, "--no-images", "--workers", 2)
        assert (result.exit_code, "--workers read images" in result.stderr) == (2, True)

    def test_names_that_are_not_utf8(self, run, faces):
        path = faces / "calm" / os.fsdecode(b"fr\xfch.png")
        path.write_bytes(b"no picture")
        result = run("check", "folder", "--data", faces)
        assert r"fr\udcfch.png" in result.stdout
        assert r"fr\udcfch.png" in run("check", "folder", "--data", faces, "--json").stdout

    def test_a_line_of_ferplus_that_is_there_twice(self, run, trees, tmp_path):
        copy = shutil.copytree(trees / "ferplus", tmp_path / "ferplus")
        with (copy / "FER2013Test" / "label.csv").open("r+") as file:
            line = file.readline()
            file.seek(0, os.SEEK_END)
            file.write(line)
        result = run("check", "ferplus", "--data", copy)
        assert "20 of 3,573" in result.stdout
        assert "label.csv: 1 line names an image again and says the same; the first line counts" in result.stdout
        assert f"    {line.split(',')[0]}: line 21 after line 1" in result.stdout
        assert "6 errors, 1 warning" in result.stdout
        prepared = run("prepare", "ferplus", "--data", copy, "-o", tmp_path / "out")
        assert prepared.exit_code == 0
        assert "warning: " in prepared.stderr

    def test_unreadable(self, run, faces):
        (faces / "pain" / "1.png").write_bytes(b"no picture")
        result = run("check", "folder", "--data", faces)
        assert result.exit_code == 1
        assert "error: 1 image cannot be read" in result.stdout
        assert "    pain/1.png: is not an image in a known format" in result.stdout

    def test_a_single_image_is_one(self, run, faces, tmp_path):
        (tmp_path / "one" / "calm").mkdir(parents=True)
        shutil.copy(faces / "calm" / "0.png", tmp_path / "one" / "calm" / "0.png")
        result = run("check", "folder", "--data", tmp_path / "one")
        assert "1 image read, 30 x 30 pixels" in result.stdout
        assert result.stdout.splitlines()[-1] == "not as it should be: 1 error, 0 warnings"

    def test_what_preparation_missed(self, run, faces, tmp_path):
        (faces / "pain" / "1.png").write_bytes(b"no picture")
        run("prepare", "folder", "--data", faces, "-o", tmp_path / "out")
        text = (tmp_path / "out" / "misses.csv").read_text()
        assert "pain/1.png,train,pain,cannot be read," in text
        assert "is not an image in a known format" in text
        result = run("check", "prepared", "--data", tmp_path / "out")
        assert f"in {tmp_path / 'out'}, prepared from {faces}" in result.stdout
        assert "warning: train: 1 image gave no face when it was prepared: cannot be read" in result.stdout
        assert result.stdout.splitlines()[-1] == "whole, but look at the warnings: 0 errors, 1 warning"
        values = json.loads(run("check", "prepared", "--data", tmp_path / "out", "--json").stdout)
        assert (values["splits"]["train"]["listed"], values["splits"]["train"]["kept"]) == (4, 3)
        assert values["splits"]["train"]["misses"] == {"cannot be read": 1}
        assert run("check", "prepared", "--data", tmp_path / "out", "--strict").exit_code == 1

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("check", "ferplus", "--data"), "expected FERPlus, that is folders FER2013Train"),
            (("check", "fer2013", "--data"), "unknown dataset 'fer2013'; known: ferplus"),
            (("check", "ferplus", "--photos", "--data"), "ferplus has no option photos"),
        ],
        ids=["folder", "name", "option"],
    )
    def test_mistakes(self, run, tmp_path, arguments, message):
        result = run(*arguments, tmp_path)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


class TestPrepare:
    def test_crops(self, run, trees, tmp_path):
        result = run("prepare", "ferplus", "--data", trees / "ferplus", "--no-detect", "-o", tmp_path / "out")
        assert result.exit_code == 0
        assert result.stdout == f"{tmp_path / 'out'}: 48 faces of 48 images, 48 x 48 pixels\n"
        assert run("check", "prepared", "--data", tmp_path / "out").exit_code == 1  # counts are not the official ones

    def test_photos_with_given_landmarks(self, run, trees, tmp_path):
        arguments = ("--data", trees / "rafdb", "--photos", "--split", "test", "--size", 40, "-o", tmp_path / "out")
        assert run("prepare", "rafdb", *arguments, "--given").exit_code == 0
        assert load_prepared(tmp_path / "out")[1].shape == (14, 40, 40, 3)

    def test_faces_are_looked_for_in_photos(self, run, trees, tmp_path, monkeypatch, square_detector):
        monkeypatch.setattr(regionfer.preparation, "MTCNN", lambda **_: square_detector)
        arguments = ("--data", trees / "affectnet", "--split", "valid", "-o", tmp_path / "out", "--workers", 1)
        result = run("prepare", "affectnet-8", *arguments)
        assert result.exit_code == 0
        assert "of 16 images, 112 x 112 pixels" in result.stdout

    @pytest.mark.parametrize(("options", "code"), [([], 0), (["--strict"], 1)], ids=["lenient", "strict"])
    def test_misses(self, run, faces, tmp_path, monkeypatch, square_detector, options, code):
        monkeypatch.setattr(regionfer.preparation, "MTCNN", lambda **_: square_detector)
        Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(faces / "calm" / "0.png")
        result = run("prepare", "folder", "--data", faces, "--detect", "-o", tmp_path / "out", *options)
        assert result.exit_code == code
        assert "3 faces of 4 images, 30" not in result.stdout
        assert "3 faces of 4 images, 112 x 112 pixels, 1 x no face found" in result.stdout
        assert f"{tmp_path / 'out'}/misses.csv lists" in result.stdout

    def test_an_image_that_cannot_be_read(self, run, faces, tmp_path):
        (faces / "pain" / "1.png").write_bytes(b"no picture")
        result = run("prepare", "folder", "--data", faces, "-o", tmp_path / "out")
        assert result.exit_code == 1
        assert "3 faces of 4 images, 30 x 30 pixels, 1 x cannot be read" in result.stdout

    def test_interrupted(self, run, faces, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(regionfer.preparation, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            result = run("prepare", "folder", "--data", faces, "-o", tmp_path / "out")
        assert result.exit_code == 130
        assert "interrupted; call again to go on" in result.stderr
        assert run("prepare", "folder", "--data", faces, "-o", tmp_path / "out").exit_code == 0

    def test_contradicting_options(self, run, faces, tmp_path):
        result = run("prepare", "folder", "--data", faces, "-o", tmp_path / "out", "--given", "--detect")
        assert result.exit_code == 2
        assert "--given takes landmarks as they are" in result.stderr


class TestLists:
    def test_where_they_are_published(self, run):
        result = run("lists")
        assert result.exit_code == 0
        assert LISTS_ADDRESS in result.stdout
        assert "jianfei_occlusion_list.txt" in result.stdout
        assert json.loads(run("lists", "--json").stdout)["lists"]["RAF-DB"]["occlusion"]["entries"] == 735

    def test_a_folder(self, run, trees):
        result = run("lists", trees / "lists")
        assert result.exit_code == 0
        (line,) = [line for line in result.stdout.splitlines() if "rafdb_occlusion" in line]
        assert line.split()[:4] == ["RAF-DB", "occlusion", "8", "7"]
        assert "735 entries, 734 images" in line
        assert "not here: RAF-DB pose45, 558 entries, published as RAF_DB_dir/val_raf_db_list_45.txt" in result.stdout
        assert "    FERplus_dir/readme.txt: names no image of FERPlus, RAF-DB or AffectNet" in result.stdout

    def test_files_that_are_no_lists_are_told_together(self, run, tmp_path):
        (tmp_path / "occlusion.txt").write_text("1_fer0000001.png 8 2\n")
        (tmp_path / "logs").mkdir()
        for number in range(5):
            (tmp_path / "logs" / f"{number}.txt").write_text(f"loss 0.{number} at last\n")
        lines = run("lists", tmp_path).stdout.splitlines()
        assert lines[0] == f"{tmp_path}: 1 list"
        told = "    logs/0.txt, logs/1.txt, logs/2.txt and 2 more: names no image of FERPlus, RAF-DB or AffectNet"
        assert [line for line in lines if "logs/" in line] == [told]
        assert len(json.loads(run("lists", tmp_path, "--json").stdout)["others"]) == 5

    def test_a_folder_without_lists(self, run, tmp_path):
        (tmp_path / "mine.csv").write_text("name,type\nfer0000001.png,hat\n")
        result = run("lists", tmp_path)
        assert result.exit_code == 1
        assert "no lists; looked at:" in result.stdout
        assert "    mine.csv: expected a name a line, or a table with a header" in result.stdout
        values = json.loads(run("lists", tmp_path, "--json").stdout)
        assert [entry["file"] for entry in values["others"]] == [str(tmp_path / "mine.csv")]

    def test_codes_that_are_not_known(self, run, tmp_path):
        (tmp_path / "occlusion.txt").write_text("1_fer0000001.png 8 7\n")
        assert "has the type of occlusion 7, which is none of 0 to 3" in run("lists", tmp_path).stdout

    def test_joined(self, run, trees):
        result = run("lists", trees / "lists", "--dataset", "rafdb", "--data", trees / "rafdb")
        assert result.exit_code == 0
        assert "occlusion: 8 entries (735 published), 7 images; 1 x named again" in result.stdout
        assert "warning: line 8: test_0003_aligned is named in line 2 already" in result.stdout
        strict = run("lists", trees / "lists", "--dataset", "rafdb", "--data", trees / "rafdb", "--strict")
        assert strict.exit_code == 1

    @pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
    def test_lists_of_other_datasets_alone(self, run, trees, form):
        result = run("lists", trees / "lists", "--dataset", "sfew", "--data", trees / "sfew", *form)
        assert result.exit_code == 1
        assert re.search(r"error: .*: expected lists of sfew, found only those of .*RAF-DB.*; nothing", result.stderr)

    def test_joined_as_json(self, run, trees):
        result = run("lists", trees / "lists", "--dataset", "ferplus", "--data", trees / "ferplus", "--json")
        values = {
            entry["subset"]: entry for entry in json.loads(result.stdout)["lists"] if entry["corpus"] == "FERPlus"
        }
        assert values["occlusion"]["subset_report"]["images"] == 8
        assert values["occlusion"]["error"] is None

    def test_a_list_that_cannot_be_joined(self, run, trees):
        arguments = ("--dataset", "affectnet-8", "--data", trees / "affectnet-folders")
        result = run("lists", trees / "lists" / "AffectNet_dir", *arguments)
        assert result.exit_code == 1
        assert "none of its 8 entries is in AffectNet-8 valid" in result.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("nowhere",), "nowhere: expected a folder of lists"),
            ((".", "--dataset", "ferplus"), "--dataset and --data belong together"),
            ((".", "--split", "test"), "--split is of a dataset"),
            (("--split", "test"), "are about lists that you have; name their FOLDER"),
            (("--dataset", "ferplus", "--data", "."), "are about lists that you have; name their FOLDER"),
        ],
        ids=["folder", "no data", "no dataset", "no folder", "no folder, dataset"],
    )
    def test_mistakes(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        result = run("lists", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr


TABLES = {
    "ferplus": ("ferplus", "FER2013Test/label.csv"),
    "ferplus tables: pixels": ("ferplus-tables", "fer2013.csv"),
    "ferplus tables: votes": ("ferplus-tables", "fer2013new.csv"),
    "affectnet-8": ("affectnet", "**/validation.csv"),
    "rafdb": ("rafdb", "**/list_patition_label.txt"),
    "rafdb annotations": ("rafdb", "**/test_0001_manu_attri.txt"),
    "csv": ("own", "faces.csv"),
}


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("table", TABLES)
def test_tables_with_a_byte_order_mark_are_read_as_without(run, trees, faces, tmp_path, table, mark):
    tree, place = TABLES[table]
    root = tmp_path / "copy"
    if tree == "own":
        shutil.copytree(faces, root)
        lines = [f"{path.relative_to(root).as_posix()},{path.parent.name},train" for path in root.rglob("*.png")]
        (root / "faces.csv").write_text("\n".join(["image,label,split", *sorted(lines)]))
    else:
        shutil.copytree(trees / tree, root)
    name = table.partition(" ")[0]
    plain = run("check", name, "--data", root, "--json")
    (path,) = root.glob(place)
    path.write_text(path.read_text(encoding="utf-8"), encoding=mark)
    marked = run("check", name, "--data", root, "--json")
    assert json.loads(plain.stdout)["images_read"] > 0
    assert (marked.exit_code, marked.stdout) == (plain.exit_code, plain.stdout)


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "form", ["{label}_{name}.png 8 1", "{label}/{name}.jpg", "{label}/{name} 6"], ids=["occlusion", "pose", "split"]
)
def test_lists_with_a_byte_order_mark_are_joined_as_without(run, trees, tmp_path, form, mark):
    with (trees / "ferplus" / "FER2013Test" / "label.csv").open() as file:
        names = [line.partition(".png")[0] for line in file]
    joined = []
    for encoding in ("utf-8", mark):
        (tmp_path / encoding).mkdir()
        text = "".join(form.format(label=0, name=name) + "\n" for name in names)
        (tmp_path / encoding / "pose_30_ferplus_list.txt").write_text(text, encoding=encoding)
        result = run("lists", tmp_path / encoding, "--dataset", "ferplus", "--data", trees / "ferplus", "--json")
        (found,) = json.loads(result.stdout)["lists"]
        joined.append(found["subset_report"] | {"file": None})
    assert joined[0]["images"] > 0
    assert joined[0] == joined[1]
