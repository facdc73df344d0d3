"""What the corpora and lists hold by their authors' word: figures to check a copy against.

Sources. Totals: the FERPlus, RAF-DB, AffectNet and SFEW releases and their papers; Wang et al., 2020 (arXiv:1905.04075)
for the challenge lists and for FERPlus by the majority protocol. Counts by class, where a public source supports them:

- AffectNet, training: as printed over the release of March 2021, 287,651 and 3,999 images, in
  https://github.com/av-savchenko/face-emotion-recognition, src/affectnet/train_affectnet_march2021_pytorch.ipynb.
  Validation: 500 a class, by its paper (arXiv:1708.03985).
- RAF-DB: as several public loaders of EmoLabel/list_patition_label.txt note its counts (of the labels 1 to 7 in turn:
  1290, 281, 717, 4772, 1982, 705, 2524 training and 329, 74, 160, 1185, 478, 162, 680 test images); they agree with
  each other and with the official totals, but none is the authors' own.
- SFEW 2.0: none was found for the 958 and 436 images, only for the 891 and 431 that were aligned, so none are here.
- FERPlus: none is published for the majority protocol.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class OfficialSplit:
    """Figures of one split.

    Attributes:
        listed: images as distributed; None where that is not published, or depends on the release.
        kept: images left by the protocol.
        classes: images kept by class; empty where that is not published.
        also_kept: other numbers that copies in circulation have, with the reason.
    """

    listed: int | None
    kept: int
    classes: Mapping[str, int]
    also_kept: Mapping[int, str]


_NONE: Mapping[int, str] = MappingProxyType({})


def _split(
    kept: int, *, listed: int | None = None, also: Mapping[int, str] = _NONE, classes: Mapping[str, int] | None = None
) -> OfficialSplit:
    assert classes is None or sum(classes.values()) == kept
    return OfficialSplit(listed, kept, MappingProxyType(dict(classes or {})), also)


_AFFECTNET_TRAIN = {
    "neutral": 74874,
    "happiness": 134415,
    "surprise": 14090,
    "sadness": 25459,
    "anger": 24882,
    "disgust": 3803,
    "fear": 6378,
}
_SEVEN = tuple(_AFFECTNET_TRAIN)
_RAFDB_TRAIN = dict(zip(_SEVEN, (2524, 4772, 1290, 1982, 705, 717, 281), strict=True))
_RAFDB_TEST = dict(zip(_SEVEN, (680, 1185, 329, 478, 162, 160, 74), strict=True))
_UNALIGNED = "only the faces that its authors could align"
_ONE_LOST = "the folder release has one image less"

OFFICIAL: Mapping[str, Mapping[str, OfficialSplit]] = MappingProxyType(
    {
        "FERPlus": {
            "train": _split(25045, listed=28558),
            "valid": _split(3191, listed=3579),
            "test": _split(3137, listed=3573),
        },
        "AffectNet-8": {
            "train": _split(287651, classes=_AFFECTNET_TRAIN | {"contempt": 3750}),
            "valid": _split(4000, also={3999: _ONE_LOST}, classes=dict.fromkeys((*_SEVEN, "contempt"), 500)),
        },
        "AffectNet-7": {
            "train": _split(283901, classes=_AFFECTNET_TRAIN),
            "valid": _split(3500, also={3499: _ONE_LOST}, classes=dict.fromkeys(_SEVEN, 500)),
        },
        "RAF-DB": {
            "train": _split(12271, listed=12271, classes=_RAFDB_TRAIN),
            "test": _split(3068, listed=3068, classes=_RAFDB_TEST),
        },
        "SFEW 2.0": {
            "train": _split(958, listed=958, also={891: _UNALIGNED}),
            "valid": _split(436, listed=436, also={431: _UNALIGNED}),
        },
    }
)
"""By name of the corpus and split. A split that is not here has no published figures."""

DERIVED: Mapping[str, Mapping[str, OfficialSplit]] = MappingProxyType(
    {"FERPlus": {"train-divided": _split(3366), "valid-divided": _split(367)}}
)
"""Not published, but counted in the tables as distributed: FERPlus' images with divided votes. A corpus need not have
these splits."""


@dataclass(frozen=True)
class OfficialList:
    """A list of the authors as published: a challenge's, or of a whole split ("test").

    Attributes:
        path: its file in the authors' repository.
        split: the split of which it is a subset.
        entries: lines, repeated ones included.
        images: different images.
    """

    path: str
    split: str
    entries: int
    images: int


LISTS_ADDRESS = "https://github.com/kaiwang960112/Challenge-condition-FER-dataset"
"""Where the authors of the paper publish their lists."""

CHALLENGES: Mapping[str, Mapping[str, OfficialList]] = MappingProxyType(
    {
        "FERPlus": {
            "test": OfficialList("FERplus_dir/dlib_ferplus_val_center_crop_range_list.txt", "test", 3137, 3137),
            "occlusion": OfficialList("FERplus_dir/jianfei_occlusion_list.txt", "test", 605, 605),
            "pose30": OfficialList("FERplus_dir/pose_30_ferplus_list.txt", "test", 1170, 1170),
            "pose45": OfficialList("FERplus_dir/pose_45_ferplus_list.txt", "test", 633, 633),
        },
        "AffectNet": {
            "occlusion": OfficialList("AffectNet_dir/occlusion_affectnet_list.txt", "valid", 683, 683),
            "pose30": OfficialList("AffectNet_dir/pose_30_affectnet_list.txt", "valid", 1949, 1944),
            "pose45": OfficialList("AffectNet_dir/pose_45_affectnet_list.txt", "valid", 985, 983),
        },
        "RAF-DB": {
            "occlusion": OfficialList("RAF_DB_dir/rafdb_occlusion_list.txt", "test", 735, 734),
            "pose30": OfficialList("RAF_DB_dir/val_raf_db_list.txt", "test", 1247, 1247),
            "pose45": OfficialList("RAF_DB_dir/val_raf_db_list_45.txt", "test", 558, 558),
        },
    }
)
"""By corpus and name of the subset."""


LIST_LABELS: Mapping[str, range] = MappingProxyType({"FERPlus": range(8), "AffectNet": range(8), "RAF-DB": range(8)})
"""Numbers that the lists of a corpus have for labels. RAF-DB's pose lists begin at 0, its others at 1."""

LIST_TYPES: Mapping[str, range] = MappingProxyType({"FERPlus": range(4), "RAF-DB": range(1, 5)})
"""Numbers that the lists of a corpus have for types of occlusion."""


def corpus_of(dataset: str) -> str:
    """The corpus of a dataset, whichever number of its classes is used.

    >>> corpus_of("AffectNet-7")
    'AffectNet'
    """
    return "AffectNet" if dataset.startswith("AffectNet") else dataset


def official_list(dataset: str, subset: str) -> OfficialList | None:
    """The published list of a subset.

    >>> official_list("AffectNet-7", "pose45").entries
    985
    """
    return CHALLENGES.get(corpus_of(dataset), {}).get(subset)
