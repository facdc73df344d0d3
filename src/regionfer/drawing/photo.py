"""What is drawn on the photo itself: boxes, outlines of regions, axes of heads, labels that hide no other face."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.drawing.style import (
    AXES,
    INK,
    REGION,
    SMALLEST_TEXT,
    Colour,
    Rectangle,
    Sizes,
    colour_of,
    paste,
    tag_of,
    tag_size,
)
from regionfer.results import Expressions, Face, Pose, Region, share_text

_FAINTEST, _FULL = 0.15, 0.9  # opacity of the outlines of the least and of the strongest region
_ROOMY = 7  # heights of text that a face must be wide for axes and all outlines, lest they hide it
_AXIS_LENGTH = 0.45  # of the box's shorter side
_CORNER = 0.25  # of its side is drawn at each corner of an uncertain face's box


def draw_faces(
    photo: NDArray[np.uint8],
    faces: Sequence[Face],
    boxes: Sequence[Rectangle],
    corners: Sequence[NDArray[np.float32]],
    sizes: Sizes,
) -> bool:
    """Draw boxes, regions, axes and labels of faces into a photo; whether there are axes among them.

    Args:
        photo: (H, W, 3) RGB uint8, drawn on.
        faces: n faces.
        boxes: theirs, x1 y1 x2 y2 pixels of this photo.
        corners: (4, 2) of what the network saw of each, pixels of this photo.
        sizes: of what is drawn.
    """
    axes = False
    for face, box, square in zip(faces, boxes, corners, strict=True):
        side = min(box[2] - box[0], box[3] - box[1])
        wide = min(sizes.line, max(2, round(side / 20)))
        _frame(photo, box, colour_of(face.expression), wide, whole=not face.uncertain)
        roomy = side >= _ROOMY * sizes.text
        thin = min(sizes.line, max(1, round(side / 40)))
        outline_regions(photo, face.regions, square, thin, only_strongest=not roomy)
        if roomy:
            _draw_axes(photo, face.pose, box, sizes.line)
            axes = axes or face.pose is not None
            _name_region(photo, face.regions, max(float(square[:, 1].max()), box[3]), box, boxes, sizes)
    if faces:
        _label_faces(photo, faces, boxes, sizes)
    return axes


def seen_corners(expressions: Expressions, index: int) -> NDArray[np.float32]:
    """Corners (4, 2) of what the network saw: the aligned face, or the box where the faces were not aligned."""
    if expressions.aligned is not None:
        return np.asarray(expressions.aligned[index])
    x1, y1, x2, y2 = expressions.boxes[index]
    return np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], np.float32)


def strengths_of(regions: Sequence[Region]) -> list[float]:
    """How far each region is above the least one, 1 for the strongest; all 0 where they weigh the same."""
    weights = [region.attention for region in regions]
    least, most = min(weights), max(weights)
    return [(weight - least) / (most - least) if most - least > 1e-3 else 0.0 for weight in weights]


def outline_regions(
    photo: NDArray[np.uint8],
    regions: Sequence[Region],
    corners: NDArray[np.float32],
    width: int,
    *,
    only_strongest: bool = False,
) -> None:
    """Outline the regions of an aligned face whose corners (4, 2) lie in the photo, the weakest first."""
    strengths = strengths_of(regions)
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
    part[line] = (part[line] * (1 - share) + np.array(REGION, np.float32) * share + 0.5).astype(np.uint8)


def _name_region(
    photo: NDArray[np.uint8],
    regions: Sequence[Region],
    bottom: float,
    box: Rectangle,
    boxes: Sequence[Rectangle],
    sizes: Sizes,
) -> None:
    """Name the strongest region below its face, unless that would hide a face."""
    if not any(strengths_of(regions)):
        return
    small = Sizes(max(SMALLEST_TEXT, round(0.8 * sizes.text)))
    tag = tag_of(strongest(regions).name, REGION, small)
    x, y = round((box[0] + box[2] - tag.width) / 2), round(bottom) + 2 * sizes.line
    spot = np.array([(x, y, x + tag.width, y + tag.height)], np.float64)
    inside = x >= 0 and y >= 0 and x + tag.width <= photo.shape[1] and y + tag.height <= photo.shape[0]
    if inside and not _overlaps(spot, np.array(boxes, np.float64)).any():
        paste(photo, tag, (x, y))


def _draw_axes(photo: NDArray[np.uint8], pose: Pose | None, box: Rectangle, width: int) -> None:
    if pose is None:
        return
    x1, y1, x2, y2 = box
    middle, length = np.array([(x1 + x2) / 2, (y1 + y2) / 2]), _AXIS_LENGTH * min(x2 - x1, y2 - y1)
    ends = middle + length * axes_of(pose)
    for end, colour in zip(ends, AXES, strict=True):
        for tint, line in ((INK, width + 2), (colour, width)):
            start, stop = (tuple(int(value) for value in np.rint(point - 0.5)) for point in (middle, end))
            cv2.line(photo, start, stop, tint, line, cv2.LINE_AA)


def axes_of(pose: Pose) -> NDArray[np.float64]:
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


def strongest(regions: Sequence[Region]) -> Region:
    """The region that weighs most; the first of several."""
    return max(regions, key=lambda region: region.attention)


def _frame(photo: NDArray[np.uint8], box: Rectangle, colour: Colour, width: int, *, whole: bool) -> None:
    """Draw a box, or only the corners of one."""
    x1, y1, x2, y2 = (round(value) for value in box)
    x2, y2 = x2 - 1, y2 - 1
    arm_x, arm_y = round((x2 - x1) * _CORNER), round((y2 - y1) * _CORNER)
    for tint, line in ((INK, width + 2), (colour, width)):
        if whole:
            cv2.rectangle(photo, (x1, y1), (x2, y2), tint, line, cv2.LINE_AA)
            continue
        for x, to_x in ((x1, x1 + arm_x), (x2, x2 - arm_x)):
            for y, to_y in ((y1, y1 + arm_y), (y2, y2 - arm_y)):
                corner = np.array([(to_x, y), (x, y), (x, to_y)], np.int32)
                cv2.polylines(photo, [corner], False, tint, line, cv2.LINE_AA)


def _label_faces(photo: NDArray[np.uint8], faces: Sequence[Face], boxes: Sequence[Rectangle], sizes: Sizes) -> None:
    for texts, fitting in _wordings(faces, sizes):
        extents = [tag_size(text, fitting) for text in texts]
        corners, hidden = place_all(extents, boxes, photo.shape[1::-1], fitting.line)
        if hidden == 0:
            break
    for text, face, corner in zip(texts, faces, corners, strict=True):
        paste(photo, tag_of(text, colour_of(face.expression), fitting), corner)


def _wordings(faces: Sequence[Face], sizes: Sizes) -> Iterator[tuple[list[str], Sizes]]:
    """Ways to write the labels, the best first; in a crowd, smaller and shorter ones hide fewer faces."""
    numbers = [f"{index}  " if len(faces) > 1 else "" for index in range(len(faces))]
    names = [number + face.expression + "?" * bool(face.uncertain) for number, face in zip(numbers, faces, strict=True)]
    full = [
        f"{number}{face.expression} {share_text(face.probability)}" + f", {doubt_of(face)}" * bool(face.uncertain)
        for number, face in zip(numbers, faces, strict=True)
    ]
    yield full, sizes
    while sizes.text > SMALLEST_TEXT:
        sizes = Sizes(max(SMALLEST_TEXT, round(sizes.text * 0.8)))
        yield full, sizes
    yield names, sizes
    if len(faces) > 1:
        yield [number.strip() for number in numbers], sizes


def place_all(
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


def doubt_of(face: Face) -> str:
    """Why an answer is uncertain, in words."""
    return f"uncertain: {face.uncertain_reason}"
