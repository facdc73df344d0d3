import base64
import io
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

import regionfer.evaluation.report as report_module
from regionfer.datasets import Finding, Subset
from regionfer.errors import OutputError
from regionfer.evaluation import evaluate, prepare_report, write_report
from regionfer.evaluation.figures import reliability_figure, risk_coverage_figure
from regionfer.evaluation.report import surest_mistakes, to_html, to_markdown
from regionfer.evaluation.tables import all_tables, difference_text, list_table, p_text
from regionfer.onnx_model import ExpressionModel
from regionfer.recognizer import Recognizer

ODD_NAME = "a|b <i> $x_1$"


class Page(HTMLParser):
    """What a page refers to, and whether its elements are closed."""

    EMPTY = ("meta", "img", "br", "path", "use", "rect")

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.tags = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


@pytest.fixture
def full(recognizer, make_manifest, draw_squares, save_model, make_card):
    """An evaluation with everything: a baseline, end to end, subsets with types and findings."""
    finding = Finding("unknown", "<b>x</b> is not among the images", line=3)
    subsets = [
        Subset(ODD_NAME, np.arange(35), {"type": np.array(["upper", "lower"] * 17 + [""])}, (finding,)),
        Subset("few", np.arange(4)),
    ]
    baseline = Recognizer(save_model(make_card(name="other"), seed=3), recognizer.detector)
    return evaluate(recognizer, make_manifest(), subsets=subsets, baseline=baseline, end_to_end=True)


class TestPage:
    def test_stands_alone(self, full):
        page = Page(to_html(full))
        assert page.open == []
        assert "script" not in page.tags
        assert "link" not in page.tags
        assert page.references
        assert all(reference.startswith(("#", "data:image/")) for reference in page.references)
        assert not re.search(r"url\((?!#)|@import", to_html(full))
        links = {reference[1:] for reference in page.references if reference.startswith("#")}
        assert links <= set(re.findall(r'id="([^"]+)"', to_html(full)))

    def test_shows_every_table(self, full):
        text = re.sub(r"<[^>]+>", " ", to_html(full))
        for table in all_tables(full):
            for row in table.rows:
                for cell in row:
                    assert cell.replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;") in text

    def test_names_are_escaped(self, full):
        page = to_html(full)
        assert "<b>x" not in page
        assert "<i>" not in page
        for text in (page, reliability_figure(full), risk_coverage_figure(full)):  # there not as mathematics
            assert "a|b &lt;i&gt; $x_1$" in re.sub("<!--.*?-->", "", text, flags=re.DOTALL)

    def test_the_same_each_time(self, full):
        assert to_html(full) == to_html(full)

    def test_of_one_model(self, recognizer, make_manifest):
        page = to_html(evaluate(recognizer, make_manifest()))
        assert Page(page).open == []
        assert "baseline" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower()
        assert "End to end" not in page

    def test_without_mistakes(self, recognizer, make_manifest):
        assert "The model made no mistakes." in to_html(evaluate(recognizer, make_manifest(right=1.0)))

    def test_of_one_face(self, recognizer, make_manifest):
        assert Page(to_html(evaluate(recognizer, make_manifest(1), end_to_end=True))).open == []

    def test_of_photos_without_a_face(self, recognizer, make_manifest):
        evaluation = evaluate(
            recognizer, make_manifest(4, pixels=np.zeros((4, 40, 40, 3), np.uint8), crops=False), end_to_end=True
        )
        text = to_html(evaluation)
        assert Page(text).open == []
        assert "Faces not found: 4 of 4" in text
        assert "Reliability" not in text
        assert "| all | 4 | 4 (100.0 %) |" in to_markdown(evaluation)


class TestGallery:
    def test_surest_first(self, recognizer, make_manifest):
        evaluation = evaluate(recognizer, make_manifest())
        pictures = surest_mistakes(evaluation)
        assert len(pictures) == 10
        said = [int(re.search(r"(\d+)%", picture.lines[0])[1]) for picture in pictures]
        assert said == sorted(said, reverse=True)
        row = int(pictures[0].name[:3])
        assert pictures[0].lines[1] == f"labelled {evaluation.manifest.classes[evaluation.manifest.labels[row]]}"
        with Image.open(io.BytesIO(base64.b64decode(pictures[0].uri.partition(",")[2]))) as picture:
            assert np.array_equal(np.asarray(picture), evaluation.manifest.pixels[row])

    def test_votes(self, recognizer, make_manifest):
        targets = np.full((40, 8), 0.05, np.float32)
        labels = make_manifest().labels
        targets[np.arange(40), labels] = 0.65
        pictures = surest_mistakes(evaluate(recognizer, make_manifest(targets=targets)))
        assert pictures[0].lines[1].endswith(" (65% of votes)")

    def test_large_images_shrink(self, recognizer, make_manifest):
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (4, 700, 700, 3)).astype(np.uint8)
        pictures = surest_mistakes(evaluate(recognizer, make_manifest(4, right=0.0, pixels=pixels)))
        assert all(len(picture.uri) < 40_000 for picture in pictures)

    def test_an_image_that_is_gone(self, recognizer, on_disk):
        evaluation = evaluate(recognizer, on_disk)
        for path in on_disk.root.glob("*.png"):
            path.unlink()
        assert [picture.uri for picture in surest_mistakes(evaluation)] == [""] * 3
        assert Page(to_html(evaluation)).open == []


class TestMarkdown:
    def test_tables(self, full):
        text = to_markdown(full)
        assert text.startswith("# Colours test: tiny 0.0.1\n")
        assert "| set | n | baseline | model | difference | McNemar p | NLL difference, nats |" in text
        assert "\n| a\\|b &lt;i&gt; $x_1$ | 35 |" in text
        tables = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.split(r"(?<!\\)\|", line)) for line in tables} == {len(t.columns) + 2 for t in all_tables(full)}

    def test_failures(self, recognizer, on_disk):
        text = to_markdown(evaluate(recognizer, on_disk))
        assert "- Images that could not be read: 2" in text
        assert re.search(r"\| 003\.png \| .*no such file", text)

    def test_odd_names(self, recognizer, make_manifest):
        odd = "a|b\n# <script>.png"
        manifest = make_manifest(4, dataset=odd, protocol="x\n- y")
        text = to_markdown(evaluate(recognizer, manifest, subsets=[Subset(odd, np.arange(3))]))
        assert text.splitlines()[0] == "# a\\|b # &lt;script&gt;.png test: tiny 0.0.1"
        assert "- Protocol: x - y; each face looked at once\n" in text
        assert "<script>" not in text
        assert all(line.startswith(("#", "|", "- ")) or line[:1].isupper() for line in text.splitlines() if line)

    def test_weights(self, recognizer, make_manifest, save_model, make_card):
        other = ExpressionModel.load(save_model(make_card(name="other"), seed=3), threads=1)
        evaluation = evaluate(Recognizer([recognizer.model, other], weights=[3, 1]), make_manifest(4))
        text = to_markdown(evaluation)
        assert text.startswith("# Colours test: 0.75 x tiny 0.0.1 + 0.25 x other 0.0.1\n")
        assert "- Model: tiny 0.0.1, weight 0.75\n- Fused with: other 0.0.1, weight 0.25\n" in text
        assert "other 0.0.1, weight 0.25" in to_html(evaluation)

    def test_many_findings_are_cut_short(self, recognizer, make_manifest):
        issues = [Finding("unknown", f"line {n}", line=n) for n in range(30)] + [Finding("duplicate", "twice")]
        lists = [Subset("long", np.arange(4), {}, tuple(issues)), Subset("short", np.arange(3), {}, tuple(issues[:20]))]
        evaluation = evaluate(recognizer, make_manifest(), subsets=lists)
        rows = list_table(evaluation).rows
        assert [sum(row[0] == name for row in rows) for name in ("long", "short")] == [21, 20]
        assert rows[0] == ("long", "warning", "unknown", "0", "line 0")
        assert rows[20][4] == "and 11 more, all in the JSON: 10 unknown, 1 duplicate"
        assert len(evaluation.to_dict()["subsets"]["long"]["list"]["issues"]) == 31
        assert "and 11 more" in to_html(evaluation)


class TestWriting:
    def test_files(self, full, tmp_path):
        assert write_report(full, tmp_path / "new" / "folder") == tmp_path / "new" / "folder" / "report.html"
        assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["report.html", "report.md"]

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "report").write_text("")
        with pytest.raises(OutputError, match="report: cannot be made: File exists"):
            prepare_report(tmp_path / "report")

    def test_a_folder_in_the_way(self, full, tmp_path):
        (tmp_path / "report.md").mkdir()
        with pytest.raises(OutputError, match=r"report\.md: cannot be written: Is a directory"):
            write_report(full, tmp_path)

    def test_libraries_not_installed(self, tmp_path, monkeypatch):
        monkeypatch.setattr(report_module, "find_spec", lambda name: None if name == "matplotlib" else name)
        with pytest.raises(
            OutputError, match=r"needs matplotlib, not installed here; run: pip install 'regionfer\[report\]'"
        ):
            prepare_report(tmp_path / "report")
        assert not (tmp_path / "report").exists()


def test_signs(full):
    compared = full.comparison["all"]._replace(difference=-0.0125, difference_ci95=(-0.02, 0.003))
    assert difference_text(compared) == "−1.25 (−2.0 to +0.3)"
    assert (p_text(1.0), p_text(0.001), p_text(0.0009)) == ("1.000", "0.001", "< 0.001")


def test_the_curve_of_risk_ends_where_faces_were_not_found(monkeypatch):
    """A fifth of them is never answered, so no threshold reaches a coverage of more than 0.8."""
    found = np.arange(100) % 5 > 0
    shares = np.where(found[:, None], [[0.9, 0.1]], np.nan)
    answers = SimpleNamespace(answered=found, counted=np.ones(100, bool), probabilities=shares)
    evaluation = SimpleNamespace(
        manifest=Manifest100(),
        subsets=(),
        model=SimpleNamespace(faces=SimpleNamespace(answers=answers)),
        baseline=None,
    )
    drawn = []
    plot = Axes.plot
    monkeypatch.setattr(Axes, "plot", lambda self, *data, **style: (drawn.append(data), plot(self, *data, **style))[1])
    assert risk_coverage_figure(evaluation)
    ((coverage, risk),) = drawn
    assert (coverage.tolist(), risk.tolist()) == ([0.8], [0.0])


class Manifest100:
    """Labels of a hundred faces."""

    labels = np.zeros(100, int)

    def __len__(self):
        return len(self.labels)
