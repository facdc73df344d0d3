import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")

from regionfer.models.resampling import crop_regions, interpolation_matrix, turn_upright  # noqa: E402

BOXES = {
    "whole": (0.0, 0.0, 1.0, 1.0),
    "corner": (0.0, 0.0, 0.75, 0.75),
    "between-samples": (0.11, 0.23, 0.86, 0.94),
    "small": (0.41, 0.37, 0.53, 0.49),
    "flat": (0.1, 0.4, 0.9, 0.6),
}


def picture(height: int = 21, width: int = 17, seed: int = 0) -> "torch.Tensor":
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(seed))


def pillow_crop(maps: "torch.Tensor", box: tuple[float, ...], size: int) -> np.ndarray:
    """Pillow's bilinear resize of a box: its kernel widens when it shrinks, and ends where the picture does."""
    array = maps[0, 0].numpy()
    height, width = array.shape
    corners = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    return np.asarray(Image.fromarray(array).resize((size, size), Image.Resampling.BILINEAR, box=corners))


@pytest.mark.parametrize("size", [1, 5, 9, 21, 40])
@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_crop_agrees_with_pillow(box, size):
    maps = picture()
    found = crop_regions(maps, torch.tensor([box]), size)
    assert found.shape == (1, 1, 1, size, size)
    np.testing.assert_allclose(found[0, 0, 0], pillow_crop(maps, box, size), atol=2e-5)


@pytest.mark.parametrize("target", [4, 7, 16, 33])
def test_whole_agrees_with_interpolate(target):
    maps = picture(16, 16)
    expected = torch.nn.functional.interpolate(
        maps, (target, target), mode="bilinear", align_corners=False, antialias=True
    )
    found = crop_regions(maps, torch.tensor([BOXES["whole"]]), target)[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_enlarging_agrees_with_roi_align(box):
    maps = picture()
    corners = torch.tensor([box]) * torch.tensor([17.0, 21.0, 17.0, 21.0])
    expected = torchvision.ops.roi_align(maps, [corners], 24, sampling_ratio=1, aligned=True)
    torch.testing.assert_close(crop_regions(maps, torch.tensor([box]), 24)[:, 0], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("box", [(-0.4, -0.1, 0.5, 0.6), (0.7, 0.5, 1.3, 1.2), (1.5, 0.2, 1.9, 0.6)])
def test_edges_repeat_outside_as_in_grid_sample(box):
    maps = picture()
    x1, y1, x2, y2 = box
    theta = torch.tensor([[[x2 - x1, 0, x1 + x2 - 1], [0, y2 - y1, y1 + y2 - 1]]])
    grid = torch.nn.functional.affine_grid(theta, (1, 1, 30, 30), align_corners=False)
    expected = torch.nn.functional.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(crop_regions(maps, torch.tensor([box]), 30)[:, 0], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(("source", "target"), [(7, 7), (7, 3), (3, 7), (1, 4)])
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.2, 0.7), (-0.5, 1.5)])
def test_weights_of_a_sample_sum_to_one(low, high, source, target):
    matrix = interpolation_matrix(torch.tensor(low), torch.tensor(high), source, target)
    assert matrix.shape == (target, source)
    torch.testing.assert_close(matrix.sum(1), torch.ones(target))


def test_whole_at_its_own_size_changes_nothing():
    torch.testing.assert_close(
        interpolation_matrix(torch.tensor(0.0), torch.tensor(1.0), 6, 6), torch.eye(6), atol=1e-6, rtol=0
    )


def test_halving_by_hand():
    # Centres at 0.5 and 2.5, kernel two samples wide: 3/4, 3/4, 1/4 of samples 0, 1, 2, and its mirror image.
    found = interpolation_matrix(torch.tensor(0.0), torch.tensor(1.0), 4, 2)
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]]) / 7)


def test_boxes_of_each_face_are_kept_apart():
    maps = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([[BOXES["corner"], BOXES["small"]], [BOXES["whole"], BOXES["flat"]]])
    found = crop_regions(maps, boxes, 5)
    assert found.shape == (2, 2, 3, 5, 5)
    for face in range(2):
        torch.testing.assert_close(found[face : face + 1], crop_regions(maps[face : face + 1], boxes[face], 5))


def test_boxes_in_common_are_used_for_every_face():
    maps = torch.rand(2, 3, 9, 8, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor([BOXES["corner"], BOXES["small"], BOXES["flat"]])
    torch.testing.assert_close(crop_regions(maps, boxes, 5), crop_regions(maps, boxes.expand(2, -1, -1), 5))


def test_the_type_of_the_maps_is_kept():
    assert crop_regions(picture().bfloat16(), torch.tensor([BOXES["corner"]]), 5).dtype is torch.bfloat16


@pytest.mark.parametrize("size", [5, 9, 20])
def test_upright_without_a_turn_is_a_crop_of_the_whole(size):
    maps = torch.cat([picture(9, 9), picture(9, 9, seed=1)])
    whole = crop_regions(maps, torch.tensor([BOXES["whole"]]), size)[:, 0]
    torch.testing.assert_close(turn_upright(maps, torch.zeros(2), size), whole, atol=1e-6, rtol=0)


def test_what_is_turned_is_square_and_keeps_its_type():
    assert (
        turn_upright(torch.ones(2, 3, 8, 8, dtype=torch.bfloat16), torch.tensor([10.0, 20.0]), 4).dtype
        == torch.bfloat16
    )
    with pytest.raises(ValueError, match="must be square, got 8 x 6"):
        turn_upright(torch.ones(1, 3, 8, 6), torch.zeros(1), 4)


def test_quarter_turns_are_turned_back():
    maps = torch.rand(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    turned = torch.stack([maps[0], maps[1].rot90(-1, (1, 2)), maps[2].rot90(1, (1, 2))])  # not, clockwise, against it
    torch.testing.assert_close(turn_upright(turned, torch.tensor([0.0, 90, -90]), 6), maps, atol=1e-5, rtol=0)


@pytest.mark.parametrize("turn", [-50.0, -20, 10, 35])
def test_turns_agree_with_opencv(turn):
    cv2 = pytest.importorskip("cv2")
    yy, xx = np.mgrid[:32, :32] / 31.0
    plain = np.exp(-8 * ((xx - 0.6) ** 2 + (yy - 0.35) ** 2)).astype(np.float32)  # smooth, and off the middle
    matrix = cv2.getRotationMatrix2D((15.5, 15.5), -turn, 1.0)  # clockwise, as seen
    turned = cv2.warpAffine(plain, matrix, (32, 32), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    found = turn_upright(torch.from_numpy(turned)[None, None], torch.tensor([turn]), 16)[0, 0]
    expected = crop_regions(torch.from_numpy(plain)[None, None], torch.tensor([BOXES["whole"]]), 16)[0, 0, 0]
    middle = slice(4, 12)
    torch.testing.assert_close(found[middle, middle], expected[middle, middle], atol=0.01, rtol=0)
