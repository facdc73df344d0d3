"""Write mean_head.npz: the mean frontal face mesh that pose is measured against, and that benchmarks/pose.py draws.

    python scripts/label_pose/make_mean_head.py facemesh.json DATA/FER2013Train

It is the mean of MediaPipe's Face Mesh over the near-frontal ones among every 20th image of the folder.
"""

import argparse
from pathlib import Path

import numpy as np
import windows
from face_mesh import FaceMesh
from label_pose import HEAD, images_in, read_grey
from mesh_pose import MeanHead, mean_head, mesh_pose
from meshes import FIRST, reframe, run
from numpy.typing import NDArray

EVERY = 20
FRONTAL = 15.0  # degrees of yaw and roll
CLEAR = 0.95
ROUNDS = 3


def main() -> None:
    """See the faces in the whole crop, take a first mean, frame them anew with it, and take the mean again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="facemesh.json")
    parser.add_argument("folder", type=Path, help="face crops")
    arguments = parser.parse_args()
    mesh = FaceMesh(arguments.model)
    images = [read_grey(path) for path in images_in(arguments.folder)[::EVERY]]
    framed = [windows.whole(image, FIRST[-1][2]) for image in images]
    seen = run(mesh, [windows.cut(image, window) for image, window in zip(images, framed, strict=True)])
    head = mean_of_frontal(seen.points[seen.flags > CLEAR])
    framed = [reframe(points, window, head) for points, window in zip(seen.points, framed, strict=True)]
    seen = run(mesh, [windows.cut(image, window) for image, window in zip(images, framed, strict=True)])
    head = mean_of_frontal(seen.points[seen.flags > CLEAR])
    head.save(HEAD)
    print(f"{HEAD}: from {len(images):,} images, {(seen.flags > CLEAR).sum():,} of them clear")


def mean_of_frontal(meshes: NDArray[np.float32]) -> MeanHead:
    """The mean of the near-frontal among n meshes (n, 468, 3)."""
    chosen = meshes
    for _ in range(ROUNDS):
        head = mean_head(chosen)
        pose = mesh_pose(meshes, head)
        chosen = meshes[np.abs(pose[:, [0, 2]]).max(axis=1) < FRONTAL]
    return mean_head(chosen)


if __name__ == "__main__":
    main()
