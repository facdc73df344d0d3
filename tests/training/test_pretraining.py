import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torchvision import models
from torchvision.models import resnet, vgg

from regionfer.errors import CheckpointError
from regionfer.models.backbones import IMAGENET, UNIT, VGGFACE, Backbone, Normalisation
from regionfer.models.trunks import cut_trunk, network_names
from regionfer.onnx_model import ExpressionModel
from regionfer.shipped import find_model
from regionfer.training import pretraining
from regionfer.training.build import build_classifier, load_classifier
from regionfer.training.checkpoint import Checkpoint, save_checkpoint
from regionfer.training.pretraining import load_model_file, load_pretrained, load_trained
from regionfer.training.recipe import Recipe, load_recipe

RECIPES = sorted(
    path for path in (Path(__file__).parents[2] / "recipes").glob("*.toml") if "[[row]]" not in path.read_text()
)
"""All but ablations, which are several recipes in one."""
PICTURES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def cut(network: nn.Module, normalisation: Normalisation = IMAGENET) -> Backbone:
    stages, features = cut_trunk(network)
    return Backbone(stages, features, normalisation, network_names(network, stages)).eval()


def small_resnet(blocks: tuple[int, ...] = (1, 1, 1, 1), classes: int = 5) -> nn.Module:
    return models.ResNet(resnet.BasicBlock, list(blocks), classes).eval()


def narrow_vgg16(width: int = 8) -> nn.Module:
    """VGG16 with 13 convolutions of a few channels, and a few values in fc6 and fc7."""
    numbers = (2, 2, 3, 3, 3)
    layers = [item for count in numbers for item in [width] * count + ["M"]]
    convolutions = vgg.make_layers(layers)
    with torch.device("meta"):  # full size, and replaced
        network = models.VGG(convolutions, init_weights=False)
    network.classifier[0], network.classifier[3] = nn.Linear(width * 49, 12), nn.Linear(12, 10)
    network.classifier[6] = nn.Linear(10, 7)
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):  # else little of the picture is left after so many layers
            nn.init.kaiming_normal_(layer.weight)
    return network.eval()


def features(network: nn.Module, pictures: Tensor = PICTURES) -> Tensor:
    """What the network itself hands to its last layer."""
    seen: list[Tensor] = []
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.inference_mode(), last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])):
        network(pictures)
    return seen[0]


def same_features(backbone: Backbone, network: nn.Module, pictures: Tensor = PICTURES) -> bool:
    with torch.inference_mode():
        found = backbone(pictures).mean((-2, -1))
    return torch.allclose(found, features(network), atol=1e-6) and not torch.allclose(found[0], found[1], atol=1e-6)


# Each kind of file


def test_the_resnet_that_was_trained_on_ms_celeb(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = models.resnet18().eval()
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    state = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    state |= {"module.feature.weight": torch.rand(256, 512), "module.feature.bias": torch.rand(256)}
    state |= {"module.fc.weight": torch.rand(9, 256), "module.fc.bias": torch.rand(9)}
    file = tmp_path / "ijba_res18_naive.pth.tar"
    content = {"epoch": 30, "arch": "resnet18", "state_dict": state, "best_prec1": torch.tensor(71.5)}
    torch.save(content, file, _use_new_zipfile_serialization=False)  # as it was when that file was made
    backbone = cut(models.resnet18(), UNIT)
    report = load_pretrained(backbone, file)
    assert same_features(backbone, network)
    assert len(report.loaded) == 100
    assert set(report.skipped) == {"feature.weight", "feature.bias", "fc.weight", "fc.bias"}
    assert len(report.missing) == 20
    assert {name.rpartition(".")[2] for name in report.missing} == {"num_batches_tracked"}
    skipped = ", ".join(report.skipped[:3])
    assert str(report) == (
        f"{file}: 100 tensors loaded, 4 skipped ({skipped}, ...), 20 missing (bn1.num_batches_tracked, "
        "layer1.0.bn1.num_batches_tracked, layer1.0.bn2.num_batches_tracked, ...)"
    )


CONNECTED = ("classifier.0", "classifier.3", "classifier.6")


def vggface_names(network: nn.Module, convolution: str, connected: str) -> dict[str, Tensor]:
    """The state of a VGG16 under the names of a conversion."""
    numbers = [name.split(".")[1] for name in network.state_dict() if name.startswith("features")][::2]
    places = [(block, layer) for block, count in enumerate((2, 2, 3, 3, 3), 1) for layer in range(1, count + 1)]
    names = {f"features.{n}": convolution.format(*place) for n, place in zip(numbers, places, strict=True)}
    names |= {name: connected.format(number) for number, name in enumerate(CONNECTED, start=6)}
    return {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": v for key, v in network.state_dict().items()}


@pytest.mark.parametrize(
    ("convolution", "connected", "bgr"),
    [
        ("conv{}_{}", "fc{}", False),
        ("conv_{}_{}", "fc{}", True),
        ("features.conv_{}_{}", "fc.fc{}", True),
    ],
    ids=["matconvnet", "torch7", "torch7 in parts"],
)
def test_the_conversions_of_vggface(tmp_path: Path, convolution: str, connected: str, bgr: bool) -> None:
    torch.manual_seed(1)
    network = narrow_vgg16()
    state = {name: value.double() for name, value in vggface_names(network, convolution, connected).items()}
    torch.save(state, tmp_path / "vgg.pth")
    backbone = cut(narrow_vgg16(), VGGFACE)
    report = load_pretrained(backbone, tmp_path / "vgg.pth")
    pictures = PICTURES.flip(1) if bgr else PICTURES
    with torch.inference_mode():
        found = backbone(PICTURES).flatten(1)
    torch.testing.assert_close(found, features(network, pictures))
    assert not torch.allclose(found, features(network, pictures.flip(1)), rtol=0.01)
    assert report.skipped == ("classifier.6.weight", "classifier.6.bias")
    assert len(report.loaded) == 30
    assert report.missing == ()


def test_vggface_has_the_names_and_shapes_of_vgg16() -> None:
    with torch.device("meta"):
        names = vggface_names(models.vgg16(num_classes=2622), "conv{}_{}", "fc{}")
    assert names["conv1_1.weight"].shape == (64, 3, 3, 3)
    assert names["conv5_3.weight"].shape == (512, 512, 3, 3)
    assert names["fc6.weight"].shape == (4096, 25088)
    assert names["fc8.weight"].shape == (2622, 4096)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("wrapper", ["", "module.", "module.backbone."])
def test_files_of_torchvision(tmp_path: Path, suffix: str, wrapper: str) -> None:
    torch.manual_seed(2)
    network = small_resnet()
    file = tmp_path / f"resnet{suffix}"
    state = {wrapper + name: value.half().float() for name, value in network.state_dict().items()}
    save_file(state, file) if suffix == ".safetensors" else torch.save(state, file)
    network.load_state_dict({name.removeprefix(wrapper): value for name, value in state.items()})
    backbone = cut(small_resnet())
    report = load_pretrained(backbone, file)
    assert same_features(backbone, network)
    assert set(report.skipped) == {"fc.weight", "fc.bias"}
    assert report.missing == ()


@pytest.mark.parametrize("network", ["tiny", "torchvision's"])
def test_a_checkpoint_of_ours(tmp_path: Path, make_recipe: Callable[..., Recipe], network: str) -> None:
    source = build_classifier(make_recipe(), 3)
    if network != "tiny":
        source.network.backbone = cut(small_resnet())
    state = source.state_dict()
    other = {name: torch.zeros_like(value) for name, value in state.items()}
    file = tmp_path / "best.safetensors"
    save_checkpoint(Checkpoint(other, state, {"0.exp_avg": torch.rand(2)}, {"name": "x"}, ("a", "b", "c"), 1), file)
    backbone = build_classifier(make_recipe(), 5).network.backbone if network == "tiny" else cut(small_resnet())
    report = load_pretrained(backbone, file)
    wanted = source.network.backbone.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in backbone.state_dict().items())
    assert "classifier.weight" in report.skipped
    assert len(report.loaded) == len(wanted)
    assert report.missing == ()


def test_a_model_file_of_ours() -> None:
    recipe = load_recipe(RECIPES[0].with_name("ferplus-long-plain.toml"))
    backbone = build_classifier(recipe, 8, pretrained=False).network.backbone
    report = load_pretrained(backbone, find_model("default"))
    wanted = load_trained(find_model("default")).averaged
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, wanted[f"network.backbone.{name}"])
    assert "classifier.weight" in report.skipped


# What does not fit


def refused(backbone: Backbone, file: Path, message: str) -> None:
    """Loading raises, names the file, and changes nothing."""
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(CheckpointError, match=message) as caught:
        load_pretrained(backbone, file)
    assert str(caught.value).startswith(str(file))
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (
            lambda: small_resnet((1, 2, 1, 1)),
            r"12 tensors are of layers that are not there \(layer2\.1\.conv1\.weight, layer2\.1\.bn1",
        ),
        (
            lambda: models.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 5),
            r"have another shape \(layer1\.0\.conv1\.weight: expected \(64, 64, 3, 3\), found \(64, 64, 1, 1\)",
        ),
        (narrow_vgg16, r"60 of 60 tensors are missing \(conv1\.weight, bn1\.weight, bn1\.bias, \.\.\.\)"),
    ],
    ids=["deeper", "bottleneck", "vgg"],
)
def test_a_file_of_another_architecture(tmp_path: Path, network: Callable[[], nn.Module], message: str) -> None:
    torch.save(network().state_dict(), tmp_path / "a.pth")
    refused(cut(small_resnet()), tmp_path / "a.pth", f"holds a network of another architecture: .*{message}")


def test_a_shallower_file(tmp_path: Path) -> None:
    torch.save(small_resnet().state_dict(), tmp_path / "a.pth")
    refused(
        cut(small_resnet((2, 1, 1, 1))), tmp_path / "a.pth", r"10 of 82 tensors are missing \(layer1\.1\.conv1\.wei"
    )


def test_vggface_needs_its_normalisation(tmp_path: Path) -> None:
    torch.save(vggface_names(narrow_vgg16(), "conv{}_{}", "fc{}"), tmp_path / "a.pth")
    refused(cut(narrow_vgg16()), tmp_path / "a.pth", "trained on VGGFace; set model.backbone to 'vgg16-face'")


def test_vgg19_is_no_vgg16(tmp_path: Path) -> None:
    state = vggface_names(narrow_vgg16(), "conv{}_{}", "fc{}") | {"conv3_4.weight": torch.rand(8, 8, 3, 3)}
    torch.save(state, tmp_path / "a.pth")
    refused(cut(narrow_vgg16(), VGGFACE), tmp_path / "a.pth", r"layers that are not there \(3_4\.weight\)")


class Malicious:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("suffix", [".pth", ".pth.tar", ".pkl"])
def test_nothing_but_tensors_is_unpickled(tmp_path: Path, form: str, suffix: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / f"a{suffix}"
    content = {"state_dict": small_resnet().conv1.state_dict(), "extra": Malicious(mark)}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    message = "neither a safetensors file nor" if form == "pickle" else r"more than tensors \(\S*mkdir\)"
    refused(cut(small_resnet()), file, message)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Malicious(mark)))
    assert mark.exists(), "the test itself would not notice"


def whole_zip() -> bytes:
    buffer = io.BytesIO()
    torch.save({"a": torch.rand(3)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", None, r"pretraining file is missing; get it, docs/pretraining\.md"),
        ("a.json", None, r"is missing; `scripts/fetch_pretrained\.sh` gets it"),
        ("a.pth", b"", "neither a safetensors file nor one that torch.save wrote"),
        ("a.pth", b"hello world", "neither a safetensors file nor one that torch.save wrote"),
        ("a.pth", whole_zip()[:400], "neither a safetensors file nor one that torch.save wrote, or damaged"),
        ("a.pth", nn.Linear(2, 2), r"more than tensors \(torch\.nn\.modules\.linear\.Linear\)"),
        ("a.pth", {"a": torch.rand(2), "score": np.float64(1)}, r"more than tensors \(numpy\S*scalar\)"),
        ("a.pth", [torch.rand(2)], "expected tensors by name, .* found a list"),
        ("a.pth", {"epoch": 3, "lr": 0.1}, "expected tensors by name, .* found the keys epoch, lr"),
        ("a.pth", {}, r"found the keys \(none\)"),
        ("a.safetensors", b"hello world", "not a safetensors file"),
        ("a.safetensors", b"", "not a safetensors file"),
        ("a.safetensors", save({}), "expected tensors by name, found none"),
    ],
    ids=[
        "missing",
        "missing tfjs",
        "empty",
        "text",
        "truncated",
        "module",
        "numpy",
        "list",
        "no tensors",
        "nothing",
        "no safetensors",
        "empty safetensors",
        "safetensors without tensors",
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, name: str, content: object, message: str) -> None:
    file = tmp_path / name
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    refused(cut(small_resnet()), file, message)


def test_a_model_file_does_not_keep_batch_norms(
    make_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = build_classifier(make_recipe(), 3)
    classifier.network.backbone = cut(small_resnet())
    folded = {name: value for name, value in classifier.state_dict().items() if "running_" not in name}
    model = SimpleNamespace(source=Path("m.onnx"), card=SimpleNamespace(labels=("a", "b", "c"), architecture={}))
    monkeypatch.setattr(ExpressionModel, "load", lambda path: model)
    monkeypatch.setattr(pretraining, "model_file_state", lambda path: folded)
    with pytest.raises(CheckpointError, match=r"m\.onnx: this network has batch norms, and export folded them"):
        load_model_file(classifier, ("a", "b", "c"), "m.onnx", make_recipe())


def test_a_model_file_with_batch_norms_gives_no_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = {f"network.backbone.{name}": value for name, value in cut(small_resnet()).state_dict().items()}
    folded = {name: value for name, value in state.items() if "running_" not in name}
    file = tmp_path / "m.onnx"
    file.write_bytes(b"read below")
    monkeypatch.setattr(pretraining, "load_trained", lambda path: SimpleNamespace(averaged=folded))
    refused(cut(small_resnet()), file, "this network has batch norms, and export folded them")


def test_a_model_file_with_batch_norms_does_not_teach(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(model={"backbone": "resnet18", "crop_stage": 0})
    state = build_classifier(recipe, 3).state_dict()
    folded = {name: value for name, value in state.items() if "running_" not in name}
    checkpoint = Checkpoint(folded, folded, {}, json.loads(recipe.model_dump_json()), ("a", "b", "c"), 1)
    with pytest.raises(CheckpointError, match=r"m\.onnx: this network has batch norms, and export folded them"):
        load_classifier(checkpoint, "m.onnx")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"training": {"recipe": {}}, "architecture": {"quantization": {}}}, "computes in integers"),
        ({"training": {}, "architecture": {}}, "its card has no recipe"),
    ],
)
def test_a_model_file_that_is_no_trained_network(
    card: dict[str, object], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ExpressionModel, "load", lambda path: SimpleNamespace(card=SimpleNamespace(**card)))
    with pytest.raises(CheckpointError, match=rf"m\.onnx: {message}"):
        load_trained(Path("m.onnx"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_committed_recipe_builds(path: Path) -> None:
    recipe = load_recipe(path)
    with torch.device("meta"):  # shapes only
        classifier = build_classifier(recipe, 8, pretrained=False)
    weight = classifier.network.classifier.weight
    relation = recipe.model.aggregation == "relation-attention"
    assert weight.shape == (8, classifier.network.backbone.features * (2 if relation else 1))
