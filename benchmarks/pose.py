"""How well a network tells head pose, by checks of which the answer is known.

``python benchmarks/pose.py DATA/FER2013Valid pose.csv [MODEL.onnx ...]`` prints, for each model file with an output
``pose`` and for the pose of MTCNN's five landmarks (a model looks again, as `Recognizer` does, at faces that it finds
rolled, turned upright; ``--one-look``: only once),

- mirror: by how many degrees the answer to a mirrored face differs from the mirrored answer;
- turned: by how many it differs from the answer turned alike, when the picture is turned in its plane;
- teacher: how far it is from the labels in pose.csv (scripts/label_pose), of faces that it was not taught with;
- made heads: how far it is from the truth on a 3D head drawn at known angles, with the faces of two photos on it;
- made, 20 people: the same with frontal faces of the folder on it, which are more people than two.

Mean, median and 90th percentile, degrees: of yaw, pitch and roll, and against labels and truth of the turn as a whole,
the least that brings one pose to the other. Near a profile, pitch and roll may be far off each while the turn is not.

``--mesh facemesh.json`` adds Face Mesh itself, which made the labels.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from made_head import Head, draw, load_heads, with_skull
from numpy.typing import NDArray

from regionfer import ExpressionModel
from regionfer.datasets.manifest import resize_face
from regionfer.faces import MTCNN, head_pose
from regionfer.faces.pose import rotation
from regionfer.metrics import roc_auc
from regionfer.onnx_model import Classifier
from regionfer.upright import look_at

Faces = NDArray[np.uint8]  # (n, S, S, 3) RGB
Poses = NDArray[np.float64]  # (n, 3) yaw pitch roll, degrees; NaN where there is no answer
Estimator = Callable[[Faces], Poses]

LABEL_POSE = Path(__file__).parents[1] / "scripts" / "label_pose"
AXES = ("yaw", "pitch", "roll")
COLUMNS = (*AXES, "whole")
MIRROR = np.array([-1, 1, -1])
TURNS = (-30, -20, -10, 10, 20, 30)  # degrees, clockwise as seen
BINS = ((0, 30), (30, 45), (45, 60), (60, 91))  # degrees of |yaw|
DRAWN_BINS = ((0, 30), (30, 45), (45, 60), (60, 75), (75, 91))
ASIDE = 45  # degrees of yaw beyond which faces are checked by themselves, too
TRUSTED = 0.5  # least confidence of a label that counts
SURE_YAWS, SURE_PITCHES = range(-75, 76, 15), (-30, 0, 30)  # of the made heads
MANY_YAWS = (-75, -60, -45, -30, 0, 30, 45, 60, 75)  # of the heads of people
ENLARGED = 3  # times, for MTCNN, which wants larger faces


class Labelled(NamedTuple):
    """Faces, and what the teacher says of them."""

    faces: Faces
    poses: Poses


def main() -> None:
    """Run all checks on all estimators."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="face crops of one split")
    parser.add_argument("labels", type=Path, help="pose.csv")
    parser.add_argument("models", nargs="*", help="model files with an output 'pose', or those that ship by name")
    parser.add_argument("--split", default="valid", help="rows of pose.csv that are meant")
    parser.add_argument(
        "--faces",
        type=int,
        default=500,
        help="how many faces are drawn; half of them turned",
    )
    parser.add_argument("--people", type=int, default=20, help="frontal faces that are put on the made head")
    parser.add_argument("--one-look", action="store_true", help="let models see each face once, however rolled")
    parser.add_argument("--mesh", type=Path, help="facemesh.json: check Face Mesh too")
    arguments = parser.parse_args()
    estimators: dict[str, Estimator] = {
        path: of_model(load_model(path), upright=not arguments.one_look) for path in arguments.models
    }
    estimators["five landmarks"] = of_landmarks(MTCNN())
    if arguments.mesh:
        estimators["Face Mesh"] = of_mesh(arguments.mesh)
    labelled = read_labelled(arguments.folder, arguments.labels, arguments.split, arguments.faces)
    drawn = {"made heads": made_faces(load_heads().values(), SURE_YAWS)}
    if arguments.people:
        people = heads_of_people(arguments.folder, arguments.labels, arguments.split, arguments.people)
        drawn[f"made, {len(people)} people"] = made_faces(people, MANY_YAWS)
    for name, estimate in estimators.items():
        print(f"\n{name}, {len(labelled.faces):,} faces of {arguments.folder.name}")
        print("\n".join(report(estimate, labelled, drawn)))


def report(estimate: Estimator, labelled: Labelled, drawn: Mapping[str, Labelled]) -> list[str]:
    """All checks of one estimator, as lines."""
    poses, aside = estimate(labelled.faces), np.abs(labelled.poses[:, 0]) > ASIDE
    lines = [f"  {'no answer':24} {np.isnan(poses).any(axis=1).mean():.1%}"]
    checks = {"mirror": mirror_errors(poses, estimate(mirrored(labelled.faces)))}
    for turn in TURNS:
        checks[f"turned by {turn}"] = turn_errors(poses, estimate(turned(labelled.faces, turn)), turn)
    for name, errors in checks.items():
        lines.append(spread(name, errors))
        if aside.any():
            lines.append(spread(f"{name}, |yaw| > {ASIDE}", errors[aside]))
    lines += teacher_lines(poses, labelled.poses)
    for name, made in drawn.items():
        answers = estimate(made.faces)
        lines.append(distances(name, answers, made.poses))
        lines += by_yaw(name, answers, made.poses, DRAWN_BINS)
    return lines


def teacher_lines(poses: Poses, labels: Poses) -> list[str]:
    """Errors against labels, and how well |yaw| sorts the turned from the others; no answer counts as frontal."""
    lines = [distances("teacher", poses, labels), *by_yaw("teacher", poses, labels)]
    scores = np.nan_to_num(np.abs(poses[:, 0]))
    for limit in (30, 45):
        is_turned = np.abs(labels[:, 0]) > limit
        if 0 < is_turned.sum() < len(is_turned):
            lines.append(f"  {f'|yaw| > {limit}':24} AUC {roc_auc(is_turned, scores):.3f}, n = {is_turned.sum()}")
    return lines


def by_yaw(name: str, poses: Poses, truth: Poses, bins: Sequence[tuple[int, int]] = BINS) -> list[str]:
    """A line a bin of the true |yaw|."""
    yaws = np.abs(truth[:, 0])
    chosen = {(low, high): (yaws >= low) & (yaws < high) for low, high in bins}
    return [
        distances(f"{name}, yaw {low}-{high - (high == 91)}", poses[which], truth[which])
        for (low, high), which in chosen.items()
        if which.any()
    ]


def distances(name: str, poses: Poses, truth: Poses) -> str:
    """How far poses are from the truth, by axis and as a whole."""
    return spread(name, np.column_stack([_differences(poses, truth), turns_between(poses, truth)]))


def turns_between(poses: Poses, others: Poses) -> NDArray[np.float64]:
    """The least turn from each pose (n, 3) to another, (n,) degrees; NaN where one is unknown.

    >>> turns_between(np.array([[90.0, 20, 0], [0, 0, 10]]), np.array([[90.0, 0, -20], [0, 0, 0]])).round(3).tolist()
    [0.0, 10.0]
    """
    traces = np.einsum("nij,nij->n", rotation(np.radians(poses)), rotation(np.radians(others)))
    return np.degrees(np.arccos(((traces - 1) / 2).clip(-1, 1)))  # type: ignore[no-any-return]


def spread(name: str, errors: Poses) -> str:
    """Mean, median and 90th percentile of |errors| (n, 3 or 4) of those with an answer, degrees; whole is fourth."""
    answered = np.abs(errors[~np.isnan(errors).any(axis=1)])
    if not len(answered):
        return f"  {name:24} no answer"
    parts = zip(COLUMNS, answered.mean(0), np.median(answered, 0), np.percentile(answered, 90, axis=0), strict=False)
    columns = "   ".join(f"{axis} {mean:4.1f} {median:4.1f} {high:5.1f}" for axis, mean, median, high in parts)
    return f"  {name:24} {columns}   n = {len(answered)}"


def mirrored(faces: Faces) -> Faces:
    """Faces seen in a mirror."""
    return np.ascontiguousarray(faces[:, :, ::-1])


def turned(faces: Faces, degrees: float) -> Faces:
    """Faces turned clockwise as seen, around their middle; beyond the edge it goes on."""
    side = faces.shape[1]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -degrees, 1.0)
    return np.stack(
        [cv2.warpAffine(f, matrix, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE) for f in faces]
    )


def mirror_errors(poses: Poses, of_mirrored: Poses) -> Poses:
    """What is left of the answers to mirrored faces less the mirrored answers; 0 where an estimator is consistent."""
    return _differences(of_mirrored, poses * MIRROR)


def turn_errors(poses: Poses, after: Poses, degrees: float) -> Poses:
    """What is left of the answers to turned faces less the turned answers: roll follows, yaw and pitch stay."""
    return _differences(after, poses + np.array([0, 0, degrees]))


def _differences(poses: Poses, others: Poses) -> Poses:
    """Poses less others, of each axis; rolls of -179 and 179 degrees are 2 apart."""
    errors = poses - others
    errors[:, 2] = (errors[:, 2] + 180) % 360 - 180
    return errors


def made_faces(heads: Iterable[Head], yaws: Iterable[int]) -> Labelled:
    """Made heads, each at all angles."""
    angles = [(yaw, pitch, 0.0) for yaw in yaws for pitch in SURE_PITCHES]
    faces = [draw(head, *angle) for head in heads for angle in angles]
    return Labelled(np.stack(faces), np.array(angles * (len(faces) // len(angles)), dtype=np.float64))


def heads_of_people(folder: Path, table: Path, split: str, count: int) -> list[Head]:
    """The mean head with frontal faces of a folder on it, at random of those that scripts/label_pose can fit."""
    sys.path.append(str(LABEL_POSE))
    from turn_faces import HEAD, MeanHead, fitted, read_sources

    sources = read_sources(table, split)
    chosen = [sources[i] for i in np.random.default_rng(0).permutation(len(sources))]
    points = MeanHead.load(HEAD).points
    heads = [with_skull(points, places, photo) for photo, places, _ in islice(fitted(chosen, folder, points), count)]
    if not heads:
        raise SystemExit(f"{folder}: expected frontal faces that the mesh fits, found none; leave out with --people 0")
    return heads


def read_labelled(folder: Path, table: Path, split: str, count: int) -> Labelled:
    """Faces at random of those that pose.csv labels with confidence; half of them turned by more than 30 degrees.

    Turned faces are rare: of so few as a plain draw holds, errors and areas under the curve would be mostly chance.
    """
    with table.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r["split"] == split and float(r["confidence"]) >= TRUSTED]
    if not rows:
        raise SystemExit(f"{table}: expected rows of split {split!r} with a confidence of {TRUSTED}, found none")
    rng = np.random.default_rng(0)
    rows = [rows[i] for i in rng.permutation(len(rows))]
    groups = [[row for row in rows if (abs(float(row["yaw"])) > 30) == is_turned] for is_turned in (True, False)]
    some = groups[0][: count // 2]
    chosen = some + groups[1][: count - len(some)]
    return Labelled(
        np.stack([_read(folder / row["name"]) for row in chosen]),
        np.array([[float(row[axis]) for axis in AXES] for row in chosen]),
    )


def _read(path: Path) -> Faces:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise SystemExit(f"{path}: named in the labels, but no image is there")
    return image  # type: ignore[return-value]


def load_model(path: str) -> Classifier:
    """A model that tells the pose, from a file or by the name of one that ships."""
    model = ExpressionModel.load(path, threads=1)
    if "pose" not in model.heads:
        raise SystemExit(
            f"{path}: expected a model with an output 'pose', found {', '.join(model.heads) or 'no heads'}"
        )
    return model


def of_model(model: Classifier, *, upright: bool = True) -> Estimator:
    """The pose that a model tells, of rolled faces by another look unless not ``upright``."""

    def estimate(faces: Faces) -> Poses:
        sized = _resized(faces, model.card.face_size)
        return np.asarray(look_at(model, sized, upright=upright).pose, dtype=np.float64)

    return estimate


def of_landmarks(detector: MTCNN) -> Estimator:
    """The pose of the five landmarks of the surest face."""

    def estimate(faces: Faces) -> Poses:
        poses = np.full((len(faces), 3), np.nan)
        for i, face in enumerate(_resized(faces, ENLARGED * faces.shape[1])):
            found = detector.detect(face)
            if len(found.boxes):
                poses[i] = head_pose(found.landmarks[:1])[0]
        return poses

    return estimate


def of_mesh(path: Path) -> Estimator:
    """Face Mesh, as scripts/label_pose uses it; an answer for every face."""
    sys.path.append(str(LABEL_POSE))
    from face_mesh import FaceMesh
    from label_pose import HEAD, label, stack
    from mesh_pose import MeanHead
    from meshes import see_faces

    mesh, head = FaceMesh(path), MeanHead.load(HEAD)
    return lambda faces: label(dict(stack(see_faces(mesh, head, list(faces[..., 0])))), head).pose


def _resized(faces: Faces, side: int) -> Faces:
    return np.stack([resize_face(face, side) for face in faces])


if __name__ == "__main__":
    main()
