"""How much faster a list of photos is than its photos one by one: ``python benchmarks/batching.py``.

Both ways read the same photos from files, find the faces and recognise them; the photos are the examples, each at
several sizes and mirrored. The two ways take turns, and the best round of each counts.

The ratio is below twice on two cores, for a reason that no batching changes. With all cores busy the whole time, a
list takes (processor time a photo) / (cores), so the ratio is at most

    cores * (wall time of a photo alone) / (processor time of a photo in a list)

which is printed as "at most" (true of a machine that is otherwise idle; other work lengthens wall times). A photo
alone leaves no core idle for all of its time: OpenCV resizes it and the network reads its faces with all of them, so
its wall time is about 0.85 of its processor time, and two cores give at most about 2 * 0.85 = 1.7 times as many
photos. More would need a photo in a list to cost less work than one alone. It hardly does: of its time, two thirds go
into convolutions whose time a pixel and a window is the same at any batch size (R-Net 54 us a window at 8 as at 32,
the network 5.0 ms a face at 2, 4.9 at 8), as long as the maps stay in the cache. On four cores the same arithmetic
allows 3.4.
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
from regionfer.threads import cores

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
            alone.append(measured(lambda: [recognizer.recognize(path) for path in paths]))
            together.append(measured(lambda: recognizer.recognize(paths)))
    for name, rounds in (("one by one", alone), ("as a list", together)):
        wall, processor = (min(times) for times in zip(*rounds, strict=True))
        per_photo = (
            f"{len(paths) / wall:6.1f} photos/s, {1000 * processor / len(paths):5.1f} ms of processor time a photo"
        )
        print(f"{name:10}  {wall:6.2f} s  {per_photo}")
    used = min(arguments.threads or cores(), cores())
    ratio, bound = min(alone)[0] / min(together)[0], used * min(alone)[0] / min(each[1] for each in together)
    print(f"ratio       {ratio:6.2f}, at most {bound:.2f} on cores: {used}")


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


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of a call, seconds."""
    start, busy = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - busy


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    return measured(work)[0]


if __name__ == "__main__":
    main()
