import numpy as np
import pytest

from regionfer.faces import Detections


def some(n):
    return Detections(np.arange(4 * n).reshape(n, 4), np.linspace(1, 0.5, n), np.zeros((n, 5, 2)))


def test_fields_become_float32():
    faces = some(2)

    assert [faces.boxes.dtype, faces.scores.dtype, faces.landmarks.dtype] == [np.float32] * 3


@pytest.mark.parametrize(
    ("chosen", "rows"),
    [
        (0, [0]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        (np.array([True, False, True]), [0, 2]),
        (np.array([2, 0]), [2, 0]),
        ([], []),
    ],
    ids=["int", "last", "slice", "mask", "indices", "none"],
)
def test_selection_keeps_rows_together(chosen, rows):
    faces = some(3)

    part = faces[np.array(chosen, dtype=int) if chosen == [] else chosen] if isinstance(chosen, list) else faces[chosen]

    np.testing.assert_array_equal(part.boxes, faces.boxes[rows])
    np.testing.assert_array_equal(part.scores, faces.scores[rows])


def test_iterating_ends_after_the_last_face():
    assert [face.scores.tolist() for face in some(2)] == [[1.0], [0.5]]


def test_an_index_beyond_the_end_is_an_error():
    with pytest.raises(IndexError):
        some(2)[2]


@pytest.mark.parametrize(
    ("boxes", "scores", "landmarks", "message"),
    [
        ((2, 5), (2,), (2, 5, 2), r"boxes must have shape \(2, 4\), got \(2, 5\)"),
        ((2, 4), (3,), (2, 5, 2), r"scores must have shape \(2,\), got \(3,\)"),
        ((2, 4), (2,), (2, 10), r"landmarks must have shape \(2, 5, 2\), got \(2, 10\)"),
    ],
    ids=["boxes", "scores", "landmarks"],
)
def test_shapes_that_disagree_are_refused(boxes, scores, landmarks, message):
    with pytest.raises(ValueError, match=message):
        Detections(np.zeros(boxes), np.zeros(scores), np.zeros(landmarks))


@pytest.mark.parametrize("score", [-0.1, 1.1, np.nan])
def test_scores_are_shares(score):
    with pytest.raises(ValueError, match=r"scores must be in 0\.\.1"):
        Detections(np.zeros((1, 4)), [score], np.zeros((1, 5, 2)))
