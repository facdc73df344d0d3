"""List the images of a split without a pixel-identical copy in another: ``python scripts/list_unseen.py DATA OUT.csv``.

FERPlus has the same picture in several splits. Accuracy on a split is a little too good for it; the list, given to
``regionfer evaluate --subset unseen=OUT.csv``, shows by how much.
"""

import argparse
import csv
import hashlib
from pathlib import Path

from regionfer.datasets import Manifest, load_image, read_dataset


def main() -> None:
    """Write the list, and print how many images it leaves out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder of the dataset")
    parser.add_argument("output", type=Path, help="CSV file to write")
    parser.add_argument("--dataset", default="ferplus")
    parser.add_argument("--split", default="valid")
    parser.add_argument("--seen", default="train", help="the split in which copies are looked for")
    arguments = parser.parse_args()
    manifest = read_dataset(arguments.dataset, arguments.data)
    asked = manifest.split(arguments.split)
    seen = set(digests(manifest.split(arguments.seen)))
    unseen = [name for name, digest in zip(asked.names.tolist(), digests(asked), strict=True) if digest not in seen]
    with arguments.output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image"], *([name] for name in unseen)])
    images = f"{len(unseen):,} of {len(asked):,} images of {arguments.split}"
    print(f"{arguments.output}: {images} are not in {arguments.seen}")


def digests(manifest: Manifest) -> list[bytes]:
    """A digest of the pixels of each image."""
    return [hashlib.sha256(load_image(manifest, row).tobytes()).digest() for row in range(len(manifest))]


if __name__ == "__main__":
    main()
