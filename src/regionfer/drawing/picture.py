"""Draw the faces of an image, their expressions, and the regions that decided them.

Colours are RGB, points are x y in pixels, (0, 0) is the outer corner of the top left pixel.
"""

import numpy as np
from numpy.typing import NDArray

from regionfer.drawing.cards import MAX_CARDS, card_of, with_legend, with_panel
from regionfer.drawing.photo import draw_faces, seen_corners
from regionfer.drawing.style import OTHER, SMALLEST_TEXT, Rectangle, Sizes, paste, resized, tag_of
from regionfer.results import Expressions


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
    photo = resized(image, scale)
    sizes = Sizes(max(13 if cards else SMALLEST_TEXT, round(max(photo.shape[:2]) / 64)))
    faces = list(expressions)
    corners = [seen_corners(expressions, index) for index in range(len(faces))]
    boxes = [_scaled(face.box, scale) for face in faces]
    axes = draw_faces(photo, faces, boxes, [square * scale for square in corners], sizes)
    if not faces and cards:
        paste(photo, tag_of("no face found", OTHER, sizes), (sizes.pad, sizes.pad))
    if not faces or not cards:
        return photo
    count = min(len(faces), MAX_CARDS)
    drawn = [card_of(image, faces[i], i, corners[i], sizes, named=len(faces) > 1) for i in range(count)]
    return with_legend(with_panel(photo, drawn, sizes), faces, sizes, axes=axes)


def _check(image: NDArray[np.uint8], expressions: Expressions) -> None:
    if not isinstance(image, np.ndarray):
        raise TypeError(f"expected an array, got {type(image).__name__}; regionfer.read_image makes one of any image")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image must be RGB uint8 of shape (H, W, 3), got {image.dtype} of shape {image.shape}")
    size = (image.shape[1], image.shape[0])
    if expressions.image_size is not None and size != tuple(expressions.image_size):
        raise ValueError(f"the expressions are of an image of {expressions.image_size} pixels, got one of {size}")


def _scaled(box: Rectangle, scale: float) -> Rectangle:
    x1, y1, x2, y2 = box
    return x1 * scale, y1 * scale, x2 * scale, y2 * scale
