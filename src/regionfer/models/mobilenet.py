"""MobileNetV1 with its batch norms folded into the convolutions (Howard et al., 2017, arXiv:1704.04861).

The face recognition weights it is started from were published with folded norms; training without norms also saves
a quarter of the step on a processor.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


class HalvingDepthwise(torch.autograd.Function):
    """A depthwise 3 x 3 convolution at stride 2 whose gradient is fast in bfloat16 on a processor.

    oneDNN has no such kernel and falls back to one that takes longer than all the rest of the network. The gradient of
    the input is the gradient of the output with zeros between its samples, convolved with the kernel turned round.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
        """Convolve (B, C, H, W), padded left, right, top and bottom."""
        ctx.save_for_backward(maps, weight)
        ctx.padding = padding
        return F.conv2d(F.pad(maps, padding), weight, bias, 2, 0, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of maps, weight and bias."""
        (gradient,) = gradients
        maps, weight = ctx.saved_tensors
        left, _, top, _ = ctx.padding
        (height, width), (rows, columns) = maps.shape[-2:], gradient.shape[-2:]
        # Channels innermost, as they lie in memory.
        spread = gradient.new_zeros(len(maps), height + 2, width + 2, len(weight))
        spread[:, 2 - top :: 2, 2 - left :: 2][:, :rows, :columns] = gradient.permute(0, 2, 3, 1)
        of_maps = F.conv2d(spread.permute(0, 3, 1, 2), weight.flip(2, 3), groups=len(weight))
        _, of_weight, of_bias = torch.ops.aten.convolution_backward(
            gradient,
            F.pad(maps, ctx.padding),
            weight,
            [len(weight)],
            [2, 2],
            [0, 0],
            [1, 1],
            False,
            [0, 0],
            len(weight),
            [False, True, True],
        )
        return of_maps, of_weight, of_bias, None


class SamePadConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's ``SAME``: at stride 2 an even side is padded right and bottom only."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        vertical = self._padding(int(input.shape[-2]), 0)
        horizontal = self._padding(int(input.shape[-1]), 1)
        if self.bias is not None and self._gradient_is_slow(input):
            cast = [tensor.bfloat16() for tensor in (input, self.weight, self.bias)]
            result: Tensor = HalvingDepthwise.apply(*cast, (*horizontal, *vertical))
            return result
        if vertical[0] == vertical[1] and horizontal[0] == horizontal[1]:
            padding = (vertical[0], horizontal[0])
            return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return super().forward(F.pad(input, (*horizontal, *vertical)))

    def _gradient_is_slow(self, input: Tensor) -> bool:
        halving = self.groups == self.in_channels and self.stride == (2, 2) and self.kernel_size == (3, 3)
        if not (halving and input.device.type == "cpu" and torch.is_grad_enabled()):
            return False
        return input.dtype == torch.bfloat16 or torch.is_autocast_enabled("cpu")

    def _padding(self, side: int, axis: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(SamePadConv2d(inputs, outputs, kernel, stride, groups=groups), nn.ReLU6(inplace=True))


class SeparableBlock(nn.Sequential):
    """A depthwise 3 x 3 convolution, then a pointwise one, each followed by ReLU6."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            _convolution(inputs, inputs, 3, stride, groups=inputs),
            _convolution(inputs, outputs, 1),
        )


def mobilenet_stages() -> list[nn.Module]:
    """The first convolution and the 13 separable blocks: 14 stages, 3 to 1024 channels, side / 32."""
    stages: list[nn.Module] = [_convolution(3, 32, 3, stride=2)]
    inputs = 32
    for outputs, stride in zip(WIDTHS, STRIDES, strict=True):
        stages.append(SeparableBlock(inputs, outputs, stride))
        inputs = outputs
    return stages
