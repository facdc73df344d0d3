"""Draw the faces of an image, their expressions, and the regions that decided them.

Colours are RGB, points are x y in pixels, (0, 0) is the outer corner of the top left pixel.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from regionfer.results import Expressions, Face, Pose, Region, covered_text, share_text

Colour: TypeAlias = tuple[int, int, int]
Rectangle: TypeAlias = tuple[float, float, float, float]  # x1 y1 x2 y2

MAX_CARDS = 24
"""Cards beside a photo at most. Further faces have their box, label and outlines in the photo only."""

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

_OTHER: Colour = (176, 184, 196)
_REGION: Colour = (205, 130, 255)  # far from any skin
_FAINTEST, _FULL = 0.15, 0.9  # opacity of the outlines of the least and of the strongest region
_ROOMY = 7  # heights of text that a face must be wide for axes and all outlines, lest they hide it
_AXES: tuple[Colour, ...] = ((235, 60, 60), (70, 200, 70), (70, 130, 255))  # x to the head's side, y down, z ahead
_AXIS = 0.45  # of the box's shorter side
_CORNER = 0.25  # of its side is drawn at each corner of an uncertain face's box
_BARS = 8
_SMALLEST_TEXT = 10  # pixels
_PANEL: Colour = (22, 24, 29)
_CARD: Colour = (36, 39, 46)
_TRACK: Colour = (58, 62, 71)
_BRIGHT: Colour = (244, 246, 249)
_DIM: Colour = (168, 174, 184)
_INK: Colour = (18, 19, 22)
_VISIBLE: Colour = (120, 205, 90)
_HIDDEN: Colour = (120, 40, 40)


@dataclass(frozen=True)
class _Sizes:
    """Lengths in pixels, all from the text's size, so that a drawing looks the same at any resolution."""

    text: int

    @property
    def line(self) -> int:
        return max(2, round(self.text / 7))

    @property
    def pad(self) -> int:
        return max(3, round(self.text * 0.45))

    @property
    def row(self) -> int:
        return round(self.text * 1.35)


def draw(image: NDArray[np.uint8], expressions: Expressions, *, cards: bool = True) -> NDArray[np.uint8]:
    """Return a copy of the image with its faces drawn.

    In the photo each face has its box and a label with the expression and its probability, both in the
    expression's colour; if the answer is uncertain, the label says why and the box has its corners only. The regions
    are violet outlines, the wider and the less transparent, the more a region weighs in this face; the strongest one
    is named below the face. Regions that all weigh the same have none. Three lines from the middle of the face are
    the axes of the head: red to its side, green down, blue where it looks. A face that is small in the picture has
    the outline of its strongest region only, and no axes.

    Beside the photo, where they hide nothing, each face has a card: the face enlarged, with its outlines; the bars of
    its expressions, the eight most probable ones where there are more; the strongest region's name and weight; the
    head pose; and, where the model says so, how much of the face is covered and how visible each region is. Below is
    a legend.

    Args:
        image: (H, W, 3) RGB uint8, the image that the expressions are of. It is not changed.
        expressions: the faces of the image.
        cards: add the cards, to the right of the photo or below it, as fits better; the photo stays at the top
            left. A photo whose longer side has less than 720 pixels is enlarged to that, so that the text has
            room. Without cards the result is as large as the image, which is what a video needs.

    Returns:
        RGB uint8, (H, W, 3) without cards and larger with them.

    Raises:
        TypeError: the image is no array.
        ValueError: the image has another form, or another size than the one the expressions are of.
    """
    _check(image, expressions)
    scale = max(1.0, 720 / max(image.shape[:2])) if cards else 1.0
    photo = _resized(image, scale)
    sizes = _Sizes(max(13 if cards else _SMALLEST_TEXT, round(max(photo.shape[:2]) / 64)))
    faces = list(expressions)
    corners = [_corners(expressions, index) for index in range(len(faces))]
    boxes = [_scaled(face.box, scale) for face in faces]
    axes = False
    for face, box, square in zip(faces, boxes, corners, strict=True):
        side = min(box[2] - box[0], box[3] - box[1])
        wide = min(sizes.line, max(2, round(side / 20)))
        _frame(photo, box, _colour(face.expression), wide, whole=not face.uncertain)
        roomy = side >= _ROOMY * sizes.text
        thin = min(sizes.line, max(1, round(side / 40)))
        _outline_regions(photo, face.regions, square * scale, thin, only_strongest=not roomy)
        if roomy:
            _draw_axes(photo, face.pose, box, sizes.line)
            axes = axes or face.pose is not None
            _name_region(photo, face.regions, max(float(square[:, 1].max() * scale), box[3]), box, boxes, sizes)
    if faces:
        _label_faces(photo, faces, boxes, sizes)
    elif cards:
        _paste(photo, _tag("no face found", _OTHER, sizes), (sizes.pad, sizes.pad))
    if not faces or not cards:
        return photo
    count = min(len(faces), MAX_CARDS)
    drawn = [_card(image, faces[i], i, corners[i], sizes, named=len(faces) > 1) for i in range(count)]
    return _with_legend(_with_panel(photo, drawn, sizes), faces, sizes, axes=axes)


def _check(image: NDArray[np.uint8], expressions: Expressions) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"expected an array, got {type(image).__name__}; regionfer.read_image makes one of any image")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image must be RGB uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
    size = (image.shape[1], image.shape[0])
    if expressions.image_size is not None and size != tuple(expressions.image_size):
        raise ValueError(f"the expressions are of an image of {expressions.image_size} pixels, got one of {size}")


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return _pixels(cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA))


def _scaled(box: Rectangle, scale: float) -> Rectangle:
    x1, y1, x2, y2 = box
    return x1 * scale, y1 * scale, x2 * scale, y2 * scale


def _pixels(array: object) -> NDArray[np.uint8]:
    return np.asarray(array, dtype=np.uint8)


# --- in the photo -------------------------------------------------------------------------------------------------


def _corners(expressions: Expressions, index: int) -> NDArray[np.float32]:
    """Corners (4, 2) of what the network saw: the aligned face, or the box where the faces were not aligned."""
    if expressions.aligned is not None:
        return np.asarray(expressions.aligned[index])
    x1, y1, x2, y2 = expressions.boxes[index]
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)


def _strengths(regions: Sequence[Region]) -> list[float]:
    """How far each region is above the least one, 1 for the strongest; all 0 where they weigh the same."""
    weights = [region.attention for region in regions]
    least, most = min(weights), max(weights)
    return [(weight - least) / (most - least) if most - least > 1e-3 else 0.0 for weight in weights]


def _outline_regions(
    photo: NDArray[np.uint8],
    regions: Sequence[Region],
    corners: NDArray[np.float32],
    width: int,
    *,
    only_strongest: bool = False,
) -> None:
    """Outline the regions of an aligned face whose corners (4, 2) lie in the photo, the weakest first."""
    strengths = _strengths(regions)
    if not any(strengths):
        return
    for strength, region in sorted(zip(strengths, regions, strict=True), key=lambda each: each[0]):
        if only_strongest and strength < 1:
            continue
        x1, y1, x2, y2 = region.box
        places = np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)])
        outline = corners[0] + places[:, :1] * (corners[1] - corners[0]) + places[:, 1:] * (corners[3] - corners[0])
        opacity = _FAINTEST + strength**2 * (_FULL - _FAINTEST)  # squared, lest many near the top hide the face
        _blend_outline(photo, outline, max(1, round(width * (0.4 + 0.6 * strength))), opacity)


def _blend_outline(photo: NDArray[np.uint8], points: NDArray[np.float64], width: int, opacity: float) -> None:
    left, top = np.maximum(np.floor(points.min(0)) - width, 0).astype(int)
    right, bottom = np.minimum(np.ceil(points.max(0)) + width, photo.shape[1::-1]).astype(int)
    if right <= left or bottom <= top:
        return
    mask = np.zeros((bottom - top, right - left), np.uint8)
    # OpenCV's (0, 0) is the centre of the top left pixel, hence the half.
    cv2.polylines(mask, [np.rint(points - (left, top) - 0.5).astype(np.int32)], True, 255, width, cv2.LINE_AA)
    part, line = photo[top:bottom, left:right], mask > 0
    share = (mask[line] * (opacity / 255))[:, None]
    part[line] = (part[line] * (1 - share) + np.array(_REGION, np.float32) * share + 0.5).astype(np.uint8)


def _name_region(
    photo: NDArray[np.uint8],
    regions: Sequence[Region],
    bottom: float,
    box: Rectangle,
    boxes: Sequence[Rectangle],
    sizes: _Sizes,
) -> None:
    """Name the strongest region below its face, unless that would hide a face."""
    if not any(_strengths(regions)):
        return
    small = _Sizes(max(_SMALLEST_TEXT, round(0.8 * sizes.text)))
    tag = _tag(_strongest(regions).name, _REGION, small)
    x, y = round((box[0] + box[2] - tag.width) / 2), round(bottom) + 2 * sizes.line
    spot = np.array([(x, y, x + tag.width, y + tag.height)], np.float64)
    inside = x >= 0 and y >= 0 and x + tag.width <= photo.shape[1] and y + tag.height <= photo.shape[0]
    if inside and not _overlaps(spot, np.array(boxes, np.float64)).any():
        _paste(photo, tag, (x, y))


def _draw_axes(photo: NDArray[np.uint8], pose: Pose | None, box: Rectangle, width: int) -> None:
    if pose is None:
        return
    x1, y1, x2, y2 = box
    middle, length = np.array([(x1 + x2) / 2, (y1 + y2) / 2]), _AXIS * min(x2 - x1, y2 - y1)
    ends = middle + length * _axes(pose)
    for end, colour in zip(ends, _AXES, strict=True):
        for tint, line in ((_INK, width + 2), (colour, width)):
            start, stop = (tuple(int(value) for value in np.rint(point - 0.5)) for point in (middle, end))
            cv2.line(photo, start, stop, tint, line, cv2.LINE_AA)


def _axes(pose: Pose) -> NDArray[np.float64]:
    """Where the head's unit vectors to the image's right, down and ahead point in the image, (3, 2) x y."""
    yaw, pitch, roll = np.radians(pose)
    level = np.array(
        [
            (np.cos(yaw), 0.0),
            (np.sin(yaw) * np.sin(pitch), np.cos(pitch)),
            (np.sin(yaw) * np.cos(pitch), -np.sin(pitch)),
        ]
    )
    return np.asarray(level @ np.array([(np.cos(roll), np.sin(roll)), (-np.sin(roll), np.cos(roll))]))


def _strongest(regions: Sequence[Region]) -> Region:
    return max(regions, key=lambda region: region.attention)


def _frame(photo: NDArray[np.uint8], box: Rectangle, colour: Colour, width: int, *, whole: bool) -> None:
    """Draw a box, or only the corners of one."""
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = x2 - 1, y2 - 1
    arm_x, arm_y = round((x2 - x1) * _CORNER), round((y2 - y1) * _CORNER)
    for tint, line in ((_INK, width + 2), (colour, width)):
        if whole:
            cv2.rectangle(photo, (x1, y1), (x2, y2), tint, line, cv2.LINE_AA)
            continue
        for x, to_x in ((x1, x1 + arm_x), (x2, x2 - arm_x)):
            for y, to_y in ((y1, y1 + arm_y), (y2, y2 - arm_y)):
                corner = np.array([(to_x, y), (x, y), (x, to_y)], np.int32)
                cv2.polylines(photo, [corner], False, tint, line, cv2.LINE_AA)


def _label_faces(photo: NDArray[np.uint8], faces: Sequence[Face], boxes: Sequence[Rectangle], sizes: _Sizes) -> None:
    for texts, fitting in _wordings(faces, sizes):
        extents = [_tag_size(text, fitting) for text in texts]
        corners, hidden = _place_all(extents, boxes, photo.shape[1::-1], fitting.line)
        if hidden == 0:
            break
    for text, face, corner in zip(texts, faces, corners, strict=True):
        _paste(photo, _tag(text, _colour(face.expression), fitting), corner)


def _wordings(faces: Sequence[Face], sizes: _Sizes) -> Iterator[tuple[list[str], _Sizes]]:
    """Ways to write the labels, the best first; in a crowd, smaller and shorter ones hide fewer faces."""
    numbers = [f"{index}  " if len(faces) > 1 else "" for index in range(len(faces))]
    names = [number + face.expression + "?" * bool(face.uncertain) for number, face in zip(numbers, faces, strict=True)]
    full = [
        f"{number}{face.expression} {share_text(face.probability)}" + f", {_doubt(face)}" * bool(face.uncertain)
        for number, face in zip(numbers, faces, strict=True)
    ]
    yield full, sizes
    while sizes.text > _SMALLEST_TEXT:
        sizes = _Sizes(max(_SMALLEST_TEXT, round(sizes.text * 0.8)))
        yield full, sizes
    yield names, sizes
    if len(faces) > 1:
        yield [number.strip() for number in numbers], sizes


def _place_all(
    extents: Sequence[tuple[int, int]], boxes: Sequence[Rectangle], canvas: Sequence[int], gap: int
) -> tuple[list[tuple[int, int]], float]:
    """Corners of the labels of all boxes, and how many pixels of other faces and earlier labels they hide."""
    n = len(boxes)
    taken = np.array([*boxes, *[(0, 0, 0, 0)] * n], np.float64).reshape(2 * n, 4)  # boxes, then labels
    corners, hidden = [], 0.0
    for index, extent in enumerate(extents):
        spots = _spots(extent, boxes[index], canvas, gap)
        covered = _overlaps(spots, taken[: n + index])
        best = covered.sum(1).argmin()
        taken[n + index] = spots[best]
        corners.append((int(spots[best, 0]), int(spots[best, 1])))
        hidden += float(covered[best].sum() - covered[best, index])
    return corners, hidden


def _spots(extent: tuple[int, int], box: Rectangle, canvas: Sequence[int], gap: int) -> NDArray[np.float64]:
    """Places (8, 4) for a label around its box and inside the canvas, the most usual first, x1 y1 x2 y2."""
    width, height = extent
    x1, y1, x2, y2 = box
    left, right, above, below = x1 - gap, x2 + gap - width, y1 - gap - height, y2 + gap
    corners = [(left, above), (left, below), (right, above), (right, below)]
    corners += [(x, y) for y in (y1, y2 - height) for x in (x2 + gap, x1 - gap - width)]
    limit = np.maximum(np.array(canvas) - extent, 0)
    inside = np.clip(np.round(corners), 0, limit)
    return np.concatenate([inside, inside + extent], axis=1)


def _overlaps(spots: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area (k, m) that k rectangles share with m others."""
    low = np.maximum(spots[:, None, :2], others[None, :, :2])
    high = np.minimum(spots[:, None, 2:], others[None, :, 2:])
    shared: NDArray[np.float64] = np.clip(high - low, 0, None).prod(axis=-1)
    return shared


# --- labels and cards ---------------------------------------------------------------------------------------------


def _colour(expression: str) -> Colour:
    return COLOURS.get(expression, _OTHER)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow's wheels have FreeType"
    return font


def _rounded(size: tuple[int, int], radius: int, colour: Colour) -> Image.Image:
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


def _tag_size(text: str, sizes: _Sizes) -> tuple[int, int]:
    return math.ceil(_font(sizes.text).getlength(text)) + 2 * sizes.pad, sizes.text + 2 * (sizes.pad // 2 + 1)


def _tag(text: str, colour: Colour, sizes: _Sizes) -> Image.Image:
    tag = _rounded(_tag_size(text, sizes), sizes.pad // 2, colour)
    ImageDraw.Draw(tag).text((sizes.pad, tag.height / 2), text, _INK, _font(sizes.text), anchor="lm")
    return tag


def _paste(photo: NDArray[np.uint8], patch: Image.Image, corner: tuple[int, int]) -> None:
    x, y = corner
    part = photo[y : y + patch.height, x : x + patch.width]
    pixels = np.asarray(patch)[: part.shape[0], : part.shape[1]]
    alpha = pixels[..., 3]
    np.copyto(part, pixels[..., :3], where=(alpha == 255)[..., None])
    edge = (alpha > 0) & (alpha < 255)
    opacity = alpha[edge, None] / np.float32(255)
    part[edge] = (part[edge] * (1 - opacity) + pixels[edge, :3] * opacity + 0.5).astype(np.uint8)


def _card(
    image: NDArray[np.uint8], face: Face, index: int, corners: NDArray[np.float32], sizes: _Sizes, *, named: bool
) -> Image.Image:
    """The face enlarged, its bars, pose and region."""
    shown = sorted(face.probabilities, key=face.probabilities.__getitem__, reverse=True)[:_BARS]
    bars = [(name, value) for name, value in face.probabilities.items() if name in shown]
    font, pad, row = _font(sizes.text), sizes.pad, sizes.row
    name_width = math.ceil(max(font.getlength(name) for name, _ in bars))
    bar_width, value_width = 7 * sizes.text, math.ceil(font.getlength("100%"))
    side = max(len(bars), 5) * row
    bars_left = 4 * pad + side
    notes, marks = _notes(face), _region_marks(face.regions, sizes)
    inner = max([bars_left + name_width + bar_width + value_width, *(2 * pad + font.getlength(note) for note in notes)])
    width = math.ceil(inner) + 4 * pad
    top = 2 * pad + round(1.3 * sizes.text)
    marks_top = top + side + 2 * pad + len(notes) * row
    marks_rows = _in_rows(marks, width - 4 * pad)
    card = _rounded((width, marks_top + sum(line[0].height + pad for line in marks_rows)), pad, _CARD)
    pen = ImageDraw.Draw(card)

    title = f"{index}  {face.expression}" if named else face.expression
    large = _font(round(1.3 * sizes.text))
    middle = pad + 0.65 * sizes.text
    pen.text((2 * pad, middle), title, _colour(face.expression), large, "lm")
    if face.uncertain:
        mark = _tag(_doubt(face), _OTHER, sizes)
        card.paste(mark, (round(4 * pad + large.getlength(title)), round(middle - mark.height / 2)), mark)
    card.paste(_enlarged(image, face, corners, side, sizes), (2 * pad, top))
    for place, (name, value) in enumerate(bars):
        middle = top + (place + 0.5) * row
        chosen = name == face.expression
        pen.text((bars_left, middle), name, _BRIGHT if chosen else _DIM, font, "lm")
        start, half = bars_left + name_width + pad, 0.3 * sizes.text
        pen.rectangle((start, middle - half, start + bar_width, middle + half), fill=_TRACK)
        if value * bar_width >= 1:
            pen.rectangle((start, middle - half, start + value * bar_width, middle + half), fill=_colour(name))
        pen.text(
            (start + bar_width + pad + value_width, middle), share_text(value), _BRIGHT if chosen else _DIM, font, "rm"
        )
    for place, text in enumerate(notes):
        pen.text((2 * pad, top + side + pad + (place + 0.5) * row), text, _DIM, font, "lm")
    for line in marks_rows:
        for place, mark in enumerate(line):
            card.paste(mark, (2 * pad + round(1.5 * place * mark.width), marks_top), mark)
        marks_top += line[0].height + pad
    return card


def _doubt(face: Face) -> str:
    return f"uncertain: {face.uncertain_reason}"


def _notes(face: Face) -> list[str]:
    region = _strongest(face.regions)
    pose = "head pose unknown"
    if face.pose is not None:
        pose = "yaw {:+d}°   pitch {:+d}°   roll {:+d}°".format(*map(round, face.pose))
    notes = [f"strongest region: {region.name}, {share_text(region.attention)}", pose]
    if covered := covered_text(face.occlusion):
        notes.append(f"covered: {covered}")
    if any(each.visibility is not None for each in face.regions):
        notes.append("how visible each region is:")
    return notes


def _region_marks(regions: Sequence[Region], sizes: _Sizes) -> list[Image.Image]:
    """For each region whose visibility is known a small face with the region in it, and its visibility below."""
    font, side = _font(sizes.text), round(1.8 * sizes.text)
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
        shown = np.array(_HIDDEN) + region.visibility * (np.array(_VISIBLE) - _HIDDEN)
        tint = tuple(int(value) for value in shown.round())
        pen.rectangle((left + x1, y1, left + max(x1, x2 - 1), max(y1, y2 - 1)), fill=tint)
        pen.text((size[0] / 2, side + sizes.row / 2), share_text(region.visibility), _DIM, font, "mm")
        marks.append(mark)
    return marks


def _in_rows(marks: Sequence[Image.Image], width: int) -> list[Sequence[Image.Image]]:
    """Marks of one size in rows of at most this width, with a space as wide as half of one between any two."""
    if not marks:
        return []
    fit = max(1, int(width / (1.5 * marks[0].width)))
    return [marks[start : start + fit] for start in range(0, len(marks), fit)]


def _enlarged(
    image: NDArray[np.uint8], face: Face, corners: NDArray[np.float32], side: int, sizes: _Sizes
) -> Image.Image:
    """The aligned face with its regions, side x side."""
    shrink = min(1.0, 2 * side / max(float(np.ptp(corners, axis=0).max()), 1.0))  # a warp alone would alias
    left, top = np.floor(np.clip(corners.min(0), 0, image.shape[1::-1])).astype(int)
    right, bottom = np.ceil(np.clip(corners.max(0), 0, image.shape[1::-1])).astype(int)
    square = np.array([(0, 0), (side, 0), (side, side), (0, side)], np.float32)
    if right <= left or bottom <= top:
        return Image.new("RGB", (side, side), _PANEL)
    part = _resized(image[top:bottom, left:right], shrink)
    shrunk = np.array(part.shape[1::-1]) / (right - left, bottom - top)
    local = ((corners - (left, top)) * shrunk).astype(np.float32)
    to_square = cv2.getPerspectiveTransform(local - np.float32(0.5), square - np.float32(0.5))
    view = _pixels(cv2.warpPerspective(part, to_square, (side, side), flags=cv2.INTER_CUBIC, borderValue=_PANEL))
    # A little inside, where the outlines at the edge can be seen.
    inset = np.array([(1, 1), (side - 1, 1), (side - 1, side - 1), (1, side - 1)], np.float32)
    _outline_regions(view, face.regions, inset, max(2, sizes.text // 8))
    return Image.fromarray(view)


def _with_panel(photo: NDArray[np.uint8], cards: Sequence[Image.Image], sizes: _Sizes) -> NDArray[np.uint8]:
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
    page = _pixels(
        cv2.copyMakeBorder(photo, 0, size[1] - height, 0, size[0] - width, cv2.BORDER_CONSTANT, value=_PANEL)
    )
    for index, card in enumerate(cards):
        _paste(page, card, (left + pad + index % columns * step_x, top + pad + index // columns * step_y))
    return page


def _with_legend(page: NDArray[np.uint8], faces: Sequence[Face], sizes: _Sizes, *, axes: bool) -> NDArray[np.uint8]:
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
    whole = _pixels(cv2.copyMakeBorder(page, 0, added, 0, 0, cv2.BORDER_CONSTANT, value=_PANEL))
    for number, row in enumerate(rows):
        x = pad
        for mark in row:
            _paste(whole, mark, (x, height + pad // 2 + number * step))
            x += mark.width + gap
    return whole


def _legend(faces: Sequence[Face], sizes: _Sizes, axes: bool) -> list[Image.Image]:
    marks = []
    if any(any(_strengths(face.regions)) for face in faces):
        marks.append(_legend_line([_REGION], "region: the stronger the outline, the more it weighs", sizes))
    if axes:
        marks.append(_legend_line(_AXES, "head: to its side, down, ahead", sizes))
    if any(face.uncertain for face in faces):
        marks.append(_legend_line([_OTHER], "box open at its sides: uncertain", sizes))
    return marks


def _legend_line(colours: Sequence[Colour], text: str, sizes: _Sizes) -> Image.Image:
    font, dash = _font(sizes.text), sizes.text
    start = len(colours) * (dash + sizes.pad) + sizes.pad
    line = Image.new("RGBA", (math.ceil(start + font.getlength(text)), sizes.row))
    pen, middle = ImageDraw.Draw(line), sizes.row / 2
    for place, colour in enumerate(colours):
        left = place * (dash + sizes.pad)
        pen.rectangle((left, middle - sizes.line / 2, left + dash, middle + sizes.line / 2), fill=colour)
    pen.text((start, middle), text, _DIM, font, "lm")
    return line
