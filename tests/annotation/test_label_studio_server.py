"""The real Label Studio: found as `label-studio` on the PATH, or where REGIONFER_LABEL_STUDIO says.

It lives in an environment of its own; scripts/label_studio_round_trip.py says how to install it.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from regionfer.annotation.by_hand import read_hand_labels

SCRIPT = Path(__file__).parents[2] / "scripts" / "label_studio_round_trip.py"
VARIABLE = "REGIONFER_LABEL_STUDIO"


@pytest.fixture(scope="module")
def program():
    found = os.environ.get(VARIABLE) or shutil.which("label-studio")
    if found is None:
        pytest.skip(f"Label Studio is not here: no label-studio on the PATH, and {VARIABLE} is not set")
    return found


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("label_studio_round_trip", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("pictures", ["embedded", "files"])
def test_there_and_back(program, script, tmp_path, pictures):
    labels = read_hand_labels(script.round_trip(program, tmp_path, pictures=pictures))
    assert len(labels) == 8
    plain, disputed, masked, half = list(labels.values())[:4]
    assert (plain.expression, plain.occluded, plain.pose_bin, plain.agreed) == ("happiness", "no", "0-30", "yes")
    assert (disputed.expression, disputed.occluded, disputed.occlusion) == ("fear", "yes", "mask")
    assert (disputed.place, disputed.pose_bin, disputed.agreed) == ("lower", "", "no")
    assert (masked.occlusion, masked.place, masked.agreed) == ("mask", "lower", "yes")
    assert (half.unusable, half.expression, half.agreed) == ("", "", "no")
