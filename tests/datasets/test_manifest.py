from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionfer.datasets import (
    Dropped,
    Manifest,
    load_faces,
    load_image,
    load_readable_faces,
    missing_images,
)
from regionfer.datasets.manifest import one_hot
from regionfer.errors import DatasetError, ImageError


def make(n=4, root=Path("nowhere"), **changes):
    labels = np.arange(n) % 2
    values = {
        "dataset": "mine",
        "protocol": "none",
        "root": root,
        "names": np.array([f"{k}.png" for k in range(n)]),
        "labels": labels,
        "targets": one_hot(labels, 2),
        "splits": np.array(["train"] * (n - 1) + ["valid"]),
        "classes": ("calm", "pain"),
        "attributes": {"hat": np.arange(n)},
    }
    return Manifest(**(values | changes))


class TestManifest:
    def test_select_takes_all_columns(self):
        manifest = make(landmarks=np.arange(40.0, dtype=np.float32).reshape(4, 5, 2)).select(np.array([2, 0]))
        assert manifest.names.tolist() == ["2.png", "0.png"]
        assert manifest.attributes["hat"].tolist() == [2, 0]
        assert manifest.landmarks[:, 0, 0].tolist() == [20, 0]
        assert manifest.boxes is None

    @pytest.mark.parametrize(
        "rows",
        [slice(1, 3), np.array([1, 2]), np.array([False, True, True, False])],
        ids=["slice", "numbers", "mask"],
    )
    def test_neighbouring_rows_share_memory(self, rows):
        pixels = np.zeros((4, 6, 6), np.uint8)
        selected = make(pixels=pixels).select(rows)
        assert selected.names.tolist() == ["1.png", "2.png"]
        assert np.shares_memory(selected.pixels, pixels)

    def test_split(self):
        assert make().split("valid").names.tolist() == ["3.png"]
        with pytest.raises(DatasetError, match="mine has no split 'test' here; found: train, valid"):
            make().split("test")

    def test_counts(self):
        assert make().counts() == {"train": {"calm": 2, "pain": 1}, "valid": {"calm": 0, "pain": 1}}

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"labels": np.zeros(3, np.int64)}, "labels must have 4 rows, as names has, got 3"),
            ({"attributes": {"hat": np.zeros(5)}}, "hat must have 4 rows, as names has, got 5"),
            ({"classes": ("calm",)}, r"targets must have shape \(4, 1\), got \(4, 2\)"),
        ],
        ids=["column", "attribute", "classes"],
    )
    def test_shapes(self, changes, message):
        with pytest.raises(ValueError, match=message):
            make(**changes)


def test_dropped():
    dropped = Dropped.of([("1.jpg", "train", "none"), ("2.jpg", "train", "none"), ("3.jpg", "valid", "no face")])
    assert dropped.counts("train") == {"none": 2}
    assert dropped.counts("test") == {}
    assert len(Dropped.of()) == 0


class TestImages:
    @pytest.fixture
    def manifest(self, tmp_path):
        (tmp_path / "a").mkdir()
        for name, value in {"a/0.png": 10, "1.png": 20}.items():
            Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(tmp_path / name)
        return make(3, tmp_path, names=np.array(["a/0.png", "1.png", "b/2.png"]))

    def test_missing(self, manifest):
        assert missing_images(manifest).tolist() == [False, False, True]
        assert not missing_images(make(2, pixels=np.zeros((2, 4, 4), np.uint8))).any()

    def test_load_faces(self, manifest):
        faces = load_faces(manifest.select(slice(0, 2)), 4)
        assert faces.shape == (2, 4, 4, 3)
        assert faces[:, 0, 0, 0].tolist() == [10, 20]

    def test_load_faces_names_the_absent(self, manifest):
        with pytest.raises(ImageError, match=r"2\.png"):
            load_faces(manifest, 4)

    def test_pixels(self):
        grey = make(2, pixels=np.full((2, 4, 4), 7, np.uint8))
        assert load_image(grey, 1).tolist() == np.full((4, 4, 3), 7).tolist()
        colour = make(2, pixels=np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3))
        assert load_faces(colour, 4) is colour.pixels
        assert load_faces(colour, 2).shape == (2, 2, 2, 3)


class TestReadableFaces:
    def test_what_cannot_be_read_is_left_out_and_named(self, tmp_path):
        for number in range(4):
            Image.new("RGB", (4, 4), (60 * number,) * 3).save(tmp_path / f"{number}.png")
        (tmp_path / "1.png").unlink()
        (tmp_path / "2.png").write_bytes(b"no image")
        read = load_readable_faces(make(root=tmp_path), 4)
        assert read.manifest.names.tolist() == ["0.png", "3.png"]
        assert read.faces[:, 0, 0, 0].tolist() == [0, 180]
        assert list(read.failures) == ["1.png", "2.png"]
        assert "1.png: no such file" in read.failures["1.png"]
        assert "is not an image" in read.failures["2.png"]

    def test_all_of_a_whole_corpus(self, tmp_path):
        manifest = make(pixels=np.zeros((4, 4, 4, 3), np.uint8))
        read = load_readable_faces(manifest, 4)
        assert read.faces is manifest.pixels
        assert not read.failures

    def test_none_at_all_is_an_error(self):
        with pytest.raises(DatasetError, match=r"none of the 4 listed images of mine can be read; the first: .*0\.png"):
            load_readable_faces(make(), 4)
