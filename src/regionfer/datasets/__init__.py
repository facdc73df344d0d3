"""Expression corpora, one file each; all of them give a `Manifest`."""

from regionfer.datasets.ferplus import read_ferplus
from regionfer.datasets.manifest import Manifest, load_faces

__all__ = ["Manifest", "load_faces", "read_ferplus"]
