"""What checks of corpora and lists report."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "note"]

EXAMPLES = 5
"""Names that a finding gives, at most."""


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be, or that a reader should know.

    Attributes:
        kind: a fixed word to sort by, such as "duplicate".
        text: a sentence that says what was expected and what was found.
        severity: "error" makes a check fail, "warning" does in strict checks, "note" never.
        line: line of the list it is about, from 1; None if it is about the whole.
        count: number of images or lines concerned.
        examples: names of a few of them.
        splits: those that it is about; none where that is not known, or where it is about all.
        cause: what tells findings of a kind apart, such as why an image is left out; "" where all are alike.
    """

    kind: str
    text: str
    severity: Severity = "warning"
    line: int | None = None
    count: int = 1
    examples: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    cause: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-safe."""
        return asdict(self) | {"examples": list(self.examples), "splits": list(self.splits)}
