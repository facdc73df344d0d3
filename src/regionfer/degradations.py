"""What spoils a face crop, in five strengths: things over it, blur, few pixels, rotation, darkness.

A stress test asks how soon a model fails as each of them grows. What happens to a face is settled by the seed and the
pixels of the face alone: the same face gets the same mask whichever faces are beside it, and a stronger mask is the
same mask pulled higher.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.occluders import draw_occluder
from regionfer.regions import TYPICAL_LANDMARKS

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

LEVELS = (1, 2, 3, 4, 5)
"""The strengths."""

FULL_WELL = 1000
"""Photons that make a pixel white: a small sensor's. Darkness brings out their noise, which grows as their root."""

GAMMA = 2.2
"""Of the pixel values: light is their power."""


class Degraded(NamedTuple):
    """A spoilt face.

    Attributes:
        pixels: (T, T, 3) uint8 RGB; T is the side S of the face, less where the resolution is lower.
        landmarks: (5, 2) float32, where the landmarks are now, x y in 0..1; NaN where they were.
        amount: how much of it, in the kind's unit.
    """

    pixels: Image
    landmarks: Points
    amount: float


class _Face(NamedTuple):
    """A face to be spoilt: pixels (S, S, 3), and landmarks (5, 2), which may be NaN."""

    pixels: Image
    landmarks: Points


_Spoil = Callable[[_Face, float, np.random.Generator], Degraded]


@dataclass(frozen=True)
class Degradation:
    """A kind of degradation.

    Attributes:
        name: one word, for the command line.
        title: for people.
        unit: of the amounts, to be put after a number.
        settings: what each level is, in the unit; of an occluder the strengths of `draw_occluder`, whose amount, the
            share that is covered, differs from face to face.
        spoil: what does it.
    """

    name: str
    title: str
    unit: str
    settings: tuple[float, float, float, float, float]
    spoil: _Spoil


def degrade(face: Image, kind: str, level: int, *, landmarks: Points | None = None, seed: int = 0) -> Degraded:
    """Spoil one face.

    A grey face (three equal channels) stays grey.

    Args:
        face: (S, S, 3) uint8 RGB.
        kind: a key of ``DEGRADATIONS``.
        level: one of ``LEVELS``.
        landmarks: (5, 2), x y in 0..1 of the face, in the order of `regionfer.regions.LANDMARKS`, by which masks and
            glasses are put on; those of a typical frontal face if not given, or NaN.
        seed: the same seed does the same to the same face.

    Raises:
        ValueError: an unknown kind or level.

    >>> degrade(np.full((48, 48, 3), 99, np.uint8), "resolution", 5).pixels.shape
    (8, 8, 3)
    """
    if kind not in DEGRADATIONS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(DEGRADATIONS)}")
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(map(str, LEVELS))}, got {level}")
    degradation = DEGRADATIONS[kind]
    # Not the level: of one face, the levels differ in strength only.
    rng = np.random.default_rng([seed, list(DEGRADATIONS).index(kind), zlib.crc32(face.tobytes())])
    points = np.full((5, 2), np.nan, np.float32) if landmarks is None else np.asarray(landmarks, np.float32)
    done = degradation.spoil(_Face(face, points), degradation.settings[level - 1], rng)
    return done._replace(pixels=_greyed(done.pixels)) if _is_grey(face) else done


def _cover_with(occluder: str) -> _Spoil:
    def cover(face: _Face, strength: float, rng: np.random.Generator) -> Degraded:
        places = face.landmarks if np.isfinite(face.landmarks).all() else np.array(TYPICAL_LANDMARKS, np.float32)
        skin = _skin(face.pixels, places)
        drawn = draw_occluder(occluder, rng, len(face.pixels), strength=strength, landmarks=places, skin=skin)
        return Degraded(drawn.over(face.pixels), face.landmarks, 100 * float(drawn.alpha.mean()))

    return cover


def _blur(face: _Face, share: float, rng: np.random.Generator) -> Degraded:
    """Out of focus: Gaussian."""
    sigma = len(face.pixels) * share / 100
    soft = cv2.GaussianBlur(face.pixels, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return Degraded(np.asarray(soft, np.uint8), face.landmarks, share)


def _shrink(face: _Face, side: float, rng: np.random.Generator) -> Degraded:
    """A face of few pixels; it is not enlarged again, that is for the model to do."""
    small = min(round(side), len(face.pixels))
    pixels = cv2.resize(face.pixels, (small, small), interpolation=cv2.INTER_AREA)
    return Degraded(np.asarray(pixels, np.uint8), face.landmarks, float(small))


def _rotate(face: _Face, degrees: float, rng: np.random.Generator) -> Degraded:
    """In the plane of the picture, to either side; the edge is repeated."""
    size = len(face.pixels)
    centre = (size - 1) / 2
    turn = cv2.getRotationMatrix2D((centre, centre), degrees if rng.uniform() < 0.5 else -degrees, 1.0)
    flags = cv2.INTER_LINEAR
    pixels = cv2.warpAffine(face.pixels, turn, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    places = (face.landmarks - 0.5) @ turn[:, :2].T + 0.5
    return Degraded(np.asarray(pixels, np.uint8), places.astype(np.float32), degrees)


def _darken(face: _Face, stops: float, rng: np.random.Generator) -> Degraded:
    """Less light on the sensor, and the photon noise that comes with it; nothing brightens the picture again."""
    light = (face.pixels / np.float32(255)) ** GAMMA / 2**stops
    channels = 1 if _is_grey(face.pixels) else 3
    noise = rng.standard_normal((*face.pixels.shape[:2], channels)) * np.sqrt(light / FULL_WELL)
    values = 255 * np.clip(light + noise, 0, 1) ** (1 / GAMMA)
    return Degraded(np.rint(values).astype(np.uint8), face.landmarks, stops)


def _skin(face: Image, places: Points) -> NDArray[np.float64]:
    """RGB of the skin: the median around the nose."""
    size = len(face)
    x, y = np.clip(np.rint(places[2] * size), 0, size - 1).astype(int)
    reach = max(1, size // 12)
    around = face[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
    return np.asarray(np.median(around.reshape(-1, 3), axis=0), np.float64)


def _is_grey(face: Image) -> bool:
    return bool((face == face[..., :1]).all())


def _greyed(face: Image) -> Image:
    grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


_COVERED = "% covered"
_WHOLE_RANGE = (0.0, 0.25, 0.5, 0.75, 1.0)

DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        each.name: each
        for each in (
            Degradation("mask", "Mask", _COVERED, _WHOLE_RANGE, _cover_with("mask")),
            Degradation("sunglasses", "Sunglasses", _COVERED, _WHOLE_RANGE, _cover_with("dark glasses")),
            Degradation("hand", "Hand", _COVERED, _WHOLE_RANGE, _cover_with("hand")),
            Degradation("border", "Cut by the border", _COVERED, _WHOLE_RANGE, _cover_with("border")),
            Degradation("blur", "Blur", "% of the side", (1, 2, 3, 5, 8), _blur),
            Degradation("resolution", "Low resolution", "px", (32, 24, 16, 12, 8), _shrink),
            Degradation("rotation", "Rotation", "degrees", (10, 20, 30, 45, 60), _rotate),
            Degradation("darkness", "Darkness", "stops", (2, 4, 5, 6, 7), _darken),
        )
    }
)
"""All kinds by name."""
