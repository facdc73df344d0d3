import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from regionfer.models.attributes import covered_share
from regionfer.models.classifier import mirror_points
from regionfer.models.resampling import crop_regions
from regionfer.regions import TYPICAL_LANDMARKS
from regionfer.training.augmentation import (
    COVER_SIDE,
    FULL_SIDE,
    SIDES,
    Variation,
    draw_variation,
    drop_factors,
    moved_points,
    vary,
)
from regionfer.training.recipe import AugmentationRecipe

STILL = {"flip": 0, "rotation": 0, "scale": 0, "aspect": 0, "shift": 0, "contrast": 0, "brightness": 0, "occlude": 0}
POINTS = torch.tensor([[[0.3, 0.4], [0.7, 0.45], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]])


def draw(faces: int = 1, seed: int = 0, **changes: object) -> Variation:
    recipe = AugmentationRecipe.model_validate(STILL | changes)
    return draw_variation(recipe, faces, torch.Generator().manual_seed(seed))


def varied(faces: torch.Tensor, size: int, variation: Variation) -> torch.Tensor:
    """Grey faces varied, with the first channel of what covers them."""
    return vary(faces, size, variation, variation.cover[..., :1].permute(0, 3, 1, 2).float())


def noise(faces: int = 2, side: int = 12) -> torch.Tensor:
    return torch.rand(faces, 1, side, side, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("size", [12, 28], ids=["same size", "enlarged"])
def test_no_variation_is_the_preprocessing_of_the_exported_graph(size: int) -> None:
    faces = noise()
    pictures = varied(faces, size, draw(2))
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert_close(pictures, crop_regions(faces, whole, size)[:, 0], atol=1e-3, rtol=0)


def test_a_mirror_image_is_mirrored() -> None:
    faces = noise()
    pictures = varied(faces, 12, draw(2, flip=1))
    assert_close(pictures, faces.flip(-1), atol=1e-3, rtol=0)


def test_contrast_and_brightness_keep_the_range_and_do_what_they_say() -> None:
    faces = noise(64)
    pictures = varied(faces, 12, draw(64, contrast=0.5, brightness=0.3))
    assert pictures.min() >= 0
    assert pictures.max() <= 255
    spread = pictures.std((1, 2, 3)) / faces.std((1, 2, 3))
    assert spread.min() < 0.7  # some lose half of their contrast; clipping hides the gain of others
    assert (pictures.mean((1, 2, 3)) - faces.mean((1, 2, 3))).abs().max() > 30


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": 1},
        {"rotation": 40},
        {"scale": 0.3},
        {"aspect": 0.3},
        {"shift": 0.2},
        {"flip": 0.5, "rotation": 20, "shift": 0.1},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_landmarks_go_where_the_picture_goes(changes: dict[str, float]) -> None:
    """A bright spot is put on a landmark; after the variation it must be where the moved landmark is."""
    side = 100
    variation = draw(8, seed=3, **changes)
    moved = moved_points(POINTS.expand(8, -1, -1), variation.affine)
    for number in range(5):
        x, y = POINTS[0, number]
        faces = torch.zeros(8, 1, side, side)
        faces[:, :, int(y * side), int(x * side)] = 255
        pictures = varied(faces, side, variation)
        for row in range(8):
            mirrored = torch.det(variation.affine[row, :, :2]) < 0
            expected = moved[row, [1, 0, 2, 4, 3][number] if mirrored else number]
            if not ((expected > 0.05) & (expected < 0.95)).all():
                continue
            brightest = pictures[row, 0].argmax()
            found = torch.tensor([brightest % side + 0.5, brightest // side + 0.5]) / side
            assert (found - expected).norm() < 0.03


def test_mirrored_landmarks_are_those_of_the_graph() -> None:
    assert_close(moved_points(POINTS, draw(flip=1).affine), mirror_points(POINTS))


def test_a_covered_face_shows_the_cover_where_it_is_opaque_and_itself_where_not() -> None:
    variation = draw(64, occlude=1, occluders=["block"])
    pictures = varied(torch.full((64, 1, COVER_SIDE, COVER_SIDE), 300.0), COVER_SIDE, variation)
    covered = variation.alpha.unsqueeze(1) == 1
    assert 0.02 < covered.float().mean() < 0.3
    assert (pictures[~covered] == 255).all()
    assert_close(pictures[covered], variation.cover[..., :1].permute(0, 3, 1, 2)[covered].float(), atol=1e-3, rtol=0)
    assert pictures[covered].std() > 30


def test_what_covers_a_face_follows_its_landmarks() -> None:
    """Sunglasses sit on the eyes wherever these are after the variation."""
    variation = draw(16, rotation=40, shift=0.1, flip=0.5, occlude=1, occluders=["dark glasses"])
    eyes = moved_points(torch.tensor(TYPICAL_LANDMARKS).expand(16, -1, -1), variation.affine)[:, :2]
    for alpha, points in zip(variation.alpha, eyes, strict=True):
        for x, y in (points * COVER_SIDE).long().tolist():
            assert alpha[y, x] > 0.6


def test_hands_have_the_skin_of_the_face() -> None:
    recipe = AugmentationRecipe.model_validate(STILL | {"occlude": 1, "occluders": ["hand"]})
    skins = torch.tensor([[40.0, 30.0, 20.0], [220.0, 200.0, 180.0]])
    variation = draw_variation(recipe, 2, torch.Generator().manual_seed(0), skins=skins)
    dark, light = (variation.cover[row][variation.alpha[row] > 0.9].float().mean() for row in range(2))
    assert dark + 80 < light


@pytest.mark.parametrize("own", [False, True], ids=["same regions", "own regions"])
def test_covered_share_is_what_counting_samples_gives(own: bool) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.6, (5, 3, 2))
    regions = torch.from_numpy(np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (5, 3, 2))], -1)).float()
    regions = regions if own else regions[0]
    alpha = draw(5, occlude=1).alpha
    found = covered_share(regions, alpha)
    fine = alpha.repeat_interleave(10, 1).repeat_interleave(10, 2)  # ten samples in one
    for face in range(5):
        for number, box in enumerate(regions[face] if own else regions):
            x1, y1, x2, y2 = (box * 10 * COVER_SIDE).round().int().tolist()
            assert found[face, number] == pytest.approx(float(fine[face, y1:y2, x1:x2].mean()), abs=0.01)


def test_dropout_keeps_the_mean() -> None:
    keep = drop_factors(400, 100, 0.3, torch.Generator().manual_seed(0))
    assert keep.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert keep.mean() == pytest.approx(1, abs=0.02)


def test_about_the_right_number_of_faces_is_covered_and_mirrored() -> None:
    variation = draw(2000, occlude=0.4, occluders=["border"], flip=0.25)
    covered = (variation.alpha > 0).any(-1).any(-1).float().mean()
    mirrored = (torch.det(variation.affine[:, :, :2]) < 0).float().mean()
    assert covered == pytest.approx(0.4, abs=0.05)
    assert mirrored == pytest.approx(0.25, abs=0.05)


def test_rotation_stays_within_its_range() -> None:
    affine = draw(500, rotation=15).affine
    angles = torch.atan2(affine[:, 1, 0], affine[:, 0, 0]) * 180 / math.pi
    assert 13 < angles.abs().max() <= 15


def test_rows_of_a_variation_vary_the_same_faces_alike() -> None:
    faces = noise(6)
    variation = draw(6, rotation=20, flip=0.5, occlude=0.5, contrast=0.3)
    whole = varied(faces, 12, variation)
    part = varied(faces[2:5], 12, variation.rows(slice(2, 5)))
    assert_close(part, whole[2:5])


def test_the_same_seed_draws_the_same_variation() -> None:
    one, two, other = (draw(4, seed=seed, rotation=20, occlude=0.5) for seed in (1, 1, 2))
    assert torch.equal(one.affine, two.affine)
    assert torch.equal(one.cover, two.cover)
    assert not torch.equal(one.affine, other.affine)


def test_a_hidden_face_leaves_nothing_of_itself() -> None:
    variation = draw(40, hide=0.5)
    hidden = variation.alpha.amin((1, 2)) == 1
    assert 10 < hidden.sum() < 30
    assert variation.alpha[~hidden].max() == 0
    once, again = (varied(noise(40) * shade, 24, variation) for shade in (1.0, 0.5))
    assert_close(once[hidden], again[hidden])
    assert (once[~hidden] != again[~hidden]).any((1, 2, 3)).all()


def test_an_overturned_face_is_turned_by_half() -> None:
    faces = noise(20, side=24)
    variation = draw(20, overturn=0.5)
    overturned = variation.overturned
    assert 4 < overturned.sum() < 16
    pictures = varied(faces, 24, variation)
    assert_close(pictures[overturned], faces[overturned].flip(2, 3), atol=1e-3, rtol=0)
    assert_close(pictures[~overturned], faces[~overturned], atol=1e-3, rtol=0)


def test_what_covers_an_overturned_face_lies_on_it() -> None:
    """Dark glasses over the eyes, which are below then."""
    variation = draw(20, overturn=0.5, occlude=1, occluders=["dark glasses"])
    upper, lower = variation.alpha[:, :24].mean((1, 2)), variation.alpha[:, 24:].mean((1, 2))
    assert (upper < lower).equal(variation.overturned)


def test_recipes_without_overturned_faces_draw_nothing_for_them() -> None:
    recipe = AugmentationRecipe.model_validate(STILL)
    one, other = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    draw_variation(recipe, 4, one)
    draw_variation(recipe.model_copy(update={"overturn": 0.5}), 4, other)
    assert torch.rand(1, generator=one) != torch.rand(1, generator=other)


def test_a_coarse_face_keeps_no_more_detail_than_its_side_says() -> None:
    faces = noise(60, side=48)
    variation = draw(60, coarse=0.5)
    coarse = variation.side < FULL_SIDE
    assert {*variation.side[coarse].tolist()} == {*SIDES}
    assert 20 < coarse.sum() < 40
    pictures = varied(faces, 48, variation)
    assert_close(pictures[~coarse], faces[~coarse], atol=1e-3, rtol=0)
    assert_close(pictures[coarse].mean((1, 2, 3)), faces[coarse].mean((1, 2, 3)), atol=2.0, rtol=0)
    left = pictures.std((1, 2, 3))
    assert left[variation.side == 12].max() < left[variation.side == 32].min()


def test_faces_of_less_detail_than_that_are_left_alone() -> None:
    faces = noise(20, side=12)
    assert_close(varied(faces, 12, draw(20, coarse=1.0)), faces, atol=1e-3, rtol=0)


def test_recipes_without_hidden_and_coarse_faces_draw_what_they_did() -> None:
    plain, more = draw(30, rotation=20, occlude=0.5), draw(30, rotation=20, occlude=0.5, hide=0.5, coarse=0.5)
    kept = more.alpha.amin((1, 2)) < 1
    assert_close(plain.affine, more.affine)
    assert_close(plain.alpha[kept], more.alpha[kept])
