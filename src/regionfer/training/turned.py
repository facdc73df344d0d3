"""Training faces drawn anew at known poses (scripts/label_pose/turn_faces.py), and which face each of them shows."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regionfer.datasets.manifest import resize_face
from regionfer.errors import DatasetError, ImageError
from regionfer.images import read_image
from regionfer.training.attribute_tables import pose_of, read_table

TABLE = "faces.csv"


class Turned(NamedTuple):
    """Drawn faces.

    Attributes:
        faces: (m, S, S, 3) uint8 RGB.
        sources: (m,) rows of the training faces that they show.
        poses: (m, 3) float32, yaw, pitch and roll in degrees.
    """

    faces: NDArray[np.uint8]
    sources: NDArray[np.intp]
    poses: Tensor


def read_turned(folder: Path, names: Sequence[str], size: int) -> Turned:
    """Read a folder of drawn faces: those that show a training face. What is held out must not come in by this door.

    Args:
        folder: images and a table faces.csv with the columns name, yaw, pitch, roll and source, the name of the face.
        names: of the training faces, with or without their folder.
        size: side S of the faces, pixels.

    Raises:
        DatasetError: the table is missing or damaged, lacks a column, names an image that cannot be read, or none of it
            shows a training face.
    """
    table = read_table(folder / TABLE)
    rows = {PurePosixPath(name).name: row for row, name in enumerate(names)}
    shown = {name: rows[source] for name, line in table.items() if (source := line.get("source") or "") in rows}
    if not shown:
        raise DatasetError(
            f"{folder / TABLE}: expected faces whose 'source' is among the {len(names):,} training faces, found none"
        )
    try:
        faces = np.stack([resize_face(read_image(folder / name), size) for name in shown])
    except ImageError as error:
        raise DatasetError(f"{folder / TABLE}: names a face that cannot be read: {error}") from error
    poses = torch.tensor([pose_of(table, name) for name in shown])
    return Turned(faces, np.array(list(shown.values()), dtype=np.intp), poses)
