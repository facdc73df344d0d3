"""Figures on the screen and as JSON, for the commands that measure."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionfer.errors import writing

if TYPE_CHECKING:
    from regionfer.evaluation.known import Known
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
        if _is_replaced(path):
            _open_partial(path).unlink()


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
    with writing(Path(path)):
        target = _open_partial(path) if _is_replaced(path) else Path(path)
        target.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")
        if target != Path(path):
            target.replace(Path(path).resolve())


def _is_replaced(path: str) -> bool:
    """Whether a file takes another's place when it is whole, which a pipe or a device does not let it."""
    return Path(path).is_file() or not Path(path).exists()


def _open_partial(path: str) -> Path:
    """A new file beside another, behind its links, with the rights that it would have."""
    target = Path(path).resolve()
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    partial.touch(exist_ok=False)
    if target.exists():
        partial.chmod(target.stat().st_mode)
    return partial


def tell_known(known: "Sequence[Known]") -> None:
    """Warn of figures on images that a model learned from, or that served to choose something of it, in a line each."""
    from regionfer.evaluation.known import known_lines

    for _, text in known_lines(known):
        click.echo(f"warning: {text}", err=True)


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
        drawn.add_column(name, justify="left" if number < table.heads else "right", overflow="fold")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
