"""MTCNN, the detector of the RAN paper: three small networks in a cascade, on ONNX Runtime.

Source: Zhang, Zhang, Li, Qiao, 2016, "Joint Face Detection and Alignment using Multi-task Cascaded
Convolutional Networks", arXiv:1604.02878. ``weights/PROVENANCE.md`` says where the weights come from.

1. P-Net looks at every 12 x 12 window of an image pyramid and proposes boxes.
2. R-Net looks at each proposal at 24 x 24 pixels, drops most and corrects the others.
3. O-Net looks at what is left at 48 x 48 pixels, decides, and places the five landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.faces.detection import Detections, check_image
from regionfer.images import area_resize
from regionfer.runtime import choose_providers, open_session

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

WINDOW = 12  # pixels that P-Net sees at once
STRIDE = 2  # pixels from one of its windows to the next
PYRAMID_STEP = 0.709  # about the root of 1/2: each level has half the area of the one before
PER_LEVEL = 1000  # proposals kept a level; a portrait gives about 100, pure noise would give any number
# A CPU is fastest when the maps between layers fit its cache (second level, 1 MB; measured on Zen 5):
BATCH = 32  # windows in one run of R-Net or O-Net; 128 take a fifth longer each
STRIP = 40_000  # pixels of the pyramid in one run of P-Net; ten times as many take 1.6 times as long each
LARGEST_FACE = 1.5  # times the shorter side of the image, as P-Net frames a face; above 1 for faces that fill the frame
GREY = (127, 127, 127)  # what lies beyond the image's edge; black, as in the original, finds 5 % fewer at the edge
ROLLED = math.radians(20)  # roll above which the landmarks are placed once more
SETTLING = 3  # how often at most
# Of 556 faces of FERPlus Valid, enlarged, none is taken for upside down, and 15 of the 20 found in turned copies are:
OVERTURNED = 0.995  # O-Net score of a window turned by 180 degrees from which the head may be upside down
OVERTURNED_ODDS = 10  # and how many times less likely no face must be there than in the window as it is
RETRY_SIDE = 640  # longer side, pixels, of the image in the retries
RETRY_CONTRAST = 0.8  # O-Net score to accept with raised contrast
RETRY_MIRRORED = 0.95  # and in the mirror image with it; 0.9 finds a tenth more of these and thrice as many false ones
RETRY_TURNED = 0.98  # and in a turned image; 0.95 finds 1 % more faces and twice as many false ones
UNSURE = 0.985  # best score of an image up to which it is turned although something is found: false faces have less
TURNED_ODDS = 10  # and how many times less likely no face must be in the turned image for its faces to count instead
RETRY_ANGLES = (35, -35, 70, -70, 180)  # degrees; MTCNN itself bears a roll of about 30
LYING_ANGLES = (70, -70, 180)  # those that count where something is found, but not surely
LEANING = math.radians(25)  # roll from which a head leans; if all do that are found, it may be the photo that does


class MTCNN:
    """Faces with five landmarks, by MTCNN.

    One object may be used from several threads.

    Args:
        min_face: side of the smallest face to look for, pixels, at least 6. Half of it takes four times as long.
        thresholds: scores that a window must exceed to pass P-Net, R-Net and O-Net, each in 0..1. The first two are
            more lenient than the original's 0.6 and 0.7, the last is stricter than its 0.8: see ``docs/faces.md``.
        max_side: an image whose longer side exceeds this many pixels is shrunk to it before the search, so that
            the time stays bounded. The smallest face then grows with the image: at 1,600, a photo of 4,000
            pixels is searched for faces from 2.5 times ``min_face``. ``None`` searches every image as it is.
        retry: where nothing is found, search again at 640 pixels at most: first with the local contrast raised, then
            in the mirror image, then with the image turned by 35 and 70 degrees to either side and by 180. Finds dark,
            pale, half hidden and strongly rolled faces. Where only unsure faces are found, with scores to 0.985, the
            image is turned by 70 degrees to either side and by 180, and what is found there counts if it is much surer;
            where all faces lean by more than 25 degrees, once more until the best is upright, and what is found there
            counts if it is these and more. Both are for photos that lie. Costs nothing where a face that hardly leans
            is found surely.
        providers: ONNX Runtime's execution providers, first choice first; by default the CPU.
        threads: threads that one run may use; by default as many as ONNX Runtime sees fit.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        *,
        min_face: float = 20,
        thresholds: tuple[float, float, float] = (0.5, 0.6, 0.9),
        max_side: int | None = 1600,
        retry: bool = True,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> None:
        if min_face < WINDOW / 2:
            raise ValueError(f"min_face must be at least {WINDOW // 2} pixels, got {min_face}")
        if len(thresholds) != 3 or not all(0 <= t < 1 for t in thresholds):
            raise ValueError(f"thresholds must be three numbers in 0..1 (P-Net, R-Net, O-Net), got {thresholds}")
        if max_side is not None and max_side < WINDOW:
            raise ValueError(f"max_side must be at least {WINDOW} pixels or None, got {max_side}")
        self.min_face = min_face
        self.thresholds = thresholds
        self.max_side = max_side
        self.retry = retry
        self._pnet, self._rnet, self._onet = (
            load_network(name, providers, threads) for name in ("pnet", "rnet", "onet")
        )

    def detect(self, image: Image) -> Detections:
        """Faces of one image (H, W, 3) RGB uint8, highest score first.

        Raises:
            ValueError: the image has another shape or type.
        """
        check_image(image)
        height, width = image.shape[:2]
        found, scale = self._search(image)
        boxes = (found.boxes / scale).reshape(-1, 2, 2).clip(0, (width, height)).reshape(-1, 4)
        inside = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        return Detections(boxes, found.scores, found.landmarks / scale)[inside]

    def _search(self, image: Image) -> tuple[Detections, float]:
        """Faces in the shrunken image, and its scale."""
        small, scale = _shrink(image, self.max_side)
        found = self._cascade(small, self.thresholds[2])
        if not self.retry:
            return found, scale
        if found.scores.max(initial=0) <= UNSURE:
            smaller, smaller_scale = _shrink(image, min(RETRY_SIDE, self.max_side or RETRY_SIDE))
            if len(again := self._search_again(smaller, found)):
                found, small, scale = again, smaller, smaller_scale
        return (self._search_alike(small, found) if _all_lean(found) else found), scale

    def _search_again(self, image: Image, unsure: Detections) -> Detections:
        """Faces found by more effort; none if those found already, without being sure, are as good."""
        found = unsure if len(unsure) else self._search_harder(image)
        best = found.scores.max(initial=0)
        if best > UNSURE:
            return found
        turned = self._search_turned(image, LYING_ANGLES if len(found) else RETRY_ANGLES)
        if len(turned) >= len(found) and TURNED_ODDS * (1 - turned.scores.max(initial=0)) < 1 - best:
            return turned
        return Detections.empty() if len(unsure) else found

    def _search_alike(self, image: Image, found: Detections) -> Detections:
        """Faces of the image turned until the best of those found is upright, if they are these and more."""
        turned, back = _turn(image, math.degrees(_rolls(found.landmarks)[0]))
        more = _map_back(self._cascade(turned, self.thresholds[2]), back)
        return more if len(more) > len(found) and _all_among(found, more) else found

    def _search_harder(self, image: Image) -> Detections:
        found = self._cascade(_raise_contrast(image), RETRY_CONTRAST)
        return found if len(found) else _mirror(self._search_mirrored(_flip(image)), image.shape[1])

    def _search_mirrored(self, image: Image) -> Detections:
        found = self._cascade(image, self.thresholds[2])
        return found if len(found) else self._cascade(_raise_contrast(image), RETRY_MIRRORED)

    def _search_turned(self, image: Image, angles: Sequence[float]) -> Detections:
        """Faces of the turned copy in which the best one is found, in pixels of the image as it is."""
        best = Detections.empty()
        for angle in angles:
            turned, back = _turn(image, angle)
            found = self._cascade(turned, RETRY_TURNED)
            if found.scores.max(initial=0) > best.scores.max(initial=0):
                best = _map_back(found, back)
        return best

    def _cascade(self, image: Image, threshold: float) -> Detections:
        octaves = _halvings(image)
        squares = self._refine(octaves, self._propose(octaves))
        return self._settle(octaves, self._overturn(octaves, self._decide(octaves, squares, threshold)))

    def _propose(self, octaves: list[Image]) -> Floats:
        """Squares (n, 4) that P-Net takes for a face, from all levels of the pyramid."""
        proposals = [self._propose_in(level) for level in _pyramid(octaves, self.min_face)]
        boxes = np.concatenate([boxes for boxes, _ in proposals])
        scores = np.concatenate([scores for _, scores in proposals])
        return _square(boxes[suppress(boxes, scores, 0.7)])

    def _propose_in(self, level: Level) -> tuple[Floats, Floats]:
        scores, offsets = self._scan(level.pixels)
        rows, columns = np.nonzero(scores > self.thresholds[0])
        scores, offsets = scores[rows, columns], offsets[rows, columns]
        best = np.argsort(-scores, kind="stable")[:PER_LEVEL]
        corner = np.stack([columns[best], rows[best]], axis=1) * STRIDE - level.margin
        windows = np.concatenate([corner, corner + WINDOW], axis=1) / level.scale
        boxes, scores = _shift(windows.astype(np.float32), offsets[best]), scores[best]
        kept = suppress(boxes, scores, 0.5)
        return boxes[kept], scores[kept]

    def _scan(self, pixels: Image) -> list[Floats]:
        """P-Net's scores (h, w) and offsets (h, w, 4), one row and column every ``STRIDE`` pixels."""
        height, width = pixels.shape[:2]
        overlap = WINDOW - STRIDE  # with it, the strips' outputs follow each other as if there were no strips
        step = max(STRIP // width - overlap, 2 * overlap) // STRIDE * STRIDE
        strips = [pixels[None, top : top + step + overlap] for top in range(0, height - overlap, step)]
        parts = [self._pnet.run(["scores", "offsets"], {"images": strip}) for strip in strips]
        return [np.concatenate([rows[0] for rows in output]) for output in zip(*parts, strict=True)]

    def _refine(self, octaves: list[Image], squares: Floats) -> Floats:
        """Squares (m, 4), m <= n, that R-Net confirms, corrected."""
        scores, offsets = run_in_parts(self._rnet, ["scores", "offsets"], _windows(octaves, squares, 24))
        passed = scores > self.thresholds[1]
        boxes = _shift(squares[passed], offsets[passed])
        return _square(boxes[suppress(boxes, scores[passed], 0.7)])

    def _decide(self, octaves: list[Image], squares: Floats, threshold: float) -> Detections:
        """The faces among the squares, in pixels of the searched image."""
        names = ["scores", "offsets", "landmarks"]
        scores, offsets, points = run_in_parts(self._onet, names, _windows(octaves, squares, 48))
        passed = scores > threshold
        squares, scores = squares[passed], scores[passed]
        landmarks = squares[:, None, :2] + points[passed] * (squares[:, None, 2:] - squares[:, None, :2])
        boxes = _shift(squares, offsets[passed])
        kept = _suppress_nested(boxes, scores, 0.7)
        return Detections(boxes[kept], scores[kept], landmarks[kept])

    def _overturn(self, octaves: list[Image], faces: Detections) -> Detections:
        """The faces with landmarks placed anew where a head is upside down, by O-Net in windows turned by 180 degrees.

        O-Net takes some of them for upright and places the eyes on the mouth: an expression would be read from a
        face that stands on its head. A step of this kind is no part of the paper.
        """
        squares = _square(faces.boxes)
        (upright,) = run_in_parts(self._onet, ["scores"], _windows(octaves, squares, 48))
        half_turn = np.full(len(squares), np.pi, np.float32)
        turned, points = run_in_parts(self._onet, ["scores", "landmarks"], _windows(octaves, squares, 48, half_turn))
        over = (turned > OVERTURNED) & (OVERTURNED_ODDS * (1 - turned) < 1 - upright)
        sides = (squares[over, 2] - squares[over, 0])[:, None, None]
        landmarks = faces.landmarks.copy()
        landmarks[over] = squares[over, None, 2:] - sides * points[over]
        return Detections(faces.boxes, faces.scores, landmarks)

    def _settle(self, octaves: list[Image], faces: Detections) -> Detections:
        """The faces with landmarks placed anew where the head is rolled, by O-Net in windows rolled alike.

        O-Net places the landmarks of a rolled face too upright: at 60 degrees by a third of the eye distance.
        A step of this kind is no part of the paper.
        """
        landmarks = faces.landmarks.copy()
        for _ in range(SETTLING):
            angles = _rolls(landmarks)
            rolled = np.flatnonzero(np.abs(angles) > ROLLED)
            if not len(rolled):
                break
            squares, angles = _square(faces.boxes[rolled]), angles[rolled]
            windows = _windows(octaves, squares, 48, angles)
            scores, points = run_in_parts(self._onet, ["scores", "landmarks"], windows)
            sides = (squares[:, 2] - squares[:, 0])[:, None, None]
            middle = (squares[:, None, :2] + squares[:, None, 2:]) / 2
            placed = middle + sides * np.einsum("nkd,ned->nke", points - np.float32(0.5), _rotation(angles))
            sure = scores > RETRY_CONTRAST
            landmarks[rolled[sure]] = placed[sure]
        return Detections(faces.boxes, faces.scores, landmarks)


class Level(NamedTuple):
    """One level of the pyramid: ``pixels = image * scale`` with ``margin`` pixels added on each side."""

    pixels: Image
    scale: Floats  # (4,), for x1 y1 x2 y2: width and height are rounded to whole pixels apart
    margin: int


def load_network(name: str, providers: Sequence[str] | None, threads: int | None) -> Any:
    """A network of MTCNN, "pnet", "rnet" or "onet", ready to run; see `MTCNN`."""
    weights = files("regionfer.faces").joinpath(f"weights/{name}.onnx").read_bytes()
    chosen = ["CPUExecutionProvider"] if providers is None else choose_providers(providers)
    return open_session(weights, providers=chosen, threads=threads)


def _shrink(image: Image, max_side: int | None) -> tuple[Image, float]:
    longer = max(image.shape[:2])
    if max_side is None or longer <= max_side:
        return image, 1.0
    scale = max_side / longer
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return area_resize(image, size), scale


def _pyramid(octaves: list[Image], min_face: float) -> Iterator[Level]:
    """Levels on which P-Net's window spans from ``min_face`` to ``LARGEST_FACE`` times the image's shorter side.

    The margin lets a window reach over the image's edge, by half its side, for faces that the edge cuts or
    that fill the frame.
    """
    margin = WINDOW // 2
    height, width = octaves[0].shape[:2]
    face = min_face
    while face <= LARGEST_FACE * min(height, width) or face == min_face:
        size = (math.ceil(width * WINDOW / face), math.ceil(height * WINDOW / face))
        small = _shrunk(octaves, size)
        pixels = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=GREY)
        scale = np.array([size[0] / width, size[1] / height] * 2, np.float32)
        yield Level(pixels.astype(np.uint8, copy=False), scale, margin)
        face /= PYRAMID_STEP


def _shrunk(octaves: list[Image], size: tuple[int, int]) -> Image:
    """The image at ``size`` (width, height), from the smallest octave that has the pixels: a quarter of the time."""
    width, height = size
    fitting = [octave for octave in octaves if octave.shape[0] >= height and octave.shape[1] >= width]
    return area_resize(fitting[-1] if fitting else octaves[0], size)


def _raise_contrast(image: Image) -> Image:
    """Brightness equalised within tiles (CLAHE, Zuiderveld, 1994), colours kept."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=2, tileGridSize=(4, 4)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.uint8, copy=False)


def _flip(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def _mirror(faces: Detections, width: int) -> Detections:
    """Faces of a mirror image in the pixels of the image, so many wide: what was left is right."""
    boxes, landmarks = faces.boxes.copy(), faces.landmarks[:, [1, 0, 2, 4, 3]]
    boxes[:, [0, 2]] = width - faces.boxes[:, [2, 0]]
    landmarks[..., 0] = width - landmarks[..., 0]
    return Detections(boxes, faces.scores, landmarks)


def _turn(image: Image, degrees: float) -> tuple[Image, Floats]:
    """The image turned about its centre on a canvas that holds all of it, and the map (2, 3) of its points back."""
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    size = (math.ceil(width * abs(cos) + height * abs(sin)), math.ceil(width * abs(sin) + height * abs(cos)))
    linear = np.array([[cos, -sin], [sin, cos]])
    back = np.column_stack([linear, (width / 2, height / 2) - linear @ (size[0] / 2, size[1] / 2)])
    sampled = back.copy()
    sampled[:, 2] += linear @ (0.5, 0.5) - 0.5  # OpenCV counts from the centre of the first pixel
    turned = cv2.warpAffine(image, sampled, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderValue=GREY)
    return turned.astype(np.uint8, copy=False), back.astype(np.float32)


def _rolls(landmarks: Floats) -> Floats:
    """By how much the eyes (n,) are rolled, radians."""
    eyes = landmarks[:, 1] - landmarks[:, 0]
    return np.asarray(np.arctan2(eyes[:, 1], eyes[:, 0]))


def _all_lean(faces: Detections) -> bool:
    """Whether there are faces, and each leans to a side, lies or stands on its head."""
    return len(faces) > 0 and bool((np.abs(_rolls(faces.landmarks)) > LEANING).all())


def _all_among(faces: Detections, others: Detections) -> bool:
    """Whether each face has one of the others in its middle."""
    middles = faces.landmarks.mean(axis=1)
    apart = np.linalg.norm(middles[:, None] - others.landmarks.mean(axis=1), axis=2)
    sides = (faces.boxes[:, 2:] - faces.boxes[:, :2]).max(axis=1)
    return bool((apart.min(axis=1, initial=np.inf) < sides / 4).all())


def _map_back(faces: Detections, back: Floats) -> Detections:
    """Faces of a turned copy where they are in the image, by what `_turn` gave."""
    return Detections(_map_boxes(faces.boxes, back), faces.scores, _map_points(faces.landmarks, back))


def _map_points(points: Floats, by: Floats) -> Floats:
    """Points (..., 2) under the affine map (2, 3)."""
    return points @ by[:, :2].T + by[:, 2]


def _map_boxes(boxes: Floats, by: Floats) -> Floats:
    """Upright squares around the mapped centres, as wide as the longer side of each box (n, 4)."""
    squares = _square(boxes)
    half = (squares[:, 2:] - squares[:, :2]) / 2
    centre = _map_points((boxes[:, :2] + boxes[:, 2:]) / np.float32(2), by)
    return np.concatenate([centre - half, centre + half], axis=1)


def _halvings(image: Image) -> list[Image]:
    """The image, its half, its quarter ... down to 48 pixels."""
    octaves = [image]
    while min(octaves[-1].shape[:2]) >= 96:
        height, width = octaves[-1].shape[:2]
        octaves.append(area_resize(octaves[-1], (width // 2, height // 2)))
    return octaves


def _windows(octaves: list[Image], squares: Floats, side: int, angles: Floats | None = None) -> Image:
    """Each square's pixels, (n, side, side, 3), the squares turned clockwise about their centres by angles in radians.

    Taken from the octave on which the square is once to twice as wide as ``side``: bilinear sampling of
    anything larger would skip pixels.
    """
    sides = (squares[:, 2] - squares[:, 0]) / side
    chosen = np.log2(sides.clip(1)).astype(int).clip(max=len(octaves) - 1)
    widths_heights = np.array([octave.shape[1::-1] for octave in octaves])
    scales = (widths_heights / widths_heights[0])[chosen, :, None]  # (n, 2, 1)
    steps = _rotation(np.zeros(len(squares)) if angles is None else angles) * sides[:, None, None]
    # From the centre of a target pixel to the octave's pixels, whose centres OpenCV gives whole numbers.
    first = (squares[:, :2] + squares[:, 2:]) / 2 - steps.sum(axis=2) * ((side - 1) / 2)
    to_source = np.concatenate([steps * scales, first[:, :, None] * scales - 0.5], axis=2)
    windows = np.empty((len(squares), side, side, 3), np.uint8)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for window, octave, affine in zip(windows, chosen, to_source, strict=True):
        cv2.warpAffine(octaves[octave], affine, (side, side), window, flags, cv2.BORDER_CONSTANT, GREY)
    return windows


def _rotation(angles: NDArray[np.floating[Any]]) -> Floats:
    """Matrices (n, 2, 2) that turn points clockwise, as seen in the image, by angles (n,) in radians."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2).astype(np.float32)


def run_in_parts(network: Any, names: list[str], images: Image) -> list[Floats]:
    """The network's outputs on any number of images, none included, a bounded number at a time."""
    starts = range(0, max(1, len(images)), BATCH)
    parts = [network.run(names, {"images": images[i : i + BATCH]}) for i in starts]
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def _shift(boxes: Floats, offsets: Floats) -> Floats:
    """Boxes (n, 4) with corners moved by offsets (n, 4), shares of width and height."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.tile(sides, 2)


def _square(boxes: Floats) -> Floats:
    """The squares around the same centres with the longer side of each box."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True, initial=0) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def suppress(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.intp]:
    """Non-maximum suppression: rows to keep, highest score first.

    A box goes if its overlap (intersection over union) with a kept one of higher score exceeds ``threshold``.

    Args:
        boxes: (n, 4) x1 y1 x2 y2.
        scores: (n,), above 0.
        threshold: overlap in 0..1.

    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], np.float32)
    >>> suppress(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.5).tolist()
    [1, 2]
    """
    # OpenCV declares lists, and takes arrays in a fraction of the time.
    x_y_width_height: Any = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).astype(np.float64)
    kept: Any = cv2.dnn.NMSBoxes(x_y_width_height, cast(Any, scores), 0.0, threshold)
    return np.asarray(kept, dtype=np.intp).reshape(-1)


def _suppress_nested(boxes: Floats, scores: Floats, threshold: float) -> NDArray[np.intp]:
    """The same with the overlap as a share of the smaller box, which also removes a box inside another."""
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        first, rest = order[0], order[1:]
        kept.append(first)
        low = np.maximum(boxes[first, :2], boxes[rest, :2])
        high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        common = (high - low).clip(0).prod(axis=1)
        order = rest[common <= threshold * np.minimum(areas[first], areas[rest])]
    return np.array(kept, dtype=np.intp)
