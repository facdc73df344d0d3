"""How far annotators agree, and what most of them say."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from regionfer.annotation.questions import FIELDS, NO, UNUSABLE, YES, Judgement, is_unknown

Said = Mapping[str, str]
"""Answers to one field about one face, by annotator."""


@dataclass(frozen=True)
class Agreement:
    """How far annotators agree in a field.

    Attributes:
        field: of `regionfer.annotation.questions.FIELDS`.
        faces: number of faces that two annotators or more judged.
        annotators: number of annotators who judged any of these.
        share: mean share of pairs of annotators who agree on a face, 0..1.
        kappa: that share corrected for chance, 1 at most; None where all answers are the same one.
        method: "Cohen" for two annotators, "Fleiss" for more, and where it is not known who they are.
        only: the one answer that all gave; None where there are several.
    """

    field: str
    faces: int
    annotators: int
    share: float
    kappa: float | None
    method: str
    only: str | None

    @property
    def unnamed(self) -> bool:
        """Whether this is a cover or a place that nobody named."""
        return ": " in self.field and self.only == NO


NO_ANSWER = "no answer"


@dataclass(frozen=True)
class Dispute:
    """A field on which the annotators of a face contradict each other, or in which no answer has a majority.

    Attributes:
        answers: of each annotator of the face; "unusable" of those who call it that, ``NO_ANSWER`` of those who
            passed over the question.
        reason: how many gave each answer, and whether that is a majority.
    """

    answers: Said
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What is held of a face after all annotators were heard.

    Attributes:
        image, face: which face it is.
        annotators: number of those who judged it.
        values: by field, the answer of more than half of these, whether all of them answered or not; of a face that
            most call unusable, only that.
        disputed: by field, what is in dispute.
    """

    image: str
    face: int
    annotators: int
    values: Mapping[str, str]
    disputed: Mapping[str, Dispute]


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two annotators (Cohen, 1960); None where both always say the same one thing.

    Args:
        pairs: the answers of the first and the second, one pair a face.

    >>> cohen_kappa([("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15)
    0.4
    """
    n = len(pairs)
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = sum(a == b for a, b in pairs) / n
    chance = sum(first[answer] * second[answer] for answer in first) / n**2
    return None if chance == 1 else round((observed - chance) / (1 - chance), 12)


def fleiss_kappa(faces: Sequence[Sequence[str]]) -> float | None:
    """Fleiss' kappa of many annotators (Fleiss, 1971); None where all answers are the same one.

    The number of annotators may differ from face to face: each face's agreement is that of its own pairs.

    Args:
        faces: the answers about each face, two or more.

    >>> fleiss_kappa([["a", "a", "a"], ["b", "b", "b"]])
    1.0
    """
    counts = [Counter(answers) for answers in faces]
    observed = sum(map(_pair_share, faces)) / len(faces)
    total: Counter[str] = sum(counts, Counter())
    chance = sum((count / total.total()) ** 2 for count in total.values())
    return None if len(total) == 1 else round((observed - chance) / (1 - chance), 12)


def agreements(judgements: Iterable[Judgement]) -> list[Agreement]:
    """The agreement in each field that two annotators judged on some face."""
    faces = _by_face(judgements).values()
    found = (_agreement(name, [_said(name, face) for face in faces]) for name in FIELDS)
    return [agreement for agreement in found if agreement is not None]


def verdicts(judgements: Iterable[Judgement]) -> list[Verdict]:
    """What most annotators say of each face, in the order of the faces."""
    return [_verdict(face) for face in _by_face(judgements).values()]


def _agreement(name: str, faces: Sequence[Said]) -> Agreement | None:
    shared = [said for said in faces if len(said) > 1]
    if not shared:
        return None
    people = sorted({annotator for said in shared for annotator in said})
    share = sum(_pair_share(list(said.values())) for said in shared) / len(shared)
    # Cohen's takes the two for the same persons on all faces.
    cohen = len(people) == 2 and not any(map(is_unknown, people))
    if cohen:
        kappa = cohen_kappa([(said[people[0]], said[people[1]]) for said in shared])
    else:
        kappa = fleiss_kappa([list(said.values()) for said in shared])
    answers = {answer for said in shared for answer in said.values()}
    only = answers.pop() if len(answers) == 1 else None
    return Agreement(name, len(shared), len(people), share, kappa, "Cohen" if cohen else "Fleiss", only)


def _pair_share(answers: Sequence[str]) -> float:
    pairs = list(combinations(answers, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def _by_face(judgements: Iterable[Judgement]) -> Mapping[tuple[str, int], list[Judgement]]:
    faces: dict[tuple[str, int], list[Judgement]] = {}
    for judgement in judgements:
        faces.setdefault(judgement.key, []).append(judgement)
    return faces


def _said(name: str, judgements: Sequence[Judgement]) -> Said:
    return {each.annotator: each.values[name] for each in judgements if name in each.values}


def _verdict(judgements: Sequence[Judgement]) -> Verdict:
    values: dict[str, str] = {}
    disputed: dict[str, Dispute] = {}
    for name in FIELDS:
        said = _said(name, judgements)
        if not said:
            continue
        answer, count = Counter(said.values()).most_common(1)[0]
        held = 2 * count > len(judgements)
        if held:
            values[name] = answer
        # That a cover or a place which nobody named has no majority says no more than the lines of other fields.
        idle = ": " in name and YES not in said.values()
        if count < len(said) or not (held or idle):
            disputed[name] = _dispute(name, judgements, held=held)
    if values.get(UNUSABLE) == YES:
        values = {UNUSABLE: YES}
        disputed = {name: each for name, each in disputed.items() if name == UNUSABLE}
    first = judgements[0]
    return Verdict(first.image, first.face, len(judgements), MappingProxyType(values), MappingProxyType(disputed))


def _dispute(name: str, judgements: Sequence[Judgement], *, held: bool) -> Dispute:
    answers = {each.annotator: each.values.get(name, _silence(each)) for each in judgements}
    tally = ", ".join(f"{count} {answer}" for answer, count in Counter(answers.values()).most_common())
    people = f"{len(answers)} annotator{'' if len(answers) == 1 else 's'}"
    return Dispute(MappingProxyType(answers), f"{'majority' if held else 'no majority'} of {people}: {tally}")


def _silence(judgement: Judgement) -> str:
    """Why an annotator does not answer a question."""
    return UNUSABLE if judgement.values.get(UNUSABLE) == YES else NO_ANSWER
