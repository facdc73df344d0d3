"""From a checkpoint to a model file, checked against the network it came from."""

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from regionfer.errors import CheckpointError, ModelError, OutputError
from regionfer.metrics import risk_coverage_curve, score, threshold_for_risk, wilson_interval
from regionfer.model_card import ModelCard, RegionCard
from regionfer.models.attributes import POSE_SCALE
from regionfer.models.classifier import Classified, ExpressionClassifier
from regionfer.onnx_model import METADATA_KEY, ExpressionModel, ModelOutput
from regionfer.regions import TYPICAL_LANDMARKS, WHOLE_FACE
from regionfer.training.build import load_classifier, region_names
from regionfer.training.calibration import (
    FALSE_COVERS,
    MIN_FACES,
    MIN_MISTAKES,
    Calibration,
    calibrate,
    fit_occlusion_threshold,
    set_calibration,
)
from regionfer.training.checkpoint import Checkpoint
from regionfer.training.data import FaceData
from regionfer.training.origin import pretraining_of
from regionfer.training.recipe import Recipe, parse_recipe, portable

PARITY = 1e-4
"""Largest difference allowed between an output of the network and the same output of its exported graph."""

CURVE_POINTS = 101
"""Points of the risk-coverage curve on a card."""

FEW = f"{{n}} faces are too few to fit a temperature or a threshold of uncertain answers to; {MIN_FACES} are needed"
"""What a card says of a measurement on fewer validation faces than `MIN_FACES`."""

EASY = f"fewer than {MIN_MISTAKES} of {{n}} faces were answered wrongly, too few to fit a temperature or a shift to"
"""What it says where so few of them are answered wrongly, and it was to be fitted."""

UNSEEN = "no threshold is seen to keep a risk of {risk:g} on {n} faces"
"""What it says where too many answers are wrong at any threshold, or too few are left to see a risk that small."""

PROBES = 32
"""Faces on which they are compared."""


def export(
    checkpoint: Checkpoint,
    path: Path,
    *,
    name: str,
    version: str,
    licence: str = "unknown",
    limits: str = "not stated",
    flip: bool = False,
    half: bool = False,
    held_out: FaceData | None = None,
    calibrated: bool = True,
    max_loss: float | None = None,
    risk: float = 0.1,
    false_covers: float = FALSE_COVERS,
    measured: ModelCard | None = None,
    baseline: ExpressionModel | None = None,
) -> tuple[ExpressionModel, float]:
    """Write a checkpoint's averaged network as a model file.

    Args:
        checkpoint: what to export.
        path: the file to write; replaced only once the new one has passed its check.
        name: short name of the model, for its card.
        version: version of the weights, for its card.
        licence: licence of the weights, for its card.
        limits: where the model fails, for its card.
        flip: put the mean over face and mirror image into the graph, at twice the cost.
        half: store the weights in half precision: half the size; computing stays in single precision.
        held_out: validation faces, on which the written graph is measured for its card, and compared with the network;
            without them it is compared on noise. Where somebody looked at them, the probability from which a face
            counts as covered is fitted to them.
        calibrated: fit the temperature on the validation faces, where `MIN_FACES` or more are given and `MIN_MISTAKES`
            or more of them answered wrongly.
        max_loss: accuracy on the validation faces, 0..1, that may be lost to answer rare classes more often; see
            `regionfer.training.calibration.fit_prior_shift`.
        risk: share of wrong answers to keep among those that are not uncertain, 0..1; the threshold for it is fitted to
            `MIN_FACES` validation faces or more, and left out where too few answers, ``1 / risk``, would be left.
        false_covers: share of the faces that somebody found clear that may count as covered, 0..1 without 1.
        measured: card of a model of the same recipe that did not learn from the validation faces. Temperature, prior
            shift, uncertainty, the threshold of covered faces, and figures are taken
            from it: for final weights that learned from all faces there are.
        baseline: the plain backbone of the same recipe, measured beside it.

    Returns:
        The model, and the largest difference between an output of the network and of the exported graph.

    Raises:
        CheckpointError: the graph's outputs differ from the network's by more than ``PARITY``, or weights are no
            numbers, or too large for half precision.
        ModelError: the baseline has other classes.
        OutputError: the file cannot be written.
    """
    if path.is_dir():
        raise OutputError(f"{path}: a folder; expected a file to write the model to")
    if baseline is not None and baseline.card.labels != checkpoint.classes:
        raise ModelError(
            f"{baseline.source}: the baseline tells apart {', '.join(baseline.card.labels)}, the checkpoint "
            f"{', '.join(checkpoint.classes)}; give a baseline with the same classes"
        )
    recipe = parse_recipe(dict(checkpoint.recipe), name)
    classifier = load_classifier(checkpoint, name)
    classifier.flip = flip
    _keep_apart(classifier, name, half=half)
    if measured is not None:
        shift = measured.prior_shift or (0.0,) * len(measured.labels)
        set_calibration(classifier, Calibration(measured.temperature, shift))
    is_easy = False
    if measured is None and calibrated and held_out is not None:
        is_easy = calibrate(classifier, held_out, max_loss=max_loss) is None and len(held_out) >= MIN_FACES
    card = _card(checkpoint, recipe, classifier, name=name, version=version, licence=licence, limits=limits)
    if measured is not None:
        card = _with_figures_of(measured, card)
    probes = _probes(recipe, held_out)
    proto = _graph(classifier, *probes)
    if half:
        store_in_half(proto, [name for name, _ in classifier.named_parameters()])
    partial = path.with_name(path.name + ".partial")
    try:
        _write(proto, card, partial)
        model = ExpressionModel.load(partial)
        difference = parity(classifier, model, *probes)
        if not difference <= PARITY:
            raise CheckpointError(f"{path}: network and exported graph differ by {difference:.2g}, allowed {PARITY:g}")
        if held_out is not None and measured is None:
            output = _run(model, held_out)
            metric = _metric(checkpoint, output.probabilities, held_out)
            uncertainty = _uncertainty(output.probabilities, held_out, risk, metric)
            notes = [EASY.format(n=len(held_out))] if is_easy else []
            if not uncertainty:
                few = len(held_out) < MIN_FACES
                notes.append(FEW.format(n=len(held_out)) if few else UNSEEN.format(risk=risk, n=len(held_out)))
            if notes:
                metric["note"] = "; ".join(notes)
            if baseline is not None:
                figures = _figures(_run(baseline, held_out).probabilities, held_out, checkpoint.classes)
                metric["baseline"] = {"name": baseline.card.name, **figures}
            threshold = _occlusion_threshold(output, held_out, false_covers, card.occlusion_threshold)
            card = replace(card, occlusion_threshold=threshold)
            _write(proto, replace(card, metrics=(metric,), uncertainty=uncertainty), partial)
        partial.replace(path)
    finally:
        if partial.is_file():
            partial.unlink()
    return ExpressionModel.load(path), difference


def _keep_apart(classifier: ExpressionClassifier, source: str, *, half: bool) -> None:
    """Make weights such as the file will hold, no two of them alike, and none all zeros.

    The exporter keeps one of two that are alike, and leaves out a bias of zeros; the names of the others, by which they
    are read back, would be lost. So the first number of such weights moves by the least step.

    Raises:
        CheckpointError: some are no numbers, or too large for half precision.
    """
    known: set[tuple[tuple[int, ...], bytes]] = set()
    for name, parameter in classifier.named_parameters():
        held = parameter.detach().to(torch.float16 if half else torch.float32).cpu().numpy().copy()
        if not np.isfinite(held).all():
            raise CheckpointError(
                f"{source}: {name} has weights that are {'too large for half precision, or ' if half else ''}no numbers"
            )
        first = held.reshape(-1)[:1]  # a view
        while held.size and (not held.any() or (held.shape, held.tobytes()) in known):
            first[:] = np.nextafter(first, held.dtype.type(np.inf))
        known.add((held.shape, held.tobytes()))
        parameter.data = torch.from_numpy(held).float().to(parameter.device)


def store_in_half(proto: onnx.ModelProto, names: Sequence[str]) -> None:
    """Store weights in half precision, each with a cast to single precision behind it.

    ONNX Runtime folds the casts when it opens the file, so that nothing is slower.

    Args:
        proto: changed in place.
        names: the weights; those that half precision can hold exactly keep their values.
    """
    graph, wanted = proto.graph, set(names)
    casts = []
    for tensor in graph.initializer:
        if tensor.name not in wanted or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        halved = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
        tensor.CopyFrom(halved)
        single = f"{tensor.name}.single"
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [single], to=onnx.TensorProto.FLOAT))
        for node in graph.node:
            for place, name in enumerate(node.input):
                if name == tensor.name:
                    node.input[place] = single
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def parity(
    classifier: ExpressionClassifier,
    model: ExpressionModel,
    faces: NDArray[np.uint8],
    landmarks: NDArray[np.float32] | None = None,
) -> float:
    """Largest difference between the outputs of a network and those of a model file, on the same faces.

    Of poses, in units of ``POSE_SCALE``.
    """
    with torch.inference_mode():
        points = None if landmarks is None else torch.from_numpy(landmarks)
        expected: Classified = classifier(torch.from_numpy(faces), points)
    found = model.run(faces, landmarks)
    differences = {
        output: float(np.abs(getattr(found, output) - getattr(expected, output).numpy()).max(initial=0))
        for output in expected.names
    }
    if "pose" in differences:
        differences["pose"] /= POSE_SCALE
    return max(differences.values())


def _write(proto: onnx.ModelProto, card: ModelCard, path: Path) -> None:
    """Write a graph with its card."""
    del proto.metadata_props[:]
    proto.metadata_props.add(key=METADATA_KEY, value=card.to_json())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(proto.SerializeToString())
    except OSError as error:
        raise OutputError(f"{path.with_suffix('')}: cannot write the model: {error.strerror}") from error


def _metric(checkpoint: Checkpoint, probabilities: NDArray[np.float32], held_out: FaceData) -> dict[str, Any]:
    names = {"dataset": "dataset", "split": "valid_split", "protocol": "protocol"}
    where = {name: checkpoint.data.get(key, "not stated") for name, key in names.items()}
    return {**where, **_figures(probabilities, held_out, checkpoint.classes)}


def _figures(probabilities: NDArray[np.float32], held_out: FaceData, classes: tuple[str, ...]) -> dict[str, Any]:
    figures = score(held_out.labels, probabilities, classes).to_dict()
    return {name: figures[name] for name in ("n", "accuracy", "accuracy_ci95", "mean_recall", "macro_f1", "nll", "ece")}


def _run(model: ExpressionModel, held_out: FaceData) -> ModelOutput:
    landmarks = None if held_out.landmarks is None else held_out.landmarks.numpy()
    return model.run(held_out.faces.numpy(), landmarks)


def _occlusion_threshold(output: ModelOutput, held_out: FaceData, share: float, otherwise: float) -> float:
    if output.occlusion is None or held_out.seen is None:
        return otherwise
    return fit_occlusion_threshold(output.occlusion[:, 0], held_out.seen.numpy(), share) or otherwise


def _uncertainty(
    probabilities: NDArray[np.float32], held_out: FaceData, risk: float, where: Mapping[str, Any]
) -> dict[str, Any]:
    """The form that `regionfer.uncertainty.Uncertainty` reads, with the dataset and split of ``where``.

    Empty of fewer than ``MIN_FACES`` faces, and where no threshold keeps the risk with so many answers, ``1 / risk``,
    that it can be seen.
    """
    if len(held_out) < MIN_FACES:
        return {}
    correct, confidence = probabilities.argmax(1) == held_out.labels, probabilities.max(1)
    threshold = threshold_for_risk(correct, confidence, risk)
    answered = confidence >= threshold
    if answered.sum() * risk < 1:
        return {}
    curve = risk_coverage_curve(correct, confidence)
    rows = np.unique(np.linspace(0, len(curve.threshold) - 1, CURVE_POINTS).round().astype(int))
    points = {name: [round(float(value), 5) for value in getattr(curve, name)[rows]] for name in curve._fields}
    wrong, answers = int((answered & ~correct).sum()), int(answered.sum())
    return {
        "dataset": where["dataset"],
        "split": where["split"],
        "threshold": threshold,
        "risk": risk,
        "measured_risk": wrong / answers,
        "measured_risk_ci95": list(wilson_interval(wrong, answers)),
        "coverage": answers / len(held_out),
        "n": len(held_out),
        "curve": points,
    }


def _with_figures_of(measured: ModelCard, card: ModelCard) -> ModelCard:
    """A card with what was measured on another model of the same recipe, and says so."""
    if measured.labels != card.labels:
        raise ModelError(
            f"{measured.name}: the model that was measured tells apart {', '.join(measured.labels)}, the checkpoint "
            f"{', '.join(card.labels)}"
        )
    metrics = tuple({"measured_on": f"{measured.name} {measured.version}", **metric} for metric in measured.metrics)
    return replace(
        card,
        metrics=metrics,
        uncertainty=measured.uncertainty,
        occlusion_threshold=measured.occlusion_threshold,
    )


def _graph(
    classifier: ExpressionClassifier, faces: NDArray[np.uint8], landmarks: NDArray[np.float32] | None
) -> onnx.ModelProto:
    """Trace the network into ONNX with any number of faces of any side."""
    dynamic = torch.export.Dim.DYNAMIC
    inputs: dict[str, torch.Tensor] = {"faces": torch.from_numpy(faces)}
    shapes: dict[str, dict[int, Any]] = {"faces": {0: dynamic, 1: dynamic, 2: dynamic}}
    if landmarks is not None:
        inputs["landmarks"], shapes["landmarks"] = torch.from_numpy(landmarks), {0: dynamic}
    with torch.inference_mode():
        names = classifier(**inputs).names
    exporter_log = logging.getLogger("torch.onnx")
    level = exporter_log.level
    exporter_log.setLevel(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):  # the exporter prints its progress
            program = torch.onnx.export(
                classifier,
                kwargs=inputs,
                input_names=list(inputs),
                output_names=list(names),
                dynamic_shapes=shapes,
                dynamo=True,
            )
    finally:
        exporter_log.setLevel(level)
    if program is None:  # only where a file name is given
        raise AssertionError("torch.onnx.export returned no program")
    proto: onnx.ModelProto = program.model_proto
    return proto


def _card(
    checkpoint: Checkpoint,
    recipe: Recipe,
    classifier: ExpressionClassifier,
    *,
    name: str,
    version: str,
    licence: str,
    limits: str,
) -> ModelCard:
    stage = recipe.model.crop_stage
    return ModelCard(
        name=name,
        version=version,
        face_size=recipe.input.face_size,
        input_size=recipe.input.size,
        labels=checkpoint.classes,
        color="grey" if recipe.input.grey else "rgb",
        regions=_region_card(recipe, classifier),
        temperature=float(classifier.temperature),
        prior_shift=tuple(classifier.prior_shift.tolist()) if bool(classifier.prior_shift.any()) else (),
        architecture={
            "backbone": recipe.model.backbone,
            "aggregation": recipe.model.aggregation,
            "cropping": "none" if recipe.regions.generator == "none" else "late" if stage else "early",
            "crop_stage": stage,
            "test_time_flip": classifier.flip,
        },
        training={
            **checkpoint.data,
            "pretraining": pretraining_of(checkpoint.data, checkpoint.recipe),
            "recipe": json.loads(portable(recipe).model_dump_json()),
            "epoch": checkpoint.epoch,
        },
        licence=licence,
        limits=limits,
    )


def _region_card(recipe: Recipe, classifier: ExpressionClassifier) -> RegionCard:
    crops = classifier.regions
    follows = recipe.regions.generator == "landmark"
    boxes = [WHOLE_FACE, *([] if crops is None else (tuple(round(edge, 6) for edge in box) for box in crops.tolist()))]
    return RegionCard(
        generator=recipe.regions.generator,
        names=region_names(recipe.regions),
        boxes=None if follows else tuple(boxes),
        radii=recipe.regions.radii if follows else (),
    )


def _probes(recipe: Recipe, held_out: FaceData | None) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Faces, and landmarks where the network needs them, to trace and compare on."""
    follows = recipe.regions.generator == "landmark"
    if held_out is not None:
        # At least two: with one face torch would take the batch for always one.
        rows = np.arange(max(2, min(PROBES, len(held_out)))) % len(held_out)
        probes = held_out.rows(rows)
        return probes.faces.numpy(), probes.landmarks.numpy() if follows and probes.landmarks is not None else None
    side = recipe.input.face_size
    faces = np.random.default_rng(0).integers(0, 256, (PROBES, side, side, 3), dtype=np.uint8)
    return faces, np.tile(np.array(TYPICAL_LANDMARKS, dtype=np.float32), (PROBES, 1, 1)) if follows else None
