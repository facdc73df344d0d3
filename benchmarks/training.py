"""How much of a training step is the network: ``python benchmarks/training.py RECIPE.toml``.

The whole loop (drawing, varying and gathering faces, losses, optimiser, moving average) against the bare step of the
same network on one batch that is already there: forward, cross-entropy, backward, optimiser. The two take turns; the
figures are faces a second, and the ratio is what the data pipeline and the rest leave of the speed. Teachers and the
heads of [attributes] are left out.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from regionfer.models.losses import soft_cross_entropy
from regionfer.training.build import build_classifier
from regionfer.training.data import FaceData
from regionfer.training.loop import train
from regionfer.training.optimisation import build_optimiser
from regionfer.training.recipe import AttributesRecipe, Recipe, TeacherRecipe, load_recipe

CLASSES = tuple("abcdefgh")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", nargs="?", default="recipes/ferplus-ran.toml")
    parser.add_argument("--steps", type=int, default=12, help="steps a round")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe)
    if not (recipe.optimiser.backbone_lr or recipe.optimiser.head_lr):
        parser.error(f"{arguments.recipe}: trains the heads of [attributes] alone, which are left out here")
    optimiser = recipe.optimiser.model_copy(update={"epochs": 1})
    model = recipe.model.model_copy(update={"pretrained": None})
    left_out = {"teacher": TeacherRecipe(), "attributes": AttributesRecipe()}
    recipe = recipe.model_copy(update={"optimiser": optimiser, "model": model, **left_out})
    faces = made_faces(recipe, arguments.steps)
    bare = bare_steps(recipe, faces)
    loop, alone = [], []
    for _ in range(1 + arguments.rounds):
        alone.append(arguments.steps / timed(bare, arguments.steps) * optimiser.batch)
        loop.append(loop_pace(recipe, faces))
    whole, step = (statistics.median(rounds[1:]) for rounds in (loop, alone))  # the first warms up
    print(f"{recipe.name}, {recipe.precision}, {torch.get_num_threads()} threads, batch {optimiser.batch}")
    print(f"bare step   {step:6.1f} faces/s")
    print(f"whole loop  {whole:6.1f} faces/s")
    print(f"ratio       {whole / step:6.2f}")


def made_faces(recipe: Recipe, steps: int) -> FaceData:
    """Noise for one epoch of ``steps`` steps."""
    rng, n, side = np.random.default_rng(0), steps * recipe.optimiser.batch, recipe.input.face_size
    labels = rng.integers(0, len(CLASSES), n)
    faces = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return FaceData(torch.from_numpy(faces), labels, torch.eye(len(CLASSES))[labels])


def loop_pace(recipe: Recipe, faces: FaceData) -> float:
    """Faces a second of one epoch of the training loop."""
    with tempfile.TemporaryDirectory() as folder:
        return train(recipe, faces, None, Path(folder) / "run", classes=CLASSES).history[-1]["faces_per_second"]


def bare_steps(recipe: Recipe, faces: FaceData) -> Iterator[None]:
    """Train the same network on one batch, a step a turn."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # as the loop has it
    classifier = build_classifier(recipe, len(CLASSES)).train().to(device)
    classifier.to(memory_format=torch.channels_last)
    optimiser = build_optimiser(classifier.network, recipe.optimiser)
    size = recipe.input.size
    pictures = classifier.preprocessing(torch.rand(recipe.optimiser.batch, 1, size, size, device=device) * 255)
    targets = faces.targets[: recipe.optimiser.batch].to(device)
    regions = classifier.regions
    while True:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            logits = classifier.network(pictures, regions).logits
        soft_cross_entropy(logits, targets).backward()
        optimiser.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield


def timed(turns: Iterator[None], count: int) -> float:
    """Seconds of ``count`` turns."""
    start = time.perf_counter()
    for _ in range(count):
        next(turns)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
