"""Whether the faces that annotators saw are still those of a table: the same number, box and picture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from regionfer.annotation.inputs import ImageFinder
from regionfer.annotation.label_studio_export import Export, Origin
from regionfer.annotation.table import AttributeTable
from regionfer.datasets.findings import Finding, Severity
from regionfer.errors import DatasetError, ImageError

SAME_BOX = 1.0
"""Pixels by which the sides of a face's box may differ: tables as CSV are rounded."""


@dataclass(frozen=True)
class Misfit:
    """How a face of an export may not be one of a table, or how that may not be known.

    Attributes:
        text: what is said of the faces, after their number.
        severity: faces of which it is "error" are left out.
    """

    text: str
    severity: Severity = "error"


MISFITS: Mapping[str, Misfit] = MappingProxyType(
    {
        "image": Misfit("of an image that is not in the table of {dataset}: left out"),
        "face": Misfit("whose number that image does not have in the table of {dataset}: left out"),
        "box": Misfit("with another box in the table of {dataset}, so another face: left out"),
        "picture": Misfit("whose image has other pixels now than when the tasks were made: left out"),
        "no box": Misfit("in tasks without a box, so not compared with the table of {dataset}", "note"),
        "no digest": Misfit("in tasks that do not say which pixels they show, so pictures were not compared", "note"),
        "unread": Misfit("whose image cannot be read now, so pictures were not compared", "note"),
    }
)
"""By kind; a face has the first that is true of it."""


def of_table(
    export: Export,
    table: AttributeTable,
    path: str | Path,
    *,
    images: str | Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Export:
    """What an export says of the faces of a table, with a finding for each of ``MISFITS`` that counts and names them.

    What a task of an earlier release does not say of its face is taken for granted.

    Args:
        export: the export.
        table: that its tasks were made from.
        path: of the export, for messages.
        images: where the images are, if not where the table's card says. Where they are not there either, pictures
            are not compared, and a finding "no images" says so.
        progress: told how many of the faces were compared.

    Raises:
        DatasetError: the tasks were made from another table, no face is left, or ``images`` are not those of the table.
    """
    _check_table(export, table, path)
    finder = _find_images(export, table, images)
    faces = _Known(table, finder if isinstance(finder, ImageFinder) else None)
    kinds: dict[tuple[str, int], str] = {}
    for done, (key, origins) in enumerate(export.origins.items(), start=1):
        kinds[key] = faces.misfit(key, origins)
        progress(done, len(export.origins))
    findings = [*_told(kinds, table), *([finder] if isinstance(finder, Finding) else [])]
    fitting = tuple(
        each for each in export.judgements if not kinds[each.key] or MISFITS[kinds[each.key]].severity == "note"
    )
    if not fitting:
        raise DatasetError(
            f"{path}: none of its {len(kinds):,} faces is left: {'; '.join(each.text for each in findings)}"
        )
    return replace(export, judgements=fitting, findings=(*findings, *export.findings))


def _check_table(export: Export, table: AttributeTable, path: str | Path) -> None:
    if export.table == table.fingerprint:
        return
    chosen, known = ", ".join(export.labels), ", ".join(table.card.labels)
    labels = "" if chosen == known else f", the expressions to choose from were {chosen}, its model knows {known}"
    raise DatasetError(
        f"{path}: the export of another project: its tasks were made from table {export.table}, this table of "
        f"{table.card.dataset} is {table.fingerprint}{labels}; give the table that was exported"
    )


def _find_images(export: Export, table: AttributeTable, images: str | Path | None) -> ImageFinder | Finding | None:
    """What opens the images; None where no task says which pixels it shows."""
    if images is not None:
        return ImageFinder(table.card.reader, images)
    if all(origin.digest is None for origins in export.origins.values() for origin in origins):
        return None
    try:
        return ImageFinder(table.card.reader, table.card.root)
    except DatasetError as error:
        return Finding("no images", f"pictures were not compared: {error}", severity="note")


class _Known:
    """The faces of a table, and their images where they can be opened."""

    def __init__(self, table: AttributeTable, finder: ImageFinder | None) -> None:
        self._boxes = {row.key: (row.x1, row.y1, row.x2, row.y2) for row in table.rows}
        self._images = {row.image for row in table.rows}
        self._finder = finder

    def misfit(self, key: tuple[str, int], origins: Sequence[Origin]) -> str:
        """One of ``MISFITS``, or "" of a face of the table."""
        if key not in self._boxes:
            return "face" if key[0] in self._images else "image"
        boxes = [origin.box for origin in origins if origin.box is not None]
        if any(abs(a - b) > SAME_BOX for box in boxes for a, b in zip(box, self._boxes[key], strict=True)):
            return "box"
        other = self._other_picture(key, {origin.digest for origin in origins})
        return "no box" if other != "picture" and len(boxes) < len(origins) else other

    def _other_picture(self, key: tuple[str, int], digests: set[str | None]) -> str:
        if digests == {None}:
            return "no digest"
        if self._finder is None:
            return ""
        try:
            found = self._finder.digest(*key)
        except (ImageError, DatasetError):
            return "unread"
        if digests - {found, None}:
            return "picture"
        return "no digest" if None in digests else ""


def _told(kinds: Mapping[tuple[str, int], str], table: AttributeTable) -> Iterator[Finding]:
    for kind, misfit in MISFITS.items():
        names = [f"{image}, face {face}" for (image, face), each in kinds.items() if each == kind]
        if names:
            faces = f"{len(names):,} of {len(kinds):,} faces"
            told = f"{faces} {misfit.text.format(dataset=table.card.dataset)}, such as {names[0]}"
            yield Finding(kind, told, severity=misfit.severity, count=len(names), examples=tuple(names[:3]))
