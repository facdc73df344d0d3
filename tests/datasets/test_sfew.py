import shutil

import pytest

from regionfer.datasets import load_faces, read_sfew
from regionfer.datasets.codes import SEVEN
from regionfer.errors import DatasetError


def test_aligned(trees):
    manifest = read_sfew(trees / "sfew")
    assert manifest.counts() == {split: dict.fromkeys(SEVEN, 2) for split in ("train", "valid")}
    assert manifest.names[0].startswith("Train/Train_Aligned_Faces/Angry/Film")
    assert load_faces(manifest, 32).shape == (28, 32, 32, 3)


def test_labels_are_those_of_the_folders(trees):
    manifest = read_sfew(trees / "sfew", splits=["valid"])
    folders = {name.split("/")[-2]: SEVEN[label] for name, label in zip(manifest.names, manifest.labels, strict=True)}
    assert folders == {
        "Angry": "anger",
        "Disgust": "disgust",
        "Fear": "fear",
        "Happy": "happiness",
        "Neutral": "neutral",
        "Sad": "sadness",
        "Surprise": "surprise",
    }


def test_photos(trees):
    manifest = read_sfew(trees / "sfew", photos=True)
    assert not manifest.crops
    assert manifest.names[0].startswith("Train/Angry/Film")
    assert len(manifest) == 28  # Test, whose labels are not given, is not there


def test_images_without_labels_are_told_of(trees):
    (finding,) = read_sfew(trees / "sfew").findings
    assert (finding.kind, finding.severity, finding.count) == ("no labels", "note", 2)
    assert finding.text.startswith("test: images without labels (2 in Test/)")
    assert read_sfew(trees / "sfew", splits=["valid"]).findings == ()
    with pytest.raises(DatasetError, match=r"images without labels \(2 in Test/\).*leave the split test out"):
        read_sfew(trees / "sfew", photos=True, splits=["test"])


def test_a_labelled_test_split(trees, tmp_path):
    shutil.copytree(trees / "sfew" / "Train", tmp_path / "Test")
    assert set(read_sfew(tmp_path, photos=True).splits) == {"test"}


@pytest.mark.parametrize(
    "place",
    ["Train_Aligned_Faces", "Train/Train_Aligned_Faces", "Train_Aligned_Faces/Train_Aligned_Faces"],
)
def test_as_unpacked_by_others(trees, tmp_path, place):
    shutil.copytree(trees / "sfew" / "Train" / "Train_Aligned_Faces", tmp_path / place)
    assert len(read_sfew(tmp_path)) == 14


def test_the_other_kind_is_hinted_at(trees, tmp_path):
    shutil.copytree(trees / "sfew" / "Train" / "Happy", tmp_path / "Train" / "Happy")
    with pytest.raises(
        DatasetError, match=r"expected SFEW 2.0, aligned images.*there are original images: choose those"
    ):
        read_sfew(tmp_path)


def test_a_label_outside_the_map(trees, tmp_path):
    shutil.copytree(trees / "sfew" / "Train" / "Happy", tmp_path / "Train" / "Happy")
    shutil.copytree(trees / "sfew" / "Train" / "Happy", tmp_path / "Train" / "Bored")
    with pytest.raises(DatasetError, match=r"Bored: expected a folder for one of neutral, happiness"):
        read_sfew(tmp_path, photos=True)


def test_the_wrong_folder(trees):
    with pytest.raises(
        DatasetError, match=r"expected SFEW 2.0.*Train_Aligned_Faces/Angry.*found: EmoLabel|found: basic/"
    ):
        read_sfew(trees / "rafdb")
