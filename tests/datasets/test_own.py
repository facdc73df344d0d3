import numpy as np
import pytest
from PIL import Image

from regionfer.datasets import column_subset, load_faces, missing_images, read_csv, read_folder
from regionfer.errors import DatasetError


def save(path, value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes with ten images each."""
    for index, name in enumerate(("pain", "calm")):
        for number in range(10):
            save(tmp_path / name / f"{number}.png", 10 * number + index)
    return tmp_path


@pytest.fixture
def table(tmp_path):
    """A function that writes a table and returns its path."""

    def write(text, encoding="utf-8"):
        path = tmp_path / "faces.csv"
        path.write_text(text, encoding=encoding, newline="")
        return path

    return write


class TestFolder:
    def test_classes_in_alphabetical_order(self, folder):
        manifest = read_folder(folder)
        assert manifest.classes == ("calm", "pain")
        assert manifest.counts() == {"train": {"calm": 8, "pain": 8}, "valid": {"calm": 2, "pain": 2}}
        assert load_faces(manifest, 10).shape == (20, 10, 10, 3)

    def test_the_share_held_out(self, folder):
        first = read_folder(folder, valid_share=0.3).split("valid").names.tolist()
        assert len(first) == 6
        assert read_folder(folder, valid_share=0.3).split("valid").names.tolist() == first
        assert set(read_folder(folder, valid_share=0).splits) == {"train"}

    def test_expressions_take_the_names_of_the_package(self, tmp_path):
        for name in ("Sad", "happy", "neutral"):
            save(tmp_path / name / "1.png")
        assert read_folder(tmp_path).classes == ("neutral", "happiness", "sadness")

    def test_one_unknown_name_keeps_all_as_written(self, tmp_path):
        for name in ("Sad", "pain"):
            save(tmp_path / name / "1.png")
        assert read_folder(tmp_path).classes == ("Sad", "pain")

    def test_classes_that_are_given(self, folder):
        save(folder / "happy" / "1.png")
        manifest = read_folder(folder, classes=("pain", "calm", "happiness"))
        assert manifest.classes == ("pain", "calm", "happiness")
        assert manifest.classes[manifest.labels[manifest.names == "happy/1.png"][0]] == "happiness"
        with pytest.raises(DatasetError, match=r"pain/0.png: label 'pain' is not one of the classes calm, happiness"):
            read_folder(folder, classes=("calm", "happiness"))

    def test_splits(self, tmp_path):
        for split in ("train", "Val", "test"):
            save(tmp_path / split / "a" / "1.png")
        manifest = read_folder(tmp_path)
        assert sorted(manifest.splits) == ["test", "train", "valid"]
        assert read_folder(tmp_path, splits=["valid"]).names.tolist() == ["Val/a/1.png"]

    def test_a_class_that_is_called_like_a_split(self, tmp_path):
        for name in ("test", "train"):
            save(tmp_path / name / "1.png")
        assert read_folder(tmp_path).classes == ("test", "train")

    def test_what_macos_adds_is_no_class(self, folder):
        save(folder / "__MACOSX" / "1.png")
        save(folder / "calm" / "._1.png")
        (folder / ".hidden").mkdir()
        assert len(read_folder(folder)) == 20

    def test_photos(self, folder):
        assert not read_folder(folder, photos=True).crops

    def test_the_wrong_folder(self, tmp_path):
        save(tmp_path / "1.png")
        with pytest.raises(DatasetError, match=r"expected a folder per class, that is CLASS/\*.jpg.*found: 1.png"):
            read_folder(tmp_path)


class TestTable:
    def test_splits_and_subsets(self, table, tmp_path):
        save(tmp_path / "a" / "1.png")
        path = table(
            "image,label,split,hat,place\na/1.png,happy,train,yes,Rome\nb.png,fear,VAL,0,\nc.png,fear,test,,Oslo\n"
        )
        manifest = read_csv(path)
        assert manifest.classes == ("happiness", "fear")
        assert manifest.splits.tolist() == ["train", "valid", "test"]
        assert missing_images(manifest).tolist() == [False, True, True]
        assert column_subset(manifest, "hat").rows.tolist() == [0]
        places = column_subset(manifest, "place")
        assert (places.rows.tolist(), places.attributes["type"].tolist()) == ([0, 2], ["Rome", "Oslo"])
        with pytest.raises(DatasetError, match=r"no column 'age' to take a subset from; found: hat, place"):
            column_subset(manifest, "age")

    @pytest.mark.parametrize(
        ("text", "encoding"),
        [
            pytest.param("\ufeffimage,label\r\n1.png,a\r\n\r\n2.png,b\r\n", "utf-8", id="byte-order mark"),
            pytest.param("Image;Label\n1.png;a\n2.png;b\n", "utf-8", id="semicolons, capitals"),
            pytest.param("\ufeffimage\tlabel\n1.png\ta\n2.png\tb\n", "utf-16-le", id="UTF-16, tabs"),
            pytest.param(' image , label \n"1.png", a\n2.png,b', "utf-8", id="blanks, no end of line"),
        ],
    )
    def test_as_a_spreadsheet_saves_it(self, table, text, encoding):
        manifest = read_csv(table(text, encoding), valid_share=0)
        assert manifest.names.tolist() == ["1.png", "2.png"]
        assert manifest.classes == ("a", "b")

    @pytest.mark.parametrize("name", ["./a//1.png", r"a\1.png", "a/1.png"])
    def test_paths(self, table, tmp_path, name):
        save(tmp_path / "a" / "1.png")
        manifest = read_csv(table(f"image,label\n{name},x\n"))
        assert manifest.names.tolist() == ["a/1.png"]
        assert not missing_images(manifest).any()

    def test_boxes_make_photos(self, table):
        manifest = read_csv(table("image,label,x1,y1,x2,y2\n1.png,a,1,2,30,40\n2.png,a,,,,\n"))
        assert not manifest.crops
        np.testing.assert_array_equal(manifest.boxes, [[1, 2, 30, 40], [np.nan] * 4])
        assert not manifest.attributes

    def test_columns_in_capitals(self, table):
        manifest = read_csv(table("IMAGE,Label,Split,X1,Y1,X2,Y2,Who\n1.png,a,test,1,2,30,40,me\n2.png,b,test,,,,,\n"))
        assert manifest.splits.tolist() == ["test"] * 2
        assert manifest.boxes[0].tolist() == [1, 2, 30, 40]
        assert set(manifest.attributes) == {"Who"}

    def test_the_faces_of_a_photo_are_held_out_together(self, table):
        labels = ["ba"] * 8 + ["ab"] * 32  # of the faces of each photo
        faces = [
            f"{number}.jpg,{label},{10 * face},0,{10 * face + 9},9\n"
            for number, several in enumerate(labels)
            for face, label in enumerate(several)
        ]
        manifest = read_csv(table("image,label,x1,y1,x2,y2\n" + "".join(faces)), valid_share=0.5)
        assert len(manifest) == 80
        held_out = set(manifest.names[manifest.splits == "valid"].tolist())
        assert sum(labels[int(name.split(".")[0])] == "ba" for name in held_out) == 4
        assert len(held_out) == 4 + 16  # halves of 8 and 32, by the first face
        assert not held_out & set(manifest.names[manifest.splits == "train"].tolist())

    def test_a_folder_with_one_table(self, table, tmp_path):
        table("image,label\n1.png,a\n")
        assert len(read_csv(tmp_path)) == 1
        (tmp_path / "more.csv").write_text("")
        with pytest.raises(DatasetError, match=r"expected a table of images.*found: faces.csv, more.csv"):
            read_csv(tmp_path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            pytest.param("", "expected a table with columns image, label, found an empty file", id="empty"),
            pytest.param("image,label\n", "expected a row an image, found only the header", id="header only"),
            pytest.param("image,emotion\n1.png,a\n", "found image, emotion; missing: label", id="column"),
            pytest.param("image,label\n1.png\n", "line 2: expected 2 values, found 1", id="short row"),
            pytest.param("image,label\n,a\n", "line 2: expected an image and a label", id="no image"),
            pytest.param("image,label,split\n1,a,dev2\n", "line 2: split 'dev2' is not one of train", id="split"),
            pytest.param("image,label,label\n1,a,b\n", "a column name is there twice", id="column twice"),
            pytest.param(
                "image,label,x1,y1,x2,y2\n1.png,a,1,2,3,b\n", "line 2: expected a box of four numbers", id="box"
            ),
            pytest.param(
                "image,label,x1,Y1\n1.png,a,1,2\n", "has the columns x1, y1, x2, y2; missing: x2, y2", id="half a box"
            ),
        ],
    )
    def test_a_table_of_another_form(self, table, text, message):
        with pytest.raises(DatasetError, match=message):
            read_csv(table(text))

    def test_a_label_outside_the_map(self, table):
        path = table("image,label\n1.png,happy\n2.png,bored\n")
        with pytest.raises(DatasetError, match=r"faces.csv, line 3: label 'bored' is not one of the classes happiness"):
            read_csv(path, classes=("happiness", "fear"))

    def test_another_encoding(self, tmp_path):
        (tmp_path / "faces.csv").write_bytes("image,label\nfrüh.png,a\n".encode("latin-1"))
        with pytest.raises(DatasetError, match="expected text in UTF-8"):
            read_csv(tmp_path / "faces.csv")
