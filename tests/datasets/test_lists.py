import re
from dataclasses import replace

import numpy as np
import pytest

from regionfer.datasets import Dropped, Manifest, read_affectnet, read_ferplus, read_rafdb, read_subset
from regionfer.datasets.codes import AFFECTNET, RAFDB, SEVEN
from regionfer.datasets.lists import guess_name
from regionfer.datasets.manifest import one_hot
from regionfer.errors import DatasetError
from regionfer.labels import LABELS


def manifest_of(names, labels, *, dataset="FERPlus", classes=LABELS, split="test"):
    numbers = np.array([classes.index(label) for label in labels], dtype=np.int64)
    return Manifest(
        dataset=dataset,
        protocol="made up",
        root=None,
        names=np.array(names),
        labels=numbers,
        targets=one_hot(numbers, len(classes)),
        splits=np.full(len(names), split),
        classes=tuple(classes),
    )


HASHES = ["a" * 56, "0" + "b" * 55, "c0" * 28]


@pytest.fixture
def ferplus():
    """Eight images, one of each class in their order."""
    return manifest_of([f"FER2013Test/fer003000{k}.png" for k in range(8)], LABELS)


@pytest.fixture
def rafdb():
    names = [f"basic/Image/aligned/test_{k:04d}_aligned.jpg" for k in range(1, 8)]
    return manifest_of(names, RAFDB, dataset="RAF-DB", classes=SEVEN)


@pytest.fixture
def affectnet():
    names = [f"Manually_Annotated_Images/{103 + k}/{name}.JPG" for k, name in enumerate(HASHES)]
    return manifest_of(names, AFFECTNET[1:4], dataset="AffectNet-8", split="valid")


@pytest.fixture
def write(tmp_path):
    """A function that writes a list and returns its path."""

    def save(text, name="mine.txt", encoding="utf-8"):
        path = tmp_path / name
        path.write_text(text, encoding=encoding, newline="")
        return path

    return save


def kinds(subset):
    return [issue.kind for issue in subset.issues]


class TestForms:
    """Every form in which lists are published, and what else they may have."""

    def test_ferplus_occlusion(self, ferplus, write):
        text = "1_fer0030001.png 8 2\n0_fer0030000.png 8 0\n7_fer0030007.png 8 3\n4_fer0030004.png 8 1\n"
        subset = read_subset(write(text, "any_occlusion_list.txt"), ferplus)
        assert subset.name == "occlusion"
        assert subset.rows.tolist() == [1, 0, 7, 4]
        assert subset.attributes["type"].tolist() == ["sides", "upper", "glasses", "lower"]
        assert kinds(subset) == ["count"]
        assert (subset.entries, subset.published) == (4, 605)

    def test_ferplus_pose(self, ferplus, write):
        subset = read_subset(write("3/fer0030003.jpg\n0/fer0030000.jpg\n"), ferplus)
        assert subset.rows.tolist() == [3, 0]
        assert not subset.issues
        assert not subset.attributes

    def test_ferplus_train_and_test(self, ferplus, write):
        subset = read_subset(write("3/fer0030003 6\n5/fer0030005 6\n"), ferplus)
        assert subset.rows.tolist() == [3, 5]
        assert subset.attributes["views"].tolist() == ["6", "6"]
        assert not subset.issues

    def test_rafdb_occlusion_with_its_repeated_line(self, rafdb, write):
        text = "test_0003_aligned 3 4\ntest_0001_aligned 1 2\ntest_0003_aligned 3 4\n"
        subset = read_subset(write(text), rafdb)
        assert subset.rows.tolist() == [2, 0]
        assert subset.attributes["type"].tolist() == ["4", "2"]
        assert [(issue.kind, issue.line) for issue in subset.issues] == [("duplicate", 3)]
        assert subset.issues[0].text == "test_0003_aligned is named in line 1 already"

    def test_rafdb_occlusion_with_a_label_that_contradicts(self, rafdb, write):
        subset = read_subset(write("test_0003_aligned 3 4\ntest_0001_aligned 2 2\n"), rafdb)
        assert [issue.text for issue in subset.issues] == [
            "test_0001_aligned: the list says 2 (fear), RAF-DB says surprise"
        ]

    @pytest.mark.parametrize("suffix", ["_aligned.jpg", ".jpg", "_aligned.png", "_aligned"])
    def test_rafdb_pose(self, rafdb, write, suffix):
        subset = read_subset(write(f"2/test_0002{suffix}\n7/test_0007{suffix}\n"), rafdb)
        assert subset.rows.tolist() == [1, 6]
        assert not subset.issues

    def test_rafdb_pose_of_the_photos(self, write):
        photos = manifest_of(["Image/original/test_0002.jpg"], ["fear"], dataset="RAF-DB", classes=SEVEN)
        assert read_subset(write("2/test_0002_aligned.jpg\n"), photos).rows.tolist() == [0]

    def test_rafdb_does_not_take_train_for_test(self, rafdb, write):
        subset = read_subset(write("2/train_0002_aligned.jpg\n2/test_0002_aligned.jpg"), rafdb)
        assert subset.rows.tolist() == [1]
        assert kinds(subset) == ["unknown"]

    def test_affectnet_occlusion(self, affectnet, write):
        subset = read_subset(write("".join(f"val/{k + 1}/{name}/\n" for k, name in enumerate(HASHES))), affectnet)
        assert subset.rows.tolist() == [0, 1, 2]
        assert not subset.issues

    def test_affectnet_pose_with_its_repeated_paths(self, affectnet, write):
        text = "".join(f"{k + 1}/{name}.jpg\n" for k, name in enumerate(HASHES)) + f"2/{HASHES[1]}.jpg\n"
        subset = read_subset(write(text, "pose_30.txt"), affectnet)
        assert subset.rows.tolist() == [0, 1, 2]
        assert kinds(subset) == ["duplicate", "count"]

    def test_table_of_ones_own(self, ferplus, write):
        text = "image,label,Type,reason\nfer0030001.png,happy,mask,\nx/fer0030002.jpg,fear,,too dark\n"
        subset = read_subset(write(text, "mine.csv"), ferplus)
        assert subset.rows.tolist() == [1, 2]
        assert subset.attributes["type"].tolist() == ["mask", ""]
        assert subset.attributes["reason"].tolist() == ["", "too dark"]
        assert [issue.text for issue in subset.issues] == [
            "x/fer0030002.jpg: the list says fear, FERPlus says surprise"
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "FER2013Test/fer0030003.png",
            "fer0030003",
            "FER0030003.PNG",
            "fer30003.png",
            "fer00030003.png",
            "/data/faces/aligned/fer0030003.jpeg",
            r"D:\faces\3\fer0030003.jpg",
            "./3/fer0030003.jpg",
            "3/fer0030003.jpg\t6",
            "  3/fer0030003   6  ",
            "3/fer0030003.jpg,6",
            "3_fer0030003.png;8;2",
            "sadness/fer0030003.png",
            "Sad/fer0030003.png",
            "fer0030003.png 3",
        ],
    )
    def test_names_are_found(self, ferplus, write, line):
        subset = read_subset(write(line), ferplus)
        assert subset.rows.tolist() == [3]
        assert not subset.issues

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_any_text_file(self, ferplus, write, end, encoding):
        text = end.join(["", "1_fer0030001.png 8 2", "# a comment", "   ", "3_fer0030003.png 8 0", ""])
        subset = read_subset(write(text, encoding=encoding), ferplus)
        assert subset.rows.tolist() == [1, 3]
        assert (subset.entries, subset.issues) == (2, ())

    def test_a_comment_above_a_table(self, ferplus, write):
        subset = read_subset(write("# by hand\n\nimage,type\nfer0030001.png,mask\n# no more\n"), ferplus)
        assert (subset.rows.tolist(), subset.attributes["type"].tolist(), subset.issues) == ([1], ["mask"], ())

    def test_names_with_blanks(self, write):
        manifest = manifest_of(["happy/my photo 1.jpg", "happy/my photo 2.jpg"], ["happiness"] * 2, dataset="mine")
        assert read_subset(write("happy/my photo 2.png\n"), manifest).rows.tolist() == [1]

    def test_names_that_begin_with_a_number(self, write):
        manifest = manifest_of(
            ["1_a.jpg", "a.jpg"], ["happiness", "fear"], dataset="mine", classes=("fear", "happiness")
        )
        subset = read_subset(write("1_a.jpg\n0_a.jpg\n"), manifest)
        assert subset.rows.tolist() == [0, 1]
        assert not subset.issues

    @pytest.mark.parametrize(("line", "row"), [("b/1.jpg", 1), ("x/a/1.png", 0)])
    def test_folders_tell_same_names_apart(self, write, line, row):
        manifest = manifest_of(["a/1.jpg", "b/1.jpg"], ["fear", "fear"], dataset="mine")
        assert read_subset(write(line), manifest).rows.tolist() == [row]


class TestIssues:
    """Nothing that does not fit is dropped without a word."""

    def test_not_in_the_split(self, ferplus, write):
        subset = read_subset(write("3/fer0030003.jpg\n0/fer0000001.jpg\n"), ferplus)
        assert subset.rows.tolist() == [3]
        (issue,) = subset.issues
        assert (issue.kind, issue.line) == ("unknown", 2)
        assert issue.text == "0/fer0000001.jpg is not among the 8 images of FERPlus test"
        assert subset.summary() == "mine: 2 entries, 1 image; 1 x not in the split"

    def test_left_out_by_the_protocol(self, write):
        """The authors' lists are of images with a majority; a list of somebody else need not be."""
        manifest = replace(
            manifest_of(["FER2013Test/fer0030003.png"], ["sadness"]),
            dropped=Dropped.of([("FER2013Test/fer0030004.png", "test", "no majority")]),
            misses=Dropped.of([("FER2013Test/fer0030005.png", "test", "no face found")]),
        )
        text = "3_fer0030003.png 8 2\n0_fer0030004.png 8 2\n0_fer30005.jpg 8 2\n0_fer0030006.png 8 2\n"
        subset = read_subset(write(text), manifest)
        assert subset.rows.tolist() == [0]
        assert [(issue.kind, issue.text.partition("images of FERPlus test")[2]) for issue in subset.issues] == [
            ("unknown", ", which leaves it out: no majority"),
            ("unknown", ", which leaves it out: no face found"),
            ("unknown", ""),
        ]

    def test_a_contradicting_label_is_kept(self, ferplus, write):
        subset = read_subset(write("3/fer0030003.jpg\n1/fer0030000.jpg\n"), ferplus)
        assert subset.rows.tolist() == [3, 0]
        (issue,) = subset.issues
        assert (issue.kind, issue.line) == ("label", 2)
        assert issue.text == "1/fer0030000.jpg: the list says 1 (happiness), FERPlus says neutral"

    def test_a_label_that_is_none(self, ferplus, write):
        subset = read_subset(write("9/fer0030000.jpg\n"), ferplus)
        assert subset.issues[0].text == "9/fer0030000.jpg: the list says 9 (no class), FERPlus says neutral"

    def test_a_repeated_line_with_other_values(self, ferplus, write):
        subset = read_subset(write("1_fer0030001.png 8 2\n1_fer0030001.png 8 0\n"), ferplus)
        assert subset.attributes["type"].tolist() == ["sides"]
        (issue,) = subset.issues
        assert issue.text == "1_fer0030001.png is named in line 1 already, with other values, which are kept"

    @pytest.mark.parametrize(
        ("line", "text"),
        [
            pytest.param("3/fer0030002.jpg is blurred", "expected a name and at most two numbers", id="words"),
            pytest.param("3/fer0030002.jpg 1 2 3", "expected a name and at most two numbers", id="too many"),
            pytest.param("7", "expected a name, found the number 7", id="number"),
        ],
    )
    def test_unreadable(self, ferplus, write, line, text):
        subset = read_subset(write(f"3/fer0030003.jpg\n{line}\n"), ferplus)
        assert subset.rows.tolist() == [3]
        assert (subset.entries, [issue.kind for issue in subset.issues].count("unreadable")) == (2, 1)
        assert subset.issues[0].text.startswith(text)
        assert subset.issues[0].line == 2

    @pytest.mark.parametrize("first", [True, False])
    def test_a_name_with_a_comma_that_is_not_in_the_split(self, ferplus, write, first):
        lines = ["gone, z.PNG", "3/fer0030003.jpg"]
        subset = read_subset(write("\n".join(lines if first else lines[::-1])), ferplus)
        assert subset.rows.tolist() == [3]
        assert [(issue.kind, issue.line) for issue in subset.issues] == [("unreadable", 1 if first else 2)]

    def test_ambiguous(self, write):
        manifest = manifest_of(["a/1.jpg", "b/1.jpg", "2.jpg"], ["fear"] * 3, dataset="mine")
        subset = read_subset(write("1.jpg\n2.jpg\n"), manifest)
        assert subset.rows.tolist() == [2]
        assert subset.issues[0].text == "1.jpg fits 2 images, such as a/1.jpg and b/1.jpg; write its whole name"

    def test_a_whole_name_is_that_image_alone(self, write):
        names = ["happy/a.jpg", "happy/a.png", "photos/1.jpg", "old/photos/1.jpg"]
        manifest = manifest_of(names, ["fear"] * 4, dataset="mine")
        subset = read_subset(write("happy/a.png\nphotos\\1.jpg\n./happy/a.jpg\n"), manifest)
        assert subset.rows.tolist() == [1, 2, 0]
        assert not [issue for issue in subset.issues if issue.kind == "ambiguous"]

    def test_faces_of_one_image(self, write):
        photos = manifest_of(["a.jpg", "b.jpg", "a.jpg"], ["fear", "fear", "anger"], dataset="mine", classes=LABELS)
        table = "image,face,type\na.jpg,1,upper\nb.jpg,0,lower\nb.jpg,1,lower\na.jpg,,upper\na.jpg,2,upper\nb.jpg,x,\n"
        subset = read_subset(write(table, "mine.csv"), photos)
        assert subset.rows.tolist() == [2, 1]
        assert set(subset.attributes) == {"type"}
        assert [(issue.kind, issue.line, issue.text) for issue in subset.issues] == [
            ("unknown", 4, "b.jpg, face 1: mine test has only face 0 of this image"),
            ("ambiguous", 5, "a.jpg has 2 faces here; write which in a column 'face': 0, 1"),
            ("unknown", 6, "a.jpg, face 2: mine test has only faces 0, 1 of this image"),
            ("unreadable", 7, "column face: expected the number of a face in the image, from 0, found 'x'"),
        ]

    def test_faces_of_one_image_in_several_splits(self, write):
        whole = manifest_of(["p.png"] * 3, ["fear", "anger", "fear"], dataset="mine")
        whole = replace(whole, splits=np.array(["train", "test", "test"]))
        assert whole.split("test").face_numbers.tolist() == [1, 2]
        subset = read_subset(write("image,face\np.png,2\np.png,0\n", "mine.csv"), whole.split("test"))
        assert subset.rows.tolist() == [1]
        assert [issue.text for issue in subset.issues] == ["p.png, face 0: mine test has only faces 1, 2 of this image"]

    @pytest.mark.parametrize(
        ("numbers", "rows", "kinds"),
        [
            ((1, 2), [0, 1], []),  # 2 is there only if they are counted over all splits
            ((0, 1, 2), [0, 1], [("unknown", "warning", "face")]),
            ((0, 1), None, []),  # 0 is there only if they are counted in test: face 1 would be another one
            ((0,), None, []),
            ((1,), [0], [("ambiguous", "note", "counting")]),  # may be either
        ],
        ids=str,
    )
    def test_faces_counted_in_a_split_are_not_taken_for_others(self, write, numbers, rows, kinds):
        """Faces 0 to 2 of a photo, of which 1 and 2 are in test, and a photo that is in test alone."""
        whole = manifest_of(["p.png"] * 3 + ["q.png"], ["fear", "anger", "fear", "fear"], dataset="mine")
        test = replace(whole, splits=np.array(["train", "test", "test", "test"])).split("test")
        path = write("\n".join(["image,face", *(f"p.png,{number}" for number in numbers)]), "mine.csv")
        if rows is None:
            with pytest.raises(DatasetError, match=r"seems to count .* in this split alone; .* numbers 1, 2, counted"):
                read_subset(path, test)
            path.write_text(path.read_text() + "\nq.png,0\n")
            rows, kinds = [2], [("ambiguous", "warning", "counting")] * len(numbers)
        subset = read_subset(path, test)
        assert subset.rows.tolist() == rows
        assert [(issue.kind, issue.severity, issue.cause) for issue in subset.issues] == kinds

    def test_a_face_that_was_lost_does_not_change_how_a_list_counts(self, write):
        """Of p.png face 0 was not found when it was prepared; face 0 of q.png is in another split."""
        whole = manifest_of(["p.png", "p.png", "q.png", "q.png", "q.png"], ["fear"] * 5, dataset="mine")
        whole = replace(whole, splits=np.array(["test", "test", "train", "test", "test"]))
        test = whole.select(np.array([1, 2, 3, 4])).split("test")
        test = replace(test, misses=Dropped.of([("p.png", "test", "no face")]))
        subset = read_subset(write("image,face\np.png,0\nq.png,1\n", "mine.csv"), test)
        assert subset.rows.tolist() == [1]
        assert (subset.issues[0].kind, subset.issues[0].cause) == ("unknown", "face")

    def test_another_coding_is_found(self, rafdb, write):
        """The pose lists of RAF-DB may number from 0 what the corpus numbers from 1."""
        lines = [f"{k}/test_{k + 1:04d}_aligned.jpg" for k in range(7)]
        subset = read_subset(write("\n".join(lines)), rafdb)
        assert len(subset) == 7
        assert kinds(subset) == ["coding"]
        assert "RAF-DB less one (from 0): so read, 7 of 7 lines agree" in subset.issues[0].text

    def test_the_coding_of_fer2013(self, ferplus, write):
        """Six of the eight images, with numbers of FERPlus' predecessor."""
        numbers = {0: 6, 1: 3, 2: 5, 3: 4, 4: 0, 6: 2}
        subset = read_subset(
            write("".join(f"{number}_fer003000{k}.png 8 2\n" for k, number in numbers.items())), ferplus
        )
        assert kinds(subset) == ["coding"]
        assert "FER2013 (from 0): so read, 6 of 6 lines agree" in subset.issues[0].text

    def test_few_lines_do_not_change_the_coding(self, rafdb, write):
        subset = read_subset(write("0/test_0001_aligned.jpg\n1/test_0002_aligned.jpg\n"), rafdb)
        assert kinds(subset) == ["label", "label"]

    def test_counts_of_another_split_are_not_compared(self, write):
        valid = manifest_of(["fer0030001.png"], ["fear"], split="valid")
        assert read_subset(write("6/fer0030001.jpg", "occlusion.txt"), valid).published is None

    @pytest.mark.parametrize("entries", [605, 604, 606])
    def test_the_published_count(self, write, entries):
        manifest = manifest_of([f"fer{k:07d}.png" for k in range(700)], ["neutral"] * 700)
        subset = read_subset(
            write("".join(f"0_fer{k:07d}.png 8 1\n" for k in range(entries))), manifest, name="Occluded"
        )
        assert (subset.name, len(subset)) == ("Occluded", entries)
        assert kinds(subset) == ([] if entries == 605 else ["count"])

    def test_the_published_count_with_lines_of_other_images(self, write):
        manifest = manifest_of([f"fer{k:07d}.png" for k in range(604)], ["neutral"] * 604)
        subset = read_subset(write("".join(f"0_fer{k:07d}.png 8 1\n" for k in range(605)), "occlusion.txt"), manifest)
        assert kinds(subset) == ["unknown", "count"]
        assert subset.issues[1].severity == "warning"
        assert "found 605 entries, of which 604 images are in FERPlus test" in subset.issues[1].text

    def test_the_published_count_without_repeated_lines(self, write):
        manifest = manifest_of(
            [f"test_{k:04d}.jpg" for k in range(734)], ["surprise"] * 734, dataset="RAF-DB", classes=SEVEN
        )
        lines = [f"test_{k:04d}_aligned 1 4\n" for k in range(734)]
        whole = read_subset(write("".join([*lines, lines[7]]), "occlusion.txt"), manifest)
        assert kinds(whole) == ["duplicate"]
        (issue,) = read_subset(write("".join(lines), "occlusion.txt"), manifest).issues
        assert (issue.kind, issue.severity, issue.count) == ("count", "note", 1)

    def test_to_dict(self, ferplus, write):
        values = read_subset(write("1/fer0030000.jpg\n"), ferplus, name="pose45").to_dict()
        assert (values["name"], values["entries"], values["images"], values["published"]) == ("pose45", 1, 1, 633)
        assert [issue["kind"] for issue in values["issues"]] == ["label", "count"]


class TestErrors:
    def test_a_list_of_another_dataset(self, ferplus, write):
        path = write("2/test_0001_aligned.jpg\n3/test_0002_aligned.jpg\n")
        message = (
            f"{path}: none of its 2 entries is in FERPlus test; it has names such as 2/test_0001_aligned.jpg, "
            "expected names such as FER2013Test/fer0030000.png; give the list of this dataset and split"
        )
        with pytest.raises(DatasetError, match=f"^{re.escape(message)}$"):
            read_subset(path, ferplus)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("image,face\na.jpg,7\n", "line 2: a.jpg, face 7: mine test has only faces 0, 1 of this image"),
            (
                "image,face\ngone.jpg,0\na.jpg,\n",
                "line 3: a.jpg has 2 faces here; write which in a column 'face': 0, 1",
            ),
        ],
    )
    def test_known_images_of_which_no_face_is_found(self, write, text, message):
        photos = manifest_of(["a.jpg", "a.jpg", "b.jpg"], ["fear"] * 3, dataset="mine")
        path = write(text, "mine.csv")
        whole = f"{path}: none of its {text.count('jpg')} entries can be used; {message}"
        with pytest.raises(DatasetError, match=f"^{re.escape(whole)}$"):
            read_subset(path, photos)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param("", "expected a list with an image a line, found an empty file", id="empty"),
            pytest.param("\n \n# nothing\n", "found an empty file", id="blank"),
            pytest.param(
                "3\n4\n", "line 1: expected a name, found the number 3 .is this the file of labels", id="labels"
            ),
            pytest.param("image,label\n", "found an empty file", id="header only"),
            pytest.param("image,label\n1.png\n", "line 2: expected 2 values, found 1", id="short row"),
            *(
                pytest.param(
                    f"image,face,{column}\n1.png,0,x\n",
                    f"a table about all of them .column '{column}'.; 'regionfer annotate lists' makes lists of it",
                    id=column,
                )
                for column in ("pose_bin", "annotators", "majority")
            ),
        ],
    )
    def test_no_list(self, ferplus, write, text, message):
        with pytest.raises(DatasetError, match=message):
            read_subset(write(text), ferplus)

    def test_no_file(self, ferplus, tmp_path):
        with pytest.raises(DatasetError, match=r"nowhere.txt: cannot be read: No such file"):
            read_subset(tmp_path / "nowhere.txt", ferplus)
        with pytest.raises(DatasetError, match="cannot be read: Is a directory"):
            read_subset(tmp_path, ferplus)

    def test_not_text(self, ferplus, tmp_path):
        (tmp_path / "list.txt").write_bytes(b"\xff\xd8\xff\xe0 not text")
        with pytest.raises(DatasetError, match="expected text in UTF-8"):
            read_subset(tmp_path / "list.txt", ferplus)


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("jianfei_occlusion_list.txt", None, "occlusion"),
        ("pose_30_ferplus_list.txt", None, "pose30"),
        ("pose_45_affectnet_list.txt", None, "pose45"),
        ("val_raf_db_list.txt", None, "pose30"),
        ("val_raf_db_list_45.txt", None, "pose45"),
        ("mine.txt", "pose>45", "pose45"),
        ("mine.txt", "hats", "hats"),
        ("mine.txt", None, "mine"),
    ],
)
def test_guess_name(tmp_path, file, name, expected):
    assert guess_name(tmp_path / file, name) == expected


class TestTrees:
    """The authors' forms on whole trees."""

    def test_ferplus(self, trees):
        manifest = read_ferplus(trees / "ferplus").split("test")
        for name, images in {"jianfei_occlusion_list": 8, "pose_30_ferplus_list": 6, "pose_45_ferplus_list": 4}.items():
            subset = read_subset(trees / "lists" / "FERplus_dir" / f"{name}.txt", manifest)
            assert (len(subset), kinds(subset)) == (images, ["count"])
        views = read_subset(trees / "lists" / "FERplus_dir" / "dlib_ferplus_val_center_crop_range_list.txt", manifest)
        assert (len(views), kinds(views)) == (16, ["count"])

    @pytest.mark.parametrize("photos", [False, True], ids=["aligned", "photos"])
    def test_rafdb(self, trees, photos):
        manifest = read_rafdb(trees / "rafdb", photos=photos).split("test")
        subset = read_subset(trees / "lists" / "RAF_DB_dir" / "rafdb_occlusion_list.txt", manifest)
        assert (len(subset), kinds(subset)) == (7, ["duplicate", "count"])
        pose = read_subset(trees / "lists" / "RAF_DB_dir" / "val_raf_db_list.txt", manifest)
        assert (len(pose), kinds(pose)) == (5, ["coding", "count"])

    def test_affectnet(self, trees):
        manifest = read_affectnet(trees / "affectnet").split("valid")
        subset = read_subset(trees / "lists" / "AffectNet_dir" / "occlusion_affectnet_list.txt", manifest)
        assert (len(subset), kinds(subset)) == (8, ["count"])
        pose = read_subset(trees / "lists" / "AffectNet_dir" / "pose_30_affectnet_list.txt", manifest)
        assert (len(pose), kinds(pose)) == (6, ["duplicate", "duplicate", "count"])


def test_a_table_without_the_column_image(trees, tmp_path):
    path = tmp_path / "hats.csv"
    path.write_text("name,type\nfer0000042.png,hat\n")
    with pytest.raises(
        DatasetError, match=r"hats.csv: .*a header that has a column 'image'; found the columns name, type"
    ):
        read_subset(path, read_ferplus(trees / "ferplus").split("test"))


def test_types_of_occlusion_that_are_not_known(trees, tmp_path):
    manifest = read_ferplus(trees / "ferplus").split("test")
    names = [name.rpartition("/")[2] for name in manifest.names[:2]]
    (tmp_path / "some.txt").write_text("".join(f"{manifest.labels[k]}_{names[k]} 8 {3 + k}\n" for k in range(2)))
    (issue,) = read_subset(tmp_path / "some.txt", manifest).issues
    assert (issue.kind, issue.text) == ("code", "1 line has the type of occlusion 4, which is none of 0 to 3")


def test_lines_beyond_the_published_are_told_of_once(tmp_path):
    names = [f"fer{k:07d}" for k in range(605)]
    (tmp_path / "occlusion.txt").write_text("".join(f"0_{name}.png 8 2\n" for name in [*names, names[0]]))
    subset = read_subset(tmp_path / "occlusion.txt", manifest_of([f"{name}.png" for name in names], ["neutral"] * 605))
    assert kinds(subset) == ["duplicate"]
