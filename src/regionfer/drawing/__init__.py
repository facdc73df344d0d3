"""Faces, expressions and regions drawn on an image."""

from regionfer.drawing.cards import MAX_CARDS
from regionfer.drawing.picture import draw
from regionfer.drawing.style import COLOURS

__all__ = ["COLOURS", "MAX_CARDS", "draw"]
