import cv2
import numpy as np
import pytest

from regionfer.errors import ModelError
from regionfer.faces import YuNet


class Stub:
    """OpenCV's detector with two faces, the weaker first; notes what it was given."""

    rows = np.array(
        [[-5, 10, 40, 50, *range(10), 0.8], [60, 20, 30, 90, *range(10, 20), 0.95]],
        dtype=np.float32,
    )

    def setInputSize(self, size):  # noqa: N802
        self.size = size

    def detect(self, image):
        self.image = image
        return 1, self.rows


@pytest.fixture
def stub(monkeypatch):
    stub = Stub()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: stub)
    return stub


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "yunet.onnx"
    path.write_bytes(b"any")
    return path


def test_rows_become_detections(stub, model):
    image = np.zeros((100, 80, 3), np.uint8)
    image[..., 0] = 255

    faces = YuNet(model).detect(image)

    assert stub.size == (80, 100)
    assert stub.image[0, 0].tolist() == [0, 0, 255]  # BGR
    np.testing.assert_allclose(faces.scores, [0.95, 0.8])
    assert faces.boxes.tolist() == [[60, 20, 80, 100], [0, 10, 35, 60]]  # cut at the image's edge
    assert faces.landmarks[0].tolist() == [[10, 11], [12, 13], [14, 15], [16, 17], [18, 19]]


@pytest.mark.parametrize("rows", [None, np.zeros((0, 15), np.float32)], ids=["None", "no rows"])
def test_no_face(stub, model, rows):
    stub.rows = rows

    assert len(YuNet(model).detect(np.zeros((100, 80, 3), np.uint8))) == 0


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match=r"nowhere\.onnx: no such file; expected YuNet's ONNX file"):
        YuNet(tmp_path / "nowhere.onnx")


def test_a_file_that_is_no_network(model):
    with pytest.raises(ModelError, match=r"yunet\.onnx: OpenCV cannot read a face detector from it"):
        YuNet(model)


def test_confidence_out_of_range(model):
    with pytest.raises(ValueError, match=r"min_confidence must be in 0\.\.1, got 2"):
        YuNet(model, min_confidence=2)
