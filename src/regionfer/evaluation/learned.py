"""Which models learned from the very images they are measured on, or were fitted to them, as far as their cards say."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from regionfer.datasets import Manifest
from regionfer.datasets.manifest import DIVIDED
from regionfer.onnx_model import Classifier, FusedModel, ModelCard

_SAME_IMAGES = MappingProxyType(
    {"ferplus-votes": "ferplus", "affectnet-7": "affectnet", "affectnet-8": "affectnet", "sfew 2.0": "sfew"}
)
"""Names of datasets whose images are those of another one, or that are one dataset by another name."""


class Learned(NamedTuple):
    """A model that learned from images it is asked about, or of which something was chosen on them.

    Attributes:
        role: "model" or "baseline".
        model: name and version on its card.
        dataset: the dataset that is measured on.
        splits: those of the splits measured on that it learned from, or that served to choose, also in part.
    """

    role: str
    model: str
    dataset: str
    splits: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values for JSON."""
        return self._asdict() | {"splits": list(self.splits)}


def find_learned(model: Classifier, manifest: Manifest, role: str = "model") -> tuple[Learned, ...]:
    """Compare the cards of a model, or of several fused, with a manifest: datasets and splits by their names.

    What a model was started from, and what taught it, counts as well, as far as its card tells.
    """
    return _find(model, manifest, role, lambda card: _splits(card.training, _key(manifest.dataset)))


def find_chosen(model: Classifier, manifest: Manifest, role: str = "model") -> tuple[Learned, ...]:
    """The same for the faces on which the epoch, the calibration and the threshold were chosen."""
    return _find(model, manifest, role, lambda card: _chosen_splits(card, _key(manifest.dataset)))


def _find(
    model: Classifier, manifest: Manifest, role: str, splits_of: Callable[[ModelCard], Iterable[str]]
) -> tuple[Learned, ...]:
    asked = dict.fromkeys(split.removesuffix(DIVIDED) for split in dict.fromkeys(manifest.splits.tolist()))
    found = []
    for each in _files(model):
        seen = set(splits_of(each.card))
        if splits := tuple(split for split in asked if split in seen):
            found.append(Learned(role, f"{each.card.name} {each.card.version}", manifest.dataset, splits))
    return tuple(dict.fromkeys(found))


def learned_text(learned: Sequence[Learned]) -> str:
    """One sentence; empty if there is nothing to say.

    >>> learned_text([Learned("model", "a 1", "SFEW 2.0", ("test",))])
    'a 1 learned from SFEW 2.0 test, as its card says: figures on images that a model has seen flatter it'
    """
    return _sentence(learned, "learned from", "figures on images that a model has seen flatter it")


def chosen_text(chosen: Sequence[Learned]) -> str:
    """One sentence; empty if there is nothing to say.

    >>> chosen_text([Learned("model", "a 1", "SFEW 2.0", ("valid",))]).partition(":")[0]
    'a 1 was calibrated on SFEW 2.0 valid, as its card says'
    """
    return _sentence(
        chosen,
        "was calibrated on",
        "figures on faces that the epoch, the calibration or the threshold was chosen on flatter it, and so few of the "
        "answers above that threshold are wrong there because it was chosen so",
    )


def _sentence(models: Sequence[Learned], did: str, therefore: str) -> str:
    if not models:
        return ""
    each = (
        f"{model}{' (the baseline)' if role == 'baseline' else ''} {did} {dataset} {' and '.join(splits)}"
        for role, model, dataset, splits in models
    )
    card = "its card says" if len(models) == 1 else "their cards say"
    return f"{'; '.join(each)}, as {card}: {therefore}"


def _files(model: Classifier) -> Iterator[Classifier]:
    if isinstance(model, FusedModel):
        for each in model.models:
            yield from _files(each)
    else:
        yield model


def _splits(training: Mapping[str, Any], dataset: str) -> Iterator[str]:
    """Splits of a dataset that training went through, what it started from, its teachers, and so on back."""
    if _key(str(training.get("dataset"))) == dataset:
        yield from (str(split).removesuffix(DIVIDED) for split in training.get("splits") or ())
    for earlier in (training.get("started_from"), *(training.get("learned_through") or ())):
        if isinstance(earlier, Mapping):
            yield from _splits(earlier, dataset)


def _chosen_splits(card: ModelCard, dataset: str) -> Iterator[str]:
    """Splits of a dataset that the epoch was chosen on, and those that the threshold was."""
    if _key(str(card.training.get("dataset"))) == dataset:
        yield str(card.training.get("valid_split"))
    for metric in card.metrics:
        if _key(str(metric["dataset"])) == dataset and metric["n"] == card.uncertainty.get("n"):
            yield str(metric.get("split"))


def _key(dataset: str) -> str:
    name = dataset.strip().casefold()
    return _SAME_IMAGES.get(name, name)
