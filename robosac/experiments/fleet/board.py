"""Rows over seeds as a table: means, intervals, what was sent, who was left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.stats import t as student

from robosac.experiments.provenance import versions
from robosac.files import write_whole

if TYPE_CHECKING:
    from robosac.experiments.fleet.study import Study

Entry = Mapping[str, Any]
MEAN: Final = "mean accuracy %"
COSTS: Final = ("MB a run", "server s a round", "out % attackers", "out % honest", "peak MB")
DETECTOR: Final = {"AP@.5": ("all", "all_ap50"), "AP@.7": ("all", "all_ap70")}


def metrics(entries: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """Columns of figures, and where an entry has them: AP of a detector; of a language model accuracy in percent, its
    mean over domains first. The last one is what is drawn."""
    figures = entries[0]["figures"] if entries else {}
    if "accuracy" not in figures.get("all", {}):
        return dict(DETECTOR)
    by_domain = {f"{name} %": (name, "accuracy") for name in figures if name != "all"}
    return {**by_domain, MEAN: ("all", "accuracy")}


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float | None]:
    """Mean and half of Student's interval over seeds; None of a single one."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    spread = float(np.std(values, ddof=1)) / len(values) ** 0.5
    return mean, float(student.ppf((1 + level) / 2, len(values) - 1)) * spread


def table(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row a title, over the seeds that there are."""
    rows, wanted = [], metrics(entries)
    for title in dict.fromkeys(e["title"] for e in entries):
        some = [e for e in entries if e["title"] == title]
        row: dict[str, Any] = {"row": title, "seeds": len(some)}
        for column, (part, key) in wanted.items():
            row[column] = interval([e["figures"][part][key] for e in some])
        row["MB a run"] = float(np.mean([e["bytes"] for e in some])) / 1e6
        row["over budget"] = any(e["over_budget"] for e in some)
        row["server s a round"] = _mean([e.get("server_s") for e in some])
        for who in ("attackers", "honest"):
            row[f"out % {who}"] = _mean([e.get("left_out", {}).get(who) for e in some])
        row["peak MB"] = max(e["peak_mb"] for e in some)
        if any("vanished" in e for e in some):
            row["vanished %"] = _mean([e.get("vanished") for e in some])
        rows.append(row)
    return rows


def paired(entries: Sequence[Entry], one: str, other: str, column: str = "") -> tuple[float, float | None, int]:
    """Mean of the differences of two titles in a column (default: the last) over the seeds that both have, half an
    interval, how many."""
    wanted = metrics(entries)
    part, key = wanted[column or list(wanted)[-1]]
    by_seed: dict[str, dict[int, float]] = {one: {}, other: {}}
    for e in entries:
        if e["title"] in by_seed:
            by_seed[e["title"]][e["settings"]["seed"]] = e["figures"][part][key]
    both = sorted(set(by_seed[one]) & set(by_seed[other]))
    if not both:
        return float("nan"), None, 0
    mean, half = interval([by_seed[one][s] - by_seed[other][s] for s in both])
    return mean, half, len(both)


def differences(entries: Sequence[Entry], of: str = "flexlora") -> list[str]:
    """A line for each row without attackers that shares seeds with one of them: the difference, seed by seed."""
    found = []
    for other in dict.fromkeys(e["title"] for e in entries if not e["settings"]["attack"]):
        mean, half, seeds = paired(entries, of, other)
        if other != of and seeds:
            within = "" if half is None else f" ± {half:.1f}"
            found.append(f"{of} - {other}: {mean:+.1f}{within} ({seeds} seed{'s' if seeds > 1 else ''})")
    return found


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Of a table: who, how many, figures, costs."""
    figures = [c for row in rows[:1] for c, value in row.items() if isinstance(value, (tuple, list))]
    return ["row", "seeds", *figures, *COSTS]


def to_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table, values with their units' columns; a row over budget is marked."""
    columns = columns_of(rows)
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "--:|" * (len(columns) - 1)]
    for row in rows:
        mark = " (over budget)" if row["over budget"] else ""
        cells = [f"{row['row']}{mark}", *(shown(row.get(c)) for c in columns[1:])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_board(out: Path, entries: Sequence[Entry], rows: Sequence[Mapping[str, Any]], study: Study) -> Path:
    """Write `board.json`, entries, table, protocol and versions, and `table.md`. Returns the former's path."""
    made = {"protocol": study.protocol, "settings": study.base.plain(), "versions": versions()}
    plain = {**made, "rows": list(rows), "entries": list(entries)}
    write_whole(out / "board.json", (json.dumps(plain, indent=1) + "\n").encode())
    write_whole(out / "table.md", (to_markdown(rows) + "\n").encode())
    return out / "board.json"


def shown(value: Any) -> str:
    """A figure as it stands in a cell."""
    if value is None:
        return "–"
    if isinstance(value, (tuple, list)):
        mean, half = value
        return f"{mean:.1f}" if half is None else f"{mean:.1f} ± {half:.1f}"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
