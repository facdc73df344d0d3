"""What annotators are asked about a face, and the answers they may give."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from regionfer.annotation.attributes import POSE_BINS

OCCLUSIONS = ("none", "mask", "glasses", "hand", "hair", "object", "out of frame", "other")
PLACES = ("upper", "lower", "left", "right")
UNUSABLE = "unusable"
YES, NO = "yes", "no"
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Question:
    """A group of choices.

    Attributes:
        name: in the labelling configuration, and of the column.
        title: shown to the annotator.
        answers: to choose from.
        several: more than one may be chosen.
    """

    name: str
    title: str
    answers: tuple[str, ...]
    several: bool = False


def questions(labels: tuple[str, ...]) -> Mapping[str, Question]:
    """The questions by name, for a model that knows these expressions."""
    asked = (
        Question("expression", "Expression", labels),
        Question("occlusion", "Covered by", OCCLUSIONS, several=True),
        Question("place", "Where it is covered (left and right of the picture)", PLACES, several=True),
        Question("pose_bin", "Turned by (degrees, to any side, up or down)", POSE_BINS),
        Question(UNUSABLE, "Cannot be judged", (UNUSABLE,)),
    )
    return MappingProxyType({question.name: question for question in asked})


@dataclass(frozen=True)
class Judgement:
    """What one annotator says of one face.

    Attributes:
        image, face: which face it is, as in the table.
        annotator: who says so; `unknown_annotator` where that is not known.
        values: one answer a field: "expression", "pose_bin"; "occluded", "unusable" and, one by one, the occlusions
            but "none" and the places, as "occlusion: mask" or "place: upper", all of them "yes" or "no". A field that
            was not judged is not there; of an unusable face, all others are not.
    """

    image: str
    face: int
    annotator: str
    values: Mapping[str, str]

    @property
    def key(self) -> tuple[str, int]:
        """What names the face."""
        return self.image, self.face


def unknown_annotator(number: int) -> str:
    """The name of the n-th annotator of a face of those that the export does not name."""
    return f"{_UNKNOWN} {number}"


def is_unknown(annotator: str) -> bool:
    """Whether a name stands for somebody else on each face."""
    return annotator.startswith(f"{_UNKNOWN} ")


def judge(chosen: Mapping[str, tuple[str, ...]]) -> Mapping[str, str]:
    """The fields of a `Judgement` from the choices by question.

    A place that is named says that the face is covered, even if nothing is said of what covers it; so does a cover
    that is named beside "none".

    >>> judge({"occlusion": ("mask",), "place": ("lower",)})["occlusion: mask"]
    'yes'
    >>> judge({"unusable": ("unusable",), "expression": ("fear",)})
    mappingproxy({'unusable': 'yes'})
    """
    if chosen.get(UNUSABLE):
        return MappingProxyType({UNUSABLE: YES})
    values = {UNUSABLE: NO}
    values |= {name: chosen[name][0] for name in ("expression", "pose_bin") if chosen.get(name)}
    covers, places = set(chosen.get("occlusion", ())) - {"none"}, set(chosen.get("place", ()))
    if chosen.get("occlusion") or places:
        values["occluded"] = _answer(bool(covers or places))
    if chosen.get("occlusion"):
        values |= {f"occlusion: {name}": _answer(name in covers) for name in OCCLUSIONS[1:]}
    if places or values.get("occluded") == NO:
        values |= {f"place: {name}": _answer(name in places) for name in PLACES}
    return MappingProxyType(values)


FIELDS = (
    "expression",
    "pose_bin",
    "occluded",
    *(f"occlusion: {name}" for name in OCCLUSIONS[1:]),
    *(f"place: {name}" for name in PLACES),
    UNUSABLE,
)
"""Fields of a `Judgement`, in the order of tables."""


def _answer(value: bool) -> str:
    return YES if value else NO
