"""Held-out faces covered and turned."""

import numpy as np
import pytest

from regionfer.ablation.conditions import COVERS, SEARCH_SIDE, covered_faces, filled, find_landmarks, turned, yaw_of
from regionfer.faces import Detections
from regionfer.regions import TYPICAL_LANDMARKS


@pytest.fixture
def faces():
    return np.full((6, 48, 48, 3), 128, dtype=np.uint8)


@pytest.mark.parametrize("kind", COVERS)
def test_every_face_is_covered_and_the_same_each_time(faces, kind):
    covered = covered_faces(faces, kind)
    assert (covered != faces).any(axis=(1, 2, 3)).all()
    assert not (covered == faces).all(axis=-1).all(axis=(1, 2)).any()
    np.testing.assert_array_equal(covered, covered_faces(faces, kind))
    np.testing.assert_array_equal(covered[:2], covered_faces(faces[:2], kind))
    assert (covered[0] != covered[1]).any()


def test_covers_sit_at_the_landmarks(faces):
    points = np.tile(np.float32(TYPICAL_LANDMARKS), (6, 1, 1))
    points[1] = points[1] * 0.4 + (0.0, 0.6)  # a small face in the lower left corner
    points[2] = np.nan
    changed = (covered_faces(faces, "dark glasses", points) != faces).any(axis=-1)
    assert changed[0, :24].mean() > changed[0, 24:].mean()
    assert not changed[1, :24].any()
    assert changed[1, 24:].any()
    np.testing.assert_array_equal(changed[2], (covered_faces(faces, "dark glasses")[2] != faces[2]).any(axis=-1))


class CornerDetector:
    """Sees two faces in bright pictures: the larger one's points are at known places."""

    def detect(self, image):
        assert image.shape == (SEARCH_SIDE, SEARCH_SIDE, 3)
        if image.mean() < 10:
            return Detections.empty()
        boxes = np.float32([[0, 0, 20, 20], [0, 0, 144, 144]])
        points = np.float32([np.full((5, 2), 10), np.full((5, 2), 72)])
        return Detections(boxes, np.float32([0.99, 0.95]), points)


def test_landmarks_of_the_largest_face_are_shares_of_the_crop(faces):
    faces[1] = 0
    done = []
    found = find_landmarks(faces, CornerDetector(), workers=2, advance=done.append)
    np.testing.assert_allclose(found[[0, 2, 3, 4, 5]], 0.5)
    assert np.isnan(found[1]).all()
    assert sum(done) == 6
    np.testing.assert_allclose(filled(found)[1], TYPICAL_LANDMARKS)


def test_a_face_without_landmarks_has_no_yaw_and_is_not_turned():
    points = np.tile(np.float32(TYPICAL_LANDMARKS), (5, 1, 1))
    points[1, 2, 0] += 0.15  # the nose to the right
    points[2, 2, 0] -= 0.1
    points[3] = np.nan
    yaw = yaw_of(points)
    assert abs(yaw[0]) < 2
    assert yaw[1] > 20
    assert yaw[2] < -10
    assert np.isnan(yaw[3])
    assert turned(yaw, 0.5).tolist() == [False, True, True, False, False]
    assert not turned(np.full(4, np.nan, dtype=np.float32)).any()
