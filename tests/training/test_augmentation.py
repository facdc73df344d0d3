import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from regionfer.models.classifier import mirror_points
from regionfer.models.resampling import crop_regions
from regionfer.training.augmentation import (
    Variation,
    covered_share,
    draw_variation,
    drop_factors,
    inside,
    moved_points,
    vary,
)
from regionfer.training.recipe import AugmentationRecipe

STILL = {"flip": 0, "rotation": 0, "scale": 0, "aspect": 0, "shift": 0, "contrast": 0, "brightness": 0, "erase": 0}
POINTS = torch.tensor([[[0.3, 0.4], [0.7, 0.45], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]]])


def draw(faces: int = 1, seed: int = 0, **changes: object) -> Variation:
    recipe = AugmentationRecipe.model_validate(STILL | changes)
    return draw_variation(recipe, faces, torch.Generator().manual_seed(seed))


def noise(faces: int = 2, side: int = 12) -> torch.Tensor:
    return torch.rand(faces, 1, side, side, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("size", [12, 28], ids=["same size", "enlarged"])
def test_no_variation_is_the_preprocessing_of_the_exported_graph(size: int) -> None:
    faces = noise()
    pictures = vary(faces, size, draw(2))
    whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert_close(pictures, crop_regions(faces, whole, size)[:, 0], atol=1e-3, rtol=0)


def test_a_mirror_image_is_mirrored() -> None:
    faces = noise()
    pictures = vary(faces, 12, draw(2, flip=1))
    assert_close(pictures, faces.flip(-1), atol=1e-3, rtol=0)


def test_contrast_and_brightness_keep_the_range_and_do_what_they_say() -> None:
    faces = noise(64)
    pictures = vary(faces, 12, draw(64, contrast=0.5, brightness=0.3))
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
        pictures = vary(faces, side, variation)
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


def test_erased_share_lies_within_the_range_asked_for() -> None:
    variation = draw(256, erase=1, erase_area=(0.1, 0.2))
    pictures = vary(torch.full((256, 1, 64, 64), 300.0), 64, variation)
    erased = inside(variation.erased, 64)
    share = erased.float().mean((1, 2, 3))
    assert share.min() > 0.08
    assert share.max() < 0.22
    assert (pictures[~erased] == 255).all()
    assert pictures[erased].std() > 30


@pytest.mark.parametrize("own", [False, True], ids=["same regions", "own regions"])
def test_covered_share_is_what_counting_samples_gives(own: bool) -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 0.6, (5, 3, 2))
    regions = torch.from_numpy(np.concatenate([corner, corner + rng.uniform(0.1, 0.4, (5, 3, 2))], -1)).float()
    regions = regions if own else regions[0]
    erased = draw(5, erase=1, erase_area=(0.1, 0.4)).erased
    found = covered_share(regions, erased)
    for face in range(5):
        hidden = inside(erased[face : face + 1], 500)[0, 0]
        boxes = regions[face] if own else regions
        seen = [hidden[area[0, 0]].float().mean() for area in (inside(box[None], 500) for box in boxes)]
        assert_close(found[face], torch.stack(seen), atol=0.02, rtol=0)


def test_dropout_keeps_the_mean() -> None:
    keep = drop_factors(400, 100, 0.3, torch.Generator().manual_seed(0))
    assert keep.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert keep.mean() == pytest.approx(1, abs=0.02)


def test_about_the_right_number_of_faces_is_erased_and_mirrored() -> None:
    variation = draw(2000, erase=0.4, flip=0.25)
    erased = (variation.erased[:, 2] > variation.erased[:, 0]).float().mean()
    mirrored = (torch.det(variation.affine[:, :, :2]) < 0).float().mean()
    assert erased == pytest.approx(0.4, abs=0.05)
    assert mirrored == pytest.approx(0.25, abs=0.05)


def test_rotation_stays_within_its_range() -> None:
    affine = draw(500, rotation=15).affine
    angles = torch.atan2(affine[:, 1, 0], affine[:, 0, 0]) * 180 / math.pi
    assert 13 < angles.abs().max() <= 15


def test_rows_of_a_variation_vary_the_same_faces_alike() -> None:
    faces = noise(6)
    variation = draw(6, rotation=20, flip=0.5, erase=0.5, contrast=0.3)
    whole = vary(faces, 12, variation)
    part = vary(faces[2:5], 12, variation.rows(slice(2, 5)))
    assert_close(part, whole[2:5])


def test_the_same_seed_draws_the_same_variation() -> None:
    one, two, other = (draw(4, seed=seed, rotation=20, erase=0.5) for seed in (1, 1, 2))
    assert torch.equal(one.affine, two.affine)
    assert torch.equal(one.erased, two.erased)
    assert not torch.equal(one.affine, other.affine)


def test_inside_a_box_are_the_samples_whose_centres_it_holds() -> None:
    found = inside(torch.tensor([[0.0, 0.5, 0.5, 1.0], [0.3, 0.3, 0.3, 0.3]]), 4)
    assert found[0, 0].int().tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert not found[1].any()
