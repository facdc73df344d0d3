"""The tiny network and its faces are those of the training tests."""

import importlib.util
from pathlib import Path

_PATH = Path(__file__).parents[1] / "training" / "conftest.py"
_SPEC = importlib.util.spec_from_file_location("training_fixtures", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)

tiny, make_faces, classes = _FIXTURES.tiny, _FIXTURES.make_faces, _FIXTURES.classes
