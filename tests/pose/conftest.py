"""The scripts that label pose and the benchmark that checks it are no package: they are found on the path."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (ROOT / "scripts" / "label_pose", ROOT / "benchmarks")


@pytest.fixture(scope="session")
def script() -> Iterator[Callable[[str], ModuleType]]:
    """A module of those folders by its name."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in FOLDERS:
            patch.syspath_prepend(folder)
        yield importlib.import_module
