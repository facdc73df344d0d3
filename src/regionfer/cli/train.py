"""``regionfer train``: from a recipe and a dataset to a checkpoint."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from regionfer.errors import CheckpointError, DatasetError


@click.command("train")
@click.argument("recipe", metavar="RECIPE.toml")
@click.option("--data", required=True, metavar="DIR", help="Folder of the dataset that the recipe names.")
@click.option("--dataset", metavar="NAME", help="Dataset to read instead of the recipe's, as in `regionfer data`.")
@click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Start from the weights in a model file (.onnx) or a checkpoint (.safetensors); `default` for the model that "
    "comes with regionfer.",
)
@click.option("--out", metavar="DIR", help="Folder for checkpoints and logs; runs/NAME of the recipe if not given.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder, where there is one.")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Use this seed instead of the recipe's.")
@click.option("--strict", is_flag=True, help="Do not train if an image is absent or cannot be read.")
@click.option("--batch", type=click.IntRange(min=1), metavar="N", help="Faces a step, instead of the recipe's.")
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), help="Use this instead of the recipe's.")
def command(
    recipe: str,
    data: str,
    dataset: str | None,
    start: str | None,
    out: str | None,
    resume: bool,
    seed: int | None,
    strict: bool,
    batch: int | None,
    precision: str | None,
) -> None:
    """Train a network as RECIPE.toml describes.

    After each epoch a checkpoint is written, so that a run that was stopped goes on with --resume and ends with the
    same weights. Figures go to log.csv and, for TensorBoard, into the same folder.

    Images that are listed and absent, or cannot be read, are left out, counted, and listed in unreadable.csv there.
    """
    from regionfer.cli import check_data, tell_failures, tell_findings
    from regionfer.training.recipe import load_recipe, require_files
    from regionfer.training.run_files import BEST, goes_on

    overrides = {"seed": seed, "precision": precision, "data.dataset": dataset, "optimiser.batch": batch}
    settings = load_recipe(recipe, {key: value for key, value in overrides.items() if value is not None})
    # All at once, and before the faces are decoded. A run that goes on, or starts from a model, needs no pretraining.
    folder = Path(out or f"runs/{settings.name}")
    resumed = goes_on(folder, resume=resume)
    if not resumed and start is not None and start != "default" and not Path(start).is_file():
        raise CheckpointError(f"{start}: no such model file or checkpoint to start from")
    require_files(settings, *(() if resumed or start else ("model",)), "teacher", "attributes")
    check_data(data)
    # Only now: torch takes seconds, which a mistyped path need not cost.
    from regionfer.training.loop import leave_processes, train
    from regionfer.training.sources import load_sources, write_failures

    sources = load_sources(settings, data)
    # Of several processes, by torchrun or `accelerate launch`, the first alone prints and writes.
    first = os.environ.get("RANK", "0") == "0"
    if first:
        tell_findings(sources.findings)
    if sources.failures and first:
        listed = f"all in {write_failures(sources.failures, folder)}"
        tell_failures(list(sources.failures.values()), listed)
        click.echo(f"{len(sources.failures):,} listed images cannot be read and are left out; {listed}", err=True)
    if sources.failures and strict:
        raise DatasetError(
            f"{data}: {len(sources.failures):,} listed images cannot be read; "
            "mend the dataset, or leave out --strict to train without them"
        )
    if first:
        click.echo(sources.describe(), err=True)
    best = train(
        settings,
        sources.training,
        sources.validation,
        folder,
        classes=sources.classes,
        data=sources.facts,
        start=start,
        resume=resume,
        progress=sys.stderr.isatty(),
        report=lambda line: click.echo(line, err=True),
    )
    leave_processes()
    if not first:
        return
    click.echo(f"{folder / BEST}: epoch {best.epoch}", err=True)
    if best.score:
        click.echo(describe_score(best.score), err=True)


def describe_score(score: Mapping[str, Any]) -> str:
    """Accuracy and mean recall, with n and interval."""
    low, high = score["accuracy_ci95"]
    return (
        f"accuracy {score['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, n = {score['n']:,}), "
        f"mean recall {score['mean_recall']:.2%}"
    )
