"""What everything drawn has in common: colours, sizes, text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[float, float, float, float]  # x1 y1 x2 y2

COLOURS: Mapping[str, Colour] = MappingProxyType(
    {
        "neutral": (176, 184, 196),
        "happiness": (255, 200, 50),
        "surprise": (255, 140, 60),
        "sadness": (92, 150, 255),
        "anger": (255, 84, 84),
        "disgust": (120, 205, 90),
        "fear": (245, 130, 200),
        "contempt": (70, 205, 200),
    }
)
"""Colour of each expression; the names of other label sets are grey."""

OTHER: Colour = (176, 184, 196)
REGION: Colour = (205, 130, 255)  # far from any skin
AXES: tuple[Colour, ...] = ((235, 60, 60), (70, 200, 70), (70, 130, 255))  # x to the head's side, y down, z ahead
SMALLEST_TEXT = 10  # pixels
PANEL: Colour = (22, 24, 29)
DIM: Colour = (168, 174, 184)
INK: Colour = (18, 19, 22)


@dataclass(frozen=True)
class Sizes:
    """Lengths in pixels, all from the text's size, so that a drawing looks the same at any resolution."""

    text: int

    @property
    def line(self) -> int:
        """Width of a line."""
        return max(2, round(self.text / 7))

    @property
    def pad(self) -> int:
        """Space around a text."""
        return max(3, round(self.text * 0.45))

    @property
    def row(self) -> int:
        """Height of a line of text."""
        return round(self.text * 1.35)


def colour_of(expression: str) -> Colour:
    """Colour of an expression."""
    return COLOURS.get(expression, OTHER)


@lru_cache(maxsize=16)
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font in so many pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels have FreeType"
    return font


def rounded(size: tuple[int, int], radius: int, colour: Colour) -> Image.Image:
    """A filled rectangle with smooth round corners; Pillow's own have steps."""
    # Only corners are drawn larger and reduced: a card of a large photo has millions of pixels.
    width, height = (min(length, 2 * radius + 2) for length in size)
    large = Image.new("L", (width * 3, height * 3))
    ImageDraw.Draw(large).rounded_rectangle((0, 0, large.width - 1, large.height - 1), radius * 3, fill=255)
    corners = large.resize((width, height), Image.Resampling.BOX)
    mask = Image.new("L", size, 255)
    for x in (0, width // 2):
        for y in (0, height // 2):
            quarter = corners.crop((x, y, width if x else width // 2, height if y else height // 2))
            mask.paste(quarter, (size[0] - quarter.width if x else 0, size[1] - quarter.height if y else 0))
    shape = Image.new("RGBA", size, colour)
    shape.putalpha(mask)
    return shape


def tag_size(text: str, sizes: Sizes) -> tuple[int, int]:
    """Width and height of `tag_of` a text."""
    return math.ceil(font_of(sizes.text).getlength(text)) + 2 * sizes.pad, sizes.text + 2 * (sizes.pad // 2 + 1)


def tag_of(text: str, colour: Colour, sizes: Sizes) -> Image.Image:
    """A text on a coloured, rounded ground."""
    tag = rounded(tag_size(text, sizes), sizes.pad // 2, colour)
    ImageDraw.Draw(tag).text((sizes.pad, tag.height / 2), text, INK, font_of(sizes.text), anchor="lm")
    return tag


def paste(photo: NDArray[np.uint8], patch: Image.Image, corner: tuple[int, int]) -> None:
    """Lay a patch, RGBA, over a photo (H, W, 3), its top left at a corner x y; what is beyond the edge is lost."""
    x, y = corner
    part = photo[y : y + patch.height, x : x + patch.width]
    pixels = np.asarray(patch)[: part.shape[0], : part.shape[1]]
    alpha = pixels[..., 3]
    np.copyto(part, pixels[..., :3], where=(alpha == 255)[..., None])
    edge = (alpha > 0) & (alpha < 255)
    opacity = alpha[edge, None] / np.float32(255)
    part[edge] = (part[edge] * (1 - opacity) + pixels[edge, :3] * opacity + 0.5).astype(np.uint8)


def resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """A copy of an image (H, W, 3), larger or smaller by a factor."""
    if scale == 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return pixels_of(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))


def pixels_of(array: object) -> NDArray[np.uint8]:
    """What OpenCV returns, as the array of bytes that it is."""
    return np.asarray(array, dtype=np.uint8)
