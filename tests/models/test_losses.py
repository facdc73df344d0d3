import pytest

torch = pytest.importorskip("torch")

from regionfer.models.losses import region_biased_loss, soft_cross_entropy, visibility_loss  # noqa: E402

RB_CASES = {
    # mu of one face, margin, loss
    "a-crop-leads-by-more": ([0.3, 0.9, 0.1], 0.02, 0.0),
    "a-crop-leads-by-less": ([0.5, 0.51, 0.1], 0.02, 0.01),
    "equal": ([0.5, 0.5, 0.5], 0.02, 0.02),
    # were the face part of the maximum, the loss would be the bare margin
    "the-face-leads": ([0.9, 0.4, 0.2], 0.02, 0.52),
    "one-crop": ([0.7, 0.6], 0.1, 0.2),
    "no-margin": ([0.4, 0.4], 0.0, 0.0),
}


@pytest.mark.parametrize(("mu", "margin", "expected"), RB_CASES.values(), ids=RB_CASES)
def test_region_biased_loss_by_hand(mu, margin, expected):
    assert region_biased_loss(torch.tensor([mu]), margin).item() == pytest.approx(expected, abs=1e-6)


def test_region_biased_loss_is_averaged_after_the_hinge():
    mu = torch.tensor([[0.5, 0.9], [0.9, 0.5]])  # 0 and 0.42; a hinge on the mean would give 0.02
    assert region_biased_loss(mu, 0.02).item() == pytest.approx(0.21)


def test_region_biased_loss_moves_the_face_and_the_best_crop_only():
    mu = torch.tensor([[0.6, 0.5, 0.3]], requires_grad=True)
    region_biased_loss(mu, 0.02).backward()
    assert mu.grad.tolist() == [[1.0, -1.0, 0.0]]


def test_region_biased_loss_is_still_where_it_is_met():
    mu = torch.tensor([[0.3, 0.9]], requires_grad=True)
    region_biased_loss(mu, 0.02).backward()
    assert mu.grad.tolist() == [[0.0, 0.0]]


def test_soft_cross_entropy_agrees_with_torch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 8, generator=generator) * 5
    target = torch.randn(6, 8, generator=generator).softmax(1)
    expected = torch.nn.functional.cross_entropy(logits, target)
    torch.testing.assert_close(soft_cross_entropy(logits, target), expected)


def test_soft_cross_entropy_of_half_precision_is_computed_in_full():
    logits = torch.tensor([[3.0, 0.5, -1.0]], dtype=torch.bfloat16)  # exact in bfloat16, their log-softmax is not
    target = torch.tensor([[0.25, 0.25, 0.5]])
    expected = torch.nn.functional.cross_entropy(logits.float(), target)
    torch.testing.assert_close(soft_cross_entropy(logits, target), expected, atol=1e-6, rtol=0)


def naive_visibility_loss(mu, covered, margin):
    total = weight = 0.0
    for weights, hidden in zip(mu.tolist(), covered.tolist(), strict=True):
        for mu_i, c_i in zip(weights, hidden, strict=True):
            for mu_j, c_j in zip(weights, hidden, strict=True):
                if c_i > c_j:  # i is more covered, so j should weigh more
                    total += (c_i - c_j) * max(0.0, margin * (c_i - c_j) - (mu_j - mu_i))
                    weight += c_i - c_j
    return total / weight if weight else 0.0


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_visibility_loss_agrees_with_a_plain_loop(margin):
    generator = torch.Generator().manual_seed(0)
    mu, covered = torch.rand(5, 6, generator=generator), torch.rand(5, 6, generator=generator)
    covered[0] = 0.0  # a face without cover
    expected = naive_visibility_loss(mu, covered, margin)
    assert expected > 0.01
    assert visibility_loss(mu, covered, margin).item() == pytest.approx(expected, rel=1e-5)


def test_visibility_loss_without_cover_is_zero():
    assert visibility_loss(torch.rand(2, 3), torch.zeros(2, 3)).item() == 0.0
