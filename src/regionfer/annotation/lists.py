"""Challenge lists from a table of attributes: the occluded faces, and those turned by more than 30 and 45 degrees.

Each list is written as a CSV with the reason for each face, and, for FERPlus, RAF-DB and AffectNet, also in the form
that the authors of Region Attention Networks gave it (`regionfer.datasets.list_entries` shows these forms).
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from regionfer.annotation.attributes import POSE_BINS, FaceRow
from regionfer.annotation.by_hand import HandLabel
from regionfer.annotation.questions import NO, YES
from regionfer.annotation.table import AttributeTable
from regionfer.datasets.codes import native_coding
from regionfer.datasets.official import corpus_of
from regionfer.errors import DatasetError, writing
from regionfer.results import NAMED_SHARE, covered_halves

Form = Literal["csv", "authors", "both"]

LISTS: Mapping[str, str] = MappingProxyType({"occlusion": "occlusion", "pose30": "pose_30", "pose45": "pose_45"})
"""Names of the lists, and what their files begin with."""

COLUMNS = ("image", "face", "label", "type", "reason")

TYPES = ("upper", "lower", "sides", "glasses")
"""Types of occlusion, in the order of the authors' codes: 0 to 3 in FERPlus, 1 to 4 in RAF-DB. The authors name no
codes; for FERPlus these come from looking at the images, and for RAF-DB the same order is assumed."""


@dataclass(frozen=True)
class Listed:
    """A face on a list.

    Attributes:
        image, face: which face it is, as in the table.
        label: its expression; "" if it has none.
        type: of the occlusion, one of ``TYPES`` or ""; of a pose list the pose bin.
        reason: what put it on the list.
    """

    image: str
    face: int
    label: str
    type: str
    reason: str


@dataclass(frozen=True)
class Written:
    """A list that was written, or could not be.

    Attributes:
        name: one of ``LISTS``.
        split: of the faces; "" if the table has no splits.
        faces: number of faces on the list.
        judged: number of faces of which it is known whether they belong on it.
        files: what was written; none if there is no face.
    """

    name: str
    split: str
    faces: int
    judged: int
    files: tuple[Path, ...]


def write_lists(
    table: AttributeTable,
    folder: str | Path,
    *,
    split: str | None = None,
    by_hand: Mapping[tuple[str, int], HandLabel] = MappingProxyType({}),
    occluded_above: float | None = None,
    form: Form | None = None,
) -> list[Written]:
    """Write the lists to a folder, made if it is missing; with several splits, to a folder a split below it.

    What annotators say of a face goes before what the model estimates; a face that they call unusable is on no list.

    Args:
        table: the faces.
        folder: where to.
        split: only this one.
        by_hand: what annotators say, by face.
        occluded_above: take faces for occluded whose probability of it is above this; by default as the model decides.
        form: "authors" and "both" only for the corpora that the authors wrote lists of; by default both for these,
            and CSV for others.

    Raises:
        DatasetError: no face is known to be turned or occluded or not, the split is missing, or the authors' form is
            asked for where there is none.
        OutputError: the folder cannot be written to.
    """
    rows = _of_split(table, split)
    judge = _Judge(by_hand, occluded_above)
    writer = _AUTHORS.get(corpus_of(table.card.dataset)) if _labelled(table) else None
    if form in ("authors", "both") and writer is None:
        what = "it" if _labelled(table) else "faces without labels"
        raise DatasetError(
            f"{table.card.dataset}: there is no authors' form for {what}; there is one for {', '.join(_AUTHORS)}; "
            "write CSV"
        )
    splits = list(dict.fromkeys(row.split or "" for row in rows))
    written = []
    for each in splits:
        place = Path(folder) / each if len(splits) > 1 else Path(folder)
        chosen = [row for row in rows if (row.split or "") == each]
        with writing(place):
            place.mkdir(parents=True, exist_ok=True)
            written += [_write(name, each, chosen, judge, place, table, form, writer) for name in LISTS]
    if not any(each.judged for each in written):
        raise DatasetError(
            f"of none of {len(rows):,} faces it is known how it is turned or covered; annotate with a model that "
            "estimates both, or give labels by hand"
        )
    return written


@dataclass(frozen=True)
class _Judge:
    """Whether a face belongs on a list: None if that is not known, "" if it does not, else the reason."""

    by_hand: Mapping[tuple[str, int], HandLabel]
    occluded_above: float | None

    def reason(self, name: str, row: FaceRow) -> str | None:
        hand = self.by_hand.get(row.key)
        if hand is not None and hand.unusable == YES:
            return ""
        if name == "occlusion":
            return self._occluded(row, hand)
        return self._turned(row, hand, POSE_BINS[1:] if name == "pose30" else POSE_BINS[2:])

    def type(self, name: str, row: FaceRow) -> str:
        hand = self.by_hand.get(row.key)
        if name == "occlusion":
            return _hand_type(hand) if hand is not None and hand.occluded == YES else _type(row)
        return hand.pose_bin if hand is not None and hand.pose_bin else row.pose_bin or ""

    def _occluded(self, row: FaceRow, hand: HandLabel | None) -> str | None:
        if hand is not None and hand.occluded:
            if hand.occluded == NO:
                return ""
            what = " ".join(filter(None, (hand.occlusion, hand.place and f"at {hand.place}"))) or "occluded"
            return f"by hand: {what} ({_people(hand)})"
        if row.occluded_probability is None or row.occluded is None:
            return None
        limit = self.occluded_above
        if not (row.occluded if limit is None else row.occluded_probability > limit):
            return ""
        halves = _halves(row)
        where = f" at {'+'.join(halves)}" if halves else ""
        hardly = row.occluded_fraction is None or (row.occluded_fraction < NAMED_SHARE and not halves)
        share = "" if hardly else f", {row.occluded_fraction:.0%} of the face{where}"
        return f"estimate: occluded with probability {row.occluded_probability:.2f}{share}"

    def _turned(self, row: FaceRow, hand: HandLabel | None, bins: Sequence[str]) -> str | None:
        if hand is not None and hand.pose_bin:
            return f"by hand: {hand.pose_bin} ({_people(hand)})" if hand.pose_bin in bins else ""
        if row.pose_bin is None or row.yaw is None or row.pitch is None:
            return None
        return f"estimate: yaw {row.yaw:+.0f} pitch {row.pitch:+.0f}" if row.pose_bin in bins else ""


def _people(hand: HandLabel) -> str:
    return f"{hand.annotators} annotator{'' if hand.annotators == 1 else 's'}"


def _type(row: FaceRow) -> str:
    """The part of the face that is covered most; "" where no part is named as covered.

    Some part is always covered most, if only by a hundredth more: that is no estimate of the place.
    """
    if not _halves(row):
        return ""
    upper, lower, left, right = _shares(row)
    shares = {"upper": upper, "lower": lower, "sides": max(left, right)}
    return max(shares, key=shares.__getitem__)


def _halves(row: FaceRow) -> tuple[str, ...]:
    """Halves named as covered, whichever probability makes the face count as covered."""
    return covered_halves(*_shares(row))


def _shares(row: FaceRow) -> tuple[float, float, float, float]:
    return (row.occluded_upper or 0, row.occluded_lower or 0, row.occluded_left or 0, row.occluded_right or 0)


def _hand_type(hand: HandLabel) -> str:
    """Glasses, if nothing else covers the face; else the place, the upper half first."""
    if hand.occlusion == "glasses":
        return "glasses"
    places = set(hand.place.split("+"))
    return next((name for name in ("upper", "lower") if name in places), "sides" if places & {"left", "right"} else "")


def _of_split(table: AttributeTable, split: str | None) -> list[FaceRow]:
    rows = [row for row in table.rows if split is None or row.split == split]
    if not rows:
        found = ", ".join(sorted({row.split or "none" for row in table.rows})) or "no faces"
        raise DatasetError(f"{table.card.dataset}: no face of split {split or 'any'} in this table; found: {found}")
    return rows


def _labelled(table: AttributeTable) -> bool:
    return bool(table.card.classes)


def _write(
    name: str,
    split: str,
    rows: Sequence[FaceRow],
    judge: _Judge,
    folder: Path,
    table: AttributeTable,
    form: Form | None,
    authors: "_Line | None",
) -> Written:
    reasons = [judge.reason(name, row) for row in rows]
    listed = [
        Listed(row.image, row.face, row.label or "", judge.type(name, row), reason)
        for row, reason in zip(rows, reasons, strict=True)
        if reason
    ]
    stem = f"{LISTS[name]}_{table.card.dataset.casefold().replace(' ', '_')}"
    files = {folder / f"{stem}.csv": form != "authors", folder / f"{stem}_list.txt": form != "csv" and bool(authors)}
    wanted = [path for path, wants in files.items() if wants and listed]
    for path in files:
        if path not in wanted:
            path.unlink(missing_ok=True)  # of an earlier run: it would be taken for one of this
        elif path.suffix == ".csv":
            _write_csv(path, listed)
        elif authors is not None:
            _write_authors(path, name, listed, authors, _codes(table))
    judged = sum(reason is not None for reason in reasons)
    return Written(name, split, len(listed), judged, tuple(wanted))


def _write_csv(path: Path, listed: Sequence[Listed]) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(each) for each in listed)


def _codes(table: AttributeTable) -> Mapping[str, int]:
    return {label: code for code, label in native_coding(table.card.dataset, table.card.classes).items()}


_Line = Callable[[str, Listed, str, int], str]
"""Makes the line of a list's name, a face, the stem of its image and the number of its label."""


def _write_authors(path: Path, name: str, listed: Sequence[Listed], line: _Line, codes: Mapping[str, int]) -> None:
    text = "".join(f"{each}\n" for each in _lines(name, listed, line, codes))
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def _lines(name: str, listed: Sequence[Listed], line: _Line, codes: Mapping[str, int]) -> Iterator[str]:
    for each in listed:
        yield line(name, each, PurePosixPath(each.image).stem, codes[each.label])


def _type_code(listed: Listed) -> int:
    # The form has no code for "not known": the first is taken, and our CSV leaves it open.
    return TYPES.index(listed.type) if listed.type in TYPES else 0


def _ferplus(name: str, listed: Listed, stem: str, code: int) -> str:
    return f"{code}_{stem}.png 8 {_type_code(listed)}" if name == "occlusion" else f"{code}/{stem}.jpg"


def _rafdb(name: str, listed: Listed, stem: str, code: int) -> str:
    stem = stem if stem.endswith("_aligned") else f"{stem}_aligned"
    return f"{stem} {code} {_type_code(listed) + 1}" if name == "occlusion" else f"{code}/{stem}.jpg"


def _affectnet(name: str, listed: Listed, stem: str, code: int) -> str:
    return f"val/{code}/{stem}/" if name == "occlusion" else f"{code}/{stem}.jpg"


_AUTHORS: Mapping[str, _Line] = MappingProxyType({"FERPlus": _ferplus, "RAF-DB": _rafdb, "AffectNet": _affectnet})


def check_hand_labels(by_hand: Mapping[tuple[str, int], HandLabel], table: AttributeTable, path: str | Path) -> None:
    """Check that labels by hand are of the faces of a table.

    Raises:
        DatasetError: one is not.
    """
    known = {row.key for row in table.rows}
    if strange := [key for key in by_hand if key not in known]:
        image, face = strange[0]
        raise DatasetError(
            f"{path}: {len(strange):,} of {len(by_hand):,} faces are not in this table of {table.card.dataset}, "
            f"such as {image}, face {face}; give the table that the tasks were made from"
        )
