"""An evaluation as one self-contained HTML page, and its tables as Markdown."""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regionfer.datasets.manifest import load_image
from regionfer.errors import ImageError, OutputError
from regionfer.evaluation import figures, tables
from regionfer.evaluation.answers import face_box
from regionfer.evaluation.evaluate import ALL, Evaluation
from regionfer.evaluation.known import known_lines
from regionfer.evaluation.tables import Table
from regionfer.metrics import FEW

if TYPE_CHECKING:
    from jinja2 import Template

HTML, MARKDOWN = "report.html", "report.md"
LIBRARIES = ("jinja2", "matplotlib")

MISTAKES = 32
"""Surest mistakes shown."""

NOT_FOUND = 16
"""Faces that were not found shown, of an end-to-end evaluation."""

_SIDE = 160  # px of a picture in a gallery, at most


@dataclass(frozen=True)
class Picture:
    """A picture of a gallery.

    Attributes:
        uri: the image itself, as a data: URI.
        name: of the image in the dataset.
        lines: what is to be said about it.
    """

    uri: str
    name: str
    lines: tuple[str, ...]


def prepare_report(folder: str | Path) -> None:
    """Make the folder of a report, so that hours of work are not lost to a mistyped path or a missing library.

    Raises:
        OutputError: the folder cannot be made or written to, or what reports are made with is not installed.
    """
    folder = Path(folder)
    if lacking := [name for name in LIBRARIES if find_spec(name) is None]:
        raise OutputError(
            f"{folder}: a report needs {' and '.join(lacking)}, not installed here; "
            "run: pip install 'regionfer[report]'"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror or error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder}: cannot be written to; check its permissions")


def write_report(evaluation: Evaluation, folder: str | Path) -> Path:
    """Write ``report.html`` and ``report.md``, and return the path of the page.

    The page opens from disk without a network and without scripts. It contains images of the dataset.

    Raises:
        OutputError: the folder cannot be written to, or what reports are made with is not installed.
    """
    prepare_report(folder)
    write_files(folder, {HTML: to_html(evaluation), MARKDOWN: to_markdown(evaluation)})
    return Path(folder) / HTML


def write_files(folder: str | Path, files: Mapping[str, str]) -> None:
    """Write texts by name into a folder.

    Raises:
        OutputError: one cannot be written.
    """
    for name, text in files.items():
        path = Path(folder) / name
        try:
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error


def open_template(name: str) -> "Template":
    """A page's template; all extend ``page.html.j2``."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regionfer.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def to_html(evaluation: Evaluation) -> str:
    """The page, as text."""
    photos = evaluation.model.photos
    missed = np.flatnonzero(photos.answers.missed) if photos is not None else np.empty(0, np.intp)
    return open_template("report.html.j2").render(
        evaluation=evaluation,
        score=evaluation.model.faces.measured[ALL],
        comparison=evaluation.comparison.get(ALL),
        tables=tables,
        percent=tables.percent,
        version=version("regionfer"),
        reliability=figures.reliability_figure(evaluation),
        risk_coverage=figures.risk_coverage_figure(evaluation),
        mistakes=surest_mistakes(evaluation),
        missed=[_picture(evaluation, int(row), ()) for row in missed[:NOT_FOUND]],
        missed_count=len(missed),
        few=FEW,
        known=known_lines(evaluation.known),
    )


def to_markdown(evaluation: Evaluation) -> str:
    """All tables, for a readme or a paper's draft."""
    title = f"{evaluation.manifest.dataset} {evaluation.split}: {evaluation.model.name}"
    head = [f"# {markdown_text(title)}", "", f"- Protocol: {markdown_text(evaluation.protocol)}"]
    head += model_lines("Model", evaluation.model.models)
    if evaluation.baseline is not None:
        head += model_lines("Baseline", evaluation.baseline.models)
    head += [f"- {heading}: {markdown_text(text)}" for heading, text in known_lines(evaluation.known)]
    head.append(f"- Images that could not be read: {len(evaluation.failures):,}")
    return "\n".join(head) + "\n\n" + "\n".join(markdown_table(table) for table in tables.all_tables(evaluation))


def markdown_table(table: Table) -> str:
    r"""A table in GitHub's Markdown, under a heading.

    >>> print(markdown_table(Table("Counts", ("set", "n"), (("a|b", "3"),))))
    ## Counts
    <BLANKLINE>
    | set | n |
    |:---|---:|
    | a\|b | 3 |
    <BLANKLINE>
    """
    rule = "|" + ":---|" * table.heads + "---:|" * (len(table.columns) - table.heads)
    lines = [_markdown_row(table.columns), rule, *(_markdown_row(row) for row in table.rows)]
    note = ["", markdown_text(table.note)] if table.note else []
    return "\n".join([f"## {markdown_text(table.title)}", "", *lines, *note, ""])


def markdown_text(text: str) -> str:
    r"""Text that stands in a Markdown table or line as it is, whatever names of files it holds.

    >>> print(markdown_text("a|b\n<i>*.png"))
    a\|b &lt;i&gt;\*.png
    """
    plain = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\|*`\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def model_lines(title: str, models: Sequence[Mapping[str, Any]]) -> list[str]:
    """The line of a model, or of each of the fused ones with its weight."""
    lines = []
    for number, model in enumerate(models):
        weight = f", weight {model['weight']:.3g}" if len(models) > 1 else ""
        name = markdown_text(f"{model['name']} {model['version']}")
        lines.append(f"- {'Fused with' if number else title}: {name}{weight}")
    return lines


def surest_mistakes(evaluation: Evaluation) -> list[Picture]:
    """Pictures of the wrong answers of which the model is surest, the surest first."""
    answers, manifest = evaluation.model.faces.answers, evaluation.manifest
    confidence = np.nan_to_num(answers.probabilities).max(1)
    wrong = np.flatnonzero(answers.answered & ~evaluation.correct(evaluation.model.faces))
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    pictures = []
    for row in surest.tolist():
        label, target = manifest.classes[manifest.labels[row]], float(manifest.targets[row, manifest.labels[row]])
        votes = "" if target >= 1 else f" ({target:.0%} of votes)"
        said = f"{manifest.classes[answers.predictions[row]]} {confidence[row]:.0%}"
        pictures.append(_picture(evaluation, row, (said, f"labelled {label}{votes}")))
    return pictures


def _picture(evaluation: Evaluation, row: int, lines: tuple[str, ...]) -> Picture:
    manifest = evaluation.manifest
    name = str(manifest.names[row])
    try:
        image = load_image(manifest, row)
    except ImageError:  # gone since it was classified
        return Picture("", name, lines)
    x1, y1, x2, y2 = face_box(manifest, row, image.shape[1], image.shape[0]) or (0, 0, image.shape[1], image.shape[0])
    return Picture(data_uri(image[y1:y2, x1:x2]), name, lines)


def data_uri(image: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) RGB for a page, made small."""
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE))
    small = max(picture.size) <= 64  # lossless where that is cheap, as for FERPlus
    file = BytesIO()
    picture.save(file, format="PNG" if small else "JPEG", quality=85)
    kind = "png" if small else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _markdown_row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(markdown_text(cell) for cell in cells) + " |"
