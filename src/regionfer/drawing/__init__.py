"""Faces, expressions and regions drawn on an image."""

from regionfer.drawing.picture import draw

__all__ = ["draw"]
