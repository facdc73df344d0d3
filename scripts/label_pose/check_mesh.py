"""Compare face_mesh.py with TensorFlow.js itself, on photos in examples/.

cd scripts/label_pose && npm install && python check_mesh.py facemesh.json
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
from face_mesh import POINTS, SIDE, FaceMesh

from regionfer.images import read_image

HERE = Path(__file__).parent
PHOTOS = ("astronaut.jpg", "hopper.jpg", "turned.jpg")


def main() -> None:
    """Print the largest differences of points, in pixels, and of flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="facemesh.json")
    model = parser.parse_args().model.resolve()
    photos = (read_image(HERE.parents[1] / "examples" / name) for name in PHOTOS)
    images = np.stack([cv2.resize(photo, (SIDE, SIDE)) for photo in photos]).astype(np.float32) / 255
    ours = FaceMesh(model)(images)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "images.raw"), Path(folder, "meshes.raw")
        images.tofile(source)
        subprocess.run(["node", HERE / "mesh.mjs", model, source, target], check=True)
        theirs = np.fromfile(target, "<f4")
    points, flags = np.split(theirs, [len(images) * 3 * POINTS])
    print("points:", np.abs(points.reshape(ours.points.shape) - ours.points).max(), "pixels")
    print("flags: ", np.abs(flags - ours.flags).max())


if __name__ == "__main__":
    main()
