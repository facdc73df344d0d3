"""Model files: those that come with this package, found by their names and verified, and those of one's own."""

from pathlib import Path

from regionfer.errors import ModelError

SHIPPED = ("default", "accurate")
"""Names of the models that come with this package: the fast one, which is taken where none is named, and another
network, for larger pictures, which looks at a face and at its mirror image."""

COME_WITH = "`{}` and `{}` come with regionfer".format(*SHIPPED)
"""What helps and errors say where a model file may be given."""

WEIGHTS = Path(__file__).parent / "weights"


def find_model(path: str | Path | None) -> Path:
    """The file of a model: a path is itself; None, or a name in ``SHIPPED`` that is no file here, one that is shipped.

    >>> find_model("faces.onnx").name, find_model(None).name, find_model("accurate").name
    ('faces.onnx', 'default.onnx', 'accurate.onnx')
    """
    name = SHIPPED[0] if path is None else str(path)
    return WEIGHTS / f"{name}.onnx" if name in SHIPPED and not Path(name).is_file() else Path(name)


def is_shipped(source: Path) -> bool:
    """Whether a model file is one of this package's own."""
    return source.parent == WEIGHTS


def read_model(source: Path) -> tuple[bytes, str]:
    """Read a model file.

    Returns:
        Its content, and the SHA-256 of that.

    Raises:
        ModelError: it is missing or cannot be read; or it is shipped, and is not what was shipped.
    """
    import hashlib  # every command imports this module, for the names alone

    content = _read(source)
    sha256 = hashlib.sha256(content).hexdigest()
    if is_shipped(source):
        _verify(source, sha256)
    return content, sha256


def _read(source: Path) -> bytes:
    try:
        return source.read_bytes()
    except FileNotFoundError as error:
        if is_shipped(source):
            raise ModelError(f"{source}: the {source.stem} model is missing; install regionfer again") from error
        raise ModelError(f"{source}: no such model file; {COME_WITH}") from error
    except OSError as error:
        raise ModelError(f"{source}: cannot be read as a model file ({error.strerror})") from error


def _verify(source: Path, sha256: str) -> None:
    """Compare a shipped model with the list of hashes that is shipped beside it."""
    sums = _read(source.with_name("SHA256SUMS")).decode()
    expected = {name.lstrip("*"): digest for digest, name in (line.split() for line in sums.splitlines() if line)}
    if expected.get(source.name) != sha256:
        raise ModelError(
            f"{source}: damaged, its SHA-256 is {sha256}, expected {expected.get(source.name)}; install regionfer again"
        )
