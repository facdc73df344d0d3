"""Images a second and peak memory of ``regionfer predict`` on a folder: ``python benchmarks/predict.py``.

The photos are the examples at many sizes, 300 to 1,280 pixels wide, also mirrored. The command runs in a process of
its own, so its start and the loading of the models count.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from batching import make_photos, seconds

COMMAND = (sys.executable, "-m", "regionfer", "predict")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=500, help="how many; 500 if not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder), arguments.photos)
        table = str(Path(folder, "faces.csv"))
        taken = seconds(lambda: subprocess.run([*COMMAND, folder, "--output", table], check=True))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # Linux counts in KiB
    print(f"{len(photos)} photos in {taken:.1f} s: {len(photos) / taken:.1f} photos/s, peak memory {peak:.0f} MiB")


if __name__ == "__main__":
    main()
