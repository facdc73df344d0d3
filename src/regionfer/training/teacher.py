"""Targets from networks: distillation from a clean view to a varied one.

Teachers look once at each training face as it is, and the network in training at turned, darkened and covered versions
of it, so that it learns to answer for a covered face what is plain on the face itself. It costs one pass before the
training instead of one each step. The moving average of the run itself, which gets better as it goes, looks at each
step.

Sources: knowledge distillation (Hinton et al., 2015, arXiv:1503.02531), mean teacher (Tarvainen and Valpola, 2017,
arXiv:1703.01780).
"""

from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from regionfer.errors import CheckpointError
from regionfer.models.classifier import ExpressionClassifier
from regionfer.models.ran import Prediction
from regionfer.training.build import load_classifier
from regionfer.training.checkpoint import replace_file
from regionfer.training.data import FaceData
from regionfer.training.display import Display
from regionfer.training.inference import predict_shared
from regionfer.training.pretraining import load_trained
from regionfer.training.recipe import TeacherRecipe

ANSWERS = "teacher.safetensors"
"""File in a run's folder that keeps what the teachers answered, for a run that is resumed."""


def taught_targets(
    targets: Tensor,
    recipe: TeacherRecipe,
    accelerator: Accelerator,
    training: FaceData,
    classes: tuple[str, ...],
    out: Path,
    display: Display,
) -> Tensor:
    """Mix what teachers answer into the targets.

    Args:
        targets: (n, C), rows sum to 1, or to 0 for a face that teaches no expression.
        recipe: names the teachers and their weight.
        accelerator: the processes that share the work.
        training: the n faces.
        classes: C class names, in the order of the labels.
        out: the run's folder, which is there. Answers are kept in it, and taken from it where the same teacher has
            looked at the same faces before.
        display: where it is told what teachers do.

    Returns:
        (n, C), rows sum to what they did; the targets themselves where there is no teacher.

    Raises:
        CheckpointError: a teacher is no trained network, or tells other classes apart.
        ModelError: a teacher's model file (.onnx) is none.
        OutputError: the answers cannot be written.
    """
    if not recipe.checkpoints:
        return targets
    known = _kept(out / ANSWERS)
    rows = np.flatnonzero(targets.sum(1).numpy() > 0)
    looked_at = training.rows(rows)
    faces = sha256(looked_at.faces.numpy().tobytes()).hexdigest()
    answers = []
    for path in recipe.checkpoints:
        teacher = _teacher(path, classes, training.landmarks is not None).to(accelerator.device)
        key = f"{sha256(path.read_bytes()).hexdigest()} {faces}"
        if key not in known:
            display.report(f"{path}: looks at {len(rows):,} training faces")
            with display.faces("teacher", len(rows)) as advance:
                known[key] = torch.from_numpy(predict_shared(accelerator, teacher, looked_at, advance=advance))
            if accelerator.is_main_process:
                replace_file(out / ANSWERS, partial(save_file, known))
        answers.append(known[key])
        agreed = (answers[-1].argmax(1) == targets[rows].argmax(1)).float().mean()
        display.report(f"{path}: teaches, and answers {agreed:.1%} of the training faces as they are labelled")
    taught = targets.clone()
    taught[rows] = (1 - recipe.weight) * targets[rows] + recipe.weight * torch.stack(answers).mean(0)
    return taught


def averaged_targets(
    targets: Tensor,
    weight: float,
    average: ExpressionClassifier,
    faces: Tensor,
    landmarks: Tensor | None,
    precision: str,
) -> Tensor:
    """Mix what the moving average of a run answers at the moment into the targets of some faces.

    Args:
        targets: (B, C), rows sum to 1, or to 0 for a face that teaches no expression.
        weight: part of its answers.
        average: the network with the averaged weights.
        faces: (B, H, W, 3) uint8 RGB, as they are.
        landmarks: (B, 5, 2) in 0..1, where its regions need them.
        precision: "bf16" computes the network in bfloat16.

    Returns:
        (B, C), rows sum to what they did.
    """
    average.eval()
    with torch.no_grad():
        pictures, boxes = average.pictures(faces), average.boxes(landmarks)
        with torch.autocast(faces.device.type, torch.bfloat16, enabled=precision == "bf16"):
            prediction: Prediction = average.network(pictures, boxes)
    answers = prediction.logits.float().softmax(1)
    return (1 - weight) * targets + weight * targets.sum(1, keepdim=True) * answers


def _teacher(path: Path, classes: tuple[str, ...], has_landmarks: bool) -> ExpressionClassifier:
    checkpoint = load_trained(path)
    if not has_landmarks and dict(checkpoint.recipe).get("regions", {}).get("generator") == "landmark":
        raise CheckpointError(
            f"{path}: this teacher's regions follow landmarks, which the training faces lack; find them with "
            "'regionfer data prepare', and train on what it writes"
        )
    if checkpoint.classes != classes:
        raise CheckpointError(
            f"{path}: expected a teacher of {', '.join(classes)}, found one of {', '.join(checkpoint.classes)}"
        )
    return load_classifier(checkpoint, str(path))


def _kept(path: Path) -> dict[str, Tensor]:
    """Answers by teacher and faces; none where there are none, or the file is damaged."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError):
        return {}
