"""Ablations of the tiny network: the table, what is kept, what fails, what is refused."""

import csv
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import regionfer.ablation.ablate as ablate_module
import regionfer.ablation.runs as runs_module
from regionfer.ablation.ablate import Settings, ablate
from regionfer.ablation.conditions import COVERS
from regionfer.ablation.plan import load_ablation
from regionfer.cli import main
from regionfer.errors import CheckpointError, RecipeError
from regionfer.faces import Detections
from regionfer.onnx_model import ExpressionModel
from regionfer.regions import TYPICAL_LANDMARKS
from regionfer.training.data import FaceData
from regionfer.training.sources import Sources

PLAN = """
name = "toy"
reference = "plain"
[base]
precision = "fp32"
[base.data]
dataset = "folder"
[base.model]
backbone = "tiny"
crop_stage = 1
crop_size = 4
[base.input]
face_size = 16
size = 16
[base.optimiser]
batch = 8
epochs = 1
warmup_steps = 2
backbone_lr = 0.01
head_lr = 0.01
ema = 0.5
[backbone.model]
aggregation = "mean"
[backbone.regions]
generator = "none"
[[row]]
name = "plain"
title = "one view"
seeds = [0, 1]
recipe.model.aggregation = "mean"
recipe.model.crop_stage = 0
recipe.regions.generator = "none"
[[row]]
name = "broken"
title = "cropped where there is no stage"
recipe.model.crop_stage = 9
[[row]]
name = "landmark"
title = "at the landmarks"
recipe.regions.generator = "landmark"
[[row]]
name = "ran"
title = "RAN"
seeds = [0, 1]
[[compare]]
model = "ran"
baseline = "plain"
"""


class FrontalDetector:
    """Finds a typical face in every crop, its nose the further to one side the brighter the crop."""

    def detect(self, image):
        side = image.shape[0]
        points = np.float32([TYPICAL_LANDMARKS]) * side
        points[0, 2, 0] += image.mean() / 255 * 0.3 * side
        return Detections(np.float32([[0, 0, side, side]]), np.float32([0.99]), points)


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "recipes" / "toy.toml"
    path.parent.mkdir()
    path.write_text(PLAN)
    return path


@pytest.fixture
def sources(make_faces, classes):
    bare = [FaceData(data.faces, data.labels, data.targets) for data in (make_faces(48), make_faces(24, seed=1))]
    facts = {
        "dataset": "drawn",
        "protocol": "none",
        "splits": ["train"],
        "n": 48,
        "valid_split": "valid",
        "commit": None,
    }
    return Sources(*bare, classes, facts, failures={})


@pytest.fixture
def go(plan, sources, tmp_path):
    """Run the ablation, and give its table and the lines that it told."""

    def go(**settings):
        lines = []
        table = ablate(
            load_ablation(plan),
            sources,
            Settings(tmp_path / "out", **settings),
            detector=FrontalDetector(),
            report=lines.append,
        )
        return table, lines

    return go


def test_the_table_of_all_rows(go, tmp_path):
    table, lines = go()
    rows = {row.name: row for row in table.rows}
    assert list(rows) == ["plain", "broken", "landmark", "ran"]
    assert {name: row.seeds for name, row in rows.items()} == {
        "plain": (0, 1),
        "broken": (),
        "landmark": (0,),
        "ran": (0, 1),
    }
    # A row that fails is told of, and the others go on.
    assert "crop_stage must be in 0..2, got 9" in rows["broken"].failures[0]
    assert any(line.startswith("broken, seed 0: failed: ") for line in lines)
    assert rows["plain"].accuracy.keys() == {"clean", *COVERS, "turned"}
    assert rows["plain"].accuracy["clean"].n == 24
    assert rows["plain"].accuracy["turned"].n == 6
    assert rows["plain"].pace.cost == 1
    assert rows["ran"].pace.faces_per_second > 0

    out = tmp_path / "out"
    kept = json.loads((out / "table.json").read_text())
    assert kept["facts"]["pose_known"] == 24
    assert kept["rows"][3]["accuracy"]["clean"]["by_seed"] == list(rows["ran"].accuracy["clean"].by_seed)
    (compared,) = kept["comparisons"]
    assert (compared["model"], compared["baseline"]) == ("ran", "plain")
    assert compared["conditions"]["mask"]["by_seed"].keys() == {"0", "1"}
    with (out / "table.csv").open() as file:
        lines_of_table = list(csv.DictReader(file))
    assert [line["row"] for line in lines_of_table] == list(rows)
    assert float(lines_of_table[3]["accuracy_dark_glasses"]) == pytest.approx(
        rows["ran"].accuracy["dark glasses"].mean, abs=1e-5
    )
    page = (out / "table.md").read_text()
    assert f"| RAN (`ran`) | 2 | {100 * rows['ran'].accuracy['clean'].mean:.2f} ± " in page
    assert "## Failed\n\n- broken, seed 0: recipe broken" in page


def test_answers_are_those_of_the_exported_model_and_its_mirror_image(go, sources, tmp_path):
    go(only=["ran"])
    folder = tmp_path / "out" / "ran" / "seed-1"
    model = ExpressionModel.load(folder / "model.onnx")
    faces = sources.validation.faces.numpy()
    both = (model.run(faces).probabilities + model.run(faces[:, :, ::-1].copy()).probabilities) / 2
    np.testing.assert_allclose(np.load(folder / "answers.npz")["clean"], both, atol=1e-6)
    # Every run starts from the common backbone.
    assert json.loads((folder / "best.json").read_text())["recipe"]["model"]["pretrained"].endswith(
        "out/backbone/best.safetensors"
    )


def test_what_is_done_is_not_done_again(go, monkeypatch, tmp_path):
    first, _ = go(only=["plain"])
    trained = []
    train = runs_module.train
    monkeypatch.setattr(
        runs_module, "train", lambda recipe, *rest, **more: trained.append(recipe.name) or train(recipe, *rest, **more)
    )
    (tmp_path / "out" / "plain" / "seed-1" / "answers.npz").unlink()  # stopped before it was measured
    table, lines = go(only=["plain", "ran"], resume=True)
    assert trained == ["plain", "ran", "ran"]
    assert "plain, seed 0: done before" in lines
    assert [row.name for row in table.rows] == ["plain", "ran"]
    np.testing.assert_array_equal(table.rows[0].accuracy["clean"].by_seed, first.rows[0].accuracy["clean"].by_seed)
    # Rows that were not asked for are in the table if they are done.
    table, _ = go(only=["ran"], resume=True)
    assert [row.name for row in table.rows] == ["plain", "ran"]


def test_landmarks_are_searched_for_once_in_each_face(go, monkeypatch, tmp_path):
    searched = []
    find = ablate_module.find_landmarks
    monkeypatch.setattr(
        ablate_module,
        "find_landmarks",
        lambda faces, *rest, **more: searched.append(len(faces)) or find(faces, *rest, **more),
    )
    go(only=["plain"], seeds=(0,))
    go(only=["plain"], seeds=(0,), resume=True)
    assert searched == [24, 48]
    kept = tmp_path / "out" / "landmarks.npz"
    kept.write_bytes(kept.read_bytes()[:-50])  # a kill, or a full disk
    go(only=["plain"], seeds=(0,), resume=True)
    assert searched == [24, 48] * 2


def test_damaged_answers_are_told_of(go, tmp_path):
    go(only=["plain"], seeds=(0,))
    answers = tmp_path / "out" / "plain" / "seed-0" / "answers.npz"
    for content in (answers.read_bytes()[:-50], b""):
        answers.write_bytes(content)
        table, _ = go(only=["plain"], seeds=(0,), resume=True)
        assert "answers.npz: cannot be read" in table.rows[0].failures[0]


def test_conditions_that_were_measured_before_an_interruption_are_not_measured_again(go, monkeypatch, tmp_path):
    whole, _ = go(only=["plain"], seeds=(0,))
    conditions = list(whole.conditions)
    folder = tmp_path / "out" / "plain" / "seed-0"
    (folder / "answers.npz").unlink()
    measured, answer = [], runs_module.answer

    def stop_at_the_third(*arguments, **options):
        measured.append(1)
        if len(measured) == 3:
            raise KeyboardInterrupt
        return answer(*arguments, **options)

    monkeypatch.setattr(runs_module, "answer", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        go(only=["plain"], seeds=(0,), resume=True)
    table, _ = go(only=["plain"], seeds=(0,), resume=True)
    covered = [name for name in conditions if name != "turned"]  # which is a part of the clean ones
    assert len(measured) == len(covered) + 1
    assert table.rows[0].accuracy == whole.rows[0].accuracy
    assert not (folder / "answers.unfinished.npz").exists()


def test_a_folder_in_use_is_refused(go, tmp_path):
    go(only=["plain"], seeds=(3,))
    with pytest.raises(CheckpointError, match="out: holds runs already; give --resume"):
        go()


def test_another_recipe_in_the_folder_is_refused(go, plan):
    go(only=["plain"])
    plan.write_text(PLAN.replace("recipe.model.crop_stage = 0", "recipe.model.dropout = 0.2"))
    table, _ = go(only=["plain"], resume=True)
    assert set(table.rows[0].failures) == {0, 1}
    assert "made by another run: other recipe; give another --out" in table.rows[0].failures[0]


def test_a_run_that_was_begun_before_a_key_was_known_goes_on(go, tmp_path):
    go(only=["plain"], seeds=(3,))
    (path,) = tmp_path.glob("**/plain/seed-3/run.json")
    kept = json.loads(path.read_text())
    del kept["recipe"]["augmentation"]["overturn"]
    path.write_text(json.dumps(kept))
    table, lines = go(only=["plain"], seeds=(3,), resume=True)
    assert not table.rows[0].failures
    assert any("done before" in line for line in lines)


def test_other_faces_in_the_folder_are_refused(go):
    go(only=["plain"], limit=16)
    with pytest.raises(CheckpointError, match="backbone: made by another run: other faces"):
        go(only=["plain"], resume=True)


def test_a_trial_has_fewer_faces(go):
    table, _ = go(only=["plain"], limit=16)
    assert table.facts["n"] == table.facts["held_out"] == 16


def test_a_row_that_is_not_there(go):
    with pytest.raises(RecipeError, match="no row is called rann; there are plain, broken, landmark, ran"):
        go(only=["rann"])


def test_a_backbone_of_one_s_own(go, tmp_path, monkeypatch):
    go(only=["plain"])
    kept = tmp_path / "kept.safetensors"
    (tmp_path / "out" / "backbone" / "best.safetensors").rename(kept)
    (tmp_path / "out").rename(tmp_path / "first")
    go(only=["plain"], backbone=kept)
    assert not (tmp_path / "out" / "backbone").exists()
    first, second = (np.load(tmp_path / out / "plain" / "seed-0" / "answers.npz")["clean"] for out in ("first", "out"))
    np.testing.assert_array_equal(first, second)


def without_backbone(pretrained):
    """The plan without a run before the rows."""
    start, end = PLAN.index("[backbone.model]"), PLAN.index("[[row]]")
    return (PLAN[:start] + PLAN[end:]).replace('backbone = "tiny"', f'backbone = "tiny"\npretrained = "{pretrained}"')


def test_without_a_common_backbone(go, plan, tmp_path):
    go(only=["plain"], seeds=(0,))
    kept = tmp_path / "kept.safetensors"
    (tmp_path / "out" / "backbone" / "best.safetensors").rename(kept)
    (tmp_path / "out").rename(tmp_path / "first")
    plan.write_text(without_backbone(kept))
    go(only=["plain"], seeds=(0,))
    assert not (tmp_path / "out" / "backbone").exists()
    first, second = (np.load(tmp_path / out / "plain" / "seed-0" / "answers.npz")["clean"] for out in ("first", "out"))
    np.testing.assert_array_equal(first, second)
    # One that is given stands for what the recipes say.
    plan.write_text(without_backbone("nowhere.safetensors"))
    table, lines = go(only=["plain"], seeds=(0,), backbone=kept, resume=True)
    assert "plain, seed 0: done before" in lines
    # Other weights to start from are another run, and none are refused.
    plan.write_text(without_backbone(kept))
    kept.write_bytes((tmp_path / "first" / "plain" / "seed-0" / "best.safetensors").read_bytes())
    table, _ = go(only=["plain"], seeds=(0,), resume=True)
    assert "made by another run: other backbone" in table.rows[0].failures[0]


def refuse_to_search(monkeypatch):
    monkeypatch.setattr(FrontalDetector, "detect", lambda *_: pytest.fail("looked for landmarks first"))


@pytest.mark.parametrize("common", [True, False])
def test_weights_that_are_not_there_are_missed_at_once(go, plan, tmp_path, monkeypatch, common):
    refuse_to_search(monkeypatch)
    text = without_backbone("w.json")
    if common:
        text = PLAN.replace("[backbone.model]", '[backbone.model]\npretrained = "w.json"')
    plan.write_text(text)
    with pytest.raises(RecipeError, match=r"model\.pretrained names .*w\.json, which is not there"):
        go(only=["plain"])
    (tmp_path / "w.json").mkdir()
    with pytest.raises(RecipeError, match=r"model\.pretrained names .*w\.json, which is no file"):
        go(only=["plain"])


TAUGHT = """
[[row]]
name = "taught"
title = "taught by another"
taught_by = [{ row = "plain", seed = 1 }]
recipe.model.aggregation = "mean"
recipe.model.crop_stage = 0
recipe.regions.generator = "none"
"""


def test_a_row_is_taught_by_a_run_of_another(go, plan, tmp_path):
    plan.write_text(PLAN + TAUGHT)
    go(only=["plain", "taught"])
    kept = json.loads((tmp_path / "out" / "taught" / "seed-0" / "best.json").read_text())
    assert kept["recipe"]["teacher"]["checkpoints"][0].endswith("out/plain/seed-1/best.safetensors")
    plain, taught = (np.load(tmp_path / "out" / row / "seed-0" / "answers.npz")["clean"] for row in ("plain", "taught"))
    assert np.abs(plain - taught).max() > 1e-4
    # What decides a run has no place in it, so that a folder may be moved.
    assert str(tmp_path) not in (tmp_path / "out" / "taught" / "seed-0" / "run.json").read_text()
    _, lines = go(only=["taught"], resume=True)
    assert "taught, seed 0: done before" in lines
    # No teacher is another run, and so is another.
    plan.write_text(PLAN + TAUGHT.replace('taught_by = [{ row = "plain", seed = 1 }]', ""))
    table, _ = go(only=["taught"], resume=True)
    assert "made by another run: other teachers" in table.rows[-1].failures[0]
    plan.write_text(PLAN + TAUGHT)
    (tmp_path / "out" / "plain" / "seed-1" / "best.safetensors").write_bytes(b"another")
    table, _ = go(only=["taught"], resume=True)
    assert "made by another run: other teachers" in table.rows[-1].failures[0]


def test_a_teacher_that_will_not_have_run_is_missed_at_once(go, plan, monkeypatch):
    plan.write_text(PLAN + TAUGHT)
    refuse_to_search(monkeypatch)
    for asked in ({"only": ["taught"]}, {"only": ["plain", "taught"], "seeds": (0,)}):
        with pytest.raises(RecipeError, match=r"taught is taught by plain, seed 1, which has not run in .*out, nor"):
            go(**asked)


class TestCommand:
    @pytest.fixture
    def own_faces(self, make_faces, tmp_path):
        data = make_faces(60)
        for number, (face, label) in enumerate(zip(data.faces.numpy(), data.labels, strict=True)):
            folder = tmp_path / "own" / "abc"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(face).save(folder / f"{number:03}.png")
        return tmp_path / "own"

    def test_from_a_folder_to_a_table(self, plan, own_faces, tmp_path):
        out = tmp_path / "out"
        arguments = [
            "ablate",
            plan,
            "--data",
            own_faces,
            "--out",
            out,
            "--limit",
            24,
            "--only",
            "ran",
            "--only",
            "broken",
        ]
        (own_faces / "a" / "000.png").write_text("no image")
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == 1, result.output  # "broken" failed
        assert "1 listed images cannot be read and are left out; all in" in result.stderr
        assert "000.png" in (out / "unreadable.csv").read_text()
        assert "# toy" in result.stdout
        assert "ran, seed 1" in result.stderr
        again = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert again.exit_code == 2
        assert "give --resume" in again.stderr

    def test_without_a_common_backbone(self, plan, own_faces, tmp_path):
        plan.write_text(PLAN[: PLAN.index("[backbone.model]")] + PLAN[PLAN.index("[[row]]") :])  # all from the start
        arguments = ["ablate", plan, "--data", own_faces, "--out", tmp_path / "out", "--limit", 24, "--only", "plain"]
        result = CliRunner().invoke(main, [str(argument) for argument in (*arguments, "--seeds", 0)])
        assert result.exit_code == 0, result.output
        assert "one view (`plain`)" in result.stdout
        assert not (tmp_path / "out" / "backbone").exists()

    @pytest.mark.parametrize("seeds", ["0,x", "1,1"])
    def test_seeds_that_are_none(self, plan, tmp_path, seeds):
        result = CliRunner().invoke(main, ["ablate", str(plan), "--data", str(tmp_path), "--seeds", seeds])
        assert result.exit_code == 2
        assert "--seeds" in result.stderr
