import numpy as np
import pytest

torch = pytest.importorskip("torch")

from regionfer.models.attention import (  # noqa: E402
    MeanAggregation,
    RegionWeight,
    RelationAttention,
    SelfAttention,
)

B, R, D = 3, 4, 5


@pytest.fixture
def features():
    return torch.randn(B, R, D, generator=torch.Generator().manual_seed(1))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def parameters(weight: RegionWeight) -> tuple[np.ndarray, float]:
    return weight.score.weight.detach().double().numpy()[0], weight.score.bias.item()


def paper(F: np.ndarray, q0, q1, squash: str):
    """Equations 3 to 6 of the paper for one face, F (R, D), region by region as they are printed."""
    after = softmax if squash == "sigmoid-softmax" else np.asarray
    mu = after(np.array([sigmoid(q0[0] @ F_i + q0[1]) for F_i in F]))
    F_m = sum(m * F_i for m, F_i in zip(mu, F, strict=True)) / sum(mu)
    nu = after(np.array([sigmoid(q1[0] @ np.concatenate([F_i, F_m]) + q1[1]) for F_i in F]))
    terms = [m * n * np.concatenate([F_i, F_m]) for m, n, F_i in zip(mu, nu, F, strict=True)]
    return sum(terms) / sum(mu * nu), mu, nu, F_m


@pytest.mark.parametrize("squash", ["sigmoid", "sigmoid-softmax"])
def test_relation_attention_is_the_papers(features, squash):
    torch.manual_seed(0)
    attention = RelationAttention(D, squash)
    q0, q1 = parameters(attention.self_weight), parameters(attention.relation_weight)
    with torch.no_grad():
        found = attention(features)
    assert found.feature.shape == (B, attention.width) == (B, 2 * D)
    for b in range(B):
        P, mu, nu, _ = paper(features[b].double().numpy(), q0, q1, squash)
        np.testing.assert_allclose(found.feature[b], P, atol=1e-6)
        np.testing.assert_allclose(found.mu[b], mu, atol=1e-6)
        np.testing.assert_allclose(found.nu[b], nu, atol=1e-6)
        np.testing.assert_allclose(found.share[b], mu * nu / (mu * nu).sum(), atol=1e-6)


@pytest.mark.parametrize("squash", ["sigmoid", "sigmoid-softmax"])
def test_self_attention_stops_at_the_content(features, squash):
    torch.manual_seed(0)
    attention = SelfAttention(D, squash)
    with torch.no_grad():
        found = attention(features)
    assert found.feature.shape == (B, attention.width) == (B, D)
    q0 = parameters(attention.self_weight)
    for b in range(B):
        _, mu, _, F_m = paper(features[b].double().numpy(), q0, (np.zeros(2 * D), 0.0), squash)
        np.testing.assert_allclose(found.feature[b], F_m, atol=1e-6)
        np.testing.assert_allclose(found.mu[b], mu, atol=1e-6)
    assert (found.nu == 1).all()


def test_mean_gives_every_region_the_same_weight(features):
    found = MeanAggregation(D)(features)
    np.testing.assert_allclose(found.feature, features.numpy().mean(1), atol=1e-6)
    np.testing.assert_allclose(found.share, 1 / R)


@pytest.mark.parametrize("kind", [MeanAggregation, SelfAttention, RelationAttention])
def test_the_order_of_the_regions_does_not_matter(features, kind):
    torch.manual_seed(0)
    attention, order = kind(D), [2, 0, 3, 1]
    with torch.no_grad():
        found, turned = attention(features), attention(features[:, order])
    torch.testing.assert_close(turned.feature, found.feature)
    torch.testing.assert_close(turned.mu, found.mu[:, order])
    torch.testing.assert_close(turned.nu, found.nu[:, order])


@pytest.mark.parametrize("kind", [MeanAggregation, SelfAttention])
def test_one_region_is_its_own_content(features, kind):
    with torch.no_grad():
        torch.testing.assert_close(kind(D)(features[:, :1]).feature, features[:, 0])


def test_shares_stay_exact_where_all_weights_are_tiny(features):
    """Only ratios of weights decide, so training may shrink them all; the ratios must survive that."""
    torch.manual_seed(0)
    attention = RelationAttention(D)
    with torch.no_grad():
        attention.self_weight.score.bias.fill_(-15)
        attention.relation_weight.score.bias.fill_(-15)
        found = attention(features)
    q0, q1 = parameters(attention.self_weight), parameters(attention.relation_weight)
    for b in range(B):
        P, mu, nu, _ = paper(features[b].double().numpy(), q0, q1, "sigmoid")
        assert mu.max() * nu.max() < 1e-10
        np.testing.assert_allclose(found.share[b], mu * nu / (mu * nu).sum(), atol=1e-5)
        np.testing.assert_allclose(found.feature[b], P, atol=1e-5)
