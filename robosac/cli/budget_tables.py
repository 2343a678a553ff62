"""The answers of `robosac budget` as tables for people; every column says what it is in a word."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

LAWS: Final = {"paper": "paper's formula", "independent": "exact, repeats", "no_repeats": "exact, no repeats"}
Row = dict[str, Any]


def show_answer(found: Row, console: Console | None = None) -> None:
    """Print every part of an answer of `robosac.cli.budget.answer`."""
    console = console or Console(width=None if sys.stdout.isatty() else 118, highlight=False)
    asked = found["question"]
    console.print(_headline(asked))
    parts = {"trials": _trials, "outcomes": _outcomes, "largest_subset": _sizes, "table": _grid, "a2cp": _a2cp}
    for key, part in parts.items():
        if key in found:
            part(found[key], asked, console)
    if "plot" in found:
        console.print(f"picture: {found['plot']}")


def count(value: int | None) -> str:
    """A number of trials, readable at any size."""
    if value is None:
        return "none"
    return f"{value:,}" if value < 10**9 else f"{Decimal(value):.3e}"


def chance(value: float | None) -> str:
    """A probability to three digits that never rounds to certainty."""
    if value is None:
        return "-"
    if value in (0.0, 1.0):
        return f"{value:.0f}"
    if value < 0.0005:
        return f"{value:.0e}"
    return f"{value:.3f}" if value < 0.9995 else ">.999"


def _headline(asked: Row) -> str:
    m = asked["attackers"]
    who = "an unknown number of attackers" if m is None else f"{m} attacker{'' if m == 1 else 's'}"
    ratio = f" (ratio {asked['ratio']}, rounded up)" if asked["ratio"] else ""
    wanted = f"confidence wanted {asked['confidence']:.12g}"
    return f"{asked['teammates']} teammates, {who}{ratio}; {wanted}; clean = attacker-free"


def _table(title: str, columns: Iterable[tuple[str, str]]) -> Table:
    """`columns`: name and the word that explains it, which stands below it in the head."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for k, (name, word) in enumerate(columns):
        table.add_column(
            f"{name}\n[dim]{word}[/dim]" if word else name, justify="left" if k == 0 else "right", no_wrap=k == 0
        )
    return table


def _reasons(rows: Iterable[Row], console: Console) -> None:
    for row in rows:
        if row["reason"]:
            refusals = f", refusals {row['refusals']}" if "refusals" in row else ""
            console.print(f"  [dim]{LAWS[row['law']]}{refusals}: {row['reason']}[/dim]", soft_wrap=True)


def _trials(rows: list[Row], asked: Row, console: Console) -> None:
    given = asked["max_trials"]
    at = "N" if given is None else str(given)
    table = _table(
        f"Subsets of {asked['subset']}: how many trials",
        [
            ("law", "of the draws"),
            ("q", "a draw is clean"),
            ("N", "trials wanted"),
            (f"claimed, {at}", "by this law"),
            (f"true, {at}", "repeats"),
            (f"true, {at}", "no repeats"),
            (f"mean, {at}", "trials used"),
        ],
    )
    for r in rows:
        mean = "-" if r["expected_trials"] is None else f"{r['expected_trials']:.3g}"
        chances = [chance(r[key]) for key in ("claimed", "with_repeats", "without_repeats")]
        table.add_row(LAWS[r["law"]], chance(r["share"]), count(r["count"]), *chances, mean)
    console.print()
    console.print(table)
    _reasons([r for r in rows if r["count"] is None], console)


def _outcomes(rows: list[Row], asked: Row, console: Console) -> None:
    table = _table(
        f"A verifier that accepts {asked['false_accept']:g} of the contaminated, refuses {asked['false_reject']:g}"
        " of the clean",
        [
            ("law", "of the draws"),
            ("refusals", "fall on"),
            ("N", "trials"),
            ("clean", "first accepted"),
            ("contaminated", "first accepted"),
            ("none", "accepted"),
            ("mean", "trials used"),
            ("wanted N", "for clean"),
        ],
    )
    for r in rows:
        mean = "-" if r["expected_trials"] is None else f"{r['expected_trials']:.3g}"
        chances = [chance(r[key]) for key in ("clean", "contaminated", "none")]
        table.add_row(LAWS[r["law"]], r["refusals"], count(r["at"]), *chances, mean, count(r["wanted"]))
    console.print()
    console.print(table)
    _reasons([r for r in rows if r["wanted"] is None], console)


def _sizes(rows: list[Row], asked: Row, console: Console) -> None:
    refusals = list(rows[0]["verifier"])
    table = _table(
        f"At most {count(asked['max_trials'])} trials: how large a subset",
        [
            ("law", "of the draws"),
            ("s", "largest subset"),
            ("success", "by this law"),
            *(("s, verifier errs", f"refusals {name}") for name in refusals),
        ],
    )
    for r in rows:
        others = [str(r["verifier"][name]["size"]) for name in refusals]
        table.add_row(LAWS[r["law"]], str(r["size"]), chance(r["success"]), *others)
    console.print()
    console.print(table)
    _reasons(rows, console)


def _grid(rows: list[Row], asked: Row, console: Console) -> None:
    table = _table(
        "Every subset size",
        [
            ("m", "attackers"),
            ("s", "subset"),
            ("q paper", "a draw is clean"),
            ("N paper", "formula"),
            ("q exact", "a draw is clean"),
            ("N exact", "repeats"),
            ("N exact", "no repeats"),
            ("true success", "of paper's N, repeats"),
        ],
    )
    for r in rows:
        table.add_row(
            str(r["attackers"]),
            str(r["subset"]),
            chance(r["share_paper"]),
            count(r["trials_paper"]),
            chance(r["share_independent"]),
            count(r["trials_independent"]),
            count(r["trials_no_repeats"]),
            chance(r["true_success_at_paper"]),
        )
    console.print()
    console.print(table)
    if not rows:
        console.print("  impossible: no honest teammates, no subset to draw")


def _a2cp(rows: list[Row], asked: Row, console: Console) -> None:
    table = _table(
        "Probing for the number of attackers (A2CP): most tries by subset size",
        [
            ("s", "subset"),
            ("m", "attackers assumed"),
            *((f"tries, {name}", "limit") for name in LAWS.values()),
        ],
    )
    for r in rows:
        table.add_row(str(r["subset"]), str(r["attackers"]), *(count(r[f"tries_{law}"]) for law in LAWS))
    console.print()
    console.print(table)
    if not rows:
        console.print("  no teammates: the ego is alone")
