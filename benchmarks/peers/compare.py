"""The whole of ``predict`` beside FER and face-api.js: ``python benchmarks/peers/compare.py [--data FERPLUS]``.

``benchmarks/peers/setup.sh`` makes the peers' environments. Each library runs in a process of its own, which loads it,
goes through the photos once to warm up, and then the given number of rounds; the libraries take turns. The photos are
the examples at several sizes, also mirrored, as files. With --data each also classifies the faces of FERPlus Valid as
they come, those of the peers' seven classes: faces of contempt are left out, and where a library knows contempt, its
largest of the other seven counts.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from regionfer.datasets import Manifest, load_faces, read_dataset
from regionfer.metrics import wilson_interval

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from batching import make_photos  # noqa: E402 (a script beside this folder)

SEVEN = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
THEIR_NAMES = {
    "happy": "happiness",
    "surprised": "surprise",
    "sad": "sadness",
    "angry": "anger",
    "disgusted": "disgust",
    "fearful": "fear",
}
OURS = "regionfer"
SCRIPT = "answer.mjs"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, default=HERE / ".environments", help="where setup.sh made them")
    parser.add_argument("--data", help="folder of FERPlus, for accuracy")
    parser.add_argument("--model", action="append", default=[], help="also this model file; may be repeated")
    parser.add_argument("--photos", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2, help="rounds a turn")
    parser.add_argument("--turns", type=int, default=2)
    arguments = parser.parse_args()
    libraries = _libraries(arguments.environments, arguments.model)
    for name, library in libraries.items():
        if shutil.which(library.command[0]) is None:
            parser.error(f"{name}: no {library.command[0]}; benchmarks/peers/setup.sh makes the environments")
    modules = arguments.environments / "face-api"
    if not (modules / "node_modules").is_dir():
        parser.error(f"{modules}: no node_modules; benchmarks/peers/setup.sh makes the environments")
    shutil.copy(HERE / "face-api" / SCRIPT, modules)  # Node looks for modules beside the script
    valid = None if arguments.data is None else _seven_classes(arguments.data)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photos = make_photos(folder, arguments.photos)
        faces = [] if valid is None else _write_faces(valid, folder)
        print(f"{len(photos)} photos, {arguments.turns} turns of {arguments.rounds} rounds; all libraries from files")
        results = _run(libraries, folder, photos, faces, arguments.rounds, arguments.turns)
    _print_speed(results, len(photos))
    if valid is not None:
        _print_accuracy(results, valid)


class Library(NamedTuple):
    """How a library is run: ``command JOB.json RESULT.json extra``."""

    command: list[str]
    extra: list[str]


def _libraries(environments: Path, models: list[str]) -> dict[str, Library]:
    ours = [sys.executable, str(HERE / "regionfer_answer.py")]
    fer = [str(environments / "fer/bin/python"), str(HERE / "fer/answer.py")]
    return {
        OURS: Library(ours, []),
        **{f"{OURS}, {model}": Library(ours, [model]) for model in models},
        "FER, Haar cascade": Library(fer, []),
        "FER, mtcnn=True": Library(fer, ["mtcnn"]),
        "face-api.js, WASM": Library(["node", str(environments / "face-api" / SCRIPT)], []),
    }


def _seven_classes(root: str) -> Manifest:
    manifest = read_dataset("ferplus", root).split("valid")
    return manifest.select(np.isin(manifest.labels, [manifest.classes.index(name) for name in SEVEN]))


def _write_faces(valid: Manifest, folder: Path) -> list[str]:
    paths = [str(folder / f"face{row:05}.png") for row in range(len(valid))]
    for path, face in zip(paths, load_faces(valid, 48), strict=True):
        cv2.imwrite(path, face)
    return paths


def _run(
    libraries: dict[str, Library], folder: Path, photos: list[str], faces: list[str], rounds: int, turns: int
) -> dict[str, dict[str, Any]]:
    """What each library wrote, with the seconds of all its rounds."""
    results: dict[str, dict[str, Any]] = {}
    job, answer = folder / "job.json", folder / "answer.json"
    for turn in range(turns):
        for name, (command, extra) in libraries.items():
            job.write_text(json.dumps({"photos": photos, "rounds": rounds, "faces": [] if turn else faces}))
            subprocess.run([*command, str(job), str(answer), *extra], check=True, stdout=subprocess.DEVNULL)
            result = json.loads(answer.read_text())
            results.setdefault(name, result | {"seconds": []})["seconds"] += result["seconds"]
    return results


def _print_speed(results: dict[str, dict[str, Any]], photos: int) -> None:
    ours = statistics.median(results[OURS]["seconds"])
    print(f"{'':28} photos/s   times as long   faces found   first round took")
    for name, result in results.items():
        taken = statistics.median(result["seconds"])
        print(f"{name:28} {photos / taken:8.1f} {taken / ours:15.2f} {result['found']:13} {result['start']:13.1f} s")


def _print_accuracy(results: dict[str, dict[str, Any]], valid: Manifest) -> None:
    truth = np.array([valid.classes[label] for label in valid.labels])
    print(f"\nFERPlus Valid, majority, faces as given, seven classes, n = {len(truth):,}")
    for name, result in results.items():
        right = np.array([_answer(scores) for scores in result["answers"]]) == truth
        low, high = wilson_interval(int(right.sum()), len(right))
        recall = np.mean([right[truth == label].mean() for label in SEVEN])
        print(f"{name:28} accuracy {right.mean():.2%} ({low:.1%} to {high:.1%}), mean recall {recall:.1%}")


def _answer(scores: dict[str, float]) -> str:
    """The surest of the seven, by our name."""
    named = {THEIR_NAMES.get(name, name): score for name, score in scores.items()}
    return max(SEVEN, key=named.__getitem__)


if __name__ == "__main__":
    main()
