"""Which files of a folder are challenge lists, of which corpus, and whether they have the published number of lines."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regionfer.datasets.list_entries import Entry, NameIndex, read_entries
from regionfer.datasets.lists import guess_name
from regionfer.datasets.official import OfficialList, official_list
from regionfer.errors import DatasetError

NAME_FORMS: Mapping[str, str] = MappingProxyType(
    {"FERPlus": r"fer\d{5,8}", "RAF-DB": r"(train|test)_\d{4,5}", "AffectNet": r"[0-9a-f]{56}"}
)
"""How images are named, by corpus, as a regular expression for the whole stem in lower case."""

_SUFFIXES = (".txt", ".csv", ".lst", ".tsv")


@dataclass(frozen=True)
class FoundList:
    """A list found in a folder.

    Attributes:
        path: its file.
        corpus: "FERPlus", "RAF-DB" or "AffectNet".
        subset: what it seems to list, such as "occlusion".
        entries: lines that name an image.
        images: different images among them.
        unreadable: lines of another form.
        official: the published list of that subset, or None.
    """

    path: Path
    corpus: str
    subset: str
    entries: int
    images: int
    unreadable: int
    official: OfficialList | None

    @property
    def as_published(self) -> bool | None:
        """Whether the numbers are the published ones; None where none are published."""
        if self.official is None:
            return None
        return (self.entries, self.images) == (self.official.entries, self.official.images)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "file": str(self.path),
            "corpus": self.corpus,
            "subset": self.subset,
            "entries": self.entries,
            "images": self.images,
            "unreadable": self.unreadable,
            "published_entries": None if self.official is None else self.official.entries,
            "published_images": None if self.official is None else self.official.images,
            "as_published": self.as_published,
        }


@dataclass(frozen=True)
class Survey:
    """What a folder has: lists, and text files that are none."""

    lists: tuple[FoundList, ...]
    others: tuple[Path, ...]


def survey_lists(folder: str | Path) -> Survey:
    """Look through a folder and those below it.

    Args:
        folder: such as a copy of the authors' repository; one list may be given, too.

    Raises:
        DatasetError: there is no such folder, or no text file in it.
    """
    folder = Path(folder)
    files = [folder] if folder.is_file() else sorted(_text_files(folder))
    if not files:
        found = "an empty folder, or one without tables" if folder.is_dir() else "no such folder"
        raise DatasetError(f"{folder}: expected a folder of lists ({', '.join(_SUFFIXES)}); found: {found}")
    results = [(path, _recognise(path)) for path in files]
    return Survey(
        lists=tuple(found for _, found in results if found is not None),
        others=tuple(path for path, found in results if found is None),
    )


def _text_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())


def _recognise(path: Path) -> FoundList | None:
    index = NameIndex()
    try:
        lines = list(read_entries(path, index))
    except DatasetError:  # a file of another kind, in another encoding or with another header
        return None
    stems = [index.split(line.path).stem for line in lines if isinstance(line, Entry)]
    corpora = Counter(corpus for stem in stems for corpus, form in NAME_FORMS.items() if re.fullmatch(form, stem))
    if not corpora:
        return None
    (corpus, named), *_ = corpora.most_common(1)
    if 2 * named < len(lines):
        return None
    subset = guess_name(path)
    return FoundList(
        path=path,
        corpus=corpus,
        subset=subset,
        entries=len(stems),
        images=len(set(stems)),
        unreadable=len(lines) - len(stems),
        official=official_list(corpus, subset),
    )
