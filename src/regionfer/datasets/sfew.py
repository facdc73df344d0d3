"""SFEW 2.0 (Dhall et al., 2011 and ICMI 2015): 1,766 film stills with seven expressions.

``Train``, ``Val`` and, where its labels were given out, ``Test``, each with a folder a class (``Angry``, ``Disgust``,
``Fear``, ``Happy``, ``Neutral``, ``Sad``, ``Surprise``) of PNG files. The authors' aligned faces, of those that they
could align, come in archives that are unpacked in several ways; all in use are found, such as
``Train/Train_Aligned_Faces/Happy`` and ``Val_Aligned_Faces_new/Val_Aligned_Faces/Happy``.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from regionfer.datasets.codes import SEVEN
from regionfer.datasets.findings import Finding
from regionfer.datasets.layout import choose_splits, folder_names, image_names, relative, wrong_folder
from regionfer.datasets.manifest import Manifest, one_hot
from regionfer.errors import DatasetError
from regionfer.labels import canonical_label

FOLDERS = {"train": "Train", "valid": "Val", "test": "Test"}


def read_sfew(
    root: str | Path,
    *,
    photos: bool = False,
    splits: Collection[str] | None = None,
) -> Manifest:
    """Read SFEW 2.0.

    Args:
        root: the folder with ``Train`` and ``Val``, or with the unpacked archives of aligned faces.
        photos: the stills, in which faces have to be found, not the authors' aligned faces.
        splits: only these, of "train", "valid" and "test".

    Raises:
        DatasetError: the folder is not SFEW, a class is unknown, or a split is missing.
    """
    root = Path(root)
    images = "original" if photos else "aligned"
    found = {split: folder for split in FOLDERS if (folder := _find(root, split, images)) is not None}
    if not found:
        place = "Train_Aligned_Faces" if images == "aligned" else "Train"
        other = "original" if images == "aligned" else "aligned"
        hint = f" (there are {other} images: choose those)" if any(_find(root, s, other) for s in FOLDERS) else ""
        raise wrong_folder(root, f"SFEW 2.0, {images} images", f"{place}/Angry/*.png and so on{hint}")
    names: list[str] = []
    labels: list[int] = []
    rows: list[str] = []
    unlabelled = [] if "test" in found else list(_unlabelled_test(root))
    if unlabelled and splits is not None and "test" in splits:
        raise DatasetError(f"{root}: {unlabelled[0].text}; leave the split test out")
    for split, folder in choose_splits(root, "SFEW 2.0", found, splits).items():
        for name, label in _images(root, folder):
            names.append(name)
            labels.append(label)
            rows.append(split)
    numbers = np.array(labels, dtype=np.int64)
    return Manifest(
        dataset="SFEW 2.0",
        protocol=f"{images} images",
        root=root,
        names=np.array(names, dtype=np.str_),
        labels=numbers,
        targets=one_hot(numbers, len(SEVEN)),
        splits=np.array(rows, dtype=np.str_),
        classes=SEVEN,
        crops=not photos,
        findings=tuple(unlabelled if splits is None else ()),
    )


def _unlabelled_test(root: Path) -> Iterator[Finding]:
    """What is there of the test images, which the authors gave out without labels."""
    folders = [root / place for place in _places("test", "original") + _places("test", "aligned")]
    counts = {relative(folder, root): len(image_names(folder)) for folder in folders}
    if there := {place: count for place, count in counts.items() if count}:
        where = ", ".join(f"{count:,} in {place}/" for place, count in there.items())
        text = f"test: images without labels ({where}), as SFEW's authors give them out; they are not counted"
        yield Finding("no labels", text, "note", count=sum(there.values()))


def _find(root: Path, split: str, images: str) -> Path | None:
    """The folder that has a split's folders of classes."""
    for place in _places(split, images):
        if any(_class(folder) for folder in folder_names(root / place)):
            return root / place
    return None


def _places(split: str, images: str) -> list[str]:
    """Where a split may be below the root."""
    name = FOLDERS[split]
    if images == "original":
        return [name]
    aligned = f"{name}_Aligned_Faces"
    archives = (aligned, f"{aligned}_new/{aligned}", f"{aligned}_new", f"{aligned}/{aligned}")
    return [f"{parent}{archive}" for parent in (f"{name}/", "") for archive in archives]


def _images(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    for name in folder_names(folder):
        images = image_names(folder / name)
        label = _class(name)
        if label is None:
            if images:
                raise DatasetError(
                    f"{folder / name}: expected a folder for one of {', '.join(SEVEN)}; rename or move it"
                )
            continue
        place = relative(folder / name, root)
        yield from ((f"{place}/{image}", SEVEN.index(label)) for image in images)


def _class(folder: str) -> str | None:
    try:
        label = canonical_label(folder)
    except ValueError:
        return None
    return label if label in SEVEN else None
