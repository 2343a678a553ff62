"""One table of the cells: for the terminal, as Markdown, as CSV. Every column says its unit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from robosac.experiments.entries import Entry
from robosac.experiments.notes import notes

if TYPE_CHECKING:
    from rich.table import Table

CERTIFIED: Final = ("certified_1", "certified_2")
Value = str | int | float | None
COLUMNS: Final[dict[str, tuple[str, str]]] = {  # key -> heading with unit, format
    "dataset": ("data", ""),
    "detector": ("detector", ""),
    "attack": ("attack", ""),
    "budget": ("budget", "g"),
    "unit": ("budget's unit", ""),
    "multiple": ("budget as a multiple", ""),
    "feature_std": ("1sd, of the features", "g"),
    "attackers": ("attackers", "d"),
    "defense": ("defence", ""),
    "most_trials": ("trials a frame, at most", "d"),
    "ap50": ("AP@0.5", ".3f"),
    "ap50_low": ("AP@0.5 low (95 %)", ".3f"),
    "ap50_high": ("AP@0.5 high (95 %)", ".3f"),
    "ap70": ("AP@0.7", ".3f"),
    "ap30": ("AP@0.3", ".3f"),
    "certified_1": ("certified recall %, 1 attacker", ".0f"),
    "certified_2": ("certified recall %, 2 attackers", ".0f"),
    "boxes": ("boxes a frame", ".1f"),
    "tpr_excluded": ("attackers left out %", ".0f"),
    "fpr_excluded": ("honest left out %", ".0f"),
    "tpr_accused": ("attackers accused %", ".0f"),
    "fpr_accused": ("honest accused %", ".0f"),
    "auc": ("AUC of suspicion", ".3f"),
    "attacker_free": ("frames without an attacker used %", ".0f"),
    "fell_back": ("frames alone %", ".0f"),
    "decodes": ("decodes a frame", ".1f"),
    "kb": ("received kB a frame", ".0f"),
    "ms": ("ms a frame", ".0f"),
    "refused": ("honest messages refused", "d"),
    "frames": ("frames", "d"),
    "scenes": ("scenes", "d"),
    "notes": ("of the attack", ""),
    "skipped": ("skipped because", ""),
}
CERTIFIED_LEGEND: Final = (
    " certified recall: objects found by a box that so many attackers cannot have invented, whatever they sent."
)
LEGEND: Final = (
    "AP: rotated BEV boxes, scores sorted over all frames; 95 % intervals by a bootstrap over scenes. Left out is not "
    "accused. decodes: fuse + decode passes a frame. ms: on this machine, without the teammates' own encoding. "
    "kB: payloads received. m: how many teammates attack."
)


def row(entry: Entry) -> dict[str, Value]:
    """One plain value a column."""
    cell, s = entry.cell, entry.summary
    made: dict[str, Value] = dict.fromkeys(COLUMNS)
    made |= {"dataset": cell.dataset, "detector": cell.detector, "attack": cell.attack_label}
    made |= {"attackers": cell.m, "defense": cell.defense.label, "skipped": entry.skipped}
    made |= {"budget": cell.budget, "unit": cell.unit, "most_trials": cell.defense.trials}
    made |= {"multiple": cell.multiple, "feature_std": cell.feature_std}
    if s is None:
        return made
    for t, e in s.ap.items():
        made[f"ap{round(100 * t)}"] = None if e is None else e.value
    if (mid := s.ap.get(0.5)) is not None:
        made |= {"ap50_low": mid.low, "ap50_high": mid.high}
    rates = ("tpr_excluded", "fpr_excluded", "tpr_accused", "fpr_accused", "attacker_free", "fell_back")
    for name in (*rates, *CERTIFIED):
        made[name] = None if (e := getattr(s, name)) is None else 100 * e.value
    made |= {"boxes": s.boxes.value, "decodes": s.decodes.value, "kb": s.bytes_received.value / 1e3}
    made |= {"ms": s.ms["total"].mean, "frames": s.frames, "scenes": s.scenes}
    made["notes"] = "; ".join(f"{text} ({n} of {s.frames} frames)" for text, n in entry.notes.items()) or None
    made |= {"auc": None if entry.roc is None else entry.roc.auc, "refused": entry.refused.messages}
    return made


def without_certificates(entries: Sequence[Entry], keys: Sequence[str]) -> list[str]:
    """The columns, without those of certificates where no defence gives any."""
    told = any(e.summary is not None and e.summary.certified_1 is not None for e in entries)
    return [k for k in keys if told or k not in CERTIFIED]


def legend(entries: Sequence[Entry]) -> str:
    """What the columns of these entries mean."""
    return LEGEND + CERTIFIED_LEGEND * bool(without_certificates(entries, CERTIFIED))


def shown(value: Value, spec: str) -> str:
    """A value as a table shows it."""
    return "–" if value is None else format(value, spec)


def to_csv(entries: Sequence[Entry]) -> str:
    """All columns, full precision; headings are the columns' with their units."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([heading for heading, _ in COLUMNS.values()])
    for entry in entries:
        writer.writerow(["" if v is None else v for v in row(entry).values()])
    return text.getvalue()


_MARKDOWN: Final = (
    "attackers",
    "defense",
    "ap50",
    "ap70",
    *CERTIFIED,
    "boxes",
    "tpr_excluded",
    "fpr_excluded",
    "auc",
    "decodes",
    "kb",
)


def to_markdown(entries: Sequence[Entry]) -> str:
    """A heading and a table for each data set, detector and attack; what was skipped says why."""
    lines: list[str] = []
    keys = without_certificates(entries, _MARKDOWN)
    for title, block in blocks(entries):
        lines += [f"### {title}", ""]
        lines.append("| " + " | ".join(_heading(k) for k in keys) + " |")
        lines.append("|" + "|".join("---" if not COLUMNS[k][1] else "--:" for k in keys) + "|")
        for entry in block:
            made = row(entry)
            cells = [shown(made[k], COLUMNS[k][1]) for k in keys]
            if entry.skipped is not None:
                cells[2] = f"skipped: {entry.skipped}".replace("|", "\\|").replace("\n", " ")
            elif made["ap50_low"] is not None:
                cells[2] += f" ({shown(made['ap50_low'], '.2f')}–{shown(made['ap50_high'], '.2f')})"
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join([*lines, legend(entries), "", *(f"- {line}" for line in notes(entries)), ""])


def _heading(key: str) -> str:
    return COLUMNS[key][0] + (" (95 %)" if key == "ap50" else "")


def blocks(entries: Sequence[Entry]) -> list[tuple[str, list[Entry]]]:
    """Entries by data set, detector and attack, in order, with a title each."""
    groups: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        cell = entry.cell
        scale = "" if cell.attack is None else cell.attack.scale
        attack = f"{cell.attack_label} ({scale})" if scale else cell.attack_label
        groups.setdefault((cell.dataset, cell.detector, attack), []).append(entry)
    return [(f"{dataset}, {detector}, {attack}", block) for (dataset, detector, attack), block in groups.items()]


Text = Callable[[dict[str, Value]], str]


def as_shown(key: str, spec: str | None = None) -> Text:
    """What a terminal column shows of a row: one value; by the column's own format, unless another is given."""
    return lambda made: shown(made[key], COLUMNS[key][1] if spec is None else spec)


def pair(what: str) -> Text:
    """A rate of attackers and of honest teammates, like `100/4`."""
    return lambda made: "/".join(shown(made[f"{rate}_{what}"], ".0f") for rate in ("tpr", "fpr"))


def _interval(made: dict[str, Value]) -> str:
    return "–" if made["ap50_low"] is None else f"{made['ap50_low']:.2f}–{made['ap50_high']:.2f}"


_TERMINAL: Final[dict[str, Text]] = {
    "m": as_shown("attackers"),
    "defence": as_shown("defense"),
    "AP@0.5": as_shown("ap50"),
    "95 %": _interval,
    "AP@0.7": as_shown("ap70"),
    "cert %": lambda made: "/".join(shown(made[k], ".0f") for k in CERTIFIED),
    "out % a/h": pair("excluded"),
    "AUC": as_shown("auc", ".2f"),
    "decodes": as_shown("decodes"),
    "kB": as_shown("kb"),
    "ms": as_shown("ms"),
}


def empty_table(title: str, labels: Sequence[str], left: str, *, pad_edge: bool = True) -> Table:
    """For the terminal, 80 columns wide: headings alone; the one called `left` is text."""
    from rich.markup import escape
    from rich.table import Table

    look: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "box": None, "padding": (0, 1, 0, 0)}
    table = Table(title=escape(title), pad_edge=pad_edge, **look)
    for label in labels:
        table.add_column(label, justify="left" if label == left else "right", no_wrap=True)
    return table


def rich_tables(entries: Sequence[Entry]) -> list[Table]:
    """A table for each data set, detector and attack; table.csv has all columns."""
    from rich.markup import escape

    tables = []
    told = bool(without_certificates(entries, CERTIFIED))
    columns = {label: text for label, text in _TERMINAL.items() if label != ("kB" if told else "cert %")}
    for title, block in blocks(entries):
        table = empty_table(title, list(columns), "defence")
        for made in map(row, block):
            texts = [escape(text(made)) for text in columns.values()]
            table.add_row(*(texts if made["skipped"] is None else [*texts[:2], "skipped"]))
        tables.append(table)
    return tables


def skipped_lines(entries: Sequence[Entry]) -> list[str]:
    """Why cells are empty, one line a reason."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if entry.skipped is not None:
            cell = entry.cell
            where = f"{cell.dataset}, {cell.detector}, {cell.attack_label}, {cell.m} attackers"
            if where not in reasons.setdefault(entry.skipped, []):
                reasons[entry.skipped].append(where)
    return [f"skipped ({'; '.join(where)}): {reason}" for reason, where in reasons.items()]
