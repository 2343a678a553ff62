"""`robosac attacks`: what there is, one of them with its settings, or a gallery of pictures."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from robosac.cli import completion
from robosac.cli.attack_gallery import GallerySettings, draw_all
from robosac.cli.options import Checkpoint, DetectorName, Json, Root, Seed, with_checkpoint
from robosac.cli.output import console, show_table
from robosac.cli.progress import progress_bar
from robosac.errors import did_you_mean
from robosac.feature_scale import in_words
from robosac.registry.attacks import described
from robosac.types import InputError, RobosacError

_MARKS: Final = {"the model": "model", "other teammates' messages": "others", "the victim's view": "victim",
                 "the defence": "defence", "its random numbers": "seed"}  # fmt: skip
Row = dict[str, Any]


class NothingDrawnError(RobosacError):
    """A gallery without a picture; why stands in the message."""


def chosen(names: Sequence[str]) -> list[str]:
    """The presets named, each with settings of its own where wanted, or all of them.

    Raises:
        InputError: there is none of a name.
    """
    from robosac import attacks

    known = attacks.names()
    if unknown := [n for n in names if n.partition(":")[0] not in known]:
        close = did_you_mean(unknown[0].partition(":")[0], known)
        raise InputError(f"expected attacks among {', '.join(known)}; got {', '.join(map(repr, unknown))}{close}")
    return list(dict.fromkeys(names)) or known


def attacks(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Presets, with settings where wanted, like pgd:steps=5. Default: all.",
            autocompletion=completion.attacks,
        ),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder for a picture of each and a page of them.")
    ] = None,
    detector: DetectorName = "mean",
    root: Root = None,
    checkpoint: Checkpoint = None,
    scene: Annotated[int, typer.Option(min=0, help="Which simulated scene the gallery shows.")] = 3,
    attackers: Annotated[int, typer.Option(min=1, help="How many attack in the gallery.")] = 2,
    seed: Seed = 0,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table as docs/attacks.md has it.")] = False,
    json: Json = False,
) -> None:
    """The attacks there are: stage, what each needs to know, budget, source; one NAME: with its settings."""
    wanted = chosen(names or [])
    if gallery is not None:
        of = with_checkpoint(detector, checkpoint)
        settings = GallerySettings(out=gallery, detector=of, root=root, seed=seed, scene=scene, n_attackers=attackers)
        _draw(settings, wanted, json=json)
        return
    rows = [described(name) for name in wanted]
    if json:
        print(dumps(rows))
    elif markdown:
        print(as_markdown(rows))
    elif len(rows) == 1:
        _show_one(rows[0])
    else:
        _show_table(rows)


def _draw(settings: GallerySettings, names: Sequence[str], *, json: bool) -> None:
    """Draw the attacks named and write a page of them."""
    out = settings.out
    with progress_bar("attacks", quiet=json) as tell:
        entries = draw_all(settings, names, progress=tell)
    drawn = [e for e in entries if e.picture is not None]
    skipped = {e.name: e.reason for e in entries if e.picture is None}
    if json:
        pictures = {e.name: str(out / str(e.picture)) for e in drawn}
        print(dumps({"page": str(out / "index.html"), "pictures": pictures, "skipped": skipped}))
    elif drawn:
        print(f"{len(drawn)} pictures in {out}; open {out / 'index.html'}")
    for name, reason in ({} if json else skipped).items():
        print(f"  no picture of {name}: {reason}")
    if not drawn:
        raise NothingDrawnError(f"expected a picture, got none; {'; '.join(f'{k}: {v}' for k, v in skipped.items())}")


# ----------------------------------------------------------------------------------------------------------- printing
def _show_table(rows: Sequence[Row]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("knows", no_wrap=True)
    table.add_column("budget", min_width=12)
    table.add_column("novelty", no_wrap=True)
    table.add_column("source", min_width=14)
    for row in rows:
        marks = "".join(mark[0].upper() if text in row["knows"] else "." for text, mark in _MARKS.items())
        budget = f"{in_words(row['budget'])} {row['unit']}"
        cells = [row["name"], row["stage"], marks, budget, row["novelty"], brief(row["source"])]
        table.add_row(*(Text(str(c)) for c in cells))
    to = console(markup=False)
    show_table(table, to)
    knows = ", ".join(f"{mark[0].upper()} {text}" for text, mark in _MARKS.items())
    to.print(
        f"\nMust know beside its own agents' data: {knows}.\nseen: defences were tuned against it; unseen: hardly any "
        "was; hard: made to pass a consensus. One with its settings: robosac attacks NAME"
    )


def as_markdown(rows: Sequence[Row]) -> str:
    """The table for a page of documentation."""
    head = ["preset", "stage", *_MARKS.values(), "budget", "novelty", "source"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * 2}{':-:|' * len(_MARKS)}{'---|' * 3}"]
    for row in rows:
        marks = ["x" if text in row["knows"] else "" for text in _MARKS]
        source = brief(row["source"], 60).replace("|", "/")
        cells = [
            f"`{row['name']}`",
            row["stage"],
            *marks,
            f"{in_words(row['budget'])} {row['unit']}",
            row["novelty"],
            source,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _show_one(row: Row) -> None:
    import yaml

    to = console(markup=False)
    budget = f"{in_words(row['budget'])} {row['unit']}"
    to.print(f"{row['name']}: {row['about']}\n")
    for label, text in (
        ("stage", row["stage"]),
        ("needs to know", ", ".join(row["knows"])),
        ("budget", budget),
        ("novelty", row["novelty"]),
        ("source", row["source"]),
    ):
        to.print(f"{label:14} {text}")
    to.print("\nsettings")
    for line in yaml.safe_dump(row["settings"], sort_keys=False).splitlines():
        to.print(f"  {line}")


def brief(source: str, width: int = 38) -> str:
    """What a source is, without the settings that were taken from it."""
    return textwrap.shorten(re.split(r"[:;,] ", source, maxsplit=1)[0], width, placeholder=" ...")
