"""``regionfer ablate``: every row of an ablation, trained alike, and one table."""

from functools import partial
from pathlib import Path

import click

from regionfer.cli.progress import open_image_bar


def _seeds(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[int, ...]:
    """N or N,N,..., each once."""
    if text is None:
        return ()
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: expected whole numbers, such as 0,1,2") from error
    if min(seeds) < 0:
        raise click.BadParameter(f"{text!r}: a seed is 0 or above")
    if len(set(seeds)) < len(seeds):
        raise click.BadParameter(f"{text!r}: a seed stands twice")
    return seeds


@click.command("ablate")
@click.argument("ablation", metavar="ABLATION.toml")
@click.option("--data", required=True, metavar="DIR", help="Folder of the dataset that the recipes name.")
@click.option("--out", metavar="DIR", help="Folder for runs and table; runs/NAME of the ablation if not given.")
@click.option("--only", multiple=True, metavar="ROW", help="Run this row only. May be repeated.")
@click.option("--seeds", callback=_seeds, metavar="N[,N...]", help="Use these seeds for every row, not the file's.")
@click.option("--resume", is_flag=True, help="Go on with what is in the folder; runs that are done are not done again.")
@click.option(
    "--backbone",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Start all rows from this checkpoint or other pretraining file; no common backbone is trained.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Use at most N faces to learn from and N held out: a trial.",
)
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), help="Use this instead of the recipes'.")
@click.pass_context
def command(
    ctx: click.Context,
    ablation: str,
    data: str,
    out: str | None,
    only: tuple[str, ...],
    seeds: tuple[int, ...],
    resume: bool,
    backbone: Path | None,
    limit: int | None,
    precision: str | None,
) -> None:
    """Train every row of ABLATION.toml, from one common backbone if it has one, and write one table of them.

    Of each row: accuracy and mean recall on the held-out split, accuracy on the same faces covered by a mask, dark
    glasses, a hand and a block, and on the most turned of them, with 95 % intervals and the spread over seeds; and its
    speed in ONNX Runtime. The table is written as Markdown, CSV and JSON after each row. Images that are listed and
    absent, or cannot be read, are left out, counted, and listed in unreadable.csv.

    Exit code: 0 if all runs ended, 1 if some failed, 2 if nothing could be done, 130 if interrupted.
    """
    import sys

    from regionfer.ablation.ablate import Settings, ablate
    from regionfer.ablation.plan import load_ablation
    from regionfer.cli import tell_failures, tell_findings
    from regionfer.threads import cores
    from regionfer.training.sources import load_sources, write_failures

    plan = load_ablation(ablation, {} if precision is None else {"precision": precision})
    sources = load_sources(plan.faces_recipe, data)
    folder = Path(out or f"runs/{plan.name}")
    tell_findings(sources.findings)
    if sources.failures:
        listed = f"all in {write_failures(sources.failures, folder)}"
        tell_failures(list(sources.failures.values()), listed)
        click.echo(f"{len(sources.failures):,} listed images cannot be read and are left out; {listed}", err=True)
    click.echo(sources.describe(), err=True)
    terminal = sys.stderr.isatty()
    settings = Settings(
        out=folder,
        only=only,
        seeds=seeds,
        limit=limit,
        backbone=backbone,
        resume=resume,
        progress=terminal,
        workers=cores(),
    )
    try:
        table = ablate(
            plan,
            sources,
            settings,
            report=lambda line: click.echo(line, err=True),
            show_search=partial(open_image_bar, unit="faces searched for landmarks"),
        )
    except KeyboardInterrupt:
        click.echo(f"{folder}: interrupted; call again with --resume to go on", err=True)
        ctx.exit(130)
    click.echo(table.to_markdown(), nl=False)
    click.echo(f"{folder}: table.md, table.csv, table.json", err=True)
    ctx.exit(1 if any(row.failures for row in table.rows) else 0)
