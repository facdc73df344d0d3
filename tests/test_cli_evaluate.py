"""``regionfer evaluate`` on a small FERPlus tree, with lists in the forms of the RAN paper's authors."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from regionfer.cli import main
from regionfer.cli.models import open_recognizer
from regionfer.labels import LABELS

COUNT = 24


def name(row):
    return f"fer{30000 + row:07}"


@pytest.fixture
def ferplus(tmp_path, tiny_model):
    """FER2013Test: 24 faces of one colour; the tiny model is right about the first 18. A 25th has no majority."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "ferplus" / "FER2013Test"
    folder.mkdir(parents=True)
    colours = rng.integers(0, 256, (COUNT + 1, 3)).astype(np.uint8)
    faces = np.broadcast_to(colours[:, None, None], (COUNT + 1, 48, 48, 3)).copy()
    answers = tiny_model.run(faces).probabilities.argmax(1)
    labels = np.where(np.arange(COUNT + 1) < 18, answers, (answers + 1) % len(LABELS))
    with (folder / "label.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        for row, (face, label) in enumerate(zip(faces, labels, strict=True)):
            Image.fromarray(face).save(folder / f"{name(row)}.png")
            votes = np.full(10, 2) if row == COUNT else np.eye(10, dtype=int)[label] * 8 + np.eye(10, dtype=int)[9] * 2
            rows.writerow([f"{name(row)}.png", "(0, 0, 48, 48)", *votes.tolist()])
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "occlusion.txt").write_text("".join(f"{labels[r]}_{name(r)}.png 8 {r % 4}\n" for r in range(6, 20)))
    (lists / "pose30.txt").write_text("".join(f"{labels[r]}/{name(r)}.jpg\n" for r in range(10, 24)))
    (lists / "pose45.txt").write_text("".join(f"{labels[r]}/{name(r)}.jpg\n" for r in range(18, 22)))
    return tmp_path / "ferplus"


@pytest.fixture
def run(ferplus, tiny_path, tmp_path):
    """Run the command in its usual form; arguments given last win."""

    def evaluate(*arguments):
        usual = ["--model", tiny_path, "--dataset", "ferplus", "--data", ferplus, "--split", "test"]
        return CliRunner().invoke(main, ["evaluate", *map(str, (*usual, *arguments))])

    return evaluate


def lists(tmp_path, *names):
    return [argument for each in names for argument in ("--subset", f"{each}={tmp_path}/lists/{each}.txt")]


class TestEvaluate:
    def test_the_paper_s_subsets(self, run, tmp_path):
        result = run(*lists(tmp_path, "occlusion", "pose30", "pose45"), "--json", tmp_path / "figures.json")
        assert result.exit_code == 0, result.output
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert (figures["dataset"], figures["split"], figures["protocol"]) == (
            "FERPlus",
            "test",
            "majority; each face looked at once",
        )
        assert (figures["n"], figures["accuracy"]) == (24, 0.75)
        found = {each: (s["n"], round(s["accuracy"] * s["n"])) for each, s in figures["subsets"].items()}
        assert found == {"occlusion": (14, 12), "pose30": (14, 8), "pose45": (4, 0)}
        groups = [group["group"] for group in figures["groups"]]
        assert sum(group.startswith("occlusion, type ") for group in groups) == 4
        lines = result.stdout.splitlines()
        assert any(line.split()[:3] == ["pose30", "14", "57.14"] for line in lines)
        assert result.stderr.splitlines()[-1] == "24 of 24 listed images evaluated, 0 failed"

    def test_other_splits_are_left_alone(self, run, ferplus):
        (ferplus / "FER2013Train").mkdir()
        (ferplus / "FER2013Train" / "label.csv").write_text("damaged\n")
        assert run().exit_code == 0

    def test_a_split_of_divided_votes(self, run, ferplus):
        result = run("--dataset", "ferplus-votes", "--split", "test-divided", "--json", "-")
        assert json.loads(result.stdout)["n"] == 1, result.output

    def test_json_on_the_screen(self, run):
        result = run("--json", "-")
        assert json.loads(result.stdout)["n"] == 24

    def test_several_models_and_a_baseline(self, run, tiny_path, save_model, make_card, tmp_path):
        other = save_model(make_card(name="other"), seed=3)
        result = run("--model", f"{tiny_path},{other}", "--baseline", other, "--json", tmp_path / "f.json")
        assert result.exit_code == 0, result.output
        figures = json.loads((tmp_path / "f.json").read_text())
        assert figures["model"] == "tiny 0.0.1 + other 0.0.1"
        assert figures["comparison"]["baseline"] == "other 0.0.1"
        assert "McNemar p" in result.stdout
        head = ["tiny 0.0.1 + other 0.0.1 on FERPlus, test", "model: tiny 0.0.1 + other 0.0.1", "baseline: other 0.0.1"]
        assert result.stdout.splitlines()[:3] == head

    def test_weights_are_told(self, run, tiny_path, save_model, make_card):
        other = save_model(make_card(name="other"), seed=3)
        result = run("--model", f"{tiny_path},{other}", "--weights", "0.6,0.4")
        assert result.stdout.splitlines()[0] == "0.6 x tiny 0.0.1 + 0.4 x other 0.0.1 on FERPlus, test"

    def test_a_model_that_learned_from_the_split(self, run, save_model, make_card):
        taught = save_model(make_card(name="taught", training={"dataset": "FERPlus", "splits": ["test"]}))
        (line,) = [line for line in run("--model", taught).stderr.splitlines() if line.startswith("warning: ")]
        assert line.startswith("warning: taught 0.0.1 learned from FERPlus test, as its card says")
        fitted = save_model(make_card(name="fitted", training={"dataset": "FERPlus", "valid_split": "test"}))
        (line,) = [line for line in run("--model", fitted).stderr.splitlines() if line.startswith("warning: ")]
        assert line.startswith("warning: the epoch of fitted 0.0.1 was chosen on FERPlus test, as its card says")
        assert "warning" not in run().stderr

    def test_progress_in_a_log(self, run, monkeypatch):
        assert "images (" not in run().stderr  # done too soon for a line
        monkeypatch.setattr("regionfer.progress.EVERY", 0)
        monkeypatch.setattr("regionfer.evaluation.answers._CHUNK", 8)
        told = [line for line in run().stderr.splitlines() if " of 24 images (" in line]
        assert [line.partition(",")[0] for line in told] == ["8 of 24 images (33 %)", "16 of 24 images (67 %)"]

    def test_one_look(self, run, trusted_path, tmp_path):
        for options, rule in (([], "looked at again, turned upright"), (["--one-look"], "each face looked at once")):
            result = run("--model", trusted_path, *options, "--json", tmp_path / "f.json")
            assert result.exit_code == 0, result.output
            assert json.loads((tmp_path / "f.json").read_text())["protocol"].endswith(rule)

    def test_max_risk(self, run, trusted_path, tmp_path):
        result = run("--model", trusted_path, "--max-risk", "0.05", "--json", tmp_path / "f.json")
        assert result.exit_code == 0, result.output
        assert json.loads((tmp_path / "f.json").read_text())["selection"]["threshold"] == 0.9
        assert "Wrong among the surest, %" in result.stdout
        assert sum(line.split()[:2] == ["all", "24"] and "0.900" in line for line in result.stdout.splitlines()) == 1

    def test_max_risk_is_of_the_baseline_too(self, run, trusted_path):
        result = run("--model", trusted_path, "--baseline", trusted_path, "--max-risk", "0.05")
        assert result.exit_code == 0, result.output
        assert sum("0.900" in line for line in result.stdout.splitlines()) == 2

    def test_report_and_end_to_end(self, run, tmp_path):
        result = run("--end-to-end", "--report", tmp_path / "report", *lists(tmp_path, "occlusion"))
        assert result.exit_code == 0, result.output
        assert "End to end: accuracy, %" in result.stdout
        assert f"report: {tmp_path / 'report' / 'report.html'}" in result.stderr
        page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
        assert page.count("data:image/png;base64,") == 6 + 16  # mistakes, and faces of one colour, which are none

    def test_the_original_photos(self, run, tmp_path):
        """Of a folder with a class each; without boxes what is measured is end to end."""
        for number, label in enumerate(["happiness", "neutral"]):
            (tmp_path / "own" / "test" / label).mkdir(parents=True)
            Image.new("RGB", (90, 90 + number)).save(tmp_path / "own" / "test" / label / "a.png")
        arguments = ("--dataset", "folder", "--data", tmp_path / "own", "--photos")
        alone = run(*arguments)
        assert alone.exit_code == 2
        assert "--end-to-end" in alone.stderr
        figures = run(*arguments, "--end-to-end", "--json", "-")
        assert figures.exit_code == 0, figures.output
        values = json.loads(figures.stdout)
        assert (values["n"], values["missed"], values["accuracy"]) == (2, 2, 0)
        refused = run("--photos")
        assert (refused.exit_code, "has no option photos" in refused.stderr) == (2, True)

    @pytest.mark.parametrize("before", [None, "{}"])
    def test_a_failed_run_leaves_the_json_as_it_was(self, run, tmp_path, before):
        path = tmp_path / "f.json"
        if before is not None:
            path.write_text(before)
        assert run("--json", path, "--subset", "masked").exit_code == 2
        assert (path.read_text() if path.exists() else None) == before
        assert list(tmp_path.glob("*.partial")) == []

    def test_json_behind_a_link(self, run, tmp_path):
        (tmp_path / "link.json").symlink_to(tmp_path / "f.json")
        assert run("--json", tmp_path / "link.json").exit_code == 0
        assert (tmp_path / "link.json").is_symlink()
        assert json.loads((tmp_path / "f.json").read_text())["n"] == COUNT

    @pytest.mark.parametrize("strict", [False, True])
    def test_absent_and_damaged(self, run, ferplus, tmp_path, strict):
        (ferplus / "FER2013Test" / f"{name(2)}.png").unlink()
        (ferplus / "FER2013Test" / f"{name(20)}.png").write_bytes(b"")
        result = run("--json", tmp_path / "figures.json", *(["--strict"] if strict else []))
        assert result.exit_code == int(strict)
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert (figures["n"], figures["failures"], figures["accuracy"]) == (22, 2, 17 / 22)
        assert f"{name(2)}.png: no such file" in result.stderr
        assert result.stderr.splitlines()[-1] == "22 of 24 listed images evaluated, 2 failed"

    def test_misses_of_a_prepared_dataset(self, run, ferplus, tmp_path):
        (ferplus / "FER2013Test" / f"{name(2)}.png").unlink()
        (ferplus / "FER2013Test" / f"{name(20)}.png").write_bytes(b"")
        prepared = CliRunner().invoke(
            main, ["data", "prepare", "ferplus", "--data", str(ferplus), "-o", f"{tmp_path}/p"]
        )
        assert prepared.exit_code == 1, prepared.output
        result = run(
            "--dataset", "prepared", "--data", tmp_path / "p", "--json", tmp_path / "f.json", "--report", tmp_path / "r"
        )
        assert result.exit_code == 0, result.output
        figures = json.loads((tmp_path / "f.json").read_text())
        misses = figures["prepare_misses"]
        assert (figures["n"], figures["accuracy"], figures["failures"]) == (22, 17 / 22, 0)
        assert (misses["n"], misses["accuracy_with_misses"]) == (2, pytest.approx(17 / 24))
        assert misses["reasons"] == {"listed but absent": 1, "cannot be read": 1}
        assert misses["images"][0] == {"image": f"FER2013Test/{name(2)}.png", "reason": "listed but absent"}
        assert "2 more images gave no face when" in result.stderr
        assert "counted as wrong, accuracy is 70.83%" in result.stderr
        page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
        assert "Images without a face since the dataset was prepared: 2" in page

    def test_a_prepared_dataset_has_no_end_to_end(self, run, ferplus, tmp_path):
        prepared = CliRunner().invoke(
            main, ["data", "prepare", "ferplus", "--data", str(ferplus), "-o", f"{tmp_path}/p"]
        )
        assert prepared.exit_code == 0, prepared.output
        result = run("--dataset", "prepared", "--data", tmp_path / "p", "--end-to-end")
        assert (result.exit_code, result.stdout) == (2, "")
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert line.startswith(f"Error: {tmp_path / 'p'}: its faces are cut and aligned already")
        assert f"give the original dataset, FERPlus in {ferplus}, by --dataset" in line

    def test_many_failures_are_cut_short(self, run, ferplus, tmp_path):
        for row in range(15):
            (ferplus / "FER2013Test" / f"{name(row)}.png").unlink()
        assert "... and 5 more, which --json FILE would list" in run().stderr
        both = ("--json", tmp_path / "f.json", "--report", tmp_path / "r")
        assert f"... and 5 more, listed in {tmp_path / 'f.json'} and in the report" in run(*both).stderr

    def test_findings_of_a_list(self, run, tmp_path):
        with (tmp_path / "lists" / "pose45.txt").open("a") as file:
            file.write("3/fer9999998.jpg\n3/fer9999999.jpg\n")
        result = run(*lists(tmp_path, "pose45"))
        assert result.exit_code == 0
        (line,) = [line for line in result.stderr.splitlines() if "fer999999" in line]
        assert "pose45.txt, line 5: 3/fer9999998.jpg is not among the 24 images" in line
        assert line.endswith("(and 1 more like this)")

    def test_findings_of_other_causes_have_lines_of_their_own(self, run, tmp_path):
        with (tmp_path / "lists" / "pose45.txt").open("a") as file:
            file.write(f"3/fer9999998.jpg\n3/{name(COUNT)}.jpg\n3/fer9999999.jpg\n")
        result = run(*lists(tmp_path, "pose45"), "--json", tmp_path / "f.json")
        unknown, left_out = [line for line in result.stderr.splitlines() if "is not among" in line]
        assert "line 5: 3/fer9999998.jpg" in unknown
        assert unknown.endswith("FERPlus test (and 1 more like this)")
        assert f"line 6: 3/{name(COUNT)}.jpg" in left_out
        assert left_out.endswith("which leaves it out: no majority")
        issues = json.loads((tmp_path / "f.json").read_text())["subsets"]["pose45"]["list"]["issues"]
        causes = [each["cause"] for each in issues if each["kind"] == "unknown"]
        assert causes == ["", "no majority", ""]

    def test_a_column_of_one_s_own_table(self, run, ferplus, tmp_path):
        rows = [f"FER2013Test/{name(r)}.png,{LABELS[r % 8]},test,{'yes' if r < 5 else ''}\n" for r in range(COUNT)]
        (ferplus / "own.csv").write_text("image,label,split,masked\n" + "".join(rows))
        arguments = ("--dataset", "csv", "--data", ferplus / "own.csv", "--subset", "masked", "--json", "-")
        assert json.loads(run(*arguments).stdout)["subsets"]["masked"]["n"] == 5

    def test_the_shipped_model_is_the_default(self, monkeypatch):
        seen = []
        monkeypatch.setattr("regionfer.recognizer.Recognizer", lambda model, **_: seen.append(model))
        for models in ("default", "a.onnx", "default,a.onnx"):
            open_recognizer(models)
        assert seen == ["default", "a.onnx", ["default", "a.onnx"]]

    def test_a_comma_in_a_file_s_name(self, run, tiny_path, tmp_path):
        path = tmp_path / "a,b.onnx"
        path.write_bytes(tiny_path.read_bytes())
        assert run("--model", path).exit_code == 0


class TestWrongInput:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param(["--data", "nowhere"], "nowhere", id="folder"),
            pytest.param(["--dataset", "fer2013"], "unknown dataset 'fer2013'; known: ferplus, ", id="dataset"),
            pytest.param(["--split", "valid"], "FERPlus has no split valid here; found: test", id="split"),
            pytest.param(["--split", "holiday"], "no split 'holiday'", id="no such split"),
            pytest.param(["--model", "no.onnx"], "no.onnx: no such model file", id="model"),
            pytest.param(["--model", ","], "expected a model file, got nothing", id="no model"),
            pytest.param(["--max-risk", "0.1"], "it has no risk-coverage curve", id="no curve"),
            pytest.param(["--max-risk", "5"], "5.0 is not in the range 0<=x<=1", id="percent"),
            pytest.param(["--baseline", "no.onnx"], "no.onnx: no such model file", id="baseline"),
            pytest.param(["--subset", "=list"], "'=list': expected NAME=LIST", id="subset"),
            pytest.param(["--subset", "a="], "'a=': expected NAME=LIST", id="no list"),
            pytest.param(["--subset", "all=x"], "expected distinct names other than 'all'", id="all"),
            pytest.param(["--subset", "a=x", "--subset", "a=y"], "expected distinct names", id="twice"),
            pytest.param(["--subset", "a=nolist.txt"], "nolist.txt: cannot be read", id="list"),
            pytest.param(["--subset", "masked"], "no column 'masked'", id="column"),
            pytest.param(["--json", "no/such/folder/f.json"], "f.json: cannot be written", id="json"),
            pytest.param(["--json", "."], ".: cannot be written", id="json folder"),
        ],
    )
    def test_one_line(self, run, arguments, message):
        result = run(*arguments)
        assert result.exit_code == 2
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        assert len(lines) == 1
        assert message in lines[0]
        assert result.stdout == ""

    def test_a_list_of_another_dataset(self, run, tmp_path):
        (tmp_path / "rafdb.txt").write_text("test_0001_aligned 3 4\ntest_0002_aligned 3 4\n")
        result = run("--subset", f"occlusion={tmp_path}/rafdb.txt")
        assert result.exit_code == 2
        assert "none of its 2 entries is in FERPlus test" in result.stderr

    def test_a_model_of_other_classes(self, run, save_model, make_card):
        result = run("--model", save_model(make_card(labels=("calm", "tense"))))
        assert result.exit_code == 2
        assert "does not know neutral, happiness, surprise" in result.stderr
