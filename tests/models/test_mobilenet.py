import numpy as np
import pytest

torch = pytest.importorskip("torch")

from regionfer.models.mobilenet import HalvingDepthwise, SamePadConv2d, mobilenet_stages  # noqa: E402


def summing(kernel: int, stride: int) -> SamePadConv2d:
    """A convolution that sums what its kernel covers, so that its output tells where the kernel lay."""
    convolution = SamePadConv2d(1, 1, kernel, stride, bias=False)
    torch.nn.init.ones_(convolution.weight)
    return convolution


BY_HAND = {
    # side 4, stride 2: nothing left of the first sample, one zero right of the last
    "even": (
        4,
        [[0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10, 2 + 3 + 6 + 7 + 10 + 11], [8 + 9 + 10 + 12 + 13 + 14, 10 + 11 + 14 + 15]],
    ),
    # side 3, stride 2: one zero at both ends
    "odd": (3, [[0 + 1 + 3 + 4, 1 + 2 + 4 + 5], [3 + 4 + 6 + 7, 4 + 5 + 7 + 8]]),
}


@pytest.mark.parametrize(("side", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_padding_at_stride_two_by_hand(side, expected):
    maps = torch.arange(side * side, dtype=torch.float32).reshape(1, 1, side, side)
    assert summing(3, 2)(maps)[0, 0].tolist() == expected


def same_convolution(maps: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    """TensorFlow's description of SAME, sample by sample: zeros are split, the odd one goes to the end."""
    outputs = [-(-side // stride) for side in maps.shape]
    totals = [max((n - 1) * stride + kernel - side, 0) for n, side in zip(outputs, maps.shape, strict=True)]
    padded = np.pad(maps, [(total // 2, total - total // 2) for total in totals])
    return np.array(
        [
            [
                padded[y * stride : y * stride + kernel, x * stride : x * stride + kernel].sum()
                for x in range(outputs[1])
            ]
            for y in range(outputs[0])
        ]
    )


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (5, 2), (6, 6), (7, 7), (8, 3)], ids=str)
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 2), (1, 2), (2, 1)])
def test_padding_agrees_with_a_plain_loop(shape, kernel, stride):
    maps = np.random.default_rng(0).integers(0, 9, shape).astype(np.float32)
    found = summing(kernel, stride)(torch.from_numpy(maps)[None, None])[0, 0].detach().numpy()
    np.testing.assert_array_equal(found, same_convolution(maps, kernel, stride))


@pytest.mark.parametrize(("side", "expected"), [(224, 7), (112, 4), (97, 4), (48, 2)])
def test_stages_halve_the_map_five_times(side, expected):
    maps = torch.zeros(1, 3, side, side)
    sides = []
    for stage in mobilenet_stages():
        maps = stage(maps)
        sides.append(maps.shape[-1])
    assert maps.shape == (1, 1024, expected, expected)
    assert len(sides) == 14
    assert len(set(sides)) == 5


def test_activations_stay_in_zero_to_six():
    torch.manual_seed(0)
    maps = torch.randn(1, 3, 32, 32) * 1000
    for stage in mobilenet_stages():
        maps = stage(maps)
        assert maps.min() >= 0
        assert maps.max() <= 6


@pytest.mark.parametrize("shape", [(8, 8), (7, 7), (6, 9), (9, 6)], ids=str)
def test_the_fast_gradient_of_a_halving_depthwise_convolution_is_the_gradient(shape):
    torch.manual_seed(0)
    convolution = SamePadConv2d(5, 5, 3, 2, groups=5).double()
    maps = torch.randn(2, 5, *shape, dtype=torch.double, requires_grad=True)
    inputs = maps, convolution.weight, convolution.bias
    expected = convolution(maps)
    gradient = torch.randn_like(expected)
    of_inputs = torch.autograd.grad(expected, inputs, gradient)
    vertical, horizontal = (convolution._padding(side, axis) for axis, side in enumerate(shape))
    found = HalvingDepthwise.apply(*inputs, (*horizontal, *vertical))
    torch.testing.assert_close(found, expected)
    for fast, slow in zip(torch.autograd.grad(found, inputs, gradient), of_inputs, strict=True):
        torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize(
    ("groups", "stride", "autocast", "fast"),
    [(4, 2, True, True), (4, 2, False, False), (4, 1, True, False), (1, 2, True, False)],
    ids=["slow case", "single precision", "stride 1", "all channels"],
)
def test_it_is_taken_in_bfloat16_only_where_the_usual_one_is_slow(groups, stride, autocast, fast):
    maps = torch.randn(2, 4, 8, 8, requires_grad=True)
    convolution = SamePadConv2d(4, 4, 3, stride, groups=groups)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = convolution(maps)
    assert ("HalvingDepthwise" in type(found.grad_fn).__name__) == fast
    with torch.no_grad():
        torch.testing.assert_close(found.float(), convolution(maps), atol=0.05, rtol=0.05)
