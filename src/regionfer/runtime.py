"""ONNX Runtime as this package uses it: loaded when first needed, and without telemetry.

The official builds of ONNX Runtime report events to their maker over the network and keep an identifier of the device
in the user's cache, from the moment of import (its Privacy.md; seen with 1.32 on Linux). A program that looks at
people's faces must not do this unasked. So ONNX Runtime is imported here only, with its opt-out set during the
import. A user who sets ``ORT_DISABLE_TELEMETRY``, or imports onnxruntime before, keeps that choice.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from regionfer.threads import cores

OPT_OUT = "ORT_DISABLE_TELEMETRY"


def load_onnxruntime() -> Any:
    """The module ``onnxruntime``.

    >>> load_onnxruntime().__name__
    'onnxruntime'
    """
    with _opted_out():
        import onnxruntime
    return onnxruntime


def choose_providers(wanted: Sequence[str] | None = None) -> list[str]:
    """Execution providers to use, the preferred one first.

    Args:
        wanted: names as ONNX Runtime spells them; None for CUDA where it is installed, then the CPU.

    Raises:
        ValueError: a name that the installed ONNX Runtime does not have.
        TypeError: a single text instead of a list.

    >>> choose_providers(["CPUExecutionProvider"])
    ['CPUExecutionProvider']
    """
    installed = load_onnxruntime().get_available_providers()
    if wanted is None:
        return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in installed]
    if isinstance(wanted, str):
        raise TypeError(f"providers must be a list of names, got the text {wanted!r}")
    if unknown := [name for name in wanted if name not in installed]:
        raise ValueError(f"provider {', '.join(unknown)} is not in this ONNX Runtime, which has {', '.join(installed)}")
    return list(wanted)


def open_session(content: bytes, *, providers: Sequence[str], threads: int | None = None) -> Any:
    """A session of a model, which may be run from several threads.

    Args:
        content: the bytes of the ONNX file.
        providers: from `choose_providers`.
        threads: CPU threads of one run, 1 or more; None for one a physical core or, where the process may not use all
            cores, one a core that it may.

    Raises:
        ValueError: ``threads`` is below 1.
        Exception: ONNX Runtime cannot read the model; its exceptions have no common base but this one.
    """
    runtime = load_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # warnings about a graph's details are of no use to who runs it
    # Threads that wait by spinning take their core from those that read and search the next images: the time of a
    # detection on two busy cores is halved without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is None and (own := cores()) < (os.cpu_count() or 1):
        threads = own  # ONNX Runtime itself takes the machine's physical cores, and pins threads to them
    if threads is not None:
        if threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        options.intra_op_num_threads = threads
    return runtime.InferenceSession(content, options, providers=list(providers))


def load_quantization() -> Any:
    """The module ``onnxruntime.quantization``, which needs the package onnx."""
    with _opted_out():
        import onnxruntime.quantization
    return onnxruntime.quantization


@contextmanager
def _opted_out() -> Iterator[None]:
    if OPT_OUT in os.environ:
        yield
        return
    os.environ[OPT_OUT] = "1"
    try:
        yield
    finally:
        os.environ.pop(OPT_OUT, None)
