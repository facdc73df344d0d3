"""FER's answers to the job of benchmarks/peers/compare.py: ``answer.py JOB.json RESULT.json [mtcnn]``."""

import json
import os
import sys
import time
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import cv2
import torchvision  # noqa: F401  (before FER's TensorFlow: the other way round torch 2.14 crashes beside TensorFlow 2.21)
from fer.fer import FER


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    started = time.perf_counter()
    # Its defaults: Haar cascade, quantised TensorFlow Lite network.
    finder = FER(mtcnn=sys.argv[3:] == ["mtcnn"])
    found = [len(finder.detect_emotions(cv2.imread(path))) for path in job["photos"]]
    seconds = []
    loaded = time.perf_counter() - started
    for _ in range(job["rounds"]):
        start = time.perf_counter()
        for path in job["photos"]:
            finder.detect_emotions(cv2.imread(path))
        seconds.append(time.perf_counter() - start)
    # A face crop is what its network was trained on, without the rim that it adds to the box of a detector.
    classifier = FER(offsets=(0, 0))
    answers = []
    for path in job["faces"]:
        face = cv2.imread(path)
        whole = [(0, 0, face.shape[1], face.shape[0])]
        answers.append(classifier.detect_emotions(face, face_rectangles=whole)[0]["emotions"])
    result = {"start": loaded, "seconds": seconds, "found": sum(found), "answers": answers}
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
