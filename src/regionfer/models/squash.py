"""Names of how attention weights are squashed; apart from the networks, for recipes are read without torch."""

from typing import Literal

Squash = Literal["sigmoid", "sigmoid-softmax"]
