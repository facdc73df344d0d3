"""Expression corpora, one file each; all of them give a `Manifest`."""

from regionfer.datasets.ferplus import read_ferplus
from regionfer.datasets.findings import Finding
from regionfer.datasets.lists import Subset, read_subset
from regionfer.datasets.manifest import Dropped, Manifest, load_faces, missing_images

__all__ = [
    "Dropped",
    "Finding",
    "Manifest",
    "Subset",
    "load_faces",
    "missing_images",
    "read_ferplus",
    "read_subset",
]
