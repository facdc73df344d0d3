"""A network that is still torch, run over faces: for choosing the epoch, and for the figures of a model card."""

from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from numpy.typing import NDArray

from regionfer.models.classifier import ExpressionClassifier
from regionfer.training.data import FaceData


def predict(
    classifier: ExpressionClassifier,
    data: FaceData,
    *,
    batch: int = 128,
    advance: Callable[[int], None] = lambda faces: None,
) -> NDArray[np.float32]:
    """Probabilities of faces, (n, C); ``advance`` is called with the number of faces done since."""
    classifier.eval()
    device = classifier.temperature.device
    chunks = []
    with torch.inference_mode():
        for start in range(0, len(data), batch):
            rows = slice(start, start + batch)
            landmarks = None if data.landmarks is None else data.landmarks[rows].to(device)
            chunks.append(classifier(data.faces[rows].to(device), landmarks).probabilities.cpu())
            advance(len(chunks[-1]))
    if not chunks:
        return np.empty((0, classifier.network.classifier.out_features), dtype=np.float32)
    result: NDArray[np.float32] = torch.cat(chunks).numpy()
    return result


def predict_shared(
    accelerator: Accelerator,
    classifier: ExpressionClassifier,
    data: FaceData,
    *,
    advance: Callable[[int], None] = lambda faces: None,
) -> NDArray[np.float32]:
    """The same, each process looking at a share of the faces and each face looked at once.

    ``advance`` takes it that the others are as far as this process.
    """
    # Batch norms have seen other faces in each process; what is evaluated must be what the first process keeps.
    broadcast(list(classifier.buffers()))
    rows = np.arange(accelerator.process_index, len(data), accelerator.num_processes)
    own = predict(classifier, data.rows(rows), advance=lambda faces: advance(faces * accelerator.num_processes))
    result = np.empty((len(data), own.shape[1]), dtype=np.float32)
    for theirs, probabilities in gather_object([(rows, own)]):
        result[theirs] = probabilities
    return result
