"""Who may import whom, in one table, and what importing may do."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import regionfer

SOURCE = Path(regionfer.__file__).parent

ROOMS: dict[str, set[str]] = {
    "labels": set(),
    "errors": set(),
    "images": {"errors"},
    "regions": set(),
    "threads": set(),
    "runtime": {"threads"},
    "faces": {"images", "errors", "runtime"},
    "uncertainty": set(),
    "model_card": {"errors", "labels", "regions", "uncertainty"},
    "shipped": {"errors"},
    "onnx_model": {"errors", "model_card", "regions", "runtime", "shipped"},
    "fusion": {"errors", "model_card", "onnx_model"},
    "results": {"labels", "regions"},
    "output": {"errors", "labels", "results"},
    "upright": {"onnx_model"},
    "fitness": {"images", "onnx_model", "results"},
    "photos": {"faces", "fitness", "images"},
    "recognizer": {
        "errors",
        "faces",
        "fitness",
        "fusion",
        "images",
        "onnx_model",
        "photos",
        "results",
        "threads",
        "uncertainty",
        "upright",
    },
    "drawing": {"results"},
    "video": {"drawing", "recognizer", "results"},
    "metrics": {"labels"},
    "datasets": {"errors", "images", "labels", "threads"},
    "preparation": {"datasets", "errors", "faces", "threads"},
    "models": set(),
    "occluders": {"regions"},
    "degradations": {"occluders", "regions"},
    "training": {
        "datasets",
        "errors",
        "images",
        "metrics",
        "model_card",
        "models",
        "occluders",
        "onnx_model",
        "progress",
        "regions",
        "shipped",
        "threads",
    },
    "pace": {"onnx_model"},
    "progress": set(),
    "parts": {"errors"},
    "quantisation": {"errors", "metrics", "model_card", "onnx_model", "runtime"},
    "evaluation": {
        "datasets",
        "degradations",
        "errors",
        "faces",
        "fitness",
        "fusion",
        "images",
        "labels",
        "metrics",
        "model_card",
        "onnx_model",
        "parts",
        "recognizer",
        "threads",
        "upright",
    },
    "ablation": {
        "errors",
        "evaluation",
        "faces",
        "metrics",
        "models",
        "occluders",
        "onnx_model",
        "pace",
        "regions",
        "training",
    },
    "annotation": {"datasets", "errors", "faces", "images", "parts", "recognizer", "results"},
    "batch": {"images", "recognizer", "results"},
    "service": {"drawing", "images", "recognizer", "results"},
}
"""Each room of the package, and the rooms that it may import. Nobody imports ``cli``, which may import all."""

BASE = {"click", "cv2", "numpy", "PIL", "rich"}
"""What any room may import of the base install; more only where this says so."""

EXTRAS: dict[str, set[str]] = {
    "runtime": {"onnxruntime"},
    "models": {"torch", "torchvision"},
    "training": {"accelerate", "onnx", "pydantic", "safetensors", "tensorboard", "torch", "torchvision"},
    "quantisation": {"onnx"},
    "evaluation": {"jinja2", "matplotlib"},
    "ablation": {"pydantic", "torch"},
    "annotation": {"pyarrow"},
    "batch": {"pandas", "pyarrow", "ray"},
    "service": {"fastapi", "pydantic", "python_multipart", "starlette", "uvicorn"},
}

AT_TOP_OF_COMMANDS = {
    "click",
    "regionfer.cli",
    "regionfer.cli.figures",
    "regionfer.cli.interruption",
    "regionfer.cli.models",
    "regionfer.cli.progress",
    "regionfer.errors",
    "regionfer.labels",
    "regionfer.shipped",
}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of the modules that a tree imports, anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            assert node.module is not None
            if node.module == "regionfer":
                yield from (f"regionfer.{alias.name}" for alias in node.names)
            else:
                yield node.module


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


FILES = sorted(path for path in SOURCE.rglob("*.py") if room_of(path) not in ("__init__", "__main__", "cli"))
COMMANDS = sorted((SOURCE / "cli").glob("*.py"))
REAL_ROOMS = sorted({room_of(path) for path in FILES})


def outward(room: str, tree: ast.AST) -> set[str]:
    """Rooms that a file of this room imports and may not."""
    rooms = {name.split(".")[1] for name in imported(tree) if name.startswith("regionfer.")}
    return rooms - ROOMS[room] - {room}


def foreign(room: str, tree: ast.AST) -> set[str]:
    """Packages that a file of this room imports and may not."""
    packages = {name.split(".")[0] for name in imported(tree)} - {"regionfer"} - sys.stdlib_module_names
    return packages - BASE - EXTRAS.get(room, set())


@pytest.mark.parametrize("room", REAL_ROOMS)
def test_every_room_is_in_the_table(room):
    assert room in ROOMS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_inward(path):
    assert not outward(room_of(path), parse(path))


@pytest.mark.parametrize("room", REAL_ROOMS)
def test_no_room_may_import_more_than_it_does(room):
    names = {name for path in FILES if room_of(path) == room for name in imported(parse(path))}
    assert ROOMS[room] <= {name.split(".")[1] for name in names if name.startswith("regionfer.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_extras_stay_in_their_rooms(path):
    assert not foreign(room_of(path), parse(path))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.name)
def test_commands_load_quickly(path):
    """At the top of a command only what is light; the rest inside its functions."""
    tree = parse(path)
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    heavy = {name for name in imported(tree) if name.split(".")[0] not in sys.stdlib_module_names}
    assert not heavy - AT_TOP_OF_COMMANDS


@pytest.mark.parametrize(
    ("room", "code", "rooms", "packages"),
    [
        pytest.param("labels", "import regionfer.errors", {"errors"}, set(), id="room"),
        pytest.param("faces", "from regionfer.recognizer import Recognizer", {"recognizer"}, set(), id="name"),
        pytest.param("results", "from regionfer import cli", {"cli"}, set(), id="from the package"),
        pytest.param("recognizer", "def late():\n    import torch.nn", set(), {"torch"}, id="in a function"),
        pytest.param("models", "import torch, ray", set(), {"ray"}, id="two extras"),
        pytest.param(
            "images", "import os.path, numpy\nfrom regionfer.errors import ImageError", set(), set(), id="fine"
        ),
    ],
)
def test_the_rules_find_what_they_should(room, code, rooms, packages):
    tree = ast.parse(code)
    assert (outward(room, tree), foreign(room, tree)) == (rooms, packages)


def test_the_table_has_no_circle():
    left = dict(ROOMS)
    while free := [room for room, needs in left.items() if not needs & left.keys()]:
        for room in free:
            del left[room]
    assert not left


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import regionfer", {"torch", "onnxruntime", "cv2", "numpy", "PIL"}),
        ("from regionfer import ExpressionModel", {"torch", "onnxruntime", "cv2", "rich", "click"}),
        ("from regionfer import Recognizer", {"torch", "onnx", "onnxruntime", "rich", "click"}),
        ("import regionfer.cli", {"torch", "onnxruntime", "cv2", "numpy", "rich"}),
    ],
    ids=["package", "model", "recogniser", "commands"],
)
def test_importing_does_nothing(tmp_path, code, absent):
    """It prints nothing, warns of nothing, makes no file, and loads only what is needed."""
    report = f"{code}\nimport sys\nassert not {absent!r} & sys.modules.keys(), {absent!r} & sys.modules.keys()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", report],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", regionfer.__all__)
def test_public_names(name):
    assert getattr(regionfer, name) is not None
    assert name in dir(regionfer)


def test_version():
    assert regionfer.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'Recogniser'"):
        regionfer.Recogniser  # noqa: B018
