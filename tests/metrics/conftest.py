"""Labels and probabilities to measure."""

import numpy as np
import pytest


def made_example(n: int = 402, classes: int = 8, absent: tuple[int, ...] = (), seed: int = 0):
    """Labels and probabilities that are right more often than not; ``absent`` classes have no faces."""
    generator = np.random.default_rng(seed)
    labels = generator.choice([c for c in range(classes) if c not in absent], size=n)
    logits = generator.normal(size=(n, classes)) + 2.0 * np.eye(classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities


@pytest.fixture
def example():
    """A function that makes labels and probabilities."""
    return made_example


@pytest.fixture(params=[(), (7,), (2, 5)], ids=["all-classes", "one-absent", "two-absent"])
def case(request):
    return made_example(absent=request.param)
