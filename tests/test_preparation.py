import csv
import errno
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import regionfer.preparation
from regionfer.annotation.inputs import ImageFinder
from regionfer.datasets import (
    load_faces,
    load_prepared,
    read_affectnet,
    read_dataset,
    read_ferplus,
    read_folder,
    read_rafdb,
)
from regionfer.errors import DatasetError, OutputError
from regionfer.faces import Detections
from regionfer.preparation import prepare


class Boxes:
    """A detector that always finds the same faces, and counts its calls."""

    def __init__(self, *boxes, scores=None):
        self.boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        self.scores = np.full(len(boxes), 0.99, np.float32) if scores is None else np.array(scores, np.float32)
        self.calls = 0

    def detect(self, image):
        self.calls += 1
        places = np.float32([[0.3, 0.35], [0.7, 0.35], [0.5, 0.57], [0.34, 0.8], [0.66, 0.8]])
        sides = self.boxes[:, None, 2:] - self.boxes[:, None, :2]
        return Detections(self.boxes, self.scores, self.boxes[:, None, :2] + places * sides)


@pytest.fixture
def photos(tmp_path):
    """A manifest of six photos, 80 x 60 pixels, in two classes; the left half is red, the right half blue."""
    for label in ("calm", "pain"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            photo = np.zeros((60, 80, 3), np.uint8)
            photo[:, :40, 0], photo[:, 40:, 2], photo[..., 1] = 200, 200, 20 * number
            Image.fromarray(photo).save(tmp_path / "photos" / label / f"{number}.png")
    return read_folder(tmp_path / "photos", photos=True)


def with_boxes(manifest, box):
    return replace(manifest, boxes=np.tile(np.array(box, dtype=np.float32), (len(manifest), 1)))


def misses(folder):
    with (folder / "misses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


LEFT, RIGHT, LARGE = (5, 10, 35, 40), (45, 10, 75, 40), (42, 5, 78, 45)


class TestCrops:
    def test_decoded_only(self, trees, tmp_path):
        manifest = read_ferplus(trees / "ferplus")
        card = prepare(manifest, tmp_path / "out")
        prepared, faces = load_prepared(tmp_path / "out")
        assert (card.faces, card.images, card.size, card.misses) == (48, 48, 48, {})
        assert isinstance(faces, np.memmap)
        np.testing.assert_array_equal(faces, load_faces(manifest, 48))
        assert prepared.names.tolist() == manifest.names.tolist()
        assert (prepared.labels == manifest.labels).all()
        assert (prepared.targets == manifest.targets).all()
        assert prepared.counts() == manifest.counts()
        assert prepared.dropped.counts("test") == manifest.dropped.counts("test")
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
            "faces.npy",
            "manifest.npz",
            "misses.csv",
            "prepared.json",
        ]

    def test_training_reads_it_as_any_corpus(self, trees, tmp_path):
        manifest = read_ferplus(trees / "ferplus")
        prepare(manifest, tmp_path / "out")
        valid = read_dataset("prepared", tmp_path / "out", splits=["valid"])
        np.testing.assert_array_equal(load_faces(valid, 24), load_faces(manifest.split("valid"), 24))
        assert isinstance(read_dataset("prepared", tmp_path / "out").split("train").pixels, np.memmap)
        with pytest.raises(DatasetError, match="no split holiday here; found: train, valid, test"):
            read_dataset("prepared", tmp_path / "out", splits=["holiday"])

    def test_landmarks_follow_the_size(self, trees, tmp_path, make_trees):
        manifest = read_affectnet(trees / "affectnet-folders", splits=["valid"])
        prepare(manifest, tmp_path / "out", size=56)
        prepared, faces = load_prepared(tmp_path / "out")
        assert faces.shape[1:] == (56, 56, 3)
        np.testing.assert_allclose(prepared.landmarks[0], make_trees.LANDMARKS * 56, atol=0.1)
        np.testing.assert_array_equal(prepared.attributes["valence"], manifest.attributes["valence"])

    def test_pixels_of_a_table(self, trees, tmp_path):
        manifest = read_ferplus(trees / "ferplus-tables")
        prepare(manifest, tmp_path / "out")
        np.testing.assert_array_equal(load_prepared(tmp_path / "out")[1], load_faces(manifest, 48))


class TestDetection:
    def test_the_largest_face(self, photos, tmp_path):
        prepare(photos, tmp_path / "out", detector=Boxes(LEFT, LARGE), size=20)
        _, faces = load_prepared(tmp_path / "out")
        assert faces.shape == (6, 20, 20, 3)
        assert (faces[..., 2].mean((1, 2)) > 180).all()

    def test_the_face_in_the_box_of_the_corpus(self, photos, tmp_path):
        manifest = with_boxes(photos, (4, 8, 36, 41))
        prepare(manifest, tmp_path / "out", detector=Boxes(LARGE, LEFT), size=20)
        prepared, faces = load_prepared(tmp_path / "out")
        assert (faces[..., 0].mean((1, 2)) > 150).all()
        assert prepared.boxes is None
        assert ((prepared.landmarks > 2) & (prepared.landmarks < 18)).all()

    def test_another_face_is_a_miss(self, photos, tmp_path):
        manifest = with_boxes(photos, (4, 8, 36, 41))
        boxes = np.array(manifest.boxes)
        boxes[2] = RIGHT
        boxes[3] = np.nan  # without a box, the largest
        card = prepare(replace(manifest, boxes=boxes), tmp_path / "out", detector=Boxes(RIGHT), size=20)
        assert card.misses == {"no face found in the corpus' box": 4}
        prepared, _ = load_prepared(tmp_path / "out")
        assert prepared.names.tolist() == photos.names[[2, 3]].tolist()

    def test_misses_come_along_when_it_is_read(self, photos, tmp_path):
        manifest = with_boxes(photos, (4, 8, 36, 41))
        boxes = np.array(manifest.boxes)
        boxes[2] = RIGHT
        prepare(replace(manifest, boxes=boxes), tmp_path / "out", detector=Boxes(RIGHT), size=20)
        prepared = read_dataset("prepared", tmp_path / "out")
        assert prepared.misses.names.tolist() == np.delete(photos.names, 2).tolist()
        assert set(prepared.misses.reasons) == {"no face found in the corpus' box"}
        assert prepared.select(slice(0, 1)).misses is prepared.misses

    def test_unsure_faces_are_misses(self, photos, tmp_path):
        detector = Boxes(LEFT, RIGHT, scores=(0.95, 0.5))
        prepare(photos, tmp_path / "out", detector=detector, min_confidence=0.6, size=20)
        assert (load_prepared(tmp_path / "out")[1][..., 0].mean((1, 2)) > 150).all()
        with pytest.raises(DatasetError, match=r"none of the 6 images of photos gave a face; the first: no face found"):
            prepare(photos, tmp_path / "none", detector=detector, min_confidence=0.99)
        assert not list((tmp_path / "none").iterdir())

    def test_drawn_photos_with_mtcnn(self, trees, tmp_path):
        """The real detector, and what comes with the corpus, frame the same face."""
        manifest = read_affectnet(trees / "affectnet", splits=["valid"]).select(slice(0, 4))
        found, given = tmp_path / "found", tmp_path / "given"
        assert prepare(manifest, found, size=64, workers=1).faces == 4
        assert prepare(manifest, given, size=64, source="given").faces == 4
        difference = load_prepared(found)[0].landmarks - load_prepared(given)[0].landmarks
        assert np.abs(difference).mean() < 8

    def test_given_landmarks(self, trees, tmp_path):
        manifest = read_rafdb(trees / "rafdb", photos=True)
        manifest.landmarks[3] = np.nan
        card = prepare(manifest, tmp_path / "out", source="given", size=32)
        assert card.misses == {"the corpus gives no landmarks": 1}
        with pytest.raises(DatasetError, match="RAF-DB comes without landmarks; let faces be detected"):
            prepare(read_rafdb(trees / "rafdb"), tmp_path / "other", source="given")


def test_each_face_of_a_photo_has_its_picture(tmp_path):
    photo = np.zeros((40, 80, 3), np.uint8)
    photo[:, :40], photo[:, 40:] = (250, 0, 0), (0, 250, 0)
    Image.fromarray(photo).save(tmp_path / "p.png")
    lines = ["p.png,fear,train,50,0,80,40", "p.png,anger,test,0,0,30,40"]
    (tmp_path / "own.csv").write_text("\n".join(["image,label,split,x1,y1,x2,y2", *lines]))
    boxes = Boxes((0, 0, 30, 40), (50, 0, 80, 40))
    prepare(read_dataset("csv", tmp_path / "own.csv"), tmp_path / "out", detector=boxes, size=20)
    images = ImageFinder("prepared", tmp_path / "out")
    assert [images.open("p.png", face)[10, 10].argmax() for face in (0, 1)] == [1, 0]
    assert read_dataset("prepared", tmp_path / "out", splits=["test"]).face_numbers.tolist() == [1]


class TestMisses:
    def test_absent_and_unreadable(self, photos, tmp_path):
        (tmp_path / "photos" / "calm" / "1.png").unlink()
        (tmp_path / "photos" / "pain" / "0.png").write_bytes(b"no picture")
        card = prepare(photos, tmp_path / "out", detector=Boxes(LEFT), size=20)
        assert (card.images, card.faces) == (6, 4)
        assert card.misses == {"listed but absent": 1, "cannot be read": 1}
        assert [(row["image"], row["label"], row["reason"]) for row in misses(tmp_path / "out")] == [
            ("calm/1.png", "calm", "listed but absent"),
            ("pain/0.png", "pain", "cannot be read"),
        ]
        prepared, faces = load_prepared(tmp_path / "out")
        assert prepared.names.tolist() == ["calm/0.png", "calm/2.png", "pain/1.png", "pain/2.png"]
        # The green of each photo tells which it is.
        assert (faces[:, 10, 10, 1] // 20).tolist() == [0, 2, 1, 2]

    def test_nothing_can_be_read(self, photos, tmp_path):
        shutil.rmtree(tmp_path / "photos")
        with pytest.raises(DatasetError, match="the first: listed but absent"):
            prepare(photos, tmp_path / "out", detector=Boxes(LEFT))


class TestResuming:
    @pytest.fixture
    def interrupted(self, photos, tmp_path, monkeypatch):
        """Four of six photos are done, the third of them in vain."""
        monkeypatch.setattr(regionfer.preparation, "CHUNK", 2)
        (tmp_path / "photos" / "calm" / "2.png").write_bytes(b"no picture")

        def stop(done, total):
            if done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(photos, tmp_path / "out", detector=Boxes(LEFT), size=20, workers=2, progress=stop)
        return tmp_path / "out"

    def test_the_rest_is_done(self, photos, interrupted):
        detector = Boxes(LEFT)
        seen = []
        prepare(
            photos, interrupted, detector=detector, size=20, progress=lambda done, total: seen.append((done, total))
        )
        assert detector.calls == 2
        assert seen[0] == (3, 6)
        assert seen[-1] == (6, 6)
        prepared, faces = load_prepared(interrupted)
        assert prepared.names.tolist() == ["calm/0.png", "calm/1.png", "pain/0.png", "pain/1.png", "pain/2.png"]
        assert (faces[:, 10, 10, 1] // 20).tolist() == [0, 1, 0, 1, 2]

    def test_what_was_mended_is_tried_again(self, photos, interrupted):
        shutil.copy(photos.root / "pain" / "2.png", photos.root / "calm" / "2.png")
        prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        prepared, faces = load_prepared(interrupted)
        assert sorted(prepared.names) == sorted(photos.names)
        shades = dict(zip(prepared.names.tolist(), (faces[:, 10, 10, 1] // 20).tolist(), strict=True))
        assert shades == {
            "calm/0.png": 0,
            "calm/1.png": 1,
            "calm/2.png": 2,
            "pain/0.png": 0,
            "pain/1.png": 1,
            "pain/2.png": 2,
        }
        classes = [prepared.classes[label] for label in prepared.labels]
        assert classes == [name.split("/")[0] for name in prepared.names]

    def test_unfinished_work_is_not_loaded(self, interrupted):
        with pytest.raises(
            DatasetError, match=r"expected a prepared corpus, that is prepared.json.*found: faces.npy, work/"
        ):
            load_prepared(interrupted)

    @pytest.mark.parametrize("done", [False, True], ids=["unfinished", "finished"])
    def test_other_settings_are_refused(self, photos, interrupted, done):
        if done:
            prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        with pytest.raises(DatasetError, match=r"was prepared with size 20, not 30; choose another folder"):
            prepare(photos, interrupted, detector=Boxes(LEFT), size=30)
        for other in (photos.select(slice(0, 5)), with_boxes(photos, LEFT), with_boxes(photos, RIGHT)):
            with pytest.raises(DatasetError, match="other images, labels, boxes, landmarks or further columns"):
                prepare(other, interrupted, detector=Boxes(LEFT), size=20)

    def test_boxes_that_changed(self, photos, tmp_path):
        prepare(with_boxes(photos, LEFT), tmp_path / "out", detector=Boxes(LEFT), size=20)
        again = Boxes(LEFT)
        assert prepare(with_boxes(photos, LEFT), tmp_path / "out", detector=again, size=20).faces == 6
        assert again.calls == 0
        with pytest.raises(DatasetError, match="other images, labels, boxes, landmarks or further columns"):
            prepare(with_boxes(photos, RIGHT), tmp_path / "out", detector=Boxes(LEFT), size=20)

    @pytest.mark.parametrize(
        "changed", [("covered", ["hand"] * 5 + ["mask"]), ("veiled", ["hand"] * 6), ("covered", None)], ids=str
    )
    def test_columns_that_changed(self, photos, tmp_path, changed):
        """A subset taken from a column must not be that of the table of before."""
        told = replace(photos, attributes={"covered": np.array(["hand"] * 6), "age": np.array([np.nan, *range(5)])})
        prepare(told, tmp_path / "out", detector=Boxes(LEFT), size=20)
        name, values = changed
        other = {"age": told.attributes["age"]} | ({} if values is None else {name: np.array(values)})
        with pytest.raises(DatasetError, match="landmarks or further columns; choose another folder"):
            prepare(replace(told, attributes=other), tmp_path / "out", detector=Boxes(LEFT), size=20)
        assert prepare(told, tmp_path / "out", detector=Boxes(LEFT), size=20).faces == 6

    def test_finished_work_is_not_done_again(self, photos, interrupted):
        prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        detector = Boxes(LEFT)
        assert prepare(photos, interrupted, detector=detector, size=20).faces == 5
        assert detector.calls == 0

    def test_interrupted_while_finishing(self, photos, interrupted, monkeypatch):
        """The file of faces is cut already, the card is not yet written."""
        with monkeypatch.context() as patch:
            patch.setattr(regionfer.preparation, "_write_misses", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        shutil.copy(photos.root / "pain" / "2.png", photos.root / "calm" / "2.png")  # too late
        prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        prepared, faces = load_prepared(interrupted)
        assert (faces[:, 10, 10, 1] // 20).tolist() == [0, 1, 0, 1, 2]
        assert len(prepared) == 5

    def test_killed_while_cleaning_up(self, photos, interrupted, monkeypatch):
        """The card is written, some files of the work are left: they must not stand in the way of a mended image."""
        with monkeypatch.context() as patch:
            patch.setattr(
                regionfer.preparation._Work, "remove", lambda work: (work.folder / "work/places.npy").unlink()
            )
            prepare(photos, interrupted, detector=Boxes(LEFT), size=20)
        shutil.copy(photos.root / "pain" / "2.png", photos.root / "calm" / "2.png")
        assert prepare(photos, interrupted, detector=Boxes(LEFT), size=20).faces == 6
        assert not (interrupted / "work").exists()

    def test_killed_while_noting_the_settings(self, photos, tmp_path, monkeypatch):
        def killed(path, *_, **__):
            path.touch()
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", killed)
            with pytest.raises(KeyboardInterrupt):
                prepare(photos, tmp_path / "out", detector=Boxes(LEFT), size=20)
        assert prepare(photos, tmp_path / "out", detector=Boxes(LEFT), size=20).faces == 6


class TestErrors:
    def test_a_folder_that_cannot_be_made(self, photos, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match=r"file/out: cannot be written"):
            prepare(photos, tmp_path / "file" / "out", detector=Boxes(LEFT))

    def test_a_full_disk_is_found_at_once(self, photos, tmp_path, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(regionfer.preparation.os, "posix_fallocate", full)
        detector = Boxes(LEFT)
        with pytest.raises(OutputError, match=r"out: cannot be written: No space left on device"):
            prepare(photos, tmp_path / "out", detector=detector)
        assert detector.calls == 0

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda f: (f / "faces.npy").unlink(), "damaged: .*No such file.*prepare the corpus again"),
            (lambda f: (f / "manifest.npz").write_bytes(b"PK"), "damaged: "),
            (lambda f: (f / "prepared.json").write_text("{"), "not what 'regionfer data prepare' writes"),
            (lambda f: (f / "prepared.json").write_text('{"schema": 9}'), r"schema 9, this one reads 1"),
            (lambda f: np.save(f / "faces.npy", np.zeros((2, 4, 4, 3), np.uint8)), "damaged: pixels must have 48 rows"),
        ],
        ids=["no faces", "columns", "card", "schema", "fewer faces"],
    )
    def test_damage(self, trees, tmp_path, change, message):
        prepare(read_ferplus(trees / "ferplus"), tmp_path / "out")
        change(tmp_path / "out")
        with pytest.raises(DatasetError, match=message):
            load_prepared(tmp_path / "out")
