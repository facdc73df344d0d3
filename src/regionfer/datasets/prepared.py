"""Faces of a corpus that were found, aligned and stored once: a folder that training reads without decoding anything.

=================  ===================================================================================================
``faces.npy``      (n, S, S, 3) uint8 RGB, mapped into memory when it is read
``manifest.npz``   the columns of the manifest: names, face numbers, labels, targets, splits, landmarks, attributes
``prepared.json``  schema version, corpus, protocol, classes, size and how faces were found
``misses.csv``     images that gave no face: image, split, label, reason; and, of damaged ones, what is wrong
=================  ===================================================================================================
"""

import csv
import json
import zipfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.layout import choose_splits, wrong_folder
from regionfer.datasets.manifest import Dropped, Manifest, and_divided
from regionfer.errors import DatasetError

SCHEMA = 1
FACES = "faces.npy"
COLUMNS = "manifest.npz"
CARD = "prepared.json"
MISSES = "misses.csv"

_ATTRIBUTE = "attribute:"


@dataclass(frozen=True)
class PreparedCard:
    """What ``prepared.json`` says.

    Attributes:
        dataset, protocol, root, classes: as in the manifest that was prepared.
        size: side of the faces, pixels.
        settings: how faces were found, and a fingerprint of the rows.
        images: number of images gone through.
        faces: number of faces stored.
        misses: number of images without a face, by reason.
    """

    dataset: str
    protocol: str
    root: str
    classes: tuple[str, ...]
    size: int
    settings: dict[str, Any]
    images: int
    faces: int
    misses: dict[str, int]

    def to_json(self) -> str:
        """The content of the file."""
        return json.dumps({"schema": SCHEMA} | vars(self) | {"classes": list(self.classes)}, indent=2) + "\n"


def read_card(folder: Path) -> PreparedCard | None:
    """The card of a prepared corpus, or None if the folder has none.

    Raises:
        DatasetError: it is of another schema, or damaged.
    """
    path = folder / CARD
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        schema = values.pop("schema")
        if schema != SCHEMA:
            raise DatasetError(
                f"{path}: made by another release (schema {schema}, this one reads {SCHEMA}); prepare the corpus again"
            )
        return PreparedCard(**values | {"classes": tuple(values["classes"])})
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{path}: not what 'regionfer data prepare' writes: {error}; prepare the corpus again"
        ) from error


def load_prepared(folder: str | Path) -> tuple[Manifest, NDArray[np.uint8]]:
    """Open a prepared corpus.

    Returns:
        The manifest of the faces that were found, whose ``pixels`` are the faces; and these faces, (n, S, S, 3) uint8
        RGB, mapped from the disk. Changes to them stay in memory.

    Raises:
        DatasetError: the folder is not one that was prepared, was not finished, or is damaged.
    """
    folder = Path(folder)
    card = read_card(folder)
    if card is None:
        raise wrong_folder(folder, "a prepared corpus", f"{CARD}, {COLUMNS} and {FACES} by 'regionfer data prepare'")
    try:
        faces: NDArray[np.uint8] = np.load(folder / FACES, mmap_mode="c", allow_pickle=False)
        with np.load(folder / COLUMNS, allow_pickle=False) as file:
            columns = {name: file[name] for name in file.files}
        attributes = {n.removeprefix(_ATTRIBUTE): columns.pop(n) for n in list(columns) if n.startswith(_ATTRIBUTE)}
        dropped = Dropped(*(columns.pop(f"dropped_{name}") for name in ("names", "splits", "reasons")))
        manifest = Manifest(
            dataset=card.dataset,
            protocol=card.protocol,
            root=Path(card.root),
            classes=card.classes,
            pixels=faces,
            attributes=MappingProxyType(attributes),
            dropped=dropped,
            misses=_read_misses(folder / MISSES),
            **columns,
        )
    except (OSError, ValueError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{folder}: damaged: {error}; prepare the corpus again") from error
    return manifest, faces


def _read_misses(path: Path) -> Dropped:
    with path.open(encoding="utf-8", newline="") as file:
        return Dropped.of([(row["image"], row["split"], row["reason"]) for row in csv.DictReader(file)])


def read_prepared(root: str | Path, *, splits: Collection[str] | None = None) -> Manifest:
    """The manifest of a prepared corpus, see `load_prepared`.

    Args:
        root: the folder.
        splits: only these; each brings its images of divided votes along.

    Raises:
        DatasetError: as `load_prepared`, or a split is missing.
    """
    manifest, _ = load_prepared(root)
    found = {split: split for split in manifest.split_names()}
    chosen = and_divided(choose_splits(Path(root), manifest.dataset, found, splits))
    if splits is None:
        return manifest
    part = manifest.select(np.isin(manifest.splits, chosen))
    return replace(part, dropped=manifest.dropped.of_splits(chosen), misses=manifest.misses.of_splits(chosen))


def save_columns(path: Path, manifest: Manifest) -> None:
    """Write the columns of a manifest, without its pixels."""
    columns: dict[str, Any] = {
        "names": manifest.names,
        "labels": manifest.labels,
        "targets": manifest.targets,
        "splits": manifest.splits,
        "face_numbers": manifest.face_numbers,
        "dropped_names": manifest.dropped.names,
        "dropped_splits": manifest.dropped.splits,
        "dropped_reasons": manifest.dropped.reasons,
    }
    if manifest.landmarks is not None:
        columns["landmarks"] = manifest.landmarks
    columns |= {_ATTRIBUTE + name: values for name, values in manifest.attributes.items()}
    np.savez(path, **columns)
