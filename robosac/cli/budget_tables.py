"""The answers of `robosac budget` as tables for people; every column says what it is in a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from robosac.cli.output import console as standard_output
from robosac.cli.output import show_table

LAWS: Final = {"paper": "paper's formula", "independent": "exact, repeats", "no_repeats": "exact, no repeats"}
Row = dict[str, Any]


def show_answer(found: Row, console: Console | None = None) -> None:
    """Print every part of an answer of `robosac.cli.budget.answer`."""
    console = console or standard_output()
    asked = found["question"]
    console.print(_headline(asked))
    parts = {"trials": _trials, "outcomes": _outcomes, "largest_subset": _sizes, "table": _grid, "a2cp": _a2cp}
    parts |= {"certify": _certify, "audit": _audit}
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


def _show(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str | None = None
) -> None:
    """`columns`: name and, below it in the head, the word that explains it, as `name / word`."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    for k, column in enumerate(columns):
        name, _, word = column.partition(" / ")
        widest = max(map(len, f"{name} {word}".split()))  # no word is broken
        table.add_column(
            f"{name}\n[dim]{word}[/dim]", justify="left" if k == 0 else "right", no_wrap=k == 0, min_width=widest
        )
    for row in rows:
        table.add_row(*row)
    console.print()
    show_table(table, console)
    if empty and not table.row_count:
        console.print(f"  {empty}")


def _reasons(rows: Iterable[Row], console: Console) -> None:
    for row in rows:
        if row["reason"]:
            refusals = f", refusals {row['refusals']}" if "refusals" in row else ""
            console.print(f"  [dim]{LAWS[row['law']]}{refusals}: {row['reason']}[/dim]", soft_wrap=True)


def _mean(row: Row) -> str:
    return "-" if row["expected_trials"] is None else f"{row['expected_trials']:.3g}"


def _trials(rows: list[Row], asked: Row, console: Console) -> None:
    at = "N" if asked["max_trials"] is None else str(asked["max_trials"])
    columns = ["law / of the draws", "q / a draw is clean", "N / trials wanted", f"claimed, {at} / by this law"]
    columns += [f"true, {at} / repeats", f"true, {at} / no repeats", f"mean, {at} / trials used"]
    cells = [
        [LAWS[r["law"]], chance(r["share"]), count(r["count"])]
        + [chance(r[key]) for key in ("claimed", "with_repeats", "without_repeats")]
        + [_mean(r)]
        for r in rows
    ]
    _show(console, f"Subsets of {asked['subset']}: how many trials", columns, cells)
    _reasons([r for r in rows if r["count"] is None], console)


def _outcomes(rows: list[Row], asked: Row, console: Console) -> None:
    accepts, refuses = asked["false_accept"], asked["false_reject"]
    columns = ["law / of the draws", "refusals / fall on", "N / trials", "clean / first accepted"]
    columns += ["contaminated / first accepted", "none / accepted", "mean / trials used", "wanted N / for clean"]
    cells = [
        [LAWS[r["law"]], r["refusals"], count(r["at"])]
        + [chance(r[key]) for key in ("clean", "contaminated", "none")]
        + [_mean(r), count(r["wanted"])]
        for r in rows
    ]
    title = f"A verifier that accepts {accepts:g} of the contaminated, refuses {refuses:g} of the clean"
    _show(console, title, columns, cells)
    _reasons([r for r in rows if r["wanted"] is None], console)


def _sizes(rows: list[Row], asked: Row, console: Console) -> None:
    refusals = list(rows[0]["verifier"])
    columns = ["law / of the draws", "s / largest subset", "success / by this law"]
    columns += [f"s, verifier errs / refusals {name}" for name in refusals]
    cells = [
        [LAWS[r["law"]], str(r["size"]), chance(r["success"]), *(str(r["verifier"][n]["size"]) for n in refusals)]
        for r in rows
    ]
    _show(console, f"At most {count(asked['max_trials'])} trials: how large a subset", columns, cells)
    _reasons(rows, console)


def _grid(rows: list[Row], asked: Row, console: Console) -> None:
    columns = ["m / attackers", "s / subset", "q paper / a draw is clean", "N paper / formula"]
    columns += ["q exact / a draw is clean", "N exact / repeats", "N exact / no repeats"]
    columns += ["true success / of paper's N, repeats"]
    shown = [(chance, "share_paper"), (count, "trials_paper"), (chance, "share_independent")]
    shown += [(count, "trials_independent"), (count, "trials_no_repeats"), (chance, "true_success_at_paper")]
    cells = [[str(r["attackers"]), str(r["subset"]), *(say(r[key]) for say, key in shown)] for r in rows]
    empty = "impossible: no honest teammates, no subset to draw"
    _show(console, "Every subset size", columns, cells, empty=empty)


def _a2cp(rows: list[Row], asked: Row, console: Console) -> None:
    columns = ["s / subset", "m / attackers assumed", *(f"tries, {name} / limit" for name in LAWS.values())]
    cells = [[str(r["subset"]), str(r["attackers"]), *(count(r[f"tries_{law}"]) for law in LAWS)] for r in rows]
    title = "Probing for the number of attackers (A2CP): most tries by subset size"
    _show(console, title, columns, cells, empty="no teammates: the ego is alone")


def _or_never(value: int | None) -> str:
    return "never" if value is None else count(value)


def _certify(rows: list[Row], asked: Row, console: Console) -> None:
    sampled = asked["max_trials"] is not None
    columns = ["m / attackers", "s / subset", f"subsets / {'sampled' if sampled else 'all of size s'}"]
    columns += ["with attackers / at most", "votes / not invented", "votes / nor hidden"]
    columns += ["supporters / not invented", "supporters / nor hidden"]
    keys = ["not_invented", "not_hidden", "supporters", "supporters_not_hidden"]
    if sampled:
        columns.append("votes hold / probability")
    cells = [
        [str(r["attackers"]), str(r["subset"]), count(r["decoded"]), count(r["touched"])]
        + [_or_never(r[key]) for key in keys]
        + ([chance(r["holds"])] if sampled else [])
        for r in rows
    ]
    _show(console, "What it takes to certify a box", columns, cells, empty="no teammates: the ego's boxes are its own")
    notes = (
        "votes: subsets of one size that show the box; supporters: disjoint ones of any size. nor hidden: whatever "
        "any m of them send, it stays not invented. A box that the ego alone shows needs none."
    )
    console.print(f"  [dim]{notes}[/dim]", soft_wrap=True)


AUDITS: Final = {
    "rotation": "dealt anew each pass, attack starts with one",
    "rotation_worst_start": "dealt anew each pass, worst start",
    "anew": "drawn anew each frame",
}


def _audit(rows: list[Row], asked: Row, console: Console) -> None:
    columns = ["who is checked", "m / attackers", "frames / until the first is checked"]
    columns += ["reached / probability", "frames / surely", "frames / on average"]
    shown = [(_or_never, "count"), (chance, "reached"), (_or_never, "certain"), ("{:.3g}".format, "mean")]
    cells = [[AUDITS[r["law"]], str(r["attackers"]), *(say(r[key]) for say, key in shown)] for r in rows]
    _show(console, f"Checking {asked['audit']:g} of the teammates a frame", columns, cells)
    text = (
        f"a pass checks every teammate once in {rows[0]['pass_frames']} frames; attackers do not learn what was dealt"
    )
    console.print(f"  [dim]{text}.[/dim]", soft_wrap=True)
