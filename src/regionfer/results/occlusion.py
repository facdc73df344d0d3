"""What of a face is covered, and how people are told."""

from typing import NamedTuple

NAMED_SHARE = 0.05
"""A covered share of a face below this is no more than the error of the estimate; texts for people leave it out."""

UNKNOWN_PLACE = "place unknown"
"""What such texts say of a face that counts as covered where no half is named: often by fringes, hands or hair."""

MAX_COVERED = 0.5
"""A face of which the model finds more than this share covered counts as covered, and is not judged as far as its
expression and pose go.

With cloth drawn over 72 % of the face 200 faces of FERPlus Valid get 50 % right answers, over 82 % 37 %, which is the
share of the commonest class; 78 and 90 % of them are found to be so covered. Of those with a mask up to the eyes, over
57 %, 14 % are, of which 46 % get the right answer, the others 62 %. Of 3,191 faces as they are two are.
"""

COVERED_HALF = 0.1
"""A half of a face is named as covered if at least this share of it is; see `covered_halves`.

What is drawn over training faces covers more than what nature puts there, and so little is found of the latter: a half
is named of 35 % of the faces of FERPlus Valid with something over the upper part, of 34 % with glasses, of 7 to 10 %
with something below or at the sides, and of 5 % of the clear ones.
"""


UNEVEN = 1.5
"""Times the covered share of one half at which that of the half opposite is told apart from it."""


class Occlusion(NamedTuple):
    """What of a face is covered; left and right are the viewer's. All values are in 0..1.

    Attributes:
        probability: that something covers the face.
        fraction: covered share of the face.
        upper: covered share of its upper half.
        lower: covered share of its lower half.
        left: covered share of its left half.
        right: covered share of its right half.
        threshold: probability from which the face counts as covered; so does one of which more than half is.
    """

    probability: float
    fraction: float
    upper: float
    lower: float
    left: float
    right: float
    threshold: float = 0.5

    @property
    def occluded(self) -> bool:
        """Whether the face counts as covered.

        >>> Occlusion(0.6, 0.2, 0, 0, 0, 0, threshold=0.7).occluded, Occlusion(0.6, 0.51, 1, 0, 1, 0, 0.7).occluded
        (False, True)
        """
        return self.probability >= self.threshold or self.fraction > MAX_COVERED

    @property
    def where(self) -> tuple[str, ...]:
        """Names of the halves on which the cover lies, see `covered_halves`.

        None of a face that does not count as covered, nor where the model sees that something covers it but not where.

        >>> Occlusion(0.9, fraction=0.3, upper=0.1, lower=0.5, left=0.4, right=0.2).where
        ('lower', 'left')
        """
        return covered_halves(self.upper, self.lower, self.left, self.right) if self.occluded else ()


def covered_halves(upper: float, lower: float, left: float, right: float) -> tuple[str, ...]:
    """Halves on which the cover of a face lies, of those of which at least a tenth is covered.

    A half is told from the one opposite where half as much again of it is covered; where neither above and below nor
    left and right differ so, all four are named.

    >>> covered_halves(upper=0.1, lower=0.5, left=0.3, right=0.28)
    ('lower',)
    >>> covered_halves(upper=0.1, lower=0.5, left=0.4, right=0.2)
    ('lower', 'left')
    >>> covered_halves(upper=0.5, lower=0.6, left=0.5, right=0.6)
    ('upper', 'lower', 'left', 'right')
    """
    shares = {"upper": upper, "lower": lower, "left": left, "right": right}
    opposite = {"upper": lower, "lower": upper, "left": right, "right": left}
    told_apart = [half for half, share in shares.items() if share > 0 and share >= UNEVEN * opposite[half]]
    return tuple(half for half in told_apart or shares if shares[half] >= COVERED_HALF)


def covered_text(occlusion: Occlusion | None) -> str:
    """How much of a face is covered, and where; nothing if it is not, or if nothing is known of it.

    A share below `NAMED_SHARE` is named only with a place.

    >>> covered_text(Occlusion(0.9, fraction=0.3, upper=0.1, lower=0.5, left=0.4, right=0.2))
    '30% (lower, left)'
    >>> covered_text(Occlusion(0.9, fraction=0.02, upper=0.02, lower=0, left=0.02, right=0))
    'place unknown'
    >>> covered_text(Occlusion(0.9, fraction=0.08, upper=0.08, lower=0.08, left=0.08, right=0.08))
    '8% (place unknown)'
    >>> covered_text(Occlusion(0.9, fraction=0.04, upper=0.1, lower=0, left=0.05, right=0.05))
    '4% (upper)'
    """
    if occlusion is None or not occlusion.occluded:
        return ""
    if not occlusion.where and occlusion.fraction < NAMED_SHARE:
        return UNKNOWN_PLACE
    return f"{share_text(occlusion.fraction)} ({', '.join(occlusion.where) or UNKNOWN_PLACE})"


def share_text(share: float) -> str:
    """A share in whole percent, which says neither "none" nor "all" of what is only nearly so.

    >>> share_text(0.934), share_text(0.999999), share_text(0.001), share_text(1.0)
    ('93%', '>99%', '<1%', '100%')
    """
    text = f"{share:.0%}"
    if text == "100%" and share < 1:
        return ">99%"
    return "<1%" if text == "0%" and share > 0 else text
