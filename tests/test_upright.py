"""Rolled faces are turned upright by what the model says of them, and looked at again."""

import numpy as np
import pytest

from regionfer import Recognizer
from regionfer.evaluation.answers import looking_alike
from regionfer.onnx_model import Classifier, ModelOutput
from regionfer.regions import LANDMARKS
from regionfer.upright import ROLLED, UPRIGHT, look_at

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
    """Tells the roll of dotted faces, as far as it is said to; the probabilities are where the dot is, and no dot's."""

    def __init__(self, card, told=lambda roll: roll, needs_landmarks=False):
        self.card, self.heads, self.told, self.needs_landmarks = card, ("pose",), told, needs_landmarks
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
        return ModelOutput(probabilities, even, even, even, pose=pose)


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


class TestRecognizer:
    @pytest.mark.parametrize("roll", [0, 30, -50])
    def test_pose_and_place_are_those_in_the_image(self, card, roll):
        result = Recognizer(Compass(card)).recognize_crops(dotted(roll))
        assert result[0].pose.roll == pytest.approx(roll, abs=1)
        corners = result.aligned[0] / SIDE
        above = (corners[0] + corners[1]) / 2
        assert above - 0.5 == pytest.approx((place(roll) - 0.5) / 0.6, abs=0.02)  # the dot is 0.3 from the middle
        assert result.boxes.tolist() == [[0, 0, SIDE, SIDE]]

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
