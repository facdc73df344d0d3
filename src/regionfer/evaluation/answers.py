"""What a model answers to the images of a manifest: to the faces as given, or to photos in which to find them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.manifest import Manifest, load_image, resize_face
from regionfer.datasets.meant import meant_face
from regionfer.errors import DatasetError, ImageError, ModelError
from regionfer.fitness import has_contrast, unfit_reasons
from regionfer.labels import ALIASES
from regionfer.recognizer import Recognizer
from regionfer.threads import cores
from regionfer.upright import look_at

_NO_LANDMARKS = np.full((5, 2), np.nan, dtype=np.float32)

_CHUNK = 64  # faces read at once: enough for the threads, and little memory

Advance = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers to the n images of a manifest.

    Attributes:
        probabilities: (n, C) float32, columns as the manifest's classes, rows sum to 1; NaN without an answer.
        attention: (n, R) float32, share of each region in the decision, rows sum to 1; NaN without an answer.
        region_names: R names.
        missed: (n,) bool, images that were read and in which the face was not found.
        errors: for each row that could not be read, or has no answer for another reason, why, in one line.
        judgeable: (n,) bool, False for faces that cannot be judged (`regionfer.fitness.unfit_reasons`), whose
            answers are uncertain however probable.
    """

    probabilities: NDArray[np.float32]
    attention: NDArray[np.float32]
    region_names: tuple[str, ...]
    missed: NDArray[np.bool_]
    errors: Mapping[int, str]
    judgeable: NDArray[np.bool_]

    @property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) bool, images with an answer."""
        return ~np.isnan(self.probabilities[:, 0])

    @property
    def counted(self) -> NDArray[np.bool_]:
        """(n,) bool, images that could be read: answered or missed."""
        return self.answered | self.missed

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(n,) index of the most probable class, -1 without an answer."""
        return np.where(self.answered, np.nan_to_num(self.probabilities).argmax(1), -1)


def looking_alike(recognizers: Sequence[Recognizer]) -> list[Recognizer]:
    """Recognisers to be compared: if one does not turn rolled faces upright, none does, lest that be compared."""
    alike = all(each.upright for each in recognizers)
    return list(recognizers) if alike else [each.looking_once() for each in recognizers]


def looks(recognizer: Recognizer) -> str:
    """The rule of a protocol that says how often faces are looked at."""
    again = "faces that the model finds rolled or much covered looked at again, turned upright"
    return again if recognizer.upright else "each face looked at once"


class LoadedFace(NamedTuple):
    """A face of a dataset.

    Attributes:
        pixels: (S, S, 3) uint8 RGB.
        landmarks: (5, 2), x y in 0..1 of the face, NaN where the dataset gives none.
        side: the shorter side of the face in its image, pixels.
    """

    pixels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    side: int


class _Sheet:
    """Answers as they come in."""

    def __init__(self, recognizer: Recognizer, manifest: Manifest) -> None:
        card = recognizer.model.card
        self._columns = find_columns(recognizer, manifest)
        self._manifest = manifest
        self._regions = card.regions.names
        self._probabilities = np.full((len(manifest), len(self._columns)), np.nan, dtype=np.float32)
        self._attention = np.full((len(manifest), len(self._regions)), np.nan, dtype=np.float32)
        self._judgeable = np.ones(len(manifest), dtype=bool)
        self.missed = np.zeros(len(manifest), dtype=bool)
        self.errors: dict[int, str] = {}

    def sort_out(self, faces: Iterable[tuple[int, LoadedFace | str]], needs_landmarks: bool) -> dict[int, LoadedFace]:
        """The faces that can be classified, by row; of the others the reason is noted."""
        good: dict[int, LoadedFace] = {}
        for row, face in faces:
            if isinstance(face, str):
                self.errors[row] = face
            elif needs_landmarks and np.isnan(face.landmarks).any():
                self.errors[row] = f"{self._manifest.names[row]}: the dataset gives no landmarks of this face"
            else:
                good[row] = face
        return good

    def enter(
        self,
        rows: Sequence[int],
        probabilities: NDArray[np.float32],
        attention: NDArray[np.float32],
        judgeable: NDArray[np.bool_],
    ) -> None:
        """Take down answers; one that is no number, as of a model file that overflows, is a failure like others."""
        finite = np.isfinite(probabilities).all(1) & np.isfinite(attention).all(1)
        for row in np.array(rows)[~finite].tolist():
            self.errors[row] = f"{self._manifest.names[row]}: the model's answer is not a number"
        good = np.array(rows)[finite]
        self._probabilities[good] = restrict(probabilities[finite], self._columns)
        self._attention[good] = attention[finite]
        self._judgeable[good] = judgeable[finite]

    def close(self) -> Answers:
        count = len(self._manifest)
        if len(self.errors) == count:
            first = self.errors[min(self.errors)] if count else "there are none"
            raise DatasetError(f"{self._manifest.root}: none of {count} images could be evaluated; the first: {first}")
        return Answers(self._probabilities, self._attention, self._regions, self.missed, self.errors, self._judgeable)


def answer_faces(recognizer: Recognizer, manifest: Manifest, advance: Advance = lambda images: None) -> Answers:
    """Let a model answer each face as the dataset gives it: the whole image, or of photos the part in the box.

    Images are read in small groups and dropped, so memory stays flat.

    Args:
        recognizer: its model is used; nothing is detected.
        manifest: n images: face crops, or photos with boxes, which are cut as squares around their boxes.
        advance: called with the number of images done since, for a progress bar.

    Raises:
        ModelError: the model lacks a class of the dataset, or needs landmarks, which the dataset lacks.
        DatasetError: photos without boxes, or not one image could be read.
    """
    model, size = recognizer.model, recognizer.model.card.face_size
    needs_landmarks = model.needs_landmarks
    check_faces(recognizer, manifest)
    sheet = _Sheet(recognizer, manifest)
    with ThreadPoolExecutor(min(32, cores() + 4)) as pool:  # some wait for the disk
        for start in range(0, len(manifest), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(manifest)))
            loaded = zip(rows, pool.map(lambda row: load_face(manifest, row, size), rows), strict=True)
            faces = sheet.sort_out(loaded, needs_landmarks)
            if faces:
                landmarks = np.stack([face.landmarks for face in faces.values()]) if needs_landmarks else None
                pixels = np.stack([face.pixels for face in faces.values()])
                look = look_at(model, pixels, landmarks, upright=recognizer.upright)
                output = look.output
                sides = np.array([face.side for face in faces.values()])
                whole = np.array([0, 0, size, size], np.float32)
                contrasted = np.array([has_contrast(face.pixels, whole) for face in faces.values()])
                scores = recognizer.check_crops(look.faces, output)
                judgeable = unfit_reasons(sides, contrasted, output, look.turned, scores) == ""
                sheet.enter(list(faces), output.probabilities, output.attention, judgeable)
            advance(len(rows))
    return sheet.close()


def check_faces(recognizer: Recognizer, manifest: Manifest) -> None:
    """Check that a dataset says where its faces are, and their landmarks if the model needs them.

    Raises:
        ModelError: the model needs landmarks, which the dataset lacks.
        DatasetError: photos without boxes.
    """
    model = recognizer.model
    if model.needs_landmarks and manifest.landmarks is None:
        raise ModelError(
            f"{model}: its regions follow landmarks, and {manifest.dataset} comes without; "
            "prepare the dataset with 'regionfer data prepare', or choose a model with fixed regions"
        )
    if not manifest.crops and manifest.boxes is None:
        raise DatasetError(
            f"{manifest.root}: {manifest.dataset} has photos without face boxes here; "
            "run 'regionfer data prepare' and evaluate on what it writes, or give --end-to-end"
        )


def answer_photos(recognizer: Recognizer, manifest: Manifest, advance: Advance = lambda images: None) -> Answers:
    """Let a model answer each image after the face in it is detected and aligned.

    Of several faces in an image one counts, see `regionfer.datasets.meant.meant_face`. Without it the image is missed.

    Args:
        recognizer: model and detector.
        manifest: n images; crops count as photos that are full of a face.
        advance: called with the number of images done since, for a progress bar.

    Raises:
        ModelError: the model lacks a class of the dataset.
        DatasetError: not one image could be read.
    """
    sheet = _Sheet(recognizer, manifest)
    for row, outcome in enumerate(recognizer.stream(_images(manifest))):
        if outcome.result is None:
            sheet.errors[row] = str(outcome.error)
        elif (face := meant_face(manifest, row, outcome.result.boxes)) is None:
            sheet.missed[row] = True
        else:
            result = outcome.result
            sheet.enter([row], result.probabilities[[face]], result.attention[[face]], result.judgeable[[face]])
        advance(1)
    return sheet.close()


def find_columns(recognizer: Recognizer, manifest: Manifest) -> NDArray[np.intp]:
    """Columns (C,) of the model's probabilities that are the dataset's classes, see `match_classes`.

    Raises:
        ModelError: the model lacks a class.
    """
    labels = recognizer.model.card.labels
    try:
        return match_classes(labels, manifest.classes)
    except ModelError as error:
        raise ModelError(
            f"{recognizer.model}: {error} of {manifest.dataset}; it knows {', '.join(labels)}: "
            "evaluate it on a dataset of these classes, or train it on this one"
        ) from error


def match_classes(labels: Sequence[str], classes: Sequence[str]) -> NDArray[np.intp]:
    """Columns (C,) of labels that are the classes, found by name.

    Case and the aliases of `regionfer.labels` do not count: "Happy" is "happiness".

    Raises:
        ModelError: a class is not among the labels.

    >>> match_classes(["neutral", "contempt", "happiness"], ["happy", "neutral"]).tolist()
    [2, 0]
    """
    places = {_key(label): column for column, label in enumerate(labels)}
    if lacking := [name for name in classes if _key(name) not in places]:
        raise ModelError(f"the model does not know {', '.join(lacking)}")
    return np.array([places[_key(name)] for name in classes], dtype=np.intp)


def _key(name: str) -> str:
    name = name.strip().casefold()
    return ALIASES.get(name, name)


def restrict(probabilities: NDArray[np.float32], columns: NDArray[np.intp]) -> NDArray[np.float32]:
    """Probabilities (n, C) given that the answer is one of the columns."""
    chosen = probabilities[:, columns].astype(np.float64)
    # A model that gives all these classes nothing at all says nothing about them either.
    chosen[chosen.sum(1) == 0] = 1.0
    return np.asarray(chosen / chosen.sum(1, keepdims=True), dtype=np.float32)


def load_face(manifest: Manifest, row: int, size: int) -> LoadedFace | str:
    """A face of size x size pixels, or why there is none."""
    try:
        image = load_image(manifest, row)
    except ImageError as error:
        return str(error)
    box = face_box(manifest, row, image.shape[1], image.shape[0])
    if box is None:
        return f"{manifest.root / str(manifest.names[row])}: the dataset gives no box within the image"
    x1, y1, x2, y2 = box
    points = _NO_LANDMARKS if manifest.landmarks is None else manifest.landmarks[row]
    landmarks = (points - np.array([x1, y1])) / np.array([x2 - x1, y2 - y1])
    return LoadedFace(resize_face(image[y1:y2, x1:x2], size), landmarks.astype(np.float32), min(x2 - x1, y2 - y1))


def face_box(manifest: Manifest, row: int, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Where the face of an image is: x1 y1 x2 y2 in pixels, within the image.

    The whole of a face crop; of a photo the square around its box, as far as it lies in the image. None where a
    photo has no box.
    """
    if manifest.crops or manifest.boxes is None:
        return 0, 0, width, height
    x1, y1, x2, y2 = manifest.boxes[row].astype(float)
    if not np.isfinite([x1, y1, x2, y2]).all():
        return None
    half, centre = max(x2 - x1, y2 - y1) / 2, ((x1 + x2) / 2, (y1 + y2) / 2)
    left, top = (max(0, round(at - half)) for at in centre)
    right, bottom = (min(end, round(at + half)) for at, end in zip(centre, (width, height), strict=True))
    return (left, top, right, bottom) if left < right and top < bottom else None


def _images(manifest: Manifest) -> Iterator[str | NDArray[np.uint8]]:
    for row, name in enumerate(manifest.names):
        yield str(manifest.root / str(name)) if manifest.pixels is None else manifest.pixels[row]
