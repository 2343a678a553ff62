"""The board as one self-contained HTML page: sorted and filtered in the browser, opened from disk, asking no network.

The page is whole without its script: rows stand in their order and every detail can be opened. Every text is escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from robosac.files import write_whole
from robosac.viz.page import escaped as _text
from robosac.viz.page import filled

ABSENT: Final = "–"
_SHADES: Final = 10


@dataclass(frozen=True)
class Shown:
    """A value as it is shown, as it is sorted by (None: last), and what stands beside it, such as an interval."""

    text: str
    sort: float | None = None
    beside: str = ""


@dataclass(frozen=True)
class BoardColumn:
    """A column: key of the cells, heading, what it means."""

    key: str
    label: str
    about: str
    numeric: bool = True


@dataclass(frozen=True)
class BoardRow:
    """One row and what it opens to.

    Attributes:
        title, group: the defence, the detector.
        reference: no defence, but to compare with.
        whole: has every cell that others have.
        cells: column -> value.
        grid: attack -> number of attackers -> AP; "" where nobody attacks.
        threshold: AP below which a cell is marked: the ego alone.
        broken_by: text and address of each.
        notes: a line each.
        command, check: what to type for these figures, and to have them checked.
        settings, source, protocol, versions: of the row.
    """

    title: str
    group: str
    reference: bool
    whole: bool
    cells: Mapping[str, Shown]
    grid: Mapping[str, Mapping[int, Shown]]
    threshold: float | None
    broken_by: Sequence[tuple[str, str]]
    notes: Sequence[str]
    command: str
    check: str
    settings: Any
    source: str
    protocol: str
    versions: str


@dataclass(frozen=True)
class BoardPage:
    """Everything on the page. `attacks`: name -> facts, label -> text; `row`, `group`: what a row and its group are."""

    title: str
    summary: Sequence[str]
    columns: Sequence[BoardColumn]
    rows: Sequence[BoardRow]
    attacks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    command: str = ""
    row: str = "defence"
    group: str = "detector"


def in_markdown(rows: Sequence[BoardRow], columns: Sequence[BoardColumn], *, row: str = "defence") -> str:
    """The same as Markdown: a table for each group."""
    lines: list[str] = []
    for group in dict.fromkeys((r.group, r.protocol) for r in rows):
        lines += [f"### {group[0]} (protocol {group[1]})", ""]
        lines.append(f"| {row} | " + " | ".join(c.label for c in columns) + " |")
        lines.append("|---|" + "|".join("--:" if c.numeric else "---" for c in columns) + "|")
        for r in (r for r in rows if (r.group, r.protocol) == group):
            lines.append(f"| {r.title} | " + " | ".join(_markdown_cell(r.cells[c.key], c) for c in columns) + " |")
        lines.append("")
    return "\n".join(lines)


def meanings(columns: Sequence[BoardColumn]) -> str:
    """What columns mean, a line each, as Markdown."""
    return "\n".join(f"- {c.label}: {c.about}" for c in columns)


def _markdown_cell(shown: Shown, column: BoardColumn) -> str:
    beside = f" ({shown.beside})" if shown.beside and column.key != "rank" else ""
    return (shown.text + beside).replace("|", "\\|")


def write_board(path: Path, page: BoardPage) -> Path:
    """Write the page; it appears whole or not at all."""
    write_whole(path, render(page).encode())
    return path


def render(page: BoardPage) -> str:
    """The page as HTML."""
    head = "".join(_heading(k, c) for k, c in enumerate(page.columns, start=1))
    groups = list(dict.fromkeys(r.group for r in page.rows))
    return filled(
        "board.html",
        title=_text(page.title),
        row=_text(page.row),
        group=_text(page.group),
        words=_text(f"{page.row}, {page.group}, attack".capitalize()),
        summary="\n".join(f"<p>{_text(line)}</p>" for line in page.summary),
        groups="".join(f'<option value="{_text(g)}">{_text(g)}</option>' for g in groups),
        head=head,
        body="\n".join(_row(k, r, page.columns) for k, r in enumerate(page.rows)),
        legend="".join(f"<dt>{_text(c.label)}</dt><dd>{_text(c.about)}</dd>" for c in page.columns),
        attacks="\n".join(_attack(name, facts) for name, facts in page.attacks.items()),
        command=_text(page.command),
    )


def _heading(k: int, column: BoardColumn) -> str:
    kind = ' class="number"' if column.numeric else ""
    return (
        f'<th scope="col"{kind} aria-sort="none"><button type="button" data-column="{k}" title="{_text(column.about)}">'
        f"{_text(column.label)}</button></th>"
    )


def _row(k: int, row: BoardRow, columns: Sequence[BoardColumn]) -> str:
    kinds = [name for name, on in (("reference", row.reference), ("partial", not row.whole)) if on]
    words = " ".join((row.title, row.group, *row.grid))
    cells = "".join(_cell(row.cells[c.key], c) for c in columns)
    opened = f"detail-{k}"
    title = (
        f'<th scope="row"><button type="button" class="open" aria-expanded="false" aria-controls="{opened}">'
        f'{_text(row.title)}</button><small>{_text(row.group)}</small></th>'
    )  # fmt: skip
    attributes = f'class="{" ".join(["entry", *kinds])}" data-group="{_text(row.group)}" data-words="{_text(words)}"'
    inner = f'<td colspan="{len(columns) + 1}"><div class="box">{_detail(row)}</div></td>'
    return f'<tr {attributes}>{title}{cells}</tr>\n<tr class="detail" id="{opened}">{inner}</tr>'


def _cell(value: Shown, column: BoardColumn) -> str:
    sort = "" if value.sort is None else f' data-sort="{value.sort:.9g}"'
    kind = ' class="number"' if column.numeric else ""
    beside = f"<small>{_text(value.beside)}</small>" if value.beside and column.key != "rank" else ""
    return f"<td{kind}{sort}>{_text(value.text)}{beside}</td>"


def _detail(row: BoardRow) -> str:
    parts = [_grid(row)]
    if row.broken_by:
        links = "; ".join(f'<a href="{_address(url)}">{_text(text)}</a>' for text, url in row.broken_by)
        parts.append(f"<p><b>Broken by</b> (worse than the ego alone): {links}</p>")
    if row.notes:
        parts.append("<ul>" + "".join(f"<li>{_text(n)}</li>" for n in row.notes) + "</ul>")
    if row.source:
        parts.append(f"<p><b>Settings from</b> {_text(row.source)}</p>")
    parts.append(f"<pre><code>{_text(row.command)}\n{_text(row.check)}</code></pre>")
    settings = _text(json.dumps(row.settings, indent=1))
    parts.append(f"<details><summary>Settings and versions</summary><pre><code>{settings}</code></pre>")
    parts.append(f'<p class="note">Protocol {_text(row.protocol)}; {_text(row.versions)}</p></details>')
    return "".join(parts)


def _address(url: str) -> str:
    """A link within the page or to the web, and no script."""
    return _text(url if url.startswith(("#", "https://", "http://")) else "#")


def _grid(row: BoardRow) -> str:
    """AP of every cell: attacks downwards, attackers across."""
    counts = sorted({m for cells in row.grid.values() for m in cells if m})
    head = "".join(f'<th scope="col" class="number">{m} attacker{"" if m == 1 else "s"}</th>' for m in counts)
    lines = []
    for attack, cells in row.grid.items():
        if not attack:
            continue
        inner = "".join(_shaded(cells.get(m), row.threshold) for m in counts)
        lines.append(f'<tr><th scope="row"><a href="#attack-{_text(attack)}">{_text(attack)}</a></th>{inner}</tr>')
    benign = row.grid.get("", {}).get(0)
    beside = "" if benign is None or not benign.beside else f" ({_text(benign.beside)})"
    nobody = "" if benign is None else f"<p>AP@0.5 where nobody attacks: {_text(benign.text)}{beside}</p>"
    if not lines:
        return nobody
    caption = "AP@0.5, 95 % intervals; underlined: below the ego alone"
    return (
        f'{nobody}<table class="grid"><caption>{caption}</caption><thead><tr><th scope="col">attack</th>{head}</tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _shaded(value: Shown | None, threshold: float | None) -> str:
    if value is None or value.sort is None:
        return f'<td class="number">{ABSENT}</td>'
    below = " below" if threshold is not None and value.sort < threshold else ""
    shade = min(_SHADES, max(0, round(_SHADES * value.sort)))
    return f'<td class="number s{shade}{below}">{_text(value.text)}<small>{_text(value.beside)}</small></td>'


def _attack(name: str, facts: Mapping[str, str]) -> str:
    rows = "".join(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in facts.items())
    return f'<section class="attack" id="attack-{_text(name)}"><h3>{_text(name)}</h3><dl>{rows}</dl></section>'
