"""Everything that regionfer raises on purpose.

::

    RegionferError
    ├── ImageError       an input that cannot be read as an image
    ├── NoFaceError      a photo without faces, where the caller asked for this to be an error
    ├── ModelError       a model file that is missing, damaged, of another kind or of another version
    ├── DatasetError     a dataset folder or table that is not what it should be
    ├── RecipeError      a training recipe with an unknown key or a value out of range
    ├── CheckpointError  a checkpoint or pretraining file that does not fit
    └── OutputError      a place that cannot be written to

Each message says what, where, what was expected, what was found and what to do next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RegionferError(Exception):
    """Base of all errors of this package."""


class ImageError(RegionferError, ValueError):
    """An input that cannot be read as an image."""


class NoFaceError(RegionferError, ValueError):
    """A photo without faces, where the caller asked for this to be an error."""


class ModelError(RegionferError, ValueError):
    """A model file that is missing, damaged, of another kind or of another schema version."""


class DatasetError(RegionferError, ValueError):
    """A dataset folder or table that is not what it should be."""


class RecipeError(RegionferError, ValueError):
    """A training recipe with an unknown key or a value out of range."""


class CheckpointError(RegionferError, ValueError):
    """A checkpoint or pretraining file that does not fit."""


class OutputError(RegionferError, OSError):
    """A place that cannot be written to."""


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn the system's errors of writing to a file or folder into `OutputError`, in one line that names it."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from error
