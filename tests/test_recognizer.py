"""From images to expressions: every kind of input, batches, bad images, threads."""

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier, Event

import cv2
import numpy as np
import pytest
from PIL import Image

from regionfer.degradations import LEVELS, degrade
from regionfer.errors import ImageError, ModelError
from regionfer.faces import MTCNN, Detections, align_faces, aligned_landmarks
from regionfer.faces.crops import CropCheck
from regionfer.fusion import FusedModel
from regionfer.onnx_model import Classifier, ExpressionModel
from regionfer.recognizer import Recognizer
from regionfer.regions import landmark_regions
from regionfer.results import covered_text

EXAMPLES = Path(__file__).parent.parent / "examples"
RED, GREEN, BLUE, WHITE = (250, 20, 20), (20, 250, 20), (20, 20, 250), (240, 240, 240)


class _Meeting(Classifier):
    """A model that calls ``meet`` in each run."""

    def __init__(self, model, concurrent=True):
        self.model, self.card, self.heads, self.needs_landmarks = model, model.card, model.heads, False
        self.concurrent = concurrent

    def _run(self, faces, landmarks):
        self.meet()
        return self.model.run(faces)


@pytest.fixture(scope="module")
def photos(draw_squares):
    """Nine images with 0 to 3 faces of different colours."""
    colours = [(), (RED,), (GREEN, BLUE), (WHITE,), (), (RED, GREEN, BLUE), (BLUE,), (WHITE, RED), (GREEN,)]
    return [draw_squares(*each) for each in colours]


def assert_same(one, other):
    """Equal up to the rounding of another batch size."""
    assert (one.source, one.image_size, len(one)) == (other.source, other.image_size, len(other))
    assert one.region_names == other.region_names
    for name in (
        "boxes",
        "scores",
        "pose",
        "probabilities",
        "mu",
        "nu",
        "attention",
        "regions",
        "landmarks",
        "aligned",
    ):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-3, atol=1e-4, err_msg=name)


class TestInputs:
    def test_every_kind_gives_the_same(self, recognizer, draw_squares, tmp_path):
        array = draw_squares(RED, BLUE)
        path = tmp_path / "photo.png"
        Image.fromarray(array).save(path)
        kinds = [path, str(path), path.read_bytes(), Image.fromarray(array), array]
        results = [recognizer.recognize(kind, min_confidence=0) for kind in kinds]
        assert [result.source for result in results] == [str(path), str(path), None, None, None]
        for result in results:
            assert result.image_size == (160, 90)
            np.testing.assert_array_equal(result.boxes, [[10, 10, 70, 70], [90, 10, 146, 66]])
            np.testing.assert_array_equal(result.probabilities, results[0].probabilities)
        assert results[0].expressions[0] != results[0].expressions[1]

    def test_bgr(self, recognizer, draw_squares):
        array = draw_squares(RED)
        rgb = recognizer.recognize(array)
        bgr = recognizer.recognize(array[:, :, ::-1], channel_order="bgr")
        np.testing.assert_array_equal(rgb.probabilities, bgr.probabilities)
        assert np.abs(rgb.probabilities - recognizer.recognize(array[:, :, ::-1]).probabilities).max() > 0.1

    def test_no_faces(self, recognizer, draw_squares):
        result = recognizer.recognize(draw_squares())
        assert len(result) == 0
        assert result.probabilities.shape == (0, 8)
        assert result.image_size == (80, 90)

    def test_min_confidence(self, recognizer, draw_squares):
        array = draw_squares(RED, GREEN, BLUE)
        assert [len(recognizer.recognize(array, min_confidence=least)) for least in (0, 0.8, 0.9, 1)] == [3, 2, 1, 0]

    @pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
    def test_min_confidence_out_of_range(self, recognizer, draw_squares, least):
        with pytest.raises(ValueError, match=r"min_confidence must be in 0\.\.1"):
            recognizer.recognize(draw_squares(), min_confidence=least)

    def test_unreadable(self, recognizer, tmp_path):
        with pytest.raises(ImageError, match=r"nothing\.jpg: no such file"):
            recognizer.recognize(tmp_path / "nothing.jpg")

    def test_another_type(self, recognizer):
        with pytest.raises(TypeError, match="expected a path"):
            recognizer.recognize(3)


class TestLists:
    def test_same_as_one_by_one(self, recognizer, photos):
        expected = [recognizer.recognize(photo, min_confidence=0) for photo in photos]
        assert [len(result) for result in expected] == [0, 1, 2, 1, 0, 3, 1, 2, 1]
        for batch_size in (1, 2, 5, 100):
            results = recognizer.recognize(photos, min_confidence=0, batch_size=batch_size)
            for one, other in zip(results, expected, strict=True):
                assert_same(one, other)

    def test_landmark_regions(self, save_model, make_card, square_detector, photos):
        recognizer = Recognizer(save_model(make_card(landmarks=True)), square_detector)
        results = recognizer.recognize(photos, min_confidence=0)
        for photo, result in zip(photos, results, strict=True):
            assert result.regions.shape == (len(result), 6, 4)
            assert_same(result, recognizer.recognize(photo, min_confidence=0))

    def test_faces_of_many_images_share_runs(self, recognizer, photos, monkeypatch):
        sizes = []
        run = recognizer.model.run

        def counting(faces, *arguments, **options):
            sizes.append(len(faces))
            return run(faces, *arguments, **options)

        monkeypatch.setattr(recognizer.model, "run", counting)
        recognizer.recognize(photos, min_confidence=0, batch_size=100)
        assert sizes == [11]

    @pytest.mark.parametrize("several", [tuple, list, np.stack], ids=["tuple", "list", "array"])
    def test_kinds_of_lists(self, recognizer, draw_squares, several):
        results = recognizer.recognize(several([draw_squares(RED), draw_squares(), draw_squares(BLUE)]))
        assert [len(result) for result in results] == [1, 0, 1]

    def test_empty_list(self, recognizer):
        assert recognizer.recognize([]) == []

    def test_first_error_is_raised(self, recognizer, photos):
        with pytest.raises(ImageError, match="b\\.jpg"):
            recognizer.recognize([photos[0], "b.jpg", "c.jpg"])


class TestStream:
    def test_bad_images_do_not_stop_it(self, recognizer, photos):
        outcomes = list(recognizer.stream([photos[1], b"", photos[2], "missing.jpg", photos[3]], min_confidence=0))
        assert [outcome.result is None for outcome in outcomes] == [False, True, False, True, False]
        assert [len(outcome.result) for outcome in outcomes if outcome.result is not None] == [1, 2, 1]
        assert str(outcomes[3].error).startswith("missing.jpg: ")
        assert outcomes[3].source == "missing.jpg"
        assert isinstance(outcomes[1].error, ImageError)

    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_looks_ahead_a_bounded_way(self, recognizer, photos, batch_size):
        taken = 0

        def endless():
            nonlocal taken
            for number in count():
                taken += 1
                yield photos[number % len(photos)]

        outcomes = recognizer.stream(endless(), batch_size=batch_size, detect=False)
        for given in range(1, 30):
            next(outcomes)
            # 2 threads, each with one image at work and three ahead, one to hand over; and four batches: two at
            # work, one handed over, one being gathered.
            assert taken <= given + 9 + 4 * batch_size
        outcomes.close()

    def test_runs_of_the_network_overlap(self, tiny_model, square_detector, photos):
        """Neither of two runs ends before the other has begun."""
        network, both = _Meeting(tiny_model), Barrier(2)
        network.meet = lambda: both.wait(timeout=60)
        outcomes = Recognizer(network, square_detector, threads=2).stream(photos[:4], detect=False, batch_size=2)
        assert [len(outcome.result) for outcome in outcomes] == [1, 1, 1, 1]

    def test_runs_of_a_model_that_cannot_do_not(self, tiny_model, square_detector, photos):
        network, running, most = _Meeting(tiny_model, concurrent=False), [], []

        def meet():
            running.append(1)
            most.append(len(running))
            time.sleep(0.01)
            running.pop()

        network.meet = meet
        list(Recognizer(network, square_detector, threads=4).stream(photos * 2, detect=False, batch_size=1))
        assert set(most) == {1}

    def test_results_wait_for_their_turn(self, tiny_model, square_detector, photos):
        """The first run ends last."""
        network, second = _Meeting(tiny_model), Event()
        calls = count()
        network.meet = lambda: second.set() if next(calls) else second.wait(timeout=60)
        recognizer = Recognizer(network, square_detector, threads=2)
        outcomes = list(recognizer.stream(photos, detect=False, batch_size=3))
        expected = recognizer.recognize_crops(photos)
        for number, outcome in enumerate(outcomes):
            np.testing.assert_allclose(outcome.result.probabilities[0], expected.probabilities[number], atol=1e-5)

    def test_threads_are_shared_out_among_runs(self, tiny_path, square_detector, photos, monkeypatch):
        """All of them for the first batch, which may be the only one; then one each, in a session that is kept."""
        used, run = [], ExpressionModel._run

        def spy(model, *arguments):
            used.append((model._session.get_session_options().intra_op_num_threads, id(model)))
            return run(model, *arguments)

        monkeypatch.setattr(ExpressionModel, "_run", spy)
        recognizer = Recognizer(tiny_path, square_detector, threads=2)
        for _ in range(2):
            list(recognizer.stream(photos[:6], detect=False, batch_size=2))
        assert sorted(threads for threads, _ in used) == [1, 1, 1, 1, 2, 2]
        assert len(set(used)) == 2

    def test_groups_do_not_share_runs(self, tiny_path, square_detector, photos, monkeypatch):
        """The first run of each group has all threads, as if there were no other group; a failed image counts, too."""
        used, run = [], ExpressionModel._run

        def spy(model, faces, landmarks):
            used.append((len(faces), model._session.get_session_options().intra_op_num_threads))
            return run(model, faces, landmarks)

        monkeypatch.setattr(ExpressionModel, "_run", spy)
        recognizer = Recognizer(tiny_path, square_detector, threads=2)
        images = [*photos[:4], b"", *photos[:4]]
        outcomes = list(recognizer.stream(images, detect=False, batch_size=2, group_size=3))
        assert [outcome.error is None for outcome in outcomes] == [True] * 4 + [False] + [True] * 4
        assert sorted(used) == [(1, 1), (1, 1), (1, 1), (1, 2), (2, 2), (2, 2)]

    def test_another_model_is_seen(self, save_model, square_detector, photos):
        recognizer = Recognizer(save_model(seed=1), square_detector, threads=2)
        list(recognizer.stream(photos, detect=False, batch_size=1))
        recognizer.model = ExpressionModel.load(save_model(seed=2))
        outcomes = list(recognizer.stream(photos, detect=False, batch_size=1))
        expected = recognizer.recognize_crops(photos).probabilities
        np.testing.assert_allclose([outcome.result.probabilities[0] for outcome in outcomes], expected, atol=1e-5)

    def test_a_run_of_the_network_that_fails_ends_it(self, tiny_model, square_detector, photos):
        network, calls = _Meeting(tiny_model), count(1)
        network.meet = lambda: None if next(calls) < 3 else 1 / 0
        outcomes = Recognizer(network, square_detector, threads=2).stream(photos, detect=False, batch_size=2)
        assert [len(next(outcomes).result) for _ in range(4)] == [1] * 4
        with pytest.raises(ZeroDivisionError):
            next(outcomes)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("regionfer")]

    def test_what_images_raise_comes_after_the_outcomes_before(self, recognizer, photos):
        def broken():
            yield from photos[:5]
            raise OSError("no more")

        for images, error in ((broken(), OSError), ([*photos[:5], 3], TypeError)):
            outcomes = recognizer.stream(images, detect=False, batch_size=2)
            assert [len(next(outcomes).result) for _ in range(5)] == [1] * 5
            with pytest.raises(error):
                next(outcomes)

    def test_images_that_are_kept_are_few(self, recognizer, photos, monkeypatch):
        """However many faces make a batch: by their pixels each image is a batch of its own, and four are held."""
        monkeypatch.setattr("regionfer.recognizer.HELD_PIXELS", 4 * photos[0].shape[0] * photos[0].shape[1])
        taken = []
        kept = recognizer.stream((taken.append(1) or photo for photo in photos * 3), keep_images=True, batch_size=100)
        for given in range(1, 12):
            next(kept)
            assert len(taken) <= given + 5 + 4
        kept.close()

    def test_keeps_images_on_request(self, recognizer, photos):
        kept = list(recognizer.stream(photos, keep_images=True))
        assert all(np.array_equal(outcome.image, photo) for outcome, photo in zip(kept, photos, strict=True))
        assert all(outcome.image is None for outcome in recognizer.stream(photos))

    def test_without_detection(self, recognizer, photos):
        for outcome in recognizer.stream(photos, detect=False):
            assert len(outcome.result) == 1
            np.testing.assert_array_equal(outcome.result.boxes, [[0, 0, *outcome.result.image_size]])

    def test_crops_do_not_fit_landmark_regions(self, save_model, make_card, square_detector):
        recognizer = Recognizer(save_model(make_card(landmarks=True)), square_detector)
        with pytest.raises(ModelError, match="its regions follow the landmarks"):
            recognizer.stream(["a.jpg"], detect=False)

    @pytest.mark.parametrize("name", ["batch_size", "group_size"])
    def test_sizes(self, recognizer, name):
        with pytest.raises(ValueError, match=f"{name} must be 1 or more, got 0"):
            list(recognizer.stream([], **{name: 0}))


class TestCrops:
    def test_many(self, recognizer, tiny_model):
        faces = np.random.default_rng(0).integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)
        result = recognizer.recognize_crops(faces)
        np.testing.assert_allclose(result.probabilities, tiny_model.run(faces).probabilities, rtol=1e-5)
        np.testing.assert_array_equal(result.boxes, [[0, 0, 12, 12]] * 5)
        np.testing.assert_array_equal(result.aligned[0], [[0, 0], [12, 0], [12, 12], [0, 12]])
        assert np.isnan(result.scores).all()
        assert result[0].pose is None
        assert result.landmarks is None
        assert result.image_size is None

    def test_any_size(self, recognizer, tiny_model):
        result = recognizer.recognize_crops(
            [np.full((h, w, 3), RED, np.uint8) for h, w in ((5, 5), (12, 12), (200, 90))]
        )
        np.testing.assert_allclose(result.probabilities, np.tile(result.probabilities[:1], (3, 1)), atol=1e-6)
        np.testing.assert_array_equal(result.boxes[:, 2:], [[5, 5], [12, 12], [90, 200]])

    def test_shrinks_by_area(self, recognizer, tiny_model):
        noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
        means = noise.reshape(12, 8, 12, 8, 3).mean(axis=(1, 3)).round().astype(np.uint8)
        result = recognizer.recognize_crops(noise)
        np.testing.assert_allclose(result.probabilities, tiny_model.run(means[None]).probabilities, atol=1e-3)

    def test_one(self, recognizer, draw_squares):
        result = recognizer.recognize_crops(draw_squares(RED))
        assert len(result) == 1
        assert result.image_size == (80, 90)

    def test_none(self, recognizer):
        assert len(recognizer.recognize_crops([])) == 0

    def test_landmarks(self, save_model, make_card):
        recognizer = Recognizer(save_model(make_card(landmarks=True)))
        landmarks = np.random.default_rng(0).random((2, 5, 2), dtype=np.float32)
        result = recognizer.recognize_crops(np.zeros((2, 12, 12, 3), np.uint8), landmarks)
        np.testing.assert_array_equal(result.regions[:, 1:], landmark_regions(landmarks, (0.25,)))
        with pytest.raises(ValueError, match="landmarks must be given"):
            recognizer.recognize_crops(np.zeros((2, 12, 12, 3), np.uint8))


@pytest.fixture
def trusting(trusted_model, square_detector):
    """A model with all heads behind the detector of squares."""
    return Recognizer(trusted_model, square_detector, threads=2)


class TurningDetector:
    """Finds one face whose landmarks are those of `SquareDetector`, turned about their middle."""

    def __init__(self, degrees):
        self.degrees = degrees

    def detect(self, image):
        points = np.float32([[0.3, 0.35], [0.7, 0.35], [0.5, 0.57], [0.34, 0.8], [0.66, 0.8]]) - 0.5
        cos, sin = np.cos(np.radians(self.degrees)), np.sin(np.radians(self.degrees))
        turned = points @ np.float32([[cos, sin], [-sin, cos]])  # clockwise, as y runs down
        box = np.float32([[20, 20, 80, 80]])
        return Detections(box, np.float32([0.99]), (turned * 60 + 50)[None].astype(np.float32))


@pytest.mark.usefixtures("plain_faces")
class TestPose:
    def test_is_the_model_s(self, trusted_model, tiny_model):
        photo = np.full((100, 100, 3), BLUE, np.uint8)
        yaw, pitch, roll = Recognizer(trusted_model, TurningDetector(10)).recognize(photo)[0].pose
        of_landmarks = Recognizer(tiny_model, TurningDetector(10)).recognize(photo)[0].pose
        assert (yaw, pitch) == pytest.approx((60 * 20 / 255, 30 * 20 / 255), abs=0.01)
        assert abs(of_landmarks.yaw) < 1
        assert roll == pytest.approx(of_landmarks.roll + 40 * 250 / 255, abs=0.01)

    @pytest.mark.parametrize("degrees", [-50, 0, 30, 160, 179])
    def test_roll_adds_that_of_the_frame(self, trusted_model, degrees):
        photo = np.full((100, 100, 3), BLUE, np.uint8)
        roll = Recognizer(trusted_model, TurningDetector(degrees)).recognize(photo)[0].pose.roll
        expected = degrees + 40 * 250 / 255
        assert (roll - expected + 180) % 360 - 180 == pytest.approx(0, abs=0.5)
        assert -180 <= roll <= 180

    def test_of_crops(self, trusting, recognizer):
        crops = np.full((1, 48, 48, 3), GREEN, np.uint8)
        assert trusting.recognize_crops(crops)[0].pose == pytest.approx(np.array([60 * 20, 30 * 250, 40 * 20]) / 255)
        assert recognizer.recognize_crops(crops)[0].pose is None


@pytest.mark.usefixtures("plain_faces")
class TestHardToJudge:
    """Nothing is invented, and nothing is raised."""

    @pytest.mark.parametrize(("side", "judged"), [(8, False), (15, False), (16, True), (48, True)])
    @pytest.mark.parametrize("detect", [True, False], ids=["photo", "crop"])
    def test_small_faces(self, trusting, side, judged, detect):
        image = np.full((side, side, 3), BLUE, np.uint8)
        if detect:
            image = np.pad(image, ((20, 30), (20, 30), (0, 0)))
        ((face,),) = [outcome.result for outcome in trusting.stream([image], detect=detect)]
        assert (face.pose is not None) == judged
        assert (face.uncertain, face.uncertain_reason) == (not judged, None if judged else "too small")
        assert (face.occlusion is not None) == judged
        assert {region.visibility is not None for region in face.regions} == {judged}
        assert sum(face.probabilities.values()) == pytest.approx(1)

    def test_small_faces_of_a_model_without_threshold(self, recognizer):
        small, large = (recognizer.recognize_crops(np.full((1, s, s, 3), RED, np.uint8))[0] for s in (8, 48))
        assert (small.uncertain, large.uncertain) == (True, None)

    def test_a_wholly_covered_face(self, trusting, draw_squares):
        covered, clear = trusting.recognize([draw_squares(RED), draw_squares(BLUE)])
        assert (covered[0].pose, covered[0].uncertain_reason) == (None, "covered")
        assert covered[0].occlusion.where == ("upper", "lower", "left", "right")
        assert all(region.visibility < 0.1 for region in covered[0].regions)
        assert covered.to_dict()["faces"][0]["pose"] is None
        assert (clear[0].pose is None, clear[0].uncertain) == (False, False)
        assert (clear[0].occlusion.occluded, clear[0].occlusion.where) == (False, ())

    def test_a_small_face_beside_a_large_one(self, trusting):
        photo = np.zeros((100, 100, 3), np.uint8)
        photo[10:60, 10:60] = BLUE
        photo[70:78, 70:78] = BLUE
        assert trusting.recognize(photo, min_confidence=0).uncertain == (False, True)

    @pytest.fixture
    def real(self, tiny_model):
        """With the real detector."""
        return Recognizer(tiny_model, threads=1)

    @pytest.mark.parametrize("name", ["masked.jpg", "turned.jpg"])
    def test_an_upside_down_photo(self, real, name):
        photo = np.asarray(Image.open(EXAMPLES / name))
        (face,) = real.recognize(photo[::-1, ::-1])
        assert abs(face.pose.roll) == pytest.approx(180, abs=10)
        assert (face.uncertain, face.uncertain_reason) == (True, "upside down")
        assert [each.uncertain_reason for each in real.recognize(photo)] == [None]

    def test_a_face_found_upside_down_is_turned(self, trusted_model):
        photo = np.full((100, 100, 3), (0, 0, 0), np.uint8)
        face = Recognizer(trusted_model, TurningDetector(180)).recognize(photo)[0]
        assert abs(face.pose.roll) == pytest.approx(180, abs=1)
        assert (face.uncertain, face.uncertain_reason) == (True, "upside down")
        assert face.occlusion is not None

    @pytest.mark.parametrize(("degrees", "reason"), [(0, None), (90, None), (-110, None), (130, "upside down")])
    def test_from_which_roll_a_face_is_upside_down(self, trusted_model, degrees, reason):
        photo = np.full((100, 100, 3), BLUE, np.uint8)
        assert Recognizer(trusted_model, TurningDetector(degrees)).recognize(photo)[0].uncertain_reason == reason

    def test_a_portrait_upside_down(self, real):
        photo = np.asarray(Image.open(EXAMPLES / "hopper.jpg"))
        (face,) = real.recognize(photo[::-1, ::-1])
        assert abs(face.pose.roll) == pytest.approx(178, abs=8)
        assert face.uncertain_reason == "upside down"
        assert real.recognize(photo)[0].uncertain_reason is None

    def test_two_overlapping_faces(self, real):
        photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg")).copy()
        photo[40:200, 240:330] = photo[40:200, 195:285].copy()  # once more, over the right side of the first
        result = real.recognize(photo)
        (right, left) = sorted(result, key=lambda face: -face.box.x1)
        assert left.box.x1 < right.box.x1 < left.box.x2 < right.box.x2
        assert all(abs(angle) < 45 for face in result for angle in face.pose)
        assert left.probabilities != right.probabilities

    def test_a_wholly_covered_face_in_a_photo(self, real):
        photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg")).copy()
        photo[50:180, 160:280] = RED
        assert len(real.recognize(photo)) == 0


def turn(face, degrees):
    """A face turned clockwise."""
    side = len(face)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1)
    return cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


class TestCropsThatCannotBeJudged:
    """Crops that come as faces (``--no-detect``) and are none, or stand on their heads; by the model that ships."""

    @pytest.fixture
    def shipped(self):
        return Recognizer(threads=1)

    @pytest.fixture
    def crops(self):
        """The faces of the example photos, framed as the recogniser frames them."""
        detector, crops = MTCNN(threads=1), []
        for name in ("astronaut", "hopper", "masked", "several", "turned"):
            photo = np.asarray(Image.open(EXAMPLES / f"{name}.jpg").convert("RGB"))
            crops += list(align_faces(photo, detector.detect(photo), 96))
        return crops

    def test_faces_are_judged(self, shipped, crops):
        result = shipped.recognize_crops(crops)
        assert result.judgeable.all()
        assert np.isfinite(result.pose).all()

    @pytest.mark.parametrize("degrees", [45, 90, 135, 180, -135, -90, -45])
    def test_faces_that_lie_are_turned_upright(self, shipped, crops, degrees):
        straight, turned = shipped.recognize_crops(crops), shipped.recognize_crops([turn(c, degrees) for c in crops])
        off = turned.pose - straight.pose - (0, 0, degrees)
        off[:, 2] = (off[:, 2] + 180) % 360 - 180
        right = (np.abs(off) < 15).all(axis=1)
        assert right.mean() >= 0.9
        assert (np.array(turned.expressions) == straight.expressions).mean() >= 0.9
        reasons = [face.uncertain_reason for face, follows in zip(turned, right, strict=True) if follows]
        assert ("upside down" in reasons) == (abs(degrees) > 120)

    def test_a_face_in_a_photo_whose_landmarks_lie(self, shipped, monkeypatch):
        """As found with landmarks as of an upright face, the astronaut on her side."""
        photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg"))
        upright = shipped.detector.detect(photo)
        centre = upright.landmarks.mean(axis=1, keepdims=True)
        monkeypatch.setattr(MTCNN, "detect", lambda self, image: upright)
        expected = shipped.recognize(photo)[0]
        matrix = cv2.getRotationMatrix2D(centre[0, 0].tolist(), -90, 1)
        (face,) = shipped.recognize(cv2.warpAffine(photo, matrix, photo.shape[1::-1]))
        assert face.expression == expected.expression
        assert face.pose == pytest.approx(np.add(expected.pose, (0, 0, 90)), abs=12)
        assert not face.uncertain

    def test_what_was_mistaken_for_a_face_in_a_photo(self, monkeypatch):
        """In the astronaut on her head a piece of the sleeve is found, if the photo is not turned.

        `default` turns it a little before it looks, to where MTCNN takes it for a face.
        """
        monkeypatch.setattr("regionfer.faces.mtcnn.UNSURE", 0.0)
        photo = np.asarray(Image.open(EXAMPLES / "astronaut.jpg"))[::-1, ::-1]
        (face,) = Recognizer("accurate").recognize(photo)
        assert face.box.y1 == 0
        assert (face.uncertain, face.uncertain_reason) == (True, "no face")
        assert (face.pose, face.occlusion, face.regions[0].visibility) == (None, None, None)

    def test_soft_noise(self, shipped):
        rng = np.random.default_rng(0)
        noise = [cv2.GaussianBlur(rng.normal(0, 1, (48, 48, 3)), (0, 0), 1.5) for _ in range(20)]
        result = shipped.recognize_crops(
            [((each - each.min()) / np.ptp(each) * 255).astype(np.uint8) for each in noise]
        )
        noticed = [face for face in result if face.uncertain_reason == "no face"]
        assert len(noticed) >= 16
        assert {(face.uncertain, face.pose, face.occlusion) for face in noticed} == {(True, None, None)}

    def test_only_suspect_crops_are_looked_at_again(self, trusting, draw_squares, monkeypatch):
        looked = []
        monkeypatch.setattr(
            CropCheck, "scores", lambda self, crops: looked.append(len(crops)) or np.full(len(crops), 0.9)
        )
        trusting.recognize_crops(np.stack([np.full((48, 48, 3), colour, np.uint8) for colour in (RED, BLUE, BLUE)]))
        trusting.recognize(draw_squares(RED, BLUE))
        assert looked == [1, 1]


class TestContrast:
    """A face of which nothing can be seen is treated as one of too few pixels."""

    @pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), RED], ids=["black", "white", "red"])
    @pytest.mark.parametrize("noise", [0, 2], ids=["plain", "noisy"])
    def test_nothing_is_said_of_a_plain_surface(self, trusted_model, colour, noise):
        grain = np.random.default_rng(0).normal(0, noise, (60, 60, 3))
        crop = np.clip(colour + grain, 0, 255).astype(np.uint8)
        face = Recognizer(trusted_model).recognize_crops(crop)[0]
        assert (face.uncertain, face.uncertain_reason) == (True, "no contrast")
        assert (face.pose, face.occlusion, face.regions[0].visibility) == (None, None, None)

    def test_only_what_is_within_the_box_counts(self, trusting, draw_squares):
        (face,) = trusting.recognize(draw_squares(BLUE))
        assert (face.uncertain_reason, face.pose) == ("no contrast", None)

    @pytest.mark.parametrize("name", ["astronaut.jpg", "hopper.jpg", "several.jpg", "turned.jpg"])
    def test_the_darkest_faces_of_the_stress_test_are_judged(self, trusted_model, name):
        image = np.asarray(Image.open(EXAMPLES / name))
        boxes = MTCNN(threads=1).detect(image).boxes.round().astype(int)
        assert len(boxes)
        for x1, y1, x2, y2 in boxes:
            side = min(x2 - x1, y2 - y1)
            face = cv2.resize(image[max(y1, 0) : y2, max(x1, 0) : x2], (side, side))
            dark = degrade(face, "darkness", LEVELS[-1]).pixels
            assert dark.mean() < 20
            assert "no contrast" not in Recognizer(trusted_model).recognize_crops([face, dark]).uncertain_reasons


@pytest.mark.usefixtures("plain_faces")
class TestMaxRisk:
    @pytest.mark.parametrize(("max_risk", "threshold"), [(None, 0.6), (0.1, 0.6), (0.05, 0.9), (1, 0.2)])
    def test_chooses_the_threshold(self, trusted_path, max_risk, threshold):
        recognizer = Recognizer(trusted_path, max_risk=max_risk)
        assert recognizer.threshold == threshold
        result = recognizer.recognize_crops(np.full((1, 48, 48, 3), GREEN, np.uint8))  # of probability 0.63
        assert result.threshold == threshold
        assert result.uncertain == (threshold > 0.63,)

    def test_unknown(self, tiny_model):
        assert Recognizer(tiny_model).threshold is None

    @pytest.mark.parametrize(
        ("max_risk", "message"),
        [
            pytest.param(0.01, r"tiny\.onnx: max_risk 0\.01 cannot be kept, .* give 0\.02 or more", id="too strict"),
            pytest.param(5, r"max_risk must be in 0\.\.1, got 5", id="percent"),
        ],
    )
    def test_refuses(self, trusted_path, max_risk, message):
        with pytest.raises(ValueError, match=message):
            Recognizer(trusted_path, max_risk=max_risk)

    def test_a_model_without_a_curve(self, tiny_path):
        with pytest.raises(ModelError, match="it has no risk-coverage curve, from which to choose a threshold"):
            Recognizer(tiny_path, max_risk=0.1)

    def test_a_model_that_comes_with_regionfer_has_its_name_only(self):
        with pytest.raises(ModelError, match=r"^default: max_risk 1e-06 cannot be kept"):
            Recognizer(max_risk=1e-6)

    def test_several_models(self, trusted_path):
        with pytest.raises(ModelError, match="fused models have no risk-coverage curve in common"):
            Recognizer([trusted_path, trusted_path], max_risk=0.1)
        assert Recognizer([trusted_path, trusted_path]).threshold is None


class TestConstruction:
    def test_loads_the_detector_late_and_once(self, tiny_path):
        recognizer = Recognizer(tiny_path)
        assert recognizer._detector is None
        barrier = Barrier(4)

        def ask(_):
            barrier.wait()
            return recognizer.detector

        with ThreadPoolExecutor(4) as pool:
            detectors = list(pool.map(ask, range(4)))
        assert isinstance(detectors[0], MTCNN)
        assert all(each is detectors[0] for each in detectors)

    def test_several_models_are_fused(self, save_model, square_detector, draw_squares):
        paths = [save_model(seed=seed) for seed in (1, 2)]
        photo = draw_squares(RED)
        fused = Recognizer([paths[0], ExpressionModel.load(paths[1])], square_detector)
        assert isinstance(fused.model, FusedModel)
        one, other = (Recognizer(path, square_detector).recognize(photo) for path in paths)
        mean = (one.probabilities + other.probabilities) / 2
        np.testing.assert_allclose(fused.recognize(photo).probabilities, mean, rtol=1e-5)

    def test_a_fused_model_gets_the_landmarks_that_only_its_second_needs(
        self, save_model, make_card, square_detector, draw_squares
    ):
        fused = Recognizer([save_model(), save_model(make_card(landmarks=True))], square_detector)
        assert len(fused.recognize(draw_squares(RED))) == 1
        with pytest.raises(ModelError, match="its regions follow the landmarks"):
            fused.stream([], detect=False)

    def test_fused_models_may_weigh_differently(self, save_model, square_detector, draw_squares):
        paths = [save_model(seed=seed) for seed in (1, 2)]
        photo = draw_squares(RED)
        fused = Recognizer(paths, square_detector, weights=[0.6, 0.4])
        one, other = (Recognizer(path, square_detector).recognize(photo).probabilities for path in paths)
        np.testing.assert_allclose(fused.recognize(photo).probabilities, 0.6 * one + 0.4 * other, rtol=1e-5)

    def test_the_shipped_model_may_be_fused(self, square_detector):
        fused = Recognizer([None, None], square_detector, weights=[1, 3])
        assert fused.model.weights == (0.25, 0.75)

    @pytest.mark.parametrize(
        ("several", "weights", "message"),
        [
            pytest.param(False, [1], "weights are for several models, got one model", id="one model"),
            pytest.param(True, [1], "weights must be 2 numbers", id="too few"),
            pytest.param(True, [1, -1], "none below 0", id="negative"),
        ],
    )
    def test_weights_that_do_not_fit(self, tiny_path, several, weights, message):
        with pytest.raises(ValueError, match=message):
            Recognizer([tiny_path, tiny_path] if several else tiny_path, weights=weights)

    def test_unknown_provider(self, tiny_path):
        with pytest.raises(ModelError, match="provider MagicProvider is not in this ONNX Runtime"):
            Recognizer(tiny_path, providers=["MagicProvider"])

    @pytest.mark.parametrize(
        ("detector", "message"),
        [
            (5, r"detector must have a method detect\(image\).*, got 5; leave it out for MTCNN"),
            ("mtcnn", "got 'mtcnn'"),
            (MTCNN, r"detector must be an object, got the class MTCNN; make one: MTCNN\(\)"),
        ],
        ids=["number", "name", "class"],
    )
    def test_what_is_no_detector_is_refused_at_once(self, tiny_path, detector, message):
        with pytest.raises(TypeError, match=message):
            Recognizer(tiny_path, detector)

    def test_no_threads(self, tiny_path):
        with pytest.raises(ValueError, match="threads must be at least 1"):
            Recognizer(tiny_path, threads=0)

    def test_bad_model(self, tmp_path):
        (tmp_path / "model.onnx").write_text("a text")
        with pytest.raises(ModelError, match=r"model\.onnx: not an ONNX model"):
            Recognizer(tmp_path / "model.onnx")


def test_threads_agree(tiny_model):
    """Eight threads share a recogniser with the real detector, each with a list and with single photos."""
    recognizer = Recognizer(tiny_model)
    paths = [EXAMPLES / name for name in ("astronaut.jpg", "hopper.jpg", "turned.jpg")]
    expected = [recognizer.recognize(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        lists = [pool.submit(recognizer.recognize, paths) for _ in range(2)]
        singles = [pool.submit(recognizer.recognize, path) for path in paths * 2]
        for future in lists:
            for one, other in zip(future.result(), expected, strict=True):
                assert_same(one, other)
        for future, other in zip(singles, expected * 2, strict=True):
            assert_same(future.result(), other)


def test_a_real_photo(tiny_model):
    photo = EXAMPLES / "astronaut.jpg"
    (face,) = result = Recognizer(tiny_model).recognize(photo)
    x1, y1, x2, y2 = face.box
    assert x1 < 224 < x2
    assert y1 < 115 < y2
    # The corners say where the aligned face lies: from the top left, right and down lead to the landmarks.
    top_left, top_right, bottom_right, bottom_left = result.aligned[0]
    found = Detections(result.boxes, result.scores, result.landmarks)
    u, v = aligned_landmarks(found)[0].T[..., None]
    places = top_left + u * (top_right - top_left) + v * (bottom_left - top_left)
    np.testing.assert_allclose(places, result.landmarks[0], atol=0.05)
    np.testing.assert_allclose(bottom_right - bottom_left, top_right - top_left, atol=0.01)


def test_unreadable_bytes_are_named(recognizer):
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40)).save(buffer, "PNG")
    with pytest.raises(ImageError, match="bytes: is damaged or cut off"):
        recognizer.recognize(buffer.getvalue()[:60])


@pytest.mark.parametrize(("model", "hat"), [(None, "upper"), ("accurate", "")])
def test_clear_photos_are_not_called_covered(model, hat):
    """The flag, the place and the words of the example photos agree: masks are covers, smiles are none; `default` calls
    hats covers, too.
    """
    recognizer = Recognizer(model)
    said = {}
    for name in ("astronaut", "turned", "hopper", "masked", "several"):
        faces = [face.occlusion for face in recognizer.recognize(EXAMPLES / f"{name}.jpg")]
        assert [bool(cover.where) for cover in faces] == [cover.occluded for cover in faces]
        assert [bool(covered_text(cover)) for cover in faces] == [cover.occluded for cover in faces]
        said[name] = [cover.where[0] if cover.where else "" for cover in faces]
    expected = {"astronaut": [""], "turned": [""], "hopper": [hat], "masked": ["lower"]}
    assert said == expected | {"several": ["upper", "", "", hat, "", ""]}
