"""Names of the checkpoints in the folder of a run; apart from the loop, for they are looked for without torch."""

from pathlib import Path

from regionfer.errors import CheckpointError

LAST, BEST = "last.safetensors", "best.safetensors"


def goes_on(folder: Path, *, resume: bool) -> bool:
    """Whether a folder holds a run to go on with.

    Raises:
        CheckpointError: it holds one, and is not to be resumed.
    """
    begun = (folder / LAST).is_file()
    if begun and not resume:
        raise CheckpointError(f"{folder}: holds a run already; give --resume to go on with it, or another folder")
    return begun
