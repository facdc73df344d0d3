"""One temperature that makes probabilities mean what they say (Guo et al., 2017, arXiv:1706.04599)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from regionfer.models.classifier import ExpressionClassifier, mirror_points
from regionfer.training.data import FaceData

BOUNDS = (0.05, 20.0)
"""Smallest and largest temperature that is tried."""

MIN_FACES = 200
"""Faces below which no temperature is fitted: a few faces that all happen to be right would make every answer sure."""


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least negative log-likelihood.

    Args:
        logits: (V, n, C), of V views of each face, whose probabilities are averaged.
        labels: (n,) int64.
    """

    def loss(log_temperature: float) -> float:
        log_shares = (logits.double() / math.exp(log_temperature)).log_softmax(-1)
        return float(nll_loss(log_shares.logsumexp(0) - math.log(len(logits)), labels))

    # Golden section: the loss of a single view has one minimum (it is convex in 1 / temperature).
    low, high = (math.log(bound) for bound in BOUNDS)
    section = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - section * (high - low), low + section * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


def calibrate(classifier: ExpressionClassifier, held_out: FaceData, *, batch: int = 128) -> float:
    """Fit the temperature of a classifier to faces it did not learn from, set it, and return it.

    With fewer than ``MIN_FACES`` faces it stays as it is.
    """
    if len(held_out) < MIN_FACES:
        return float(classifier.temperature)
    views = []
    with torch.inference_mode():
        for start in range(0, len(held_out), batch):
            faces = held_out.faces[start : start + batch]
            landmarks = None if held_out.landmarks is None else held_out.landmarks[start : start + batch]
            logits = [classifier.predict(faces, landmarks).logits]
            if classifier.flip:
                mirrored = None if landmarks is None else mirror_points(landmarks)
                logits.append(classifier.predict(faces.flip(2), mirrored).logits)
            views.append(torch.stack(logits))
    temperature = fit_temperature(torch.cat(views, dim=1).clone(), torch.from_numpy(held_out.labels))
    classifier.temperature.fill_(temperature)
    return temperature
