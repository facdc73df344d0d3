import pytest
import torch
from torch.testing import assert_close

from regionfer.models.attributes import HALVES, POSE_SCALE, AttributeHeads, AttributeLogits, PoseHead, covered_share
from regionfer.models.losses import coverage_loss, occluded_loss, pose_loss

REGIONS = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])


def heads(pose: bool = True) -> AttributeHeads:
    torch.manual_seed(0)
    return AttributeHeads(8, pose=pose, width=4).eval()


@pytest.mark.parametrize("own", [False, True], ids=["same regions", "own regions"])
def test_a_covered_corner_hides_the_regions_and_halves_it_lies_in(own: bool) -> None:
    coverage = torch.full((2, 4, 4), -50.0)
    coverage[1, :2, :2] = 50  # the upper left quarter of the second face
    pose = torch.tensor([[0.0, 0.0, 0.0], [1.0, -0.5, 0.2]])
    logits = AttributeLogits(coverage, torch.tensor([-50.0, 50.0]), pose, pose[:, 2:])
    regions = REGIONS.expand(2, 3, 4) if own else REGIONS
    found = heads().attributes(logits, regions)
    assert_close(found.visibility, torch.tensor([[1.0, 1, 1], [0.75, 0, 1]]))
    assert_close(found.occlusion[0], torch.zeros(6))
    assert_close(found.occlusion[1], torch.tensor([1, 0.25, 0.5, 0, 0.5, 0]))
    assert found.pose is not None
    assert_close(found.pose[1], torch.tensor([1.0, -0.5, 0.2]) * POSE_SCALE)


def test_shares_are_exact_between_samples() -> None:
    alpha = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    boxes = torch.tensor([[0.25, 0.0, 0.75, 0.5], [0.0, 0.25, 1.0, 1.0]])
    assert_close(covered_share(boxes, alpha), torch.tensor([[0.5, 1 / 6]]))
    assert_close(covered_share(torch.tensor(HALVES), alpha), torch.tensor([[0.25, 0.5, 0, 0.5, 0]]))


def test_the_heads_give_nothing_back_to_the_map_they_read() -> None:
    maps = torch.randn(2, 8, 6, 6, requires_grad=True)
    module = heads()
    logits = module(maps)
    assert logits.pose is not None
    (logits.coverage.sum() + logits.occluded.sum() + logits.pose.sum()).backward()
    assert maps.grad is None
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("side", [4, 7, 10])
def test_any_map_will_do_and_the_pose_can_be_left_out(side: int) -> None:
    logits = heads(pose=False)(torch.randn(3, 8, side, side))
    assert logits.coverage.shape == (3, side, side)
    assert logits.occluded.shape == (3,)
    assert logits.pose is None
    assert heads().attributes(logits, REGIONS).pose is None


def test_a_rolled_map_is_looked_at_upright() -> None:
    torch.manual_seed(0)
    head, maps = PoseHead(8, 6).eval(), torch.randn(4, 8, 10, 10)
    last = head.roll[2]
    assert isinstance(last, torch.nn.Linear)
    quarter = 90 / POSE_SCALE
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        upright, level = head(maps)
        last.bias.fill_(quarter)
        rolled, first = head(maps.rot90(-1, (2, 3)))  # clockwise, as a positive roll is
    assert_close(level, torch.zeros(4, 1))
    assert_close(first, torch.full((4, 1), quarter))
    assert_close(rolled, upright + torch.tensor([0.0, 0.0, quarter]), atol=1e-5, rtol=0)
    assert (upright[0] - upright[1]).abs().max() > 0.01


def test_the_second_look_teaches_the_first_where_upright_is() -> None:
    torch.manual_seed(0)
    head = PoseHead(8, 6)
    pose, _ = head(torch.randn(4, 8, 10, 10))
    pose[:, 0].sum().backward()  # the yaw, which has the first roll in it by the turn alone
    assert all(parameter.grad.abs().max() > 0 for parameter in head.roll.parameters() if parameter.grad is not None)
    assert all(parameter.grad is not None for parameter in head.roll.parameters())


def test_faces_of_weight_nothing_and_unknown_poses_do_not_count() -> None:
    known = torch.tensor([1.0, 0.0])
    alpha = torch.stack([torch.ones(2, 2), torch.ones(2, 2)])
    logits = torch.stack([torch.full((2, 2), 20.0), torch.full((2, 2), -20.0)])  # right, and quite wrong
    assert coverage_loss(logits, alpha, known, known.sum()) < 1e-6
    assert coverage_loss(logits, alpha, 1 - known, known.sum()) == pytest.approx(20)
    assert occluded_loss(torch.tensor([20.0, -20.0]), torch.ones(2), known, known.sum()) < 1e-6
    truth = torch.tensor([[30.0, 0, 0], [torch.nan, torch.nan, torch.nan]])
    found = torch.tensor([[1.0, 0, 0], [5.0, 5.0, 5.0]])
    assert pose_loss(found, truth, known, known.sum(), 30.0) == 0
    assert pose_loss(found + 1, truth, known, known.sum(), 30.0) == pytest.approx(3 * (1 - 0.05))


def test_a_pose_counts_by_its_weight() -> None:
    truth, weights = torch.zeros(2, 3), torch.tensor([3.0, 1.0])
    right, wrong = torch.zeros(1, 3), torch.ones(1, 3)
    heavy = pose_loss(torch.cat([wrong, right]), truth, weights, weights.sum(), 30.0)
    light = pose_loss(torch.cat([right, wrong]), truth, weights, weights.sum(), 30.0)
    assert heavy == pytest.approx(3 * float(light))
    assert heavy + light == pytest.approx(3 * (1 - 0.05))
