"""From the dataset that a recipe names to the faces it trains on."""

import csv
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regionfer.datasets import Finding, Manifest, load_readable_faces, read_dataset
from regionfer.datasets.manifest import DIVIDED
from regionfer.errors import DatasetError, OutputError, RecipeError
from regionfer.training.attribute_tables import covered_as_seen, pose_of, read_table
from regionfer.training.data import FaceData
from regionfer.training.recipe import Recipe, require_files
from regionfer.training.turned import read_turned

UNREADABLE = "unreadable.csv"
"""Table of images that were left out of a run, in its folder."""


@dataclass(frozen=True, eq=False)
class Sources:
    """Faces for one run.

    Attributes:
        training: faces to learn from.
        validation: faces to choose the epoch on, or None.
        classes: class names, in the order of the labels.
        facts: what they are, for the checkpoint and the model card.
        failures: why each image that is listed and cannot be read is not among them, by its name.
        findings: what its reader found amiss in the dataset and passed over.
    """

    training: FaceData
    validation: FaceData | None
    classes: tuple[str, ...]
    facts: dict[str, Any]
    failures: Mapping[str, str]
    findings: tuple[Finding, ...] = ()

    def describe(self) -> str:
        """One line for a person."""
        held_out = "none" if self.validation is None else f"{len(self.validation):,}"
        corpus = f"{self.facts['dataset']}, {self.facts['protocol']}"
        turned = len(self.training) - self.facts["n"]
        drawn = f" and {turned:,} that are drawn at other poses" if turned else ""
        return f"{corpus}: {self.facts['n']:,} training faces{drawn}, {held_out} held out"


def load_sources(recipe: Recipe, root: str | Path) -> Sources:
    """Read and decode the faces that a recipe asks for; images that cannot be read are left out and listed.

    Raises:
        RecipeError: it names tables that are not there.
        DatasetError: the recipe names a dataset that is not known, the folder is not that dataset, lacks a split, or
            none of its images can be read; or labels of the splits asked for contradict each other, or all are of one
            class.
    """
    require_files(recipe, "attributes")
    wanted = (*recipe.data.train, *filter(None, [recipe.data.valid]))
    manifest = _sound(read_dataset(recipe.data.dataset, root), wanted)
    size = recipe.input.face_size
    read = load_readable_faces(_splits(manifest, recipe.data.train), size)
    held_out = load_readable_faces(manifest.split(recipe.data.valid), size) if recipe.data.valid else None
    training, failures = read.manifest, {**read.failures, **({} if held_out is None else held_out.failures)}
    facts = {
        "dataset": manifest.dataset,
        "protocol": manifest.protocol,
        "splits": list(recipe.data.train),
        "n": len(training),
        "counts": np.bincount(training.labels, minlength=len(manifest.classes)).tolist(),
        "valid_split": recipe.data.valid,
        "commit": _commit(),
    }
    if failures:
        facts["unreadable"] = len(failures)
    return Sources(
        training=_with_attributes(FaceData.of(read), training, recipe),
        validation=None if held_out is None else FaceData.of(held_out),
        classes=manifest.classes,
        facts=facts,
        failures=failures,
        findings=manifest.findings,
    )


def _sound(manifest: Manifest, splits: Collection[str]) -> Manifest:
    """Refuse labels that nothing can be learned from; 'regionfer data check' reports the same and goes on.

    What is wrong in other splits than these is no reason.
    """
    # Images with divided votes share the table of all others.
    listed = {split.removesuffix(DIVIDED) for split in splits}
    for finding in manifest.findings:
        concerned = not finding.splits or not listed.isdisjoint(finding.splits)
        if finding.severity == "error" and concerned:
            examples = f" ({'; '.join(finding.examples)})" if finding.examples else ""
            raise DatasetError(f"{manifest.root}: {finding.text}{examples}; mend this before training on it")
    return manifest


def load_validation(recipe: Recipe, root: str | Path, classes: tuple[str, ...]) -> tuple[FaceData, Mapping[str, str]]:
    """Read and decode only the faces on which the epoch was chosen, and what the recipe's table says covers them.

    Args:
        recipe: names dataset and split.
        root: folder of the dataset.
        classes: what the checkpoint was trained to tell apart.

    Returns:
        The faces, ``seen`` among what is known of them if the recipe's ``attributes.seen`` is there;
        and of each image that cannot be read and is left out, by its name, why.

    Raises:
        RecipeError: the recipe names no such split.
        DatasetError: the recipe names a dataset that is not known, the folder is not that dataset, lacks the split, has
            other classes, or none of its images can be read.
    """
    if not recipe.data.valid:
        raise RecipeError(f"recipe {recipe.name}: data.valid names no split, so there is nothing to measure on")
    manifest = read_dataset(recipe.data.dataset, root)
    if manifest.classes != classes:
        raise DatasetError(
            f"{root}: has the classes {', '.join(manifest.classes)}, but the checkpoint was trained for "
            f"{', '.join(classes)}; give the folder that it was trained on"
        )
    read = load_readable_faces(manifest.split(recipe.data.valid), recipe.input.face_size)
    faces, table = FaceData.of(read), recipe.attributes.seen
    if recipe.regions.generator == "landmark" and faces.landmarks is None:
        raise DatasetError(
            f"{root}: comes without landmarks, which the regions of this network follow; give the prepared dataset "
            "that it was trained on"
        )
    if recipe.attributes.heads and table is not None and table.exists():
        faces = replace(faces, seen=_covered_as_seen(table, read.manifest))
    return faces, read.failures


def write_failures(failures: Mapping[str, str], out: str | Path) -> Path:
    """Write the table of images that cannot be read, image and error a row, into a run's folder.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(out) / UNREADABLE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([("image", "error"), *failures.items()])
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _with_attributes(faces: FaceData, manifest: Manifest, recipe: Recipe) -> FaceData:
    """The faces with what the recipe's tables say of them."""
    names: list[str] = manifest.names.tolist()
    table = recipe.attributes.seen
    poses = None if recipe.attributes.pose is None else read_table(recipe.attributes.pose)
    known = replace(
        faces,
        seen=None if table is None else _covered_as_seen(table, manifest),
        poses=None if poses is None else torch.tensor([pose_of(poses, name) for name in names]).view(-1, 3),
    )
    if recipe.attributes.turned is None:
        return known
    turned = read_turned(recipe.attributes.turned, names, recipe.input.face_size)
    return known.with_turned(turned.faces, turned.sources, turned.poses)


def _covered_as_seen(path: Path, manifest: Manifest) -> torch.Tensor:
    table = read_table(path)
    return torch.tensor([covered_as_seen(table, name) for name in manifest.names.tolist()])


def _splits(manifest: Manifest, names: tuple[str, ...]) -> Manifest:
    rows = manifest.splits == ""
    for name in names:
        manifest.split(name)  # says which splits there are, if this one is not among them
        rows |= manifest.splits == name
    return manifest.select(rows)


def _commit() -> str | None:
    """The commit of the source tree this code runs from, or None for an installed package."""
    here = Path(__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git(
            "ls-files", "--error-unmatch", here.name
        )  # fails where the package is installed inside another's repository
        return git("describe", "--always", "--dirty", "--abbrev=12")
    except (OSError, subprocess.CalledProcessError):
        return None
