"""What attention and accuracy do when a known part of each face is covered.

``python benchmarks/covered_faces.py DATA [MODEL.onnx ...]`` covers a half, a band or the middle of every face of a
split with grey and prints, for each model, accuracy with its 95 % interval and the mean share of each region. Of the
model's expressions the dataset's count; models whose regions follow landmarks are not for this.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from regionfer import ExpressionModel
from regionfer.datasets import load_faces, read_dataset
from regionfer.evaluation.answers import match_classes
from regionfer.metrics import accuracy, wilson_interval

COVERS = {
    "nothing": (0.0, 0.0, 0.0, 0.0),
    "left half": (0.0, 0.0, 0.5, 1.0),
    "right half": (0.5, 0.0, 1.0, 1.0),
    "eyes and above": (0.0, 0.0, 1.0, 0.46),
    "mouth and below": (0.0, 0.58, 1.0, 1.0),
    "middle": (0.29, 0.29, 0.71, 0.71),
}
"""What is covered, x1 y1 x2 y2 in 0..1 of the face."""

GREY = 90


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of the dataset")
    parser.add_argument("models", nargs="*", help="model files; the shipped one if none is given")
    parser.add_argument("--dataset", default="ferplus")
    parser.add_argument("--split", default="valid")
    arguments = parser.parse_args()
    manifest = read_dataset(arguments.dataset, arguments.data).split(arguments.split)
    for path in arguments.models or [None]:
        model = ExpressionModel.load(path)
        columns = match_classes(model.card.labels, manifest.classes)
        faces = load_faces(manifest, model.card.face_size)
        print(f"\n{model.card.name} {model.card.version}, {manifest.dataset} {arguments.split}, n = {len(faces):,}")
        print(f"{'covered':16} accuracy, %            " + "".join(f"{name:>15}" for name in model.card.regions.names))
        for name, box in COVERS.items():
            output = model.run(cover(faces, box))
            predicted = output.probabilities[:, columns].argmax(1)
            right = accuracy(manifest.labels, predicted)
            low, high = wilson_interval(round(right * len(faces)), len(faces))
            shares = "".join(f"{share:15.3f}" for share in output.attention.mean(0))
            print(f"{name:16} {right:6.2%} ({low:.1%}-{high:.1%}) {shares}")


def cover(faces: NDArray[np.uint8], box: tuple[float, float, float, float]) -> NDArray[np.uint8]:
    """A copy of (n, S, S, 3) faces with a grey box over each."""
    x1, y1, x2, y2 = (round(edge * faces.shape[1]) for edge in box)
    covered = faces.copy()
    covered[:, y1:y2, x1:x2] = GREY
    return covered


if __name__ == "__main__":
    main()
