"""Which faces are not judged, and why. With photos and models: test_recognizer.py."""

import numpy as np
import pytest

from regionfer.fitness import has_contrast, unfit_reasons
from regionfer.onnx_model import ModelOutput


def test_the_rules():
    """Its side; contrast; how surely a face; the largest probability; by how much it was turned; the reason."""
    cases = [
        (48, 1, 0.1, 0.4, 0, "no face"),
        (48, 1, 0.1, 0.7, 0, ""),
        (48, 1, 0.3, 0.4, 0, ""),
        (48, 1, np.nan, 0.2, 0, ""),
        (48, 1, 0.9, 0.9, 121, "upside down"),
        (48, 1, 0.9, 0.9, -121, "upside down"),
        (48, 1, 0.9, 0.9, 119, ""),
        (48, 1, 0.1, 0.4, 170, "no face"),
        (16, 1, 0.9, 0.9, 0, ""),
        (15.9, 1, 0.9, 0.9, 0, "too small"),
        (48, 0, 0.9, 0.9, 0, "no contrast"),
        (15, 0, 0.1, 0.4, 170, "too small"),
        (48, 0, 0.1, 0.4, 170, "no contrast"),
    ]
    nothing = np.zeros((len(cases), 1), np.float32)
    sides, contrasted, scores, probable, roll = np.float32([case[:-1] for case in cases]).T
    output = ModelOutput(np.column_stack([probable, 0 * probable]), nothing, nothing, nothing)
    found = unfit_reasons(sides, contrasted == 1, output, roll, scores)
    assert found.tolist() == [case[-1] for case in cases]


@pytest.mark.parametrize(
    ("roll", "score", "reason"), [(0, 0.9, "covered"), (0, 0.1, "no face"), (170, 0.9, "upside down")]
)
def test_what_is_said_of_a_covered_face(roll, score, reason):
    row, nothing = np.full((1, 6), 0.8, np.float32), np.zeros((1, 1), np.float32)
    output = ModelOutput(np.float32([[0.6, 0.4]]), nothing, nothing, nothing, None, row)
    found = unfit_reasons(np.array([48]), np.array([True]), output, np.array([roll]), np.array([score]))
    assert found.tolist() == [reason]


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        pytest.param((0, 0, 40, 40), True, id="an edge within"),
        pytest.param((0, 0, 20, 40), False, id="beside it"),
        pytest.param((-15, 0, 30, 40), True, id="beyond the left edge"),
        pytest.param((-30, 0, -2, 40), False, id="left of the picture"),
        pytest.param((65, 0, 80, 40), False, id="right of the picture"),
        pytest.param((10, 30, 90, 70), True, id="beyond the right and the lower edge"),
        pytest.param((0, 45, 60, 80), False, id="below the picture"),
    ],
)
def test_contrast_is_looked_for_within_the_box(box, seen):
    image = np.full((40, 60, 3), 90, np.uint8)
    image[:, 20:] = 160
    assert has_contrast(image, np.float32(box)) is seen
