"""Pose of a mesh: known turns come back, with the signs that the package uses."""

import numpy as np
import pytest

from regionfer.faces.pose import head_pose, rotation

ANGLES = np.radians([[0, 0, 0], [30, 0, 0], [-60, 10, 5], [75, -30, 20], [10, 25, -80], [-5, -40, 3]])
CORNERS = (33, 133), (263, 362), 1, 61, 291  # eyes, nose and mouth of the mesh, as in the five landmarks


@pytest.fixture
def module(script):
    return script("mesh_pose")


@pytest.fixture
def head(module, script):
    return module.MeanHead.load(script("label_pose").HEAD)


def meshes(head, angles, scale=40.0, shift=(96.0, 90.0, -7.0)):
    return scale * np.einsum("nij,pj->npi", rotation(angles), head.points) + shift


def test_angles_undo_the_rotation(module):
    np.testing.assert_allclose(module.angles_of(rotation(ANGLES)), ANGLES, atol=1e-12)


def test_known_turns_come_back(module, head):
    np.testing.assert_allclose(module.mesh_pose(meshes(head, ANGLES), head), np.degrees(ANGLES), atol=1e-8)


def test_scale_and_shift_come_back(module, head):
    rotations, scales, shifts = module.fit_rotation(meshes(head, ANGLES), head.points, head.weights)
    np.testing.assert_allclose(rotations, rotation(ANGLES), atol=1e-10)
    np.testing.assert_allclose(scales, 40)
    np.testing.assert_allclose(shifts, np.tile([96.0, 90.0, -7.0], (len(ANGLES), 1)), atol=1e-9)


def test_a_mirrored_mesh_is_turned_and_not_reflected(module, head):
    """As points keep their names, a mirror image fits best to a reflection, which no head does."""
    seen = meshes(head, ANGLES) * [-1, 1, 1]
    rotations = module.fit_rotation(seen, head.points, head.weights)[0]
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


def test_a_mirror_flips_yaw_and_roll(module, head):
    seen = (meshes(head, ANGLES) * [-1, 1, 1])[:, head.mirrored]
    expected = np.degrees(ANGLES) * [-1, 1, -1]
    np.testing.assert_allclose(module.mesh_pose(seen, head), expected, atol=1e-8)
    np.testing.assert_allclose(module.mirror_rotation(rotation(ANGLES)), rotation(np.radians(expected)), atol=1e-12)


def test_signs_are_those_of_the_five_landmarks(module, head):
    """An independent estimate, from five of the points in 2D, turns the same way."""
    angles = np.radians([[25, 0, 0], [-25, 0, 0], [0, 25, 0], [0, -25, 0], [0, 0, 25], [0, 0, -25]])
    seen = meshes(head, angles)
    five = np.stack([seen[:, np.atleast_1d(corner)].mean(axis=1) for corner in CORNERS], axis=1)
    level = head_pose(meshes(head, np.zeros((1, 3)))[:, [33, 263, 1, 61, 291], :2])[0]
    assert abs(level[0]) < 1
    assert abs(level[2]) < 1
    turned = head_pose(five[..., :2])
    axis = np.arange(6) // 2
    assert (np.sign(turned[np.arange(6), axis]) == [1, -1, 1, -1, 1, -1]).all()


def test_the_mean_head_is_symmetric_and_looks_at_the_viewer(module, head):
    np.testing.assert_allclose((head.points * [-1, 1, 1])[head.mirrored], head.points, atol=1e-9)
    assert head.weights.sum() == pytest.approx(1)
    assert (head.weights > 0).all()
    assert module.eye_distance(head.points) == pytest.approx(1)
    assert head.points[1, 2] < head.points[[33, 263], 2].min()  # the nose is nearer than the eyes
    assert head.points[152, 1] > head.points[10, 1]  # the chin is below the forehead


def test_the_mean_of_noisy_meshes_is_the_head(module, head):
    rng = np.random.default_rng(0)
    noisy = meshes(head, np.radians(rng.normal(0, 6, (200, 3)))) + rng.normal(0, 0.4, (200, 468, 3))
    again = module.mean_head(noisy)
    fitted = module.fit_rotation(head.points[None], again.points, again.weights)
    assert np.degrees(np.abs(module.angles_of(fitted[0])[0, [0, 2]])).max() < 0.5  # yaw and roll 0 are symmetry
    rotations, scales, shifts = fitted
    np.testing.assert_allclose(scales[0] * again.points @ rotations[0].T + shifts[0], head.points, atol=0.02)
    np.testing.assert_array_equal(again.mirrored, head.mirrored)


def test_points_that_move_count_little(module, head):
    rng = np.random.default_rng(1)
    spread = np.where(np.arange(468) < 100, 3.0, 0.3)[:, None]
    again = module.mean_head(meshes(head, np.zeros((200, 3))) + rng.normal(0, spread, (200, 468, 3)))
    restless = again.weights[:100][again.mirrored[:100] < 100]
    calm = again.weights[100:][again.mirrored[100:] >= 100]
    assert restless.max() < calm.min() / 20


def test_a_lopsided_mesh_has_no_mirror_pairs(module):
    with pytest.raises(ValueError, match="too lopsided"):
        module.mirror_pairs(np.random.default_rng(0).normal((5, 0, 0), 1, (50, 3)))


def test_mean_of_rotations_lies_between(module):
    pair = np.stack([rotation(np.radians([[10.0, 0, 0]])), rotation(np.radians([[30.0, 0, 0]]))])
    np.testing.assert_allclose(np.degrees(module.angles_of(module.mean_rotation(pair))), [[20, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(module.turns_between(*pair), [20], atol=1e-6)


def test_true_yaw_grows_and_keeps_its_sign(module):
    yaws = np.linspace(-89, 89, 179)
    true = module.true_yaw(yaws)
    assert (np.diff(true)[np.abs(yaws[1:]) < 74] > 0).all()
    np.testing.assert_allclose(true, -true[::-1], atol=1e-12)
    np.testing.assert_allclose(module.true_yaw(np.array([0, 26, -46])), [0, 30, -60])
