"""ONNX Runtime: no telemetry, known providers, plain sessions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regionfer.runtime import OPT_OUT, choose_providers, load_onnxruntime, open_session


def python(code: str, home: Path, **environment: str) -> None:
    """Run code in a new process with another home."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, env={"HOME": str(home)} | environment, cwd=home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_no_telemetry(tmp_path, tiny_path):
    """Nothing is left in the user's home, as ONNX Runtime does by itself, and the environment is as before."""
    code = (
        "import os, pathlib; from regionfer.runtime import *\n"
        f"open_session(pathlib.Path({str(tiny_path)!r}).read_bytes(), providers=choose_providers())\n"
        f"assert {OPT_OUT!r} not in os.environ"
    )
    python(code, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_users_choice_stands(tmp_path):
    code = "import os; from regionfer.runtime import *; load_onnxruntime(); assert os.environ[OPT_OUT] == '0'"
    python(code, tmp_path, ORT_DISABLE_TELEMETRY="0")


def test_unknown_provider():
    with pytest.raises(
        ValueError, match=r"provider MagicProvider is not in this ONNX Runtime, which has .*CPUExecutionProvider"
    ):
        choose_providers(["MagicProvider", "CPUExecutionProvider"])


def test_providers_are_a_list():
    with pytest.raises(TypeError, match="must be a list of names"):
        choose_providers("CPUExecutionProvider")


def test_default_provider(monkeypatch):
    runtime = load_onnxruntime()
    for installed, expected in (
        (["AzureExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ):
        monkeypatch.setattr(runtime, "get_available_providers", lambda installed=installed: installed)
        assert choose_providers() == expected


@pytest.mark.parametrize(("own", "threads"), [(2, 2), (6, 0)], ids=["some of the cores", "all: as ONNX Runtime likes"])
def test_threads_are_on_the_cores_that_the_process_may_use(tiny_path, monkeypatch, own, threads):
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr("regionfer.runtime.cores", lambda: own)
    session = open_session(tiny_path.read_bytes(), providers=["CPUExecutionProvider"])
    assert session.get_session_options().intra_op_num_threads == threads


def test_threads(tiny_path):
    session = open_session(tiny_path.read_bytes(), providers=["CPUExecutionProvider"], threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    with pytest.raises(ValueError, match="threads must be at least 1"):
        open_session(tiny_path.read_bytes(), providers=["CPUExecutionProvider"], threads=0)
    assert OPT_OUT not in os.environ
