"""Thresholds from the risk-coverage curve that a model card holds."""

import numpy as np
import pytest

from regionfer.metrics import risk_at_coverage, risk_coverage_curve, threshold_for_risk
from regionfer.uncertainty import OperatingPoint, Uncertainty


@pytest.fixture
def stored(trusted_model):
    return dict(trusted_model.card.uncertainty)


def test_reads_the_form_of_the_card(stored):
    uncertainty = Uncertainty.from_dict(stored)
    assert uncertainty.chosen == OperatingPoint(threshold=0.6, coverage=0.8, risk=0.1)
    assert (uncertainty.n, len(uncertainty.curve)) == (500, 5)
    assert uncertainty.curve[1] == OperatingPoint(0.9, 0.3, 0.02)


@pytest.mark.parametrize(
    ("max_risk", "threshold"),
    [
        pytest.param(1.0, 0.2, id="anything"),
        pytest.param(0.14, 0.5, id="on a point"),
        pytest.param(0.12, 0.6, id="between points: the model's own is nearer"),
        pytest.param(0.1, 0.6, id="the model's own"),
        pytest.param(0.05, 0.9, id="not the surest, where few are answered"),
    ],
)
def test_most_faces_at_that_risk(stored, max_risk, threshold):
    assert Uncertainty.from_dict(stored).threshold_for(max_risk) == threshold


def test_a_risk_that_cannot_be_kept(stored):
    message = r"max_risk 0\.01 cannot be kept, .* on the 500 validation faces; give 0\.02 or more"
    with pytest.raises(ValueError, match=message):
        Uncertainty.from_dict(stored).threshold_for(0.01)


@pytest.mark.parametrize(("n", "least"), [(500, 0.02), (100, "0.034"), (50, "0.06")])
def test_a_risk_too_small_to_be_seen(stored, n, least):
    """Of 100 faces 30 are answered at 2 %: from none wrong of 30 no one can tell 2 from 3 %."""
    uncertainty = Uncertainty.from_dict(stored | {"n": n})
    with pytest.raises(ValueError, match=rf"give {least} or more"):
        uncertainty.threshold_for(0.019)
    assert uncertainty.threshold_for(float(least)) >= 0.7


@pytest.mark.parametrize("max_risk", [-0.1, 5, float("nan")])
def test_a_risk_is_a_share(stored, max_risk):
    with pytest.raises(ValueError, match=r"max_risk must be in 0\.\.1"):
        Uncertainty.from_dict(stored).threshold_for(max_risk)


@pytest.mark.parametrize("max_risk", [0.03, 0.1, 0.2])
def test_as_on_the_faces_themselves(max_risk):
    """From the whole curve the threshold is that of the faces."""
    rng = np.random.default_rng(0)
    confidence = rng.random(400)
    correct = rng.random(400) < 0.5 + confidence / 2
    points = risk_coverage_curve(correct, confidence)
    curve = {name: values.tolist() for name, values in points._asdict().items()}
    whole = {"threshold": 1.0, "risk": 0.0, "coverage": 0.0, "n": 400, "curve": curve}
    threshold = Uncertainty.from_dict(whole).threshold_for(max_risk)
    assert threshold == threshold_for_risk(correct, confidence, max_risk)
    assert risk_at_coverage(correct, confidence, np.mean(confidence >= threshold)) <= max_risk


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"threshold": 60}, r"threshold must be in 0\.\.1, got 60", id="percent"),
        pytest.param({"risk": float("nan")}, r"risk must be in 0\.\.1, got nan", id="nan"),
        pytest.param({"n": 0}, "n must be at least 1", id="no faces"),
        pytest.param({"curve": [0.1, 0.2]}, "curve must have threshold, coverage, risk", id="a list"),
        pytest.param(
            {"curve": {"threshold": [], "risk": []}}, "curve must have threshold, coverage, risk", id="lacking"
        ),
        pytest.param(
            {"curve": {"threshold": [0.5], "coverage": [1.0], "risk": []}}, r"one length, got \[1, 1, 0\]", id="lengths"
        ),
        pytest.param(
            {"curve": {"threshold": [0.5], "coverage": [100], "risk": [0.1]}}, r"coverage must be in 0\.\.1", id="share"
        ),
    ],
)
def test_refuses(stored, changes, message):
    with pytest.raises(ValueError, match=message):
        Uncertainty.from_dict(stored | changes)
