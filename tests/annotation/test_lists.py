"""Challenge lists: the authors' forms to the letter, and read back as subsets."""

import csv
import json

import pytest
from click.testing import CliRunner

from regionfer.annotation.by_hand import HandLabel
from regionfer.annotation.lists import check_hand_labels, write_lists
from regionfer.cli import main
from regionfer.datasets import read_dataset, read_subset
from regionfer.datasets.codes import SEVEN
from regionfer.errors import DatasetError
from regionfer.labels import LABELS


def lines(path):
    return path.read_text().splitlines()


def turned(yaw, pitch=0.0):
    most = max(abs(yaw), abs(pitch))
    return {
        "yaw": yaw,
        "pitch": pitch,
        "roll": 0.0,
        "pose_bin": "0-30" if most <= 30 else "30-45" if most <= 45 else ">45",
    }


@pytest.fixture
def faces(make_row, covered):
    """What is known of four faces, by the stem of their images."""

    def make(*names, labels, split="test"):
        known = (
            turned(0) | covered(0.1),
            turned(-35) | covered(0.9, upper=0.6, lower=0.3),
            turned(10, 50) | covered(0.7, lower=0.5, left=0.4),
            turned(60) | covered(0.6, upper=0.1, left=0.2, right=0.5),
        )
        return [
            make_row(name, label=label, split=split, **each)
            for name, label, each in zip(names, labels, known, strict=True)
        ]

    return make


def test_a_face_whose_covered_place_is_not_known_has_no_type(make_row, make_table, covered, tmp_path):
    """Of weak estimates one is always the largest."""
    rows = [
        make_row("weak.png", label="fear", split="test", **covered(0.9, upper=0.02, lower=0.04, left=0.09)),
        make_row("sure.png", label="fear", split="test", **covered(0.9, upper=0.02, lower=0.04, left=0.11)),
    ]
    write_lists(make_table(*rows, dataset="FERPlus", classes=LABELS), tmp_path)
    assert [line.split(",")[:4] for line in lines(tmp_path / "occlusion_ferplus.csv")[1:]] == [
        ["weak.png", "0", "fear", ""],
        ["sure.png", "0", "fear", "sides"],
    ]


def test_a_face_below_the_models_threshold_keeps_its_place(make_row, make_table, covered, tmp_path):
    """What is covered does not depend on the probability from which a list takes faces."""
    row = make_row("p.png", label="fear", split="test", **covered(0.4, lower=0.48))
    assert row.occluded_where == ""
    table = make_table(row, dataset="FERPlus", classes=LABELS)
    write_lists(table, tmp_path, occluded_above=0.3)
    (listed,) = csv.DictReader(lines(tmp_path / "occlusion_ferplus.csv"))
    assert listed["type"] == "lower"
    assert listed["reason"].endswith("of the face at lower")


class TestAuthorsForms:
    def test_ferplus(self, faces, make_table, tmp_path):
        names = [f"FER2013Test/fer003000{k}.png" for k in range(4)]
        rows = faces(*names, labels=("neutral", "happiness", "sadness", "contempt"))
        write_lists(make_table(*rows, dataset="FERPlus", classes=LABELS), tmp_path)
        assert lines(tmp_path / "occlusion_ferplus_list.txt") == [
            "1_fer0030001.png 8 0",
            "3_fer0030002.png 8 1",
            "7_fer0030003.png 8 2",
        ]
        assert lines(tmp_path / "pose_30_ferplus_list.txt") == [
            "1/fer0030001.jpg",
            "3/fer0030002.jpg",
            "7/fer0030003.jpg",
        ]
        assert lines(tmp_path / "pose_45_ferplus_list.txt") == ["3/fer0030002.jpg", "7/fer0030003.jpg"]

    def test_rafdb(self, faces, make_table, tmp_path):
        names = [f"basic/Image/aligned/test_000{k}_aligned.jpg" for k in range(4)]
        rows = faces(*names, labels=("neutral", "happiness", "sadness", "surprise"))
        write_lists(make_table(*rows, dataset="RAF-DB", classes=SEVEN), tmp_path)
        occluded = ["test_0001_aligned 4 1", "test_0002_aligned 5 2", "test_0003_aligned 1 3"]
        assert lines(tmp_path / "occlusion_raf-db_list.txt") == occluded
        assert lines(tmp_path / "pose_45_raf-db_list.txt") == ["5/test_0002_aligned.jpg", "1/test_0003_aligned.jpg"]

    def test_affectnet(self, faces, make_table, tmp_path):
        names = [f"1/{k:056x}.jpg" for k in range(4)]
        rows = faces(*names, labels=("neutral", "happiness", "sadness", "contempt"))
        write_lists(make_table(*rows, dataset="AffectNet-8", classes=LABELS), tmp_path)
        occluded = [f"val/{code}/{k:056x}/" for k, code in ((1, 1), (2, 2), (3, 7))]
        assert lines(tmp_path / "occlusion_affectnet-8_list.txt") == occluded
        assert lines(tmp_path / "pose_45_affectnet-8_list.txt") == [f"2/{2:056x}.jpg", f"7/{3:056x}.jpg"]


CORPORA = [("ferplus", "ferplus", "test"), ("rafdb", "rafdb", "test"), ("affectnet-8", "affectnet", "valid")]


class TestReadBack:
    @pytest.fixture(params=CORPORA, ids=[name for name, _, _ in CORPORA])
    def known(self, request, trees, make_row, make_table, covered):
        """A split of a corpus, a table of it, and which rows are occluded and turned."""
        reader, folder, split = request.param
        manifest = read_dataset(reader, trees / folder).split(split)
        occluded, beyond_30, beyond_45 = (set(range(0, len(manifest), step)) for step in (3, 2, 4))
        rows = [
            make_row(
                str(name),
                label=manifest.classes[manifest.labels[row]],
                split=split,
                **turned(50 if row in beyond_45 else -40 if row in beyond_30 else 5),
                **covered(0.9 if row in occluded else 0.2, lower=0.5),
            )
            for row, name in enumerate(manifest.names)
        ]
        table = make_table(*rows, dataset=manifest.dataset, classes=manifest.classes)
        return manifest, table, {"occlusion": occluded, "pose30": beyond_30, "pose45": beyond_45}

    def test_both_forms(self, known, tmp_path):
        manifest, table, expected = known
        for written in write_lists(table, tmp_path):
            assert written.faces == len(expected[written.name])
            assert [path.suffix for path in written.files] == [".csv", ".txt"]
            for path in written.files:
                subset = read_subset(path, manifest)
                assert subset.name == written.name
                assert set(subset.rows.tolist()) == expected[written.name]
                assert {issue.kind for issue in subset.issues} <= {"count"}  # not as many as the published
                if written.name == "occlusion" and "type" in subset.attributes:
                    assert set(subset.attributes["type"].tolist()) <= {"lower", "2"}


def test_evaluate_reads_them(trees, tiny_path, make_row, make_table, covered, tmp_path):
    manifest = read_dataset("ferplus", trees / "ferplus").split("test")
    rows = [
        make_row(
            str(name), label=manifest.classes[label], split="test", **turned(6.0 * k), **covered(k / 16, lower=k / 16)
        )
        for k, (name, label) in enumerate(zip(manifest.names, manifest.labels, strict=True))
    ]
    make_table(*rows, dataset="FERPlus", classes=LABELS).write(tmp_path / "t.parquet")
    done = CliRunner().invoke(
        main, ["annotate", "lists", str(tmp_path / "t.parquet"), "--out", str(tmp_path / "lists")]
    )
    assert done.exit_code == 0, done.output
    assert "occlusion: 8 of 16 faces that could be judged; " in done.stdout
    named = {"mine": "occlusion_ferplus.csv", "theirs": "occlusion_ferplus_list.txt", "far": "pose_45_ferplus.csv"}
    subsets = [each for name, file in named.items() for each in ("--subset", f"{name}={tmp_path / 'lists' / file}")]
    common = ["evaluate", "--model", str(tiny_path), "--dataset", "ferplus", "--data", str(trees / "ferplus")]
    done = CliRunner().invoke(main, [*common, *subsets, "--json", str(tmp_path / "figures.json")])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "figures.json").read_text())["subsets"]
    assert {name: figures[name]["n"] for name in named} == {"mine": 8, "theirs": 8, "far": 8}


class TestCsv:
    def test_reasons(self, faces, make_table, tmp_path):
        rows = faces(*(f"{k}.png" for k in range(4)), labels=("calm", "calm", "pain", "pain"))
        write_lists(make_table(*rows, dataset="my ward", classes=("calm", "pain")), tmp_path)
        with (tmp_path / "occlusion_my_ward.csv").open() as file:
            listed = list(csv.DictReader(file))
        assert [(each["image"], each["label"], each["type"]) for each in listed] == [
            ("1.png", "calm", "upper"),
            ("2.png", "pain", "lower"),
            ("3.png", "pain", "sides"),
        ]
        assert listed[0]["reason"] == "estimate: occluded with probability 0.90, 45% of the face at upper"
        with (tmp_path / "pose_30_my_ward.csv").open() as file:
            assert next(csv.DictReader(file))["reason"] == "estimate: yaw -35 pitch +0"
        assert not list(tmp_path.glob("*.txt"))

    def test_faces_of_one_photo_are_told_apart(self, make_row, make_table, tmp_path):
        rows = "p.png,fear,0,0,50,50\np.png,anger,50,0,99,50\nq.png,fear,0,0,50,50\n"
        (tmp_path / "own.csv").write_text("image,label,x1,y1,x2,y2\n" + rows)
        manifest = read_dataset("csv", tmp_path / "own.csv")
        faces = [make_row("p.png", 0, **turned(0)), make_row("p.png", 1, **turned(50)), make_row("q.png", **turned(40))]
        write_lists(make_table(*faces, dataset="own", classes=("anger", "fear")), tmp_path)
        subset = read_subset(tmp_path / "pose_30_own.csv", manifest)
        assert subset.rows.tolist() == [1, 2]
        assert not subset.issues

    def test_occluded_above(self, faces, make_table, tmp_path):
        table = make_table(*faces(*"abcd", labels=LABELS[:4]), classes=LABELS)
        counts = [write_lists(table, tmp_path, occluded_above=limit)[0].faces for limit in (0.0, 0.65, 0.95)]
        assert counts == [4, 2, 0]
        assert not (tmp_path / "occlusion_album.csv").exists()  # it would be that of the run before

    def test_a_folder_a_split(self, faces, make_table, tmp_path):
        rows = [*faces(*"abcd", labels=LABELS[:4]), *faces(*"efgh", labels=LABELS[:4], split="train")]
        table = make_table(*rows, classes=LABELS)
        assert {each.split for each in write_lists(table, tmp_path)} == {"test", "train"}
        assert lines(tmp_path / "train" / "pose_45_album.csv")[1].startswith("g,")
        write_lists(table, tmp_path / "one", split="test")
        assert lines(tmp_path / "one" / "pose_45_album.csv")[1].startswith("c,")


def by_hand(image, **known):
    empty = dict.fromkeys(("agreed", "unusable", "expression", "pose_bin", "occluded", "occlusion", "place"), "")
    return {(image, 0): HandLabel(image=image, face=0, annotators=2, **empty | known)}


class TestByHand:
    @pytest.fixture
    def table(self, faces, make_table):
        names = [f"fer003000{k}.png" for k in range(4)]
        return make_table(*faces(*names, labels=LABELS[:4]), dataset="FERPlus", classes=LABELS)

    def test_goes_before_the_estimate(self, table, tmp_path):
        glasses = by_hand("fer0030000.png", occluded="yes", occlusion="glasses", place="upper", pose_bin=">45")
        clear = by_hand("fer0030001.png", occluded="no", pose_bin="0-30")
        write_lists(table, tmp_path, by_hand=glasses | clear)
        assert lines(tmp_path / "occlusion_ferplus_list.txt")[:2] == ["0_fer0030000.png 8 3", "2_fer0030002.png 8 1"]
        assert lines(tmp_path / "pose_45_ferplus_list.txt")[0] == "0/fer0030000.jpg"
        assert "2 annotators" in lines(tmp_path / "pose_45_ferplus.csv")[1]
        assert lines(tmp_path / "pose_30_ferplus_list.txt") == [
            "0/fer0030000.jpg",
            "2/fer0030002.jpg",
            "3/fer0030003.jpg",
        ]

    def test_without_a_majority_the_estimate_holds(self, table, tmp_path):
        write_lists(table, tmp_path, by_hand=by_hand("fer0030001.png", occluded="", pose_bin=""))
        assert "estimate" in lines(tmp_path / "occlusion_ferplus.csv")[1]

    def test_unusable_faces_are_on_no_list(self, table, tmp_path):
        write_lists(table, tmp_path, by_hand=by_hand("fer0030002.png", unusable="yes"))
        assert not any("fer0030002" in path.read_text() for path in tmp_path.iterdir())

    def test_of_other_faces(self, table):
        with pytest.raises(DatasetError, match=r"labels.csv: 1 of 1 faces are not in this table of FERPlus"):
            check_hand_labels(by_hand("x.png"), table, "labels.csv")


class TestRefusals:
    def test_nothing_known(self, make_row, make_table, tmp_path):
        with pytest.raises(DatasetError, match="of none of 1 faces it is known how it is turned or covered"):
            write_lists(make_table(make_row(pose_bin=None)), tmp_path)

    def test_poses_alone(self, make_row, make_table, tmp_path):
        written = write_lists(make_table(make_row(**turned(50))), tmp_path)
        assert [(each.name, each.judged, each.faces) for each in written] == [
            ("occlusion", 0, 0),
            ("pose30", 1, 1),
            ("pose45", 1, 1),
        ]
        assert not (tmp_path / "occlusion_album.csv").exists()

    def test_no_such_split(self, faces, make_table, tmp_path):
        with pytest.raises(DatasetError, match="no face of split train in this table; found: test"):
            write_lists(make_table(*faces(*"abcd", labels=LABELS[:4])), tmp_path, split="train")

    @pytest.mark.parametrize(
        ("dataset", "classes", "message"),
        [
            ("SFEW 2.0", SEVEN, "SFEW 2.0: there is no authors' form for it"),
            ("FERPlus", (), "for faces without labels"),
        ],
    )
    def test_no_authors_form(self, faces, make_table, tmp_path, dataset, classes, message):
        table = make_table(*faces(*"abcd", labels=LABELS[:4]), dataset=dataset, classes=classes)
        with pytest.raises(DatasetError, match=message):
            write_lists(table, tmp_path, form="authors")
