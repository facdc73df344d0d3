"""How well a model tells covered and turned faces.

    python scripts/check_attributes.py MODEL.onnx ferplus/ recipes/ferplus-seen.csv pose.csv

Covered: faces of FERPlus Valid that somebody looked at (columns name and kind). Turned: the same split against the
table of poses that scripts/label_pose wrote. Prints areas under the ROC curve with 95 % intervals, how many faces
are called covered, and the share of wrong answers among the surest 80 and 90 % on clear, covered, frontal and turned
faces. Then what it says of 500 of the faces with little detail left, and of pictures that show no face. Give a model
that learned from none of these faces; of one that did, only "covered" on recipes/ferplus-seen-check.csv is fair.
``--lists DIR`` also writes those groups as lists that `regionfer evaluate --subset` reads, whose report draws risk and
calibration of each.
"""

import argparse
import csv
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from regionfer.datasets import load_faces, read_dataset
from regionfer.metrics import accuracy, risk_at_coverage, roc_auc, wilson_interval
from regionfer.occluders import draw_cover
from regionfer.onnx_model import ExpressionModel, ModelOutput
from regionfer.results import MAX_COVERED
from regionfer.upright import look_at


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data")
    parser.add_argument("seen", type=Path)
    parser.add_argument("pose", type=Path)
    parser.add_argument("--lists", type=Path, help="folder to write lists of these groups to")
    arguments = parser.parse_args()
    model = ExpressionModel.load(arguments.model)
    if not {"occlusion", "pose"} <= set(model.heads):
        parser.error(f"{arguments.model}: has no outputs for what covers a face and how it is turned")
    if "threshold" not in model.card.uncertainty:
        parser.error(f"{arguments.model}: its card has no threshold; export it with --data")
    manifest = read_dataset("ferplus", arguments.data).split("valid")
    names = manifest.names.tolist()
    kinds = [row.get("kind", "") for row in rows_of(arguments.seen, names)]
    poses = np.array(
        [[float(row.get(angle, "nan")) for angle in ("yaw", "pitch", "roll")] for row in rows_of(arguments.pose, names)]
    )
    known = np.isfinite(poses).all(1)
    for table, count in ((arguments.seen, sum(kind != "" for kind in kinds)), (arguments.pose, known.sum())):
        if not count:
            parser.error(f"{table}: expected faces of FERPlus Valid, found none of its {len(names):,}")
        print(f"{table}: {count:,} of {len(names):,} faces")
    faces = load_faces(manifest, model.card.face_size)
    output = answers(model, faces)
    looked, covered = np.array([kind != "" for kind in kinds]), np.array([kind not in ("", "none") for kind in kinds])
    print_auc("covered", covered[looked], output.occlusion[looked, 0])
    for kind in ("upper", "lower", "sides", "glasses"):
        some = np.array([each in (kind, "none") for each in kinds])
        print_auc(f"covered: {kind}", covered[some], output.occlusion[some, 0])
    print_called(output.occlusion[:, 0], covered, looked & ~covered, model.card.occlusion_threshold)
    yaw, answer = np.abs(poses[:, 0]), np.abs(output.pose[:, 0])
    for degrees in (30, 45):
        print_auc(f"yaw above {degrees}", yaw[known] > degrees, answer[known])
    error = np.abs(output.pose - poses)
    for low, high in ((0, 15), (15, 30), (30, 45), (45, 90)):
        some = (yaw >= low) & (yaw < high)
        print(f"error in degrees, yaw {low} to {high} (n = {some.sum():,}): {error[some].mean(0).round(1)}")
    correct = output.probabilities.argmax(1) == manifest.labels
    confidence = output.probabilities.max(1)
    groups = {"all": np.ones_like(correct), "seen, clear": looked & ~covered, "seen, covered": covered}
    groups |= {"yaw to 30": yaw <= 30, "yaw above 30": yaw > 30, "yaw above 45": yaw > 45}
    for name, some in groups.items():
        low, high = wilson_interval(int(correct[some].sum()), int(some.sum()))
        risks = ", ".join(
            f"{risk_at_coverage(correct[some], confidence[some], share):.1%} wrong at {share:.0%}"
            for share in (0.8, 0.9)
        )
        share = accuracy(manifest.labels[some], output.probabilities[some].argmax(1))
        if arguments.lists is not None and not some.all():
            write_list(arguments.lists / f"{name.replace(',', '').replace(' ', '-')}.csv", manifest.names[some])
        print(f"{name} (n = {some.sum():,}): accuracy {share:.2%} ({low:.1%} to {high:.1%}), {risks}")
    some = slice(0, None, 6)
    print_degraded(model, faces[some], manifest.labels[some])


def print_called(
    probability: NDArray[np.float32], covered: NDArray[np.bool_], clear: NDArray[np.bool_], threshold: float
) -> None:
    """How many covered, clear and other faces are called covered, from a half and from the card's threshold on."""
    for least in dict.fromkeys((0.5, threshold)):
        called = probability >= least
        shares = []
        for name, some in (("covered", covered), ("clear", clear), ("all", np.ones_like(covered))):
            low, high = wilson_interval(int(called[some].sum()), int(some.sum()))
            shares.append(f"{called[some].mean():.1%} of {some.sum():,} {name} ({low:.1%} to {high:.1%})")
        print(f"called covered from a probability of {least:g}: {', '.join(shares)}")


def print_degraded(model: ExpressionModel, faces: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """What a model says of faces with little detail left, and of pictures without a face."""
    for side in (48, 32, 24, 16, 12):
        output = answers(model, shrunk(faces, side))
        right = output.probabilities.argmax(1) == labels
        print_said(f"shrunk to {side} pixels, {right.mean():.1%} right", model, output)
    rng = np.random.default_rng(0)
    print_said("no face", model, answers(model, np.stack([draw_cover(rng, model.card.face_size) for _ in range(500)])))


def answers(model: ExpressionModel, faces: NDArray[np.uint8]) -> ModelOutput:
    """What a model says of faces, of rolled ones when it has looked again; the pose in the faces as they are."""
    look = look_at(model, faces)
    return look.output._replace(pose=look.pose)


def shrunk(faces: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Faces (n, S, S, 3) with no more detail than so many pixels hold."""
    size = faces.shape[1:3]
    small = (cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA) for face in faces)
    return np.stack([cv2.resize(face, size) for face in small]).astype(np.uint8)


def print_said(name: str, model: ExpressionModel, output: ModelOutput) -> None:
    """One line: how many of some faces are called covered, how many wholly so, and how many are answered."""
    assert output.occlusion is not None
    probability, fraction = output.occlusion[:, 0], output.occlusion[:, 1]
    whole = fraction > MAX_COVERED
    sure = (output.probabilities.max(1) >= model.card.uncertainty["threshold"]) & ~whole
    covered = (probability >= model.card.occlusion_threshold).mean()
    said = f"covered {covered:.1%}, wholly {whole.mean():.1%}, answered {sure.mean():.1%}"
    print(f"{name} (n = {len(fraction):,}): {said}")


def rows_of(path: Path, names: list[str]) -> list[Mapping[str, str]]:
    """A row of a table for each name; an empty one where it has none."""
    with path.open(newline="", encoding="utf-8") as file:
        table = {PurePosixPath(row["name"]).name: row for row in csv.DictReader(file)}
    return [table.get(PurePosixPath(name).name, {}) for name in names]


def write_list(path: Path, names: NDArray[np.str_]) -> None:
    """A list of images, one column."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["image", *names.tolist()]) + "\n", encoding="utf-8")


def print_auc(name: str, positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> None:
    """One line with the area and its interval."""
    low, high = resampled(lambda rows: roc_auc(positive[rows], scores[rows]), positive)
    print(
        f"{name}: AUC {roc_auc(positive, scores):.3f} ({low:.3f} to {high:.3f}, {positive.sum()} of {len(positive):,})"
    )


def resampled(measure: Callable[[NDArray[np.intp]], float], positive: NDArray[np.bool_]) -> tuple[float, float]:
    """95 % interval by the bootstrap, within positive and negative items."""
    rng = np.random.default_rng(0)
    kinds = np.flatnonzero(positive), np.flatnonzero(~positive)
    values = [measure(np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])) for _ in range(500)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    main()
