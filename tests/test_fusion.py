"""Several models as one."""

import numpy as np
import onnx
import pytest

from regionfer.errors import ModelError
from regionfer.fusion import FusedModel
from regionfer.onnx_model import HEADS, ExpressionModel


def some_faces(count, side=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def swap_colours(model):
    """Let the heads take red for blue and blue for red."""
    for tensor in model.graph.initializer:
        if tensor.name in ("to_occlusion", "to_pose", "to_visibility"):
            turned = np.ascontiguousarray(onnx.numpy_helper.to_array(tensor)[::-1])
            tensor.CopyFrom(onnx.numpy_helper.from_array(turned, tensor.name))


EDITS = (None, swap_colours)


def test_those_that_ship_fit_together():
    """Two networks, of which both tell covers and pose."""
    members = [ExpressionModel.load(name, threads=1) for name in ("accurate", "default")]
    fused = FusedModel(members)
    assert [model.heads for model in (fused, *members)] == [HEADS] * 3
    assert fused.card.occlusion_threshold == pytest.approx(np.mean([m.card.occlusion_threshold for m in members]))
    faces = some_faces(2, fused.card.face_size)
    both, first, second = (model.run(faces) for model in (fused, *members))
    np.testing.assert_allclose(both.probabilities, (first.probabilities + second.probabilities) / 2, atol=1e-6)
    assert np.abs(first.probabilities - second.probabilities).max() > 0.01
    for name in HEADS:
        expected = (getattr(first, name) + getattr(second, name)) / 2
        np.testing.assert_allclose(getattr(both, name), expected, atol=1e-4)


class TestFusedModel:
    @pytest.mark.parametrize(("weights", "share"), [(None, 0.5), ([3, 1], 0.75), ([0, 2], 0.0)])
    def test_mean_of_probabilities(self, save_model, weights, share):
        models = [ExpressionModel.load(save_model(seed=seed)) for seed in (1, 2)]
        first, second = (model.run(some_faces(3)) for model in models)
        fused = FusedModel(models, weights).run(some_faces(3))
        expected = share * first.probabilities + (1 - share) * second.probabilities
        np.testing.assert_allclose(fused.probabilities, expected, rtol=1e-6)
        np.testing.assert_array_equal(fused.attention, first.attention)
        assert fused.probabilities.dtype == np.float32

    def test_heads_are_the_mean_of_those_that_have_them(self, save_model, make_card, tiny_model):
        cards = [make_card(occlusion_threshold=value) for value in (0.4, 0.6)]
        models = [
            ExpressionModel.load(save_model(card, heads=HEADS, edit=swap))
            for card, swap in zip(cards, EDITS, strict=True)
        ]
        first, second = (model.run(some_faces(5)) for model in models)
        fused = FusedModel([tiny_model, *models], [2, 3, 1])
        output = fused.run(some_faces(5), batch_size=2)
        for name in HEADS:
            expected = 0.75 * getattr(first, name) + 0.25 * getattr(second, name)
            np.testing.assert_allclose(getattr(output, name), expected, atol=1e-5)
        assert np.abs(first.pose - second.pose).max() > 5
        assert fused.card.occlusion_threshold == pytest.approx(0.45)
        assert fused.run(some_faces(0)).pose.shape == (0, 3)

    def test_visibility_is_of_the_first_model_s_regions(self, save_model, make_card, trusted_model):
        landmarks = np.full((4, 5, 2), 0.5, dtype=np.float32)
        other = ExpressionModel.load(save_model(make_card(landmarks=True), heads=HEADS))
        fused = FusedModel([trusted_model, other])
        assert fused.needs_landmarks
        visibility = fused.run(some_faces(4), landmarks).visibility
        np.testing.assert_array_equal(visibility, trusted_model.run(some_faces(4)).visibility)
        blind = ExpressionModel.load(save_model())
        assert FusedModel([blind, other]).run(some_faces(4), landmarks).visibility is None

    def test_heads_of_a_model_without_weight_do_not_count(self, tiny_model, trusted_model):
        fused = FusedModel([trusted_model, tiny_model], [0, 1])
        assert fused.heads == ()
        assert fused.run(some_faces(2)).occlusion is None

    def test_no_threshold_in_common(self, trusted_model):
        assert FusedModel([trusted_model, trusted_model]).card.uncertainty == {}
        assert FusedModel([trusted_model]).card == trusted_model.card

    def test_faces_are_as_large_as_the_largest_wants(self, save_model, make_card):
        models = [ExpressionModel.load(save_model(make_card(face_size=size))) for size in (12, 20)]
        assert FusedModel(models).card.face_size == 20

    def test_refuses_other_labels(self, save_model, make_card, tiny_model):
        other = ExpressionModel.load(save_model(make_card(labels=("calm", "tense"))))
        with pytest.raises(ModelError, match=r"has the labels calm, tense, the first model has neutral"):
            FusedModel([tiny_model, other])

    @pytest.mark.parametrize("weights", [[1], [1, -1], [0, 0], [float("nan"), 1]])
    def test_refuses_weights(self, tiny_model, weights):
        with pytest.raises(ValueError, match="weights must be 2 numbers"):
            FusedModel([tiny_model, tiny_model], weights)

    def test_refuses_no_model(self):
        with pytest.raises(ValueError, match="one model or more"):
            FusedModel([])

    def test_other_threads_a_run_of_several_models(self, save_model):
        fused = FusedModel([ExpressionModel.load(save_model(seed=seed), threads=2) for seed in (1, 2)], [3, 1])
        alone = fused.with_threads(1)
        assert [model._session.get_session_options().intra_op_num_threads for model in alone.models] == [1, 1]
        assert alone.weights == (0.75, 0.25)

    def test_fingerprint(self, save_model):
        models = [ExpressionModel.load(save_model(seed=seed)) for seed in (1, 2)]
        one, other = (model.sha256 for model in models)
        assert FusedModel(models, [3, 1]).fingerprint == f"0.75 x {one} + 0.25 x {other}"
        assert FusedModel(models).fingerprint != FusedModel(models[::-1]).fingerprint

    def test_in_messages_it_is_its_files(self, tiny_model, tiny_path):
        assert str(FusedModel([tiny_model, tiny_model])) == f"{tiny_path} + {tiny_path}"

    def test_with_one_on_a_gpu_it_is_not_run_several_times_at_once(self, tiny_path, tiny_model, monkeypatch):
        assert FusedModel([tiny_model, tiny_model]).concurrent
        monkeypatch.setattr(ExpressionModel, "providers", ("CUDAExecutionProvider", "CPUExecutionProvider"))
        assert not FusedModel([tiny_model, ExpressionModel.load(tiny_path)]).concurrent
