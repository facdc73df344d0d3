"""Scripts and benchmarks with options: each starts, so that what it takes from the package is there."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

ROOT = Path(__file__).parents[1]
SCRIPTS = [
    path.relative_to(ROOT)
    for folder in ("benchmarks", "scripts")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "ArgumentParser" in path.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS, ids=str)
def test_tells_how_it_is_used(script):
    done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {script.name}")
    assert not done.stdout.partition("\n\n")[2].startswith(("options:", "positional")), "says what it is for"
