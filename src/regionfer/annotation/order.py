"""In which order faces are given to annotators: active learning begins with the least certain."""

import random
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from regionfer.annotation.attributes import FaceRow
from regionfer.errors import DatasetError


def put_in_order(rows: Sequence[FaceRow], order: str, *, seed: int = 0) -> list[FaceRow]:
    """Faces in one of ``ORDERS``.

    Args:
        rows: of a table.
        order: "unsure" (faces that cannot be judged first, then the least probable answers), "occlusion" (first those
            of which it is least clear whether they are covered), "random", or "table".
        seed: of the random order.

    Raises:
        DatasetError: "occlusion", and the table says of no face how probably it is covered.
    """
    return ORDERS[order](rows, seed)


def _unsure(rows: Sequence[FaceRow], seed: int) -> list[FaceRow]:
    return sorted(rows, key=lambda row: (not row.unfit, row.probability))


def _occlusion(rows: Sequence[FaceRow], seed: int) -> list[FaceRow]:
    known = [row for row in rows if row.occluded_probability is not None]
    if not known:
        raise DatasetError(
            "no face of this table has a probability of being covered: annotate with a model that estimates it, "
            "or choose another order"
        )
    others = [row for row in rows if row.occluded_probability is None]
    return sorted(known, key=lambda row: abs((row.occluded_probability or 0.0) - 0.5)) + others


def _random(rows: Sequence[FaceRow], seed: int) -> list[FaceRow]:
    return random.Random(seed).sample(list(rows), len(rows))


def _table(rows: Sequence[FaceRow], seed: int) -> list[FaceRow]:
    return list(rows)


ORDERS: Mapping[str, Callable[[Sequence[FaceRow], int], list[FaceRow]]] = MappingProxyType(
    {"unsure": _unsure, "occlusion": _occlusion, "random": _random, "table": _table}
)
