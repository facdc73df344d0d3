"""Several models as one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regionfer.errors import ModelError
from regionfer.model_card import ModelCard
from regionfer.onnx_model import HEADS, Classifier, ModelOutput


class FusedModel(Classifier):
    """Several models as one, by the weighted mean of their probabilities (the paper's score-level fusion).

    The attention shown is that of the first model, whose regions the card names. Occlusion and pose are the mean over
    the models that have these outputs, visibility over those of them with the first model's regions. Probabilities
    that are averaged have another risk at each threshold than those of any one model: the card of two models or more
    has no ``uncertainty``.

    Args:
        models: one or more models with the same labels.
        weights: one non-negative weight a model; equal if None. They need not sum to 1.

    Raises:
        ModelError: the models have other labels than the first.
        ValueError: no models, or weights that do not fit.
    """

    def __init__(self, models: Sequence[Classifier], weights: Sequence[float] | None = None) -> None:
        if not models:
            raise ValueError("expected one model or more to fuse, got none")
        first = models[0].card
        for model in models[1:]:
            if model.card.labels != first.labels:
                raise ModelError(
                    f"{model} has the labels {', '.join(model.card.labels)}, the first model has "
                    f"{', '.join(first.labels)}; only models with the same labels can be fused"
                )
        share = np.asarray([1.0] * len(models) if weights is None else weights, dtype=np.float64)
        if share.shape != (len(models),) or (share < 0).any() or not 0 < share.sum() < np.inf:
            raise ValueError(f"weights must be {len(models)} numbers, none below 0, got {weights}")
        self.models = tuple(models)
        self.weights = tuple((share / share.sum()).tolist())
        self.needs_landmarks = any(model.needs_landmarks for model in models)
        self.heads = tuple(name for name in HEADS if self._sources(name))
        self.concurrent = all(model.concurrent for model in models)
        self.card = first if len(models) == 1 else self._fused_card()

    def with_threads(self, threads: int) -> "FusedModel":
        """As in `Classifier`, of each model."""
        return FusedModel([model.with_threads(threads) for model in self.models], self.weights)

    @property
    def fingerprint(self) -> str:
        """As in `Classifier`: of all models, with their weights."""
        parts = zip(self.weights, self.models, strict=True)
        return " + ".join(f"{weight:.6g} x {model.fingerprint}" for weight, model in parts)

    def __repr__(self) -> str:
        return f"FusedModel({list(self.models)!r}, weights={list(self.weights)})"

    def __str__(self) -> str:
        return " + ".join(map(str, self.models))

    def _fused_card(self) -> ModelCard:
        cards = [model.card for model in self.models]
        sources = self._sources("occlusion") or dict(enumerate(self.weights))
        threshold = sum(weight * cards[index].occlusion_threshold for index, weight in sources.items())
        # The graphs take any side: align for the model that sees most.
        side = max(card.face_size for card in cards)
        return replace(cards[0], face_size=side, uncertainty={}, occlusion_threshold=threshold, prior_shift=())

    def _sources(self, head: str) -> dict[int, float]:
        """The models that a head's answer is the mean of, and their weights; none if no model has it."""
        regions = self.models[0].card.regions
        fit = {
            index: weight
            for index, (model, weight) in enumerate(zip(self.models, self.weights, strict=True))
            if weight > 0 and head in model.heads and (head != "visibility" or model.card.regions == regions)
        }
        whole = sum(fit.values())
        return {index: weight / whole for index, weight in fit.items()}

    def _run(self, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None) -> ModelOutput:
        outputs = [model.run(faces, landmarks, batch_size=len(faces)) for model in self.models]
        fused: dict[str, Any] = dict.fromkeys(HEADS)
        fused |= {name: _mean(outputs, name, self._sources(name)) for name in self.heads}
        fused["probabilities"] = _mean(outputs, "probabilities", dict(enumerate(self.weights)))
        return outputs[0]._replace(**fused)


def _mean(outputs: Sequence[ModelOutput], name: str, weights: Mapping[int, float]) -> NDArray[np.float32]:
    """Weighted mean of an output over some of the models."""
    return np.asarray(sum(weight * getattr(outputs[i], name) for i, weight in weights.items()), dtype=np.float32)
