import shutil

import numpy as np
import pytest

from regionfer.datasets import load_faces, load_image, missing_images, read_affectnet, read_subset
from regionfer.datasets.affectnet import COLUMNS
from regionfer.datasets.codes import SEVEN
from regionfer.errors import DatasetError
from regionfer.labels import LABELS


class TestTables:
    def test_counts(self, trees):
        manifest = read_affectnet(trees / "affectnet")
        assert manifest.counts() == {split: dict.fromkeys(LABELS, 2) for split in ("train", "valid")}
        assert manifest.dropped.counts("valid") == {"no face": 2, "none": 2, "uncertain": 2}
        assert manifest.dataset == "AffectNet-8"
        assert not manifest.crops
        assert not missing_images(manifest).any()

    def test_labels_are_those_of_the_codes(self, trees):
        manifest = read_affectnet(trees / "affectnet")
        rows = (trees / "affectnet" / "training.csv").read_text().splitlines()[1:9]
        codes = [int(row.split(",")[6]) for row in rows]
        expected = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]
        assert codes == list(range(8))
        assert [manifest.classes[label] for label in manifest.labels[:8]] == expected

    def test_boxes_and_landmarks_frame_the_face(self, trees, make_trees):
        manifest = read_affectnet(trees / "affectnet")
        x1, y1, x2, y2 = manifest.boxes[0]
        np.testing.assert_allclose(manifest.landmarks[0], make_trees.LANDMARKS * (x2 - x1) + (x1, y1), atol=0.01)
        image = load_image(manifest, 0)
        assert y2 <= image.shape[0]
        # outside the box is one flat colour, inside is a face
        assert image[: int(y1)].std(axis=(0, 1)).max() < 6
        assert image[int(y1) : int(y2), int(x1) : int(x2)].std() > 20

    def test_seven_classes(self, trees):
        manifest = read_affectnet(trees / "affectnet", classes=7)
        assert manifest.classes == SEVEN
        assert manifest.counts()["train"] == dict.fromkeys(SEVEN, 2)
        assert manifest.dropped.counts("train")["contempt"] == 2

    def test_valence_and_arousal(self, trees):
        manifest = read_affectnet(trees / "affectnet")
        for name in ("valence", "arousal"):
            assert (np.abs(manifest.attributes[name]) <= 1).all()

    def test_photos_are_not_taken_for_faces(self, trees):
        with pytest.raises(DatasetError, match="run 'regionfer data prepare'"):
            load_faces(read_affectnet(trees / "affectnet"), 32)

    @pytest.mark.parametrize("place", ["Manually_Annotated_file_lists", "Manually_Annotated/file_lists"])
    def test_as_unpacked_by_others(self, trees, tmp_path, place):
        images = tmp_path / "Manually_Annotated" / "Manually_Annotated_Images"
        shutil.copytree(trees / "affectnet" / "Manually_Annotated_Images", images)
        (tmp_path / place).mkdir()
        lines = (trees / "affectnet" / "validation.csv").read_text().splitlines()[1:]
        (tmp_path / place / "validation.csv").write_text("\n".join(lines))  # without a header
        manifest = read_affectnet(tmp_path)
        assert len(manifest) == 16
        assert not missing_images(manifest).any()

    @pytest.mark.parametrize(
        ("row", "missing"),
        [
            pytest.param("1/a.jpg,NULL,NULL,NULL,NULL,NULL,1,-2,-2", "both", id="NULL"),
            pytest.param("1/a.jpg,-1,-1,-1,-1,,1,,", "both", id="minus one"),
            pytest.param("1/a.jpg,5,6,20,30,1;2;3,1,0.5,0.25", "landmarks", id="too few landmarks"),
        ],
    )
    def test_what_a_row_may_lack(self, tmp_path, row, missing):
        (tmp_path / "Manually_Annotated_Images").mkdir()
        (tmp_path / "training.csv").write_text(f"{','.join(COLUMNS)}\n{row}\n")
        manifest = read_affectnet(tmp_path)
        assert np.isnan(manifest.landmarks).all()
        if missing == "both":
            assert np.isnan(manifest.boxes).all()
            assert np.isnan(manifest.attributes["valence"]).all()
        else:
            assert manifest.boxes.tolist() == [[5, 6, 25, 36]]
            assert manifest.attributes["arousal"].tolist() == [0.25]

    @pytest.mark.parametrize("code", ["11", "-1", "happy", "1.5", ""])
    def test_a_label_outside_the_map(self, tmp_path, code):
        (tmp_path / "Manually_Annotated_Images").mkdir()
        (tmp_path / "training.csv").write_text(f"{','.join(COLUMNS)}\n1/a.jpg,0,0,9,9,,{code},0,0\n")
        with pytest.raises(DatasetError, match=rf"training.csv, line 2: expected an expression.*found '{code}'"):
            read_affectnet(tmp_path)

    def test_a_missing_column(self, tmp_path):
        (tmp_path / "Manually_Annotated_Images").mkdir()
        (tmp_path / "training.csv").write_text("subDirectory_filePath,expression\n1/a.jpg,1\n")
        with pytest.raises(DatasetError, match=r"missing: face_x, face_y, .*arousal$"):
            read_affectnet(tmp_path)

    def test_no_photos(self, tmp_path):
        (tmp_path / "training.csv").write_text("x")
        with pytest.raises(DatasetError, match=r"expected AffectNet, that is Manually_Annotated_Images/.*training.csv"):
            read_affectnet(tmp_path)


class TestFolders:
    def test_counts(self, trees):
        manifest = read_affectnet(trees / "affectnet-folders")
        assert manifest.counts()["train"] == dict.fromkeys(LABELS, 2)
        assert manifest.counts()["valid"] == dict.fromkeys(LABELS, 2) | {"contempt": 1}
        assert manifest.crops
        assert load_faces(manifest, 32).shape == (31, 32, 32, 3)

    def test_order_is_that_of_the_numbers(self, trees):
        names = read_affectnet(trees / "affectnet-folders", splits=["valid"]).names.tolist()
        assert names[:5] == [f"val_set/images/{3 * number}.jpg" for number in range(5)]

    def test_landmarks(self, trees, make_trees):
        manifest = read_affectnet(trees / "affectnet-folders", splits=["train"])
        np.testing.assert_allclose(manifest.landmarks[3], make_trees.LANDMARKS * 224, atol=0.1)

    def test_numbers_instead_of_text(self, tmp_path):
        folder = tmp_path / "train_set" / "annotations"
        folder.mkdir(parents=True)
        np.save(folder / "1_exp.npy", np.array([3], dtype=np.int64)[0])
        manifest = read_affectnet(tmp_path)
        assert manifest.names.tolist() == ["train_set/images/1.jpg"]
        assert manifest.classes[manifest.labels[0]] == "surprise"
        assert np.isnan(manifest.landmarks).all()
        assert missing_images(manifest).all()

    def test_pickles_are_not_loaded(self, tmp_path):
        folder = tmp_path / "train_set" / "annotations"
        folder.mkdir(parents=True)
        np.save(folder / "1_exp.npy", np.array({"a": 1}, dtype=object), allow_pickle=True)
        with pytest.raises(DatasetError, match=r"1_exp.npy: expected an array of numbers or text, found: .*pickle"):
            read_affectnet(tmp_path)


def test_a_list_for_the_folder_release_says_which_release_it_is_for(trees, tmp_path):
    path = tmp_path / "pose_30_affectnet_list.txt"
    path.write_text(f"0/{'ab' * 28}.jpg\n")
    valid = read_affectnet(trees / "affectnet-folders").split("valid")
    with pytest.raises(
        DatasetError, match=r"lists name the images of its tables.*this is the folder release, which numbers them anew"
    ):
        read_subset(path, valid)
    with pytest.raises(DatasetError, match="expected names such as Manually_Annotated_Images/"):
        read_subset(path, read_affectnet(trees / "affectnet").split("valid"))


def test_number_of_classes(tmp_path):
    with pytest.raises(ValueError, match="7 or 8 classes, got 6"):
        read_affectnet(tmp_path, classes=6)


def test_the_wrong_folder(trees):
    with pytest.raises(DatasetError, match=r"expected AffectNet, that is training.csv.*train_set/.*found: basic/"):
        read_affectnet(trees / "rafdb")
