"""The corpora by name."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regionfer.datasets.affectnet import read_affectnet
from regionfer.datasets.ferplus import read_ferplus
from regionfer.datasets.manifest import Manifest
from regionfer.datasets.own import read_csv, read_folder
from regionfer.datasets.prepared import read_prepared
from regionfer.datasets.rafdb import read_rafdb
from regionfer.datasets.sfew import read_sfew
from regionfer.errors import DatasetError

READERS: Mapping[str, Callable[..., Manifest]] = MappingProxyType(
    {
        "ferplus": read_ferplus,
        "ferplus-votes": partial(read_ferplus, with_divided=True),
        "affectnet-8": partial(read_affectnet, classes=8),
        "affectnet-7": partial(read_affectnet, classes=7),
        "rafdb": read_rafdb,
        "sfew": read_sfew,
        "folder": read_folder,
        "csv": read_csv,
        "prepared": read_prepared,
    }
)
"""The names that commands and recipes use, and the function behind each."""


def read_dataset(name: str, root: str | Path, **options: Any) -> Manifest:
    """Read a corpus.

    Args:
        name: one of ``READERS``.
        root: its folder, or its table.
        options: of its reader, such as ``splits=("valid",)`` (all) or ``photos=True`` (rafdb, sfew, folder, csv).

    Raises:
        DatasetError: the name is not known, the reader has no such option, or the folder is not that corpus.

    >>> read_dataset("fer2013", "data")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    regionfer.errors.DatasetError: unknown dataset 'fer2013'; known: ferplus, ferplus-votes, ...
    """
    if name not in READERS:
        raise DatasetError(f"unknown dataset {name!r}; known: {', '.join(READERS)}")
    reader = READERS[name]
    if unknown := [option for option in options if option not in inspect.signature(reader).parameters]:
        raise DatasetError(f"{name} has no option {', '.join(unknown)}; leave it out")
    return reader(root, **options)
