import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from regionfer.models.attention import MeanAggregation, RelationAttention, SelfAttention  # noqa: E402
from regionfer.models.backbones import Backbone, Normalisation, Preprocessing  # noqa: E402
from regionfer.models.classifier import ExpressionClassifier, LandmarkRegions  # noqa: E402
from regionfer.models.ran import RegionAttentionNetwork  # noqa: E402
from regionfer.models.resampling import crop_regions  # noqa: E402
from regionfer.regions import landmark_regions  # noqa: E402

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)
REGIONS = torch.tensor([[0.0, 0.0, 0.75, 0.75], [0.25, 0.0, 1.0, 0.75], [0.05, 0.05, 0.95, 0.95]])
WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
AGGREGATIONS = [MeanAggregation, SelfAttention, RelationAttention]
D, CLASSES, SIDE = 6, 8, 16


def small_backbone() -> Backbone:
    """Three stages, 3 to 4 to 5 to D channels, the first two of which halve the side."""
    widths = (3, 4, 5, D)
    stages = [
        nn.Sequential(nn.Conv2d(widths[i], widths[i + 1], 3, stride, 1), nn.ReLU())
        for i, stride in enumerate((2, 2, 1))
    ]
    return Backbone(stages, D, PLAIN)


def network(aggregation=RelationAttention, **options) -> RegionAttentionNetwork:
    torch.manual_seed(0)
    return RegionAttentionNetwork(small_backbone(), aggregation(D), CLASSES, **options).eval()


@pytest.fixture
def pictures():
    return torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def shapes_seen(model: RegionAttentionNetwork) -> list[list[tuple[int, ...]]]:
    """Shapes of what each stage is given, filled when the model runs."""
    seen: list[list[tuple[int, ...]]] = [[] for _ in model.backbone.stages]
    for stage, shapes in zip(model.backbone.stages, seen, strict=True):
        stage.register_forward_hook(lambda _, inputs, __, shapes=shapes: shapes.append(tuple(inputs[0].shape)))
    return seen


CUTS = {
    "early": (0, None, [[(2, 3, 16, 16), (6, 3, 16, 16)], [(2, 4, 8, 8), (6, 4, 8, 8)], [(2, 5, 4, 4), (6, 5, 4, 4)]]),
    "early-smaller": (
        0,
        8,
        [[(2, 3, 16, 16), (6, 3, 8, 8)], [(2, 4, 8, 8), (6, 4, 4, 4)], [(2, 5, 4, 4), (6, 5, 2, 2)]],
    ),
    "late": (1, None, [[(2, 3, 16, 16)], [(2, 4, 8, 8), (6, 4, 8, 8)], [(2, 5, 4, 4), (6, 5, 4, 4)]]),
    "later": (2, 3, [[(2, 3, 16, 16)], [(2, 4, 8, 8)], [(2, 5, 4, 4), (6, 5, 3, 3)]]),
}


@pytest.mark.parametrize(("stage", "size", "expected"), CUTS.values(), ids=CUTS)
def test_stages_before_the_crop_run_once(pictures, stage, size, expected):
    model = network(crop_stage=stage, crop_size=size)
    seen = shapes_seen(model)
    with torch.inference_mode():
        found = model(pictures, REGIONS)
    assert seen == expected
    assert found.logits.shape == (2, CLASSES)
    assert found.mu.shape == found.nu.shape == found.share.shape == (2, 4)
    torch.testing.assert_close(found.share.sum(1), torch.ones(2))


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_network_is_its_parts_in_a_row(pictures, stage):
    model = network(crop_stage=stage)
    shared = model.backbone(pictures, stop=stage)
    features = [model.backbone(shared, start=stage).mean((-2, -1))]
    for box in REGIONS:
        crop = crop_regions(shared, box[None], shared.shape[-1])[:, 0]
        features.append(model.backbone(crop, start=stage).mean((-2, -1)))
    expected = model.aggregation(torch.stack(features, dim=1))
    with torch.no_grad():
        found = model(pictures, REGIONS)
    torch.testing.assert_close(found.mu, expected.mu)
    torch.testing.assert_close(found.nu, expected.nu)
    torch.testing.assert_close(found.logits, model.classifier(expected.feature))


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_regions_of_each_face_replace_those_in_common(pictures, aggregation):
    model = network(aggregation)
    with torch.no_grad():
        common, each = model(pictures, REGIONS), model(pictures, REGIONS.expand(2, -1, -1))
        other = model(pictures, torch.stack([REGIONS, REGIONS.flip(0)]))
    for found, expected in zip(each, common, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(other.mu[1, 1:], common.mu[1, 1:].flip(0))
    torch.testing.assert_close(other.logits, common.logits)


def test_without_regions_it_is_the_plain_backbone(pictures):
    model = network(MeanAggregation)
    with torch.no_grad():
        found = model(pictures)
        expected = model.classifier(model.backbone(pictures).mean((-2, -1)))
    torch.testing.assert_close(found.logits, expected)
    assert found.mu.shape == (2, 1)
    assert (found.share == 1).all()


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_crop_of_everything_weighs_what_the_face_does(pictures, stage):
    with torch.no_grad():
        found = network(crop_stage=stage)(pictures, WHOLE)
    torch.testing.assert_close(found.mu[:, 0], found.mu[:, 1])
    torch.testing.assert_close(found.share, torch.full((2, 2), 0.5))


def test_attention_is_computed_in_full_precision_under_autocast(pictures):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = network(crop_stage=1)(pictures, REGIONS)
    assert {part.dtype for part in found if part is not None} == {torch.float32}


def test_gradients_reach_every_parameter(pictures):
    model = network(crop_stage=1)
    model(pictures, REGIONS).logits.square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@pytest.mark.parametrize("stage", [-1, 3])
def test_a_cut_outside_the_backbone_is_refused(stage):
    with pytest.raises(ValueError, match=rf"crop_stage must be in 0\.\.2, got {stage}"):
        network(crop_stage=stage)


@pytest.fixture
def faces():
    return torch.randint(0, 256, (2, 20, 20, 3), generator=torch.Generator().manual_seed(4), dtype=torch.uint8)


def classifier(aggregation=RelationAttention, *, size=SIDE, grey=False, regions=REGIONS, temperature=1.0):
    return ExpressionClassifier(Preprocessing(PLAIN, grey), network(aggregation), size, regions, temperature).eval()


def test_classifier_gives_shares_that_sum_to_one(faces):
    with torch.no_grad():
        found = classifier()(faces)
    assert found.probabilities.shape == (2, CLASSES)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(2))
    torch.testing.assert_close(found.attention.sum(1), torch.ones(2))
    torch.testing.assert_close(found.attention, found.mu * found.nu / (found.mu * found.nu).sum(1, keepdim=True))


def test_classifier_at_the_size_of_the_faces_gives_the_network_their_very_pixels(faces):
    model = classifier(size=20)
    with torch.no_grad():
        found = model.predict(faces)
        expected = model.network(faces.permute(0, 3, 1, 2).float(), REGIONS)
    torch.testing.assert_close(found.logits, expected.logits)


def test_classifier_resizes_as_pillow_does(faces):
    from PIL import Image

    model = classifier(size=12, grey=True)
    seen: list[torch.Tensor] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(faces)
    luma = (faces[0].float() @ torch.tensor([0.299, 0.587, 0.114])).numpy()
    expected = np.asarray(Image.fromarray(luma).resize((12, 12), Image.Resampling.BILINEAR))
    assert seen[0].shape == (2, 3, 12, 12)
    np.testing.assert_allclose(seen[0][0, 1], expected, atol=1e-3)


LANDMARKS = torch.tensor(
    [
        [[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]],
        [[0.05, 0.4], [0.5, 0.35], [0.2, 0.6], [-0.1, 0.9], [0.4, 1.2]],  # turned away, two points outside
    ]
)


def test_landmark_regions_are_those_of_the_dataset_side():
    expected = landmark_regions(LANDMARKS.numpy(), (0.2, 0.3))
    np.testing.assert_allclose(LandmarkRegions((0.2, 0.3))(LANDMARKS), expected, atol=1e-6)


def test_classifier_crops_around_the_landmarks_of_each_face(faces):
    places = LandmarkRegions((0.2,))
    with torch.no_grad():
        found = classifier(regions=places)(faces, LANDMARKS)
        for face in range(2):
            boxes = places(LANDMARKS[face : face + 1])[0]
            expected = classifier(regions=boxes)(faces[face : face + 1])
            torch.testing.assert_close(found.mu[face : face + 1], expected.mu)
            torch.testing.assert_close(found.probabilities[face : face + 1], expected.probabilities)
    assert found.mu.shape == (2, 6)


def test_classifier_that_follows_landmarks_asks_for_them(faces):
    with pytest.raises(ValueError, match="landmarks must be given"):
        classifier(regions=LandmarkRegions((0.2,)))(faces)


def test_temperature_softens_without_changing_the_answer(faces):
    with torch.no_grad():
        sharp, soft = classifier()(faces), classifier(temperature=4.0)(faces)
        logits = classifier().predict(faces).logits
    torch.testing.assert_close(soft.probabilities, (logits / 4).softmax(1))
    assert (soft.probabilities.amax(1) < sharp.probabilities.amax(1)).all()
    assert (soft.probabilities.argmax(1) == sharp.probabilities.argmax(1)).all()


def test_plain_classifier_has_one_region_with_all_the_weight(faces):
    with torch.no_grad():
        found = classifier(MeanAggregation, regions=None)(faces)
    assert found.attention.tolist() == [[1.0], [1.0]]


def test_constants_stay_out_of_the_weights():
    assert {name.split(".")[0] for name in classifier().state_dict()} == {"network"}
