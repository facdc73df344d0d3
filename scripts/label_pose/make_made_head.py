"""Write benchmarks/made_head.npz: the head that benchmarks/pose.py draws at known angles.

    python scripts/label_pose/make_made_head.py facemesh.json

The shape is that of mean_head.npz. The skins are photos in examples/, of people who face the camera: where each of its
points lies in them, as Face Mesh sees it.
"""

import argparse
from pathlib import Path

import numpy as np
import windows
from face_mesh import FaceMesh
from label_pose import HEAD
from mesh_pose import MeanHead, mesh_pose
from meshes import reframe
from numpy.typing import NDArray

from regionfer.faces import MTCNN
from regionfer.images import read_image

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "benchmarks" / "made_head.npz"
SKINS = ("astronaut.jpg", "hopper.jpg")
ROUNDS = 3


def main() -> None:
    """Find the face in each photo and write where its points are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="facemesh.json")
    mesh, head = FaceMesh(parser.parse_args().model), MeanHead.load(HEAD)
    places = {name: points_in_photo(mesh, head, read_image(ROOT / "examples" / name)) for name in SKINS}
    np.savez_compressed(TARGET, points=head.points.astype(np.float32), **places)


def points_in_photo(mesh: FaceMesh, head: MeanHead, photo: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Places x y of the 468 points, in pixels of a photo (h, w, 3) with one face that faces the camera, (468, 2)."""
    x1, y1, x2, y2 = MTCNN().detect(photo).boxes[0]
    window = windows.Window((x1 + x2) / 2, (y1 + y2) / 2, windows.AROUND_FACE * (y2 - y1), 0.0)
    for _ in range(ROUNDS):
        cut = windows.cut(photo, window)
        points = mesh(cut[None].astype(np.float32) / 255).points[0]
        matrix = windows.to_image(window)
        placed = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        print("yaw, pitch, roll in the window:", mesh_pose(points[None], head)[0].round(1))
        window = reframe(points, window, head)
    return placed.astype(np.float32)


if __name__ == "__main__":
    main()
