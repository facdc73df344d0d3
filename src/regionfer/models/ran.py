"""Region Attention Network (Wang et al., IEEE TIP 2020, arXiv:1905.04075)."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from regionfer.models.attention import Aggregated
from regionfer.models.attributes import AttributeHeads, AttributeLogits
from regionfer.models.backbones import Backbone
from regionfer.models.resampling import crop_regions


class Prediction(NamedTuple):
    """What the network says of B faces.

    Attributes:
        logits: (B, C) float32.
        mu: (B, R) float32 in 0..1, self-attention weights; region 0 is the whole face.
        nu: (B, R) float32 in 0..1, relation-attention weights.
        share: (B, R) float32, share of each region in the decision, mu * nu scaled to sum to 1.
        attributes: what covers the face and how it is turned; None for a network without such heads.
    """

    logits: Tensor
    mu: Tensor
    nu: Tensor
    share: Tensor
    attributes: AttributeLogits | None = None


class Aggregation(Protocol):
    """Any module of `regionfer.models.attention`."""

    width: int

    def __call__(self, features: Tensor) -> Aggregated:
        """Turn (B, R, D) into the compact feature and its weights."""


class RegionAttentionNetwork(nn.Module):
    """One backbone looks at a face and at crops of it; attention decides what each look is worth.

    The crops are taken before stage ``crop_stage`` of the backbone. At stage 0 they are crops of the picture, each
    of which goes through the whole backbone, as in the paper ("early"). At a later stage they are crops of the feature
    map, so that the stages before it run once for all ("late"). Without crops and with `MeanAggregation` this is the
    plain backbone.

    Args:
        backbone: its first ``crop_stage`` stages run once, the rest once a region.
        aggregation: from region features to the compact feature.
        classes: number of expressions.
        crop_stage: 0 crops the picture; k crops the input of the backbone's stage k.
        crop_size: side of a crop in samples of what is cropped; None keeps the side of the whole.
        heads: what else is read off the map of the whole face; None for nothing.
        head_stage: the stage whose input the heads read, not before ``crop_stage``.
    """

    def __init__(
        self,
        backbone: Backbone,
        aggregation: Aggregation,
        classes: int,
        *,
        crop_stage: int = 0,
        crop_size: int | None = None,
        heads: AttributeHeads | None = None,
        head_stage: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= crop_stage < len(backbone.stages):
            raise ValueError(f"crop_stage must be in 0..{len(backbone.stages) - 1}, got {crop_stage}")
        if heads is not None and not crop_stage <= head_stage < len(backbone.stages):
            raise ValueError(f"head_stage must be in {crop_stage}..{len(backbone.stages) - 1}, got {head_stage}")
        self.backbone = backbone
        self.aggregation = aggregation
        self.crop_stage = crop_stage
        self.crop_size = crop_size
        self.classifier = nn.Linear(aggregation.width, classes)
        self.heads = heads
        self.head_stage = head_stage if heads is not None else crop_stage

    def forward(self, pictures: Tensor, regions: Tensor | None = None, keep: Tensor | None = None) -> Prediction:
        """Classify faces.

        Args:
            pictures: (B, 3, S, S), normalised.
            regions: crop boxes, (R - 1, 4) or (B, R - 1, 4), x1 y1 x2 y2 in 0..1 of the face; None for none.
            keep: factors of the compact feature, (B, width): dropout, drawn by the caller in training.
        """
        shared = self.backbone(pictures, stop=self.crop_stage)  # (B, C, h, w)
        whole = self.backbone(shared, start=self.crop_stage, stop=self.head_stage)
        features = self._features(whole, self.head_stage).unsqueeze(1)  # (B, 1, D)
        if regions is not None:
            features = torch.cat([features, self._region_features(shared, regions)], dim=1)  # (B, R, D)
        # A share of a sum needs more digits than bfloat16 has.
        with torch.autocast(features.device.type, enabled=False):
            feature, mu, nu, share = self.aggregation(features.float())
            logits = self.classifier(feature if keep is None else feature * keep)
            attributes = None if self.heads is None else self.heads(whole)
        return Prediction(logits, mu, nu, share, attributes)

    def _features(self, maps: Tensor, stage: int) -> Tensor:
        """Run the backbone from a stage on, on (B, C, h, w), and average over positions, (B, D)."""
        features: Tensor = self.backbone(maps, start=stage).float().mean((-2, -1))
        return features

    def _region_features(self, shared: Tensor, regions: Tensor) -> Tensor:
        crops = crop_regions(shared, regions, self.crop_size or int(shared.shape[-1]))  # (B, R - 1, C, s, s)
        features = self._features(crops.flatten(0, 1), self.crop_stage)  # (B * (R - 1), D)
        return features.view(-1, regions.shape[-2], self.backbone.features)
