"""One model, or several fused, as commands take them: ``--model A,B --weights 0.6,0.4``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from regionfer.errors import RegionferError
from regionfer.shipped import COME_WITH, SHIPPED

if TYPE_CHECKING:
    from regionfer.recognizer import Recognizer

model_option = click.option(
    "--model",
    default=SHIPPED[0],
    metavar="M[,M2...]",
    help=f"Model file, or several to be fused; `{SHIPPED[0]}` if not given. {COME_WITH}.",
)

weights_option = click.option(
    "--weights",
    metavar="W[,W2...]",
    help="How much each of several models counts, such as 0.6,0.4; all alike if not given.",
)

batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Faces in one run of the network, at most; more is faster on a GPU only.",
)


def open_recognizer(models: str, weights: str | None = None, *, max_risk: float | None = None) -> "Recognizer":
    """A recogniser of a model file, or of several separated by commas.

    Args:
        models: files, or names of models that come with regionfer.
        weights: as many numbers, separated by commas; None for all alike.
        max_risk: see `Recognizer`.

    Raises:
        UsageError: no model, or weights that are no numbers or do not fit the models.
        ModelError: a model file that cannot be used.
    """
    from regionfer.recognizer import Recognizer

    names = [models] if Path(models).is_file() else [name.strip() for name in models.split(",") if name.strip()]
    if not names:
        raise click.UsageError("expected a model file, got nothing")
    shares = None if weights is None else _numbers(weights)
    try:
        return Recognizer(names if len(names) > 1 else names[0], weights=shares, max_risk=max_risk)
    except RegionferError:
        raise
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--weights") from error


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: expected numbers, such as 0.6,0.4", param_hint="--weights") from error
