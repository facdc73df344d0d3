"""The typed result: selection, names, JSON and tables."""

import dataclasses
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from regionfer.labels import LABELS
from regionfer.regions import LANDMARKS
from regionfer.results import SCHEMA_VERSION, Box, Expressions, Pose, row_columns


def make_expressions(n=3, **changes):
    """Faces whose most probable expressions are neutral, happiness, surprise ... and whose region is n % 2."""
    probabilities = np.full((n, 8), 0.3 / 7, dtype=np.float32)
    probabilities[np.arange(n), np.arange(n) % 8] = 0.7
    attention = np.tile(np.float32([0.75, 0.25]), (n, 1))
    attention[1::2] = attention[1::2, ::-1]
    values = {
        "boxes": np.arange(4 * n, dtype=np.float32).reshape(n, 4) + np.float32([0, 0, 50, 60]),
        "scores": np.linspace(1, 0.5, n, dtype=np.float32),
        "pose": np.tile(np.float32([30, -10, 5]), (n, 1)),
        "probabilities": probabilities,
        "mu": attention * 0.8,
        "nu": attention * 0.6,
        "attention": attention,
        "regions": np.float32([[0, 0, 1, 1], [0.125, 0.25, 0.875, 1]]),
        "region_names": ("face", "centre bottom"),
        "landmarks": np.arange(10 * n, dtype=np.float32).reshape(n, 5, 2),
        "aligned": np.arange(8 * n, dtype=np.float32).reshape(n, 4, 2),
        "image_size": (640, 480),
        "source": "photo.jpg",
    }
    return Expressions(**(values | changes))


class TestFace:
    def test_names_instead_of_columns(self):
        face = make_expressions()[1]
        assert face.expression == "happiness"
        assert face.probability == pytest.approx(0.7)
        assert tuple(face.probabilities) == LABELS
        assert face.region == "centre bottom"
        assert face.pose == Pose(30, -10, 5)
        assert face.box == Box(4, 5, 56, 67)
        assert face.box.xywh == (4, 5, 52, 62)
        assert face.score == 0.75
        assert face.landmarks is not None
        assert tuple(face.landmarks) == LANDMARKS
        assert face.landmarks["nose"] == (14, 15)
        whole, crop = face.regions
        assert (whole.name, crop.name) == ("face", "centre bottom")
        assert crop.box == (0.125, 0.25, 0.875, 1)
        assert (crop.attention, crop.mu) == (0.75, pytest.approx(0.6))

    @pytest.mark.parametrize("name", ["happiness", "happy", " JOY "])
    def test_aliases(self, name):
        assert make_expressions()[1].probability_of(name) == pytest.approx(0.7)
        np.testing.assert_allclose(make_expressions().probability_of(name), [0.3 / 7, 0.7, 0.3 / 7], rtol=1e-6)

    def test_unknown_expression(self):
        with pytest.raises(ValueError, match="unknown expression 'bored'; expected one of neutral, happiness"):
            make_expressions().probability_of("bored")

    def test_own_labels(self):
        own = make_expressions(2, probabilities=np.float32([[0.9, 0.1], [0.2, 0.8]]), labels=("calm", "happy"))
        assert own.expressions == ("calm", "happy")
        assert own[1].probability_of("happy") == pytest.approx(0.8)
        with pytest.raises(ValueError, match="expected one of calm, happy"):
            own.probability_of("joy")

    def test_unknown_values_are_none(self):
        nan = np.float32(np.nan)
        face = make_expressions(1, scores=np.full(1, nan), pose=np.full((1, 3), nan), landmarks=None, aligned=None)[0]
        assert face.score is None
        assert face.pose is None
        assert face.landmarks is None
        assert "pose unknown" in str(face)

    def test_landmarks_of_one_face_may_be_unknown(self):
        landmarks = np.ones((3, 5, 2), np.float32)
        landmarks[1, 2, 0] = np.nan
        faces = make_expressions(landmarks=landmarks)
        assert [face.landmarks is None for face in faces] == [False, True, False]
        assert json.loads(faces.to_json())["faces"][1]["landmarks"] is None

    def test_prints_a_line(self):
        assert str(make_expressions()[0]) == "neutral 70%  box 0 1 52 63  pose yaw +30 pitch -10 roll +5  region face"


COVERED = np.float32([[0.9, 0.3, 0.1, 0.5, 0.3, 0.2], [0.4, 0.1, 0.3, 0, 0, 0], [0.5, 0.75, 0.25, 0.2, 0.24, 1]])


def make_covered(**changes):
    """The faces of `make_expressions` with what covers them: below and left, hardly, above and right."""
    visibility = np.float32([[0.7, 0.5], [0.9, 1.0], [0.2, 0.3]])
    return make_expressions(**({"occlusion": COVERED, "visibility": visibility} | changes))


class TestOcclusion:
    def test_names_instead_of_columns(self):
        first, second, third = make_covered()
        assert first.occlusion.fraction == pytest.approx(0.3)
        assert [face.occlusion.where for face in (first, second, third)] == [
            ("lower", "left"),
            (),  # not covered: flag and place agree
            ("right",),
        ]
        assert [face.occlusion.occluded for face in (first, second, third)] == [True, False, True]
        assert [region.visibility for region in first.regions] == pytest.approx([0.7, 0.5])

    def test_the_threshold_is_the_model_s(self):
        one_half = COVERED.copy()
        one_half[2, 1] = 0.5
        covered = make_covered(occlusion=one_half, occlusion_threshold=0.6)
        assert [face.occlusion.occluded for face in covered] == [True, False, False]

    def test_more_than_half_is_covered_whatever_the_probability(self):
        assert [face.occlusion.occluded for face in make_covered(occlusion_threshold=0.95)] == [False, False, True]

    def test_forms(self):
        whole = make_covered(threshold=0.75)
        face = json.loads(whole.to_json())["faces"][0]
        assert face["occlusion"]["where"] == ["lower", "left"]
        assert (face["occlusion"]["occluded"], face["occlusion"]["threshold"], face["uncertain"]) == (True, 0.5, True)
        assert [region["visibility"] for region in face["regions"]] == pytest.approx([0.7, 0.5])
        rows = whole.to_rows()
        assert [row["occluded_where"] for row in rows] == ["lower+left", "", "right"]
        assert [row["occluded"] for row in rows] == [True, False, True]
        assert [row["occluded_probability"] for row in rows] == pytest.approx([0.9, 0.4, 0.5])
        assert [row["occluded_fraction"] for row in rows] == pytest.approx([0.3, 0.1, 0.75])
        assert [row["uncertain"] for row in rows] == [True, True, True]
        nowhere = make_expressions(1, occlusion=np.float32([[0.1, 0, 0, 0, 0, 0]]))
        assert nowhere.to_rows()[0]["occluded_where"] == ""

    def test_unknown(self):
        face = make_expressions()[0]
        assert (face.occlusion, face.uncertain, face.regions[0].visibility) == (None, None, None)
        stored = make_expressions().to_dict()["faces"][0]
        assert (stored["occlusion"], stored["uncertain"], stored["regions"][0]["visibility"]) == (None, None, None)

    def test_unknown_of_one_face(self):
        whole = make_covered()
        occlusion, visibility = whole.occlusion.copy(), whole.visibility.copy()
        occlusion[1] = visibility[1] = np.nan
        part = make_covered(occlusion=occlusion, visibility=visibility)
        assert [face.occlusion is None for face in part] == [False, True, False]
        stored = json.loads(part.to_json())["faces"][1]
        assert (stored["occlusion"], [region["visibility"] for region in stored["regions"]]) == (None, [None, None])
        assert [part.to_rows()[1][name] for name in ("occluded", "occluded_fraction", "occluded_where")] == [None] * 3

    def test_prints(self):
        face = make_covered(threshold=0.75)[0]
        assert str(face).endswith("region face  covered 30% (lower, left)  uncertain: improbable")
        assert str(make_covered()[1]).endswith("region centre bottom")

    def test_selection(self):
        whole = make_covered(unfit=np.array(["", "covered", ""]), threshold=0.1)
        part = whole[[2, 1]]
        assert list(part) == [whole[2], whole[1]]
        assert part.uncertain == (False, True)
        assert part.uncertain_reasons == (None, "covered")
        assert part.judgeable.tolist() == [True, False]


class TestUncertain:
    @pytest.mark.parametrize(
        ("threshold", "unfit", "expected", "reasons"),
        [
            pytest.param(None, None, (None, None), (None, None), id="nothing known"),
            pytest.param(None, ["", "covered"], (None, True), (None, "covered"), id="no threshold"),
            pytest.param(0.75, ["", ""], (True, False), ("improbable", None), id="threshold"),
            pytest.param(0.5, ["too small", ""], (True, False), ("too small", None), id="unfit"),
            pytest.param(0.75, ["too small", ""], (True, False), ("too small", None), id="both"),
            pytest.param(0.625, None, (False, False), (None, None), id="on the threshold"),
        ],
    )
    def test_is_below_the_threshold_or_beyond_judging(self, threshold, unfit, expected, reasons):
        probabilities = np.zeros((2, 8), dtype=np.float32)
        probabilities[:, :2] = [[0.625, 0.375], [0.125, 0.875]]
        unfit = None if unfit is None else np.array(unfit)
        whole = make_expressions(2, probabilities=probabilities, threshold=threshold, unfit=unfit)
        assert whole.uncertain == expected == tuple(face.uncertain for face in whole)
        assert whole.uncertain_reasons == reasons == tuple(face.uncertain_reason for face in whole)
        rows, stored = whole.to_rows(), json.loads(whole.to_json())["faces"]
        for given in (rows, stored):
            assert tuple(face["uncertain"] for face in given) == expected
            assert tuple(face["uncertain_reason"] for face in given) == reasons


class TestSelection:
    @pytest.mark.parametrize(
        ("key", "expected"),
        [
            pytest.param(slice(1, None), (1, 2), id="slice"),
            pytest.param(slice(None, None, -1), (2, 1, 0), id="reversed"),
            pytest.param(np.array([True, False, True]), (0, 2), id="mask"),
            pytest.param([False, True, False], (1,), id="list of bool"),
            pytest.param([2, 0], (2, 0), id="numbers"),
            pytest.param([], (), id="none"),
            pytest.param(np.array([-1]), (2,), id="from the end"),
        ],
    )
    @pytest.mark.parametrize("per_face", [False, True], ids=["shared regions", "regions a face"])
    def test_parts(self, key, expected, per_face):
        regions = np.random.default_rng(0).random((3, 2, 4), dtype=np.float32)
        whole = make_expressions(3, regions=regions) if per_face else make_expressions(3)
        part = whole[key]
        assert isinstance(part, Expressions)
        assert len(part) == len(expected)
        assert list(part) == [whole[index] for index in expected]
        assert part.source == "photo.jpg"

    def test_numbers(self):
        whole = make_expressions()
        assert whole[-1] == whole[2] == whole[np.int64(2)]
        assert [face.expression for face in whole] == list(whole.expressions) == ["neutral", "happiness", "surprise"]
        for outside in (3, -4):
            with pytest.raises(IndexError, match=f"face {outside} of 3"):
                whole[outside]

    @pytest.mark.parametrize("key", ["happiness", [0.5], np.ones((1, 3), dtype=bool)], ids=str)
    def test_refuses_other_keys(self, key):
        with pytest.raises(TypeError, match="faces are chosen by"):
            make_expressions()[key]

    def test_mask_of_another_length(self):
        with pytest.raises(IndexError):
            make_expressions()[np.array([True])]

    def test_cannot_be_written(self):
        whole = make_expressions()
        with pytest.raises(ValueError, match="read-only"):
            whole.probabilities[0] = 0
        with pytest.raises(dataclasses.FrozenInstanceError):
            whole.source = "other.jpg"  # type: ignore[misc]

    def test_leaves_the_given_arrays_alone(self):
        boxes = np.zeros((1, 4), dtype=np.float32)
        make_expressions(1, boxes=boxes)
        boxes[0] = 1


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("boxes", (3, 5), r"boxes must have shape \(3, 4\), got \(3, 5\)"),
        ("probabilities", (3, 7), r"probabilities must have shape \(3, 8\)"),
        ("attention", (3, 6), r"attention must have shape \(3, 2\)"),
        ("regions", (2, 2, 4), r"regions must have shape \(2, 4\) or \(3, 2, 4\), got"),
        ("landmarks", (3, 10), r"landmarks must have shape \(3, 5, 2\)"),
        ("aligned", (3, 8), r"aligned must have shape \(3, 4, 2\)"),
        ("visibility", (3, 6), r"visibility must have shape \(3, 2\)"),
        ("occlusion", (3, 5), r"occlusion must have shape \(3, 6\)"),
        ("unfit", (2,), r"unfit must have shape \(3,\)"),
    ],
)
def test_refuses_shapes(name, shape, message):
    with pytest.raises(ValueError, match=message):
        make_expressions(3, **{name: np.zeros(shape, dtype=np.float32)})


class TestForms:
    def test_json(self):
        whole = make_expressions()
        stored = json.loads(whole.to_json())
        assert stored == whole.to_dict()
        assert stored["schema_version"] == SCHEMA_VERSION
        assert list(stored) == ["schema_version", "source", "image_size", "labels", "faces"]
        face = stored["faces"][1]
        assert (stored["source"], stored["image_size"]) == ("photo.jpg", [640, 480])
        assert (face["face"], face["expression"], face["region"]) == (1, "happiness", "centre bottom")
        assert face["box"] == {"x1": 4, "y1": 5, "x2": 56, "y2": 67}
        assert face["pose"] == {"yaw": 30, "pitch": -10, "roll": 5}
        assert face["landmarks"]["left eye"] == [10, 11]
        assert face["aligned"] == [[8, 9], [10, 11], [12, 13], [14, 15]]
        assert [region["name"] for region in face["regions"]] == ["face", "centre bottom"]
        assert sum(face["probabilities"].values()) == pytest.approx(1)

    def test_unknown_values_are_null(self):
        nan = np.float32(np.nan)
        unknown = make_expressions(
            1, scores=np.full(1, nan), pose=np.full((1, 3), nan), landmarks=None, aligned=None, source=None
        )
        text = unknown.to_json()
        assert "NaN" not in text
        face = json.loads(text)["faces"][0]
        assert [face[key] for key in ("score", "pose", "landmarks", "aligned")] == [None] * 4
        row = unknown.to_rows()[0]
        assert [row[key] for key in ("image", "yaw", "pitch", "roll")] == [None] * 4

    def test_is_one_line_unless_indented(self):
        assert "\n" not in make_expressions().to_json()
        assert "\n" in make_expressions().to_json(indent=2)

    def test_rows(self):
        rows = make_expressions().to_rows()
        assert [row["face"] for row in rows] == [0, 1, 2]
        columns = ["image", "face", "x1", "y1", "x2", "y2", "expression", "probability"]
        columns += [f"p_{label}" for label in LABELS] + ["yaw", "pitch", "roll", "region"]
        columns += ["occluded", "occluded_probability", "occluded_fraction", "occluded_where"]
        columns += ["uncertain", "uncertain_reason"]
        assert list(rows[0]) == columns == list(row_columns())
        assert rows[1]["p_happiness"] == rows[1]["probability"] == pytest.approx(0.7)
        assert {type(value) for value in list(rows[0].values())[:-6]} == {str, int, float}
        assert list(rows[0].values())[-6:] == [None] * 6

    def test_no_faces(self):
        nobody = make_expressions(0)
        assert nobody.to_rows() == []
        assert nobody.to_dict()["faces"] == []
        assert nobody.expressions == ()
        assert str(nobody) == "photo.jpg: 0 faces"

    def test_text(self):
        assert str(make_expressions(1)).splitlines() == [
            "photo.jpg: 1 face",
            "  0  neutral 70%  box 0 1 52 63  pose yaw +30 pitch -10 roll +5  region face",
        ]
        assert repr(make_expressions(2)) == "<Expressions of photo.jpg: 2 faces (neutral, happiness)>"

    def test_pickle(self):
        whole = make_expressions()
        assert pickle.loads(pickle.dumps(whole)).to_dict() == whole.to_dict()


NOT_SPELLED_OUT = {f"p_{label}" for label in LABELS[1:-1]}


def test_the_documentation_names_every_key():
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    documented, real = json.loads(example), make_expressions().to_dict()
    assert list(documented) == list(real)
    assert list(documented["faces"][0]) == list(real["faces"][0])
    assert list(documented["faces"][0]["regions"][0]) == list(real["faces"][0]["regions"][0])
    assert documented["schema_version"] == SCHEMA_VERSION
    assert all(f"`{column}`" in page for column in row_columns() if column not in NOT_SPELLED_OUT)
