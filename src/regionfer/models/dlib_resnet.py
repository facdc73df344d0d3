"""The residual network of dlib's face recognition, with its norms folded into the convolutions.

Source: `dlib_face_recognition_resnet_model_v1` (King, 2017), 29 convolutions, half of ResNet-34's channels (He et al.,
2016, arXiv:1512.03385). Its blocks have no projections: where a block halves the map, the shortcut is averaged, and
has zeros for the channels it lacks.
"""

import torch.nn.functional as F
from torch import Tensor, nn

STEM = "conv32_down"
STEM_WIDTH = 32
BLOCKS = {
    **{"conv32_1": 32, "conv32_2": 32, "conv32_3": 32},
    **{"conv64_down": 64, "conv64_1": 64, "conv64_2": 64, "conv64_3": 64},
    **{"conv128_down": 128, "conv128_1": 128, "conv128_2": 128},
    **{"conv256_down": 256, "conv256_1": 256, "conv256_2": 256, "conv256_down_out": 256},
}
"""The blocks in their order, as face-api.js calls them, with their channels; those that halve the map are "down"."""


class PlainBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut.

    Args:
        inputs: channels of the map that comes in.
        outputs: channels of the map that goes out, ``inputs`` or more.
        halving: whether the map's sides are halved, an odd sample left out.
    """

    def __init__(self, inputs: int, outputs: int, *, halving: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 2 if halving else 1, 0 if halving else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.halving = halving

    def forward(self, maps: Tensor) -> Tensor:
        """From (B, inputs, H, W) to (B, outputs, H, W), or to half of the sides, at least 1."""
        if not self.halving:
            return F.relu(self.conv2(F.relu(self.conv1(maps))) + maps)
        # Small pictures come to fewer samples than the convolution and the mean take.
        found = self.conv2(F.relu(self.conv1(_at_least(3, maps))))
        shortcut = F.avg_pool2d(_at_least(2, maps), 2)
        # Of an even side the convolution, which is not padded, has one sample less than the mean of pairs.
        rows, columns = (a - b for a, b in zip(shortcut.shape[-2:], found.shape[-2:], strict=True))
        found = F.pad(found, (0, columns, 0, rows))
        return F.relu(found + F.pad(shortcut, (0, 0, 0, 0, 0, found.shape[1] - shortcut.shape[1])))


def _at_least(side: int, maps: Tensor) -> Tensor:
    """Maps (B, C, H, W) with zeros at the right and bottom up to this side."""
    height, width = maps.shape[-2:]
    return F.pad(maps, (0, max(side - width, 0), 0, max(side - height, 0)))


def dlib_resnet_stages() -> list[nn.Module]:
    """The stem and the 14 blocks: 15 stages, 3 to 256 channels; 150 pixels become 2 x 2 samples."""
    stages: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(3, STEM_WIDTH, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
    ]
    inputs = STEM_WIDTH
    for name, outputs in BLOCKS.items():
        stages.append(PlainBlock(inputs, outputs, halving="down" in name))
        inputs = outputs
    return stages
