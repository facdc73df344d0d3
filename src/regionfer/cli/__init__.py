"""The command line: each command parses, imports what it needs, calls, and prints.

A command is a module of this folder with a ``command``; ``COMMANDS`` names it. Modules of commands import nothing
heavy at their top, so that ``regionfer --help`` answers at once.

Exit codes: 0 all went well; 1 some inputs failed; 2 nothing was done, because the command line, or a file that it
names for all the work (model, output), is wrong; 130 interrupted.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regionfer.cli.interruption import one_interruption_at_a_time
from regionfer.errors import DatasetError, RegionferError

if TYPE_CHECKING:
    from regionfer.datasets.findings import Finding

COMMANDS = {
    "predict": "regionfer.cli.predict",
    "info": "regionfer.cli.info",
    "data": "regionfer.cli.data",
    "train": "regionfer.cli.train",
    "export": "regionfer.cli.export",
    "evaluate": "regionfer.cli.evaluate",
    "stress": "regionfer.cli.stress",
    "ablate": "regionfer.cli.ablate",
    "quantize": "regionfer.cli.quantize",
    "annotate": "regionfer.cli.annotate",
}


_TRAIN = ("accelerate", "onnx", "onnxscript", "pydantic", "safetensors", "tensorboard", "torch")
EXTRAS = dict.fromkeys(_TRAIN, "train") | {"pyarrow": "annotate"}
"""Packages that are not in the base install, and the extra that brings each: where one is missing, a command says how
to get it."""


class _Refusal(click.ClickException):
    exit_code = 2


class Group(click.Group):
    """A group that names its commands where an unknown one is called for."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the error names those that there are."""
        if (
            args
            and not ctx.resilient_parsing
            and not args[0].startswith("-")
            and self.get_command(ctx, args[0]) is None
        ):
            ctx.fail(f"no such command {args[0]!r}; commands: {', '.join(self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


class LazyGroup(Group):
    """A group that imports a command when it is called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is no such command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of ours becomes one line, and an interruption where the command minds none, too."""
        try:
            with one_interruption_at_a_time():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(130)
        except RegionferError as error:
            raise _Refusal(str(error)) from error
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            raise _Refusal(
                f"this needs {package}, which is not installed here; run: pip install 'regionfer[{EXTRAS[package]}]'"
            ) from error


min_confidence_option = click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.9,
    show_default=True,
    help="Leave out faces of which the detector is less sure.",
)


def is_given(ctx: click.Context, name: str) -> bool:
    """Whether an option stands on the command line, even with its default."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def check_detecting(ctx: click.Context, detect: bool) -> None:
    """Refuse ``--min-confidence`` where no face is looked for.

    Raises:
        UsageError: it is given.
    """
    if not detect and is_given(ctx, "min_confidence"):
        raise click.UsageError("--min-confidence is about faces that are looked for, and here each image is one face")


photos_option = click.option(
    "--photos",
    is_flag=True,
    help="For rafdb, sfew, folder and csv: take the original photos, not face crops.",
)


def check_data(data: str) -> None:
    """Refuse ``--data`` that is not there.

    Raises:
        DatasetError: there is nothing of this name.
    """
    if not Path(data).exists():
        raise DatasetError(f"{data}: no such folder or file; --data names that of the dataset")


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "face"), counted(2500, "image")
    ('1 face', '2,500 images')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


SHOWN = 10
"""Images that could not be read that are named one by one on the screen."""


def tell_failures(errors: Sequence[str], listed: str) -> None:
    """Name the first images that could not be read, and say where the others are listed."""
    for error in errors[:SHOWN]:
        click.echo(error, err=True)
    if len(errors) > SHOWN:
        click.echo(f"... and {len(errors) - SHOWN:,} more, {listed}", err=True)


def tell_passed_over(unread: Mapping[str, int], below: int) -> None:
    """What lies in folders of photos and is not read, as `regionfer.images.FoundImages` has it."""
    if unread:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in unread.items())
        click.echo(f"passed over, for regionfer does not read them: {kinds}; convert them to JPEG or PNG", err=True)
    if below:
        click.echo(f"not looked into: {counted(below, 'folder')} below; --recursive does", err=True)


def where_listed(json_file: str | None, report: str | None) -> str:
    """Where `evaluate` and `stress` list all that could not be used, for `tell_failures`."""
    places = ["the report"] * (report is not None)
    if json_file is not None:
        places.insert(0, "the JSON" if json_file == "-" else json_file)
    return f"listed in {' and in '.join(places)}" if places else "which --json FILE would list"


def plain(text: str) -> str:
    """Text that any terminal takes: a file name need not be valid UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def tell_findings(findings: "Sequence[Finding]") -> None:
    """A line for each thing amiss in a dataset that was passed over; notes are left to 'regionfer data check'."""
    for finding in findings:
        if finding.severity != "note":
            examples = f" ({', '.join(finding.examples)})" if finding.examples else ""
            click.echo(f"{finding.severity}: {finding.text}{examples}", err=True)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="regionfer")
def main() -> None:
    """Recognise facial expressions when faces are turned away or covered."""
