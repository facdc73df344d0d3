"""What an ablation consists of: a recipe that all rows share, and what each row changes in it, read from TOML."""

import copy
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from regionfer.errors import RecipeError
from regionfer.training.recipe import Recipe, parse_recipe, resolve_files

BACKBONE = "backbone"
"""Folder and name of the run that makes the common backbone; no row may be called so."""

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1)]
Changes = dict[str, Any]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Run(_Section):
    row: str
    seed: Seed


class _Row(_Section):
    name: Slug
    title: str
    seeds: Seeds | None = None
    taught_by: tuple[_Run, ...] = ()
    recipe: Changes = Field(default_factory=dict)


class _Comparison(_Section):
    model: str
    baseline: str


class _File(_Section):
    """The file as it is written."""

    name: Slug
    seeds: Seeds = (0,)
    reference: str
    base: Changes
    backbone: Changes | None = None
    row: Annotated[tuple[_Row, ...], Field(min_length=1)]
    compare: tuple[_Comparison, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "_File":
        names = Counter(row.name for row in self.row)
        if twice := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"two rows are called {', '.join(twice)}")
        if BACKBONE in names:
            raise ValueError(f"no row may be called {BACKBONE!r}, which is the run before all rows")
        if twice := [row.name for row in self.row if len(set(row.seeds or ())) != len(row.seeds or ())]:
            raise ValueError(f"a seed stands twice in {', '.join(twice)}")
        above: set[str] = set()
        for row in self.row:
            if late := [run.row for run in row.taught_by if run.row not in above]:
                raise ValueError(f"{row.name} is taught by {', '.join(late)}, which is no row above it")
            above.add(row.name)
        named = [self.reference, *(name for pair in self.compare for name in (pair.model, pair.baseline))]
        if unknown := [name for name in named if name not in names]:
            raise ValueError(f"no row is called {', '.join(unknown)}; there are {', '.join(names)}")
        return self


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: short, also the name of its folder.
        title: what it is, for a person.
        seeds: one run for each.
        taught_by: runs of rows above whose answers are part of the targets, as (row, seed); see `TeacherRecipe`.
        recipe: of all its runs but for the seed, these teachers and, where there is a common backbone, pretraining.
    """

    name: str
    title: str
    seeds: tuple[int, ...]
    taught_by: tuple[tuple[str, int], ...]
    recipe: Recipe


@dataclass(frozen=True)
class Ablation:
    """An ablation.

    Attributes:
        name: of the ablation.
        backbone: recipe of the run whose backbone all rows start from; None where each starts as its recipe says.
        rows: in the order of the table.
        reference: name of the row that costs are compared with.
        compared: pairs of names, a model and its baseline, that are compared face by face.
    """

    name: str
    backbone: Recipe | None
    rows: tuple[Row, ...]
    reference: str
    compared: tuple[tuple[str, str], ...]

    @property
    def faces_recipe(self) -> Recipe:
        """A recipe that names the faces, which are the same in all."""
        return self.backbone or self.rows[0].recipe


def load_ablation(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Ablation:
    """Read an ablation from TOML.

    Args:
        path: the file; docs/ablation.md explains it. Relative names of files are taken from the parent of its
            folder, as in a recipe.
        overrides: values of the recipe's top level that replace those of all rows, such as "precision".

    Raises:
        RecipeError: the file is missing or no TOML, has an unknown key, a value out of range, two rows of one name,
            rows that do not read the same faces, or names a row that is not there.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        file = _File.model_validate(values)
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the ablation: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'ablation'}: {fault['msg']}" for fault in error.errors())
        raise RecipeError(f"{path}: {'; '.join(faults)}") from error
    base = _resolved(file.base, path)

    def read(changes: Changes, name: str, place: str) -> Recipe:
        values = {**_merged(base, _resolved(changes, path)), **(overrides or {}), "name": name}
        return parse_recipe(values, f"{path}: {place}")

    backbone = None if file.backbone is None else read(file.backbone, BACKBONE, "[backbone]")
    rows = tuple(
        Row(
            name=row.name,
            title=row.title,
            seeds=row.seeds or file.seeds,
            taught_by=tuple((run.row, run.seed) for run in row.taught_by),
            recipe=read(row.recipe, row.name, f"row {row.name}"),
        )
        for row in file.row
    )
    compared = tuple((pair.model, pair.baseline) for pair in file.compare)
    ablation = Ablation(file.name, backbone, rows, file.reference, compared)
    shared = ablation.faces_recipe
    for row in rows:
        if _faces_of(row.recipe) != _faces_of(shared):
            raise RecipeError(
                f"{path}: row {row.name}: [data], input.face_size and attributes.seen, .pose and .turned must be those "
                "of all rows, which learn from the same faces"
            )
    return ablation


def _faces_of(recipe: Recipe) -> tuple[Any, ...]:
    """What decides which faces are read, and what is known of them."""
    known = recipe.attributes
    return recipe.data, recipe.input.face_size, known.seen, known.pose, known.turned


def _merged(base: Changes, changes: Changes) -> Changes:
    """The base with changes laid over it, section by section."""
    merged = copy.deepcopy(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _resolved(values: Changes, path: Path) -> Changes:
    """Values whose files are found from the parent of the folder of ``path``, as in a recipe."""
    resolved = copy.deepcopy(values)
    resolve_files(resolved, path)
    return resolved
