"""Where the faces of a photo are, and how the places of several photos come together."""

import numpy as np
import pytest

from regionfer.faces import Detections
from regionfer.faces.alignment import frame_roll
from regionfer.photos import join_places, places_of, pose_in_image, whole_place
from regionfer.regions import TYPICAL_LANDMARKS


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def found():
    """Two faces that look straight ahead, 30 and 40 pixels wide."""
    boxes = np.float32([(10, 20, 40, 50), (60, 30, 100, 70)])
    landmarks = np.stack([np.float32(TYPICAL_LANDMARKS) * (box[2] - box[0]) + box[:2] for box in boxes])
    return Detections(boxes, np.float32([0.99, 0.95]), landmarks)


def test_of_faces_that_were_found(photo, found):
    photo[30:70, 60:100] = 128
    places = places_of(photo, found)
    assert places.contrasted.tolist() == [True, False]
    np.testing.assert_array_equal(places.boxes, found.boxes)
    sides = np.linalg.norm(places.frames[:, 1], axis=1)
    assert sides[1] == pytest.approx(sides[0] * 4 / 3, rel=1e-3)
    assert np.abs(places.pose).max() < 15


def test_of_a_crop_it_is_the_whole_of_it(photo):
    place = whole_place(photo)
    assert place.boxes.tolist() == [[0, 0, 120, 90]]
    assert place.frames.tolist() == [[[0, 0], [120, 0], [0, 90]]]
    assert np.isnan(place.scores).all()
    assert np.isnan(place.pose).all()
    assert place.landmarks is None


def test_of_several_photos_they_stand_in_a_row(photo, found):
    places = [places_of(photo, part) for part in (found[:1], found[:0], found[1:])]
    joined, expected = join_places(places), places_of(photo, found)
    for name in expected._fields:
        np.testing.assert_array_equal(getattr(joined, name), getattr(expected, name), err_msg=name)


def test_of_several_crops_they_have_no_landmarks(photo):
    joined = join_places([whole_place(photo), whole_place(photo[:40])])
    assert joined.boxes.tolist() == [[0, 0, 120, 90], [0, 0, 120, 40]]
    assert joined.landmarks is None


def test_of_no_photo_there_are_none():
    joined = join_places([])
    assert joined.boxes.shape == (0, 4)
    assert joined.frames.shape == (0, 3, 2)
    assert joined.landmarks is None


def test_the_roll_in_the_image_is_that_of_the_frame_and_that_within_it(photo, found):
    places = places_of(photo, found)
    across, down = places.frames[:, 1].copy(), places.frames[:, 2].copy()
    on_its_side = places._replace(frames=np.stack([places.frames[:, 0], down, -across], axis=1))
    of_model = np.float32([(10, 5, 0), (-20, 0, 100)])
    upright = pose_in_image(places, of_model)
    np.testing.assert_allclose(upright[:, :2], of_model[:, :2])
    np.testing.assert_allclose(upright[:, 2] - frame_roll(places.frames), of_model[:, 2], atol=1e-3)
    lying = pose_in_image(on_its_side, of_model)
    np.testing.assert_allclose((lying - upright)[:, 2] % 360, 90, atol=1e-3)
    np.testing.assert_array_equal(pose_in_image(places, None), places.pose)
