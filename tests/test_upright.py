"""Rolled faces are turned upright by what the model says of them, and looked at again."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from regionfer import Recognizer
from regionfer.annotation import annotate, read_inputs
from regionfer.datasets import Manifest
from regionfer.errors import DatasetError
from regionfer.evaluation import evaluate
from regionfer.evaluation.answers import answer_faces, looking_alike
from regionfer.evaluation.stress import stress
from regionfer.evaluation.stress_faces import DatasetFaces, PhotoFaces
from regionfer.faces.crops import CropCheck
from regionfer.labels import LABELS
from regionfer.onnx_model import Classifier, ModelOutput
from regionfer.parts import Parts
from regionfer.regions import LANDMARKS
from regionfer.upright import ODDS, ROLLED, SUSPECT, UPRIGHT, _turned, look_at

SIDE = 61


def place(roll):
    """Where the dot of a face is, x y in 0..1, that is rolled clockwise by degrees: above the middle if upright."""
    return 0.5 + 0.3 * np.array([np.sin(np.radians(roll)), -np.cos(np.radians(roll))])


def dotted(*rolls):
    """Faces with a dot each, (n, SIDE, SIDE, 3)."""
    y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
    distances = [np.hypot(x - place(roll)[0], y - place(roll)[1]) for roll in rolls]
    dots = 255 * np.exp(-np.square(np.stack(distances) / 0.06))
    return np.repeat(dots[..., None], 3, axis=3).astype(np.uint8)


class Compass(Classifier):
    """Tells the roll of dotted faces, as far as it is told to, and what is covered; its answer is where the dot is."""

    def __init__(self, card, told=lambda roll: roll, covered=None, needs_landmarks=False):
        self.card, self.told, self.covered, self.needs_landmarks = card, told, covered, needs_landmarks
        self.heads = ("pose",) if covered is None else ("occlusion", "pose")
        self.sizes, self.landmarks = [], []

    def _run(self, faces, landmarks):
        self.sizes.append(len(faces))
        self.landmarks.append(landmarks)
        y, x = (np.mgrid[:SIDE, :SIDE] + 0.5) / SIDE
        light = faces[..., 0] / np.maximum(faces[..., 0].sum((1, 2), keepdims=True, dtype=float), 1)
        x, y = (light * x).sum((1, 2)), (light * y).sum((1, 2))
        roll = np.degrees(np.arctan2(x - 0.5, 0.5 - y))
        pose = np.stack([roll * 0, roll * 0, self.told(roll)], axis=1).astype(np.float32)
        probabilities = np.column_stack([x, 1 - x, np.zeros((len(faces), 6))]).astype(np.float32)
        even = np.full((len(faces), len(self.card.regions.names)), 0.5, np.float32)
        occlusion = None
        if self.covered is not None:
            occlusion = np.tile(1 - np.float32(self.covered(roll))[:, None], (1, 6))
            occlusion[:, 1] = self.covered(roll)
        return ModelOutput(probabilities, even, even, even, occlusion=occlusion, pose=pose)


@pytest.fixture
def card(make_card):
    return make_card(face_size=SIDE)


class TestLook:
    def test_what_is_nearly_upright_is_seen_once(self, card):
        model = Compass(card)
        look = look_at(model, dotted(0, 14, -14))
        assert model.sizes == [3]
        assert look.turned.tolist() == [0, 0, 0]
        assert look.output.pose[:, 2] == pytest.approx([0, 14, -14], abs=1)
        assert (look.faces == dotted(0, 14, -14)).all()

    @pytest.mark.parametrize("roll", [20, -35, 60, 170])
    def test_what_is_rolled_is_turned_upright(self, card, roll):
        model = Compass(card)
        look = look_at(model, dotted(3, roll))
        assert model.sizes == [2, 1]
        assert look.turned == pytest.approx([0, roll], abs=1)
        assert look.output.pose[:, 2] == pytest.approx([3, 0], abs=1)
        assert np.abs(look.faces[1].astype(int) - dotted(0)[0]).max() < 40
        assert look.output.probabilities[1, 0] == pytest.approx(0.5, abs=0.01)

    def test_more_than_once_if_the_roll_is_told_too_small(self, card):
        model = Compass(card, told=lambda roll: 0.6 * roll)
        look = look_at(model, dotted(60, 40, 90))
        assert model.sizes == [3, 3, 3, 2]
        rest = look.output.pose[:, 2]
        assert (np.abs(rest) < ROLLED).all()
        assert look.turned + rest / 0.6 == pytest.approx([60, 40, 90], abs=2)

    @pytest.mark.parametrize("rest", [UPRIGHT + 1, ROLLED - 1])
    def test_a_little_rolled_in_the_end_counts_as_upright(self, card, rest):
        model = Compass(card, told=lambda roll: np.where(np.abs(roll) < 45, rest, roll))
        look = look_at(model, dotted(60))
        assert look.turned == pytest.approx([60 + 2 * rest], abs=1)
        assert look.output.pose[0, 2] == rest

    def test_a_later_answer_that_is_no_number_does_not_count(self, card):
        model = Compass(card, told=lambda roll: np.where(np.abs(roll) < 20, np.nan, roll))
        look = look_at(model, dotted(40, 50))
        assert look.turned.tolist() == [0, 0]
        assert look.output.pose[:, 2] == pytest.approx([40, 50], abs=1)

    def test_beyond_the_edge_its_pixels_go_on(self, card):
        face = np.full((1, SIDE, SIDE, 3), 100, np.uint8)
        face[0, 8:14, 28:33] = 255  # the dot, above
        rolled = _turned(face, np.float32([-40]))
        assert (_turned(rolled, np.float32([40]))[0, :3, :3] == 100).all()
        assert look_at(Compass(card), rolled).faces.min() == 100

    def test_landmarks_that_the_model_leaves_aside_may_be_anything(self, card):
        assert look_at(Compass(card), dotted(40), [[1, 2]]).landmarks is None

    def test_what_is_never_found_upright_stays_as_it_came(self, card):
        model = Compass(card, told=lambda roll: np.full_like(roll, 30))
        look = look_at(model, dotted(10, 50))
        assert model.sizes == [2, 2, 2, 2]
        assert look.turned.tolist() == [0, 0]
        assert (look.faces == dotted(10, 50)).all()
        assert look.output.pose[:, 2].tolist() == [30, 30]
        assert look.output.probabilities[:, 0] == pytest.approx([place(10)[0], place(50)[0]], abs=0.01)

    def test_a_little_left_over_is_left(self, card):
        model = Compass(card, told=lambda roll: roll - np.sign(roll) * (UPRIGHT - 1))
        assert look_at(model, dotted(40)).turned == pytest.approx([36], abs=1)
        assert model.sizes == [1, 1]

    def test_landmarks_follow(self, card):
        model = Compass(card, needs_landmarks=True)
        points = np.tile(np.float32(place(40)), (1, len(LANDMARKS), 1))
        look = look_at(model, dotted(40), points)
        assert model.landmarks[0][0, 0] == pytest.approx(place(40))
        assert model.landmarks[1][0] == pytest.approx(np.tile(place(0), (len(LANDMARKS), 1)), abs=0.01)
        assert (look.landmarks == model.landmarks[1]).all()

    def test_runs_are_as_large_as_asked(self, card):
        model = Compass(card)
        look_at(model, dotted(*range(20, 70, 10)), batch_size=2)
        assert model.sizes == [2, 2, 1] * 2

    def test_once_if_asked_or_if_the_model_does_not_tell(self, card, tiny_model):
        model = Compass(card)
        assert look_at(model, dotted(40), upright=False).turned.tolist() == [0]
        assert model.sizes == [1]
        assert look_at(tiny_model, dotted(40)).turned.tolist() == [0]

    def test_no_faces(self, card, trusted_model):
        assert len(look_at(trusted_model, np.empty((0, SIDE, SIDE, 3), np.uint8)).turned) == 0


def blind(roll):
    """Tells the roll up to 50 degrees; of faces that lie or stand on their heads, none."""
    return np.where(np.abs(roll) <= 50, roll, 0)


def lying(roll):
    """Finds faces covered as far as they lie: 0.1 upright, 0.9 upside down."""
    return 0.1 + np.abs(roll) / 225


class TestQuarterTurns:
    @pytest.mark.parametrize("roll", [75, 90, 110, 180, -160, -90, -70])
    def test_a_covered_face_counts_as_it_is_where_least_is_covered(self, card, roll):
        model = Compass(card, blind, lying)
        look = look_at(model, dotted(0, roll, 30))
        assert (look.turned - (0, roll, 30) + 180) % 360 - 180 == pytest.approx([0, 0, 0], abs=6)
        assert np.abs(look.output.pose[:, 2]).max() < 6
        assert look.output.occlusion[:, 1] == pytest.approx([0.1, 0.1, 0.1], abs=0.03)
        assert (look.pose[1, 2] - roll + 180) % 360 - 180 == pytest.approx(0, abs=2)
        assert np.abs(look.faces[1].astype(int) - dotted(look.output.pose[1, 2])[0]).max() < 60

    def test_what_is_hardly_covered_is_not_turned_over(self, card):
        model = Compass(card, blind, lambda roll: np.where(np.abs(roll) > 60, SUSPECT - 0.01, 0))
        assert look_at(model, dotted(90)).turned.tolist() == [0]
        assert model.sizes == [1]

    def test_nor_what_is_covered_any_way(self, card):
        model = Compass(card, lambda roll: 0 * roll, lambda roll: 0.5 - np.abs(roll) / 1500)
        look = look_at(model, dotted(0, 10))
        assert model.sizes == [2, 6]
        assert look.turned.tolist() == [0, 0]
        assert (look.faces == dotted(0, 10)).all()
        assert look.output.occlusion[:, 1] == pytest.approx([0.5, 0.5], abs=0.01)

    def test_only_those_that_are_covered_are_looked_at_so(self, card):
        model = Compass(card, blind, lying)
        look = look_at(model, dotted(0, 5, 180, 10))
        assert model.sizes == [4, 3]
        assert np.abs(look.turned) == pytest.approx([0, 0, 180, 0], abs=1)

    def test_each_face_is_compared_with_itself(self, card):
        model = Compass(card, blind, lambda roll: np.where((np.abs(roll) + 10) % 90 < 20, 0.22, lying(roll)))
        assert look_at(model, dotted(0, 150)).turned == pytest.approx([0, 150], abs=1)
        assert model.sizes == [2, 6, 1]

    def test_quarters_are_of_the_face_as_it_was_turned_before(self, card):
        model = Compass(card, lambda roll: np.where(np.abs(roll) > 150, 70, 0), lying)
        assert look_at(model, dotted(160)).turned == pytest.approx([160], abs=1)

    def test_by_180_degrees_at_most(self, card):
        model = Compass(card, lambda roll: np.where(np.abs(roll) > 140, 120, 0), lying)
        assert look_at(model, dotted(-150)).turned == pytest.approx([-150], abs=1)

    def test_the_faces_given_stay_as_they_are(self, card):
        faces = dotted(180)
        look_at(Compass(card, blind, lying), faces)
        assert (faces == dotted(180)).all()

    @pytest.mark.parametrize(("share", "turned"), [(ODDS - 0.02, 180), (ODDS + 0.02, 0)])
    def test_less_must_be_covered_by_far(self, card, share, turned):
        model = Compass(card, lambda roll: 0 * roll, lambda roll: np.where(np.abs(roll) > 60, 0.5, 0.5 * share))
        assert np.abs(look_at(model, dotted(180)).turned) == pytest.approx([turned], abs=1)

    def test_from_a_fifth_on(self, card):
        model = Compass(card, lambda roll: 0 * roll, lambda roll: 0 * roll + SUSPECT)
        look_at(model, dotted(0))
        assert model.sizes == [1, 3]

    def test_a_turn_of_which_nothing_is_known_does_not_count(self, card):
        model = Compass(card, blind, lambda roll: np.where(np.abs(roll - 90) < 20, np.nan, lying(roll)))
        assert np.abs(look_at(model, dotted(180)).turned) == pytest.approx([180], abs=1)

    def test_a_quarter_turn_in_which_less_is_covered_is_turned_upright(self, card):
        model = Compass(card, blind, lying)
        look = look_at(model, dotted(0, 120, 180))
        assert model.sizes == [3, 6, 1]  # three turns of two faces each; one of these six is rolled, by 30
        assert look.turned % 360 == pytest.approx([0, 120, 180], abs=1)

    def test_before_it_is_compared(self, card):
        """Rolled by 40 it looks more covered than in the next quarter turn, which tells no roll; upright, less."""
        covered = {0: 0.1, 40: 0.7, -50: 0.5, 130: 0.9, -140: 0.9}
        model = Compass(
            card,
            lambda roll: np.where(np.abs(roll - 40) < 5, 40, 0),
            lambda roll: np.array([covered[min(covered, key=lambda known: abs(known - each))] for each in roll]),
        )
        assert look_at(model, dotted(130)).turned == pytest.approx([130], abs=1)
        assert model.sizes == [1, 3, 1]

    def test_nor_one_in_which_no_less_is_covered(self, card):
        model = Compass(card, lambda roll: np.where(np.abs(roll) > 45, 30, 0), lambda roll: 0.5 + np.abs(roll) / 1000)
        look_at(model, dotted(0))
        assert model.sizes == [1, 3]

    def test_once_if_asked(self, card):
        model = Compass(card, blind, lying)
        assert look_at(model, dotted(180), upright=False).turned.tolist() == [0]
        assert model.sizes == [1]


class TestRecognizer:
    @pytest.mark.parametrize("roll", [0, 30, -50])
    def test_pose_and_place_are_those_in_the_image(self, card, roll):
        result = Recognizer(Compass(card)).recognize_crops(dotted(roll))
        assert result[0].pose.roll == pytest.approx(roll, abs=1)
        corners = result.aligned[0] / SIDE
        above = (corners[0] + corners[1]) / 2
        assert above - 0.5 == pytest.approx((place(roll) - 0.5) / 0.6, abs=0.02)  # the dot is 0.3 from the middle
        assert result.boxes.tolist() == [[0, 0, SIDE, SIDE]]

    @pytest.mark.parametrize("shape", [(200, 100), (100, 200)])
    def test_of_a_crop_that_is_squeezed_the_roll_is_that_in_the_image(self, card, shape):
        """No jump at the roll from which faces are turned."""
        upright = Recognizer(Compass(card))
        for roll in (10, 14, 16, 40):
            height, width = shape
            crop = cv2.resize(dotted(roll)[0], (width, height))
            expected = np.degrees(np.arctan2(height * np.sin(np.radians(roll)), width * np.cos(np.radians(roll))))
            for recognizer in (upright, upright.looking_once()):
                assert recognizer.recognize_crops([crop])[0].pose.roll == pytest.approx(expected, abs=2)

    def test_regions_that_follow_landmarks_are_turned_with_the_face(self, make_card):
        card = make_card(face_size=SIDE, landmarks=True)
        points = np.tile(np.float32(place(40)), (1, len(LANDMARKS), 1))
        result = Recognizer(Compass(card, needs_landmarks=True)).recognize_crops(dotted(40), points)
        x1, y1, x2, y2 = result.regions[0, 1]
        assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx(tuple(place(0)), abs=0.03)

    @pytest.mark.parametrize(("roll", "reason"), [(110, ""), (130, "upside down"), (-130, "upside down")])
    def test_a_crop_turned_by_more_than_120_degrees_is_upside_down(self, card, roll, reason):
        result = Recognizer(Compass(card)).recognize_crops(dotted(roll))
        assert result.unfit.tolist() == [reason]
        assert result[0].pose.roll == pytest.approx(roll, abs=1)

    def test_the_check_for_faces_sees_them_upright(self, card, monkeypatch):
        seen = []
        monkeypatch.setattr(CropCheck, "scores", lambda self, faces: seen.append(faces) or np.ones(len(faces)))
        Recognizer(Compass(card, covered=lambda roll: 0 * roll + 0.3)).recognize_crops(dotted(40))
        assert np.abs(seen[0][0].astype(int) - dotted(0)[0]).max() < 40

    def test_a_roll_told_too_small_is_made_up_for(self, card):
        recognizer = Recognizer(Compass(card, told=lambda roll: 0.7 * roll))
        assert recognizer.recognize_crops(dotted(50))[0].pose.roll == pytest.approx(50, abs=2)
        assert recognizer.looking_once().recognize_crops(dotted(50))[0].pose.roll == pytest.approx(35, abs=1)

    def test_once_if_asked(self, card):
        model = Compass(card)
        Recognizer(model, upright=False).recognize_crops(dotted(40))
        assert model.sizes == [1]

    def test_looking_once_leaves_the_other_as_it_is(self, card):
        recognizer = Recognizer(Compass(card))
        once = recognizer.looking_once()
        assert (recognizer.upright, once.upright, once.model) == (True, False, recognizer.model)

    def test_a_model_that_does_not_tell_looks_once(self, tiny_model):
        assert not Recognizer(tiny_model).upright

    def test_only_alike_is_compared(self, card, tiny_model):
        turning, straight = Recognizer(Compass(card)), Recognizer(tiny_model)
        assert [each.upright for each in looking_alike([turning, turning])] == [True, True]
        assert [each.upright for each in looking_alike([turning, straight])] == [False, False]
        assert turning.upright


class TestEvaluation:
    """Of dotted faces that are rolled by 40 degrees, whose first probability is 0.5 if they are turned upright."""

    @pytest.fixture
    def manifest(self):
        faces = dotted(*[40] * 6)
        return Manifest(
            dataset="Dots",
            protocol="as drawn",
            root=Path("nowhere"),
            names=np.array([f"{row}.png" for row in range(len(faces))]),
            labels=np.zeros(len(faces), np.int64),
            targets=np.eye(len(LABELS), dtype=np.float32)[np.zeros(len(faces), int)],
            splits=np.array(["test"] * len(faces)),
            pixels=faces,
        )

    @pytest.fixture
    def turning(self, card):
        return Recognizer(Compass(card))

    def test_answers_are_those_of_the_recogniser(self, turning, manifest):
        again, once = (answer_faces(each, manifest).probabilities[:, 0] for each in (turning, turning.looking_once()))
        assert again == pytest.approx([0.5] * 6, abs=0.01)
        assert once == pytest.approx([place(40)[0]] * 6, abs=0.01)

    def test_faces_turned_upright_are_checked(self, card, manifest, monkeypatch):
        seen = []
        monkeypatch.setattr(CropCheck, "scores", lambda self, faces: seen.append(faces) or np.ones(len(faces)))
        answer_faces(Recognizer(Compass(card, covered=lambda roll: 0 * roll + 0.3)), manifest)
        assert np.abs(seen[0][0].astype(int) - dotted(0)[0]).max() < 40

    @pytest.mark.parametrize("work", ["evaluate", "stress"])
    def test_a_baseline_that_cannot_makes_both_look_once(self, turning, tiny_model, manifest, work):
        def run(baseline=None):
            if work == "evaluate":
                done = evaluate(turning, manifest, baseline=baseline)
                return done.protocol, done.model.faces.answers.probabilities[0, 0]
            done = stress(turning, DatasetFaces(manifest), kinds=["border"], baseline=baseline)
            return done.protocol, next(iter(done.model.probabilities.values()))[0, 0]

        for baseline in ((), (turning,)):
            protocol, probability = run(*baseline)
            assert (
                protocol
                == "as drawn; faces that the model finds rolled or much covered looked at again, turned upright"
            )
            assert probability == pytest.approx(0.5, abs=0.01)
        protocol, probability = run(Recognizer(tiny_model))
        assert protocol == "as drawn; each face looked at once"
        assert probability == pytest.approx(place(40)[0], abs=0.01)

    def test_photos_of_one_s_own_say_so_too(self, turning):
        assert "looked at again" in PhotoFaces([]).protocol(turning)
        assert "looked at once" in PhotoFaces([]).protocol(turning.looking_once())

    def test_a_run_that_looked_once_is_not_gone_on_with(self, turning, manifest, tmp_path):
        parts = Parts(tmp_path / "parts")

        def stop(done):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            stress(turning.looking_once(), DatasetFaces(manifest), kinds=["border"], parts=parts, advance=stop)
        with pytest.raises(DatasetError, match="upright"):
            stress(turning, DatasetFaces(manifest), kinds=["border"], parts=Parts(tmp_path / "parts"))

    def test_nor_is_a_table(self, trusted_path, tmp_path):
        for number in range(3):
            cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((48, 48, 3), 60 * number, np.uint8))
        recognizer, inputs = Recognizer(trusted_path, threads=1), read_inputs(tmp_path)

        def stop(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            annotate(inputs, tmp_path / "t.csv", recognizer.looking_once(), detect=False, progress=stop)
        with pytest.raises(DatasetError, match="upright"):
            annotate(inputs, tmp_path / "t.csv", recognizer, detect=False)
