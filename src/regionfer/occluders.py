"""Things that cover a face, drawn at random: masks, glasses, hands, hair, hats, objects, cloth, the picture's edge.

One generator serves training (faces are covered so that the network learns to look elsewhere, and learns what is
covered), the stress test, and the covered validation faces of an ablation. An occluder is opacity and colour over the
face crop; how much of any part of the face it hides is then known exactly.

Shapes are drawn in the frame of a face: origin between the eyes, x along the eyes to the image's right, y towards the
chin, unit the distance between the eyes of the frontal face.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from regionfer.regions import TYPICAL_LANDMARKS

Points = NDArray[np.float64]
Alpha = NDArray[np.float32]
Colour = NDArray[np.uint8]

SUBPIXEL = 4
"""Binary digits behind the point of OpenCV's drawing coordinates."""


@dataclass(frozen=True, eq=False)
class Occluder:
    """Something in front of a face crop.

    Attributes:
        alpha: (S, S) float32, opacity 0..1.
        colour: (S, S, 3) uint8 RGB, seen where it is opaque.
    """

    alpha: Alpha
    colour: Colour

    def over(self, face: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The covered face, (S, S, 3) uint8 RGB, of a face (S, S, 3) uint8 RGB of the same side."""
        alpha = self.alpha[..., None]
        return np.rint(face * (1 - alpha) + self.colour * alpha).astype(np.uint8)


class Canvas:
    """A face crop to draw an occluder on, with the frame of its face.

    Args:
        rng: source of all randomness.
        size: side of the crop, pixels.
        landmarks: (5, 2), x y in 0..1 of the crop, in the order of `regionfer.regions.LANDMARKS`.
        skin: RGB in 0..255, for hands.
    """

    def __init__(self, rng: np.random.Generator, size: int, landmarks: Points, skin: Points) -> None:
        self.rng, self.size, self.skin = rng, size, skin
        self.alpha: Alpha = np.zeros((size, size), dtype=np.float32)
        self.colour: Colour = np.zeros((size, size, 3), dtype=np.uint8)
        eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
        down = mouth - eyes
        # Eyes of a turned face lie close together, so the height of the face sets the scale.
        self.unit = max(float(np.hypot(*down)) / EYES_TO_MOUTH, 0.05) * size
        self.origin = eyes * size
        self.down = down / max(float(np.hypot(*down)), 1e-6)
        self.right = np.array([self.down[1], -self.down[0]])

    def pixels(self, points: ArrayLike) -> Points:
        """Pixels of points (n, 2) in the frame of the face."""
        x, y = np.asarray(points, dtype=np.float64).reshape(-1, 2).T
        places: Points = self.origin + self.unit * (x[:, None] * self.right + y[:, None] * self.down)
        return places

    def uniform(self, low: float, high: float) -> float:
        """One uniform number."""
        return float(self.rng.uniform(low, high))

    def paint(self, shape: Alpha, colour: Colour, opacity: float = 1.0) -> None:
        """Lay a shape (S, S) in 0..1 of a colour (S, S, 3) over what is there."""
        cover = shape * np.float32(opacity)
        total = cover + self.alpha * (1 - cover)
        share = (cover / np.maximum(total, 1e-6))[..., None]
        self.colour = (self.colour + share * (colour.astype(np.float32) - self.colour)).astype(np.uint8)
        self.alpha = total

    def polygon(self, pixels: Points) -> Alpha:
        """The inside of a polygon (n, 2) of pixels, 0..1."""
        blank = np.zeros((self.size, self.size), dtype=np.uint8)
        cv2.fillPoly(blank, [_fixed(pixels)], 255, cv2.LINE_AA, SUBPIXEL)
        return blank.astype(np.float32) / np.float32(255)

    def line(self, *pixels: Points, width: float, closed: bool = False) -> Alpha:
        """Lines (n, 2) of pixels, of a width in units of the face, 0..1."""
        blank = np.zeros((self.size, self.size), dtype=np.uint8)
        thickness = max(1, round(width * self.unit))
        cv2.polylines(blank, [_fixed(line) for line in pixels], closed, 255, thickness, cv2.LINE_AA, SUBPIXEL)
        return blank.astype(np.float32) / np.float32(255)

    def ellipse(self, centre: ArrayLike, axes: tuple[float, float], angle: float = 0.0, power: float = 2.0) -> Points:
        """Outline in pixels of a superellipse in the frame of the face; power 2 is an ellipse, more is boxier.

        Args:
            centre: x y.
            axes: half width and half height.
            angle: radians, clockwise.
            power: of the superellipse.
        """
        turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        cosine, sine = np.cos(turns), np.sin(turns)
        x = axes[0] * np.sign(cosine) * np.abs(cosine) ** (2 / power)
        y = axes[1] * np.sign(sine) * np.abs(sine) ** (2 / power)
        turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1)
        return self.pixels(turned + np.asarray(centre))

    def surface(self, colour: ArrayLike, roughness: float = 12.0) -> Colour:
        """A lit surface (S, S, 3) of a mean colour: a slope of light and soft blotches."""
        slope = self.rng.normal(0, 25, 2)
        line = np.linspace(-0.5, 0.5, self.size)
        light = slope[0] * line[None, :] + slope[1] * line[:, None]
        blotches = self.rng.normal(0, roughness, (6, 6)).astype(np.float32)
        light = light + cv2.resize(blotches, (self.size, self.size), interpolation=cv2.INTER_CUBIC)
        lit: Colour = np.clip(np.asarray(colour, dtype=np.float64) + light[..., None], 0, 255).astype(np.uint8)
        return lit

    def tint(self, low: float = 0, high: float = 255, spread: float = 25) -> Points:
        """A random colour of any lightness between low and high."""
        return np.clip(self.uniform(low, high) + self.rng.normal(0, spread, 3), 0, 255)

    def skin_tone(self) -> Points:
        """A colour close to the face's own skin."""
        return np.clip(self.skin * self.uniform(0.8, 1.2) + self.rng.normal(0, 8, 3), 0, 255)


EYES_TO_MOUTH = 1.05
"""From the middle of the eyes to the middle of the mouth, in distances between the eyes of the frontal face."""


def draw_occluder(
    kind: str,
    rng: np.random.Generator,
    size: int,
    *,
    strength: float | None = None,
    landmarks: ArrayLike = TYPICAL_LANDMARKS,
    skin: ArrayLike | None = None,
) -> Occluder:
    """Draw something that covers a part of a face crop.

    Args:
        kind: one of ``KINDS``.
        rng: source of all randomness; the same state draws the same.
        size: side of the crop, pixels.
        strength: 0..1, how much of the face it covers within what is usual for its kind; drawn if not given.
        landmarks: (5, 2), x y in 0..1 of the crop; those of a typical frontal crop if not given.
        skin: RGB in 0..255 of the face's skin, for hands; drawn if not given.

    Raises:
        ValueError: the kind is not known, or the strength is out of range.

    >>> draw_occluder("mask", np.random.default_rng(0), 48).alpha.shape
    (48, 48)
    """
    if kind not in KINDS:
        raise ValueError(f"unknown occluder {kind!r}; known: {', '.join(KINDS)}")
    strength = float(rng.uniform()) if strength is None else strength
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must be in 0..1, got {strength}")
    tone = rng.uniform(60, 220) * np.array([1.0, 0.85, 0.75]) if skin is None else np.asarray(skin, dtype=np.float64)
    canvas = Canvas(rng, size, np.asarray(landmarks, dtype=np.float64), tone)
    _PAINTERS[kind](canvas, strength)
    return Occluder(np.clip(canvas.alpha, 0, 1).astype(np.float32), canvas.colour)


def draw_cover(rng: np.random.Generator, size: int) -> Colour:
    """Draw what leaves nothing of a face: one colour, a slope of light, blotches, stripes or noise, grey or coloured.

    Args:
        rng: source of all randomness; the same state draws the same.
        size: side of the picture, pixels.

    Returns:
        (S, S, 3) uint8 RGB.
    """
    colours = rng.integers(0, 256, (2, 1 if rng.uniform() < 0.5 else 3)).astype(np.float32)
    kind = rng.integers(4)
    mix: Alpha
    if kind == 0:  # one colour
        mix = np.zeros((size, size), dtype=np.float32)
    elif kind == 1:  # a slope, or stripes of any width
        angle, waves = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(0.25), np.log(size / 3)))
        y, x = np.mgrid[:size, :size] / size
        mix = (0.5 + 0.5 * np.sin(2 * np.pi * waves * (x * np.cos(angle) + y * np.sin(angle)))).astype(np.float32)
    else:  # noise, from blotches to single pixels
        cells = int(np.exp(rng.uniform(np.log(2), np.log(size))))
        mix = cv2.resize(rng.random((cells, cells), np.float32), (size, size)).astype(np.float32)
    grain = rng.normal(0, rng.uniform(0, 30), (size, size, 1)) if rng.uniform() < 0.5 else 0.0
    picture = colours[0] + mix[..., None] * (colours[1] - colours[0]) + grain
    return np.broadcast_to(np.clip(picture, 0, 255), (size, size, 3)).astype(np.uint8)


def _mask(canvas: Canvas, strength: float) -> None:
    """A face mask from the chin up to below the mouth, over the nose, or to the eyes."""
    top = 0.85 - 0.65 * strength
    width = canvas.uniform(0.9, 1.05)
    outline = [
        (-width, top + 0.15),
        (-0.45, top + 0.05),
        (0, top - canvas.uniform(0.02, 0.12)),
        (0.45, top + 0.05),
        (width, top + 0.15),
        (0.85 * width, 1.35),
        (0.45, canvas.uniform(1.7, 1.9)),
        (-0.45, canvas.uniform(1.7, 1.9)),
        (-0.85 * width, 1.35),
    ]
    shape = canvas.polygon(canvas.pixels(outline))
    colour = canvas.surface(canvas.tint(20, 250))
    canvas.paint(shape, colour)
    for fold in np.linspace(top + 0.35, 1.3, 3):  # pleats
        crease = canvas.line(canvas.pixels([(-0.7, fold), (0, fold + 0.08), (0.7, fold)]), width=0.04)
        canvas.paint(crease * shape, (colour * 0.8).astype(np.uint8), canvas.uniform(0, 0.6))
    for side in (-1, 1):  # ear loops
        loop = canvas.pixels([(side * width, top + 0.15), (side * 1.3, top - 0.1)])
        canvas.paint(canvas.line(loop, width=0.04), colour, 0.8)


def _glasses(canvas: Canvas, strength: float, opacity: float) -> None:
    half = 0.28 + 0.2 * strength
    axes = half, half * canvas.uniform(0.6, 1.0)
    power = canvas.uniform(2, 5)
    drop = canvas.uniform(-0.02, 0.12)
    frame = canvas.surface(canvas.tint(0, 90 if canvas.uniform(0, 1) < 0.8 else 255))
    glass = canvas.surface(canvas.tint(0, 80), 6)
    width = canvas.uniform(0.03, 0.1)
    for side in (-1, 1):
        outline = canvas.ellipse((0.5 * side, drop), axes, 0.08 * side, power)
        inside = canvas.polygon(outline)
        canvas.paint(inside, glass, opacity)
        glint = canvas.line(
            canvas.pixels([(0.5 * side - 0.15, drop + 0.15), (0.5 * side + 0.1, drop - 0.2)]), width=0.07
        )
        canvas.paint(glint * inside, np.full_like(glass, 245), canvas.uniform(0, 0.7))
        canvas.paint(canvas.line(outline, width=width, closed=True), frame)
        temple = canvas.pixels([(side * (0.5 + axes[0]), drop - 0.05), (side * 1.25, drop - 0.1)])
        canvas.paint(canvas.line(temple, width=width), frame)
    bridge = canvas.pixels([(-0.5 + axes[0], drop - 0.05), (0, drop - 0.1), (0.5 - axes[0], drop - 0.05)])
    canvas.paint(canvas.line(bridge, width=width), frame)


def _dark_glasses(canvas: Canvas, strength: float) -> None:
    """Sunglasses."""
    _glasses(canvas, strength, canvas.uniform(0.75, 1.0))


def _clear_glasses(canvas: Canvas, strength: float) -> None:
    """Spectacles: frames, a glint, hardly any tint."""
    _glasses(canvas, strength, canvas.uniform(0.0, 0.2))


def _hand(canvas: Canvas, strength: float) -> None:
    """Palm and fingers that come from a side or from below, over mouth, cheek, eyes or forehead."""
    place = [(0, 1.05), (-0.7, 0.7), (0.7, 0.7), (-0.5, 0.05), (0.5, 0.05), (0, -0.5), (0, 0.1)]
    centre = np.array(place[int(canvas.rng.integers(len(place)))]) + canvas.rng.normal(0, 0.12, 2)
    away = centre - (0, 0.4)
    # Arms come from below or from the side the hand lies at, seldom from above.
    towards = np.arctan2(-abs(away[1]) - 0.3, -away[0] + canvas.rng.normal(0, 0.5))
    span = 0.22 + 0.33 * strength
    along = np.array([np.cos(towards), np.sin(towards)])
    across = np.array([-along[1], along[0]])
    tone = canvas.skin_tone()
    skin, edge = canvas.surface(tone, 8), canvas.surface(tone * 0.6, 8)
    palm = canvas.polygon(canvas.ellipse(centre - along * span, (span * 1.1, span), towards, 2.5))
    arm = canvas.line(canvas.pixels([centre - along * span, centre - along * (span + 2)]), width=span * 1.3)
    canvas.paint(np.maximum(palm, arm), skin)
    spread = canvas.uniform(0.0, 0.5)
    for finger in np.linspace(-0.75, 0.75, 4):
        lean = towards + spread * finger
        tip = np.array([np.cos(lean), np.sin(lean)]) * span * canvas.uniform(1.3, 1.9)
        base = centre + across * finger * span * 0.95
        bones = canvas.pixels([base - along * span * 0.5, base + tip * 0.6, base + tip])
        canvas.paint(canvas.line(bones, width=span * 0.5), edge)  # shadow between the fingers
        canvas.paint(canvas.line(bones, width=span * 0.4), skin)


def _hair(canvas: Canvas, strength: float) -> None:
    """Strands from above: a fringe over the forehead, or locks down one side."""
    fringe = canvas.uniform(0, 1) < 0.6
    side = -1 if canvas.uniform(0, 1) < 0.5 else 1
    tone = canvas.tint(10, 170, 12) * (1.05, 1.0, 0.9)
    reach = -0.55 + 0.9 * strength if fringe else 0.3 + 1.3 * strength
    for _ in range(4):  # layers, each a little lighter or darker than the others
        strands = []
        for _ in range(int(6 + 12 * strength)):
            start = canvas.uniform(-1.1, 1.1) if fringe else side * canvas.uniform(0.45 - 0.35 * strength, 1.2)
            bend = canvas.rng.normal(0, 0.12) + (0.25 * side if fringe else 0.0)
            end = reach + canvas.rng.normal(0, 0.12)
            strands.append(
                _curve(canvas.pixels([(start, -1.6), (start + bend * 0.5, (end - 1.6) / 2), (start + bend, end)]))
            )
        shape = canvas.line(*strands, width=canvas.uniform(0.03, 0.12))
        canvas.paint(shape, canvas.surface(tone * canvas.uniform(0.6, 1.4)), canvas.uniform(0.8, 1.0))


def _hat(canvas: Canvas, strength: float) -> None:
    """A hat, cap or scarf from above down to the forehead or the brows."""
    brim = -0.85 + 0.65 * strength
    sag = canvas.uniform(-0.15, 0.2)
    outline = [
        (-1.5, brim - sag),
        (-0.7, brim),
        (0, brim + sag * 0.3),
        (0.7, brim),
        (1.5, brim - sag),
        (1.5, -3),
        (-1.5, -3),
    ]
    shape = canvas.polygon(canvas.pixels(outline))
    colour = canvas.surface(canvas.tint(), 20)
    canvas.paint(shape, colour)
    band = canvas.line(canvas.pixels(outline[:5]), width=canvas.uniform(0.05, 0.3))
    canvas.paint(band, canvas.surface(canvas.tint()), canvas.uniform(0.3, 1))


def _object(canvas: Canvas, strength: float) -> None:
    """A cup, telephone, microphone, or any other thing of round or square outline."""
    centre = (canvas.uniform(-0.9, 0.9), canvas.uniform(-0.4, 1.5))
    half = 0.2 + 0.45 * strength
    axes = half, half * canvas.uniform(0.5, 1.6)
    outline = canvas.ellipse(centre, axes, canvas.uniform(0, np.pi), canvas.uniform(2, 8))
    shape = canvas.polygon(outline)
    canvas.paint(shape, canvas.surface(canvas.tint(), 25))
    for _ in range(int(canvas.rng.integers(0, 4))):  # print, edges, holes
        spot = (centre[0] + canvas.uniform(-half, half), centre[1] + canvas.uniform(-half, half))
        mark = canvas.polygon(canvas.ellipse(spot, (half * canvas.uniform(0.1, 0.5), half * canvas.uniform(0.1, 0.5))))
        canvas.paint(mark * shape, canvas.surface(canvas.tint()))
    canvas.paint(
        canvas.line(outline, width=0.04, closed=True), canvas.surface(canvas.tint(0, 120)), canvas.uniform(0, 0.8)
    )


def _border(canvas: Canvas, strength: float) -> None:
    """The picture ends: a strip of one colour, from an edge of the crop."""
    width = max(1, round((0.06 + 0.4 * strength) * canvas.size))
    strip = np.zeros((canvas.size, canvas.size), dtype=np.float32)
    strip[:width] = 1
    strip = np.ascontiguousarray(np.rot90(strip, int(canvas.rng.integers(4))))
    canvas.paint(strip, np.full_like(canvas.colour, canvas.tint(0, 255, 5).astype(np.uint8)))


def _block(canvas: Canvas, strength: float) -> None:
    """A rectangle of noise or of one grey, anywhere: random erasing (Zhong et al., 2020, arXiv:1708.04896)."""
    area = 0.02 + 0.23 * strength
    stretch = float(np.exp(canvas.uniform(-0.5, 0.5) * np.log(2)))
    width, height = (max(1, round(canvas.size * side)) for side in (area**0.5 * stretch, area**0.5 / stretch))
    left = int(canvas.rng.integers(canvas.size - min(width, canvas.size) + 1))
    top = int(canvas.rng.integers(canvas.size - min(height, canvas.size) + 1))
    shape = np.zeros((canvas.size, canvas.size), dtype=np.float32)
    shape[top : top + height, left : left + width] = 1
    texture = canvas.rng.integers(0, 256, (8, 8, 1) if canvas.uniform(0, 1) < 0.5 else (1, 1, 1), dtype=np.uint8)
    grey = cv2.resize(texture, (canvas.size, canvas.size), interpolation=cv2.INTER_LINEAR)
    canvas.paint(shape, np.repeat(grey[..., None], 3, axis=2))


def _cloth(canvas: Canvas, strength: float) -> None:
    """Cloth, or anything else with folds, seams and prints, from one side over as much as nearly the whole picture."""
    size, uniform = canvas.size, canvas.uniform
    y, x = (np.mgrid[:size, :size] + 0.5) / size - 0.5

    def waves(across: Points, count: float, bend: float) -> Points:
        """Soft waves over places ``across``, -1..1, bent at random."""
        bends = cv2.resize(canvas.rng.normal(0, bend, (4, 4)), (size, size), interpolation=cv2.INTER_CUBIC)
        return np.asarray(np.sin(2 * np.pi * count * across + bends + uniform(0, 2 * np.pi)))

    angle = int(canvas.rng.integers(4)) * np.pi / 2 + canvas.rng.normal(0, 0.25)  # towards which it ends
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    edge = -0.4 + 0.8 * strength + uniform(0, 0.06) * waves(across, uniform(0.3, 2), 0.5)
    shape = np.clip((edge - along) * size + 0.5, 0, 1).astype(np.float32)

    turn = uniform(0, np.pi)
    folds = waves(x * np.cos(turn) + y * np.sin(turn), uniform(0.5, 8), uniform(0, 3)) * uniform(0, 50)
    for cells in (3, 6, 12, 24):  # blotches of all sizes, as in most pictures
        blotches = canvas.rng.normal(0, uniform(0, 60) / cells**0.5, (cells, cells))
        folds = folds + cv2.resize(blotches, (size, size), interpolation=cv2.INTER_CUBIC)
    colour = np.clip(canvas.surface(canvas.tint(), 0).astype(np.float32) + folds[..., None], 0, 255).astype(np.uint8)
    canvas.paint(shape, colour)
    for _ in range(int(canvas.rng.integers(7))):  # prints, buttons, seams
        centre = (uniform(-1.5, 1.5), uniform(-1.2, 1.9))
        outline = canvas.ellipse(centre, (uniform(0.05, 0.5), uniform(0.05, 0.5)), uniform(0, np.pi), uniform(2, 8))
        mark = canvas.polygon(outline)
        if uniform(0, 1) < 0.5:
            mark = canvas.line(outline[: int(canvas.rng.integers(5, 40))], width=uniform(0.02, 0.12))
        canvas.paint(mark * shape, canvas.surface(canvas.tint(), 25), uniform(0.4, 1))


def _curve(points: Points) -> Points:
    """A quadratic Bezier curve of three points, (9, 2)."""
    t = np.linspace(0, 1, 9)[:, None]
    curve: Points = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
    return curve


def _fixed(pixels: Points) -> NDArray[np.int32]:
    """Pixels as OpenCV draws them: whole numbers with ``SUBPIXEL`` binary digits behind the point."""
    fixed: NDArray[np.int32] = np.rint((pixels - 0.5) * 2**SUBPIXEL).astype(np.int32)
    return fixed


_PAINTERS: Mapping[str, Callable[[Canvas, float], None]] = MappingProxyType(
    {
        "mask": _mask,
        "dark glasses": _dark_glasses,
        "clear glasses": _clear_glasses,
        "hand": _hand,
        "hair": _hair,
        "hat": _hat,
        "object": _object,
        "border": _border,
        "block": _block,
        "cloth": _cloth,
    }
)

KINDS: tuple[str, ...] = tuple(_PAINTERS)
"""What can cover a face."""
