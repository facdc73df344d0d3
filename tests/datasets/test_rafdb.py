import shutil

import numpy as np
import pytest

from regionfer.datasets import load_faces, missing_images, read_rafdb
from regionfer.datasets.codes import SEVEN
from regionfer.datasets.rafdb import AGES, GENDERS, RACES
from regionfer.errors import DatasetError


@pytest.fixture
def copy(trees, tmp_path):
    """A tree that a test may change."""
    return shutil.copytree(trees / "rafdb", tmp_path / "copy") / "basic"


def test_aligned(trees):
    manifest = read_rafdb(trees / "rafdb")
    assert manifest.classes == SEVEN
    assert {split: sum(counts.values()) for split, counts in manifest.counts().items()} == {"train": 14, "test": 14}
    assert manifest.names[0] == "basic/Image/aligned/train_00001_aligned.jpg"
    assert manifest.boxes is None
    assert manifest.crops
    assert load_faces(manifest, 40).shape == (28, 40, 40, 3)


def test_labels_are_those_of_the_codes(trees):
    manifest = read_rafdb(trees / "rafdb", splits=["train"])
    expected = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral"]
    assert [SEVEN[label] for label in manifest.labels[:7]] == expected


def test_photos(trees, make_trees):
    manifest = read_rafdb(trees / "rafdb" / "basic", photos=True)
    assert manifest.names[0] == "Image/original/train_00001.jpg"
    assert not manifest.crops
    assert not missing_images(manifest).any()
    sides = manifest.boxes[:, 2:] - manifest.boxes[:, :2]
    expected = make_trees.LANDMARKS * sides[:, None] + manifest.boxes[:, None, :2]
    np.testing.assert_allclose(manifest.landmarks, expected, atol=0.1)


def test_people(trees):
    attributes = read_rafdb(trees / "rafdb").attributes
    assert set(attributes["gender"]) <= set(GENDERS)
    assert set(attributes["race"]) <= set(RACES)
    assert set(attributes["age"]) <= set(AGES)


def test_without_annotations(copy):
    shutil.rmtree(copy / "Annotation")
    manifest = read_rafdb(copy, photos=True)
    assert (manifest.boxes, manifest.landmarks, dict(manifest.attributes)) == (None, None, {})


def test_one_annotation_less(copy):
    (copy / "Annotation" / "manual" / "train_00002_manu_attri.txt").unlink()
    (copy / "Annotation" / "boundingbox" / "train_00003_boundingbox.txt").unlink()
    manifest = read_rafdb(copy, photos=True)
    assert np.isnan(manifest.landmarks).all(axis=(1, 2)).nonzero()[0].tolist() == [1]
    assert manifest.attributes["age"][1] == ""
    assert np.isnan(manifest.boxes).all(axis=1).nonzero()[0].tolist() == [2]


def test_crops_under_the_plain_names_and_the_list_spelt_well(copy):
    for path in (copy / "Image" / "aligned").iterdir():
        path.rename(path.with_name(path.name.replace("_aligned", "")))
    (copy / "EmoLabel" / "list_patition_label.txt").rename(copy / "EmoLabel" / "list_partition_label.txt")
    assert not missing_images(read_rafdb(copy)).any()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param("train_99999.jpg 8", r"line 29: label '8' is not one of 1 surprise, .*, 7 neutral", id="label"),
        pytest.param("train_99999.jpg", r"line 29: expected a line such as 'train_00001.jpg 5'", id="short"),
        pytest.param("photo.jpg 3", r"line 29: expected a line such as", id="name"),
    ],
)
def test_a_line_of_another_form(copy, line, message):
    with (copy / "EmoLabel" / "list_patition_label.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DatasetError, match=message):
        read_rafdb(copy)


def test_an_annotation_of_another_form(copy):
    (copy / "Annotation" / "boundingbox" / "test_0001_boundingbox.txt").write_text("1 2 3")
    with pytest.raises(DatasetError, match=r"test_0001_boundingbox.txt: expected 4 numbers, found '1 2 3'"):
        read_rafdb(copy, photos=True)


def test_no_crops(copy):
    shutil.rmtree(copy / "Image" / "aligned")
    with pytest.raises(DatasetError, match=r"expected RAF-DB basic, that is Image/aligned/ beside EmoLabel"):
        read_rafdb(copy)


def test_the_wrong_folder(trees):
    with pytest.raises(
        DatasetError, match=r"expected RAF-DB basic, that is EmoLabel/list_patition.*found: FER2013Test/"
    ):
        read_rafdb(trees / "ferplus")
