"""Finding the parts of a corpus below the folder that a user names."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from regionfer.errors import DatasetError
from regionfer.images import IMAGE_SUFFIXES

T = TypeVar("T")


def wrong_folder(root: Path, corpus: str, expected: str) -> DatasetError:
    """The error for a folder that is not the corpus: what was looked for, and what was found."""
    if not root.exists():
        found = "no such folder"
    elif not root.is_dir():
        found = "a file"
    else:
        found = _some(sorted(entry.name + "/" * entry.is_dir() for entry in root.iterdir())) or "an empty folder"
    return DatasetError(f"{root}: expected {corpus}, that is {expected}; found: {found}")


def _some(names: Sequence[str], limit: int = 8) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def first_existing(root: Path, places: Iterable[str]) -> Path | None:
    """The first of some places below a folder that exists."""
    return next((root / place for place in places if (root / place).exists()), None)


def choose_splits(root: Path, corpus: str, found: Mapping[str, T], wanted: Collection[str] | None) -> Mapping[str, T]:
    """Those of the splits found that are wanted; all if ``wanted`` is None.

    Raises:
        DatasetError: a split that is wanted is not there.
    """
    if wanted is None:
        return found
    if missing := [split for split in wanted if split not in found]:
        raise DatasetError(
            f"{root}: {corpus} has no split {' and '.join(missing)} here; found: {', '.join(found) or 'none'}"
        )
    return {split: value for split, value in found.items() if split in wanted}


def image_names(folder: Path) -> list[str]:
    """Names of the images directly in a folder, sorted; none if there is no such folder."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if not entry.name.startswith(".") and Path(entry.name).suffix.lower() in IMAGE_SUFFIXES
        )


def as_stored(folder: Path, names: Sequence[str]) -> list[str]:
    """Names of images as their files in a folder have them: copies in circulation have another suffix or .PNG.

    A name without such a file stays as it is.
    """
    if not folder.is_dir():
        return list(names)
    with os.scandir(folder) as entries:
        files = {entry.name for entry in entries}
    if files.issuperset(names):
        return list(names)
    stems = {Path(name).stem: name for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES}
    return [name if name in files else stems.get(Path(name).stem, name) for name in names]


def folder_names(folder: Path) -> list[str]:
    """Names of the folders directly in a folder, sorted; none if there is no such folder.

    Hidden ones are left out, and those that macOS adds to archives.
    """
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX"))
        )


def relative(path: Path, root: Path) -> str:
    """A path below a folder, with forward slashes, as names in a manifest are; "" for the folder itself."""
    text = path.relative_to(root).as_posix()
    return "" if text == "." else text


def joined(folder: str, name: str) -> str:
    """A name in a manifest, of a folder that may be "".

    >>> joined("", "1.jpg"), joined("Train/Happy", "1.jpg")
    ('1.jpg', 'Train/Happy/1.jpg')
    """
    return f"{folder}/{name}" if folder else name
