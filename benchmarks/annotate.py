"""Faces a second of ``regionfer annotate`` on face crops: ``python benchmarks/annotate.py``.

The crops are the faces of the example photos, aligned, shifted and mirrored, as PNG files of 112 pixels; or those of a
dataset with ``--dataset`` and ``--data``. The command runs in a process of its own, so its start, the loading of the
model and the writing of the table count.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from itertools import islice, product
from pathlib import Path

import numpy as np
from batching import EXAMPLES, cores, seconds
from PIL import Image

from regionfer.annotation import AttributeTable
from regionfer.faces import MTCNN, align_faces
from regionfer.images import read_image

COMMAND = (sys.executable, "-m", "regionfer", "annotate")
SIDE = 112


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faces", type=int, help="how many crops of the examples; 2,000 if not given")
    parser.add_argument("--dataset", help="name of a dataset of crops, instead")
    parser.add_argument("--data", help="its folder")
    parser.add_argument("--split", help="its split; valid if not given")
    parser.add_argument("--model", help="model file; the shipped one if not given")
    arguments = parser.parse_args()
    if (arguments.dataset is None) != (arguments.data is None):
        parser.error("--dataset and --data belong together")
    if arguments.dataset is None and arguments.split is not None:
        parser.error("--split is one of a dataset; give --dataset and --data")
    if arguments.dataset is not None and arguments.faces is not None:
        parser.error("--faces is about the crops of the examples; a dataset is taken whole")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "faces.parquet")
        given = ("--model", arguments.model) if arguments.model else ()
        if arguments.dataset:
            inputs = (arguments.data, "--dataset", arguments.dataset, "--split", arguments.split or "valid")
        else:
            inputs = (str(make_crops(Path(folder, "crops"), arguments.faces or 2000)), "--no-detect")
        taken = seconds(lambda: subprocess.run([*COMMAND, *inputs, "--out", str(table), *given], check=True))
        faces = len(AttributeTable.read(table))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)  # tells what the work costs where other work runs beside it
    busy = used.ru_utime + used.ru_stime
    print(f"{faces} crops in {taken:.1f} s on {cores()} cores: {faces / taken:.1f} faces/s")
    print(f"{1000 * busy / faces:.1f} ms of processor time a face, peak memory {used.ru_maxrss / 1024:.0f} MiB")


def make_crops(folder: Path, count: int) -> Path:
    """Write ``count`` crops of the faces of the examples, no two alike."""
    folder.mkdir()
    detector = MTCNN()
    photos = [read_image(path) for path in sorted(EXAMPLES.glob("*.jpg"))]
    large = np.concatenate([align_faces(photo, detector.detect(photo), SIDE + 32) for photo in photos])
    for number, (y, x, mirrored, face) in enumerate(islice(product(range(32), range(32), (1, -1), large), count)):
        Image.fromarray(face[y : y + SIDE, x : x + SIDE][:, ::mirrored]).save(folder / f"{number:05}.png")
    return folder


if __name__ == "__main__":
    main()
