"""Corpora for tests: small trees with drawn faces, and the real FERPlus where it is at hand."""

import importlib.util
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
ARCHIVE = Path("shared/data/ferplus_train_valid.zip")
VARIABLE = "REGIONFER_FERPLUS"


@pytest.fixture(scope="session")
def make_trees() -> ModuleType:
    """The script that makes trees in the official layouts."""
    spec = importlib.util.spec_from_file_location("make_dataset_trees", HERE / "scripts" / "make_dataset_trees.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def trees(make_trees: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tree of each corpus, two faces a class and split, and challenge lists. Only for reading."""
    folder = tmp_path_factory.mktemp("trees")
    make_trees.make_ferplus(folder / "ferplus", 2)
    make_trees.make_ferplus_tables(folder / "ferplus-tables")
    make_trees.make_affectnet(folder / "affectnet", 2)
    make_trees.make_affectnet_folders(folder / "affectnet-folders", 2)
    make_trees.make_rafdb(folder / "rafdb", 2)
    make_trees.make_sfew(folder / "sfew", 2)
    make_trees.make_lists(folder)
    return folder


def _archive() -> Path | None:
    return next((parent / ARCHIVE for parent in (HERE, *HERE.parents) if (parent / ARCHIVE).is_file()), None)


@pytest.fixture(scope="session")
def ferplus_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real FERPlus, train and valid, as far as its tables; the images come with `ferplus_images`.

    The folder that the variable REGIONFER_FERPLUS names, or the archive shared/data/ferplus_train_valid.zip above the
    repository. Skips where neither is there.
    """
    if VARIABLE in os.environ:
        return Path(os.environ[VARIABLE])
    archive = _archive()
    if archive is None:
        pytest.skip(f"the real FERPlus is not here: neither {VARIABLE} is set nor {ARCHIVE} is above {HERE}")
    folder = tmp_path_factory.mktemp("ferplus")
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if name.endswith("label.csv"):
                file.extract(name, folder)
    return folder / "ferplus"


@pytest.fixture(scope="session")
def ferplus_images(ferplus_root: Path) -> Callable[[list[str]], None]:
    """A function that unpacks images of the real FERPlus by name, such as FER2013Valid/fer0028638.png."""

    def unpack(names: list[str]) -> None:
        missing = [name for name in names if not (ferplus_root / name).is_file()]
        archive = _archive()
        if missing and archive is not None:
            with zipfile.ZipFile(archive) as file:
                for name in missing:
                    file.extract(f"ferplus/{name}", ferplus_root.parent)

    return unpack
