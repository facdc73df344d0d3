"""From images to expressions: the class that most users meet.

>>> from regionfer import Recognizer
>>> recognizer = Recognizer()                              # doctest: +SKIP
>>> recognizer.recognize("photo.jpg")[0].expression        # doctest: +SKIP
'happiness'
"""

import copy
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Literal, NamedTuple, Self, cast, overload

import numpy as np
from numpy.typing import NDArray

from regionfer.errors import ImageError, ModelError
from regionfer.faces import MTCNN, FaceDetector
from regionfer.faces.alignment import cut_frames, frame_corners, frame_roll, place_in_frames, turn_frames
from regionfer.faces.crops import CropCheck
from regionfer.fitness import mostly_covered, unfit_reasons
from regionfer.fusion import FusedModel
from regionfer.images import ImageSource, area_resize, image_size, read_image
from regionfer.onnx_model import MAX_FACES_PER_RUN, Classifier, ExpressionModel, ModelOutput
from regionfer.photos import Photo, join_places, places_of, pose_in_image, whole_place
from regionfer.results import Expressions
from regionfer.threads import Remaining, cores, map_ahead
from regionfer.uncertainty import Uncertainty
from regionfer.upright import SUSPECT, look_at

ChannelOrder = Literal["rgb", "bgr"]
Model = str | Path | Classifier

MIN_CONFIDENCE = 0.9
"""Faces of which the detector is less sure are left out, unless the caller says otherwise."""

AHEAD = 4
"""Images a thread that are searched ahead, lest threads wait for work while the network runs; 2 if images are kept."""

MOST_RUNS = 8
"""Runs of the network at once, at most, of a stream of images; more threads than that are shared out among the runs. A
run of 8 faces takes 40 MB."""

HELD_PIXELS = 50_000_000
"""Pixels of images kept for the caller while their faces wait for runs of the network (150 MB), and an image a run."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of one input of `Recognizer.stream`: a result, or the error that came instead.

    Attributes:
        source: the path as given; None for an image from memory.
        result: the faces; None if the image could not be read.
        error: why there is no result; None if there is one.
        image: (H, W, 3) RGB uint8, as read; None unless ``keep_images`` was asked for.
    """

    source: str | None
    result: Expressions | None = None
    error: ImageError | None = None
    image: NDArray[np.uint8] | None = None


class Recognizer:
    """Finds the faces in images and recognises their expressions. Safe to use from several threads.

    Args:
        model: a model file, a model already loaded, or several of either, whose probabilities are then averaged;
            None for the model that comes with this package, also among several.
        detector: finds the faces; None for MTCNN, which is loaded when first needed.
        providers: ONNX Runtime's execution providers for model files and MTCNN, the preferred one first; None for
            CUDA where the installed ONNX Runtime has it, else the CPU, and for MTCNN the CPU.
        threads: CPU threads to use, also for reading images ahead; None for one a core.
        max_risk: share of wrong answers to accept among those that are not uncertain, 0..1; None for the model's own
            threshold. What is chosen by it is a threshold of the probability, on the faces that the model was
            validated on: other faces, covered ones above all, may be answered wrongly more often.
        weights: one number, 0 or above, for each of several models: how much its probabilities count; None for all
            alike.
        upright: look again, turned upright, at faces that the model finds rolled, see `regionfer.upright`; False to
            look once. It needs a model that tells the pose.

    Raises:
        TypeError: the detector has no method ``detect``.
        ModelError: a model file that cannot be used, a provider that is not available, or a ``max_risk`` that the
            model cannot keep, or has no risk-coverage curve for.
        ValueError: weights that do not fit the models.

    Attributes:
        model: the model, or the `FusedModel` of several.
        threshold: answers less probable than this are uncertain; None where the model has none.
        upright: whether rolled faces are turned upright and looked at again: if that was asked for, and the model tells
            the pose.
    """

    def __init__(
        self,
        model: Model | Sequence[Model | None] | None = None,
        detector: FaceDetector | None = None,
        providers: Sequence[str] | None = None,
        threads: int | None = None,
        max_risk: float | None = None,
        weights: Sequence[float] | None = None,
        upright: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        if detector is not None:
            _check_detector(detector)
        self._providers = providers
        self._threads = threads
        self._workers = threads or cores()
        self._detector = detector
        self._crop_check: CropCheck | None = None
        self._shared_out: tuple[Classifier, Classifier] | None = None  # a model, and the same with fewer threads a run
        self._lock = Lock()
        if isinstance(model, list | tuple):
            self.model: Classifier = FusedModel([self._load(each) for each in model], weights)
        elif weights is not None:
            raise ValueError(f"weights are for several models, got one model and weights {weights}")
        else:
            self.model = self._load(model)  # type: ignore[arg-type]  # a str is a Sequence, too
        self.threshold = _threshold(self.model, max_risk)
        self._upright = upright

    def __repr__(self) -> str:
        return f"Recognizer({self.model!r})"

    @property
    def upright(self) -> bool:
        """See `Recognizer`."""
        return self._upright and "pose" in self.model.heads

    @property
    def detector(self) -> FaceDetector:
        """What finds the faces."""
        with self._lock:
            if self._detector is None:
                # Its networks are small: more threads for one image cost more time than they save (by half,
                # measured on two cores), and a list of images is searched by several threads anyway.
                self._detector = MTCNN(providers=self._providers, threads=1)
            return self._detector

    def looking_once(self) -> Self:
        """The same, but it sees each face once, as it comes: to be compared with a model that cannot tell the roll."""
        if not self.upright:
            return self
        once = copy.copy(self)
        once._upright = False
        return once

    def check_crops(self, faces: NDArray[np.uint8], output: ModelOutput) -> NDArray[np.float32]:
        """How surely n aligned faces, or crops that came as such, are faces by `CropCheck`, (n,) in 0..1; NaN where the
        model does not suspect that they are none: where it finds less than a share of `SUSPECT` covered.

        Args:
            faces: (n, S, S, 3) uint8 RGB.
            output: what the model says of them.
        """
        scores = np.full(len(faces), np.nan, np.float32)
        suspect = np.zeros(len(faces), bool) if output.occlusion is None else output.occlusion[:, 1] >= SUSPECT
        if suspect.any():
            with self._lock:
                if self._crop_check is None:
                    self._crop_check = CropCheck(self._providers, threads=1)
            scores[suspect] = self._crop_check.scores(faces[suspect])
        return scores

    @overload
    def recognize(  # type: ignore[overload-overlap]  # a str is a Sequence of str, too; it is taken for a path
        self,
        images: ImageSource,
        *,
        channel_order: ChannelOrder = ...,
        min_confidence: float = ...,
        batch_size: int = ...,
    ) -> Expressions: ...
    @overload
    def recognize(
        self,
        images: Sequence[ImageSource],
        *,
        channel_order: ChannelOrder = ...,
        min_confidence: float = ...,
        batch_size: int = ...,
    ) -> list[Expressions]: ...
    def recognize(
        self,
        images: ImageSource | Sequence[ImageSource],
        *,
        channel_order: ChannelOrder = "rgb",
        min_confidence: float = MIN_CONFIDENCE,
        batch_size: int = MAX_FACES_PER_RUN,
    ) -> Expressions | list[Expressions]:
        """Recognise the expressions in one image, or in a list of images together.

        An image without faces gives a result of length 0. A list is much faster than its images one by one; for
        many images, or where some may be unreadable, see `stream`.

        Args:
            images: a path, bytes of an image file, PIL image or array; or a list of these, or an array
                (n, H, W, 3). See `regionfer.images.read_image`.
            channel_order: order of an array's colours; "bgr" for OpenCV's.
            min_confidence: leave out faces of which the detector is less sure, 0..1.
            batch_size: largest number of faces in one run of the network.

        Returns:
            The faces of the image, the surest first; for a list, one result an image, in its order.

        Raises:
            ImageError: an image cannot be read; of a list, the first one.
        """
        options = _Options(channel_order, min_confidence)
        several = _as_list(images)
        if several is None:
            photo = self._find_faces(cast(ImageSource, images), options)
            return _split(self._classify([photo], batch_size), [photo])[0]
        results = []
        for outcome in self._stream(several, options, batch_size):
            if outcome.result is None:
                assert outcome.error is not None
                raise outcome.error
            results.append(outcome.result)
        return results

    def recognize_crops(
        self,
        faces: ImageSource | Sequence[ImageSource],
        landmarks: NDArray[np.float32] | None = None,
        *,
        channel_order: ChannelOrder = "rgb",
        batch_size: int = MAX_FACES_PER_RUN,
    ) -> Expressions:
        """Recognise the expressions of images that each are one face already, without looking for faces.

        Args:
            faces: n crops of any sizes, as an array (n, H, W, 3) or a list of paths, bytes, PIL images or arrays;
                or one crop. Each is resized to the model's face size.
            landmarks: (n, 5, 2) float32, x y in 0..1 of the crop, in ``LANDMARKS`` order; only for models whose
                regions follow them.
            channel_order: order of an array's colours; "bgr" for OpenCV's.
            batch_size: largest number of faces in one run of the network.

        Returns:
            One result whose face i is crop i: its box is the whole crop, the detector's score is unknown (NaN), and
            so is the pose unless the model gives it. There is no ``source`` and, if there are several crops, no
            ``image_size``.

        Raises:
            ImageError: a crop cannot be read.
            ValueError: no landmarks for a model whose regions follow them.
        """
        several = _as_list(faces)
        crops = [cast(ImageSource, faces)] if several is None else several
        options = _Options(channel_order)
        photos = list(map_ahead(lambda crop: self._take_crop(crop, options), crops, self._workers, AHEAD))
        result = self._classify(photos, batch_size, landmarks)
        return replace(result, image_size=photos[0].size) if len(photos) == 1 else result

    def stream(
        self,
        images: Iterable[ImageSource],
        *,
        detect: bool = True,
        channel_order: ChannelOrder = "rgb",
        min_confidence: float = MIN_CONFIDENCE,
        batch_size: int = MAX_FACES_PER_RUN,
        group_size: int | None = None,
        keep_images: bool = False,
    ) -> Generator[Outcome, None, None]:
        """Recognise the expressions in any number of images, with bounded memory, one `Outcome` an image.

        Images are read and searched a few ahead by several threads; their faces are gathered and go through the
        network together. An image that cannot be read gives an outcome with an error, and the others go on.

        Args:
            images: paths, bytes, PIL images or arrays; taken one by one as they are needed.
            detect: False if each image is one face already, see `recognize_crops`.
            channel_order: order of an array's colours; "bgr" for OpenCV's.
            min_confidence: leave out faces of which the detector is less sure, 0..1.
            batch_size: largest number of faces in one run of the network, and of images that wait for it. Several runs
                are made at once, one a thread, 8 at most, of models on a CPU; of others one.
            group_size: only faces of so many images, counted from the first, may share a run. The last digits of an
                answer depend on what shares its run; those of a group do not on the groups before it. None for no end.
            keep_images: give each outcome its image, for drawing.

        Before the first outcome is given, five images a thread, a batch a run and two more may be taken. Pictures that
        come slowly, as from a camera, are better recognised one at a time.

        Raises:
            TypeError: a single path or file is given, or, when it is its turn, what is no image at all.
            ModelError: ``detect`` is False, and the model's regions follow landmarks, which crops lack.
        """
        if not detect and self.model.needs_landmarks:
            raise ModelError(
                f"{self.model}: its regions follow the landmarks, which are found in photos only; "
                "give photos, or choose a model with fixed regions"
            )
        if isinstance(images, str | bytes | Path):
            raise TypeError(f"expected images one after the other, such as a list of paths, got {images!r}")
        options = _Options(channel_order, min_confidence, detect, keep_images)
        return self._stream(images, options, batch_size, group_size)

    def _load(self, model: Model | None) -> Classifier:
        if model is None or isinstance(model, str | Path):
            return ExpressionModel.load(model, providers=self._providers, threads=self._threads)
        return model

    def _stream(
        self, images: Iterable[ImageSource], options: "_Options", batch_size: int, group_size: int | None = None
    ) -> Generator[Outcome, None, None]:
        for name, size in (("batch_size", batch_size), ("group_size", group_size)):
            if size is not None and size < 1:
                raise ValueError(f"{name} must be 1 or more, got {size}")

        def prepare(source: ImageSource) -> Photo | Outcome:
            try:
                return self._find_faces(source, options) if options.detect else self._take_crop(source, options)
            except ImageError as error:
                return Outcome(_name(source), error=error)

        model = self.model

        def classify(batch: _Batch) -> list[Outcome]:
            network = model if batch.first else self._with_threads(model, threads)
            return self._outcomes(batch.items, batch_size, network)

        # As many runs at once as threads: none waits for the rest of a run, nor for what comes before and after it. On
        # two cores that takes a fifth less time than one run at a time on both, which the first batch is: it may be the
        # only one. So is that of each group, for the number of threads may change the last digits, too.
        runs = min(self._workers, MOST_RUNS) if model.concurrent else 1
        threads = self._workers // runs
        held = HELD_PIXELS // (runs + 2)  # one batch being gathered, one handed over, the others between
        with (
            closing(map_ahead(prepare, images, self._workers, ahead=2 if options.keep_image else AHEAD)) as items,
            closing(map_ahead(classify, _gather(items, batch_size, held, group_size), runs, ahead=1)) as batches,
        ):
            for outcomes in batches:
                yield from outcomes

    def _with_threads(self, model: Classifier, threads: int) -> Classifier:
        if threads == self._workers:
            return model
        with self._lock:
            if self._shared_out is None or self._shared_out[0] is not model:
                self._shared_out = model, model.with_threads(threads)
            return self._shared_out[1]

    def _outcomes(self, batch: Sequence[Photo | Outcome], batch_size: int, network: Classifier) -> list[Outcome]:
        photos = [item for item in batch if isinstance(item, Photo)]
        results = iter(_split(self._classify(photos, batch_size, network=network), photos) if photos else ())
        return [
            Outcome(item.source, next(results), image=item.image) if isinstance(item, Photo) else item for item in batch
        ]

    def _find_faces(self, source: ImageSource, options: "_Options") -> Photo:
        image = read_image(source, channel_order=options.channel_order)
        found = self.detector.detect(image)
        places = places_of(image, found[found.scores >= options.min_confidence])
        faces = cut_frames(image, places.frames, self.model.card.face_size)
        return Photo(_name(source), image_size(image), faces, places, image if options.keep_image else None)

    def _take_crop(self, source: ImageSource, options: "_Options") -> Photo:
        image = read_image(source, channel_order=options.channel_order)
        side = self.model.card.face_size
        faces = area_resize(image, (side, side))[None]
        places = whole_place(image)
        return Photo(_name(source), image_size(image), faces, places, image if options.keep_image else None)

    def _classify(
        self,
        photos: Sequence[Photo],
        batch_size: int,
        points: NDArray[np.float32] | None = None,
        network: Classifier | None = None,
    ) -> Expressions:
        """Run the network on the faces of all photos together; they come back in order, as if of one image."""
        network = network or self.model
        card = network.card
        faces = np.concatenate([np.empty((0, card.face_size, card.face_size, 3), np.uint8), *(p.faces for p in photos)])
        places = join_places([photo.places for photo in photos])
        if points is None and places.landmarks is not None and network.needs_landmarks:
            points = place_in_frames(places.landmarks, places.frames)
        look = look_at(network, faces, points, batch_size=batch_size, upright=self.upright)
        output, frames = look.output, turn_frames(places.frames, look.turned)
        sides = (places.boxes[:, 2:] - places.boxes[:, :2]).min(axis=1)
        scores = self.check_crops(look.faces, output)
        unfit = unfit_reasons(sides, places.contrasted, output, frame_roll(frames), scores)
        seen = ~np.isin(unfit, ("too small", "no contrast", "no face"))
        return Expressions(
            boxes=places.boxes,
            scores=places.scores,
            landmarks=places.landmarks,
            aligned=frame_corners(frames),
            **(
                output._asdict()
                | {
                    "pose": _known(pose_in_image(places, look.pose), seen & ~mostly_covered(output)),
                    "occlusion": None if output.occlusion is None else _known(output.occlusion, seen),
                    "visibility": None if output.visibility is None else _known(output.visibility, seen),
                }
            ),
            occlusion_threshold=card.occlusion_threshold,
            unfit=unfit,
            threshold=self.threshold,
            regions=card.regions.place(len(faces), look.landmarks),
            region_names=card.regions.names,
            labels=card.labels,
        )


@dataclass(frozen=True)
class _Options:
    """How images are to be read and searched; see `Recognizer.stream`."""

    channel_order: ChannelOrder = "rgb"
    min_confidence: float = MIN_CONFIDENCE
    detect: bool = True
    keep_image: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ValueError(f"min_confidence must be in 0..1, got {self.min_confidence}")


def _known(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values (n, k), NaN for the faces of which they are not known."""
    return np.where(known[:, None], values, np.float32(np.nan))


def _threshold(model: Classifier, max_risk: float | None) -> float | None:
    """The probability from which the model's answers count; None if it does not know.

    Raises:
        ModelError: it cannot tell for this risk.
    """
    stored = model.card.uncertainty
    if max_risk is None:
        return float(stored["threshold"]) if stored else None
    if not 0 <= max_risk <= 1:
        raise ValueError(f"max_risk must be in 0..1, got {max_risk}")
    if not stored:
        several = isinstance(model, FusedModel) and len(model.models) > 1
        why = "fused models have no risk-coverage curve in common" if several else "it has no risk-coverage curve"
        raise ModelError(
            f"{model}: {why}, from which to choose a threshold for max_risk {max_risk:g}; leave max_risk out, or "
            "choose one model that was exported with validation faces"
        )
    try:
        return Uncertainty.from_dict(stored).threshold_for(max_risk)
    except ValueError as error:
        raise ModelError(f"{model}: {error}") from error


def _split(joint: Expressions, photos: Sequence[Photo]) -> list[Expressions]:
    """Give each photo its own faces."""
    results, start = [], 0
    for photo in photos:
        stop = start + len(photo.faces)
        results.append(replace(joint[start:stop], source=photo.source, image_size=photo.size))
        start = stop
    return results


def _check_detector(detector: object) -> None:
    if isinstance(detector, type):
        raise TypeError(
            f"detector must be an object, got the class {detector.__name__}; make one: {detector.__name__}()"
        )
    if not callable(getattr(detector, "detect", None)):
        raise TypeError(
            f"detector must have a method detect(image), as MTCNN() and YuNet('model.onnx') of regionfer.faces have, "
            f"got {detector!r}; leave it out for MTCNN"
        )


def _as_list(images: ImageSource | Sequence[ImageSource]) -> list[ImageSource] | None:
    """The images of a list, a tuple or an array (n, H, W, C); None for a single image."""
    if isinstance(images, list | tuple) or (isinstance(images, np.ndarray) and images.ndim == 4):
        return list(images)
    return None


def _name(source: ImageSource) -> str | None:
    return str(source) if isinstance(source, str | Path) else None


class _Batch(NamedTuple):
    """Images whose faces go through the network together; whether they are the first of a group."""

    items: "list[Photo | Outcome]"
    first: bool


def _gather(items: Iterable[Photo | Outcome], batch_size: int, held: int, group_size: int | None) -> Iterator[_Batch]:
    """Batches with faces enough for a run, or images enough that the caller should not wait longer.

    Args:
        items: images that are ready for the network, or failed. What they raise is raised after the last batch.
        batch_size: faces or images.
        held: pixels of images that are kept for the caller.
        group_size: after so many images a batch ends; None for no such end.
    """
    batch = _Batch([], first=True)
    coming = Remaining(items)
    for number, item in enumerate(coming, 1):
        batch.items.append(item)
        faces = sum(len(each.faces) for each in batch.items if isinstance(each, Photo))
        pixels = sum(each.image.size // 3 for each in batch.items if each.image is not None)
        ends = group_size is not None and number % group_size == 0
        if ends or max(faces, len(batch.items)) >= batch_size or pixels >= held:
            yield batch
            batch = _Batch([], first=ends)
    if batch.items:
        yield batch
    coming.raise_error()
