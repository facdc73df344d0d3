import numpy as np
import pytest

from regionfer.occluders import KINDS, Occluder, draw_cover, draw_occluder
from regionfer.regions import TYPICAL_LANDMARKS

SIDE = 64


def draw(kind: str, strength: float | None = None, seed: int = 0, **options: object) -> Occluder:
    return draw_occluder(kind, np.random.default_rng(seed), SIDE, strength=strength, **options)  # type: ignore[arg-type]


def at(occluder: Occluder, x: float, y: float) -> float:
    return float(occluder.alpha[int(y * SIDE), int(x * SIDE)])


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_ranges_and_the_same_seed_draws_the_same(kind: str) -> None:
    one, two, other = draw(kind, seed=1), draw(kind, seed=1), draw(kind, seed=2)
    assert one.alpha.shape == (SIDE, SIDE)
    assert one.alpha.dtype == np.float32
    assert one.colour.shape == (SIDE, SIDE, 3)
    assert one.colour.dtype == np.uint8
    assert 0 <= one.alpha.min() <= one.alpha.max() <= 1
    np.testing.assert_array_equal(one.alpha, two.alpha)
    np.testing.assert_array_equal(one.colour, two.colour)
    assert (one.alpha != other.alpha).any()


@pytest.mark.parametrize("kind", KINDS)
def test_more_strength_covers_more(kind: str) -> None:
    covered = [np.mean([draw(kind, strength, seed).alpha.mean() for seed in range(30)]) for strength in (0, 0.5, 1)]
    assert 0.005 < covered[0] < covered[1] < covered[2] < (0.95 if kind == "cloth" else 0.75)


@pytest.mark.parametrize("seed", range(5))
def test_things_lie_where_they_belong(seed: int) -> None:
    (_, left_y), _, _, mouth_left, _ = TYPICAL_LANDMARKS
    mask = draw("mask", 0.6, seed)
    assert at(mask, 0.5, mouth_left[1]) > 0.99
    assert at(mask, 0.31, left_y) == 0
    dark = draw("dark glasses", 0.5, seed)
    assert at(dark, 0.31, left_y) > 0.7
    assert at(dark, 0.69, left_y) > 0.7
    assert at(dark, 0.5, mouth_left[1]) == 0
    clear = draw("clear glasses", 0.5, seed)
    assert 0.01 < clear.alpha.mean() < dark.alpha.mean()
    hat = draw("hat", 0.5, seed)
    assert at(hat, 0.5, 0.02) > 0.99
    assert at(hat, 0.5, mouth_left[1]) == 0


def test_the_face_shows_where_nothing_covers_it() -> None:
    face = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    mask = draw("mask", 0.5)
    covered = mask.over(face)
    assert covered.dtype == np.uint8
    np.testing.assert_array_equal(covered[mask.alpha == 0], face[mask.alpha == 0])
    np.testing.assert_array_equal(covered[mask.alpha == 1], mask.colour[mask.alpha == 1])


def test_a_tilted_face_has_a_tilted_mask() -> None:
    points = np.array(TYPICAL_LANDMARKS) - 0.5
    quarter = points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) + 0.5  # chin to the left
    mask = draw("mask", 0.5, landmarks=quarter)
    assert mask.alpha[:, : SIDE // 4].mean() > 0.5
    assert mask.alpha[:, 3 * SIDE // 4 :].mean() == 0


def test_hands_have_the_colour_of_the_skin() -> None:
    skin = np.array([200.0, 150.0, 100.0])
    means = [
        hand.colour[hand.alpha > 0.9].mean(axis=0) for hand in (draw("hand", 0.8, s, skin=skin) for s in range(20))
    ]
    np.testing.assert_allclose(np.mean(means, axis=0), skin * 0.9, atol=35)


@pytest.mark.parametrize(
    ("kind", "strength", "message"),
    [("veil", 0.5, "unknown occluder 'veil'; known: mask"), ("mask", 1.5, r"strength must be in 0\.\.1, got 1\.5")],
    ids=["kind", "strength"],
)
def test_what_cannot_be_drawn_is_refused(kind: str, strength: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(kind, strength)


def test_covers_are_of_many_kinds_and_drawn_from_the_seed() -> None:
    covers = [draw_cover(np.random.default_rng(seed), SIDE) for seed in range(60)]
    assert {cover.shape for cover in covers} == {(SIDE, SIDE, 3)}
    assert {cover.dtype for cover in covers} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(covers[5], draw_cover(np.random.default_rng(5), SIDE))
    spreads = np.array([cover.std(axis=(0, 1)).mean() for cover in covers])
    assert (spreads == 0).any()  # one colour
    assert (spreads > 40).any()  # a pattern
    grey = np.array([np.ptp(cover, axis=-1).max() == 0 for cover in covers])
    assert 10 < grey.sum() < 50
