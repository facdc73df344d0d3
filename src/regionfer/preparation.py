"""Find, align and store the faces of a corpus once, so that training decodes and searches nothing.

The work can be stopped and taken up again: faces go to the final file as they are found, one after the other, and a
small table beside it says what became of each image.
"""

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.manifest import Manifest, load_image, missing_images, resize_face
from regionfer.datasets.meant import meant_face
from regionfer.datasets.prepared import (
    CARD,
    COLUMNS,
    FACES,
    MISSES,
    PreparedCard,
    load_prepared,
    read_card,
    save_columns,
)
from regionfer.errors import DatasetError, ImageError, writing
from regionfer.faces import MTCNN, Detections, FaceDetector, align_faces, aligned_landmarks
from regionfer.threads import cores

__all__ = ["FaceSource", "PreparedCard", "load_prepared", "prepare"]

FaceSource = Literal["detect", "given", "crops"]
"""Where faces come from: a detector, the landmarks that come with the corpus, or the images, if these are faces."""

PHOTO_FACE_SIZE = 112
"""Side, in pixels, of faces cut from photos, if no other is asked for."""

MIN_CONFIDENCE = 0.9

CHUNK = 256
"""Images between two reports of progress, at most."""

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""

WORK = "work"


class _State(IntEnum):
    """What became of an image."""

    TO_DO = 0
    DONE = 1
    NO_FACE = 2
    OTHER_FACE = 3
    NO_LANDMARKS = 4
    ABSENT = 5
    UNREADABLE = 6


_REASONS = MappingProxyType(
    {
        _State.NO_FACE: "no face found",
        _State.OTHER_FACE: "no face found in the corpus' box",
        _State.NO_LANDMARKS: "the corpus gives no landmarks",
        _State.ABSENT: "listed but absent",
        _State.UNREADABLE: "cannot be read",
    }
)

FACELESS = frozenset(_REASONS[state] for state in (_State.NO_FACE, _State.OTHER_FACE, _State.NO_LANDMARKS))
"""Reasons, in `PreparedCard.misses`, of images that were read all the same."""


@dataclass(frozen=True)
class _Found:
    """A face (S, S, 3) and its landmarks (5, 2) in pixels of it, NaN where unknown; or why there is none."""

    state: _State
    face: NDArray[np.uint8] | None = None
    landmarks: NDArray[np.float32] | None = None


def prepare(
    manifest: Manifest,
    folder: str | Path,
    *,
    source: FaceSource | None = None,
    size: int | None = None,
    detector: FaceDetector | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> PreparedCard:
    """Prepare a corpus; if a part is done already in this folder, do the rest.

    Of several faces in a photo, the one that overlaps the corpus' box is taken, or the largest where it has no box.

    Args:
        manifest: what to prepare.
        folder: where to; made if it is missing.
        source: where faces come from; by default the images if they are crops, else a detector.
        size: side of the faces, pixels; by default that of the first image if they are crops, else 112.
        detector: finds faces; used from several threads. MTCNN if not given.
        min_confidence: faces of which the detector is less sure count as not found.
        workers: threads; by default one a core.
        progress: told how many images are done.

    Returns:
        The card of what was written; read it with `load_prepared`.

    Raises:
        DatasetError: the folder has another corpus or other settings, no image gave a face, or the corpus has no
            landmarks where these are asked for.
        OutputError: the folder cannot be written to, or the disk is too small.
    """
    folder = Path(folder)
    source = source or ("crops" if manifest.crops else "detect")
    if source == "given" and manifest.landmarks is None:
        raise DatasetError(f"{manifest.root}: {manifest.dataset} comes without landmarks; let faces be detected")
    size = size or (_first_side(manifest) if source == "crops" else PHOTO_FACE_SIZE)
    settings = {
        "source": source,
        "size": size,
        "min_confidence": min_confidence if source == "detect" else None,
        "detector": type(detector).__name__ if detector is not None else "MTCNN" if source == "detect" else None,
        "rows": _fingerprint(manifest),
    }
    card = read_card(folder)
    if card is not None:
        _check_settings(folder, card.settings, settings)
        if not _mended(manifest, folder):
            return card
        # All over again: a finished file of faces has no room for more, nor has what a killed run may have left.
        with writing(folder):
            (folder / CARD).unlink()
            shutil.rmtree(folder / WORK, ignore_errors=True)
    with writing(folder), _Work.open(folder, settings, len(manifest), size) as work:
        finder = _Finder(manifest, source, size, detector, min_confidence)
        _find_all(finder, work, workers or cores(), progress)
        return _finish(manifest, work, settings)


def _mended(manifest: Manifest, folder: Path) -> bool:
    """Whether an image that was absent or damaged when the folder was finished can be read now."""
    lost = {_REASONS[_State.ABSENT], _REASONS[_State.UNREADABLE]}
    with (folder / MISSES).open(encoding="utf-8", newline="") as file:
        names = [entry["image"] for entry in csv.DictReader(file) if entry["reason"] in lost]
    for row in np.flatnonzero(np.isin(manifest.names, names)):
        try:
            load_image(manifest, int(row))
        except ImageError:
            continue
        return True
    return False


def _first_side(manifest: Manifest) -> int:
    for row in np.flatnonzero(~missing_images(manifest)):
        try:
            height, width = load_image(manifest, int(row)).shape[:2]
            return int(max(height, width))
        except ImageError:
            continue
    raise DatasetError(f"{manifest.root}: none of the {len(manifest):,} images of {manifest.dataset} can be read")


def _fingerprint(manifest: Manifest) -> str:
    content = hashlib.sha256(json.dumps([manifest.dataset, manifest.protocol, manifest.classes]).encode())
    for column in (manifest.names, manifest.splits):
        content.update("\n".join(column.tolist()).encode(errors="surrogatepass"))
    content.update(manifest.targets.tobytes())
    for name, places in (("boxes", manifest.boxes), ("landmarks", manifest.landmarks)):
        if places is not None:  # they settle which face of a photo is taken, or where it is
            content.update(name.encode() + np.nan_to_num(places, nan=-1.0).astype("<f4").tobytes())
    for name, values in sorted(manifest.attributes.items()):  # they are kept, and subsets are taken from them
        content.update(json.dumps([name, values.tolist()]).encode())
    return content.hexdigest()


def _check_settings(folder: Path, found: Mapping[str, object], wanted: Mapping[str, object]) -> None:
    different = [name for name, value in wanted.items() if found.get(name) != value]
    if different:
        changes = ", ".join(
            "other images, labels, boxes, landmarks or further columns"
            if name == "rows"
            else f"{name} {found.get(name)}, not {wanted[name]}"
            for name in different
        )
        raise DatasetError(f"{folder}: was prepared with {changes}; choose another folder, or delete this one")


@dataclass(frozen=True, eq=False)
class _Finder:
    """The face of each row of a manifest."""

    manifest: Manifest
    source: FaceSource
    size: int
    detector: FaceDetector | None
    min_confidence: float

    def __post_init__(self) -> None:
        if self.source == "detect" and self.detector is None:
            # One thread an image: the images are what runs side by side.
            object.__setattr__(self, "detector", MTCNN(threads=1))

    def __call__(self, row: int) -> _Found:
        try:
            image = load_image(self.manifest, row)
        except ImageError:
            return _Found(_State.UNREADABLE)
        if self.source == "crops":
            return self._crop(image, row)
        faces = self._given(row) if self.source == "given" else self._detect(image, row)
        if isinstance(faces, _State):
            return _Found(faces)
        points = aligned_landmarks(faces)[0] * np.float32(self.size)
        return _Found(_State.DONE, align_faces(image, faces, self.size)[0], points)

    def _crop(self, image: NDArray[np.uint8], row: int) -> _Found:
        scale = np.array([self.size / image.shape[1], self.size / image.shape[0]], dtype=np.float32)
        points = None if self.manifest.landmarks is None else self.manifest.landmarks[row] * scale
        return _Found(_State.DONE, resize_face(image, self.size), points)

    def _given(self, row: int) -> Detections | _State:
        assert self.manifest.landmarks is not None
        points = self.manifest.landmarks[row]
        if not np.isfinite(points).all():
            return _State.NO_LANDMARKS
        box = np.concatenate([points.min(0), points.max(0)])
        return Detections(box[None], np.ones(1, dtype=np.float32), points[None])

    def _detect(self, image: NDArray[np.uint8], row: int) -> Detections | _State:
        assert self.detector is not None
        faces = self.detector.detect(image)
        faces = faces[faces.scores >= self.min_confidence]
        if not len(faces):
            return _State.NO_FACE
        meant = meant_face(self.manifest, row, faces.boxes)
        return _State.OTHER_FACE if meant is None else faces[meant]


@dataclass(frozen=True, eq=False)
class _Work:
    """The files of unfinished work, mapped into memory.

    Attributes:
        folder: where the result goes.
        faces: (n, S, S, 3), filled from the front, whatever row a face belongs to.
        places: (n,) int64, where the face of each row is, if it has one.
        landmarks: (n, 5, 2), by row.
        states: (n,) what became of each row.
    """

    folder: Path
    faces: NDArray[np.uint8]
    places: NDArray[np.int64]
    landmarks: NDArray[np.float32]
    states: NDArray[np.uint8]

    @classmethod
    @contextmanager
    def open(cls, folder: Path, settings: Mapping[str, object], n: int, size: int) -> Iterator["_Work"]:
        place = folder / WORK
        place.mkdir(parents=True, exist_ok=True)
        note = place / "settings.json"
        if note.is_file():
            _check_settings(folder, json.loads(note.read_text(encoding="utf-8")), settings)
        else:
            _map(folder / FACES, (n, size, size, 3), "uint8")
            _map(place / "places.npy", (n,), "int64")
            _map(place / "landmarks.npy", (n, 5, 2), "float32")
            _map(place / "states.npy", (n,), "uint8")
            _replace(note, json.dumps(settings))
        paths = (folder / FACES, *(place / f"{name}.npy" for name in ("places", "landmarks", "states")))
        yield cls(folder, *(np.load(path, mmap_mode="r+", allow_pickle=False) for path in paths))

    def rows_in_order(self) -> NDArray[np.intp]:
        """Rows with a face, in the order of the faces."""
        rows = np.flatnonzero(self.states == _State.DONE)
        return rows[np.argsort(self.places[rows], kind="stable")]

    def remove(self) -> None:
        for path in sorted((self.folder / WORK).iterdir()):
            path.unlink()
        (self.folder / WORK).rmdir()


def _replace(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whenever the process is killed."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _map(path: Path, shape: tuple[int, ...], dtype: str) -> None:
    """Make an array file. Its room on the disk is taken at once: a full disk would end the process later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    array.flush()
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _find_all(finder: _Finder, work: _Work, workers: int, progress: Progress) -> None:
    n = len(finder.manifest)
    missing = missing_images(finder.manifest)
    # What was absent or damaged may have been mended; not so once the file of faces has been cut.
    again = (_State.ABSENT, _State.UNREADABLE) if len(work.faces) == n else ()
    to_do = np.isin(work.states, [_State.TO_DO, *again])
    work.states[to_do & missing] = _State.ABSENT
    rows = iter(np.flatnonzero(to_do & ~missing).tolist())
    done = n - int((to_do & ~missing).sum())
    place = len(work.rows_in_order())
    progress(done, n)
    with ThreadPoolExecutor(workers) as pool:
        # In chunks, so that an interruption has little to wait for.
        while chunk := list(islice(rows, CHUNK)):
            for row, found in zip(chunk, pool.map(finder, chunk), strict=True):
                if found.face is not None:
                    work.faces[place] = found.face
                    work.places[row] = place
                    place += 1
                work.landmarks[row] = np.nan if found.landmarks is None else found.landmarks
                work.states[row] = found.state
                done += 1
                progress(done, n)


def _finish(manifest: Manifest, work: _Work, settings: Mapping[str, object]) -> PreparedCard:
    states = np.array(work.states)
    rows = work.rows_in_order()
    if not len(rows):
        work.remove()
        (work.folder / FACES).unlink()
        reason = _REASONS[_State(int(states[0]))] if len(states) else "no images"
        raise DatasetError(
            f"{manifest.root}: none of the {len(manifest):,} images of {manifest.dataset} gave a face; "
            f"the first: {reason}; are these photos, or face crops?"
        )
    folder = work.folder
    landmarks = np.array(work.landmarks[rows])
    _cut(folder / FACES, work.faces, len(rows))
    kept = replace(
        manifest.select(rows),
        pixels=None,
        boxes=None,
        landmarks=landmarks if np.isfinite(landmarks).any() else None,
        crops=True,
    )
    save_columns(folder / COLUMNS, kept)
    _write_misses(folder / MISSES, manifest, states)
    reasons = {_REASONS[state]: int((states == state).sum()) for state in _REASONS}
    card = PreparedCard(
        dataset=manifest.dataset,
        protocol=manifest.protocol,
        root=str(manifest.root),
        classes=manifest.classes,
        size=work.faces.shape[1],
        settings=dict(settings),
        images=len(manifest),
        faces=len(rows),
        misses={reason: count for reason, count in reasons.items() if count},
    )
    # The card comes last: a folder with it is complete.
    _replace(folder / CARD, card.to_json())
    work.remove()
    return card


def _cut(path: Path, faces: NDArray[np.uint8], count: int) -> None:
    """Keep the first faces of a file, by changing the shape in its header."""
    assert isinstance(faces, np.memmap)
    faces.flush()
    shape = (count, *faces.shape[1:])
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    with path.open("r+b") as file:
        file.seek(8)  # past the magic and the version, to the length and the text of the header
        length = int.from_bytes(file.read(2), "little")
        file.write(text.ljust(length - 1).encode() + b"\n")
        file.truncate(faces.offset + int(np.prod(shape)))


def _write_misses(path: Path, manifest: Manifest, states: NDArray[np.uint8]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "split", "label", "reason", "detail"))
        for row in np.flatnonzero(states != _State.DONE):
            label, state = manifest.classes[manifest.labels[row]], _State(int(states[row]))
            detail = _why_unreadable(manifest, int(row)) if state is _State.UNREADABLE else ""
            writer.writerow((manifest.names[row], manifest.splits[row], label, _REASONS[state], detail))


def _why_unreadable(manifest: Manifest, row: int) -> str:
    """What is wrong with a file; states do not keep it, and these are few."""
    try:
        load_image(manifest, row)
    except ImageError as error:
        return str(error).removeprefix(f"{manifest.root / str(manifest.names[row])}: ")
    return ""
