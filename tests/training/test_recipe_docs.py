"""docs/recipes.md against the recipe itself, the recipes and the backbones."""

import re
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel

from regionfer.models.backbones import BACKBONES
from regionfer.training.recipe import Recipe

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "Top level": Recipe,
    **{f"[{key}]": type(f.default) for key, f in Recipe.model_fields.items() if isinstance(f.default, BaseModel)},
}


def rows(heading: str) -> dict[str, tuple[str, ...]]:
    """Rows of the first table below a heading, by their first cell."""
    text = re.split(r"^## ", PAGE.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {row[0].strip("`"): tuple(row[1:]) for row in cells[1:]}


def as_toml(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(map(as_toml, value))}]"
        case _:
            return repr(value)


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_explained_with_its_default(heading: str) -> None:
    fields = {
        key: "required" if field.is_required() else f"`{as_toml(field.default)}`"
        for key, field in SECTIONS[heading].model_fields.items()
        if not isinstance(field.default, BaseModel)
    }
    explained = rows(heading)
    assert {key: row[0] for key, row in explained.items()} == fields
    assert all(len(row[1]) > 3 for row in explained.values())


def test_networks_of_the_repository_that_recipes_name_are_there() -> None:
    named = {
        name
        for recipe in (ROOT / "recipes").glob("*.toml")
        for name in re.findall(r'"(benchmarks/weights/[^"]+)"', recipe.read_text(encoding="utf-8"))
    }
    assert len(named) > 1
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []


def test_every_recipe_is_listed() -> None:
    listed = set(
        re.findall(
            r"`((?:ferplus|affectnet\d|rafdb|sfew|own)-[\w-]+|ablation|crop-stages(?:-\d+)?|input-size|steps)`", PAGE
        )
    )
    listed |= {re.sub(r"-ran$", "-plain", name) for name in listed}
    assert listed == {path.stem for path in (ROOT / "recipes").glob("*.toml")}


def test_every_backbone_is_listed() -> None:
    with torch.device("meta"):
        built = {name: make() for name, make in BACKBONES.items()}
    listed = {name: row[:2] for name, row in rows("Backbones").items()}
    assert listed == {name: (str(len(b.stages)), str(b.features)) for name, b in built.items()}
