"""Answers of regionfer to the job of compare.py: ``regionfer_answer.py JOB.json RESULT.json [MODEL]``."""

import json
import sys
import time
from pathlib import Path

from regionfer import Recognizer


def main() -> None:
    """Do the job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    started = time.perf_counter()
    recognizer = Recognizer(*sys.argv[3:4])
    found = sum(map(len, recognizer.recognize(job["photos"])))
    loaded = time.perf_counter() - started
    seconds = []
    for _ in range(job["rounds"]):
        start = time.perf_counter()
        recognizer.recognize(job["photos"])
        seconds.append(time.perf_counter() - start)
    answers = []
    if job["faces"]:
        result = recognizer.recognize_crops(job["faces"])
        answers = [dict(zip(result.labels, row, strict=True)) for row in result.probabilities.tolist()]
    result = {"start": loaded, "seconds": seconds, "found": found, "answers": answers}
    Path(sys.argv[2]).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
