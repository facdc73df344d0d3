"""What stands beside the photo: a card a face, and a legend."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regionfer.drawing.photo import doubt_of, outline_regions, strengths_of, strongest
from regionfer.drawing.style import (
    AXES,
    DIM,
    OTHER,
    PANEL,
    REGION,
    Colour,
    Sizes,
    colour_of,
    font_of,
    paste,
    pixels_of,
    resized,
    rounded,
    tag_of,
)
from regionfer.results import Face, Region, covered_text, share_text

MAX_CARDS = 24
"""Cards beside a photo at most. Further faces have their box, label and outlines in the photo only."""

_BARS = 8
VISIBLE: Colour = (120, 205, 90)
HIDDEN: Colour = (120, 40, 40)
_TRACK: Colour = (58, 62, 71)
_BRIGHT: Colour = (244, 246, 249)
_CARD: Colour = (36, 39, 46)


def card_of(
    image: NDArray[np.uint8], face: Face, index: int, corners: NDArray[np.float32], sizes: Sizes, *, named: bool
) -> Image.Image:
    """The face enlarged, its bars, pose and region."""
    shown = sorted(face.probabilities, key=face.probabilities.__getitem__, reverse=True)[:_BARS]
    bars = [(name, value) for name, value in face.probabilities.items() if name in shown]
    font, pad, row = font_of(sizes.text), sizes.pad, sizes.row
    name_width = math.ceil(max(font.getlength(name) for name, _ in bars))
    bar_width, value_width = 7 * sizes.text, math.ceil(font.getlength("100%"))
    side = max(len(bars), 5) * row
    bars_left = 4 * pad + side
    notes, marks = notes_of(face), _region_marks(face.regions, sizes)
    inner = max([bars_left + name_width + bar_width + value_width, *(2 * pad + font.getlength(note) for note in notes)])
    width = math.ceil(inner) + 4 * pad
    top = 2 * pad + round(1.3 * sizes.text)
    marks_top = top + side + 2 * pad + len(notes) * row
    marks_rows = _in_rows(marks, width - 4 * pad)
    card = rounded((width, marks_top + sum(line[0].height + pad for line in marks_rows)), pad, _CARD)
    pen = ImageDraw.Draw(card)

    title = f"{index}  {face.expression}" if named else face.expression
    large = font_of(round(1.3 * sizes.text))
    middle = pad + 0.65 * sizes.text
    pen.text((2 * pad, middle), title, colour_of(face.expression), large, "lm")
    if face.uncertain:
        mark = tag_of(doubt_of(face), OTHER, sizes)
        card.paste(mark, (round(4 * pad + large.getlength(title)), round(middle - mark.height / 2)), mark)
    card.paste(_enlarged(image, face, corners, side, sizes), (2 * pad, top))
    for place, (name, value) in enumerate(bars):
        middle = top + (place + 0.5) * row
        chosen = name == face.expression
        pen.text((bars_left, middle), name, _BRIGHT if chosen else DIM, font, "lm")
        start, half = bars_left + name_width + pad, 0.3 * sizes.text
        pen.rectangle((start, middle - half, start + bar_width, middle + half), fill=_TRACK)
        if value * bar_width >= 1:
            pen.rectangle((start, middle - half, start + value * bar_width, middle + half), fill=colour_of(name))
        pen.text(
            (start + bar_width + pad + value_width, middle), share_text(value), _BRIGHT if chosen else DIM, font, "rm"
        )
    for place, text in enumerate(notes):
        pen.text((2 * pad, top + side + pad + (place + 0.5) * row), text, DIM, font, "lm")
    for line in marks_rows:
        for place, mark in enumerate(line):
            card.paste(mark, (2 * pad + round(1.5 * place * mark.width), marks_top), mark)
        marks_top += line[0].height + pad
    return card


def notes_of(face: Face) -> list[str]:
    """Lines below the bars: the strongest region, the pose and, where it is known, what is covered."""
    region = strongest(face.regions)
    pose = "head pose unknown"
    if face.pose is not None:
        pose = "yaw {:+d}°   pitch {:+d}°   roll {:+d}°".format(*map(round, face.pose))
    notes = [f"strongest region: {region.name}, {share_text(region.attention)}", pose]
    if covered := covered_text(face.occlusion):
        notes.append(f"covered: {covered}")
    if any(each.visibility is not None for each in face.regions):
        notes.append("how visible each region is:")
    return notes


def _region_marks(regions: Sequence[Region], sizes: Sizes) -> list[Image.Image]:
    """For each region whose visibility is known a small face with the region in it, and its visibility below."""
    font, side = font_of(sizes.text), round(1.8 * sizes.text)
    size = (math.ceil(font.getlength("100%")), side + sizes.row)
    marks = []
    for region in regions:
        if region.visibility is None:
            continue
        mark = Image.new("RGBA", size)
        pen = ImageDraw.Draw(mark)
        left = (size[0] - side) // 2
        pen.rectangle((left, 0, left + side - 1, side - 1), fill=_TRACK)
        x1, y1, x2, y2 = (round(min(max(value, 0.0), 1.0) * side) for value in region.box)
        shown = np.array(HIDDEN) + region.visibility * (np.array(VISIBLE) - HIDDEN)
        tint = tuple(int(value) for value in shown.round())
        pen.rectangle((left + x1, y1, left + max(x1, x2 - 1), max(y1, y2 - 1)), fill=tint)
        pen.text((size[0] / 2, side + sizes.row / 2), share_text(region.visibility), DIM, font, "mm")
        marks.append(mark)
    return marks


def _in_rows(marks: Sequence[Image.Image], width: int) -> list[Sequence[Image.Image]]:
    """Marks of one size in rows of at most this width, with a space as wide as half of one between any two."""
    if not marks:
        return []
    fit = max(1, int(width / (1.5 * marks[0].width)))
    return [marks[start : start + fit] for start in range(0, len(marks), fit)]


def _enlarged(
    image: NDArray[np.uint8], face: Face, corners: NDArray[np.float32], side: int, sizes: Sizes
) -> Image.Image:
    """The aligned face with its regions, side x side."""
    shrink = min(1.0, 2 * side / max(float(np.ptp(corners, axis=0).max()), 1.0))  # a warp alone would alias
    left, top = np.floor(np.clip(corners.min(0), 0, image.shape[1::-1])).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0), 0, image.shape[1::-1])).astype(int)
    square = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float32)
    if right <= left or bottom <= top:
        return Image.new("RGB", (side, side), PANEL)
    part = resized(image[top:bottom, left:right], shrink)
    shrunk = np.array(part.shape[1::-1]) / (right - left, bottom - top)
    local = ((corners - (left, top)) * shrunk).astype(np.float32)
    to_square = cv2.getPerspectiveTransform(local - np.float32(0.5), square - np.float32(0.5))
    view = pixels_of(cv2.warpPerspective(part, to_square, (side, side), flags=cv2.INTER_CUBIC, borderValue=PANEL))
    # A little inside, where the outlines at the edge can be seen.
    inset = np.array([(1, 1), (side - 1, 1), (side - 1, side - 1), (1, side - 1)], np.float32)
    outline_regions(view, face.regions, inset, max(2, sizes.text // 8))
    return Image.fromarray(view)


def with_panel(photo: NDArray[np.uint8], cards: Sequence[Image.Image], sizes: Sizes) -> NDArray[np.uint8]:
    """The photo with the cards in a grid at its right or below it."""
    height, width = photo.shape[:2]
    pad = 2 * sizes.pad
    step_x, step_y = max(card.width for card in cards) + pad, max(card.height for card in cards) + pad
    used = width * height + len(cards) * step_x * step_y
    layouts: list[tuple[float, int, int, int, tuple[int, int]]] = []  # cost, columns, left, top, size of the page
    for columns in range(1, len(cards) + 1):
        grid = (columns * step_x + pad, math.ceil(len(cards) / columns) * step_y + pad)
        for left, top in ((width, 0), (0, height)):
            size = (max(width, left + grid[0]), max(height, top + grid[1]))
            extent = max(size[0] / 3, size[1] / 2)  # how small it is shown on a 3:2 screen
            cost = extent * (math.prod(size) / used) ** 1.5  # and how much is left empty; weighed by eye
            layouts.append((cost, columns, left, top, size))
    _, columns, left, top, size = min(layouts)
    page = pixels_of(
        cv2.copyMakeBorder(photo, 0, size[1] - height, 0, size[0] - width, cv2.BORDER_CONSTANT, value=PANEL)
    )
    for index, card in enumerate(cards):
        paste(page, card, (left + pad + index % columns * step_x, top + pad + index // columns * step_y))
    return page


def with_legend(page: NDArray[np.uint8], faces: Sequence[Face], sizes: Sizes, *, axes: bool) -> NDArray[np.uint8]:
    """The page with lines below it that say what is drawn, axes of heads among it or not."""
    marks = _legend(faces, sizes, axes)
    if not marks:
        return page
    rows: list[list[Image.Image]] = [[]]
    gap, pad = 3 * sizes.pad, 2 * sizes.pad
    for mark in marks:
        if rows[-1] and sum(each.width + gap for each in (*rows[-1], mark)) + 2 * pad > page.shape[1]:
            rows.append([])
        rows[-1].append(mark)
    height, step = page.shape[0], marks[0].height
    added = len(rows) * step + pad
    whole = pixels_of(cv2.copyMakeBorder(page, 0, added, 0, 0, cv2.BORDER_CONSTANT, value=PANEL))
    for number, row in enumerate(rows):
        x = pad
        for mark in row:
            paste(whole, mark, (x, height + pad // 2 + number * step))
            x += mark.width + gap
    return whole


def _legend(faces: Sequence[Face], sizes: Sizes, axes: bool) -> list[Image.Image]:
    marks = []
    if any(any(strengths_of(face.regions)) for face in faces):
        marks.append(_legend_line([REGION], "region: the stronger the outline, the more it weighs", sizes))
    if axes:
        marks.append(_legend_line(AXES, "head: to its side, down, ahead", sizes))
    if any(face.uncertain for face in faces):
        marks.append(_legend_line([OTHER], "box open at its sides: uncertain", sizes))
    return marks


def _legend_line(colours: Sequence[Colour], text: str, sizes: Sizes) -> Image.Image:
    font, dash = font_of(sizes.text), sizes.text
    start = len(colours) * (dash + sizes.pad) + sizes.pad
    line = Image.new("RGBA", (math.ceil(start + font.getlength(text)), sizes.row))
    pen, middle = ImageDraw.Draw(line), sizes.row / 2
    for place, colour in enumerate(colours):
        left = place * (dash + sizes.pad)
        pen.rectangle((left, middle - sizes.line / 2, left + dash, middle + sizes.line / 2), fill=colour)
    pen.text((start, middle), text, DIM, font, "lm")
    return line
