"""Long work in numbered parts, kept in a folder, so that a run that was stopped goes on where it was.

Work that always splits its inputs alike into parts, and gathers its result from all of them at the end, gives the same
result whether it was stopped or not.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from regionfer.errors import DatasetError, writing

_Part = TypeVar("_Part")

_NOTE = "settings.json"


@dataclass(frozen=True)
class Parts:
    """The parts of a piece of work that are done, each whole or not there.

    Args:
        folder: where they lie; made by `open`, in a folder that is there.
        suffix: of the files' names, with its dot.
    """

    folder: Path
    suffix: str = ".json"

    def open(self, settings: Mapping[str, Any]) -> int:
        """Make the folder, or check that what lies there is of the same run; the number of parts done, from the first.

        Args:
            settings: JSON values that settle the result, by names for people. The release of regionfer is added.

        Raises:
            DatasetError: the folder holds the parts of another run.
            OutputError: it cannot be made.
        """
        wanted = json.loads(json.dumps({"release": version("regionfer"), **settings}))
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
            if not (self.folder / _NOTE).is_file():
                self._write(_NOTE, json.dumps(wanted).encode())
        begun = self._read(_NOTE, _settings, f"delete the folder {self.folder}")
        if changed := [name for name, value in wanted.items() if begun.get(name) != value]:
            raise DatasetError(
                f"{self.folder}: a run with other settings was interrupted here (different: {', '.join(changed)}); "
                "go on with those, write to another place, or delete this folder"
            )
        number = 0
        while (self.folder / self._name(number)).is_file():
            number += 1
        return number

    def save(self, number: int, content: bytes) -> None:
        """Keep a part.

        Raises:
            OutputError: it cannot be written.
        """
        with writing(self.folder):
            self._write(self._name(number), content)

    def load(self, number: int, read: Callable[[bytes], _Part]) -> _Part:
        """Read a part; what ``read`` cannot read, it answers with a ValueError, KeyError or TypeError.

        Raises:
            DatasetError: it is damaged.
        """
        return self._read(self._name(number), read, "delete it and call again")

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        shutil.rmtree(self.folder)

    def _name(self, number: int) -> str:
        return f"part-{number:06d}{self.suffix}"

    def _write(self, name: str, content: bytes) -> None:
        partial = self.folder / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(self.folder / name)

    def _read(self, name: str, read: Callable[[bytes], _Part], advice: str) -> _Part:
        path = self.folder / name
        try:
            return read(path.read_bytes())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path}: damaged: {error}; {advice}") from error


def digest(lines: Iterable[str]) -> str:
    """A hash of lines of text, for settings that would be long; names that are no valid UTF-8 are taken as well."""
    content = sha256()
    for line in lines:
        content.update(f"{line}\n".encode(errors="surrogatepass"))
    return content.hexdigest()


def _settings(content: bytes) -> dict[str, Any]:
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, found {type(found).__name__}")
    return found
