"""A temperature that makes probabilities mean what they say (Guo et al., 2017, arXiv:1706.04599), and a shift of the
classes' priors that lets rare ones be answered.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import nll_loss

from regionfer.models.classifier import ExpressionClassifier, mirror_points
from regionfer.training.data import FaceData

BOUNDS = (0.05, 20.0)
"""Smallest and largest temperature that is tried."""

FALSE_COVERS = 0.05
"""Share of the clear faces that may be called covered. Training covers half of its faces, so a probability of 0.5 means
less on faces as they come: with the model that ships, 12 % of the clear ones had more."""

MIN_FACES = 200
"""Faces below which no temperature is fitted: a few faces that all happen to be right would make every answer sure."""


MIN_MISTAKES = 10
"""Wrong answers below which none is fitted either, for the same reason: of faces that are all answered rightly the best
temperature is the lowest that is tried, and one wrong answer more or less moves it by a factor of six."""


def fit_temperature(logits: Tensor, labels: Tensor, prior_shift: Tensor | float = 0.0) -> float:
    """The temperature with the least negative log-likelihood.

    Args:
        logits: (V, n, C), of V views of each face, whose probabilities are averaged.
        labels: (n,) int64.
        prior_shift: (C,), is added after the division.
    """

    def loss(log_temperature: float) -> float:
        log_shares = (logits.double() / math.exp(log_temperature) + prior_shift).log_softmax(-1)
        return float(nll_loss(log_shares.logsumexp(0) - math.log(len(logits)), labels))

    # Golden section: the loss of a single view has one minimum (it is convex in 1 / temperature).
    low, high = (math.log(bound) for bound in BOUNDS)
    section = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - section * (high - low), low + section * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return math.exp((low + high) / 2)


class Calibration(NamedTuple):
    """What was fitted to faces that the network did not learn from.

    Attributes:
        temperature: divides the logits.
        prior_shift: (C,), is added to them afterwards.
    """

    temperature: float
    prior_shift: tuple[float, ...]


def fit_prior_shift(logits: Tensor, labels: Tensor, max_loss: float) -> Calibration:
    """Answer rare classes more often, as far as accuracy allows.

    The shift is ``-tau`` times the logarithm of the classes' shares of these faces (logit adjustment; Menon et al.,
    2021, arXiv:2007.07314), where shares above 1 / C count as 1 / C: common classes, told apart well enough as they
    are, keep their odds among each other, which costs less accuracy for the same recall of the rare ones. ``tau`` is
    in 0..1 in steps of 0.02: the one with the best mean recall among those that lose at most ``max_loss`` of the
    accuracy without it. Each has a temperature of its own, and the shifted logits then have
    a second one: a shift makes rare answers surer than they are right, and dividing all of them once more, which
    changes no answer of a single view, is what repairs most of it.

    Args:
        logits: (V, n, C), of V views of each face, whose probabilities are averaged.
        labels: (n,) int64.
        max_loss: accuracy that may be lost, in 0..1.
    """
    classes = logits.shape[-1]
    shares = torch.bincount(labels, minlength=classes).clamp_min(1).double() / len(labels)
    best, least, highest = Calibration(1.0, (0.0,) * classes), 0.0, -1.0
    rarity = -(shares * classes).clamp_max(1).log()
    for tau in np.arange(0, 1.01, 0.02):
        shift = float(tau) * (rarity - rarity.mean())
        temperature = fit_temperature(logits, labels, shift)
        again = fit_temperature(logits.double() / temperature + shift, labels)
        temperature, shift = temperature * again, shift / again
        answers = (logits.double() / temperature + shift).softmax(-1).mean(0).argmax(1)
        right = (answers == labels).double()
        accuracy = float(right.mean())
        recall = float(
            torch.stack([right[labels == label].mean() for label in labels.bincount().nonzero()[:, 0]]).mean()
        )
        least = least or accuracy - max_loss
        if accuracy >= least and recall > highest:
            highest = recall
            best = Calibration(temperature, tuple(round(float(value), 6) for value in shift))
    return best


def calibrate(
    classifier: ExpressionClassifier, held_out: FaceData, *, max_loss: float | None = None, batch: int = 128
) -> Calibration | None:
    """Fit the temperature of a classifier to faces it did not learn from, set it, and return it.

    With fewer than ``MIN_FACES`` faces, or ``MIN_MISTAKES`` wrong answers, it stays as it is, and there is none.

    Args:
        classifier: changed in place.
        held_out: the faces.
        max_loss: accuracy, in 0..1, that may be lost for the mean recall; see `fit_prior_shift`. None shifts nothing.
        batch: faces in a run.
    """
    if len(held_out) < MIN_FACES:
        return None
    logits, labels = _logits(classifier, held_out, batch), torch.from_numpy(held_out.labels)
    if (logits.softmax(-1).mean(0).argmax(1) != labels).sum() < MIN_MISTAKES:
        return None
    if max_loss is None:
        fitted = Calibration(fit_temperature(logits, labels), (0.0,) * logits.shape[-1])
    else:
        fitted = fit_prior_shift(logits, labels, max_loss)
    set_calibration(classifier, fitted)
    return fitted


def fit_occlusion_threshold(
    probabilities: NDArray[np.floating], covered: NDArray[np.floating], share: float = FALSE_COVERS
) -> float | None:
    """The least probability, in thousandths below 1, from which at most a share of the clear faces count as covered, if
    there is one.

    Args:
        probabilities: (n,) that something covers each face, of faces that the network did not learn from.
        covered: (n,) 1 where something does, as seen, 0 where nothing does, NaN where nobody looked.
        share: of the clear faces, 0..1 without 1.

    Returns:
        None with fewer than ``MIN_FACES`` clear faces; 0.999 where more of them count even from there on.

    >>> fit_occlusion_threshold(np.arange(200) / 200, np.zeros(200))  # 0.95 to 0.995 count: 10 of 200
    0.946
    """
    clear = np.sort(probabilities[covered == 0])[::-1]
    if len(clear) < MIN_FACES:
        return None
    below = float(clear[int(share * len(clear))])  # the surest that may not count
    threshold = (math.floor(below * 1000) + 1) / 1000
    return min(threshold, 0.999)


def set_calibration(classifier: ExpressionClassifier, calibration: Calibration) -> None:
    """Give a classifier what was fitted."""
    classifier.temperature.fill_(calibration.temperature)
    classifier.prior_shift.copy_(torch.tensor(calibration.prior_shift))


def _logits(classifier: ExpressionClassifier, held_out: FaceData, batch: int) -> Tensor:
    """Logits (V, n, C) of the views that are averaged."""
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
    return torch.cat(views, dim=1).clone()
