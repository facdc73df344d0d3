from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from regionfer.metrics import expected_calibration_error, nll
from regionfer.training.build import build_classifier, load_classifier
from regionfer.training.calibration import (
    FALSE_COVERS,
    MIN_FACES,
    MIN_MISTAKES,
    calibrate,
    fit_occlusion_threshold,
    fit_prior_shift,
    fit_temperature,
)
from regionfer.training.data import FaceData
from regionfer.training.inference import predict
from regionfer.training.loop import train
from regionfer.training.recipe import Recipe


def sampled(temperature: float, n: int = 20000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn from what they say at a temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(n, 4, generator=generator)
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature: float) -> None:
    logits, labels = sampled(temperature)
    found = fit_temperature(logits[None], labels)
    assert found == pytest.approx(temperature, rel=0.05)
    shares = (logits / found).softmax(1).numpy()
    assert expected_calibration_error(labels.numpy(), shares) < 0.02


def test_views_are_averaged_as_probabilities() -> None:
    """Against a search over a grid."""
    logits, labels = sampled(1.7, n=2000)
    views = torch.stack([logits, logits.roll(1, 1)])
    found = fit_temperature(views, labels)
    grid = np.exp(np.linspace(-2, 3, 501))
    losses = [nll(labels.numpy(), (views / t).softmax(2).mean(0).numpy()) for t in grid]
    assert found == pytest.approx(grid[int(np.argmin(losses))], rel=0.02)


@pytest.mark.parametrize("flip", [False, True])
def test_calibration_lowers_the_nll_of_what_the_classifier_answers(
    flip: bool,
    make_recipe: Callable[..., Recipe],
    make_faces: Callable[..., FaceData],
    classes: tuple[str, ...],
    tmp_path: Path,
) -> None:
    recipe = make_recipe(optimiser={"epochs": 3})
    classifier = load_classifier(train(recipe, make_faces(96), None, tmp_path, classes=classes))
    classifier.flip = flip
    faces = make_faces(240, seed=3)
    faces.labels[::5] = (faces.labels[::5] + 1) % 3  # else no probability is too sure
    before = nll(faces.labels, predict(classifier, faces))
    fitted = calibrate(classifier, faces)
    assert fitted is not None
    temperature = fitted.temperature
    assert classifier.temperature.item() == pytest.approx(temperature)
    after = nll(faces.labels, predict(classifier, faces))
    assert after < before
    for factor in (0.9, 1.1):
        classifier.temperature.fill_(factor * temperature)
        assert nll(faces.labels, predict(classifier, faces)) > after


def test_a_few_faces_do_not_make_every_answer_sure(
    make_recipe: Callable[..., Recipe], make_faces: Callable[..., FaceData]
) -> None:
    classifier = build_classifier(make_recipe(), 3).eval()
    assert calibrate(classifier, make_faces(MIN_FACES - 1)) is None
    assert classifier.temperature.item() == 1


def test_easy_faces_do_not_make_every_answer_sure(
    make_recipe: Callable[..., Recipe], make_faces: Callable[..., FaceData]
) -> None:
    classifier, faces = build_classifier(make_recipe(), 3).eval(), make_faces(MIN_FACES)
    faces.labels[:] = predict(classifier, faces).argmax(1)
    faces.labels[: MIN_MISTAKES - 1] = (faces.labels[: MIN_MISTAKES - 1] + 1) % 3
    for max_loss in (None, 0.01):
        assert calibrate(classifier, faces, max_loss=max_loss) is None
        assert classifier.temperature.item() == 1
    faces.labels[MIN_MISTAKES] = (faces.labels[MIN_MISTAKES] + 1) % 3
    fitted = calibrate(classifier, faces)
    assert fitted is not None
    assert fitted.temperature < 1


def rare_class(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the exact posterior, and labels, of which one in ten is of the second class."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(n, generator=generator) < 0.1).long()
    evidence = torch.randn(n, 2, generator=generator) + 1.2 * torch.nn.functional.one_hot(labels, 2)
    return 1.2 * evidence + torch.tensor([0.9, 0.1]).log(), labels


def test_rare_classes_are_answered_as_far_as_accuracy_allows() -> None:
    """Nine in ten faces are of one class; the logits know better than their prior says."""
    logits, labels = rare_class(4000)

    def found(max_loss: float) -> tuple[float, float]:
        temperature, shift = fit_prior_shift(logits[None], labels, max_loss)
        answers = (logits / temperature + torch.tensor(shift)).argmax(1)
        right = answers == labels
        return float(right.float().mean()), float(right[labels == 1].float().mean())

    (most, least_recall), (less, more_recall) = found(0.0), found(0.02)
    assert most - 0.02 <= less < most
    assert more_recall > least_recall + 0.05


def test_a_shift_leaves_probabilities_that_mean_what_they_say() -> None:
    """Shifted answers would be surer than they are right."""
    logits, labels = rare_class(8000)
    temperature, shift = fit_prior_shift(logits[None], labels, 0.03)
    assert max(shift) > 0.2
    shifted = logits / temperature + torch.tensor(shift)
    assert fit_temperature(shifted[None], labels) == pytest.approx(1, abs=0.02)


def test_the_second_temperature_changes_no_answer() -> None:
    """The answers are those of one of the shifts with a single temperature."""
    logits, labels = rare_class(8000)
    temperature, shift = fit_prior_shift(logits[None], labels, 0.03)
    found = (logits / temperature + torch.tensor(shift)).argmax(1)
    rarity = -(2 * labels.bincount() / len(labels)).clamp_max(1).log()
    shifts = [tau * (rarity - rarity.mean()) for tau in torch.arange(0, 1.01, 0.02).tolist()]
    answers = [(logits / fit_temperature(logits[None], labels, each) + each).argmax(1) for each in shifts]
    assert min(int((found != each).sum()) for each in answers) == 0
    assert int((found != answers[0]).sum()) > 0


def test_common_classes_keep_their_odds() -> None:
    """Of three classes with 60, 35 and 5 % of the faces, only the last is favoured."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.tensor([0.6, 0.35, 0.05])
    labels = torch.multinomial(shares, 4000, replacement=True, generator=generator)
    evidence = torch.randn(4000, 3, generator=generator) + 1.2 * torch.nn.functional.one_hot(labels, 3)
    _, shift = fit_prior_shift((1.2 * evidence + shares.log())[None], labels, 0.03)
    assert shift[0] == pytest.approx(shift[1])
    assert shift[2] > shift[0] + 0.2


@pytest.mark.parametrize("clear", [MIN_FACES, 333])
def test_few_clear_faces_count_as_covered(clear: int) -> None:
    rng = np.random.default_rng(clear)
    probabilities = rng.random(3 * clear)
    covered = np.repeat([0, 1, np.nan], clear)
    threshold = fit_occlusion_threshold(probabilities, covered)
    assert threshold is not None
    called = np.sort(probabilities[:clear])[::-1]
    assert (called >= threshold).mean() <= FALSE_COVERS
    assert (called >= threshold - 0.002).mean() > FALSE_COVERS - 1 / clear - 1e-9  # no higher than it must be
    assert threshold == round(threshold, 3)


def test_how_many_clear_faces_may_count_as_covered_can_be_chosen() -> None:
    assert fit_occlusion_threshold(np.arange(200) / 200, np.zeros(200), 0.01) == 0.986, "0.99 and 0.995 count"


def test_no_threshold_from_few_faces() -> None:
    assert fit_occlusion_threshold(np.full(MIN_FACES - 1, 0.3), np.zeros(MIN_FACES - 1)) is None
    assert fit_occlusion_threshold(np.full(MIN_FACES, 0.3), np.full(MIN_FACES, np.nan)) is None


def test_a_head_that_calls_everything_covered_has_the_highest_threshold() -> None:
    assert fit_occlusion_threshold(np.ones(MIN_FACES), np.zeros(MIN_FACES)) == 0.999
