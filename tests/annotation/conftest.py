"""Rows and tables made by hand, and folders of one-coloured faces, which the tiny models tell apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regionfer.annotation import AttributeTable, FaceRow, TableCard
from regionfer.labels import LABELS
from regionfer.results import covered_halves

HALVES = ("upper", "lower", "left", "right")
POSE = ("yaw", "pitch", "roll", "pose_bin")
COVER = ("occluded_fraction", "occluded_where", "occluded", "occluded_probability", *(f"occluded_{h}" for h in HALVES))
UNKNOWN = dict.fromkeys((*POSE, *COVER, "uncertain", "uncertain_reason", "label", "split"))


@pytest.fixture(scope="session")
def make_row() -> Callable[..., FaceRow]:
    """A function that makes a row; what it is not told is unknown."""

    def make(image: str = "a.png", face: int = 0, **known: object) -> FaceRow:
        box = {"x1": 0.0, "y1": 0.0, "x2": 48.0, "y2": 48.0, "face_size": 48.0}
        answer = {"blur": 12.5, "expression": "fear", "probability": 0.5}
        return FaceRow(**UNKNOWN | box | answer | {"image": image, "face": face} | known)

    return make


@pytest.fixture(scope="session")
def covered() -> Callable[..., dict[str, object]]:
    """A function that makes what a row says of a covered face: share of each half that is covered."""

    def make(probability: float = 0.9, *, upper: float = 0, lower: float = 0, left: float = 0, right: float = 0):
        halves = {"upper": upper, "lower": lower, "left": left, "right": right}
        return {
            "occluded_probability": probability,
            "occluded": probability >= 0.5,
            "occluded_fraction": (upper + lower) / 2,
            "occluded_where": "+".join(covered_halves(**halves)) if probability >= 0.5 else "",
        } | {f"occluded_{name}": share for name, share in halves.items()}

    return make


@pytest.fixture(scope="session")
def make_table() -> Callable[..., AttributeTable]:
    """A function that makes a table of rows."""

    def make(*rows: FaceRow, **changes: object) -> AttributeTable:
        card: dict[str, object] = {
            "dataset": "album",
            "reader": "photos",
            "root": "/album",
            "classes": (),
            "labels": LABELS,
            "model": "tiny 0.0.1",
            "model_sha256": "0" * 64,
            "detect": False,
            "min_confidence": None,
            "threshold": None,
        }
        return AttributeTable(TableCard(**card | changes), rows)

    return make


@pytest.fixture
def colours(tmp_path: Path) -> Callable[..., Path]:
    """A function that makes a folder of one-coloured images: ``colours(a=(255, 0, 0), b=...)``, 48 pixels a side."""

    def make(side: int = 48, **named: tuple[int, int, int]) -> Path:
        folder = tmp_path / "faces"
        folder.mkdir(exist_ok=True)
        for name, colour in named.items():
            Image.fromarray(np.full((side, side, 3), colour, np.uint8)).save(folder / f"{name}.png")
        return folder

    return make
