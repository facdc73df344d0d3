import base64
import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from regionfer.degradations import DEGRADATIONS, LEVELS
from regionfer.errors import OutputError
from regionfer.evaluation import DatasetFaces, PhotoFaces, stress, write_stress_report
from regionfer.evaluation.stress_answers import CLEAN, Condition
from regionfer.evaluation.stress_report import (
    curve_figure,
    kind_table,
    level_table,
    mean_table,
    measures,
    to_csv,
    to_html,
    to_markdown,
)
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer

KINDS = ("mask", "resolution", "rotation")
UNCERTAINTY = {"threshold": 0.6, "risk": 0.1, "coverage": 0.8, "n": 50} | {
    "curve": {"threshold": [0.9, 0.6], "coverage": [0.3, 0.8], "risk": [0.07, 0.1]}
}


@pytest.fixture
def full(recognizer, make_manifest, save_model, make_card):
    """Everything: a threshold, a baseline with none, pictures, and an image that is gone."""
    card = make_card(face_size=32, input_size=32, uncertainty=UNCERTAINTY)
    model = Recognizer(ExpressionModel.load(save_model(card), threads=1))
    manifest = make_manifest(30, dataset="<i> Faces & co", pixels=_textured(30))
    return stress(model, DatasetFaces(manifest), baseline=recognizer, kinds=KINDS, examples=2)


def _textured(count):
    rng = np.random.default_rng(2)
    return (rng.integers(0, 200, (count, 1, 1, 3)) + rng.integers(0, 56, (count, 32, 32, 3))).astype(np.uint8)


@pytest.fixture
def unlabelled(recognizer, draw_squares, tmp_path):
    Image.fromarray(draw_squares((250, 20, 20))).save(tmp_path / "a.png")
    Image.fromarray(draw_squares()).save(tmp_path / "b.png")
    return stress(recognizer, PhotoFaces(sorted(tmp_path.glob("*.png"))), kinds=["hand"], examples=2)


class TestPage:
    def test_stands_alone(self, full):
        text = to_html(full)
        references = re.findall(r'(?:src|href|xlink:href)="([^"]*)"', text)
        assert references
        assert all(reference.startswith(("#", "data:image/")) for reference in references)
        links = {reference[1:] for reference in references if reference.startswith("#")}
        assert links <= set(re.findall(r'id="([^"]+)"', text))
        assert "<script" not in text
        assert not re.search(r"url\((?!#)|@import", text)
        assert text == to_html(full)

    def test_shows_every_table(self, full):
        text = re.sub(r"<[^>]+>", " ", to_html(full))
        for table in (level_table(full), mean_table(full), *(kind_table(full, kind) for kind in KINDS)):
            for row in table.rows:
                assert all(cell.replace("<", "&lt;") in text for cell in row)

    def test_names_are_escaped(self, full):
        assert "<i> Faces" not in to_html(full)
        assert "&lt;i&gt; Faces &amp; co" in to_html(full)

    def test_pictures_are_the_faces(self, full):
        uris = re.findall(r'src="data:image/png;base64,([^"]+)"', to_html(full))
        assert len(uris) == 2 * len(KINDS) * 6
        with Image.open(io.BytesIO(base64.b64decode(uris[1]))) as picture:
            first = full.examples[full.names[0]]
            assert np.array_equal(np.asarray(picture), first[Condition("mask", 1)].pixels)
        said = full.classes[full.model.probabilities[CLEAN][0].argmax()]
        beside = full.classes[full.baseline.probabilities[CLEAN][0].argmax()]
        answers = full.examples[full.names[0]][CLEAN].answers
        assert [answer.split()[0] for answer in answers] == [said, beside]

    def test_pictures_say_what_they_are(self, full):
        page = to_html(full)
        assert re.findall(r"<figcaption>(.*), mask, levels 1 to 5</figcaption>", page) == list(full.names[:2])
        amounts = [full.amounts[Condition("mask", level)] for level in LEVELS]
        for level, amount in zip(LEVELS, amounts, strict=True):
            assert page.count(f'<span class="name">mask, level {level} of 5: {amount:.0f} % covered</span>') == 2
        assert page.count('<span class="name">rotation, level 2 of 5: 20 ') == 2

    def test_coverage_is_explained(self, full):
        page = to_html(full)
        assert "Degraded faces, dark ones too, may be left unanswered" in page
        assert 'it does not count for <a href="#coverage">' in page

    def test_without_pictures(self, recognizer, make_manifest):
        page = to_html(stress(recognizer, DatasetFaces(make_manifest(30, pixels=_textured(30))), kinds=["hand"]))
        assert "<img" not in page
        assert "baseline" not in page.lower()

    def test_of_photos(self, unlabelled):
        page = to_html(unlabelled)
        assert "Calibration" not in page
        assert "Coverage" not in page
        assert "no face found" in page
        assert "Share of answers that are the same as the model" in page


class TestCurves:
    def test_which(self, full, unlabelled):
        names = [measure.name for measure in measures(full)]
        assert names == ["accuracy", "coverage", "wrong-among-answered", "calibration"]
        assert [measure.name for measure in measures(unlabelled)] == ["agreement"]

    def test_drawn_for_each_kind(self, full):
        svg = curve_figure(full, measures(full)[0])
        for kind in KINDS:
            assert DEGRADATIONS[kind].title in svg
        for amount in (32, 24, 16, 12, 8, 60):
            assert re.search(rf">{amount}</text>", svg)
        assert "baseline" in svg

    def test_csv(self, full):
        rows = list(csv.DictReader(io.StringIO(to_csv(full))))
        assert len(rows) == len(KINDS) * 6 * 2
        row = rows[2 * (6 + 3)]
        assert (row["kind"], row["level"], row["who"], row["unit"]) == ("resolution", "3", "model", "px")
        point = full.model.points[Condition("resolution", 3)]
        assert float(row["accuracy"]) == point.right
        assert [float(row[f"accuracy_ci95_{end}"]) for end in ("low", "high")] == list(point.right_ci95)
        assert float(row["coverage"]) == point.selection.coverage
        assert {each["coverage"] for each in rows if each["who"] == "baseline"} == {""}

    def test_tables(self, full):
        table = level_table(full)
        assert [row[0] for row in table.rows[::3]] == ["Mask", "Low resolution", "Rotation", "All kinds"]
        assert [row[1] for row in table.rows[:3]] == ["model", "baseline", "difference"]
        for row, each in ((3, full.model), (4, full.baseline)):
            shares = [each.points[c].right for c in (CLEAN, *(Condition("resolution", level) for level in LEVELS))]
            assert table.rows[row][2:8] == tuple(f"{100 * share:.1f}" for share in shares)
        assert {len(row) for row in table.rows} == {len(table.columns)}
        kind = kind_table(full, "resolution")
        assert {len(row) for row in kind.rows} == {len(kind.columns)}
        assert [row[0] for row in kind.rows][2:4] == ["1: 32 px", "1: 32 px, baseline"]

    def test_the_mean_over_kinds(self, full):
        row = level_table(full).rows[9]
        third = [full.model.points[Condition(kind, 3)].right for kind in KINDS]
        assert (row[0], row[1], row[5]) == ("All kinds", "model", f"{100 * np.mean(third):.1f}")
        assert row[8].startswith(f"{100 * full.means['all kinds'].right:.1f} (")

    def test_means_of_coverage_and_calibration(self, full):
        table = mean_table(full)
        assert table.columns == ("kind", "whose", "accuracy", "answered", "wrong of these", "ECE")
        rows = {row[0]: row for row in table.rows if row[0]}
        assert list(rows) == ["Clean", "Mask", "Low resolution", "Rotation", "All kinds"]
        points = [full.model.points[Condition("mask", level)] for level in LEVELS]
        answered = sum(round(30 * point.selection.coverage) for point in points)
        wrong = sum(round(30 * point.selection.coverage * (point.selection.risk or 0)) for point in points)
        assert rows["Mask"][2:] == (
            f"{100 * np.mean([point.right for point in points]):.1f}",
            f"{100 * answered / 150:.1f}",
            f"{100 * wrong / answered:.1f}",
            f"{100 * np.mean([point.ece for point in points]):.1f}",
        )
        beside = table.rows[1]
        assert (beside[0], beside[1], beside[3], beside[4]) == ("", "baseline", "–", "–")  # it has no threshold

    def test_without_a_baseline(self, unlabelled):
        assert level_table(unlabelled).columns == ("kind", "clean", "1", "2", "3", "4", "5", "mean of 1 to 5")
        assert [row[0] for row in level_table(unlabelled).rows] == ["Hand", "All kinds"]
        assert mean_table(unlabelled).columns == ("kind", "agreement")
        assert mean_table(unlabelled).rows[0] == ("Clean", "100.0")
        assert level_table(unlabelled).rows[0][-1].endswith("(–)")  # one face

    def test_markdown(self, full):
        lines = [line for line in to_markdown(full).splitlines() if line.startswith("| ")]
        assert sum(line.startswith("| 3: ") for line in lines) == len(KINDS) * 2


def test_files(full, tmp_path):
    assert write_stress_report(full, tmp_path / "new") == tmp_path / "new" / "report.html"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["curves.csv", "report.html", "report.md"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be made"):
        write_stress_report(full, tmp_path / "file")
