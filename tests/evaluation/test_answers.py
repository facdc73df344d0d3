import numpy as np
import pytest

import regionfer.evaluation.answers as answers_module
from regionfer.errors import DatasetError, ModelError
from regionfer.evaluation.answers import answer_faces, answer_photos, face_box, match_classes
from regionfer.faces import Detections
from regionfer.faces.crops import CropCheck
from regionfer.labels import LABELS
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer

RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)


class TestFaces:
    @pytest.mark.parametrize("chunk", [7, 64])
    def test_as_the_model_says(self, recognizer, said, make_manifest, monkeypatch, chunk):
        monkeypatch.setattr(answers_module, "_CHUNK", chunk)
        steps = []
        answers = answer_faces(recognizer, make_manifest(), steps.append)
        assert np.allclose(answers.probabilities, said(40), atol=1e-6)
        assert np.allclose(answers.attention.sum(1), 1, atol=1e-5)
        assert answers.region_names == recognizer.model.card.regions.names
        assert answers.answered.all()
        assert answers.counted.all()
        assert sum(steps) == 40

    def test_crops_that_cannot_be_judged(self, trusted_model, plain_faces, make_manifest, monkeypatch):
        """MTCNN's last network is made to see no face in any suspect crop, however probable its answer."""
        monkeypatch.setattr(CropCheck, "scores", lambda self, crops: np.zeros(len(crops), np.float32))
        monkeypatch.setattr("regionfer.fitness.NO_FACE_ANSWER", 1.1)
        monkeypatch.setattr("regionfer.fitness.NO_FACE", 0.2)
        faces = np.stack([np.full((16, 16, 3), colour, np.uint8) for colour in (RED, GREEN, BLUE)])
        recognizer = Recognizer(trusted_model)
        alone = recognizer.recognize_crops(faces)
        answers = answer_faces(recognizer, make_manifest(3, pixels=faces))
        assert answers.judgeable.tolist() == alone.judgeable.tolist()
        assert "no face" in [face.uncertain_reason for face in alone]
        assert "" in alone.unfit

    def test_unreadable_images_are_noted(self, recognizer, said, on_disk):
        answers = answer_faces(recognizer, on_disk)
        assert sorted(answers.errors) == [3, 7]
        assert "003.png: no such file" in answers.errors[3]
        assert "007.png: is not an image" in answers.errors[7]
        assert np.flatnonzero(~answers.counted).tolist() == [3, 7]
        assert answers.predictions[[3, 7]].tolist() == [-1, -1]
        rest = np.delete(np.arange(12), [3, 7])
        assert np.allclose(answers.probabilities[rest], said(12)[rest], atol=1e-6)

    @pytest.mark.parametrize("answer", [answer_faces, answer_photos], ids=["faces", "photos"])
    def test_nothing_readable(self, recognizer, make_manifest, tmp_path, answer):
        with pytest.raises(
            DatasetError, match=r"none of 40 images could be evaluated; the first: .*000\.png: no such file"
        ):
            answer(recognizer, make_manifest(root=tmp_path, pixels=None))

    def test_a_chunk_without_images(self, recognizer, on_disk, monkeypatch):
        monkeypatch.setattr(answers_module, "_CHUNK", 1)
        assert answer_faces(recognizer, on_disk).counted.sum() == 10

    def test_fewer_classes(self, recognizer, said, make_manifest):
        """Contempt is left out, and the others sum to 1 again, in the dataset's order."""
        order = np.array([1, 0, 2, 3, 4, 5, 6])
        manifest = make_manifest(
            classes=tuple(LABELS[column] for column in order),
            labels=np.zeros(40, np.int64),
            targets=np.eye(7, dtype=np.float32)[np.zeros(40, int)],
        )
        expected = said(40)[:, order]
        found = answer_faces(recognizer, manifest).probabilities
        assert np.allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-6)

    def test_photos_are_cut_by_their_boxes(self, recognizer, draw_squares, make_manifest):
        photo = draw_squares(RED, GREEN)
        boxes = np.float32([[10, 10, 70, 70], [90, 10, 146, 66]])
        manifest = make_manifest(2, pixels=np.stack([photo, photo]), boxes=boxes, crops=False)
        colours = np.stack([np.full((12, 12, 3), colour, np.uint8) for colour in (RED, GREEN)])
        expected = recognizer.model.run(colours).probabilities
        assert np.allclose(answer_faces(recognizer, manifest).probabilities, expected, atol=1e-6)

    def test_photos_without_boxes(self, recognizer, make_manifest):
        with pytest.raises(DatasetError, match="photos without face boxes here; run 'regionfer data prepare'"):
            answer_faces(recognizer, make_manifest(crops=False))


class TestLandmarkModels:
    @pytest.fixture
    def of_landmarks(self, save_model, make_card):
        return Recognizer(ExpressionModel.load(save_model(make_card(landmarks=True)), threads=1))

    def test_given(self, of_landmarks, make_manifest, monkeypatch):
        points = np.tile(np.float32([[3, 4], [9, 4], [6, 6], [4, 9], [8, 9]]), (40, 1, 1))
        points[5, 2] = np.nan
        seen = []
        run = of_landmarks.model.run

        def spy(faces, places, **options):
            seen.append(places)
            return run(faces, places, **options)

        monkeypatch.setattr(of_landmarks.model, "run", spy)
        answers = answer_faces(of_landmarks, make_manifest(landmarks=points))
        assert answers.errors == {5: "005.png: the dataset gives no landmarks of this face"}
        assert np.allclose(seen[0][0], points[0] / 16)
        assert answers.answered.sum() == 39

    def test_missing(self, of_landmarks, make_manifest):
        with pytest.raises(ModelError, match="its regions follow landmarks, and Colours comes without"):
            answer_faces(of_landmarks, make_manifest())


class TestPhotos:
    @pytest.fixture
    def photos(self, draw_squares, make_manifest):
        """Two faces, the first larger; one face; none."""
        images = [draw_squares(RED, GREEN), draw_squares(BLUE, (0, 0, 0)), draw_squares((0, 0, 0), (0, 0, 0))]

        def make(**changes):
            return make_manifest(3, pixels=np.stack(images), **changes)

        return make

    @staticmethod
    def answers(recognizer, *colours):
        faces = np.stack([np.full((12, 12, 3), colour, np.uint8) for colour in colours])
        return recognizer.model.run(faces).probabilities.argmax(1).tolist()

    @pytest.fixture
    def sure(self, square_detector, tiny_model):
        """Is sure of every face, and finds the smallest first."""

        class Sure:
            def detect(self, image):
                found = square_detector.detect(image)[::-1]
                return Detections(found.boxes, np.full(len(found), 0.95, np.float32), found.landmarks)

        return Recognizer(tiny_model, Sure(), threads=2)

    def test_largest_face(self, sure, photos):
        answers = answer_photos(sure, photos())
        assert answers.missed.tolist() == [False, False, True]
        assert answers.counted.all()
        assert answers.predictions.tolist() == [*self.answers(sure, RED, BLUE), -1]

    def test_face_in_the_box(self, sure, photos):
        boxes = np.float32([[90, 10, 146, 66], [100, 40, 140, 80], [10, 10, 70, 70]])
        answers = answer_photos(sure, photos(boxes=boxes, crops=False))
        assert answers.missed.tolist() == [False, True, True]  # the second: a face, but elsewhere
        assert answers.predictions[0] == self.answers(sure, GREEN)[0]

    def test_unreadable_is_not_missed(self, recognizer, on_disk):
        answers = answer_photos(recognizer, on_disk)
        assert sorted(answers.errors) == [3, 7]
        assert not answers.missed[[3, 7]].any()


class TestClasses:
    def test_names_not_numbers(self):
        assert match_classes(LABELS, ["Sad", "contempt", "angry"]).tolist() == [3, 7, 4]

    def test_own_names(self):
        assert match_classes(["bored", "Keen"], ["keen", "bored"]).tolist() == [1, 0]

    def test_lacking(self, recognizer, make_manifest):
        classes = (*LABELS[:7], "boredom")
        with pytest.raises(ModelError, match=r"tiny\.onnx.*does not know boredom of Colours; it knows neutral, "):
            answer_faces(recognizer, make_manifest(classes=classes))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([10, 10, 30, 30], (10, 10, 30, 30), id="square"),
        pytest.param([10, 20, 30, 60], (0, 20, 40, 60), id="high"),
        pytest.param([-5, -5, 15, 15], (0, 0, 15, 15), id="over the edge"),
        pytest.param([200, 10, 220, 30], None, id="outside"),
        pytest.param([np.nan] * 4, None, id="unknown"),
    ],
)
def test_face_box(make_manifest, box, expected):
    manifest = make_manifest(1, boxes=np.float32([box]), crops=False)
    assert face_box(manifest, 0, 100, 80) == expected
    assert face_box(make_manifest(1, boxes=np.float32([box])), 0, 100, 80) == (0, 0, 100, 80)
