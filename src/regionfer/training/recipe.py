"""Training recipes: frozen, typed values read from TOML; a key that is not known is refused by name."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from regionfer.errors import RecipeError
from regionfer.models.squash import Squash
from regionfer.occluders import KINDS
from regionfer.shipped import SHIPPED, find_model

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)


class DataRecipe(_Section):
    """Which faces it learns from, and on which the epoch is chosen."""

    dataset: str = "ferplus"
    train: tuple[str, ...] = ("train",)
    """splits to learn from"""
    valid: str = "valid"
    """split to choose the epoch on; "" keeps the last epoch"""
    sampling: Literal["natural", "oversample", "undersample"] = "natural"
    """which training faces an epoch sees: each once; as many, drawn so that rare classes come more often; or each class
    as often as the rarest"""
    balance: Share = 1.0
    """how far "oversample" goes: 1 draws all classes equally often, 0 as they come"""


class ModelRecipe(_Section):
    """What is trained."""

    backbone: str = "mobilenetv1-face"
    """a name in `regionfer.models.backbones.BACKBONES`, or any convolutional classification network of torchvision"""
    pretrained: Path | None = None
    """weights to start the backbone from; relative to the folder that holds the recipe's folder"""
    pretrained_origin: str = ""
    """who made these weights, on what, and under which licence, for the model card"""
    aggregation: Literal["relation-attention", "self-attention", "mean"] = "relation-attention"
    """RAN, RAN without its second step, or the plain mean"""
    squash: Squash = "sigmoid"
    """"sigmoid" as in the paper, "sigmoid-softmax" as in the released code"""
    crop_stage: Annotated[int, Field(ge=0)] = 0
    """0 crops the picture, as in the paper; k crops the feature map before the backbone's stage k"""
    crop_size: Count | None = None
    """side of a crop in samples of what is cropped; none: that of the whole"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    """share of the compact feature that is dropped in training"""


class RegionsRecipe(_Section):
    """Which crops the network looks at besides the face."""

    generator: Literal["fixed", "random", "landmark", "none"] = "fixed"
    count: Count = 5
    """crops a face, for "random" only"""
    radii: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (0.2, 0.3)
    """half sides of the squares, shares of the face, for "landmark" only"""


class InputRecipe(_Section):
    """How faces reach the network."""

    face_size: Count = 48
    """side in pixels of the aligned faces that are handed over; that of the training faces"""
    size: Count = 112
    """side in pixels of the network's own input"""
    grey: bool = True
    """replace colour by luma"""


class AugmentationRecipe(_Section):
    """How training faces are varied. All ranges are symmetric around no change."""

    flip: Share = 0.5
    """probability of a mirror image"""
    rotation: Degrees = 15.0
    scale: Share = 0.15
    """largest change of size: 0.15 draws factors in 0.85..1.15"""
    aspect: Share = 0.0
    """largest change of width against height"""
    shift: Share = 0.08
    """largest shift, share of the side"""
    contrast: Share = 0.4
    brightness: Share = 0.15
    """largest change, share of the full range"""
    occlude: Share = 0.5
    """probability that something covers a part of the face"""
    occluders: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "mask",
        "dark glasses",
        "clear glasses",
        "hand",
        "hair",
        "hat",
        "object",
        "border",
        "block",
    )
    """what may cover it, each as likely as the others, those named twice twice as likely; "cloth" is another"""
    hide: Share = 0.0
    """probability that no face is left, but a colour, a pattern or noise, to be answered by chance"""
    coarse: Share = 0.0
    """probability that no more of the face is left than 12 to 32 pixels hold, over its side"""
    overturn: Share = 0.0
    """probability that the face stands on its head: for the heads nothing of it is visible then, and it has no pose"""

    @field_validator("occluders")
    @classmethod
    def _known(cls, kinds: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            raise ValueError(f"unknown: {', '.join(unknown)}; known: {', '.join(KINDS)}")
        return kinds


class LossRecipe(_Section):
    """What is minimised: cross-entropy and, with regions, the paper's RB-loss."""

    soft_targets: Share = 1.0
    """1 trains on vote shares, 0 on the label alone, between them a blend"""
    class_balance: Share = 0.0
    """weigh classes by their number of faces to the power of minus this; 0 weighs all alike"""
    region_biased: Annotated[float, Field(ge=0)] = 1.0
    """weight of the RB-loss"""
    margin: Share = 0.02
    """alpha of the RB-loss"""
    visibility: Annotated[float, Field(ge=0)] = 0.0
    """weight of the visibility loss (not of the paper): a covered region must weigh less than a visible one"""
    biased: Literal["mu", "share"] = "mu"
    """the weights that both of these look at: "mu" as in the paper; or "share", mu * nu scaled to sum to 1, the part
    that a region has in the decision (not of the paper)"""


class TeacherRecipe(_Section):
    """Networks whose answers to the faces as they are become targets, whatever is then done to the faces."""

    checkpoints: tuple[Path, ...] = ()
    """trained networks with the same classes, whose answers are averaged: checkpoints, or model files (.onnx); relative
    to the folder that holds the recipe's folder; "default" is the model that comes with regionfer"""
    weight: Share = 0.5
    """part of their answers in the targets; the rest are the targets of [loss]"""
    average_weight: Share = 0.0
    """part that the run's own moving average has in the targets by its answers of the moment (a mean teacher); it grows
    to this over the first epoch; the rest are the targets with those of the trained networks"""


class AttributesRecipe(_Section):
    """What else the network says of a face: what covers it, and how it is turned. Not of the paper."""

    heads: bool = False
    """add them; they read the backbone and change nothing in it"""
    pretrained: Path | None = None
    """trained network whose heads they begin as, a checkpoint or model file (.onnx); relative to the folder that holds
    the recipe's folder; none: they begin as those of --from, or anew"""
    stage: Count = 12
    """the backbone's stage whose input they read"""
    seen: Path | None = None
    """table of training faces that somebody looked at: name, and kind of what covers them or "none"; relative as
    above"""
    seen_weight: Annotated[float, Field(ge=0)] = 4.0
    """weight of such a face against one that something was drawn over"""
    pose: Path | None = None
    """table of head poses to learn: name, yaw, pitch, roll; relative as above; none leaves the pose out"""
    turned: Path | None = None
    """folder of training faces drawn at known poses, and its table faces.csv: name, yaw, pitch, roll, source; they
    teach the pose and no expression; relative as above"""
    turned_rotation: Degrees = 180.0
    """by how many degrees these are rolled at most, where augmentation.rotation is more: seen from the side, a head
    that is rolled looks much like one that nods, and the latter is what people do"""
    turned_weight: Annotated[float, Field(ge=0)] = 1.0
    """weight of the pose of such a face against that of another, which is no profile"""
    profile_weight: Annotated[float, Field(ge=0)] = 1.0
    """the same of a face that is not drawn, whose label has a yaw beyond 45 degrees to either side: there are few"""


class OptimiserRecipe(_Section):
    """How it is minimised."""

    name: Literal["adamw", "sgd"] = "adamw"
    backbone_lr: Annotated[float, Field(ge=0)] = 2e-4
    head_lr: Annotated[float, Field(ge=0)] = 1e-3
    """learning rate of attention and classifier"""
    attribute_lr: Annotated[float, Field(ge=0)] = 1e-3
    """learning rate of the heads of [attributes]; with backbone_lr and head_lr at 0, only these heads learn"""
    pose_lr: Annotated[float, Field(ge=0)] | None = None
    """learning rate of the pose's own layers; none for attribute_lr. With the other three at 0, only the pose learns"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    momentum: Share = 0.9
    """for "sgd" only"""
    schedule: Literal["cosine", "steps"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 200
    lr_drops: tuple[Count, ...] = (15, 30)
    """epochs after which "steps" divides the learning rate by ten"""
    batch: Count = 64
    """faces a step, over all processes together"""
    accumulate: Count = 1
    """parts into which each process splits its faces of a step, to need less memory"""
    epochs: Count = 8
    ema: Share = 0.999
    """decay a step of the averaged weights, which are what is evaluated and kept; 0 averages nothing"""
    gradient_clip: Positive | None = 5.0

    @property
    def pose_rate(self) -> float:
        """``pose_lr``, or what stands for it."""
        return self.attribute_lr if self.pose_lr is None else self.pose_lr


class Recipe(_Section):
    """Everything that decides a training run, apart from the data and the machine."""

    name: str
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Literal["bf16", "fp32"] = "bf16"
    """"bf16" computes in bfloat16 where that is safe; faster on GPUs and on processors with AMX, not on others"""
    test_time_flip: bool = True
    """choose the epoch by the mean over a face and its mirror image; what is exported decides for itself"""
    data: DataRecipe = DataRecipe()
    model: ModelRecipe = ModelRecipe()
    regions: RegionsRecipe = RegionsRecipe()
    input: InputRecipe = InputRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    loss: LossRecipe = LossRecipe()
    teacher: TeacherRecipe = TeacherRecipe()
    attributes: AttributesRecipe = AttributesRecipe()
    optimiser: OptimiserRecipe = OptimiserRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if self.regions.generator == "none" and self.model.aggregation != "mean":
            raise ValueError("regions.generator 'none' leaves nothing to attend to: set model.aggregation to 'mean'")
        if self.attributes.pretrained and not self.attributes.heads:
            raise ValueError("attributes.pretrained gives heads their first weights: give attributes.heads")
        if self.attributes.turned and not (self.attributes.heads and self.attributes.pose):
            raise ValueError("attributes.turned teaches head pose, which is left out: give attributes.heads and .pose")
        rates = self.optimiser
        attributes = (self.attributes.heads and rates.attribute_lr) or self.learns_pose
        if not (rates.backbone_lr or rates.head_lr or attributes):
            raise ValueError("optimiser: nothing learns, as the learning rates of all parts are 0")
        if self.teacher.average_weight and not rates.ema:
            raise ValueError("teacher.average_weight needs a moving average: give optimiser.ema above 0")
        if self.data.valid in self.data.train:
            raise ValueError("data.valid is among data.train: faces that were learned cannot choose the epoch")
        return self

    @property
    def learns_pose(self) -> bool:
        """Whether there are layers of the pose, and they learn."""
        return self.attributes.heads and self.attributes.pose is not None and self.optimiser.pose_rate > 0


FILES = (
    ("model", "pretrained"),
    ("teacher", "checkpoints"),
    ("attributes", "pretrained"),
    ("attributes", "seen"),
    ("attributes", "pose"),
    ("attributes", "turned"),
)
"""Keys that name a file, or several, or a folder."""

_MAKERS: Mapping[str, str] = MappingProxyType(
    {
        "attributes.seen": "docs/recipes.md says what is in such a table",
        "attributes.pose": "scripts/label_pose/label_pose.py makes it, see docs/faces.md",
        "attributes.turned": "scripts/label_pose/turn_faces.py makes it, see docs/training.md",
    }
)


def load_recipe(path: str | Path, overrides: Mapping[str, Any] = MappingProxyType({})) -> Recipe:
    """Read a recipe from TOML.

    Args:
        path: the file. Relative paths in it, see `FILES`, are taken from the parent of its folder.
        overrides: values that replace the file's, by key, such as "seed" or "data.dataset".

    Raises:
        RecipeError: the file is missing or no TOML, or has an unknown key or a value out of range; the message names
            every such key.
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not a TOML file: {error}") from error
    resolve_files(values, path)
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
        if isinstance(place, dict):  # else the check below says what is wrong with it
            place[name] = value
    return parse_recipe(values, source=str(path))


def resolve_files(values: dict[str, Any], path: Path) -> None:
    """Make the paths of `FILES` in a recipe's values ones from the parent of the folder of ``path``, the recipe.

    A name of a model that comes with regionfer, where no such file lies there, is that model.
    """
    folder = path.resolve().parent.parent

    def resolved(name: str) -> Path:
        return find_model(name) if name in SHIPPED and not (folder / name).exists() else folder / name

    for section, key in FILES:
        place = values.get(section)
        if isinstance(place, dict):
            match place.get(key):
                case str(name):
                    place[key] = resolved(name)
                case [*names]:
                    place[key] = [resolved(name) if isinstance(name, str) else name for name in names]


def require_files(recipe: Recipe, *sections: str) -> None:
    """Raise unless the files are there that a recipe names in some sections.

    Raises:
        RecipeError: some are not; it names each with its key, and says what makes it.
    """
    faults = []
    for section, key in FILES:
        value = getattr(getattr(recipe, section), key) if section in sections else None
        for path in value if isinstance(value, tuple) else (value,):
            if path is not None and not (path.exists() if key == "turned" else path.is_file()):
                maker = _MAKERS.get(f"{section}.{key}") or _maker_of_weights(path)
                what = "no file" if path.exists() else "not there"
                faults.append(f"{section}.{key} names {path}, which is {what} ({maker})")
    if faults:
        raise RecipeError(
            f"recipe {recipe.name}: {'; '.join(faults)}. Relative paths are taken from the recipe folder's parent"
        )


def _maker_of_weights(path: Path) -> str:
    if path.suffix == ".json":
        return "scripts/fetch_pretrained.sh gets it, docs/pretraining.md says from where"
    if path.suffix == ".safetensors" and path.parent.parent.name == "runs":
        return f"training the recipe {path.parent.name} makes it"
    if path.suffix == ".onnx":
        return "a model file, which 'regionfer export' makes of a checkpoint"
    return "docs/pretraining.md says from where to get it"


def portable(recipe: Recipe) -> Recipe:
    """The recipe without the folders that its files lie in on this machine."""
    changed: dict[str, Any] = {}
    for section, key in FILES:
        part = changed.get(section, getattr(recipe, section))
        value = getattr(part, key)
        bare = tuple(Path(path.name) for path in value) if isinstance(value, tuple) else value and Path(value.name)
        changed[section] = part.model_copy(update={key: bare})
    return recipe.model_copy(update=changed)


def parse_recipe(values: dict[str, Any], source: str) -> Recipe:
    """Check a recipe that is already in memory; ``source`` names it in messages."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'recipe'}: {_explain(fault['type'], fault['msg'])}"
            for fault in error.errors()
        )
        raise RecipeError(f"{source}: {faults}") from error


def _explain(kind: str, message: str) -> str:
    return "unknown key" if kind == "extra_forbidden" else message.removeprefix("Value error, ")
