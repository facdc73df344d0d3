"""Faces as tasks of Label Studio, with the model's estimates as predictions, and the labelling configuration.

A task shows one face. Its picture is embedded (a data: URI), which Label Studio shows as it comes, or lies in a folder
that Label Studio serves as local files, which it does once that is switched on (docs/annotation.md).
"""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regionfer.annotation.attributes import FaceRow
from regionfer.annotation.inputs import ImageFinder, digest
from regionfer.annotation.questions import questions
from regionfer.annotation.table import AttributeTable
from regionfer.errors import DatasetError, ImageError, OutputError, writing

SCHEMA = 1
IMAGE = "image"
"""Name of the picture in the configuration, and in the data of a task."""

TASKS, CONFIG, PICTURES = "tasks.json", "labelling.xml", "pictures"

CONTEXT = 1.5
"""Side of the picture of a face in a photo, in sides of its box: hats, hands and edges should be seen."""

LARGEST = 512
"""Side of a picture, pixels, at most."""

Pictures = Literal["embedded", "files"]


@dataclass
class Exported:
    """What was written.

    Attributes:
        folder: where to.
        tasks: number of tasks.
        failures: for each face without a task, why.
    """

    folder: Path
    tasks: int = 0
    failures: list[str] = field(default_factory=list)


def export_tasks(
    table: AttributeTable,
    rows: Sequence[FaceRow],
    images: ImageFinder,
    folder: str | Path,
    *,
    pictures: Pictures = "embedded",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Exported:
    """Write tasks.json and labelling.xml to a folder.

    Args:
        table: where the faces come from.
        rows: faces of the table, in the order in which annotators should see them.
        images: opens them.
        folder: made if it is missing.
        pictures: "embedded" in the tasks, or "files" in a folder below.
        progress: told how many faces are done.

    Raises:
        OutputError: the folder cannot be written to.
        DatasetError: not one picture could be read.
    """
    folder = Path(folder)
    exported = Exported(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(labelling_config(table.card.labels), encoding="utf-8")
        part = folder / f"{TASKS}.partial"
        with part.open("w", encoding="utf-8") as file:
            for task in _tasks(table, rows, images, folder if pictures == "files" else None, exported, progress):
                file.write(("[\n" if exported.tasks == 0 else ",\n") + json.dumps(task))
                exported.tasks += 1
            file.write("\n]\n")
        if not exported.tasks:
            part.unlink()
            reason = exported.failures[0] if exported.failures else "the table is empty"
            raise DatasetError(f"none of {len(rows):,} faces could be exported; the first: {reason}")
        part.replace(folder / TASKS)
    return exported


def labelling_config(labels: tuple[str, ...]) -> str:
    """The labelling configuration, XML, for these expressions."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", maxWidth=f"{LARGEST}px", zoom="true")
    for question in questions(labels).values():
        ElementTree.SubElement(view, "Header", value=question.title, size="5")
        choice = "multiple" if question.several else "single"
        group = ElementTree.SubElement(
            view, "Choices", name=question.name, toName=IMAGE, choice=choice, showInline="true"
        )
        for answer in question.answers:
            ElementTree.SubElement(group, "Choice", value=answer)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def estimates(row: FaceRow) -> dict[str, list[str]]:
    """What the model says of a face, as choices by question; what it does not know is not there.

    Nor is the expression of a face that it cannot judge, however probable it may call it.
    Of covers nothing is said. What covers a face the model does not know; a "none" that is ticked already hides from
    the annotator the covers that the model misses; and a place that stays ticked beside "none" would be an answer.
    """
    found = {} if row.unfit else {"expression": [row.expression]}
    if row.pose_bin is not None:
        found["pose_bin"] = [row.pose_bin]
    return found


def _tasks(
    table: AttributeTable,
    rows: Sequence[FaceRow],
    images: ImageFinder,
    folder: Path | None,
    exported: Exported,
    progress: Callable[[int, int], None],
) -> Iterator[dict[str, Any]]:
    mark = {"schema": SCHEMA, "table": table.fingerprint, "labels": list(table.card.labels)}
    for done, row in enumerate(rows, start=1):
        try:
            image = images.open(row.image, row.face)
            picture = _encode(cut_picture(image, row))
        except OutputError:
            raise
        except (ImageError, DatasetError) as error:
            exported.failures.append(str(error))
        else:
            yield {
                "data": {IMAGE: _address(picture, row, folder), **_face(row, image), **_told(row), "regionfer": mark},
                "predictions": _predictions(row, table.card.model),
            }
        progress(done, len(rows))


def _face(row: FaceRow, image: NDArray[np.uint8]) -> dict[str, Any]:
    """What tells, when the task comes back, which face it was made of."""
    box = [row.x1, row.y1, row.x2, row.y2]
    return {"name": row.image, "face": row.face, "box": box, "digest": digest(image)}


def _told(row: FaceRow) -> dict[str, Any]:
    """What the model says besides, as columns of Label Studio's table of tasks, by which they can be sorted."""
    names = ("probability", "uncertain_reason", "occluded_probability", "occluded_fraction", "occluded_where")
    return {name: value for name in names if (value := getattr(row, name)) is not None}


def _predictions(row: FaceRow, model: str) -> list[dict[str, Any]]:
    if not (found := estimates(row)):
        return []
    return [{"model_version": model, "score": 0.0 if row.unfit else row.probability, "result": _results(found)}]


def _results(chosen: dict[str, list[str]]) -> list[dict[str, Any]]:
    return [
        {"from_name": name, "to_name": IMAGE, "type": "choices", "value": {"choices": answers}}
        for name, answers in chosen.items()
    ]


def cut_picture(image: NDArray[np.uint8], row: FaceRow) -> NDArray[np.uint8]:
    """The square around a face, with some of what is around it, as far as the image reaches.

    Args:
        image: (H, W, 3) RGB uint8.
        row: the face.

    Raises:
        DatasetError: the face is not in the image.
    """
    height, width = image.shape[:2]
    half = CONTEXT * row.face_size / 2
    x, y = (row.x1 + row.x2) / 2, (row.y1 + row.y2) / 2
    left, top = max(0, round(x - half)), max(0, round(y - half))
    picture = image[top : min(height, round(y + half)), left : min(width, round(x + half))]
    if not picture.size:
        raise DatasetError(
            f"{row.image}: face {row.face} is at {x:.0f} {y:.0f}, outside of the image ({width} x {height} pixels); "
            "is this the image that was annotated?"
        )
    shrink = LARGEST / max(picture.shape[:2])
    if shrink >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * shrink)), max(1, round(picture.shape[0] * shrink)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, format="JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _address(picture: bytes, row: FaceRow, folder: Path | None) -> str:
    """Where Label Studio finds a picture; with a folder, it is written below it."""
    if folder is None:
        return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    # Images in several folders may have one name; a hash keeps them apart.
    digest = hashlib.sha256(row.image.encode(errors="surrogatepass")).hexdigest()[:8]
    stem = Path(row.image).stem.encode(errors="replace").decode()
    path = folder / PICTURES / f"{stem}-{digest}-{row.face}.jpg"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(picture)
    return f"/data/local-files/?d={quote(f'{folder.resolve().name}/{PICTURES}/{path.name}')}"
