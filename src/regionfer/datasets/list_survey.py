"""Which files of a folder are challenge lists, of which corpus, and whether they have the published number of lines."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from regionfer.datasets.findings import Finding
from regionfer.datasets.layout import wrong_folder
from regionfer.datasets.list_entries import Entry, NameIndex, read_entries, table_with_images
from regionfer.datasets.lists import code_findings, guess_name
from regionfer.datasets.official import CHALLENGES, OfficialList, official_list
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
        findings: numbers in it that no list of the corpus has.
        official: the published list of that subset, or None.
    """

    path: Path
    corpus: str
    subset: str
    entries: int
    images: int
    unreadable: int
    official: OfficialList | None
    findings: tuple[Finding, ...] = ()

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
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class Survey:
    """What a folder has.

    Attributes:
        folder: which; or the one list that was given.
        lists: files that are lists.
        others: why each other text file is none.
        absent: published lists that are not there, by corpus and subset, of the corpora of which a list is there.
    """

    folder: Path
    lists: tuple[FoundList, ...]
    others: Mapping[Path, str]
    absent: Mapping[tuple[str, str], OfficialList]

    def relative(self, path: Path) -> Path:
        """A file's path in the folder; its name where it was given itself."""
        return path.relative_to(self.folder) if path != self.folder else Path(path.name)


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
        raise wrong_folder(
            folder, "a folder of lists", f"files that end in {', '.join(_SUFFIXES)}, here or further down"
        )
    results = {path: _recognise(path) for path in files}
    lists = tuple(found for found in results.values() if isinstance(found, FoundList))
    return Survey(
        folder=folder,
        lists=lists,
        others=MappingProxyType({path: found for path, found in results.items() if isinstance(found, str)}),
        absent=MappingProxyType(_absent(lists) if folder.is_dir() else {}),
    )


def _absent(lists: Sequence[FoundList]) -> dict[tuple[str, str], OfficialList]:
    there = {(found.corpus, found.subset) for found in lists}
    return {
        (corpus, subset): official
        for corpus in dict.fromkeys(found.corpus for found in lists)
        for subset, official in CHALLENGES.get(corpus, {}).items()
        if (corpus, subset) not in there
    }


def _text_files(folder: Path) -> Iterator[Path]:
    """Text files that are not hidden, nor in a hidden folder, such as a copy's ``.git``."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in _SUFFIXES and not hidden and path.is_file():
            yield path


def _recognise(path: Path) -> FoundList | str:
    """The list, or why the file is none."""
    index = NameIndex()
    try:
        lines = list(read_entries(path, index))
    except DatasetError as error:  # a file of another kind, in another encoding or with another header
        return str(error).removeprefix(f"{path}: ")
    entries = [line for line in lines if isinstance(line, Entry)]
    stems = [index.split(entry.path).stem for entry in entries]
    corpora = Counter(corpus for stem in stems for corpus, form in NAME_FORMS.items() if re.fullmatch(form, stem))
    if not lines:
        return "an empty file"
    (corpus, named), *_ = corpora.most_common(1) or [("", 0)]
    if not corpora or 2 * named < len(lines):
        return _no_names(path, lines, named)
    subset = _subset(path, entries)
    return FoundList(
        path=path,
        corpus=corpus,
        subset=subset,
        entries=len(stems),
        images=len(set(stems)),
        unreadable=len(lines) - len(stems),
        official=official_list(corpus, subset),
        findings=tuple(code_findings(entries, corpus)),
    )


def _no_names(path: Path, lines: Sequence[Entry | Finding], named: int) -> str:
    """Why lines are no list of a corpus; alike for files that are alike, so that they can be told together."""
    *most, last = NAME_FORMS
    corpora = f"{', '.join(most)} or {last}"
    if named:
        return f"only {named:,} of {len(lines):,} lines name an image of {corpora}"
    if any(isinstance(line, Entry) for line in lines) and table_with_images(path):
        return f"names no image of {corpora}; a list for another dataset? 'regionfer evaluate --subset' takes it"
    if all(isinstance(line, Finding) and line.cause == "number" for line in lines):
        return "numbers without names (a file of labels?)"
    return f"names no image of {corpora}"


def _subset(path: Path, entries: Sequence[Entry]) -> str:
    """What a list is of. Lists of whole splits give the number of views of each image, whatever they are called."""
    name = guess_name(path)
    whole = all(entry.attributes.get("views") for entry in entries)
    if whole and name == path.stem:
        return "train" if "train" in name.casefold() else "test"
    return name
