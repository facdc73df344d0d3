"""Whether a copy of a corpus is whole: its counts beside the official ones, missing, unreadable and repeated images."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.findings import EXAMPLES, Finding
from regionfer.datasets.manifest import DIVIDED, Manifest, files_in, load_image, missing_images
from regionfer.datasets.official import DERIVED, OFFICIAL, OfficialSplit
from regionfer.datasets.own import PROTOCOL as OWN
from regionfer.errors import ImageError
from regionfer.images import IMAGE_SUFFIXES, read_image
from regionfer.threads import cores

CHUNK = 256
"""Images that are read before the next ones are asked for."""

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""


@dataclass(frozen=True)
class SplitReport:
    """One split of a corpus, beside the official figures where there are any.

    Attributes:
        split: its name.
        listed: images that the corpus lists in it; those with divided votes, too, where they have a split of their own.
        kept: images that the protocol keeps.
        classes: images kept by class.
        dropped: images left out by reason.
        misses: of a prepared corpus, images that gave no face, by reason.
        official: the published figures, or None.
    """

    split: str
    listed: int
    kept: int
    classes: Mapping[str, int]
    dropped: Mapping[str, int]
    misses: Mapping[str, int]
    official: OfficialSplit | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe; official figures that are not known are null."""
        official = self.official
        return {
            "listed": self.listed,
            "official_listed": None if official is None else official.listed,
            "kept": self.kept,
            "official_kept": None if official is None else official.kept,
            "classes": dict(self.classes),
            "official_classes": dict(official.classes) or None if official is not None else None,
            "dropped": dict(self.dropped),
            "misses": dict(self.misses),
        }


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        dataset: name of the corpus.
        protocol: the rule by which images are kept.
        root: where it lies.
        splits: those that are there.
        findings: what is not as it should be, the worst first.
        images_read: images that were decoded.
        sizes: smallest and largest width and height of these, or None.
    """

    dataset: str
    protocol: str
    root: str
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...]
    images_read: int
    sizes: tuple[tuple[int, int], tuple[int, int]] | None

    def ok(self, *, strict: bool = False) -> bool:
        """Nothing is wrong; if ``strict``, there is no warning either."""
        fatal = {"error", "warning"} if strict else {"error"}
        return not any(finding.severity in fatal for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            "schema_version": 1,
            "dataset": self.dataset,
            "protocol": self.protocol,
            "root": self.root,
            "ok": self.ok(),
            "splits": {split.split: split.to_dict() for split in self.splits},
            "images_read": self.images_read,
            "sizes": None if self.sizes is None else {"smallest": self.sizes[0], "largest": self.sizes[1]},
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check_manifest(
    manifest: Manifest,
    *,
    expected: Collection[str] | None = None,
    read_images: bool = True,
    workers: int | None = None,
    progress: Progress = lambda done, total: None,
) -> CheckReport:
    """Check a corpus.

    Args:
        manifest: all of it that is wanted.
        expected: splits that should be there; by default those with official figures.
        read_images: decode all images, to find those that cannot be read or are there twice.
        workers: threads; by default one a core.
        progress: told how many images are done.
    """
    official = OFFICIAL.get(manifest.dataset, {})
    figures = {**DERIVED.get(manifest.dataset, {}), **official}
    splits = tuple(_split_report(manifest, split, figures.get(split)) for split in manifest.split_names())
    missing = missing_images(manifest)
    seen = _read_all(manifest, ~missing, workers, progress) if read_images else _Seen({}, {}, {}, None, 0)
    findings = [
        *manifest.findings,
        *_absent_splits(manifest, splits, official if expected is None else expected),
        *(finding for split in splits for finding in _count_findings(split)),
        *_missing_findings(manifest, missing),
        *_missing_dropped_findings(manifest),
        *_unreadable_findings(seen),
        *_miss_findings(manifest),
        *_name_findings(manifest),
        *_duplicate_findings(manifest, seen.digests),
        *_unlisted_findings(manifest),
    ]
    order = {"error": 0, "warning": 1, "note": 2}
    return CheckReport(
        dataset=manifest.dataset,
        protocol=manifest.protocol + (_APART if any(_is_divided(split.split) for split in splits) else ""),
        root=str(manifest.root),
        splits=splits,
        findings=tuple(sorted(findings, key=lambda finding: order[finding.severity])),
        images_read=seen.total,
        sizes=seen.sizes,
    )


_APART = ", and images with divided votes as splits of their own"


def _is_divided(split: str) -> bool:
    return split.endswith(DIVIDED)


def _split_report(manifest: Manifest, split: str, official: OfficialSplit | None) -> SplitReport:
    rows = manifest.splits == split
    counts = np.bincount(manifest.labels[rows], minlength=len(manifest.classes))
    dropped = dict(manifest.dropped.counts(split))
    if apart := int((manifest.splits == split + DIVIDED).sum()) + sum(manifest.misses.counts(split + DIVIDED).values()):
        dropped["divided votes, a split of their own"] = apart
    misses = manifest.misses.counts(split)
    return SplitReport(
        split=split,
        listed=int(rows.sum()) + sum(dropped.values()) + sum(misses.values()),
        kept=int(rows.sum()),
        classes=MappingProxyType(dict(zip(manifest.classes, counts.tolist(), strict=True))),
        dropped=MappingProxyType(dropped),
        misses=misses,
        official=official,
    )


def _absent_splits(manifest: Manifest, splits: Sequence[SplitReport], expected: Collection[str]) -> Iterator[Finding]:
    """Splits that are not there; of those that are there in part, the reader has said what they lack."""
    told = {split for finding in manifest.findings if finding.kind == "split" for split in finding.splits}
    for split in expected:
        if split not in told | {there.split for there in splits}:
            yield Finding("split", f"{split}: not there", severity="warning")


def _count_findings(split: SplitReport) -> Iterator[Finding]:
    official = split.official
    if official is None:
        return
    lost = sum(split.misses.values())  # reported by themselves
    if _is_divided(split.split):
        if split.kept + lost != official.kept:
            text = f"{split.split}: expected {official.kept:,} images, as of the tables as distributed"
            text += f", found {split.kept:,}"
            yield Finding("count", text, severity="error", count=abs(split.kept - official.kept))
        return
    if split.kept + lost in official.also_kept:
        reason = official.also_kept[split.kept + lost]
        text = f"{split.split}: {split.kept + lost:,} images, not the official {official.kept:,}: {reason}"
        yield Finding("count", text, severity="note")
        return
    if official.listed is not None and split.listed != official.listed:
        text = f"{split.split}: expected {_images(official.listed)} listed, found {split.listed:,}"
        yield Finding("count", text, severity="error", count=abs(split.listed - official.listed))
    if split.kept + lost != official.kept and official.listed != official.kept:
        text = f"{split.split}: expected {official.kept:,} images by the protocol, found {split.kept:,}"
        yield Finding("count", text, severity="error", count=abs(split.kept - official.kept))
    wrong = {name: count for name, count in official.classes.items() if split.classes.get(name, 0) != count}
    short = [count - split.classes.get(name, 0) for name, count in wrong.items()]
    if wrong and not (min(short) > 0 and sum(short) == lost):
        pairs = ", ".join(f"{name} {split.classes.get(name, 0):,} of {count:,}" for name, count in wrong.items())
        yield Finding("class count", f"{split.split}: {pairs}", severity="error", count=len(wrong))


def _missing_findings(manifest: Manifest, missing: NDArray[np.bool_]) -> Iterator[Finding]:
    for split in np.unique(manifest.splits[missing]):
        names = manifest.names[missing & (manifest.splits == split)]
        text = f"{split}: {_images(len(names))} listed but absent"
        yield Finding("missing", text, severity="error", count=len(names), examples=_some(names.tolist()))


def _missing_dropped_findings(manifest: Manifest) -> Iterator[Finding]:
    """Images that no figure needs; but without them the copy is not the one that was distributed."""
    dropped, missing = manifest.dropped, ~_dropped_there(manifest)
    if manifest.pixels is not None:
        return
    for split in np.unique(dropped.splits[missing]):
        names = dropped.names[missing & (dropped.splits == split)]
        text = f"{split}: {_images(len(names))} absent of those that the protocol leaves out"
        yield Finding("missing dropped", text, count=len(names), examples=_some(names.tolist()))


def _dropped_there(manifest: Manifest) -> NDArray[np.bool_]:
    """Which images that the protocol leaves out have a file; none where images come in a table."""
    if manifest.pixels is not None:
        return np.zeros(len(manifest.dropped), dtype=np.bool_)
    there = files_in(manifest.root, manifest.dropped.names)
    return np.array([str(name) in there for name in manifest.dropped.names], dtype=np.bool_)


def _unreadable_findings(seen: "_Seen") -> Iterator[Finding]:
    if some := seen.unreadable:
        text = f"{_images(len(some))} cannot be read"
        yield Finding("unreadable", text, "error", count=len(some), examples=_some(list(some.values())))
    if some := seen.unreadable_dropped:
        text = f"{_images(len(some))} cannot be read of those that the protocol leaves out"
        yield Finding("unreadable dropped", text, count=len(some), examples=_some(list(some.values())))


def _miss_findings(manifest: Manifest) -> Iterator[Finding]:
    """Images that gave no face when the corpus was prepared, by split and reason."""
    misses = manifest.misses
    for split in np.unique(misses.splits).tolist():
        for reason, count in misses.counts(split).items():
            names = misses.names[(misses.splits == split) & (misses.reasons == reason)]
            text = f"{split}: {_images(count)} gave no face when it was prepared: {reason} (misses.csv lists them)"
            yield Finding("miss", text, count=count, examples=_some(names.tolist()))


def _name_findings(manifest: Manifest) -> Iterator[Finding]:
    """Of corpora whose readers keep each line: AffectNet's published counts are of lines; and of one's own photos."""
    if manifest.protocol == OWN:  # an image is there once for each of its faces, but they belong in one split
        yield from _photo_findings(manifest)
        return
    names, counts = np.unique(np.concatenate([manifest.names, manifest.dropped.names]), return_counts=True)
    again = names[counts > 1]
    if not len(again):
        return
    said: dict[str, set[tuple[str, int]]] = {name: set() for name in again.tolist()}
    for row in np.flatnonzero(np.isin(manifest.names, again)):
        said[str(manifest.names[row])].add((str(manifest.splits[row]), int(manifest.labels[row])))
    contradicting = [name for name, values in said.items() if len(values) > 1]
    if contradicting:
        text = f"{_images(len(contradicting))} listed again with another label or in another split"
        yield Finding("contradiction", text, "error", count=len(contradicting), examples=_some(contradicting))
    if same := [name for name, values in said.items() if len(values) < 2]:
        yield Finding(
            "listed twice", f"{_images(len(same))} listed more than once", count=len(same), examples=_some(same)
        )


def _photo_findings(manifest: Manifest) -> Iterator[Finding]:
    """Photos of which a face is in one split and another in another: the same picture, place and often people."""
    splits: dict[str, set[str]] = defaultdict(set)
    for name, split in zip(manifest.names.tolist(), manifest.splits.tolist(), strict=True):
        splits[name].add(split)
    if across := [f"{name}: {', '.join(sorted(found))}" for name, found in splits.items() if len(found) > 1]:
        what = "1 image has faces" if len(across) == 1 else f"{len(across):,} images have faces"
        yield Finding("leak", f"{what} in several splits", count=len(across), examples=_some(across))


def _unlisted_findings(manifest: Manifest) -> Iterator[Finding]:
    there = manifest.split_names()
    if manifest.pixels is not None or any(
        _is_divided(name) and name.removesuffix(DIVIDED) not in there for name in there
    ):
        return  # images with divided votes share the table of all others
    names = np.concatenate([manifest.names, manifest.dropped.names])
    others = files_in(manifest.root, names) - set(names.tolist())
    images = sorted(name for name in others if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)  # noqa: PTH122
    if images:
        text = f"{_images(len(images))} that no table lists"
        yield Finding("unlisted", text, "note", count=len(images), examples=_some(images))


class _Seen(NamedTuple):
    """What came of reading the images; the rows of ``digests`` and ``unreadable`` are the manifest's."""

    digests: dict[int, bytes]
    unreadable: dict[int, str]
    unreadable_dropped: dict[int, str]
    sizes: tuple[tuple[int, int], tuple[int, int]] | None
    total: int


def _read_all(manifest: Manifest, there: NDArray[np.bool_], workers: int | None, progress: Progress) -> _Seen:
    """Decode all images that are there; their pixels are compared by hash, so that a copy in another format counts.

    Those that the protocol leaves out are read as well, behind the others, but not compared.
    """
    n = len(manifest)

    def look(row: int) -> tuple[int, int, bytes] | str:
        name = str(manifest.names[row] if row < n else manifest.dropped.names[row - n])
        try:
            image = load_image(manifest, row) if row < n else read_image(manifest.root / name)
        except ImageError as error:
            return f"{name}: {str(error).removeprefix(f'{manifest.root / name}: ')}"
        height, width = image.shape[:2]
        content = hashlib.blake2b(image.tobytes(), digest_size=16, salt=f"{width}x{height}".encode())
        return width, height, content.digest()

    rows = np.flatnonzero(np.concatenate([there, _dropped_there(manifest)])).tolist()
    digests: dict[int, bytes] = {}
    unreadable: dict[int, str] = {}
    sizes: list[tuple[int, int]] = []
    with ThreadPoolExecutor(workers or cores()) as pool:
        # In chunks, so that an interruption has little to wait for.
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            for done, (row, result) in enumerate(zip(chunk, pool.map(look, chunk), strict=True), start=start + 1):
                if isinstance(result, str):
                    unreadable[row] = result
                else:
                    sizes.append(result[:2])
                    digests[row] = result[2]
                progress(done, len(rows))
    span = (_extent(sizes, min), _extent(sizes, max)) if sizes else None
    return _Seen(
        digests={row: digest for row, digest in digests.items() if row < n},
        unreadable={row: why for row, why in unreadable.items() if row < n},
        unreadable_dropped={row: why for row, why in unreadable.items() if row >= n},
        sizes=span,
        total=len(rows),
    )


def _extent(sizes: Sequence[tuple[int, int]], choose: Callable[..., int]) -> tuple[int, int]:
    return choose(width for width, _ in sizes), choose(height for _, height in sizes)


def _duplicate_findings(manifest: Manifest, digests: Mapping[int, bytes]) -> Iterator[Finding]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, digest in digests.items():
        groups[digest].append(row)
    # An image that is listed again is no copy of itself; `_name_findings` tells of those.
    repeated = [rows for rows in groups.values() if len(set(manifest.names[rows].tolist())) > 1]
    across = [rows for rows in repeated if len(set(manifest.splits[rows].tolist())) > 1]
    contradicting = [rows for rows in repeated if len(set(manifest.labels[rows].tolist())) > 1]
    kinds = (
        ("duplicate", repeated, "have the same content as another"),
        ("leak", across, "have the same content as one of another split"),
        ("contradiction", contradicting, "have the same content as one with another label"),
    )
    for kind, groups_of_kind, text in kinds:
        if groups_of_kind:
            names = [list(dict.fromkeys(manifest.names[rows].tolist())) for rows in groups_of_kind]
            count = sum(map(len, names))
            pairs = [" = ".join(group) for group in names]
            yield Finding(kind, f"{count:,} images {text}", "warning", count=count, examples=_some(pairs))


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count:,} images"


def _some(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[:EXAMPLES])
