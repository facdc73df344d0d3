"""A network that is still torch, run over faces: for choosing the epoch, and for the figures of a model card."""

import numpy as np
import torch
from numpy.typing import NDArray

from regionfer.metrics import Score, score
from regionfer.models.classifier import ExpressionClassifier
from regionfer.training.data import FaceData


def predict(classifier: ExpressionClassifier, data: FaceData, *, batch: int = 128) -> NDArray[np.float32]:
    """Probabilities of faces, (n, C)."""
    classifier.eval()
    device = classifier.temperature.device
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(data), batch):
            rows = slice(start, start + batch)
            landmarks = None if data.landmarks is None else data.landmarks[rows].to(device)
            chunks.append(classifier(data.faces[rows].to(device), landmarks).probabilities.cpu())
    result: NDArray[np.float32] = torch.cat(chunks).numpy()
    return result


def evaluate(classifier: ExpressionClassifier, data: FaceData, classes: tuple[str, ...], *, batch: int = 128) -> Score:
    """Measure a classifier on faces."""
    return score(data.labels, predict(classifier, data, batch=batch), classes)
