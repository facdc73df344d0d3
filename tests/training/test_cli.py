"""One's own faces all the way: a folder a class, train, export, predict, evaluate."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from regionfer.cli import main
from regionfer.errors import DatasetError
from regionfer.onnx_model import ExpressionModel
from regionfer.training import sources
from regionfer.training.data import FaceData
from regionfer.training.recipe import Recipe
from regionfer.training.sources import load_sources

RECIPE = """
name = "tiny"
precision = "fp32"
[data]
dataset = "folder"
[model]
backbone = "tiny"
crop_stage = 1
crop_size = 4
[input]
face_size = 16
size = 16
[augmentation]
rotation = 0.0
shift = 0.0
scale = 0.0
[optimiser]
batch = 8
epochs = 6
warmup_steps = 2
backbone_lr = 0.01
head_lr = 0.01
ema = 0.9
"""
OWN = ("columns", "rows", "squares")


@pytest.fixture
def own_faces(make_faces: Callable[..., FaceData], tmp_path: Path) -> Path:
    """A folder a class, 20 faces each."""
    root = tmp_path / "own"
    data = make_faces(60)
    for number, (face, label) in enumerate(zip(data.faces.numpy(), data.labels, strict=True)):
        folder = root / ("rows", "columns", "squares")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(folder / f"{number:03}.png")
    return root


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(RECIPE)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_names_of_ones_own_classes_flow_through_every_command(own_faces: Path, recipe: Path, tmp_path: Path) -> None:
    out, model = tmp_path / "run", tmp_path / "own.onnx"
    trained = run("train", recipe, "--data", own_faces, "--out", out)
    assert trained.exit_code == 0, trained.output
    assert "48 training faces, 12 held out" in trained.output
    assert "95 % interval" in trained.output

    exported = run(
        "export",
        out / "best.safetensors",
        model,
        "--data",
        own_faces,
        "--name",
        "own",
        "--licence",
        "mine",
        "--limits",
        "toy",
    )
    assert exported.exit_code == 0, exported.output
    card = ExpressionModel.load(model).card
    assert card.labels == OWN
    assert (card.name, card.licence, card.metrics[0]["n"]) == ("own", "mine", 12)
    assert (card.temperature, card.limits) == (1, "toy")
    assert "temperature 1.00" in exported.output
    assert "warning: 12 faces are too few to fit a temperature or a threshold of uncertain answers" in exported.stderr
    assert card.uncertainty == {}
    assert "12 faces are too few" in run("info", "--model", model).output

    table = tmp_path / "table.csv"
    folder = own_faces / "squares"
    predicted = run("predict", folder, "--no-detect", "--model", model, "--output", table)
    assert predicted.exit_code == 0, predicted.output
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert {f"p_{name}" for name in OWN} <= rows[0].keys()
    assert sum(row["expression"] == "squares" for row in rows) > len(rows) / 2

    figures = tmp_path / "figures.json"
    evaluated = run(
        "evaluate", "--model", model, "--dataset", "folder", "--data", own_faces, "--split", "valid", "--json", figures
    )
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(figures.read_text())["classes"] == list(OWN)

    again = tmp_path / "again"
    continued = run("train", recipe, "--data", own_faces, "--out", again, "--from", model, "--seed", 5)
    assert continued.exit_code == 0, continued.output
    facts = json.loads((again / "best.json").read_text())
    started = facts["data"]["started_from"]
    assert (started["name"], started["dataset"], started["splits"]) == ("own", "own", ["train"])
    assert facts["recipe"]["seed"] == 5
    # It starts where the first run ended, not from scratch.
    first = json.loads((out / "best.json").read_text())["history"][0]["loss"]
    assert facts["history"][0]["loss"] < first


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.toml", "--data", "."), "none.toml: cannot read the recipe"),
        (("RECIPE", "--data", "nowhere"), "nowhere"),
        (("RECIPE", "--data", ".", "--dataset", "fer2013"), "unknown dataset 'fer2013'; known: ferplus"),
        (("RECIPE", "--data", "OWN", "--from", "no.onnx"), "no.onnx"),
        (("RECIPE", "--data", "OWN", "--batch", "49"), "batch is 49, but an epoch has only 48 faces"),
        (
            ("RECIPE", "--data", "OWN", "--from", "default"),
            "default.onnx: holds a network of another architecture than recipe tiny: its backbone is mobilenetv1-face, "
            "the recipe's [model] has backbone = 'tiny', aggregation = 'relation-attention'; ",
        ),
        (("RECIPE", "--data", "OWN", "--from", "MODEL.pth"), "MODEL.pth: a PyTorch file; regionfer reads the .onnx"),
    ],
    ids=["recipe", "folder", "dataset", "model", "batch", "architecture", "another file"],
)
def test_a_wrong_training_command_is_one_line(
    arguments: tuple[str, ...], message: str, own_faces: Path, recipe: Path, tmp_path: Path
) -> None:
    (tmp_path / "MODEL.pth").write_bytes(b"PK")
    places = {"RECIPE": str(recipe), "OWN": str(own_faces), "MODEL.pth": str(tmp_path / "MODEL.pth")}
    result = run("train", *(places.get(a, a) for a in arguments), "--out", tmp_path / "run")
    assert result.exit_code == 2
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert message in last


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--risk", "0.1", "--rare-classes", "1"), "--rare-classes, --risk: measured on faces; give --data, too"),
        (("--no-calibrate",), "--[no-]calibrate: measured on faces"),
        (("--data", ".", "--measured", "m.onnx", "--risk", "0.3"), "with --measured, figures and calibration are that"),
        (("--data", ".", "--rare-classes", "1", "--no-calibrate"), "--rare-classes is part of the calibration"),
    ],
    ids=["no faces", "nothing to leave out", "measured", "not calibrated"],
)
def test_what_would_do_nothing_is_refused_by_export(options: tuple[str, ...], message: str) -> None:
    result = run("export", "none.safetensors", "none.onnx", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_mistakes_are_told_before_the_faces_are_read(
    recipe: Path, own_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = ("train", recipe, "--data", own_faces, "--out", tmp_path / "run")
    assert run(*trained).exit_code == 0
    monkeypatch.setattr(sources, "load_sources", lambda *_: pytest.fail("read"))
    assert "holds a run already" in run(*trained).stderr
    again = run("train", recipe, "--data", own_faces, "--out", tmp_path / "new", "--from", "no.onnx")
    assert "no.onnx: no such model file or checkpoint" in again.stderr
    assert run(*trained[:4], "--seed", -1).exit_code == 2


TABLE_RECIPE = RECIPE.replace('"folder"', '"csv"')


@pytest.fixture
def torn_table(own_faces: Path, tmp_path: Path) -> Path:
    """A table of 60 faces: one of the training split is absent, one is damaged, and one held out is absent."""
    names = sorted(path.relative_to(own_faces).as_posix() for path in own_faces.rglob("*.png"))
    lines = [
        f"{name},{Path(name).parent},{'valid' if number % 5 == 0 else 'train'}" for number, name in enumerate(names)
    ]
    (own_faces / "faces.csv").write_text("\n".join(["image,label,split", *lines]) + "\n")
    (own_faces / names[0]).unlink()
    (own_faces / names[1]).unlink()
    (own_faces / names[2]).write_bytes(b"")
    (tmp_path / "table.toml").write_text(TABLE_RECIPE)
    return own_faces / "faces.csv"


def test_absent_and_damaged_images_are_left_out_counted_and_listed(torn_table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained = run("train", tmp_path / "table.toml", "--data", torn_table, "--out", out)
    assert trained.exit_code == 0, trained.output
    assert "46 training faces, 11 held out" in trained.output
    assert f"3 listed images cannot be read and are left out; all in {out / 'unreadable.csv'}" in trained.output
    assert "no such file" in trained.output
    with (out / "unreadable.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert sum("is empty" in row["error"] for row in rows) == 1
    assert json.loads((out / "best.json").read_text())["data"]["unreadable"] == 3
    exported = run("export", out / "best.safetensors", tmp_path / "own.onnx", "--data", torn_table)
    assert exported.exit_code == 0, exported.output
    assert "1 listed images cannot be read and are not measured on" in exported.output


def test_strict_does_not_train_without_all_images(torn_table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    refused = run("train", tmp_path / "table.toml", "--data", torn_table, "--out", out, "--strict")
    assert refused.exit_code == 2
    assert "3 listed images cannot be read; mend the dataset, or leave out --strict" in refused.output
    assert [path.name for path in out.iterdir()] == ["unreadable.csv"]


def test_files_that_a_recipe_names_and_that_are_missing_are_one_error(own_faces: Path, tmp_path: Path) -> None:
    path = tmp_path / "recipes" / "tiny.toml"
    path.parent.mkdir()
    text = RECIPE.replace("[model]", '[model]\npretrained = "runs/warmup/last.safetensors"')
    path.write_text(text + '[attributes]\nheads = true\npose = "runs/pose.csv"\n')
    result = run("train", path, "--data", own_faces, "--out", tmp_path / "run")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    weights, poses = tmp_path / "runs" / "warmup" / "last.safetensors", tmp_path / "runs" / "pose.csv"
    assert f"model.pretrained names {weights}, which is not there (training the recipe warmup makes it)" in line
    assert f"attributes.pose names {poses}, which is not there (scripts/label_pose/label_pose.py makes it" in line
    assert line.endswith("Relative paths are taken from the recipe folder's parent")
    started = run("train", path, "--data", own_faces, "--out", tmp_path / "run", "--from", "default")
    assert "model.pretrained" not in started.stderr
    assert "attributes.pose names" in started.stderr


def test_labels_that_contradict_each_other_are_refused(torn_table: Path, recipe: Path, tmp_path: Path) -> None:
    rows = torn_table.read_text().splitlines()
    image, label, *rest = rows[1].split(",")
    other = next(name for name in OWN if name != label)
    torn_table.write_text("\n".join([*rows, ",".join([image, other, *rest])]))
    arguments = ("--data", torn_table, "--dataset", "csv", "--out", tmp_path / "run")
    result = run("train", recipe, *arguments)
    assert result.exit_code == 2
    assert f"again and contradicts the line before; the first line counts ({image}: line" in result.stderr
    assert "mend this before training on it" in result.stderr


@pytest.mark.parametrize(
    ("split", "again", "valid", "refused"),
    [
        ("test", "test", "valid", False),
        ("valid", "valid", "valid", True),
        ("valid", "validation", "", False),
        ("train", "test", "valid", True),
    ],
)
def test_contradictions_count_in_the_splits_of_the_recipe(
    own_faces: Path, make_recipe: Callable[..., Recipe], split: str, again: str, valid: str, refused: bool
) -> None:
    names = sorted(path.relative_to(own_faces).as_posix() for path in own_faces.rglob("*.png"))
    splits = ["train", "valid", "test"]
    rows = [f"{name},{Path(name).parent},{splits[number % 3]}" for number, name in enumerate(names)]
    image = names[splits.index(split)]
    other = next(name for name in OWN if name != str(Path(image).parent))
    table = own_faces / "faces.csv"
    table.write_text("\n".join(["image,label,split", *rows, f"{image},{other},{again}"]))
    recipe = make_recipe(data={"dataset": "csv", "valid": valid})
    if refused:
        with pytest.raises(DatasetError, match=rf"contradicts the line before; .*\({image}: line 62 after line"):
            load_sources(recipe, table)
    else:
        sources = load_sources(recipe, table)
        assert [finding.kind for finding in sources.findings] == ["contradiction"]
        assert len(sources.training) == 20


def test_export_of_what_is_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    result = run("export", tmp_path / "none.safetensors", tmp_path / "m.onnx")
    assert result.exit_code == 2
    assert result.output.strip() == f"Error: {tmp_path / 'none.safetensors'}: no such checkpoint"


@pytest.mark.parametrize(("rank", "prints"), [("0", True), ("1", False)])
def test_only_the_first_process_prints(
    rank: str, prints: bool, torn_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("regionfer.training.loop.train", lambda *_, **__: SimpleNamespace(epoch=1, score={}))
    trained = run("train", tmp_path / "table.toml", "--data", torn_table, "--out", tmp_path / "run")
    assert trained.exit_code == 0, trained.output
    assert ("46 training faces" in trained.output) is prints
    assert (trained.output != "") is prints
    assert (tmp_path / "run" / "unreadable.csv").exists() is prints


def test_progress_in_a_log(own_faces: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe.write_text(RECIPE.replace("epochs = 6", "epochs = 1"))
    monkeypatch.setattr("regionfer.progress.EVERY", 0)
    trained = run("train", recipe, "--data", own_faces, "--out", tmp_path / "run")
    told = [line for line in trained.stderr.splitlines() if line.startswith("epoch 1 of 1: ")]
    assert len(told) == 6  # at the start, and after each of six steps but the last
    assert told[2].startswith("epoch 1 of 1: 16 of 48 faces (33 %), ")
    assert "epoch 1, validation: 0 of 12 faces (0 %)" in trained.stderr


def test_a_batch_given_by_hand(own_faces: Path, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("epochs = 6", "epochs = 1"))
    trained = run("train", recipe, "--data", own_faces, "--out", tmp_path / "run", "--batch", 48)
    assert trained.exit_code == 0, trained.output
    assert json.loads((tmp_path / "run" / "last.json").read_text())["recipe"]["optimiser"]["batch"] == 48


@pytest.mark.parametrize("command", ["train", "export"])
def test_every_option_is_explained(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    options = [
        parameter for parameter in main.get_command(None, command).params if parameter.param_type_name == "option"
    ]
    assert options
    assert all(option.help for option in options)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("train", "x.toml", "--data", "."), "x.toml: cannot read the recipe"),
        (("train", "RECIPE", "--data", "nowhere"), "nowhere: no such folder"),
        (("train", "RECIPE", "--data", ".", "--precision", "fp99"), "'fp99' is not one of"),
        (("export", "x.safetensors", "x.onnx"), "x.safetensors: no such checkpoint"),
        (("export", "RECIPE", "x.onnx", "--data", "nowhere"), "nowhere: no such folder"),
        (("export", "RECIPE", "x.onnx", "--data", ".", "--baseline", "gone.onnx"), "gone.onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_mistyped_arguments_are_told_before_torch_is_imported(
    command: tuple[str, ...], message: str, recipe: Path
) -> None:
    code = """
import sys
from regionfer.cli import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""
    arguments = [str(recipe) if word == "RECIPE" else word for word in command]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == "False\n"


@pytest.mark.parametrize("command", [("train", "RECIPE", "--data", "."), ("export", "RECIPE", "x.onnx")])
def test_without_the_extra_a_command_says_how_to_get_it(command: tuple[str, ...], recipe: Path) -> None:
    command = tuple(str(recipe) if word == "RECIPE" else word for word in command)
    code = "import sys; sys.modules['torch'] = None; from regionfer.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: this needs torch, which is not installed here; run: pip install 'regionfer[train]'\n"


def test_when_a_face_counts_as_covered_is_fitted_to_faces_that_were_looked_at(
    torn_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regionfer.training.calibration.MIN_FACES", 4)
    names = [line.split(",")[0] for line in torn_table.read_text().splitlines()[1:]]
    (tmp_path / "recipes").mkdir()
    recipe, seen = tmp_path / "recipes" / "heads.toml", tmp_path / "seen.csv"
    recipe.write_text(TABLE_RECIPE + '[attributes]\nheads = true\nstage = 2\nseen = "seen.csv"\n')
    seen.write_text("\n".join(["name,kind", *(f"{name},none" for name in names)]) + "\n")
    assert run("train", recipe, "--data", torn_table, "--out", tmp_path / "run").exit_code == 0
    checkpoint, path = tmp_path / "run" / "best.safetensors", tmp_path / "m.onnx"

    def threshold(*arguments: str | Path) -> tuple[float, Result]:
        done = run("export", checkpoint, path, *arguments)
        assert done.exit_code == 0, done.output
        return ExpressionModel.load(path).card.occlusion_threshold, done

    fitted, done = threshold("--data", torn_table)
    assert f"faces count as covered from a probability of {fitted:g}" in done.stdout
    assert fitted != 0.5
    assert threshold("--data", torn_table, "--false-covers", "0.9")[0] < fitted, "more may count"
    assert threshold("--data", torn_table)[0] == fitted
    taken = run("export", checkpoint, tmp_path / "final.onnx", "--measured", path)
    assert f"covered from a probability of {fitted:g}" in taken.stdout
    seen.rename(tmp_path / "moved.csv")
    unfitted, done = threshold("--data", torn_table)
    assert (unfitted, "seen.csv is not there, so when a face counts as covered is not fitted" in done.stderr) == (
        0.5,
        True,
    )
    assert threshold("--data", torn_table, "--seen", tmp_path / "moved.csv")[0] == fitted
    again = ("export", checkpoint, tmp_path / "final.onnx", "--data", torn_table, "--measured", path)
    assert "not fitted" not in run(*again).stderr
    (tmp_path / "few.csv").write_text(f"name,kind\n{names[0]},none\nother.png,none\n")
    few, done = threshold("--data", torn_table, "--seen", tmp_path / "few.csv")
    assert few == 0.5
    assert re.search(r"few\.csv: [01] clear faces? of the validation split, of 4 that are needed", done.stderr)
    for arguments, message in (
        (("export", checkpoint, path), "--seen: measured on faces; give --data, too"),
        (again, "--seen: with --measured, figures and calibration are that model's"),
    ):
        refused = run(*arguments, "--seen", tmp_path / "moved.csv")
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert re.search(r"valid, by \S+ 1: accuracy", run(*again).stdout)
