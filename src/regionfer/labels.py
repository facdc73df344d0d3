"""The eight expression classes, their order, and the names other corpora use for them."""

from collections.abc import Mapping
from types import MappingProxyType

LABELS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
"""The classes in FERPlus order (Barsoum et al., 2016); probabilities keep this order everywhere."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "happy": "happiness",
        "joy": "happiness",
        "surprised": "surprise",
        "sad": "sadness",
        "angry": "anger",
        "disgusted": "disgust",
        "fearful": "fear",
        "afraid": "fear",
        "contemptuous": "contempt",
    }
)


def canonical_label(name: str) -> str:
    """Return the name this package uses for an expression.

    Args:
        name: any of ``LABELS`` or ``ALIASES``; case and surrounding blanks are ignored.

    Raises:
        ValueError: the name is no known expression.

    >>> canonical_label(" Happy ")
    'happiness'
    """
    key = name.strip().lower()
    key = ALIASES.get(key, key)
    if key not in LABELS:
        raise ValueError(f"unknown expression {name!r}; expected one of {', '.join(LABELS)}")
    return key
