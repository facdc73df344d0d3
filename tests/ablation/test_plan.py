"""Ablation files: what rows share, what they change, and what is refused."""

from pathlib import Path

import pytest

from regionfer.ablation.plan import load_ablation
from regionfer.errors import RecipeError

PLAN = """
name = "toy"
reference = "plain"
seeds = [0, 1]
[base]
precision = "fp32"
[base.model]
dropout = 0.1
[base.optimiser]
epochs = 2
[backbone.model]
pretrained = "pretrained/weights.json"
aggregation = "mean"
[backbone.regions]
generator = "none"
[backbone.optimiser]
epochs = 5
[[row]]
name = "plain"
title = "one view"
seeds = [7]
recipe.model.aggregation = "mean"
recipe.regions.generator = "none"
[[row]]
name = "ran"
title = "RAN"
recipe.loss.margin = 0.05
[[compare]]
model = "ran"
baseline = "plain"
"""
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipes" / "toy.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_rows_are_the_base_with_their_changes(write, tmp_path):
    ablation = load_ablation(write(PLAN), {"precision": "bf16"})
    plain, ran = ablation.rows
    assert (plain.seeds, ran.seeds) == ((7,), (0, 1))
    assert plain.recipe.model.aggregation == "mean"
    assert (ran.recipe.model.aggregation, ran.recipe.loss.margin) == ("relation-attention", 0.05)
    assert {row.recipe.model.dropout for row in ablation.rows} == {0.1}
    assert {row.recipe.optimiser.epochs for row in ablation.rows} == {2}
    assert ablation.backbone.optimiser.epochs == 5
    assert {ablation.backbone.precision, plain.recipe.precision} == {"bf16"}
    assert ablation.backbone.model.pretrained == tmp_path / "pretrained" / "weights.json"
    assert plain.recipe.model.pretrained is None
    assert ablation.compared == (("ran", "plain"),)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        pytest.param("seeds = [7]", "seed = 7", r"row\.0\.seed: Extra inputs", id="unknown key of a row"),
        pytest.param("margin = 0.05", "margn = 0.05", "row ran: loss.margn: unknown key", id="unknown key of a recipe"),
        pytest.param('name = "ran"', 'name = "plain"', "two rows are called plain", id="name twice"),
        pytest.param('name = "ran"', 'name = "backbone"', "no row may be called 'backbone'", id="reserved name"),
        pytest.param('name = "ran"', 'name = "../ran"', r"row\.1\.name", id="name that is no folder"),
        pytest.param('model = "ran"', 'model = "rann"', "no row is called rann; there are plain, ran", id="comparison"),
        pytest.param('reference = "plain"', 'reference = "x"', "no row is called x", id="reference"),
        pytest.param("seeds = [7]", "seeds = [7, 7]", "a seed stands twice in plain", id="seed twice"),
        pytest.param(
            "recipe.loss.margin = 0.05", "recipe.data.train = ['test']", r"row ran: \[data\], input", id="other faces"
        ),
        pytest.param(
            "recipe.loss.margin = 0.05",
            "recipe.attributes = { heads = true, seen = 'other.csv' }",
            r"row ran: .* attributes\.seen",
            id="other knowledge of the faces",
        ),
        pytest.param("seeds = [7]", "seeds = [-7]", r"row\.0\.seeds\.0", id="seed below 0"),
        pytest.param("[[row]]", "[[row", "not a TOML file", id="no TOML"),
        pytest.param(
            "seeds = [7]",
            'taught_by = [{ row = "ran", seed = 0 }]',
            "plain is taught by ran, which is no",
            id="teacher",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(write, old, new, message):
    with pytest.raises(RecipeError, match=message):
        load_ablation(write(PLAN.replace(old, new, 1)))


def test_what_is_overridden_is_so_in_every_row(write):
    text = PLAN.replace("recipe.loss.margin = 0.05", 'recipe.loss.margin = 0.05\nrecipe.precision = "bf16"')
    ablation = load_ablation(write(text), {"precision": "fp32"})
    assert {row.recipe.precision for row in ablation.rows} | {ablation.backbone.precision} == {"fp32"}


def test_a_missing_file(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml: cannot read the ablation"):
        load_ablation(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["ablation", "crop-stages", "crop-stages-160", "input-size"])
def test_the_files_that_come_along(name):
    ablation = load_ablation(RECIPES / f"{name}.toml")
    views = {row.name: row.recipe for row in ablation.rows}
    shared = [
        row.recipe.model_dump(include={"data", "augmentation", "optimiser", "test_time_flip"}) for row in ablation.rows
    ]
    assert all(settings == shared[0] for settings in shared)
    assert views[ablation.reference].model.aggregation == "mean"
    assert ablation.backbone.input.size == views[ablation.reference].input.size


def test_without_a_common_backbone_rows_start_as_they_say(write, tmp_path):
    start, end = PLAN.index("[backbone.model]"), PLAN.index("[[row]]")
    plan = PLAN[:start] + PLAN[end:]
    ablation = load_ablation(write(plan.replace("dropout = 0.1", 'pretrained = "pretrained/weights.json"')))
    assert ablation.backbone is None
    assert {row.recipe.model.pretrained for row in ablation.rows} == {tmp_path / "pretrained" / "weights.json"}
    assert ablation.faces_recipe is ablation.rows[0].recipe
    with pytest.raises(RecipeError, match=r"row ran: \[data\], input"):
        load_ablation(write(plan.replace("recipe.loss.margin = 0.05", "recipe.input.face_size = 40")))


def test_teachers_lie_beside_the_folder_of_the_file(write, tmp_path):
    teachers = 'recipe.teacher.checkpoints = ["runs/a/best.safetensors", "runs/b/best.safetensors"]'
    _, ran = load_ablation(write(PLAN.replace("recipe.loss.margin = 0.05", teachers))).rows
    assert ran.recipe.teacher.checkpoints == tuple(tmp_path / "runs" / name / "best.safetensors" for name in "ab")


def flat(values, prefix=""):
    """Nested values by their dotted keys."""
    for key, value in values.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def test_the_steps_change_one_thing_each():
    ablation = load_ablation(RECIPES / "steps.toml")
    rows = {row.name: dict(flat(row.recipe.model_dump(exclude={"name"}))) for row in ablation.rows}
    whole = rows[ablation.reference]
    changed = {name: {key for key in whole if recipe[key] != whole[key]} for name, recipe in rows.items()}
    assert changed.pop("upright") == {f"augmentation.{key}" for key in ("rotation", "scale", "aspect", "shift")}
    assert changed.pop("same-light") == {"augmentation.contrast", "augmentation.brightness"}
    taught = {row.name for row in ablation.rows if row.taught_by}
    assert {name for name, keys in changed.items() if not keys} == {ablation.reference} | taught
    assert max(map(len, changed.values())) == 1
    assert ablation.backbone is None
    assert whole["model.pretrained"].name == "faceres-deep.json"
    assert {name for pair in ablation.compared for name in pair} == set(rows)


def test_the_ablation_has_the_rows_that_were_asked_for():
    rows = {row.name: row for row in load_ablation(RECIPES / "ablation.toml").rows}
    recipes = {name: row.recipe for name, row in rows.items()}
    assert {name for name, row in rows.items() if len(row.seeds) == 3} == {"plain", "plain-six", "ran"}
    assert recipes["plain-six"].regions == recipes["ran"].regions
    assert recipes["plain-large"].input.size > recipes["plain"].input.size
    assert [recipes[name].loss.margin for name in ("rb-0", "ran", "rb-0.1")] == [0, 0.02, 0.1]
    assert {recipes[name].loss.region_biased for name in ("self-attention", "relation-attention")} == {0}
    assert [recipes[name].regions.generator for name in ("ran", "random", "landmark")] == [
        "fixed",
        "random",
        "landmark",
    ]
    assert recipes["released"].model.squash == "sigmoid-softmax"
    assert recipes["visibility"].loss.visibility > 0
