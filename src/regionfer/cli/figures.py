"""Figures on the screen and as JSON, for the commands that measure."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionfer.errors import writing

if TYPE_CHECKING:
    from regionfer.evaluation.learned import Learned
    from regionfer.evaluation.tables import Table


def check_writable(path: str) -> None:
    """Try a file now, so that a mistyped path does not cost the work, and leave nothing; "-" is the screen.

    Raises:
        OutputError: it cannot be written.
    """
    if path == "-":
        return
    with writing(Path(path)):
        if Path(path).exists():
            with Path(path).open("a", encoding="utf-8"):
                pass
        if (partial := _partial(path)) is not None:
            partial.touch()
            partial.unlink()


def write_json(figures: Mapping[str, Any], path: str) -> None:
    """Write figures to a file, whole or not at all, or, for "-", on the screen.

    Raises:
        OutputError: the file cannot be written.
    """
    import json

    text = json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)
    if path == "-":
        click.echo(text)
        return
    partial = _partial(path)
    with writing(Path(path)):
        (partial or Path(path)).write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        if partial is not None:
            partial.replace(Path(path).resolve())


def _partial(path: str) -> Path | None:
    """The file that becomes another when it is whole; None for what is no file to be replaced, such as a pipe."""
    target = Path(path).resolve()
    return None if target.exists() and not target.is_file() else target.with_name(f"{target.name}.partial")


def tell_learned(learned: "Sequence[Learned]") -> None:
    """Warn of figures on images that a model learned from, in one line."""
    from regionfer.evaluation.learned import learned_text

    if learned:
        click.echo(f"warning: {learned_text(learned)}", err=True)


def print_tables(head: Iterable[str], tables: "Iterable[Table]") -> None:
    """Print lines, then tables."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:  # a file or a pipe has no width that lines must be cut to
        console = Console(markup=False, highlight=False, emoji=False, width=10_000)
    for line in head:
        console.print(line)
    for table in tables:
        console.print()
        console.print(_rich(table))


def _rich(table: "Table") -> Any:
    from rich import box
    from rich.table import Table as RichTable

    drawn = RichTable(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for number, name in enumerate(table.columns):
        drawn.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
