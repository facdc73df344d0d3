"""How much faster a list of photos is than its photos one by one: ``python benchmarks/batching.py``.

Both ways read the same photos from files, find the faces and recognise them; the photos are the examples, each at
several sizes and mirrored. The two ways take turns, and the best round of each counts.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import islice, product
from math import ceil
from pathlib import Path

from PIL import Image, ImageOps

from regionfer import Recognizer

EXAMPLES = Path(__file__).parent.parent / "examples"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="model file; the shipped one if not given")
    parser.add_argument("--photos", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="CPU threads; one a core if not given")
    arguments = parser.parse_args()
    recognizer = Recognizer(arguments.model, threads=arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(Path(folder), arguments.photos)
        faces = sum(map(len, recognizer.recognize(paths[:4])))  # also warms up
        print(f"{len(paths)} photos, {faces} faces in the first four; best of {arguments.rounds} rounds")
        alone, together = [], []
        for _ in range(arguments.rounds):
            alone.append(seconds(lambda: [recognizer.recognize(path) for path in paths]))
            together.append(seconds(lambda: recognizer.recognize(paths)))
    print(f"one by one  {min(alone):6.2f} s  {len(paths) / min(alone):6.1f} photos/s")
    print(f"as a list   {min(together):6.2f} s  {len(paths) / min(together):6.1f} photos/s")
    print(f"ratio       {min(alone) / min(together):6.2f}")


def make_photos(folder: Path, count: int) -> list[str]:
    """Write the examples at several sizes, each also mirrored, as ``count`` JPEG files."""
    examples = sorted(EXAMPLES.glob("*.jpg"))
    sizes = ceil(count / len(examples) / 2)
    variants = product((1 - 0.4 * step / sizes for step in range(sizes)), (False, True), examples)
    paths = []
    for number, (scale, mirrored, example) in enumerate(islice(variants, count)):
        with Image.open(example) as photo:
            scaled = ImageOps.scale(photo.convert("RGB"), scale)
            paths.append(str(folder / f"{number:03}.jpg"))
            (ImageOps.mirror(scaled) if mirrored else scaled).save(paths[-1], quality=92)
    return paths


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
