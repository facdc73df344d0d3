"""What becomes of faces turned in their plane, any way: ``python benchmarks/rolled_faces.py DATA/FER2013Valid``.

Of frontal faces (|yaw| to 30 degrees, as the model sees them) and of profiles (beyond 45), drawn at random, each turned
as a whole picture by every multiple of 15 degrees, it prints beside the answers to the faces as they come

- yaw: by how many degrees it moves, mean;
- off: the share whose yaw or roll is off by more than 30 degrees;
- same: the share with the same expression, and its 95 % interval;
- looks: how often the model sees a face, mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pose import load_model, turn_errors, turned

from regionfer.datasets.manifest import resize_face
from regionfer.images import read_image
from regionfer.metrics import wilson_interval
from regionfer.onnx_model import Classifier, ModelOutput
from regionfer.upright import Look, look_at

STEP = 15  # degrees
FRONTAL, PROFILE = 30, 45  # degrees of |yaw|: up to, and beyond
OFF = 30  # degrees


class Counted(Classifier):
    """A model that counts the faces it sees."""

    def __init__(self, model: Classifier) -> None:
        self.card, self.heads, self.needs_landmarks = model.card, model.heads, model.needs_landmarks
        self.model, self.seen = model, 0

    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        self.seen += len(faces)
        return self.model.run(faces, landmarks)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="face crops")
    parser.add_argument("--model", default="default", help="model file; the shipped one if not given")
    parser.add_argument("--faces", type=int, default=140, help="how many of either kind, at most")
    arguments = parser.parse_args()
    model = Counted(load_model(arguments.model))
    for kind, faces in choose(model, read_faces(arguments.folder, model.card.face_size), arguments.faces).items():
        if not len(faces):
            print(f"{kind}: none in {arguments.folder}")
            continue
        model.seen = 0
        upright = look_at(model, faces)
        print(f"{kind}, n = {len(faces)}; as they come {model.seen / len(faces):.2f} looks")
        for degrees in range(STEP, 360, STEP):
            model.seen = 0
            look = look_at(model, turned(faces, degrees))
            print(f"  by {degrees:3}: {compared(upright, look, degrees)}, looks {model.seen / len(faces):.2f}")


def read_faces(folder: Path, side: int) -> NDArray[np.uint8]:
    """All crops of a folder, (n, side, side, 3) RGB.

    Raises:
        ImageError: one cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".png", ".jpg"))
    if not paths:
        raise SystemExit(f"{folder}: expected face crops, .png or .jpg, found none")
    return np.stack([resize_face(read_image(path), side) for path in paths])


def choose(model: Classifier, faces: NDArray[np.uint8], count: int) -> dict[str, NDArray[np.uint8]]:
    """Frontal faces and profiles, by what the model says at one look."""
    pose = look_at(model, faces, upright=False).pose
    assert pose is not None  # `load_model` sees to it
    yaws, rng = np.abs(pose[:, 0]), np.random.default_rng(0)
    kinds = {"frontal": yaws <= FRONTAL, "profiles": yaws > PROFILE}
    return {kind: faces[rng.permutation(np.flatnonzero(fits))[:count]] for kind, fits in kinds.items()}


def compared(upright: Look, look: Look, degrees: float) -> str:
    """What differs from the faces as they come, as text."""
    before, after = upright.pose, look.pose
    assert before is not None
    assert after is not None
    errors = np.abs(turn_errors(before.astype(np.float64), after.astype(np.float64), degrees))
    off = (errors[:, [0, 2]] > OFF).any(axis=1).mean()
    same = look.output.probabilities.argmax(axis=1) == upright.output.probabilities.argmax(axis=1)
    low, high = wilson_interval(int(same.sum()), len(same))
    return f"yaw {errors[:, 0].mean():.1f}, off {off:.1%}, same {same.mean():.1%} ({low:.1%} to {high:.1%})"


if __name__ == "__main__":
    main()
