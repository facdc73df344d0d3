import shutil

import numpy as np
import pytest

from regionfer.datasets import load_faces, read_ferplus
from regionfer.datasets.ferplus import divided, majority
from regionfer.errors import DatasetError
from regionfer.labels import LABELS

GOOD = 'fer0000000.png,"(0, 0, 48, 48)",8,0,0,0,0,0,0,0,2,0'


@pytest.mark.parametrize(
    ("votes", "kept", "label"),
    [
        pytest.param([8, 2, 0, 0, 0, 0, 0, 0, 0, 0], True, 0, id="clear"),
        pytest.param([0, 5, 1, 1, 1, 1, 1, 0, 0, 0], True, 1, id="stray votes of one are dropped first"),
        pytest.param([5, 5, 0, 0, 0, 0, 0, 0, 0, 0], False, 0, id="exactly half"),
        pytest.param([0, 0, 0, 0, 0, 0, 0, 6, 4, 0], True, 7, id="unknown counts in the sum"),
        pytest.param([0, 0, 0, 0, 4, 0, 0, 0, 3, 3], False, 4, id="unknown and not a face take the majority"),
        pytest.param([1, 1, 1, 1, 1, 1, 1, 1, 1, 1], False, 0, id="nothing left"),
        pytest.param([0, 2, 0, 0, 0, 0, 0, 0, 0, 8], False, 9, id="not a face"),
    ],
)
def test_majority(votes, kept, label):
    keeps, labels, shares = majority(np.array([votes]))
    assert (bool(keeps[0]), int(labels[0])) == (kept, label)
    if kept:
        assert shares[0].sum() == pytest.approx(1)
        assert shares[0].argmax() == label


def test_divided_votes_are_of_expressions_and_of_more_than_one():
    votes = [[5, 5, 0, 0, 0, 0, 0, 0, 0, 0], [8, 2, 0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 3, 3, 0, 0, 0, 0, 4, 0]]
    nothing = [[0, 0, 0, 0, 0, 0, 0, 0, 9, 1], [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0, 4, 6, 0]]
    assert divided(np.array(votes + nothing)).tolist() == [True, False, True, False, False, False]


class TestReal:
    def test_protocol_gives_the_published_counts(self, ferplus_root):
        manifest = read_ferplus(ferplus_root)
        assert {split: sum(classes.values()) for split, classes in manifest.counts().items()} == {
            "train": 25_045,
            "valid": 3_191,
        }
        assert sum(manifest.dropped.counts("train").values()) == 28_558 - 25_045
        assert sum(manifest.dropped.counts("valid").values()) == 3_579 - 3_191

    def test_divided_votes_come_as_splits_of_their_own(self, ferplus_root):
        manifest = read_ferplus(ferplus_root, with_divided=True)
        counts = {split: sum(classes.values()) for split, classes in manifest.counts().items()}
        assert counts == {"train": 25_045, "train-divided": 3_366, "valid": 3_191, "valid-divided": 367}
        apart = manifest.split("train-divided")
        np.testing.assert_allclose(apart.targets.sum(1), 1, rtol=1e-6)
        assert apart.targets.max() <= 0.75  # over half of the eight's votes, but not of all ten's

    def test_faces_are_read(self, ferplus_root, ferplus_images):
        manifest = read_ferplus(ferplus_root, splits=["valid"]).select(slice(0, 3))
        ferplus_images(manifest.names.tolist())
        faces = load_faces(manifest, 48)
        assert faces.shape == (3, 48, 48, 3)
        assert faces.std() > 20


class TestFolders:
    def test_everything(self, trees):
        manifest = read_ferplus(trees / "ferplus")
        assert manifest.counts() == {split: dict.fromkeys(LABELS, 2) for split in ("test", "train", "valid")}
        assert manifest.dropped.counts("test") == {"no majority": 2, "not a face": 1, "unknown": 1}
        assert manifest.names[0] == "FER2013Train/fer0000000.png"
        np.testing.assert_allclose(manifest.targets.sum(1), 1, rtol=1e-6)
        assert (manifest.targets.argmax(1) == manifest.labels).all()

    def test_the_test_split_alone(self, trees, tmp_path):
        shutil.copytree(trees / "ferplus" / "FER2013Test", tmp_path / "FER2013Test")
        manifest = read_ferplus(tmp_path)
        assert set(manifest.splits) == {"test"}
        assert load_faces(manifest.split("test"), 48).shape == (16, 48, 48, 3)

    def test_a_split_that_is_not_there(self, trees, tmp_path):
        shutil.copytree(trees / "ferplus" / "FER2013Train", tmp_path / "FER2013Train")
        with pytest.raises(DatasetError, match=r"FERPlus has no split 'test' here; found: train"):
            read_ferplus(tmp_path).split("test")
        with pytest.raises(DatasetError, match=r"FERPlus has no split test here; found: train"):
            read_ferplus(tmp_path, splits=["test"])

    @pytest.mark.parametrize("lead", ["", "\ufeff"], ids=["plain", "byte-order mark"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF"])
    def test_as_a_spreadsheet_saves_it(self, tmp_path, lead, end):
        (tmp_path / "FER2013Valid").mkdir()
        text = lead + GOOD + end + end + GOOD.replace("000.png", "001.png") + end
        (tmp_path / "FER2013Valid" / "label.csv").write_text(text, encoding="utf-8", newline="")
        assert read_ferplus(tmp_path).names.tolist() == ["FER2013Valid/fer0000000.png", "FER2013Valid/fer0000001.png"]

    def test_rows_without_a_name_and_names_with_blanks(self, tmp_path):
        (tmp_path / "FER2013Test").mkdir()
        nameless = GOOD.replace("fer0000000.png", "")
        (tmp_path / "FER2013Test" / "label.csv").write_text(f"{nameless}\n{GOOD.replace(',', ' ,', 1)}\n{nameless}\n")
        assert read_ferplus(tmp_path).names.tolist() == ["FER2013Test/fer0000000.png"]

    def test_files_of_another_suffix(self, tmp_path):
        folder = tmp_path / "FER2013Test"
        folder.mkdir()
        rows = [GOOD.replace("000.png", f"00{number}.png") for number in range(4)]
        (folder / "label.csv").write_text("\n".join(rows))
        for name in ("fer0000000.png", "fer0000000.jpg", "fer0000001.PNG", "fer0000002.jpg", "fer0000003.txt"):
            (folder / name).touch()
        found = [name.removeprefix("FER2013Test/fer000000") for name in read_ferplus(tmp_path).names]
        assert found == ["0.png", "1.PNG", "2.jpg", "3.png"]

    @pytest.mark.parametrize(
        "header",
        [
            "name,box,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF",
            "Image name, Box, Neutral, Happy, Surprise, Sad, Angry, Disgust, Fear, Contempt, Unknown, not a face",
        ],
        ids=["fer2013new", "other names"],
    )
    def test_a_header_is_left_aside(self, tmp_path, header):
        (tmp_path / "FER2013Test").mkdir()
        (tmp_path / "FER2013Test" / "label.csv").write_text(f"{header}\n{GOOD}\n")
        assert read_ferplus(tmp_path).names.tolist() == ["FER2013Test/fer0000000.png"]

    def test_a_header_in_another_order_is_refused(self, tmp_path):
        (tmp_path / "FER2013Test").mkdir()
        header = "name,box,happiness,neutral,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
        (tmp_path / "FER2013Test" / "label.csv").write_text(f"{header}\n{GOOD}\n")
        with pytest.raises(
            DatasetError, match=r"label\.csv, line 1: expected votes for neutral.*'happiness' in the place of 'neutral'"
        ):
            read_ferplus(tmp_path)

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            pytest.param("fer1.png,8,0", "line 2: expected name, box and 10 votes", id="short"),
            pytest.param(GOOD.replace(",8,", ",many,"), "line 2: expected 10 whole numbers of votes", id="text"),
        ],
    )
    def test_a_row_of_another_form(self, tmp_path, row, message):
        (tmp_path / "FER2013Train").mkdir()
        (tmp_path / "FER2013Train" / "label.csv").write_text(f"{GOOD}\n{row}\n")
        with pytest.raises(DatasetError, match=message):
            read_ferplus(tmp_path)


class TestTables:
    def test_everything(self, trees):
        manifest = read_ferplus(trees / "ferplus-tables")
        assert manifest.counts() == {split: dict.fromkeys(LABELS, 1) for split in ("test", "train", "valid")}
        assert manifest.pixels.shape == (24, 48, 48)
        assert load_faces(manifest, 24).shape == (24, 24, 24, 3)

    def test_one_split(self, trees):
        manifest = read_ferplus(trees / "ferplus-tables", splits=["test"])
        assert len(manifest) == 8
        assert len(manifest.pixels) == 8

    @pytest.fixture
    def without_test(self, trees, tmp_path):
        """A copy whose tables have no rows of the test split."""
        copy = shutil.copytree(trees / "ferplus-tables", tmp_path / "copy")
        for name in ("fer2013.csv", "fer2013new.csv"):
            lines = (copy / name).read_text().splitlines(keepends=True)
            (copy / name).write_text("".join(line for line in lines if "PrivateTest" not in line))
        return copy

    @pytest.mark.parametrize("apart", [False, True])
    @pytest.mark.parametrize("split", ["test", "nonsense", "train-divided"])
    def test_a_split_that_is_not_there(self, without_test, split, apart):
        message = f"FERPlus has no split {split} here; found: train, valid$"
        if apart and split == "train-divided":
            message = "FERPlus has no image in split train-divided here: none has divided votes"
        with pytest.raises(DatasetError, match=message):
            read_ferplus(without_test, splits=["train", split], with_divided=apart)

    @pytest.mark.parametrize("layout", ["ferplus", "ferplus-tables"])
    def test_a_split_of_which_nothing_is_kept(self, trees, tmp_path, layout):
        copy = shutil.copytree(trees / layout, tmp_path / "copy")
        votes = "5,5,0,0,0,0,0,0,0,0"
        if layout == "ferplus":
            (copy / "FER2013Test" / "label.csv").write_text(f'1.png,"(0, 0, 48, 48)",{votes}\n')
        else:
            lines = (copy / "fer2013new.csv").read_text().splitlines()
            cut = [",".join(line.split(",")[:2]) + f",{votes}" if "PrivateTest" in line else line for line in lines]
            (copy / "fer2013new.csv").write_text("\n".join(cut))
        assert set(read_ferplus(copy, splits=["test"], with_divided=True).splits) == {"test-divided"}
        with pytest.raises(DatasetError, match="no image in split test here: none is kept by the majority protocol"):
            read_ferplus(copy, splits=["test"])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            pytest.param(lambda text: text.replace(",Training", ",Trial", 1), "fer2013", id="usage"),
            pytest.param(lambda text: text.replace(" ", " 30 ", 1), r"line 2: expected 2304 pixels", id="pixel count"),
            pytest.param(
                lambda text: text.replace("0,", "0,x ", 1), "pixels must be whole numbers in 0..255", id="text"
            ),
            pytest.param(lambda text: text + "0,1 2,Training\n", "different numbers of lines", id="length"),
        ],
    )
    def test_a_table_of_another_form(self, trees, tmp_path, change, message):
        shutil.copytree(trees / "ferplus-tables", tmp_path / "copy")
        path = tmp_path / "copy" / "fer2013.csv"
        path.write_text(change(path.read_text()))
        with pytest.raises(DatasetError, match=message):
            read_ferplus(tmp_path / "copy")


@pytest.mark.parametrize(
    ("make", "found"),
    [
        pytest.param(lambda folder: folder / "nowhere", "no such folder", id="missing"),
        pytest.param(lambda folder: folder, "an empty folder", id="empty"),
        pytest.param(lambda folder: (folder / "photos").mkdir() or folder, "photos/", id="another folder"),
    ],
)
def test_the_wrong_folder(tmp_path, make, found):
    with pytest.raises(DatasetError, match=rf"expected FERPlus, that is folders FER2013Train.*; found: {found}"):
        read_ferplus(make(tmp_path))


class TestRepeatedLines:
    LINES = ('a.png,"(0, 0, 48, 48)",9,1,0,0,0,0,0,0,0,0\n', 'b.png,"(0, 0, 48, 48)",0,9,1,0,0,0,0,0,0,0\n')

    def read(self, tmp_path, more):
        (tmp_path / "FER2013Test").mkdir()
        (tmp_path / "FER2013Test" / "label.csv").write_text("".join(self.LINES) + more)
        return read_ferplus(tmp_path)

    def test_the_same_votes_again(self, tmp_path):
        manifest = self.read(tmp_path, self.LINES[0])
        assert manifest.names.tolist() == ["FER2013Test/a.png", "FER2013Test/b.png"]
        (finding,) = manifest.findings
        assert (finding.kind, finding.severity, finding.count) == ("listed twice", "warning", 1)
        assert finding.examples == ("a.png: line 3 after line 1",)
        assert finding.splits == ("test",)
        assert finding.text.endswith("label.csv: 1 line names an image again and says the same; the first line counts")

    def test_other_votes(self, tmp_path):
        manifest = self.read(tmp_path, self.LINES[1].replace("b.png", "a.png") + self.LINES[1])
        assert manifest.labels.tolist() == [0, 1]
        assert [(finding.kind, finding.severity) for finding in manifest.findings] == [
            ("contradiction", "error"),
            ("listed twice", "warning"),
        ]

    def test_in_the_original_tables(self, trees, tmp_path):
        copy = shutil.copytree(trees / "ferplus-tables", tmp_path / "copy")
        whole = read_ferplus(copy)
        for name in ("fer2013.csv", "fer2013new.csv"):
            lines = (copy / name).read_text().splitlines()
            (copy / name).write_text("\n".join([*lines, lines[1]]))
        manifest = read_ferplus(copy)
        assert manifest.names.tolist() == whole.names.tolist()
        np.testing.assert_array_equal(manifest.pixels, whole.pixels)
        assert [(finding.kind, finding.splits) for finding in manifest.findings] == [("listed twice", ("train",))]
