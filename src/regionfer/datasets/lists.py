"""Challenge lists: the occluded or turned faces of a corpus, joined to its manifest by name.

The lists of the RAN paper have a form each. One reader takes them all, and lists of one's own:

=====================  ==================================  =============================================================
list                   a line                              its parts
=====================  ==================================  =============================================================
FERPlus occlusion      ``1_fer0030001.png 8 2``            label _ name, a constant, type of occlusion
FERPlus pose           ``3/fer0030002.jpg``                label / name
FERPlus train, test    ``0/fer0030003 6``                  label / name, number of views
RAF-DB occlusion       ``test_9999_aligned 3 4``           name, label, type of occlusion
RAF-DB pose            ``2/test_9998_aligned.jpg``         label / name
AffectNet occlusion    ``val/0/<56 hexadecimal digits>/``  split / label / name
AffectNet pose         ``0/<56 hexadecimal digits>.jpg``   label / name
one's own              a name or path a line; or a CSV     columns ``image``, ``label`` (optional), and any other, such
                       with a header                       as ``type`` or ``reason``, which become attributes
=====================  ==================================  =============================================================

Names are joined whatever their suffix, folder, case, zero padding, or RAF-DB's ``_aligned``. Which label a number
stands for is not written in the lists, so the coding is taken that agrees with the manifest on the most lines.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionfer.datasets.findings import Finding
from regionfer.datasets.manifest import Manifest
from regionfer.datasets.tables import delimiter_of, read_table, read_text
from regionfer.errors import DatasetError
from regionfer.images import IMAGE_SUFFIXES
from regionfer.labels import ALIASES, LABELS


@dataclass(frozen=True, eq=False)
class Subset:
    """The k rows of a manifest that a list names.

    Attributes:
        name: such as "occlusion".
        rows: (k,) intp, rows of the manifest, each once, in the order of the list.
        attributes: (k,) str arrays by name: "type" where the list tells types apart, and the further columns of a table.
            Empty where a line has none.
        issues: all that is wrong with the list, line by line, then as a whole.
        path: the list's file, or None.
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
    raise NotImplementedError
