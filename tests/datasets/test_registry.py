import pytest

from regionfer.datasets import READERS, Manifest, read_dataset
from regionfer.datasets.ferplus import DIVIDED
from regionfer.errors import DatasetError


@pytest.mark.parametrize(
    ("name", "tree", "dataset"),
    [
        ("ferplus", "ferplus", "FERPlus"),
        ("affectnet-8", "affectnet", "AffectNet-8"),
        ("affectnet-7", "affectnet", "AffectNet-7"),
        ("rafdb", "rafdb", "RAF-DB"),
        ("sfew", "sfew", "SFEW 2.0"),
        ("folder", "sfew/Train", "Train"),
    ],
)
def test_names(trees, name, tree, dataset):
    manifest = read_dataset(name, trees / tree)
    assert isinstance(manifest, Manifest)
    assert manifest.dataset == dataset


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("folder", "csv", "prepared")])
def test_every_reader_takes_splits(trees, name):
    tree = name.split("-")[0]
    manifest = read_dataset(name, trees / tree, splits=("train",))
    assert {split.removesuffix(DIVIDED) for split in manifest.splits} == {"train"}
    with pytest.raises(DatasetError, match="has no split holiday here; found: "):
        read_dataset(name, trees / tree, splits=("holiday",))


def test_an_unknown_name():
    with pytest.raises(DatasetError, match="unknown dataset 'fer2013'; known: ferplus, ferplus-votes"):
        read_dataset("fer2013", "data")


def test_an_unknown_option(trees):
    with pytest.raises(DatasetError, match="ferplus has no option photos; leave it out"):
        read_dataset("ferplus", trees / "ferplus", photos=True)
