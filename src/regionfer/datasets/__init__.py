"""Expression corpora, one file each; all of them give a `Manifest`."""

from regionfer.datasets.affectnet import read_affectnet
from regionfer.datasets.ferplus import read_ferplus
from regionfer.datasets.findings import Finding
from regionfer.datasets.lists import Subset, column_subset, read_subset
from regionfer.datasets.manifest import (
    Dropped,
    Manifest,
    ReadableFaces,
    load_faces,
    load_image,
    load_readable_faces,
    missing_images,
)
from regionfer.datasets.own import read_csv, read_folder
from regionfer.datasets.prepared import load_prepared
from regionfer.datasets.rafdb import read_rafdb
from regionfer.datasets.registry import READERS, read_dataset
from regionfer.datasets.sfew import read_sfew

__all__ = [
    "READERS",
    "Dropped",
    "Finding",
    "Manifest",
    "ReadableFaces",
    "Subset",
    "column_subset",
    "load_faces",
    "load_image",
    "load_prepared",
    "load_readable_faces",
    "missing_images",
    "read_affectnet",
    "read_csv",
    "read_dataset",
    "read_ferplus",
    "read_folder",
    "read_rafdb",
    "read_sfew",
    "read_subset",
]
