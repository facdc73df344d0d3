import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from regionfer.datasets import Dropped, Manifest, read_csv, read_dataset, read_ferplus, read_folder
from regionfer.datasets.check import check_manifest
from regionfer.datasets.manifest import one_hot
from regionfer.datasets.official import OFFICIAL


def findings(report):
    return {(finding.severity, finding.kind) for finding in report.findings}


def noise(seed, side=24):
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two classes with three images each, all different, in one split."""
    for label in ("calm", "pain"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(noise(number + 10 * (label == "pain"))).save(tmp_path / "train" / label / f"{number}.png")
    return tmp_path


def test_a_good_folder(folder):
    report = check_manifest(read_folder(folder))
    assert report.ok(strict=True)
    assert report.findings == ()
    assert (report.images_read, report.sizes) == (6, ((24, 24), (24, 24)))


def test_progress(folder):
    seen = []
    check_manifest(read_folder(folder), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(k, 6) for k in range(1, 7)]


class TestImages:
    def test_unreadable(self, folder):
        (folder / "train" / "pain" / "1.png").write_bytes(b"no picture")
        report = check_manifest(read_folder(folder))
        assert not report.ok()
        (finding,) = report.findings
        assert (finding.kind, finding.severity, finding.count) == ("unreadable", "error", 1)
        assert "pain/1.png" in finding.examples[0]

    def test_absent(self, folder):
        manifest = read_folder(folder)
        (folder / "train" / "pain" / "1.png").unlink()
        report = check_manifest(manifest)
        (finding,) = report.findings
        assert (finding.kind, finding.severity, finding.text) == (
            "missing",
            "error",
            "train: 1 image listed but absent",
        )
        assert finding.examples == ("train/pain/1.png",)
        assert report.images_read == 5

    def test_twice_in_another_format(self, folder):
        Image.fromarray(noise(0)).save(folder / "train" / "calm" / "copy.bmp")
        report = check_manifest(read_folder(folder))
        assert report.ok()
        assert not report.ok(strict=True)
        (finding,) = report.findings
        assert (finding.kind, finding.count) == ("duplicate", 2)
        assert finding.examples == ("train/calm/0.png = train/calm/copy.bmp",)

    def test_twice_with_another_label_and_in_another_split(self, folder):
        Image.fromarray(noise(0)).save(folder / "train" / "pain" / "copy.png")
        shutil.copytree(folder / "train", folder / "valid")
        report = check_manifest(read_folder(folder))
        assert findings(report) == {("warning", kind) for kind in ("duplicate", "leak", "contradiction")}
        assert {finding.kind: finding.count for finding in report.findings} == {
            "duplicate": 14,
            "leak": 14,
            "contradiction": 4,
        }

    def test_same_bytes_in_another_shape_are_another_image(self, tmp_path):
        for name, shape in {"wide": (2, 8), "high": (8, 2)}.items():
            (tmp_path / name).mkdir()
            Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / name / "1.png")
        assert check_manifest(read_folder(tmp_path)).findings == ()

    def test_images_may_be_left_unread(self, folder):
        (folder / "train" / "pain" / "1.png").write_bytes(b"no picture")
        report = check_manifest(read_folder(folder), read_images=False)
        assert report.ok()
        assert (report.images_read, report.sizes) == (0, None)


class TestOfficial:
    @pytest.mark.parametrize(
        ("name", "tree", "splits"),
        [
            ("ferplus", "ferplus", 3),
            ("ferplus", "ferplus-tables", 3),
            ("affectnet-8", "affectnet", 2),
            ("affectnet-7", "affectnet-folders", 2),
            ("rafdb", "rafdb", 2),
            ("sfew", "sfew", 2),
        ],
    )
    def test_small_trees_differ_in_counts_only(self, trees, name, tree, splits):
        report = check_manifest(read_dataset(name, trees / tree))
        expected = {("error", "count"), ("error", "class count")}
        assert findings(report) <= expected | ({("note", "no labels")} if name == "sfew" else set())
        assert sum(finding.kind == "count" for finding in report.findings) >= splits
        assert set(OFFICIAL[report.dataset]) == {split.split for split in report.splits}

    def test_ferplus_as_distributed(self, ferplus_root):
        report = check_manifest(read_ferplus(ferplus_root), read_images=False)
        assert [(split.listed, split.kept) for split in report.splits] == [(28_558, 25_045), (3_579, 3_191)]
        assert findings(report) <= {("warning", "split"), ("error", "missing"), ("warning", "missing dropped")}

    def test_divided_votes_as_distributed(self, ferplus_root):
        report = check_manifest(read_dataset("ferplus-votes", ferplus_root), read_images=False)
        assert [(split.split, split.listed, split.kept) for split in report.splits] == [
            ("train", 28_558, 25_045),
            ("train-divided", 3_366, 3_366),
            ("valid", 3_579, 3_191),
            ("valid-divided", 367, 367),
        ]
        assert report.splits[0].dropped["divided votes, a split of their own"] == 3_366
        assert findings(report) <= {("warning", "split"), ("error", "missing"), ("warning", "missing dropped")}
        assert "divided votes" in report.protocol

    @pytest.mark.parametrize(
        ("wanted", "found"),
        [("train-divided", ["train-divided"]), ("train", ["train", "train-divided"])],
        ids=["alone", "with the others"],
    )
    def test_divided_votes_of_a_split(self, trees, wanted, found):
        manifest = read_dataset("ferplus-votes", trees / "ferplus", splits=[wanted])
        report = check_manifest(manifest, expected=[wanted], read_images=False)
        assert [split.split for split in report.splits] == found
        assert {finding.kind for finding in report.findings} == {"count"}
        alone = next(finding for finding in report.findings if finding.text.startswith("train-divided"))
        assert alone.text == "train-divided: expected 3,366 images, as of the tables as distributed, found 1"

    def test_lost_images_with_divided_votes_are_listed_all_the_same(self, ferplus_root):
        whole = read_dataset("ferplus-votes", ferplus_root, splits=["valid"])
        lost = int(np.flatnonzero(whole.splits == "valid-divided")[0])
        gone = Dropped.of([(str(whole.names[lost]), "valid-divided", "cannot be read")])
        manifest = replace(whole.select(np.arange(len(whole)) != lost), misses=gone)
        report = check_manifest(manifest, read_images=False)
        assert [(split.split, split.listed) for split in report.splits] == [("valid", 3_579), ("valid-divided", 367)]
        assert "count" not in {finding.kind for finding in report.findings}

    def test_a_split_that_is_not_there(self, trees):
        manifest = read_dataset("rafdb", trees / "rafdb", splits=["train"])
        assert ("warning", "split") in findings(check_manifest(manifest))
        assert ("warning", "split") not in findings(check_manifest(manifest, expected=["train"]))

    @pytest.mark.parametrize(
        ("dataset", "split", "kept", "expected"),
        [
            ("SFEW 2.0", "train", 958, set()),
            ("SFEW 2.0", "train", 891, {("note", "count")}),
            ("SFEW 2.0", "train", 890, {("error", "count")}),
            ("SFEW 2.0", "test", 12, set()),
            ("RAF-DB", "test", 3_068, {("error", "class count")}),
        ],
    )
    def test_counts(self, dataset, split, kept, expected):
        labels = np.zeros(kept, dtype=np.int64)
        manifest = Manifest(
            dataset=dataset,
            protocol="",
            root=None,
            names=np.array([str(k) for k in range(kept)]),
            labels=labels,
            targets=one_hot(labels, 1),
            splits=np.full(kept, split),
            classes=("neutral",),
            pixels=np.zeros((kept, 1, 1), np.uint8),
        )
        assert findings(check_manifest(manifest, expected=[split], read_images=False)) == expected

    def test_official_classes_sum_to_the_official_counts(self):
        sums = {
            (name, split): (sum(figures.classes.values()), figures.kept)
            for name, splits in OFFICIAL.items()
            for split, figures in splits.items()
            if figures.classes
        }
        assert len(sums) == 6
        assert all(total == kept for total, kept in sums.values())


def test_unlisted_images(trees, tmp_path):
    copy = shutil.copytree(trees / "rafdb", tmp_path / "rafdb")
    shutil.copy(copy / "basic/Image/aligned/test_0001_aligned.jpg", copy / "basic/Image/aligned/test_9999_aligned.jpg")
    report = check_manifest(read_dataset("rafdb", copy), read_images=False)
    (finding,) = [finding for finding in report.findings if finding.kind == "unlisted"]
    assert (finding.severity, finding.count) == ("note", 1)
    assert finding.examples == ("basic/Image/aligned/test_9999_aligned.jpg",)


def test_absent_images_that_the_protocol_leaves_out(trees, tmp_path):
    copy = shutil.copytree(trees / "ferplus", tmp_path / "ferplus")
    name = str(read_ferplus(copy, splits=["test"]).dropped.names[0])
    (copy / name).unlink()
    report = check_manifest(read_ferplus(copy), read_images=False)
    (finding,) = [finding for finding in report.findings if "missing" in finding.kind]
    assert (finding.severity, finding.count, finding.examples) == ("warning", 1, (name,))
    assert finding.text == "test: 1 image absent of those that the protocol leaves out"


def test_unreadable_images_that_the_protocol_leaves_out(trees, tmp_path):
    copy = shutil.copytree(trees / "ferplus", tmp_path / "ferplus")
    name = str(read_ferplus(copy, splits=["test"]).dropped.names[0])
    (copy / name).write_bytes(b"no picture")
    report = check_manifest(read_ferplus(copy))
    (finding,) = [finding for finding in report.findings if "unreadable" in finding.kind]
    assert (finding.kind, finding.severity, finding.count) == ("unreadable dropped", "warning", 1)
    assert finding.examples[0].startswith(f"{name}: is not an image")
    assert report.images_read == sum(split.listed for split in report.splits) == 60


def test_misses_are_no_second_fault_of_the_counts():
    labels = np.zeros(3_136, dtype=np.int64)
    manifest = Manifest(
        dataset="FERPlus",
        protocol="majority",
        root=None,
        names=np.array([str(k) for k in range(len(labels))]),
        labels=labels,
        targets=one_hot(labels, 8),
        splits=np.full(len(labels), "test"),
        pixels=np.zeros((len(labels), 1, 1), np.uint8),
        dropped=Dropped.of([(f"d{k}", "test", "no majority") for k in range(436)]),
        misses=Dropped.of([("lost", "test", "cannot be read")]),
    )
    report = check_manifest(manifest, expected=["test"], read_images=False)
    assert findings(report) == {("warning", "miss")}
    assert (report.splits[0].listed, report.splits[0].kept) == (3_573, 3_136)


class TestListedTwice:
    @pytest.fixture
    def rafdb(self, trees, tmp_path):
        """A function that appends a line to a copy's list, and checks it."""
        copy = shutil.copytree(trees / "rafdb", tmp_path / "rafdb")
        table = copy / "basic/EmoLabel/list_patition_label.txt"

        def append(change=lambda line: line):
            lines = table.read_text().splitlines()
            table.write_text("\n".join([*lines, change(lines[-1])]))
            return check_manifest(read_dataset("rafdb", copy))

        return append

    def test_once_as_one_finding(self, rafdb):
        report = rafdb()
        assert sum(split.listed for split in report.splits) == 28
        (finding,) = [finding for finding in report.findings if "count" not in finding.kind]
        assert (finding.kind, finding.severity, finding.count) == ("listed twice", "warning", 1)
        assert finding.examples == ("test_0014: line 29 after line 28",)
        assert finding.splits == ("test",)

    def test_with_another_label(self, rafdb):
        report = rafdb(lambda line: f"{line.split()[0]} {int(line.split()[1]) % 7 + 1}")
        (finding,) = [finding for finding in report.findings if "count" not in finding.kind]
        assert (finding.kind, finding.severity) == ("contradiction", "error")

    @pytest.mark.parametrize(
        ("expression", "expected"), [("7", ("contradiction", "error")), (None, ("listed twice", "warning"))]
    )
    def test_lines_of_affectnet_stay(self, trees, tmp_path, expression, expected):
        copy = shutil.copytree(trees / "affectnet", tmp_path / "affectnet")
        lines = (copy / "validation.csv").read_text().splitlines()
        cells = lines[1].split(",")
        cells[6] = expression or cells[6]
        (copy / "validation.csv").write_text("\n".join([*lines, ",".join(cells)]))
        report = check_manifest(read_dataset("affectnet-8", copy))
        found = [(finding.kind, finding.severity) for finding in report.findings if "count" not in finding.kind]
        assert found == [expected]


class TestOwn:
    def test_one_class(self, folder):
        shutil.rmtree(folder / "train" / "pain")
        report = check_manifest(read_folder(folder))
        assert not report.ok()
        (finding,) = report.findings
        assert (finding.kind, finding.text) == ("one class", "only one class, 'calm': there is nothing to tell it from")

    def test_empty_folders(self, folder):
        (folder / "train" / "hope").mkdir()
        (folder / "valid" / "calm").mkdir(parents=True)
        report = check_manifest(read_folder(folder))
        assert report.ok()
        (finding,) = report.findings
        assert (finding.kind, finding.severity, finding.count) == ("empty folder", "warning", 2)
        assert finding.examples == ("valid/", "train/hope/")

    def test_a_class_that_a_split_lacks(self, folder):
        shutil.copytree(folder / "train" / "calm", folder / "valid" / "calm")
        kinds = {finding.kind: finding for finding in check_manifest(read_folder(folder)).findings}
        assert set(kinds) == {"no images", "duplicate", "leak"}
        assert kinds["no images"].text == "valid: no image of pain"

    def test_faces_of_one_photo_are_no_repeats(self, tmp_path):
        Image.fromarray(noise(0)).save(tmp_path / "1.png")
        rows = ["1.png,calm,train,0,0,9,9", "1.png,pain,train,9,9,19,19", "1.png,pain,train,9,9,19,19"]
        (tmp_path / "faces.csv").write_text("\n".join(["image,label,split,x1,y1,x2,y2", *rows]))
        report = check_manifest(read_csv(tmp_path / "faces.csv"))
        assert report.splits[0].listed == 2
        (finding,) = report.findings
        assert (finding.kind, finding.examples) == ("listed twice", ("1.png: line 4 after line 3",))

    @pytest.mark.parametrize("read_images", [False, True])
    def test_a_photo_in_two_splits_is_a_leak(self, tmp_path, read_images):
        for number in (1, 2):
            Image.fromarray(noise(number)).save(tmp_path / f"{number}.png")
        rows = ["1.png,calm,train,0,0,9,9", "1.png,pain,test,9,9,19,19", "2.png,pain,train,0,0,9,9"]
        rows += ["2.png,calm,train,9,9,19,19", "1.png,calm,test,0,9,9,19"]
        (tmp_path / "faces.csv").write_text("\n".join(["image,label,split,x1,y1,x2,y2", *rows]))
        (finding,) = check_manifest(read_csv(tmp_path / "faces.csv"), read_images=read_images).findings
        assert (finding.kind, finding.severity, finding.count) == ("leak", "warning", 1)
        assert (finding.text, finding.examples) == ("1 image has faces in several splits", ("1.png: test, train",))

    def test_a_table_that_contradicts_itself(self, tmp_path):
        Image.fromarray(noise(0)).save(tmp_path / "1.png")
        Image.fromarray(noise(1)).save(tmp_path / "2.png")
        rows = ["1.png,calm,train", "2.png,pain,train", "1.png,calm,test"]
        (tmp_path / "faces.csv").write_text("\n".join(["image,label,split", *rows]))
        report = check_manifest(read_csv(tmp_path / "faces.csv"))
        (finding,) = report.findings
        assert (finding.kind, finding.severity, finding.splits) == ("contradiction", "error", ("test", "train"))


def test_to_dict(trees):
    report = check_manifest(read_ferplus(trees / "ferplus", splits=["test"]), expected=["test"])
    values = json.loads(json.dumps(report.to_dict()))
    assert values["ok"] is False
    assert values["splits"]["test"] == {
        "listed": 20,
        "official_listed": 3573,
        "kept": 16,
        "official_kept": 3137,
        "classes": dict.fromkeys(values["splits"]["test"]["classes"], 2),
        "official_classes": None,
        "dropped": {"no majority": 2, "not a face": 1, "unknown": 1},
        "misses": {},
    }
    assert values["sizes"] == {"smallest": [48, 48], "largest": [48, 48]}
