"""What the recogniser returns: the faces of one image, their expressions, how they are turned and covered, and why.

An `Expressions` holds arrays for all faces of an image; ``expressions[0]`` is one `Face` with names
instead of columns. ``to_dict`` and ``to_json`` give the form described in docs/results.md, ``to_rows``
the lines of a table.
"""

from regionfer.results.expressions import (
    SCHEMA_VERSION,
    Expressions,
    row_columns,
)
from regionfer.results.face import (
    IMPROBABLE,
    UNCERTAIN_REASONS,
    Box,
    Face,
    Pose,
    Region,
)
from regionfer.results.occlusion import (
    COVERED_HALF,
    MAX_COVERED,
    NAMED_SHARE,
    UNEVEN,
    UNKNOWN_PLACE,
    Occlusion,
    covered_halves,
    covered_text,
    share_text,
)

__all__ = [
    "COVERED_HALF",
    "IMPROBABLE",
    "MAX_COVERED",
    "NAMED_SHARE",
    "SCHEMA_VERSION",
    "UNCERTAIN_REASONS",
    "UNEVEN",
    "UNKNOWN_PLACE",
    "Box",
    "Expressions",
    "Face",
    "Occlusion",
    "Pose",
    "Region",
    "covered_halves",
    "covered_text",
    "row_columns",
    "share_text",
]
