"""``regionfer quantize``: a model file that computes in 8-bit integers."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from regionfer.datasets import Manifest
    from regionfer.onnx_model import ExpressionModel
    from regionfer.quantisation import Faces


@click.command("quantize")
@click.argument("model", metavar="MODEL.onnx")
@click.argument("output", metavar="OUT.onnx")
@click.option("--data", required=True, metavar="DIR", help="Folder of the dataset.")
@click.option("--dataset", default="ferplus", show_default=True, metavar="NAME", help="Which dataset it is.")
@click.option(
    "--split", default="train", show_default=True, metavar="S", help="Split to take the ranges of values from."
)
@click.option(
    "--samples", type=click.IntRange(min=1), default=512, show_default=True, metavar="N", help="Faces of it, at random."
)
@click.option("--valid", metavar="S", help="Split to measure accuracy on, beside the float model.")
@click.option(
    "--reduced",
    is_flag=True,
    help="Round weights to 7 bits: for processors without VNNI, on which 8 bits may overflow.",
)
def command(
    model: str, output: str, data: str, dataset: str, split: str, samples: int, valid: str | None, reduced: bool
) -> None:
    """Write MODEL.onnx as OUT.onnx, whose backbone computes in 8-bit integers.

    The ranges of values are taken from faces of a training split. Preprocessing, crops, attention, classifier and
    heads stay in single precision. The card is kept and says how it was quantised. Size and speed are told beside those
    of the float model; with --valid accuracy, too, with a warning where the model learned from these faces. The models
    that come with regionfer go by their names, such as `default`.
    """
    import numpy as np

    from regionfer.cli.figures import tell_known
    from regionfer.datasets import read_dataset
    from regionfer.evaluation.known import find_known, known_lines
    from regionfer.onnx_model import ExpressionModel
    from regionfer.quantisation import measure_loss, quantise

    original = ExpressionModel.load(model)
    manifest = read_dataset(dataset, data)
    known = manifest.split(split)
    rows = np.sort(np.random.default_rng(0).permutation(len(known))[:samples])
    sample = _faces(known.select(rows), original, split)
    held_out = None
    if valid is not None:
        measured_on = manifest.split(valid)
        held_out = _faces(measured_on, original, valid)
        learned = [each for each in find_known([original], measured_on) if each.how == "learned"]
        tell_known(learned)
        for _, text in known_lines(learned):
            held_out = held_out._replace(facts={**held_out.facts, "note": text})
    click.echo(
        f"ranges of values from {len(sample.faces):,} of {len(known):,} faces of {known.dataset}, {split}", err=True
    )
    quantised = quantise(original, Path(output), sample, reduced=reduced)
    left = ", ".join(f"{count} {kind}" for kind, count in quantised.left.items())
    click.echo(f"{quantised.convolutions} convolutions in integers; other layers in single precision: {left or 'none'}")
    _tell_size_and_speed(original, quantised.model, sample)
    if held_out is None:
        click.echo("accuracy: not measured; give --valid SPLIT")
        return
    loss = measure_loss(quantised.model, original, held_out)
    interval = "no 95 % interval"
    if loss.difference_ci95 is not None:
        low, high = (100 * bound for bound in loss.difference_ci95)
        interval = f"95 % interval {low:+.2f} to {high:+.2f}"
    click.echo(
        f"{known.dataset} {valid}, n = {loss.n:,}: accuracy {loss.accuracy:.2%}, float {loss.float_accuracy:.2%}, "
        f"difference {100 * loss.difference:+.2f} points ({interval}, "
        f"McNemar p = {loss.mcnemar_p:.3f}); the same answer to {loss.agreement:.2%}"
    )


def _faces(manifest: "Manifest", model: "ExpressionModel", split: str) -> "Faces":
    import numpy as np

    from regionfer.cli import tell_failures
    from regionfer.datasets.manifest import load_readable_faces
    from regionfer.errors import DatasetError
    from regionfer.quantisation import Faces
    from regionfer.training.data import FaceData

    names = model.card.labels
    if unknown := [name for name in manifest.classes if name not in names]:
        raise DatasetError(
            f"{manifest.root}: has the classes {', '.join(unknown)}, which {model.source} does not know; it knows "
            f"{', '.join(names)}; give the dataset that it was trained on"
        )
    read = load_readable_faces(manifest, model.card.face_size)
    tell_failures(list(read.failures.values()), "as 'regionfer data check' lists")
    if read.failures:
        click.echo(f"{len(read.failures):,} images of {split} cannot be read and are left out", err=True)
    data = FaceData.of(read)
    if data.landmarks is None and model.card.regions.boxes is None:
        raise DatasetError(
            f"{manifest.root}: comes without landmarks, which the regions of {model.source} follow; find them with "
            "'regionfer data prepare', and give what it writes"
        )
    facts = {"dataset": manifest.dataset, "split": split, "protocol": manifest.protocol}
    labels = np.array([names.index(name) for name in manifest.classes])[data.labels]
    return Faces(data.faces.numpy(), labels, facts, None if data.landmarks is None else data.landmarks.numpy())


def _tell_size_and_speed(original: "ExpressionModel", quantised: "ExpressionModel", sample: "Faces") -> None:
    from regionfer.pace import THREADS, measure_pace

    small, large = (each.source.stat().st_size / 1e6 for each in (quantised, original))
    click.echo(f"{quantised.source}: {small:.1f} MB, float {large:.1f} MB")
    models = {"int8": quantised.source, "float": original.source}
    pace = measure_pace(models, "int8", sample.faces, sample.landmarks)
    click.echo(
        f"{THREADS} threads, in turns: {pace['int8'].faces_per_second:.0f} faces/s, float "
        f"{pace['float'].faces_per_second:.0f}; {pace['float'].cost:.2f} times as fast"
    )
