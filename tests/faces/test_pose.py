import numpy as np
import pytest

from regionfer.faces import head_pose
from regionfer.faces.pose import FACE_MODEL, fit_face

MIRROR = [1, 0, 2, 4, 3]  # image-left and image-right change places


def seen(yaw, pitch, roll, scale=60.0, centre=(300.0, 200.0)):
    """The model turned, written out by hand: nod, then turn, then tilt in the image; x right, y down, z away."""
    x, y, z = FACE_MODEL.T
    a = np.radians(pitch)
    y, z = y * np.cos(a) + z * np.sin(a), z * np.cos(a) - y * np.sin(a)
    a = np.radians(yaw)
    x = x * np.cos(a) - z * np.sin(a)
    a = np.radians(roll)
    x, y = x * np.cos(a) - y * np.sin(a), x * np.sin(a) + y * np.cos(a)
    return np.stack([x, y], axis=-1)[None] * scale + centre


def test_the_words_for_the_signs():
    eye_line = (seen(0, 0, 0)[0, 0] + seen(0, 0, 0)[0, 1]) / 2

    assert seen(30, 0, 0)[0, 2, 0] > eye_line[0]  # nose to the image's right
    assert seen(0, 30, 0)[0, 2, 1] < seen(0, 0, 0)[0, 2, 1]  # nose up
    assert seen(0, 0, 30)[0, 1, 1] > seen(0, 0, 30)[0, 0, 1]  # clockwise: the image-right eye goes down


@pytest.mark.parametrize("yaw", [-60, -30, 0, 30, 60])
@pytest.mark.parametrize("pitch", [-20, 0, 20])
@pytest.mark.parametrize("roll", [-45, 0, 45, 120])
def test_known_angles_come_back(yaw, pitch, roll):
    found = head_pose(seen(yaw, pitch, roll))[0]

    np.testing.assert_allclose(found, [yaw, pitch, roll], atol=4)


def test_noise_of_a_pixel_changes_little():
    rng = np.random.default_rng(0)
    points = seen(40, 10, -15) + rng.normal(0, 1, (200, 5, 2))

    assert np.abs(head_pose(points) - [40, 10, -15]).mean() < 4


def test_a_mirrored_face_has_the_opposite_yaw_and_roll():
    points = seen(35, -10, 20) + np.random.default_rng(1).normal(0, 1.5, (1, 5, 2))
    mirrored = (points * [-1, 1] + [640, 0])[:, MIRROR]

    np.testing.assert_allclose(head_pose(mirrored), head_pose(points) * [-1, 1, -1], atol=0.05)


@pytest.mark.parametrize("degrees", [-80, 25, 90])
def test_turning_the_image_changes_the_roll_only(degrees):
    points = seen(25, 10, 5) + np.random.default_rng(2).normal(0, 1.5, (1, 5, 2))
    a = np.radians(degrees)
    turned = points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])

    np.testing.assert_allclose(head_pose(turned), head_pose(points) + np.array([0, 0, degrees]), atol=0.05)


@pytest.mark.parametrize("factor", [0.01, 100])
def test_size_and_place_do_not_matter(factor):
    points = seen(25, 10, 5)

    np.testing.assert_allclose(head_pose(points * factor + 1000), head_pose(points), atol=0.05)


def test_scale_does_not_depend_on_the_yaw():
    points = np.concatenate([seen(yaw, 0, 0, scale=60) for yaw in (-60, -30, 0, 30, 60)])

    np.testing.assert_allclose(fit_face(points).scale, 60, rtol=0.03)


@pytest.mark.parametrize(
    "points",
    [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.array([[0, 0], [1, 0], [np.inf, 1], [0, 2], [1, 2]])],
    ids=["one point", "nan", "infinite"],
)
def test_points_without_a_pose_give_nan_and_spare_the_others(points):
    found = head_pose(np.stack([points, seen(20, 0, 0)[0]]))

    assert np.isnan(found[0]).all()
    assert found[1, 0] == pytest.approx(20, abs=2)


def test_points_in_disorder_do_not_warn():
    points = np.random.default_rng(0).random((1000, 5, 2))

    for some in points.reshape(200, 5, 5, 2):
        head_pose(some)


def test_points_on_a_line_do_not_raise():
    line = np.stack([np.arange(5.0), np.arange(5.0)], axis=-1)[None]

    assert head_pose(line).shape == (1, 3)


def test_no_faces_no_angles():
    assert head_pose(np.zeros((0, 5, 2))).shape == (0, 3)


def test_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"landmarks must have shape \(n, 5, 2\), got \(5, 2\)"):
        head_pose(np.zeros((5, 2)))
