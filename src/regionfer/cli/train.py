"""``regionfer train``: from a recipe and a dataset to a checkpoint."""

import sys
from pathlib import Path

import click


@click.command("train")
@click.argument("recipe", metavar="RECIPE.toml")
@click.option("--data", required=True, metavar="DIR", help="Folder of the dataset that the recipe names.")
@click.option("--out", metavar="DIR", help="Folder for checkpoints and logs; runs/NAME of the recipe if not given.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint in the folder, where there is one.")
@click.option("--seed", type=int, metavar="N", help="Use this seed instead of the recipe's.")
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), help="Use this instead of the recipe's.")
def command(recipe: str, data: str, out: str | None, resume: bool, seed: int | None, precision: str | None) -> None:
    """Train a network as RECIPE.toml describes.

    After each epoch a checkpoint is written, so that a run that was stopped goes on with --resume and ends with the
    same weights. Figures go to log.csv and, for TensorBoard, into the same folder.
    """
    from regionfer.training.loop import BEST, train
    from regionfer.training.recipe import load_recipe
    from regionfer.training.sources import load_sources

    overrides = {"seed": seed, "precision": precision}
    settings = load_recipe(recipe, **{key: value for key, value in overrides.items() if value is not None})
    sources = load_sources(settings, data)
    click.echo(sources.describe(), err=True)
    folder = Path(out or f"runs/{settings.name}")
    best = train(
        settings,
        sources.training,
        sources.validation,
        folder,
        classes=sources.classes,
        data=sources.facts,
        resume=resume,
        progress=sys.stderr.isatty(),
        report=lambda line: click.echo(line, err=True),
    )
    click.echo(f"{folder / BEST}: epoch {best.epoch}", err=True)
    if best.score:
        low, high = best.score["accuracy_ci95"]
        click.echo(
            f"valid accuracy {best.score['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, "
            f"n = {best.score['n']:,}), mean recall {best.score['mean_recall']:.2%}",
            err=True,
        )
