"""Draw training faces at poses that are known exactly, to yaw 90: what Face Mesh cannot label and a corpus hardly has.

    python scripts/label_pose/turn_faces.py pose.csv train=DATA/FER2013Train runs/turned-faces --count 3000

Faces that look into the camera, by pose.csv, become the skin of the mean head (``mean_head.npz``), a little stretched
and on skulls and hair of many kinds, and are drawn anew at a random angle (face profiling; Zhu et al., 2016,
arXiv:1511.07212). Writes a folder of 48-pixel grey PNGs and its table
faces.csv: name; yaw, pitch, roll in degrees with the signs of `regionfer.results.Pose`; source, the name of the face
that is the skin. ``attributes.turned`` of a recipe reads it. The pictures show the people of the corpus: they are under
its terms. Needs the extra `train` and SciPy; 12 to 25 faces a second.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from label_pose import HEAD, read_grey
from mesh_pose import LEFT_EYE, RIGHT_EYE, Doubles, MeanHead
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from regionfer.faces import MTCNN
from regionfer.faces.pose import rotation

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from made_head import Head, draw, with_skull

FRONTAL = 12  # degrees of yaw and pitch up to which a face shows both its sides
TRUSTED = 0.7  # least confidence of its label
ENLARGED = 3  # times, for MTCNN, which wants larger faces
POORLY_FITTED = 0.15  # eye distances by which landmarks may lie off the mesh
NOSE, MOUTH = 1, (61, 291)  # points of the mesh, the tip and the corners
YAW, PITCH, ROLL = (15, 90), 45, 15  # degrees that are drawn: yaw to either side, pitch and roll to both
STRETCH = 0.08  # share by which a face may be wider, higher or deeper than the mean one, or less
SKULLS = ((0.96, 1.04), (1.1, 1.35), (1.1, 1.6))  # from and to: width, height and depth, in halves of the face's width
HAIR, BACKGROUND = (15, 215), (10, 245)  # grey
BALD = 0.25  # share of heads without hair
SOFT = (0.4, 1.0)  # pixels by which the picture is blurred
COLUMNS = ("name", "yaw", "pitch", "roll", "source")


class Source(NamedTuple):
    """A face that looks into the camera."""

    name: str
    pose: Doubles  # (3,) yaw pitch roll, degrees


def main() -> None:
    """Draw faces and write their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="pose.csv")
    parser.add_argument("split", help="SPLIT=FOLDER of face crops")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--count", type=int, default=3000, help="how many faces to draw")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    split, folder = arguments.split.split("=", 1)
    rng = np.random.default_rng(arguments.seed)
    sources = read_sources(arguments.table, split)
    chosen = [sources[i] for i in rng.permutation(len(sources))]
    arguments.out.mkdir(parents=True, exist_ok=True)
    made, drawn = turned_faces(chosen, Path(folder), rng), 0
    with (arguments.out / "faces.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for drawn, (picture, pose, name) in zip(
            track(range(1, arguments.count + 1), console=Console(stderr=True)), made, strict=False
        ):
            picture_name = f"turned{drawn:05d}.png"
            cv2.imwrite(str(arguments.out / picture_name), picture[..., 0])
            table.writerow((picture_name, *(f"{angle:.2f}" for angle in pose), name))
            file.flush()
    print(f"{arguments.out}: {drawn:,} faces")


def read_sources(table: Path, split: str) -> list[Source]:
    """Faces of pose.csv that look into the camera, with confidence."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split and float(r["confidence"]) >= TRUSTED]
    sources = [Source(r["name"], np.array([float(r[axis]) for axis in ("yaw", "pitch", "roll")])) for r in rows]
    frontal = [source for source in sources if np.abs(source.pose[:2]).max() <= FRONTAL]
    if not frontal:
        raise SystemExit(f"{table}: expected frontal faces of split {split!r}, found none")
    return frontal


def turned_faces(
    sources: Sequence[Source], folder: Path, rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint8], Doubles, str]]:
    """Each source that can be fitted, drawn at a random pose: picture (48, 48, 3), pose (3,) in degrees, its name."""
    points = MeanHead.load(HEAD).points
    for photo, places, name in fitted(sources, folder, points):
        yaw = rng.choice((-1, 1)) * rng.uniform(*YAW)
        target = np.array([yaw, rng.uniform(-PITCH, PITCH), rng.uniform(-ROLL, ROLL)])
        face = some_head(points, places, photo, rng)
        light = np.array([rng.uniform(-1, 1), rng.uniform(-1, 0.2), -1.0])
        picture = draw(face, *target, light=light, background=rng.uniform(*BACKGROUND), blur=rng.uniform(*SOFT))
        yield picture, target, name


def fitted(
    sources: Iterable[Source], folder: Path, points: Doubles
) -> Iterator[tuple[NDArray[np.uint8], Doubles, str]]:
    """Sources to which the mesh (p, 3) can be fitted: picture (h, w, 3), places of the mesh in it (p, 2), its name."""
    detector = MTCNN()
    for name, pose in sources:
        grey = read_grey(folder / name)
        if (places := places_in(grey, pose, points, detector)) is not None:
            yield np.repeat(grey[..., None], 3, axis=2), places, name


def some_head(points: Doubles, places: Doubles, photo: NDArray[np.uint8], rng: np.random.Generator) -> Head:
    """The mean head (p, 3), with its places in a photo (p, 2), a little stretched, on some skull with hair or none."""
    stretch = rng.uniform(1 - STRETCH, 1 + STRETCH, 3)
    hair = None if rng.random() < BALD else rng.uniform(*HAIR)
    width, height, depth = (rng.uniform(*sizes) for sizes in SKULLS)
    head = with_skull(points, places, photo, size=(width, height, depth), hair=hair)
    return replace(head, points=head.points * stretch)  # the skull, too, which stays behind the face that way


def places_in(grey: NDArray[np.uint8], pose: Doubles, points: Doubles, detector: MTCNN) -> Doubles | None:
    """Where the points of a mesh (p, 3) lie in a face crop (h, w), x y in pixels; None if its landmarks do not fit."""
    large = cv2.resize(grey, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
    found = detector.detect(np.repeat(large[..., None], 3, axis=2))
    if not len(found.boxes):
        return None
    landmarks = found.landmarks[int(np.argmax(found.scores))].astype(np.float64) / ENLARGED
    turned = (points @ rotation(np.radians(pose[None]))[0].T)[:, :2]
    eyes, mouth = ([list(LEFT_EYE)], [list(RIGHT_EYE)]), [[k] for k in MOUTH]
    flat = np.concatenate([turned[which].mean(axis=1) for which in (*eyes, [[NOSE]], *([m] for m in mouth))])
    middle, centre = flat.mean(axis=0), landmarks.mean(axis=0)
    scale = float(((flat - middle) * (landmarks - centre)).sum() / np.square(flat - middle).sum())
    if scale <= 0 or np.linalg.norm((flat - middle) * scale + centre - landmarks, axis=1).max() > POORLY_FITTED * scale:
        return None
    return (turned - middle) * scale + centre  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
