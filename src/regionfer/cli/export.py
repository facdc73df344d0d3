"""``regionfer export``: from a checkpoint to a model file."""

from pathlib import Path

import click


@click.command("export")
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.argument("model", metavar="MODEL.onnx")
@click.option("--data", metavar="DIR", help="Measure the model on the dataset's validation split, for its card.")
@click.option("--baseline", metavar="MODEL.onnx", help="Plain backbone of the same recipe, to stand beside it.")
@click.option(
    "--calibrate/--no-calibrate",
    default=True,
    show_default=True,
    help="With --data, 200 faces or more, and 10 wrong answers: fit the temperature of the probabilities on the "
    "validation split.",
)
@click.option(
    "--rare-classes",
    type=click.FloatRange(0, 100),
    metavar="POINTS",
    help="With --data, 200 faces or more, and 10 wrong answers: answer rare classes more often, as far as accuracy "
    "loses at most this many percentage points.",
)
@click.option(
    "--risk",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.1,
    show_default=True,
    help="With --data, and 200 faces or more: share of wrong answers to keep among those not called uncertain; with so "
    "small a share that no wrong answer would be seen there is no threshold.",
)
@click.option(
    "--seen",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="TABLE.csv",
    help="With --data: what covers the faces of the validation split (name, kind); faces count as covered from the "
    "probability that few of the 200 or more clear ones have (--false-covers). If not given, the recipe's "
    "attributes.seen.",
)
@click.option(
    "--false-covers",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="With --data, and 200 clear faces or more in that table: share of them that may count as covered.",
)
@click.option(
    "--measured",
    metavar="MODEL.onnx",
    help="Take calibration, uncertainty, when a face counts as covered, and figures from "
    "this model of the same recipe, which did not learn from the "
    "validation faces; for final weights that did.",
)
@click.option("--name", metavar="NAME", help="Name on the model card; the recipe's if not given.")
@click.option("--version", "version_", default="1", show_default=True, help="Version of the weights, for the card.")
@click.option("--licence", default="unknown", show_default=True, help="Licence of the weights, for the card.")
@click.option("--limits", default="not stated", metavar="TEXT", help="Where the model fails, for the card.")
@click.option("--flip", is_flag=True, help="Answer with the mean over face and mirror image, at twice the cost.")
@click.option("--half", is_flag=True, help="Store the weights in half precision: half the size, the same speed.")
@click.pass_context
def command(
    ctx: click.Context,
    checkpoint: str,
    model: str,
    data: str | None,
    baseline: str | None,
    calibrate: bool,
    rare_classes: float | None,
    risk: float,
    seen: Path | None,
    false_covers: float,
    measured: str | None,
    name: str | None,
    version_: str,
    licence: str,
    limits: str,
    flip: bool,
    half: bool,
) -> None:
    """Write CHECKPOINT as one ONNX graph from aligned faces to probabilities and attention.

    The graph is compared with the network before the file is put in place. With --data the graph itself is measured on
    the split that the epoch was chosen on, beside the baseline if one is given.
    """
    from regionfer.cli import check_data, counted, is_given, tell_failures
    from regionfer.cli.train import describe_score
    from regionfer.errors import CheckpointError
    from regionfer.onnx_model import ExpressionModel

    of_faces = {
        "baseline": "--baseline",
        "calibrate": "--[no-]calibrate",
        "rare_classes": "--rare-classes",
        "risk": "--risk",
        "seen": "--seen",
        "false_covers": "--false-covers",
    }
    given = ", ".join(option for name, option in of_faces.items() if is_given(ctx, name))
    if given and data is None:
        raise click.UsageError(f"{given}: measured on faces; give --data, too")
    if given and measured is not None:
        raise click.UsageError(f"{given}: with --measured, figures and calibration are that model's")
    if rare_classes is not None and not calibrate:
        raise click.UsageError("--rare-classes is part of the calibration; leave out --no-calibrate")
    if not Path(checkpoint).is_file():
        raise CheckpointError(f"{checkpoint}: no such checkpoint")
    if data is not None:
        check_data(data)
    measured_card = None if measured is None else ExpressionModel.load(measured).card
    beside = None if baseline is None else ExpressionModel.load(baseline)
    # Only now: torch takes seconds, which a mistyped path need not cost.
    from regionfer.training.calibration import MIN_FACES
    from regionfer.training.checkpoint import load_checkpoint
    from regionfer.training.export import export
    from regionfer.training.recipe import parse_recipe
    from regionfer.training.sources import load_validation

    loaded = load_checkpoint(checkpoint)
    recipe = parse_recipe(dict(loaded.recipe), checkpoint)
    if seen is not None:
        if not recipe.attributes.heads:
            raise click.UsageError("--seen needs a checkpoint that estimates what covers a face")
        recipe = recipe.model_copy(update={"attributes": recipe.attributes.model_copy(update={"seen": seen})})
    held_out = None
    if data is not None:
        table = recipe.attributes.seen
        if measured is None and recipe.attributes.heads and table is not None and not table.exists():
            click.echo(f"warning: {table} is not there, so when a face counts as covered is not fitted", err=True)
        held_out, failures = load_validation(recipe, data, loaded.classes)
        tell_failures(list(failures.values()), "as 'regionfer data check' lists")
        if failures:
            click.echo(f"{len(failures):,} listed images cannot be read and are not measured on", err=True)
        clear = MIN_FACES if held_out.seen is None else int((held_out.seen == 0).sum())
        if measured is None and clear < MIN_FACES:
            click.echo(
                f"warning: {table}: {counted(clear, 'clear face')} of the validation split, of {MIN_FACES} that are "
                "needed, so when a face counts as covered is not fitted",
                err=True,
            )
    made, difference = export(
        loaded,
        Path(model),
        name=name or recipe.name,
        version=version_,
        licence=licence,
        limits=limits,
        flip=flip,
        half=half,
        held_out=held_out,
        calibrated=calibrate,
        max_loss=None if rare_classes is None else rare_classes / 100,
        risk=risk,
        false_covers=false_covers,
        measured=measured_card,
        baseline=beside,
    )
    size = Path(model).stat().st_size / 1e6
    click.echo(f"{model}: {size:.1f} MB, differs from the network by {difference:.1g} at most")
    if data is not None and calibrate and measured is None:
        click.echo(f"temperature {made.card.temperature:.2f}")
    if "occlusion" in made.heads:
        click.echo(f"faces count as covered from a probability of {made.card.occlusion_threshold:g}")
    for metric in made.card.metrics:
        if note := metric.get("note"):
            marks = "" if made.card.uncertainty else ": the model marks no answer as uncertain, and its card says so"
            click.echo(f"warning: {note}{marks}", err=True)
        whose = f", by {metric['measured_on']}" if "measured_on" in metric else ""
        click.echo(f"{metric['dataset']} {metric['split']}{whose}: {describe_score(metric)}")
