"""Make the example photos in examples/ from two portraits in the public domain.

    python scripts/make_examples.py [FOLDER]

astronaut.jpg is the portrait that scikit-image carries; hopper.jpg is committed as it is. The other photos show
what no free photo at hand shows, and are drawn from these two: several faces, a covered face, a turned face. The
same versions of Pillow, OpenCV and scikit-image give the same bytes again. Needs the extra "dev".
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from skimage import data

EXAMPLES = Path(__file__).parents[1] / "examples"

# Outline of the astronaut's head in pixels of the 512 x 512 portrait.
HEAD_ROWS = (14, 17, 20, 30, 40, 50, 60, 80, 100, 110, 120, 130, 140, 150, 160, 168, 176, 183)
HEAD_LEFT = (222, 215, 208, 188, 174, 163, 156, 153, 156, 160, 168, 172, 182, 185, 187, 192, 200, 218)
HEAD_RIGHT = (240, 246, 256, 272, 286, 292, 297, 301, 299, 296, 288, 276, 267, 265, 260, 256, 250, 232)
HEAD_WINDOW = (90, 0, 350, 250)  # left, top, right, bottom around head and collar

# A surgical mask on the same portrait: x y around its edge, and its loops up to the ears.
MASK_X = (182, 200, 214, 224, 234, 247, 267, 266, 262, 252, 240, 225, 208, 195, 186, 183)
MASK_Y = (121, 117, 111, 108, 111, 118, 123, 140, 156, 170, 179, 184, 180, 170, 156, 140)
MASK_LOOPS = (
    ((184, 123), (175, 121)),
    ((187, 157), (178, 142), (173, 127)),
    ((265, 125), (274, 125)),
    ((261, 157), (271, 143), (275, 131)),
)


def masked(portrait: Image.Image, *, scale: int = 2, fineness: int = 4) -> Image.Image:
    """The astronaut's head with a surgical mask over nose, mouth and chin."""
    factor = scale * fineness

    def grown(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * factor, y * factor) for x, y in points]

    size = (portrait.width * factor, portrait.height * factor)
    shape = Image.new("L", size)
    ImageDraw.Draw(shape).polygon(grown(zip(MASK_X, MASK_Y, strict=True)), fill=255)
    shape = shape.filter(ImageFilter.GaussianBlur(factor)).point(lambda v: 255 if v > 127 else 0)  # round corners
    x, y = np.meshgrid(np.arange(portrait.width * scale) / scale, np.arange(portrait.height * scale) / scale)
    # Cloth around a face: lit from the left like the portrait, darker towards the sides and below the chin.
    light = 1.0 - 0.34 * np.abs((x - 220) / 45) ** 2.4 - 0.22 * np.clip((y - 150) / 34, 0, 1) ** 2
    fold_rows = 126 + 13 * np.arange(4)[:, None, None] + 0.0022 * (x - 224) ** 2
    folds = np.exp(-(((y - fold_rows) / 0.7) ** 2)).sum(0) - 0.8 * np.exp(-(((y - fold_rows - 1.8) / 0.9) ** 2)).sum(0)
    strip = np.exp(-(((y - 113.5 - 0.006 * (x - 224) ** 2) / 1.1) ** 2)) * (np.abs(x - 224) < 22)
    weave = np.random.default_rng(7).normal(0, 0.012, x.shape)
    shade = np.clip(light - 0.14 * folds + 0.10 * strip + weave, 0.25, 1.08)
    cloth = np.clip(shade[..., None] * np.array([176, 211, 226]), 0, 255).astype(np.uint8)

    photo = portrait.resize((portrait.width * scale, portrait.height * scale), Image.Resampling.LANCZOS)
    small = shape.resize(photo.size, Image.Resampling.LANCZOS)
    shadow = small.filter(ImageFilter.GaussianBlur(2 * scale)).point(lambda v: v * 0.35)
    photo.paste((60, 35, 25), mask=shadow)
    loops = Image.new("L", size)
    for curve in MASK_LOOPS:
        ImageDraw.Draw(loops).line(grown(curve), fill=255, width=int(1.6 * factor), joint="curve")
    photo.paste((232, 236, 238), mask=loops.resize(photo.size, Image.Resampling.LANCZOS))
    photo.paste(Image.fromarray(cloth), mask=small)
    return _window(photo, scale)


def turned(portrait: Image.Image, degrees: float = -38.0, *, scale: int = 2) -> Image.Image:
    """The astronaut's head turned about its vertical axis; below 0 to the image's left.

    Each row of the head is taken for a half cylinder as wide as its outline. Jaw and mouth stand before the axis
    of the hair, so their rows move to the side as well. What the portrait does not show is hair and neck, which
    are continued from their neighbourhood.
    """
    turn = np.radians(degrees)
    photo = np.asarray(portrait.resize((portrait.width * scale, portrait.height * scale), Image.Resampling.BICUBIC))
    y = np.arange(photo.shape[0]) / scale
    left, right = (
        cv2.GaussianBlur(np.interp(y, HEAD_ROWS, edge)[:, None], (1, 21), 4) for edge in (HEAD_LEFT, HEAD_RIGHT)
    )
    columns, rows = np.meshgrid(np.arange(photo.shape[1]) / scale, y)
    middle, radius = (left + right) / 2, (right - left) / 2
    forward = np.interp(y, [90, 150, 176], [0, 34, 34])[:, None]
    across = (columns - middle - forward * np.sin(turn)) / radius  # -1..1 over the turned head
    inside = (np.abs(across) < 1) & (rows > 14) & (rows < 183)
    angle = np.arcsin(across.clip(-1, 1)) - turn
    safe = np.interp(y, [14, 30, 60, 128, 140], [0.70, 0.86, 0.94, 0.94, 0.93])[:, None]  # clear of the background
    head = _sample(photo, (middle + safe * radius * _around(angle)) * scale, rows * scale)
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.6 * scale)[..., None]
    behind = _without_head(photo, columns, rows, left, right, scale)
    return _window(Image.fromarray((head * alpha + behind * (1 - alpha)).round().clip(0, 255).astype(np.uint8)), scale)


def _around(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sine of the angle, mirrored gently beyond the portrait's edge, where a true sine would smear one column."""
    size = np.abs(angle)
    edge = np.radians(68)
    return np.sign(angle) * np.where(size < edge, np.sin(size), np.sin(edge) - (size - edge) * 0.22)


def _without_head(
    photo: NDArray[np.uint8],
    columns: NDArray[np.float64],
    rows: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    scale: int,
) -> NDArray[np.float64]:
    """Background and neck, as they are seen past the turned head."""
    covered = (columns > left - 5) & (columns < right + 5) & (rows > 8) & (rows < np.where(columns < 248, 150, 168))
    background = cv2.inpaint(photo, covered.astype(np.uint8) * 255, 5, cv2.INPAINT_TELEA)
    neck_rows = np.where((rows > 112) & (rows < 172), 171 + (rows - 142) / 30, rows)  # the skin below, drawn upwards
    neck = _sample(photo, columns * scale, neck_rows * scale) * 0.97
    is_neck = (rows > 112) & (rows < 172) & (columns > 196) & (columns < 254)
    alpha = cv2.GaussianBlur(is_neck.astype(np.float32), (0, 0), 1.5)[..., None]
    return neck * alpha + background * (1 - alpha)


def _sample(photo: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return cv2.remap(photo.astype(np.float32), x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)


def _window(photo: Image.Image, scale: int) -> Image.Image:
    return photo.crop(tuple(edge * scale for edge in HEAD_WINDOW))


def wall(astronaut: Image.Image, hopper: Image.Image, turned_head: Image.Image) -> Image.Image:
    """Six prints on a brick wall: large and small, upright and tilted, in colour, grey and sepia."""
    brick = Image.fromarray(data.brick()).transpose(Image.Transpose.ROTATE_90)
    brick = brick.resize((1280, 1280), Image.Resampling.BICUBIC).crop((0, 0, 1280, 860))
    photo = ImageOps.colorize(brick, (62, 50, 46), (214, 198, 186))
    face, portrait = astronaut.crop((96, 0, 356, 300)), hopper.crop((106, 10, 426, 379))
    sepia = ImageOps.colorize(ImageOps.grayscale(portrait), (38, 24, 14), (250, 236, 214))
    # print, width, degrees counterclockwise, centre
    prints = [
        (portrait, 330, 3, (235, 260)),
        (face, 300, -4, (620, 245)),
        (turned_head.crop((0, 0, turned_head.width, turned_head.height * 3 // 4)), 330, 2, (1010, 265)),
        (ImageOps.mirror(ImageOps.grayscale(face)).convert("RGB"), 210, 14, (165, 665)),
        (ImageOps.mirror(sepia), 190, -12, (520, 655)),
        (ImageOps.mirror(face), 120, -22, (830, 655)),
    ]
    for picture, width, degrees, centre in prints:
        _hang(photo, picture, width, degrees, centre)
    return photo


def _hang(photo: Image.Image, picture: Image.Image, width: int, degrees: float, centre: tuple[int, int]) -> None:
    height = round(width * picture.height / picture.width)
    border = max(6, width // 22)
    framed = ImageOps.expand(picture.resize((width, height), Image.Resampling.LANCZOS), border, (247, 245, 240))
    framed = ImageOps.expand(framed.convert("RGBA"), 2, (0, 0, 0, 0))  # for smooth edges once rotated
    framed = framed.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    corner = (centre[0] - framed.width // 2, centre[1] - framed.height // 2)
    shadow = Image.new("L", photo.size)
    shadow.paste(150, (corner[0] + border, corner[1] + border), framed.getchannel("A"))
    photo.paste((15, 10, 8), mask=shadow.filter(ImageFilter.GaussianBlur(border)))
    photo.paste(framed, corner, framed)


def main(folder: Path = EXAMPLES) -> None:
    """Write the photos that are made, and print their names and sizes."""
    astronaut = Image.fromarray(data.astronaut())
    hopper = Image.open(EXAMPLES / "hopper.jpg").convert("RGB")
    turned_head = turned(astronaut)
    photos = {
        "astronaut.jpg": astronaut,
        "masked.jpg": masked(astronaut),
        "several.jpg": wall(astronaut, hopper, turned_head),
        "turned.jpg": turned_head,
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, photo in photos.items():
        path = folder / name
        photo.save(path, quality=90, optimize=True)
        print(f"{path}: {photo.width} x {photo.height}, {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
