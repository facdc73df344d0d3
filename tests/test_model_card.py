"""What a model file says of itself, and where its regions lie."""

import json

import numpy as np
import pytest

from regionfer.model_card import ModelCard, RegionCard
from regionfer.regions import fixed_regions, landmark_regions


class TestRegionCard:
    def test_fixed_boxes(self, make_card):
        boxes = make_card().regions.place(faces=4)
        np.testing.assert_array_equal(boxes[0], [0, 0, 1, 1])
        np.testing.assert_array_equal(boxes[1:], fixed_regions())

    def test_landmark_boxes(self, make_card):
        regions = make_card(landmarks=True).regions
        landmarks = np.random.default_rng(0).random((4, 5, 2), dtype=np.float32)
        boxes = regions.place(4, landmarks)
        assert boxes.shape == (4, 6, 4)
        np.testing.assert_array_equal(boxes[:, 0], [[0, 0, 1, 1]] * 4)
        np.testing.assert_array_equal(boxes[:, 1:], landmark_regions(landmarks, (0.25,)))
        with pytest.raises(ValueError, match="landmarks must be given"):
            regions.place(4)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param(("fixed", ("nose",), ((0, 0, 1, 1),)), "begin with 'face'", id="whole face is not first"),
            pytest.param(("fixed", ("face", "face"), ((0, 0, 1, 1),) * 2), "distinct", id="same name twice"),
            pytest.param(("fixed", ("face", "nose"), ((0, 0, 1, 1),)), "for each of 2 names", id="a box too few"),
            pytest.param(("fixed", ("face",), ((0, 0, 1),)), "box of four numbers", id="three numbers"),
            pytest.param(("landmark", ("face", "nose"), None, (0.2,)), "do not fit 1 radii", id="radii"),
        ],
    )
    def test_refuses(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            RegionCard(*arguments)


def test_card_survives_json(make_card, trusted_model):
    shifted = make_card(occlusion_threshold=0.4, prior_shift=(0.1,) * 8, uncertainty=trusted_model.card.uncertainty)
    for card in (make_card(), make_card(landmarks=True), make_card(labels=("calm", "tense"), temperature=1.5), shifted):
        assert ModelCard.from_json(card.to_json()) == card


def test_a_card_of_before_the_heads(make_card):
    new = ("uncertainty", "occlusion_threshold", "prior_shift")
    old = {key: value for key, value in make_card().to_dict().items() if key not in new}
    assert ModelCard.from_json(json.dumps(old)) == make_card()
