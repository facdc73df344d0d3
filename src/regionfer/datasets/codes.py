"""The numbers by which corpora name expressions."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from regionfer.labels import LABELS

SEVEN = tuple(label for label in LABELS if label != "contempt")
"""The classes of corpora without contempt, in the order of ``LABELS``."""

AFFECTNET: tuple[str, ...] = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "none",
    "uncertain",
    "no face",
)
"""AffectNet's expressions, numbered from 0; the last three are no expressions."""

RAFDB: tuple[str, ...] = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's basic expressions, numbered from 1."""

FER2013: tuple[str, ...] = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
"""FER2013's expressions, numbered from 0."""


def _numbered(names: Sequence[str], start: int = 0) -> Mapping[int, str]:
    return MappingProxyType(dict(enumerate(names, start)))


CODINGS: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "FERPlus (from 0)": _numbered(LABELS),
        "FER2013 (from 0)": _numbered(FER2013),
        "AffectNet (from 0)": _numbered(AFFECTNET[:8]),
        "RAF-DB (from 1)": _numbered(RAFDB, 1),
        "RAF-DB less one (from 0)": _numbered(RAFDB),
        "the alphabet, seven classes (from 0)": _numbered(sorted(SEVEN)),
        "the alphabet, eight classes (from 0)": _numbered(sorted(LABELS)),
    }
)
"""Codings that lists in circulation use: those of the corpora, and those of folders read in alphabetical order."""


def native_coding(dataset: str, classes: Sequence[str]) -> Mapping[int, str]:
    """The numbers of a corpus; of one's own, the order of its classes.

    >>> native_coding("RAF-DB", SEVEN)[1], native_coding("mine", ["calm", "pain"])[1]
    ('surprise', 'pain')
    """
    if dataset.startswith("AffectNet"):
        return CODINGS["AffectNet (from 0)"]
    return {"RAF-DB": CODINGS["RAF-DB (from 1)"], "FERPlus": CODINGS["FERPlus (from 0)"]}.get(
        dataset, _numbered(classes)
    )
