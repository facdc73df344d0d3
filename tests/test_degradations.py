import cv2
import numpy as np
import pytest

from regionfer.degradations import DEGRADATIONS, LEVELS, degrade
from regionfer.regions import TYPICAL_LANDMARKS

SIDE = 96
COVERING = ("mask", "sunglasses", "hand", "border")


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    """A colourful picture with detail of every size."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(60, 200, (6, 6, 3)).astype(np.uint8), (SIDE, SIDE))
    return np.clip(coarse + rng.normal(0, 20, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def detail(picture: np.ndarray) -> float:
    return float(np.abs(np.diff(picture.astype(float), axis=0)).mean())


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_the_same_seed_does_the_same(face, kind):
    one, two = degrade(face, kind, 3, seed=1), degrade(face, kind, 3, seed=1)
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.pixels.dtype == np.uint8
    assert one.amount == two.amount
    if kind not in ("blur", "resolution"):
        assert any((degrade(face, kind, 3, seed=seed).pixels != one.pixels).any() for seed in range(2, 8))


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_face_looks_the_same_whatever_is_beside_it(face, kind):
    alone = degrade(face, kind, 3).pixels
    for other in (face[::-1].copy(), face[:, ::-1].copy()):
        degrade(other, kind, 5)
    np.testing.assert_array_equal(degrade(face.copy(), kind, 3).pixels, alone)


def test_other_faces_get_other_things_over_them():
    grounds = [np.full((SIDE, SIDE, 3), value, np.uint8) for value in range(0, 250, 25)]
    covers = {(degrade(ground, "hand", 3).pixels != ground).any(axis=2).tobytes() for ground in grounds}
    assert len(covers) == len(grounds)


def test_levels_of_a_face_differ_in_strength_only(face):
    places = np.array(TYPICAL_LANDMARKS, np.float32)
    for seed in range(6):
        sides = {
            degrade(face, "rotation", level, landmarks=places, seed=seed).landmarks[0, 1] > 0.375 for level in LEVELS
        }
        assert len(sides) == 1


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_amounts_grow(face, kind):
    amounts = [degrade(face, kind, level).amount for level in LEVELS]
    assert amounts == sorted(amounts, reverse=kind == "resolution")
    assert len(set(amounts)) == len(LEVELS)


@pytest.mark.parametrize("kind", COVERING)
def test_what_covers_leaves_the_rest_alone(face, kind):
    for level in LEVELS:
        done = degrade(face, kind, level)
        changed = 100 * (done.pixels != face).any(axis=2).mean()
        assert 0.8 * done.amount - 1 < changed < 1.4 * done.amount + 4


def test_a_mask_sits_on_the_mouth(face):
    up = np.array(TYPICAL_LANDMARKS, np.float32) - [0, 0.2]
    usual, moved = degrade(face, "mask", 2).pixels, degrade(face, "mask", 2, landmarks=up).pixels
    top = [np.flatnonzero((picture != face).any(axis=(1, 2)))[0] for picture in (usual, moved)]
    assert top[0] - top[1] == pytest.approx(0.2 * SIDE, abs=2)
    unknown = degrade(face, "mask", 2, landmarks=np.full((5, 2), np.nan, np.float32))
    np.testing.assert_array_equal(unknown.pixels, usual)


def test_blur_and_few_pixels_take_the_detail(face):
    for kind in ("blur", "resolution"):
        left = [detail(cv2.resize(degrade(face, kind, level).pixels, (SIDE, SIDE))) for level in LEVELS]
        assert detail(face) > left[0] > left[2] > left[4]


def test_resolution_is_not_enlarged_and_never_grows(face):
    assert [len(degrade(face, "resolution", level).pixels) for level in LEVELS] == [32, 24, 16, 12, 8]
    assert degrade(face[:20, :20].copy(), "resolution", 1).pixels.shape == (20, 20, 3)


def test_rotation_turns_the_landmarks_along(face):
    """A white spot at a landmark is at the turned landmark afterwards."""
    dark = np.zeros((SIDE, SIDE, 3), np.uint8)
    places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.75], [0.65, 0.75]], np.float32)
    x, y = np.rint(places[0] * SIDE).astype(int)
    dark[y - 2 : y + 2, x - 2 : x + 2] = 255
    done = degrade(dark, "rotation", 4, landmarks=places)
    ys, xs = np.nonzero(done.pixels[..., 0] > 100)
    np.testing.assert_allclose((np.array([xs.mean(), ys.mean()]) + 0.5) / SIDE, done.landmarks[0], atol=0.015)
    assert not np.allclose(done.landmarks[0], places[0], atol=0.05)
    turned = done.landmarks[1] - done.landmarks[0]
    assert abs(np.degrees(np.arctan2(turned[1], turned[0]))) == pytest.approx(45, abs=0.5)
    signs = {degrade(face, "rotation", 4, landmarks=places, seed=s).landmarks[0, 1] > 0.4 for s in range(8)}
    assert signs == {True, False}


def test_darkness(face):
    means = [degrade(face, "darkness", level).pixels.mean() for level in LEVELS]
    assert face.mean() > means[0] > means[2] > means[4]
    # Two stops are a quarter of the light.
    assert means[0] == pytest.approx(face.mean() * 0.25 ** (1 / 2.2), rel=0.03)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_grey_stays_grey(face, kind):
    grey = np.repeat(face[..., :1], 3, axis=2)
    done = degrade(grey, kind, 4).pixels
    assert (done == done[..., :1]).all()
    assert (done.shape != grey.shape) or (done != grey).any()


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        ("smog", 1, "unknown kind 'smog'; known: mask, "),
        ("mask", 0, "level must be one of 1, 2, 3, 4, 5, got 0"),
        ("mask", 6, "got 6"),
    ],
)
def test_wrong_input(face, kind, level, message):
    with pytest.raises(ValueError, match=message):
        degrade(face, kind, level)
