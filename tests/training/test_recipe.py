from pathlib import Path

import pytest

from regionfer.errors import RecipeError
from regionfer.shipped import find_model
from regionfer.training.recipe import load_recipe, require_files

RECIPES = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").glob("*.toml") if "[[row]]" not in path.read_text()
)
"""All but ablations, which are several recipes in one."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_committed_recipes_are_valid_and_named_after_their_file(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"\nepochs = 3', "epochs: unknown key"),
        ('name = "x"\n[optimiser]\nepoch = 3', r"optimiser\.epoch: unknown key"),
        ('name = "x"\n[optimiser]\nepochs = 0', r"optimiser\.epochs: .*greater than or equal to 1"),
        ('name = "x"\n[augmentation]\nflip = 1.5', r"augmentation\.flip: .*less than or equal to 1"),
        ('name = "x"\n[augmentation]\noccluders = ["veil"]', "augmentation.occluders: unknown: veil; known: mask"),
        ('name = "x"\n[regions]\nradii = []', r"regions\.radii: .*at least 1 item"),
        ('name = "x"\n[regions]\nradii = [1.5]', r"regions\.radii\.0: .*less than or equal to 1"),
        ('name = "x"\nseed = -1', "seed: .*greater than or equal to 0"),
        ('name = "x"\n[regions]\ngenerator = "none"', "set model.aggregation to 'mean'"),
        ('name = "x"\n[optimiser]\nbackbone_lr = 0\nhead_lr = 0', "nothing learns, as the learning rates of all"),
        (
            'name = "x"\nattributes.heads = true\n[optimiser]\nbackbone_lr = 0\n'
            "head_lr = 0\nattribute_lr = 0\npose_lr = 1",
            "nothing learns",
        ),
        ('name = "x"\nattributes.pretrained = "default"', "give attributes.heads"),
        ('name = "x"\nteacher.average_weight = 0.5\noptimiser.ema = 0', "give optimiser.ema above 0"),
        ('name = "x"\n[data]\nvalid = "train"', "faces that were learned cannot choose the epoch"),
        ("[model]", "name: Field required"),
        ("name = ", "not a TOML file"),
    ],
    ids=[
        "unknown",
        "unknown in section",
        "too small",
        "too large",
        "order",
        "no radius",
        "too large a radius",
        "seed",
        "nothing to attend",
        "nothing learns",
        "no pose to learn",
        "no heads to begin",
        "no average",
        "leak",
        "no name",
        "toml",
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: cannot read the recipe: No such file"):
        load_recipe(tmp_path / "none.toml")


def test_the_pretraining_file_is_looked_for_beside_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "x.toml"
    path.write_text('name = "x"\n[model]\npretrained = "pretrained/a.json"')
    assert load_recipe(path).model.pretrained == tmp_path / "pretrained" / "a.json"
    path.write_text('name = "x"\n[model]\npretrained = "/elsewhere/a.json"')
    assert load_recipe(path).model.pretrained == Path("/elsewhere/a.json")


def test_a_model_that_ships_may_teach(tmp_path: Path) -> None:
    path = tmp_path / "project" / "recipes" / "r.toml"
    path.parent.mkdir(parents=True)
    path.write_text('name = "r"\n[teacher]\ncheckpoints = ["default", "other.onnx"]\n')
    teachers = load_recipe(path).teacher.checkpoints
    assert teachers == (find_model("default"), tmp_path / "project" / "other.onnx")
    with pytest.raises(RecipeError, match=r"other\.onnx, which is not there"):
        require_files(load_recipe(path), "teacher")
    (tmp_path / "project" / "default").touch()  # a file of one's own comes first
    assert load_recipe(path).teacher.checkpoints[0] == tmp_path / "project" / "default"


def test_overrides_replace_keys_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\nseed = 1')
    recipe = load_recipe(path, {"seed": 7, "data.dataset": "rafdb"})
    assert (recipe.seed, recipe.data.dataset) == (7, "rafdb")
