"""From the dataset that a recipe names to the faces it trains on."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regionfer.datasets import read_ferplus
from regionfer.datasets.manifest import Manifest
from regionfer.errors import RecipeError
from regionfer.training.data import FaceData
from regionfer.training.recipe import Recipe

READERS = {"ferplus": read_ferplus}


@dataclass(frozen=True, eq=False)
class Sources:
    """Faces for one run.

    Attributes:
        training: faces to learn from.
        validation: faces to choose the epoch on, or None.
        classes: class names, in the order of the labels.
        facts: what they are, for the checkpoint and the model card.
    """

    training: FaceData
    validation: FaceData | None
    classes: tuple[str, ...]
    facts: dict[str, Any]

    def describe(self) -> str:
        """One line for a person."""
        held_out = "none" if self.validation is None else f"{len(self.validation):,}"
        corpus = f"{self.facts['dataset']}, {self.facts['protocol']}"
        return f"{corpus}: {len(self.training):,} training faces, {held_out} held out"


def load_sources(recipe: Recipe, root: str | Path) -> Sources:
    """Read and decode the faces that a recipe asks for.

    Raises:
        RecipeError: the recipe names a dataset that is not known.
        DatasetError: the folder is not that dataset, or lacks a split.
        ImageError: an image is missing or unreadable.
    """
    manifest = _read(recipe, root)
    training = _splits(manifest, recipe.data.train)
    facts = {
        "dataset": manifest.dataset,
        "protocol": manifest.protocol,
        "splits": list(recipe.data.train),
        "n": len(training),
        "valid_split": recipe.data.valid,
        "commit": _commit(),
    }
    return Sources(
        training=FaceData.load(training, recipe.input.face_size),
        validation=None if recipe.data.valid is None else load_validation(recipe, root),
        classes=manifest.classes,
        facts=facts,
    )


def load_validation(recipe: Recipe, root: str | Path) -> FaceData:
    """Read and decode only the faces on which the epoch was chosen.

    Raises:
        RecipeError: the recipe names no such split, or a dataset that is not known.
        DatasetError: the folder is not that dataset, or lacks the split.
        ImageError: an image is missing or unreadable.
    """
    if recipe.data.valid is None:
        raise RecipeError(f"recipe {recipe.name}: data.valid names no split, so there is nothing to measure on")
    return FaceData.load(_read(recipe, root).split(recipe.data.valid), recipe.input.face_size)


def _read(recipe: Recipe, root: str | Path) -> Manifest:
    if recipe.data.dataset not in READERS:
        raise RecipeError(f"data.dataset: unknown {recipe.data.dataset!r}; known: {', '.join(READERS)}")
    return READERS[recipe.data.dataset](root)


def _splits(manifest: Manifest, names: tuple[str, ...]) -> Manifest:
    rows = manifest.splits == ""
    for name in names:
        manifest.split(name)  # says which splits there are, if this one is not among them
        rows |= manifest.splits == name
    return manifest.select(rows)


def _commit() -> str | None:
    """The commit of the source tree this code runs from, or None for an installed package."""
    here = Path(__file__).parent
    try:
        git = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return git.stdout.strip()
