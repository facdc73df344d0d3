"""MobileNetV1 with its batch norms folded into the convolutions (Howard et al., 2017, arXiv:1704.04861).

The face recognition weights it is started from were published with folded norms; training without norms also saves
a quarter of the step on a processor.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
WIDTHS = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


class SamePadConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's ``SAME``: at stride 2 an even side is padded right and bottom only."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        vertical = self._padding(int(input.shape[-2]), 0)
        horizontal = self._padding(int(input.shape[-1]), 1)
        if vertical[0] == vertical[1] and horizontal[0] == horizontal[1]:
            padding = (vertical[0], horizontal[0])
            return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return super().forward(F.pad(input, (*horizontal, *vertical)))

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
