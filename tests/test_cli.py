"""The commands, run in this process; the last tests run the real program."""

import csv
import io
import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import regionfer.recognizer
from regionfer.cli import COMMANDS, main
from regionfer.cli.predict import command as predict_command
from regionfer.errors import OutputError
from regionfer.labels import LABELS
from regionfer.onnx_model import MAX_FACES_PER_RUN, ExpressionModel
from regionfer.output import PictureFolder
from regionfer.recognizer import MIN_CONFIDENCE, Recognizer
from regionfer.results import row_columns

EXAMPLES = Path(__file__).parent.parent / "examples"
RED, GREEN, BLUE = (250, 20, 20), (20, 250, 20), (20, 20, 250)


@pytest.fixture
def run(tiny_path, square_detector, monkeypatch):
    """Run ``regionfer predict`` with the tiny model and the detector of squares."""
    monkeypatch.setattr(regionfer.recognizer, "MTCNN", lambda **_: square_detector)

    def predict(*arguments):
        return CliRunner().invoke(main, ["predict", "--model", str(tiny_path), *map(str, arguments)])

    return predict


@pytest.fixture
def album(tmp_path, draw_squares):
    """A folder with photos of two, one and no face, and one photo in a folder below it."""
    folder = tmp_path / "album"
    (folder / "below").mkdir(parents=True)
    for name, colours in {"a.png": (RED, GREEN), "b.png": (BLUE,), "c.png": (), "below/a.png": (GREEN,)}.items():
        Image.fromarray(draw_squares(*colours)).save(folder / name)
    return folder


def last_line(result):
    return result.stderr.splitlines()[-1]


def read_csv(path):
    return list(csv.DictReader(io.StringIO(Path(path).read_text(encoding="utf-8"))))


@pytest.mark.usefixtures("plain_faces")
class TestPredict:
    def test_table_on_screen(self, run, album):
        result = run(album, "--min-confidence", "0.5")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        (first,) = [line for line in lines if "a.png" in line and line.split()[1] == "0"]
        assert first.split()[0] == str(album / "a.png")
        assert "°" in first
        (none,) = [line for line in lines if "c.png" in line]
        assert "no face" in none
        assert last_line(result).startswith("3 images, 3 faces, 0 failed, 1 without a face, ")
        assert last_line(result).endswith(" images/s")
        assert f"{album / 'c.png'}: no face found" in result.stderr

    def test_csv(self, run, album, tmp_path):
        result = run(album, "--recursive", "--output", tmp_path / "faces.csv", "--min-confidence", "0.5")
        assert result.exit_code == 0
        assert result.stdout == ""
        rows = read_csv(tmp_path / "faces.csv")
        assert tuple(rows[0]) == row_columns()
        places = [(Path(row["image"]).relative_to(album).as_posix(), row["face"]) for row in rows]
        assert places == [("a.png", "0"), ("a.png", "1"), ("b.png", "0"), ("c.png", ""), ("below/a.png", "0")]
        shares = [float(rows[0][name]) for name in row_columns() if name.startswith("p_")]
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert max(shares) == float(rows[0]["probability"])

    def test_a_table_that_is_there_is_replaced_and_this_is_said(self, run, album, tmp_path):
        table = tmp_path / "faces.csv"
        first = run(album / "a.png", "--output", table)
        second = run(album / "b.png", "--output", table)
        line = f"{table}: is there already, and is replaced"
        assert line not in first.stderr.splitlines()
        assert line in second.stderr.splitlines()
        assert [row["image"] for row in read_csv(table)] == [str(album / "b.png")]

    def test_csv_on_stdout(self, run, album):
        result = run(album / "b.png", "-o", "-")
        assert result.stdout.splitlines()[0] == ",".join(row_columns())
        assert len(result.stdout.splitlines()) == 2

    def test_json_lines(self, run, album, tmp_path):
        assert run(album, "-o", tmp_path / "faces.jsonl").exit_code == 0
        images = [json.loads(line) for line in (tmp_path / "faces.jsonl").read_text().splitlines()]
        assert [len(image["faces"]) for image in images] == [1, 1, 0]
        assert images[0]["schema_version"] == 3

    def test_glob(self, run, album):
        assert last_line(run(album / "[ab].png")).startswith("2 images, 2 faces")

    def test_min_confidence(self, run, album):
        assert last_line(run(album / "a.png", "--min-confidence", "0.9")).startswith("1 image, 1 face,")
        assert last_line(run(album / "a.png", "--min-confidence", "0.5")).startswith("1 image, 2 faces,")

    @pytest.mark.parametrize("size", [1, 50])
    def test_batch_size(self, run, album, monkeypatch, size):
        seen = []
        stream = Recognizer.stream
        monkeypatch.setattr(Recognizer, "stream", lambda *a, **k: seen.append(k["batch_size"]) or stream(*a, **k))
        assert last_line(run(album, "--batch-size", size)).startswith("3 images, 2 faces")
        assert seen == [size]

    def test_no_detect(self, run, album, tmp_path):
        assert run(album, "--no-detect", "-o", tmp_path / "faces.csv").exit_code == 0
        rows = read_csv(tmp_path / "faces.csv")
        assert [row["x2"] for row in rows] == ["160", "80", "80"]
        assert [row["yaw"] for row in rows] == ["", "", ""]

    def test_max_risk(self, run, album, trusted_path, tmp_path):
        table = tmp_path / "faces.csv"
        found = {}
        for risk in ((), ("--max-risk", "0.05"), ("--max-risk", "1")):
            assert run("--model", trusted_path, album / "b.png", "-o", table, *risk).exit_code == 0
            found[risk[1:]] = read_csv(table)[0]["uncertain"]
        assert found == {(): "no", ("0.05",): "yes", ("1",): "no"}

    @pytest.mark.parametrize(
        ("model", "risk", "message"),
        [
            (
                "trusted",
                "0.001",
                "tiny.onnx: max_risk 0.001 cannot be kept, or is too small to be seen, on the 500",
            ),
            ("tiny", "0.1", "tiny.onnx: it has no risk-coverage curve"),
            ("trusted", "10", "10.0 is not in the range 0<=x<=1"),
        ],
    )
    def test_max_risk_that_cannot_be(self, run, album, trusted_path, tiny_path, tmp_path, model, risk, message):
        path = {"trusted": trusted_path, "tiny": tiny_path}[model]
        result = run("--model", path, album, "--max-risk", risk, "-o", tmp_path / "faces.csv")
        assert result.exit_code == 2
        assert message in result.stderr
        assert not (tmp_path / "faces.csv").exists()

    def test_covered_and_uncertain_on_screen(self, run, album, trusted_path):
        result = run("--model", trusted_path, album, "--max-risk", "0.05", "--min-confidence", "0.5")
        header, *lines = (line for line in result.stdout.splitlines() if "file" in line or ".png" in line)
        assert header.split()[-2:] == ["covered", "uncertain"]
        assert lines[0].split("face ")[1].strip() == "99% (upper, lower, left, right)   covered"
        assert [line.split()[-1] for line in lines] == ["covered", "improbable", "improbable", "face"]
        (header,) = (line for line in run(album, "--min-confidence", "0.5").stdout.splitlines() if "file" in line)
        assert header.split()[-1] == "weight"

    def test_draw(self, run, album, tmp_path):
        result = run(album, "-r", "--draw", tmp_path / "drawn")
        assert result.exit_code == 0
        assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.jpg", "b.jpg", "below_a.jpg"]
        with Image.open(tmp_path / "drawn" / "b.jpg") as drawn, Image.open(album / "b.png") as photo:
            assert drawn.size >= photo.size

    def test_a_picture_that_cannot_be_drawn_stops_nothing(self, run, album, tmp_path, monkeypatch):
        save = PictureFolder.save

        def full(self, image, picture):
            if Path(image).name == "a.png":
                raise OutputError("a.jpg: cannot be written: No space left on device")
            return save(self, image, picture)

        monkeypatch.setattr(PictureFolder, "save", full)
        result = run(album, "--draw", tmp_path / "drawn")
        assert result.exit_code == 1
        assert f"{album / 'a.png'}: not drawn: a.jpg: cannot be written: No space left on device" in result.stderr
        assert last_line(result).startswith("3 images, 2 faces, 1 failed")
        assert sum(str(album) in line for line in result.stdout.splitlines()) == 3
        assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["b.jpg"]

    def test_what_was_found_is_printed_whatever_happens(self, run, album, monkeypatch):
        stream = Recognizer.stream

        def failing(self, *arguments, **options):
            yield next(stream(self, *arguments, **options))
            raise OutputError("a disk is full")

        monkeypatch.setattr(Recognizer, "stream", failing)
        result = run(album)
        assert (result.exit_code, "Error: a disk is full" in result.stderr) == (2, True)
        assert str(album / "a.png") in result.stdout

    def test_pictures_drawn_before_are_no_photos(self, run, album):
        run(album, "-r", "--draw", album / "drawn")
        second = run(album, "-r", "--draw", album / "drawn")
        assert f"{album / 'drawn'}: holds 3 pictures drawn before that may be replaced" in second.stderr
        for again in (second, run(album, "-r"), run(album / "**" / "*.*")):
            assert "passed over: 3 pictures that --draw wrote; name one to have it read" in again.stderr
            assert last_line(again).startswith("4 images, 3 faces, 0 failed")
        assert last_line(run(album / "drawn" / "b.jpg", "--no-detect")).startswith("1 image, 1 face")
        assert sorted(path.name for path in (album / "drawn").iterdir()) == ["a.jpg", "b.jpg", "below_a.jpg"]

    def test_pictures_of_unread_kinds_are_told_of(self, run, album):
        for name in ("x.HEIC", "y.heic", "z.dng", "._x.HEIC", "notes.txt"):
            (album / name).write_bytes(b"")
        told = "passed over, for regionfer does not read them: 2 .heic, 1 .dng; convert them to JPEG or PNG"
        assert told in run(album).stderr.splitlines()

    @pytest.mark.parametrize(
        ("policy", "code", "line", "row", "summary"),
        [
            ("report", 0, True, True, "0 failed, 1 without a face"),
            ("skip", 0, False, False, "0 failed, 1 without a face"),
            ("error", 1, True, False, "1 failed, 1 without a face"),
        ],
    )
    def test_no_face(self, run, album, tmp_path, policy, code, line, row, summary):
        result = run(album, "--on-no-face", policy, "-o", tmp_path / "faces.csv")
        assert result.exit_code == code
        assert ("c.png: no face found" in result.stderr) == line
        assert any(each["image"].endswith("c.png") for each in read_csv(tmp_path / "faces.csv")) == row
        assert summary in last_line(result)

    def test_interrupted(self, run, album, tmp_path, monkeypatch):
        stream = Recognizer.stream

        def interrupted(self, *arguments, **options):
            outcomes = stream(self, *arguments, **options)
            yield next(outcomes)
            raise KeyboardInterrupt

        monkeypatch.setattr(Recognizer, "stream", interrupted)
        result = run(album, "-o", tmp_path / "faces.csv")
        assert result.exit_code == 130
        assert result.stderr.splitlines()[-2].startswith("interrupted after 1 image, 1 face")
        assert last_line(result) == f"{tmp_path / 'faces.csv'}: holds what was done till then"
        assert len(read_csv(tmp_path / "faces.csv")) == 1

    def test_several_models_are_fused(self, run, save_model, tiny_path, tmp_path):
        other = save_model(seed=3)
        face = np.tile(np.uint8(BLUE), (1, 12, 12, 1))
        Image.fromarray(face[0]).save(tmp_path / "face.png")
        arguments = (tmp_path / "face.png", "--no-detect", "--model", f"{tiny_path}, {other}", "--weights", "0.75,0.25")
        assert run(*arguments, "-o", tmp_path / "faces.csv").exit_code == 0
        (row,) = read_csv(tmp_path / "faces.csv")
        one, two = (ExpressionModel.load(path).run(face).probabilities[0] for path in (tiny_path, other))
        shares = [float(row[f"p_{name}"]) for name in LABELS]
        np.testing.assert_allclose(shares, 0.75 * one + 0.25 * two, atol=1e-4)

    def test_defaults_are_those_of_the_package(self):
        defaults = {parameter.name: parameter.default for parameter in predict_command.params}
        assert (defaults["min_confidence"], defaults["batch_size"]) == (MIN_CONFIDENCE, MAX_FACES_PER_RUN)


class TestBadInput:
    def test_the_others_go_on(self, run, album, tmp_path):
        whole = (album / "b.png").read_bytes()
        (album / "cut.png").write_bytes(whole[: len(whole) // 2])
        (album / "empty.jpg").write_bytes(b"")
        (album / "text.jpg").write_text("this is a text")
        Image.new("1", (20_000, 20_000)).save(album / "bomb.png")
        result = run(album, tmp_path / "missing.jpg", "-o", tmp_path / "faces.csv")
        assert result.exit_code == 1
        named = ["cut.png", "empty.jpg", "text.jpg", "bomb.png", "missing.jpg"]
        for name in named:
            (line,) = [each for each in result.stderr.splitlines() if name in each]
            assert len(line) > len(name) + 15, "a reason follows the name"
        assert last_line(result).startswith("8 images, 2 faces, 5 failed, 1 without a face")
        assert [Path(row["image"]).name for row in read_csv(tmp_path / "faces.csv")] == ["a.png", "b.png", "c.png"]

    def test_nothing_there(self, run, tmp_path):
        result = run(tmp_path / "*.jpg")
        assert result.exit_code == 1
        assert "no file matches" in result.stderr
        assert last_line(result).startswith("1 image, 0 faces, 1 failed")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param([], "Missing argument 'INPUT...'", id="no input"),
            pytest.param(["a.jpg", "--batch-size", "0"], "0 is not in the range x>=1", id="batch size"),
            pytest.param(["a.jpg", "--min-confidence", "2"], "not in the range 0<=x<=1", id="confidence"),
            pytest.param(["a.jpg", "--on-no-face", "cry"], "'cry' is not one of", id="policy"),
            pytest.param(["a.jpg", "--on-no-face", "skip", "--no-detect"], "--on-no-face is about", id="no faces"),
            pytest.param(["a.jpg", "--colour"], "No such option", id="option"),
            pytest.param(["a.jpg", "-o", "faces.xlsx"], "faces.xlsx: unknown kind of table '.xlsx'", id="table"),
            pytest.param(["a.jpg", "-o", "no/faces.csv"], "no/faces.csv: cannot be written: No such file", id="place"),
            pytest.param(["a.jpg", "--draw", "file"], "file: cannot be written: File exists", id="folder"),
            pytest.param(["a.jpg", "--model", "none.onnx"], "none.onnx: no such model file", id="model"),
            pytest.param(["a.jpg", "--model", "file"], "file: not an ONNX model", id="not a model"),
            pytest.param(["a.jpg", "--model", ","], "expected a model file, got nothing", id="no model"),
            pytest.param(["a.jpg", "--weights", "1"], "weights are for several models", id="weight of one model"),
            pytest.param(
                ["a.jpg", "--model", "default,default", "--weights", "1"], "weights must be 2 numbers", id="weights"
            ),
            pytest.param(["a.jpg", "--weights", "a,b"], "'a,b': expected numbers, such as 0.6,0.4", id="no numbers"),
        ],
    )
    def test_usage(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        Path("file").write_text("a text")
        result = run(*arguments)
        assert result.exit_code == 2
        assert message in result.stderr
        assert "Traceback" not in result.stderr
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_table_stays_where_there_is_nothing_to_write(self, run, album, tmp_path, monkeypatch):
        table = tmp_path / "faces.csv"
        table.write_text("from an earlier run")
        (tmp_path / "damaged.jpg").write_bytes(b"no image")
        for photo in ("typo.jpg", "damaged.jpg"):
            result = run(tmp_path / photo, "-o", table)
            assert (result.exit_code, "replaced" in result.stderr) == (1, False)
            assert table.read_text() == "from an earlier run"
        own = run(table, "-o", table)
        assert (own.exit_code, "is among the images" in own.stderr) == (2, True)
        with monkeypatch.context() as patch:
            patch.setattr(Recognizer, "stream", Mock(side_effect=KeyboardInterrupt))
            assert run(album, "-o", table).exit_code == 130
        assert table.read_text() == "from an earlier run"
        assert run(album / "c.png", "--on-no-face", "skip", "-o", table).exit_code == 0
        assert table.read_text() == ",".join(row_columns()) + "\n"

    @pytest.mark.parametrize("arguments", [[""], ["a.jpg", "-o", ""], ["a.jpg", "--draw", ""]])
    def test_empty_names(self, run, album, monkeypatch, arguments):
        monkeypatch.chdir(album)
        result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert re.search("'': is empty|is empty; expected a name", result.stderr)
        assert "1 face" not in result.stderr

    def test_a_table_whose_name_is_too_long(self, run, album):
        result = run(album, "-o", "a" * 300 + ".csv")
        assert (result.exit_code, "cannot be written: File name too long" in result.stderr) == (2, True)

    def test_folders_below_are_told_of(self, run, album):
        line = "not looked into: 1 folder below; --recursive does"
        assert line in run(album).stderr.splitlines()
        assert line not in run(album, "-r").stderr.splitlines()

    def test_a_wrong_model_does_not_empty_the_table(self, run, tmp_path):
        (tmp_path / "faces.csv").write_text("from an earlier run")
        assert run("a.jpg", "--model", "none.onnx", "-o", tmp_path / "faces.csv").exit_code == 2
        assert (tmp_path / "faces.csv").read_text() == "from an earlier run"


class TestInfo:
    def test_packages_of_another_name(self, monkeypatch):
        def version(package):
            if package == "onnxruntime":
                raise PackageNotFoundError(package)
            return "1.2.3"

        monkeypatch.setattr("regionfer.cli.info.version", version)
        result = CliRunner().invoke(main, ["info"])
        assert result.exit_code == 0, result.output
        assert re.search(r"^onnxruntime +not installed under this name$", result.stdout, re.MULTILINE)

    def test_text(self, tiny_path):
        result = CliRunner().invoke(main, ["info", "--model", str(tiny_path)])
        assert result.exit_code == 0
        for part in ("onnxruntime", "CPUExecutionProvider", str(tiny_path), "sha256", "top left", "neutral, happiness"):
            assert part in result.stdout
        assert "nothing valid: accuracy 50.0% (95 % interval 20.0% to 80.0%), n = 10" in result.stdout

    def test_landmark_model(self, save_model, make_card):
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(make_card(landmarks=True)))])
        assert "square around it, half sides 0.25" in result.stdout

    def test_baseline_stands_beside_the_model(self, save_model, make_card):
        metric = {"dataset": "FERPlus", "split": "valid", "protocol": "majority", "n": 3191, "accuracy": 0.85}
        metric |= {"mean_recall": 0.7, "baseline": {"accuracy": 0.84, "accuracy_ci95": [0.83, 0.85]}}
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(make_card(metrics=(metric,))))])
        expected = (
            "FERPlus valid majority: accuracy 85.0%, n = 3191, mean recall 70.0%, "
            "plain backbone 84.0% (95 % interval 83.0% to 85.0%)"
        )
        assert expected in result.stdout

    def test_several_runs_that_taught_it_are_told_one_by_one(self, save_model, make_card):
        taught = [{"dataset": "FERPlus", "n": 5}, {"dataset": "SFEW", "n": 7}]
        card = make_card(training={"dataset": "own", "learned_through": taught})
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(card))])
        expected = ["learned_through 1", "dataset FERPlus", "n 5", "learned_through 2", "dataset SFEW", "n 7"]
        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert lines[lines.index(expected[0]) :][: len(expected)] == expected

    def test_a_run_that_several_go_back_to_is_told_once(self, save_model, make_card):
        first = {"dataset": "FERPlus", "splits": ["train"], "n": 5}
        second = {"dataset": "own", "splits": ["train"], "n": 7, "started_from": first}
        training = {"dataset": "SFEW", "splits": ["train"], "n": 9, "started_from": second, "learned_through": [first]}
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(make_card(training=training)))])
        told = [line.strip() for line in result.stdout.splitlines() if "run " in line]
        assert told == [
            "training: run 1",
            "started_from: run 2",
            "started_from: run 3",
            "learned_through 1: run 3, as above",
        ]
        assert result.stdout.count("n        5") == 1

    def test_calibration(self, save_model, make_card):
        metric = {"dataset": "FERPlus", "n": 3191, "accuracy": 0.85, "ece": 0.0123}
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(make_card(metrics=(metric,))))])
        assert "n = 3191, expected calibration error 1.2%" in result.stdout

    def test_figures_of_another_model_say_so(self, save_model, make_card):
        metric = {"dataset": "FERPlus", "n": 3191, "accuracy": 0.85, "measured_on": "twin 3"}
        result = CliRunner().invoke(main, ["info", "--model", str(save_model(make_card(metrics=(metric,))))])
        assert "FERPlus: accuracy 85.0%, n = 3191, measured on twin 3, not on this model" in result.stdout

    def test_what_it_says_about_trust(self, save_model, make_card, trusted_model):
        card = make_card(uncertainty=trusted_model.card.uncertainty, prior_shift=(0.25,) * 8, occlusion_threshold=0.4)
        path = str(save_model(card, heads=("visibility", "occlusion", "pose")))
        lines = CliRunner().invoke(main, ["info", "--model", path]).stdout.splitlines()
        told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.strip()}
        expected = "answers below 0.600; of the others at most 10.0% wrong, coverage 80.0%, n = 500"
        assert (told["uncertainty"], told["occlusion_threshold"]) == (expected, "0.4")
        measured = {"measured_risk": 0.0987, "measured_risk_ci95": [0.08, 0.12]}
        newer = str(save_model(make_card(uncertainty={**card.uncertainty, **measured})))
        text = CliRunner().invoke(main, ["info", "--model", newer]).stdout
        assert "at most 10.0% wrong, measured 9.9% (95 % interval 8.0% to 12.0%), coverage 80.0%" in text
        assert (told["heads"], told["happiness"]) == ("visibility, occlusion, pose", "+0.250")
        stored = json.loads(CliRunner().invoke(main, ["info", "--json", "--model", path]).stdout)["model"]
        assert stored["uncertainty"] == trusted_model.card.uncertainty
        assert stored["prior_shift"] == [0.25] * 8

    def test_what_it_does_not_say(self, tiny_path):
        lines = CliRunner().invoke(main, ["info", "--model", str(tiny_path)]).stdout.splitlines()
        told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.strip()}
        assert told["uncertainty"] == "not measured: no answer is marked as uncertain"
        assert (told["heads"], told["prior_shift"]) == ("none", "none")

    def test_json(self, tiny_path, tiny_model):
        result = CliRunner().invoke(main, ["info", "--json", "--model", str(tiny_path)])
        stored = json.loads(result.stdout)
        assert stored["model"]["sha256"] == tiny_model.sha256
        assert stored["model"]["labels"] == list(tiny_model.card.labels)

    def test_versions_are_shown_even_without_a_model(self, tmp_path):
        result = CliRunner().invoke(main, ["info", "--model", str(tmp_path / "none.onnx")])
        assert result.exit_code == 2
        assert "onnxruntime" in result.stdout
        assert "none.onnx: no such model file" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 4
    assert name in CliRunner().invoke(main, ["--help"]).stdout


@pytest.mark.parametrize(
    ("line", "commands"), [(["predcit"], ", ".join(COMMANDS)), (["data", "chekc", "x"], "check, lists, prepare")]
)
def test_unknown_command(line, commands):
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 2
    assert f"no such command {line[-1 if len(line) == 1 else 1]!r}; commands: {commands}" in result.stderr


def test_interrupted_where_the_command_minds_none(run, album, monkeypatch):
    """While it loads the model, say."""
    monkeypatch.setattr(ExpressionModel, "load", Mock(side_effect=KeyboardInterrupt))
    result = run(album)
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"


def test_unknown_option():
    assert "No such option" in CliRunner().invoke(main, ["--recursive", "predict"]).stderr


def test_the_program(tiny_path, tmp_path):
    """A real photo through the real detector, as a user runs it."""
    command = [sys.executable, "-W", "error", "-m", "regionfer", "predict", "--model", str(tiny_path)]
    done = subprocess.run(
        [*command, str(EXAMPLES / "astronaut.jpg"), "-o", "faces.csv", "--draw", "drawn"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("1 image, 1 face, 0 failed, 0 without a face")
    assert len(read_csv(tmp_path / "faces.csv")) == 1
    with Image.open(tmp_path / "drawn" / "astronaut.jpg") as picture:
        assert np.asarray(picture).std() > 10
