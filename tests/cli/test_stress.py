"""``regionfer stress``, run in this process."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import regionfer.evaluation.stress_faces
import regionfer.recognizer
from regionfer.cli import main
from regionfer.degradations import DEGRADATIONS
from regionfer.labels import LABELS


@pytest.fixture
def run(tiny_path, square_detector, monkeypatch):
    """Run the command with the tiny model and the detector of squares; arguments given last win."""
    monkeypatch.setattr(regionfer.recognizer, "MTCNN", lambda **_: square_detector)

    def stress(*arguments):
        usual = ["stress", "--model", tiny_path, "--kinds", "mask,blur"]
        return CliRunner().invoke(main, [*map(str, (*usual, *arguments))])

    return stress


@pytest.fixture
def album(tmp_path, draw_squares):
    folder = tmp_path / "album"
    folder.mkdir()
    for name, colours in {"a": ((250, 20, 20), (20, 250, 20)), "b": ((20, 20, 250),), "c": ()}.items():
        Image.fromarray(draw_squares(*colours)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def own(tmp_path):
    """A dataset of one's own: sixteen crops in a folder a class."""
    rng = np.random.default_rng(0)
    for row in range(16):
        folder = tmp_path / "own" / "test" / LABELS[row % 8]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(folder / f"{row}.png")
    return tmp_path / "own"


def test_photos(run, album, tmp_path):
    result = run(album, "--min-confidence", "0.5", "--report", tmp_path / "report", "--json", tmp_path / "f.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["measure"], figures["n"], list(figures["kinds"])) == ("agreement", 3, ["mask", "blur"])
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 2 * 2 * 6
    assert "Agreement by kind and level, %" in result.stdout
    assert result.stderr.splitlines()[-1] == "3 faces, 0 images failed, 1 left out"
    assert "c.png: no face found" in result.stderr


def test_no_detect_and_no_pictures(run, album, tmp_path):
    result = run(album, "--no-detect", "--examples", 0, "--report", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[-1].startswith("3 faces")
    assert "<img" not in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_what_is_passed_over_is_told(run, album):
    (album / "x.heic").write_bytes(b"")
    (album / "below").mkdir()
    lines = run(album, "--kinds", "blur").stderr.splitlines()
    assert "passed over, for regionfer does not read them: 1 .heic; convert them to JPEG or PNG" in lines
    assert "not looked into: 1 folder below; --recursive does" in lines


def test_an_empty_name_is_not_the_current_folder(run, album, monkeypatch):
    monkeypatch.chdir(album)
    result = run("")
    assert (result.exit_code, "'': is empty" in result.stderr) == (2, True)


def test_dataset_with_a_baseline(run, own, save_model, make_card):
    other = save_model(make_card(name="other"), seed=3)
    result = run("--dataset", "folder", "--data", own, "--baseline", other, "--limit", 9, "--json", "-")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["measure"], figures["n"], figures["baseline"]["name"]) == ("accuracy", 9, "other 0.0.1")
    assert figures["kinds"]["blur"]["levels"][4]["comparison"]["n"] == 9


def test_the_screen_says_whose_figures_they_are(run, own, trusted_path, save_model, make_card):
    other = save_model(make_card(name="other"), seed=3)
    result = run("--dataset", "folder", "--data", own, "--model", trusted_path, "--baseline", other)
    assert result.exit_code == 0, result.output
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[:3] == [
        "stress test of tiny 0.0.1 on 16 faces: own, test",
        "model: tiny 0.0.1",
        "baseline: other 0.0.1",
    ]
    assert ["kind", "whose", "accuracy", "answered", "ECE"] in [line.split() for line in lines]  # none is sure enough
    assert sum(line.startswith("baseline ") for line in lines) == 3 + 4  # two kinds and all; clean, too


@pytest.mark.parametrize("option", ["--seed", "--batch-size"])
def test_only_the_seed_changes_the_figures(run, own, option):
    arguments = ("--dataset", "folder", "--data", own, "--json", "-", "--kinds", "mask")
    one, two = (json.loads(run(*arguments, option, value).stdout)["kinds"] for value in (1, 2))
    assert (one == two) == (option == "--batch-size")


def test_all_kinds_are_the_default_and_named_in_the_help(run, own, tiny_path):
    arguments = ["stress", "--model", str(tiny_path), "--dataset", "folder", "--data", str(own), "--json", "-"]
    assert list(json.loads(CliRunner().invoke(main, arguments).stdout)["kinds"]) == list(DEGRADATIONS)
    text = " ".join(CliRunner().invoke(main, ["stress", "--help"]).stdout.split())
    assert ", ".join(DEGRADATIONS) in text


def test_max_risk(run, own, trusted_path):
    arguments = ("--dataset", "folder", "--data", own, "--model", trusted_path, "--json", "-")
    thresholds = [
        json.loads(run(*arguments, *more).stdout)["model"]["threshold"] for more in ((), ("--max-risk", 0.07))
    ]
    assert thresholds[0] == 0.6
    assert thresholds[1] > 0.6


def test_unreadable_photos(run, album):
    (album / "d.png").write_bytes(b"")
    result = run(album, album / "none.jpg")
    assert result.exit_code == 1
    assert "d.png: is empty" in result.stderr
    assert "none.jpg: no such file" in result.stderr
    assert result.stderr.splitlines()[-1] == "2 faces, 2 images failed, 1 left out"


@pytest.fixture
def stop_at(monkeypatch):
    """A function that lets the network be called so many times only, and gives the list of calls."""
    ask = regionfer.recognizer.Recognizer.recognize_crops

    def stop(calls):
        seen = []

        def answer(self, *arguments, **options):
            if len(seen) == calls:
                raise KeyboardInterrupt
            seen.append(arguments)
            return ask(self, *arguments, **options)

        monkeypatch.setattr(regionfer.recognizer.Recognizer, "recognize_crops", answer)
        return seen

    return stop


@pytest.mark.parametrize("options", [(), ("--json", "-")])
def test_interrupted(run, album, stop_at, options):
    stop_at(0)
    result = run(album, *options)
    assert result.exit_code == 130
    assert "interrupted; nothing is written" in result.stderr
    assert [path.name for path in album.parent.iterdir()] == ["album"]


@pytest.mark.parametrize(("option", "parts"), [("--report", "r/stress.parts"), ("--json", "r.parts")])
def test_interrupted_and_taken_up(run, own, tmp_path, stop_at, monkeypatch, option, parts):
    monkeypatch.setattr(regionfer.evaluation.stress_faces, "CHUNK", 6)
    arguments = ("--dataset", "folder", "--data", own, option)
    straight = run(*arguments, tmp_path / "straight")
    calls = stop_at(11 + 3)
    result = run(*arguments, tmp_path / "r")
    assert (result.exit_code, result.stdout) == (130, "")
    assert "interrupted; call again to go on" in result.stderr
    assert (tmp_path / parts).is_dir()
    calls = stop_at(99)
    result = run(*arguments, tmp_path / "r")
    assert (result.exit_code, result.stdout) == (0, straight.stdout)
    assert len(calls) == 2 * 11  # of three groups
    assert not (tmp_path / parts).exists()
    pairs = [tmp_path / "straight", tmp_path / "r"]
    one, other = ([path] if path.is_file() else sorted(path.iterdir()) for path in pairs)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected photos or folders, or --dataset NAME --data DIR"),
        *(
            ([*more, "--dataset", "folder", "--data", "."], "--recursive or --min-confidence beside --dataset")
            for more in (["x.jpg"], ["--no-detect"], ["--recursive"], ["--min-confidence", "0.5"])
        ),
        (["x.jpg", "--examples", "3"], "--examples belongs to a report; say where with --report DIR"),
        (["--dataset", "folder"], "where is folder? expected --data DIR"),
        (["x.jpg", "--split", "valid"], "--data and --split belong to a dataset"),
        (["x.jpg", "--kinds", "mask,smog"], "unknown kind 'smog'; known: mask, sunglasses"),
        (["x.jpg", "--kinds", ","], "expected at least one kind"),
        (["x.jpg"], "Error: x.jpg: no such file"),
        (["x.jpg", "--json", "no/such/folder.json"], "no/such/folder.json: cannot be written"),
        ([__file__, "--model", "none.onnx"], "none.onnx: no such model file"),
    ],
)
def test_wrong_input(run, arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_baseline_with_other_labels(run, album, save_model, make_card):
    other = save_model(make_card(labels=("calm", *LABELS[1:])))
    result = run(album, "--baseline", other)
    assert result.exit_code == 2
    assert "a baseline needs the model's labels" in result.stderr
