"""Challenge lists: the occluded or turned faces of a corpus, joined to its manifest by name.

Which forms are read, `regionfer.datasets.list_entries` says. Which label a number stands for is not written in the
lists, so the coding is taken that agrees with the manifest on the most lines.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.affectnet import has_new_names
from regionfer.datasets.codes import CODINGS, native_coding
from regionfer.datasets.findings import Finding
from regionfer.datasets.list_entries import Entry, NameIndex, is_number, read_entries
from regionfer.datasets.manifest import Manifest
from regionfer.datasets.official import LIST_LABELS, LIST_TYPES, OfficialList, corpus_of, official_list
from regionfer.errors import DatasetError
from regionfer.labels import ALIASES

OCCLUSION_TYPES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"FERPlus": {"0": "upper", "1": "lower", "2": "sides", "3": "glasses"}}
)
"""Names of the types of occlusion. The authors give codes only; these come from looking at the images: 0 a fringe, a
hat or a hand at the forehead; 1 a hand or an object at the mouth; 2 hands at the cheeks; 3 glasses, clear ones too.
Codes of other corpora stay as they are."""


@dataclass(frozen=True, eq=False)
class Subset:
    """The k rows of a manifest that a list names.

    Attributes:
        name: such as "occlusion".
        rows: (k,) intp, rows of the manifest, each once, in the order of the list.
        attributes: (k,) str arrays by name: "type" where the list tells types apart, and the further columns of a
            table. Empty where a line has none.
        issues: all that is wrong with the list, line by line, then as a whole.
        path: the list's file, or None for a subset that is a column of the manifest.
        entries: entries in the list, repeated ones and those not found among them.
        published: number of entries that the authors give for this list, or None.
    """

    name: str
    rows: NDArray[np.intp]
    attributes: Mapping[str, NDArray[np.str_]] = field(default_factory=lambda: MappingProxyType({}))
    issues: tuple[Finding, ...] = ()
    path: Path | None = None
    entries: int = 0
    published: int | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def summary(self) -> str:
        """One line: what the list has, what was found, and how many issues of each kind."""
        published = "" if self.published is None else f" ({self.published:,} published)"
        entries = "1 entry" if self.entries == 1 else f"{self.entries:,} entries"
        line = f"{self.name}: {entries}{published}, {'1 image' if len(self) == 1 else f'{len(self):,} images'}"
        kinds = Counter(issue.kind for issue in self.issues)
        return line + "".join(f"; {count:,} x {_KINDS[kind]}" for kind, count in kinds.items())

    def to_dict(self) -> dict[str, Any]:
        """Counts and issues, JSON-safe."""
        return {
            "name": self.name,
            "file": None if self.path is None else str(self.path),
            "entries": self.entries,
            "published": self.published,
            "images": len(self),
            "issues": [issue.to_dict() for issue in self.issues],
        }


_KINDS = {
    "duplicate": "named again",
    "unknown": "not in the split",
    "ambiguous": "fits several images or faces",
    "label": "label contradicts",
    "unreadable": "unreadable line",
    "code": "unknown code",
    "coding": "other coding of labels",
    "count": "count differs from the published",
}


def read_subset(path: str | Path, manifest: Manifest, *, name: str | None = None) -> Subset:
    """Read a challenge list in any form, and join it to a manifest.

    Args:
        path: the list.
        manifest: usually one split, in which the list's images should be.
        name: of the subset; guessed from the file's name if not given.

    Returns:
        The rows found. What does not fit is in ``issues``; a line that contradicts the manifest's label is kept.

    Raises:
        DatasetError: the file cannot be read, has no entries, or none of its images is in the manifest.
    """
    path = Path(path)
    index = NameIndex(manifest.names, manifest.classes)
    lines = list(read_entries(path, index))
    entries = [line for line in lines if isinstance(line, Entry)]
    issues = [line for line in lines if isinstance(line, Finding)]
    if not lines:
        raise DatasetError(f"{path}: expected a list with an image a line, found an empty file")
    found, failed = _join(entries, index, manifest)
    issues += failed
    if not found:
        if known := [issue for entry, issue in zip(entries, failed, strict=True) if index.find(entry.path)]:
            raise DatasetError(
                f"{path}: none of its {len(lines):,} entries can be used; line {known[0].line}: {known[0].text}"
            )
        raise _no_match(path, lines, manifest)
    found, repeated = _without_repeats(found)
    issues += repeated
    issues += _label_issues(found, manifest)
    issues += code_findings(entries, manifest.dataset, labels=False)  # those contradict the manifest already
    issues.sort(key=lambda issue: issue.line or 0)
    name = name or guess_name(path)
    official = official_list(manifest.dataset, guess_name(path, name))
    if official is not None and not (manifest.splits == official.split).all():
        official = None  # a subset of another split is not the published one
    issues += _whole_issues(found, manifest, len(lines), official)
    return Subset(
        name=name,
        rows=np.array([row for row, _ in found], dtype=np.intp),
        attributes=_attributes([entry for _, entry in found], manifest),
        issues=tuple(issues),
        path=path,
        entries=len(lines),
        published=None if official is None else official.entries,
    )


def column_subset(manifest: Manifest, column: str) -> Subset:
    """The rows that have a value in a column of one's own table; "0", "no" and "false" count as none.

    Raises:
        DatasetError: the manifest has no such column.
    """
    if column not in manifest.attributes:
        found = ", ".join(manifest.attributes) or "none"
        raise DatasetError(f"{manifest.dataset}: no column {column!r} to take a subset from; found: {found}")
    values = np.array([str(value).strip() for value in manifest.attributes[column]], dtype=np.str_)
    rows = np.flatnonzero([value.casefold() not in ("", "0", "no", "false") for value in values])
    types = {"type": values[rows]} if len(set(values[rows].tolist())) > 1 else {}
    return Subset(column, rows, MappingProxyType(types), entries=len(rows))


def guess_name(path: Path, name: str | None = None) -> str:
    """The subset that a name or a list's file stands for: "occlusion", "pose30", "pose45", or the name itself.

    >>> guess_name(Path("pose_45_ferplus_list.txt")), guess_name(Path("mine.txt"), "Occluded")
    ('pose45', 'occlusion')
    """
    for text in (name, path.stem):
        lowered = (text or "").casefold()
        if "occlu" in lowered:
            return "occlusion"
        for angle in ("30", "45"):
            if "pose" in lowered and angle in lowered:
                return f"pose{angle}"
    # RAF-DB's pose lists do not say that they are about pose, and FERPlus' test list calls itself val.
    others = {
        "val_raf_db_list": "pose30",
        "val_raf_db_list_45": "pose45",
        "dlib_ferplus_val_center_crop_range_list": "test",
    }
    return others.get(path.stem.casefold(), name or path.stem)


_Found = list[tuple[int, Entry]]


def _join(entries: Sequence[Entry], index: NameIndex, manifest: Manifest) -> tuple[_Found, list[Finding]]:
    found: _Found = []
    issues = []
    left_out = _LeftOut(manifest)
    # A face that the corpus leaves out proves nothing about how the list counts.
    whole = [entry for entry in entries if not left_out.has(entry.path)]
    counting = _counting(whole, index, manifest)
    for entry in entries:
        rows = index.find(entry.path)
        names = _names(rows, manifest)
        if len(names) > 1:
            text = f"{entry.path} fits {len(names)} images, such as {names[0]} and {names[1]}; write its whole name"
            issues.append(Finding("ambiguous", text, line=entry.line, examples=names[:3], cause="images"))
        elif len(rows) > 1 and entry.face is None:
            numbers = _face_numbers(rows, manifest)
            text = f"{entry.path} has {len(rows)} faces here; write which in a column 'face': {numbers}"
            issues.append(Finding("ambiguous", text, line=entry.line, examples=names, cause="faces"))
        elif counting is _Counting.IN_SPLIT and entry.face is not None and _numbered_beyond(rows, manifest):
            text = (
                f"{entry.path}, face {entry.face}: this list seems to count the faces of an image in this split alone; "
                f"those here have the numbers {_face_numbers(rows, manifest)}, counted over all splits"
            )
            issues.append(Finding("ambiguous", text, line=entry.line, examples=names, cause="counting"))
        elif rows and not (chosen := _of_face(rows, entry.face, manifest)):
            known = f"only face{'s' if len(rows) > 1 else ''} {_face_numbers(rows, manifest)}"
            text = f"{entry.path}, face {entry.face}: {_describe(manifest)} has {known} of this image"
            issues.append(Finding("unknown", text, line=entry.line, examples=(entry.path,), cause="face"))
        elif rows:
            found.append((chosen[0], entry))
            if counting is _Counting.UNKNOWN and entry.face is not None and _numbered_beyond(rows, manifest):
                text = f"{entry.path}, face {entry.face}: taken as counted over all splits, not in this one alone"
                issues.append(Finding("ambiguous", text, "note", line=entry.line, examples=names, cause="counting"))
        else:
            text = f"{entry.path} is not among the {len(manifest):,} images of {_describe(manifest)}"
            if reason := left_out.reason(entry.path):
                text += f", which leaves it out: {reason}"
            issues.append(Finding("unknown", text, line=entry.line, examples=(entry.path,), cause=reason))
    return found, issues


class _Counting(Enum):
    """Over what a list counts the faces of an image; which matters for images with faces in several splits."""

    OVER_ALL = auto()
    IN_SPLIT = auto()
    UNKNOWN = auto()


def _counting(entries: Sequence[Entry], index: NameIndex, manifest: Manifest) -> _Counting:
    """Known from numbers that are there in one way of counting only.

    A number that no face of the split has may also be that of a face in another split: that alone proves nothing where
    others are there only when counted over all splits.
    """
    over_all = in_split = False
    for entry in entries:
        rows = index.find(entry.path)
        if entry.face is None or len(_names(rows, manifest)) != 1:
            continue
        known, counted = bool(_of_face(rows, entry.face, manifest)), entry.face < len(rows)
        over_all |= known and not counted
        in_split |= counted and not known
    if over_all:
        return _Counting.OVER_ALL
    return _Counting.IN_SPLIT if in_split else _Counting.UNKNOWN


def _numbered_beyond(rows: Sequence[int], manifest: Manifest) -> bool:
    """Whether the faces of an image in a split have other numbers than if they were counted in it alone."""
    return sorted(manifest.face_numbers[list(rows)].tolist()) != list(range(len(rows)))


def _names(rows: Sequence[int], manifest: Manifest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(manifest.names[row]) for row in rows))


def _of_face(rows: Sequence[int], face: int | None, manifest: Manifest) -> list[int]:
    """Those rows of an image that are of a face; all if none is said."""
    return [row for row in rows if face is None or manifest.face_numbers[row] == face]


def _face_numbers(rows: Sequence[int], manifest: Manifest) -> str:
    return ", ".join(map(str, sorted(manifest.face_numbers[list(rows)].tolist())))


class _LeftOut:
    """Why a corpus leaves images out that it lists."""

    def __init__(self, manifest: Manifest) -> None:
        parts = manifest.dropped, manifest.misses
        self._reasons = np.concatenate([part.reasons for part in parts])
        self._index = NameIndex(np.concatenate([part.names for part in parts]), manifest.classes)

    def has(self, path: str) -> bool:
        """Whether the corpus leaves an image of this name out, or a face of it."""
        return bool(self._index.find(path))

    def reason(self, path: str) -> str:
        """The reason, or "" if the corpus does not list the image, or several of this name."""
        rows = self._index.find(path)
        return str(self._reasons[rows[0]]) if len(rows) == 1 else ""


def _without_repeats(found: _Found) -> tuple[_Found, list[Finding]]:
    """Each row once, as it is named first."""
    first: dict[int, Entry] = {}
    issues = []
    for row, entry in found:
        if row not in first:
            first[row] = entry
            continue
        before = first[row]
        text = f"{entry.path} is named in line {before.line} already"
        differs = (entry.label, entry.attributes) != (before.label, before.attributes)
        text += ", with other values, which are kept" * differs
        cause = "other values" if differs else ""
        issues.append(Finding("duplicate", text, line=entry.line, examples=(entry.path,), cause=cause))
    return list(first.items()), issues


def _label_issues(found: _Found, manifest: Manifest) -> list[Finding]:
    truth = [manifest.classes[manifest.labels[row]] for row, _ in found]
    coding, issues = _choose_coding(found, truth, manifest)
    for (_, entry), label in zip(found, truth, strict=True):
        claimed = _claimed(entry.label, coding)
        if entry.label and claimed.casefold() != label.casefold():
            text = f"{entry.path}: the list says {_show(entry.label, claimed)}, {manifest.dataset} says {label}"
            issues.append(Finding("label", text, line=entry.line, examples=(entry.path,)))
    return issues


def code_findings(entries: Iterable[Entry], dataset: str, *, labels: bool = True) -> Iterator[Finding]:
    """Numbers of labels and of types of occlusion that no list of a corpus has; nothing of a corpus without lists."""
    corpus = corpus_of(dataset)
    entries = tuple(entries)
    kinds = (
        ("label", [entry.label for entry in entries], LIST_LABELS.get(corpus) if labels else None),
        ("type of occlusion", [entry.attributes.get("type", "") for entry in entries], LIST_TYPES.get(corpus)),
    )
    for kind, codes, known in kinds:
        counts = Counter(code for code in codes if known is not None and is_number(code) and int(code) not in known)
        for code, count in counts.items():
            assert known is not None
            lines = "1 line has" if count == 1 else f"{count:,} lines have"
            text = f"{lines} the {kind} {code}, which is none of {known[0]} to {known[-1]}"
            yield Finding("code", text, count=count, cause=kind)


def _claimed(label: str, coding: Mapping[int, str]) -> str:
    if is_number(label):
        return coding.get(int(label), "")
    return ALIASES.get(label.casefold(), label.casefold())


def _show(label: str, claimed: str) -> str:
    return f"{label} ({claimed or 'no class'})" if claimed != label else label


_SWITCH_SHARE = 0.8
_SWITCH_LINES = 5
"""Lines, and share of them, that must agree with another coding before it is taken for the list's."""


def _choose_coding(found: _Found, truth: Sequence[str], manifest: Manifest) -> tuple[Mapping[int, str], list[Finding]]:
    native = native_coding(manifest.dataset, manifest.classes)
    labelled = [(entry.label, label) for (_, entry), label in zip(found, truth, strict=True) if entry.label]

    def agreement(coding: Mapping[int, str]) -> int:
        return sum(_claimed(claim, coding).casefold() == label.casefold() for claim, label in labelled)

    best = max(CODINGS, key=lambda name: agreement(CODINGS[name]))
    agreed = agreement(CODINGS[best])
    if len(labelled) < _SWITCH_LINES or 2 * agreement(native) >= len(labelled):
        return native, []
    if agreed < _SWITCH_SHARE * len(labelled):
        return native, []
    text = f"labels are numbered as in {best}: so read, {agreed:,} of {len(labelled):,} lines agree with the manifest"
    return CODINGS[best], [Finding("coding", text, severity="note")]


def _whole_issues(found: _Found, manifest: Manifest, entries: int, official: OfficialList | None) -> Iterator[Finding]:
    # Lines beyond the published ones are repeated or not found, and each is reported as that.
    if official is None or (len(found) == official.images and entries >= official.entries):
        return
    yield Finding(
        "count",
        f"expected {official.entries:,} entries ({official.images:,} images) as published, "
        f"found {entries:,} entries, of which {len(found):,} images are in {_describe(manifest)}",
        # A list from which somebody took the repeated lines is whole.
        severity="note" if len(found) == official.images else "warning",
        count=abs(len(found) - official.images) or abs(entries - official.entries),
    )


def _attributes(entries: Sequence[Entry], manifest: Manifest) -> Mapping[str, NDArray[np.str_]]:
    names = dict.fromkeys(name for entry in entries for name in entry.attributes)
    columns = {name: [entry.attributes.get(name, "") for entry in entries] for name in names}
    if "type" in columns:
        types = OCCLUSION_TYPES.get(manifest.dataset, {})
        columns["type"] = [types.get(value, value) for value in columns["type"]]
    return MappingProxyType({name: np.array(values, dtype=np.str_) for name, values in columns.items()})


def _no_match(path: Path, lines: Sequence[Entry | Finding], manifest: Manifest) -> DatasetError:
    first = next((line.path for line in lines if isinstance(line, Entry)), None)
    if first is None:
        assert isinstance(lines[0], Finding)
        return DatasetError(
            f"{path}: expected a list with an image a line, found no line of that form; "
            f"line {lines[0].line}: {lines[0].text}"
        )
    known = str(manifest.names[0]) if len(manifest) else "none"
    if has_new_names(manifest):
        advice = (
            "AffectNet's lists name the images of its tables (training.csv and validation.csv), and this is the folder "
            "release, which numbers them anew, with no table of which is which: give the release with the tables, or "
            "leave the list out"
        )
    else:
        advice = "give the list of this dataset and split"
    return DatasetError(
        f"{path}: none of its {len(lines):,} entries is in {_describe(manifest)}; it has names such as {first}, "
        f"expected names such as {known}; {advice}"
    )


def _describe(manifest: Manifest) -> str:
    splits = " and ".join(np.unique(manifest.splits).tolist())
    return f"{manifest.dataset} {splits}".rstrip()
