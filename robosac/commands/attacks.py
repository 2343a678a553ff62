"""`robosac attacks`: what there is, one of them with its settings, or a gallery of pictures."""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from robosac.air import Knowledge
from robosac.registry.settings import plain
from robosac.types import InputError

KNOWS: Final = {  # beside its own agents' data, which every attacker has
    Knowledge.MODEL: "the model",
    Knowledge.TEAMMATES: "other teammates' messages",
    Knowledge.VICTIM: "the victim's view",
    Knowledge.DEFENSE: "the defence",
    Knowledge.SEED: "its random numbers",
}
_MARKS: Final = {"the model": "model", "other teammates' messages": "others", "the victim's view": "victim",
                 "the defence": "defence", "its random numbers": "seed"}  # fmt: skip
Row = dict[str, Any]


def described(name: str) -> Row:
    """All there is to say of a preset, as plain data."""
    from robosac import attacks
    from robosac.attacks.presets import preset

    attack, found = attacks.load(name), preset(name)
    return {
        "name": name,
        "attack": found.attack,
        "stage": attack.stage.value,
        "knows": ["own data", *(text for part, text in KNOWS.items() if part in attack.knowledge)],
        "budget": attack.budget,
        "unit": attack.unit,
        "novelty": found.novelty,
        "source": " ".join(found.source.split()),
        "settings": plain(attack),
        "about": inspect.cleandoc(type(attack).__doc__ or "").partition("\n\n")[0].replace("\n", " "),
    }


def chosen(names: Sequence[str]) -> list[str]:
    """The presets named, or all of them.

    Raises:
        InputError: there is none of a name.
    """
    from robosac import attacks

    known = attacks.names()
    if unknown := [n for n in names if n not in known]:
        raise InputError(f"expected attacks among {', '.join(known)}; got {', '.join(map(repr, unknown))}")
    return list(dict.fromkeys(names)) or known


def run(names: Sequence[str], *, as_json: bool, as_markdown: bool = False) -> None:
    """Print a table of the attacks named (default: all), or one whole."""
    rows = [described(name) for name in chosen(names)]
    if as_json:
        print(json.dumps(rows[0] if len(names) == 1 else rows))
    elif as_markdown:
        print(markdown(rows))
    elif len(names) == 1:
        _show_one(rows[0])
    else:
        _show_table(rows)


def run_gallery(
    names: Sequence[str], *, out: Path, detector: str, seed: int, scene: int, attackers: int, as_json: bool
) -> None:
    """Draw the attacks named (default: all) and write a page of them."""
    from robosac.commands.attack_gallery import Settings, gallery
    from robosac.commands.progress import progress_bar

    settings = Settings(out=out, detector=detector, seed=seed, scene=scene, n_attackers=attackers)
    with progress_bar("attacks", quiet=as_json) as tell:
        entries = gallery(settings, chosen(names), progress=tell)
    drawn = [e for e in entries if e.picture is not None]
    skipped = {e.name: e.reason for e in entries if e.picture is None}
    if as_json:
        pictures = {e.name: str(out / str(e.picture)) for e in drawn}
        print(json.dumps({"page": str(out / "index.html"), "pictures": pictures, "skipped": skipped}))
        return
    print(f"{len(drawn)} pictures in {out}; open {out / 'index.html'}")
    for name, reason in skipped.items():
        print(f"  no picture of {name}: {reason}")


# ----------------------------------------------------------------------------------------------------------- printing
def _console() -> Any:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 130, highlight=False)


def _show_table(rows: Sequence[Row]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    for mark in _MARKS.values():
        table.add_column(mark[0].upper(), justify="center", no_wrap=True)
    table.add_column("budget", no_wrap=True)
    table.add_column("novelty", no_wrap=True)
    table.add_column("source", overflow="fold")
    for row in rows:
        marks = ["x" if text in row["knows"] else "" for text in _MARKS]
        budget = f"{row['budget']:g} {row['unit']}"
        cells = [row["name"], row["stage"], *marks, budget, row["novelty"], brief(row["source"])]
        table.add_row(*(Text(str(c)) for c in cells))
    console = _console()
    console.print(table)
    knows = ", ".join(f"{mark[0].upper()} {text}" for text, mark in _MARKS.items())
    console.print(
        f"\nMust know beside its own agents' data: {knows}.\nseen: defences were tuned against it; unseen: hardly any "
        "was; hard: made to pass a consensus. One with its settings: robosac attacks NAME"
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page of documentation."""
    head = ["preset", "stage", *_MARKS.values(), "budget", "novelty", "source"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 2}{':-:|' * len(_MARKS)}{'---|' * 3}"]
    for row in rows:
        marks = ["x" if text in row["knows"] else "" for text in _MARKS]
        source = brief(row["source"], 60).replace("|", "/")
        cells = [f"`{row['name']}`", row["stage"], *marks, f"{row['budget']:g} {row['unit']}", row["novelty"], source]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _show_one(row: Row) -> None:
    import yaml

    console = _console()
    budget = f"{row['budget']:g} {row['unit']}"
    console.print(f"{row['name']}: {row['about']}\n", markup=False)
    for label, text in (
        ("stage", row["stage"]),
        ("needs to know", ", ".join(row["knows"])),
        ("budget", budget),
        ("novelty", row["novelty"]),
        ("source", row["source"]),
    ):
        console.print(f"{label:14} {text}", markup=False)
    console.print("\nsettings")
    for line in yaml.safe_dump(row["settings"], sort_keys=False).splitlines():
        console.print(f"  {line}", markup=False)


def brief(source: str, width: int = 38) -> str:
    """What a source is, without the settings that were taken from it."""
    return textwrap.shorten(re.split(r"[:;,] ", source, maxsplit=1)[0], width, placeholder=" ...")
