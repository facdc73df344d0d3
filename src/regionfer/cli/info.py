"""``regionfer info``: the model card, versions and providers."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import click

from regionfer.shipped import COME_WITH, SHIPPED

if TYPE_CHECKING:
    from regionfer.model_card import ModelCard, RegionCard
    from regionfer.onnx_model import ExpressionModel

PACKAGES = ("regionfer", "onnxruntime", "numpy", "opencv-python-headless", "pillow")


@click.command("info")
@click.option("--model", metavar="FILE", help=f"Model file; `{SHIPPED[0]}` if not given. {COME_WITH}.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: str | None, as_json: bool) -> None:
    """Show what a model is, and the versions and providers in use."""
    from regionfer.onnx_model import ExpressionModel
    from regionfer.runtime import load_onnxruntime

    system = {package: _version(package) for package in PACKAGES} | {"python": platform.python_version()}
    system["providers"] = ", ".join(load_onnxruntime().get_available_providers())
    if not as_json:  # before the model, which may be what is wrong
        _print_table(system)
    loaded = ExpressionModel.load(model)
    if as_json:
        click.echo(json.dumps(system | {"model": _describe(loaded)}, indent=2, ensure_ascii=False))
        return
    click.echo()
    _print_table(_describe(loaded) | _readable(loaded.card))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # onnxruntime-gpu and opencv-python have the same modules
        return "not installed under this name"


def _describe(model: "ExpressionModel") -> dict[str, Any]:
    file = {"file": str(model.source), "sha256": model.sha256, "runs on": ", ".join(model.providers)}
    return file | {"heads": list(model.heads)} | model.card.to_dict()


def _readable(card: "ModelCard") -> dict[str, Any]:
    """What takes other words for people than in JSON."""
    shift = dict(zip(card.labels, (f"{value:+.3f}" for value in card.prior_shift), strict=False))
    uncertainty = _uncertainty_line(card.uncertainty)
    return {"regions": _region_lines(card.regions), "uncertainty": uncertainty, "prior_shift": shift or "none"}


def _uncertainty_line(stored: Mapping[str, Any]) -> str:
    if not stored:
        return "not measured: no answer is marked as uncertain"
    wrong = f"at most {stored['risk']:.1%} wrong"
    if (interval := stored.get("measured_risk_ci95")) is not None:
        low, high = interval
        wrong += f", measured {stored['measured_risk']:.1%} (95 % interval {low:.1%} to {high:.1%})"
    return (
        f"answers below {stored['threshold']:.3f}; of the others {wrong}, coverage {stored['coverage']:.1%}, "
        f"n = {stored['n']}"
    )


def _region_lines(regions: "RegionCard") -> dict[str, Any]:
    from regionfer.regions import WHOLE_FACE

    squares = [f"square around it, half sides {_text(list(regions.radii))}"] * (len(regions.names) - 1)
    boxes = regions.boxes or [WHOLE_FACE, *squares]
    places = {name: _text(box) for name, box in zip(regions.names, boxes, strict=True)}
    return {"generator": regions.generator, "x1 y1 x2 y2 in 0..1 of the face": places}


def _print_table(values: Mapping[str, Any], indent: str = "", runs: list[Mapping[str, Any]] | None = None) -> None:
    """A line a value; parts are indented. A training run that several others go back to is told once."""
    runs = [] if runs is None else runs
    width = max(map(len, values), default=0)
    for key, value in values.items():
        if isinstance(value, Mapping):
            _print_part(key, value, indent, runs)
        elif key == "metrics":
            click.echo(f"{indent}{key}")
            for metric in value:
                click.echo(f"{indent}  {_metric_line(metric)}")
        elif isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value):
            for number, each in enumerate(value, 1):
                _print_part(f"{key} {number}", each, indent, runs)
        else:
            click.echo(f"{indent}{key:{width}}  {_text(value)}")


def _print_part(key: str, part: Mapping[str, Any], indent: str, runs: list[Mapping[str, Any]]) -> None:
    if "splits" not in part:  # no training run
        click.echo(f"{indent}{key}")
    elif part in runs:
        click.echo(f"{indent}{key}: run {runs.index(part) + 1}, as above")
        return
    else:
        runs.append(part)
        click.echo(f"{indent}{key}: run {len(runs)}")
    _print_table(part, indent + "  ", runs)


def _text(value: object) -> str:
    return ", ".join(map(_text, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _metric_line(metric: Mapping[str, Any]) -> str:
    """A measurement as one line, always with n and, where it is known, the interval."""
    place = " ".join(str(metric[key]) for key in ("dataset", "split", "protocol") if key in metric)
    parts = [f"{place}: accuracy {_accuracy(metric)}", f"n = {metric['n']}"]
    if metric.get("mean_recall") is not None:
        parts.append(f"mean recall {metric['mean_recall']:.1%}")
    if metric.get("ece") is not None:
        parts.append(f"expected calibration error {metric['ece']:.1%}")
    baseline = metric.get("baseline")
    if isinstance(baseline, Mapping) and "accuracy" in baseline:
        parts.append(f"plain backbone {_accuracy(baseline)}")
    if "measured_on" in metric:
        parts.append(f"measured on {metric['measured_on']}, not on this model")
    if "note" in metric:
        parts.append(str(metric["note"]))
    return ", ".join(parts)


def _accuracy(metric: Mapping[str, Any]) -> str:
    low, high = metric.get("accuracy_ci95") or (None, None)
    interval = "" if low is None else f" (95 % interval {low:.1%} to {high:.1%})"
    return f"{metric['accuracy']:.1%}{interval}"
