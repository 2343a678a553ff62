"""One self-contained HTML page about a run: opens offline, on a phone, in the dark; asks the network for nothing.

The page is made of plain things (strings, tables, PNG bytes), so that any run can write one. Every text
is escaped: an agent may call itself `<script>`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from robosac.files import write_whole
from robosac.types import InputError
from robosac.viz.page import escaped as _text
from robosac.viz.page import filled

Cell: TypeAlias = str | int | float | None
ABSENT = "–"
AGAIN = "Do it again"
DENSE = 12  # columns, above which a table is set smaller, and as cards on more screens


@dataclass(frozen=True)
class Image:
    """A PNG with what it shows in words.

    Attributes:
        png: the file's bytes.
        alt: what a reader who cannot see it must know; never empty.
        caption: shown below it.
        wide: scrolls sideways on a narrow screen instead of shrinking until nothing can be read.
    """

    png: bytes
    alt: str
    caption: str = ""
    wide: bool = False

    def __post_init__(self) -> None:
        if not self.png.startswith(b"\x89PNG"):
            raise InputError(f"expected PNG bytes, got {self.png[:8]!r}; make them with viz.canvas.png_bytes(figure)")
        if not self.alt.strip():
            raise InputError("expected a text that says what the picture shows, got an empty `alt`")


@dataclass(frozen=True)
class Column:
    """A column of a table: which key of the rows it shows, its heading (with the unit), how floats are written."""

    key: str
    label: str
    numeric: bool = True
    decimals: int = 3


@dataclass(frozen=True)
class Table:
    """Rows of plain values; None is shown as a dash, a missing key is an error.

    Attributes:
        columns: left to right; the first one names its row.
        rows: one mapping a row.
        caption: what the columns mean, below the table.
        group_by: a key; where its value changes, a heading row with the value is put in.
        emphasise: indices of rows that stand out.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Cell]]
    caption: str = ""
    group_by: str | None = None
    emphasise: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Example:
    """One frame: what happened in words, its pictures, and who was believed and why."""

    title: str
    text: str = ""
    images: Sequence[Image] = ()
    table: Table | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything on the page, in its order.

    Attributes:
        title: the headline.
        subtitle: a short line below it: scenes, frames, detector, seed.
        summary: what happened, a paragraph each; three sentences are enough.
        table: the main table.
        charts: figures about all frames (AP by policy).
        examples: single frames.
        budget: the trial-budget curve, with its explanation as caption.
        command: what to type to get this run again.
        config: the resolved configuration, as YAML or JSON.
        versions: package -> version.
    """

    title: str
    summary: Sequence[str]
    table: Table
    command: str
    config: str
    subtitle: str = ""
    charts: Sequence[Image] = ()
    examples: Sequence[Example] = ()
    budget: Image | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def write_report(path: str | Path, report: ReportData) -> Path:
    """Write the page; the folder is made, and the file appears whole or not at all."""
    write_whole(Path(path), render(report).encode())
    return Path(path)


def render(report: ReportData) -> str:
    """The page as HTML."""
    parts: dict[str, Iterable[str]] = {"Results": [_table(report.table)]}
    if report.charts:
        parts["Charts"] = map(_image, report.charts)
    if report.examples:
        parts["Frames"] = (_example(example, k) for k, example in enumerate(report.examples))
    if report.budget is not None:
        parts["How many trials"] = [_image(report.budget)]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return filled(
        "report.html",
        title=_text(report.title),
        subtitle=_paragraph(report.subtitle, "subtitle"),
        summary="\n".join(_paragraph(p) for p in report.summary),
        contents=_contents(parts, report.examples),
        sections="\n".join(_section(heading, held) for heading, held in parts.items()),
        command=_text(report.command),
        versions=_paragraph(versions, "note"),
        config=_text(report.config),
    )


def _paragraph(value: str, kind: str = "") -> str:
    if not value:
        return ""
    return f'<p class="{kind}">{_text(value)}</p>' if kind else f"<p>{_text(value)}</p>"


def _contents(headings: Iterable[str], examples: Sequence[Example]) -> str:
    links = [f'<a href="#{_anchor(heading)}">{_text(heading)}</a>' for heading in (*headings, AGAIN)]
    links += [f'<a href="#frame-{k}" data-frame="{k}">{_text(example.title)}</a>' for k, example in enumerate(examples)]
    return "\n".join(links)


def _anchor(heading: str) -> str:
    return heading.lower().replace(" ", "-")


def _section(heading: str, parts: Iterable[str]) -> str:
    return "\n".join([f'<section id="{_anchor(heading)}">', f"<h2>{_text(heading)}</h2>", *parts, "</section>"])


def _example(example: Example, number: int = 0) -> str:
    wide = [_image(i) for i in example.images if i.wide]
    small = [_image(i) for i in example.images if not i.wide] + ([_table(example.table)] if example.table else [])
    beside = ['<div class="beside">', *small, "</div>"] if small else []
    head = [f"<h3>{_text(example.title)}</h3>", _paragraph(example.text)]
    return "\n".join([f'<article id="frame-{number}">', *head, *wide, *beside, "</article>"])


def _image(image: Image) -> str:
    data = base64.b64encode(image.png).decode("ascii")
    caption = f"<figcaption>{_text(image.caption)}</figcaption>" if image.caption else ""
    kind = ' class="wide"' if image.wide else ""
    picture = f'<img src="data:image/png;base64,{data}" alt="{_text(image.alt)}">'
    return f'<figure{kind}><div class="scroll">{picture}</div>{caption}</figure>'


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col"{_align(c)}>{_text(c.label)}</th>' for c in table.columns)
    caption = f"<caption>{_text(table.caption)}</caption>" if table.caption else ""
    body: list[str] = []
    group: Cell = None
    for index, row in enumerate(table.rows):
        missing = [c.key for c in table.columns if c.key not in row]
        if missing:
            raise InputError(f"expected row {index} to have {missing}, got {sorted(row)}; None stands for no value")
        if table.group_by is not None and (index == 0 or row[table.group_by] != group):
            group = row[table.group_by]
            heading = f'<th scope="rowgroup" colspan="{len(table.columns)}">{_text(str(group))}</th>'
            body.append(f'<tr class="group">{heading}</tr>')
        kind = ' class="strong"' if index in table.emphasise else ""
        first, *rest = (f"{_align(c)}>{_text(_cell(row[c.key], c))}" for c in table.columns)
        labels = [
            f'data-label="{_text(c.label)}"{" data-absent" if row[c.key] is None else ""}' for c in table.columns[1:]
        ]
        cells = "".join(f"<td {label}{cell}</td>" for label, cell in zip(labels, rest, strict=True))
        body.append(f'<tr{kind}><th scope="row"{first}</th>{cells}</tr>')
    rows = "\n".join(body)
    kind = ' class="dense"' if len(table.columns) > DENSE else ""
    inside = f"{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>"
    return f'<div class="scroll"><table{kind}>{inside}</table></div>'


def _align(column: Column) -> str:
    return ' class="number"' if column.numeric else ""


def _cell(value: Cell, column: Column) -> str:
    if value is None:
        return ABSENT
    return f"{value:.{column.decimals}f}" if isinstance(value, float) else str(value)
