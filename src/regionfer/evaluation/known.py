"""Which models know the images they are measured on, by their cards: learned from them, or were chosen by them."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from regionfer.datasets import Manifest
from regionfer.datasets.manifest import DIVIDED
from regionfer.fusion import FusedModel
from regionfer.model_card import ModelCard
from regionfer.onnx_model import Classifier

_SAME_IMAGES = MappingProxyType(
    {"ferplus-votes": "ferplus", "affectnet-7": "affectnet", "affectnet-8": "affectnet", "sfew 2.0": "sfew"}
)
"""Names of datasets whose images are those of another one, or that are one dataset by another name."""

How = Literal["learned", "epoch", "threshold"]


class _Wording(NamedTuple):
    """A heading; what a model did, with ``{model}`` and ``{faces}``; and what follows for figures on these faces."""

    heading: str
    did: str
    therefore: str


_WORDING: Mapping[How, _Wording] = MappingProxyType(
    {
        "learned": _Wording(
            "Seen before", "{model} learned from {faces}", "figures on images that a model has seen flatter it"
        ),
        "epoch": _Wording(
            "Epoch chosen here",
            "the epoch of {model} was chosen on {faces}",
            "figures on these faces flatter it a little",
        ),
        "threshold": _Wording(
            "Threshold fitted here",
            "calibration and threshold of {model} were fitted to {faces}",
            "that few of its sure answers are wrong here says little of other faces",
        ),
    }
)


class Known(NamedTuple):
    """A model that knows images it is asked about.

    Attributes:
        how: whether it learned from them, its epoch was chosen on them, or its calibration and the threshold of
            uncertain answers were fitted to them.
        role: "model" or "baseline".
        model: name and version on its card.
        dataset: the dataset that is measured on.
        splits: those of the splits measured on that it knows, also in part.
    """

    how: How
    role: str
    model: str
    dataset: str
    splits: tuple[str, ...]


def find_known(models: Sequence[Classifier], manifest: Manifest) -> tuple[Known, ...]:
    """Compare the cards of a model and, perhaps, its baseline with a manifest: datasets and splits by their names.

    Each may be several models fused. What a model was started from, and what taught it, counts as learned as well, as
    far as its card tells.
    """
    asked = dict.fromkeys(split.removesuffix(DIVIDED) for split in dict.fromkeys(manifest.splits.tolist()))
    dataset = _key(manifest.dataset)
    found = []
    for role, model in zip(("model", "baseline"), models, strict=False):
        for each in _files(model):
            for how, seen in _known_splits(each.card, dataset).items():
                if splits := tuple(split for split in asked if split in seen):
                    found.append(Known(how, role, f"{each.card.name} {each.card.version}", manifest.dataset, splits))
    return tuple(dict.fromkeys(found))


def known_lines(known: Sequence[Known]) -> list[tuple[str, str]]:
    """A heading and a sentence for each way in which models know the faces.

    >>> known_lines([Known("learned", "model", "a 1", "SFEW 2.0", ("test",))])[0][1]
    'a 1 learned from SFEW 2.0 test, as its card says: figures on images that a model has seen flatter it'
    """
    lines = []
    for how, wording in _WORDING.items():
        those = [each for each in known if each.how == how]
        if those:
            did = (
                wording.did.format(
                    model=f"{each.model}{' (the baseline)' if each.role == 'baseline' else ''}",
                    faces=f"{each.dataset} {' and '.join(each.splits)}",
                )
                for each in those
            )
            card = "its card says" if len(those) == 1 else "their cards say"
            lines.append((wording.heading, f"{'; '.join(did)}, as {card}: {wording.therefore}"))
    return lines


def known_dict(known: Sequence[Known]) -> dict[str, list[dict[str, Any]]]:
    """The same as plain values for JSON: what was learned from, and what served to choose."""
    plain = [each._asdict() | {"splits": list(each.splits)} for each in known]
    return {
        "learned_from": [
            {name: value for name, value in each.items() if name != "how"} for each in plain if each["how"] == "learned"
        ],
        "chosen_on": [
            {"what" if name == "how" else name: value for name, value in each.items()}
            for each in plain
            if each["how"] != "learned"
        ],
    }


def _files(model: Classifier) -> Iterator[Classifier]:
    if isinstance(model, FusedModel):
        for each in model.models:
            yield from _files(each)
    else:
        yield model


def _known_splits(card: ModelCard, dataset: str) -> dict[How, set[str]]:
    """Splits of a dataset that a model knows, by how it does."""
    epoch = card.training.get("dataset"), card.training.get("valid_split")
    return {
        "learned": set(_learned_splits(card.training, dataset)),
        "epoch": {str(split) for name, split in (epoch,) if _key(str(name)) == dataset},
        "threshold": {split for name, split in card.threshold_faces if _key(name) == dataset},
    }


def _learned_splits(training: Mapping[str, Any], dataset: str) -> Iterator[str]:
    """Splits of a dataset that training went through, what it started from, its teachers, and so on back."""
    if _key(str(training.get("dataset"))) == dataset:
        yield from (str(split).removesuffix(DIVIDED) for split in training.get("splits") or ())
    for earlier in (training.get("started_from"), *(training.get("learned_through") or ())):
        if isinstance(earlier, Mapping):
            yield from _learned_splits(earlier, dataset)


def _key(dataset: str) -> str:
    name = dataset.strip().casefold()
    return _SAME_IMAGES.get(name, name)
