"""`robosac leaderboard`: the board rendered, played, checked, and one's own defence taken through it."""

from __future__ import annotations

from dataclasses import dataclass
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from robosac.cli import completion
from robosac.cli.options import Address, ExecutorName, Jobs, Json, Root, Threads, command_of, listed, named
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.executors import Executor, default_jobs, make_executor
from robosac.types import InputError, RobosacError

if TYPE_CHECKING:
    from robosac.experiments.board.entry import BoardEntry
    from robosac.experiments.board.play import Slice
    from robosac.experiments.board.protocol import Protocol

OUT: Final = Path("runs/board")
Results = Annotated[Path, typer.Option(file_okay=False, help="The folder of entries, a JSON file each.")]
Kept = Annotated[
    Path, typer.Option("--out", "-o", file_okay=False, help="Where what was played is kept, to go on from.")
]
ProtocolFile = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="Another protocol than the board's.")
]
Attacks = Annotated[
    list[str] | None,
    named("--attack", "-a", complete=completion.attacks, help="Of the protocol's, by name alone; default: all."),
]
Attackers = Annotated[list[str] | None, typer.Option(help="Numbers of attackers; default: the protocol's.")]
Detectors = Annotated[
    list[str] | None,
    named("--detector", "-m", complete=completion.detectors, help="Of the protocol's; default: all."),
]
Scenes = Annotated[
    int | None, typer.Option("--scenes", "-n", min=1, help="The first so many; default: all of the protocol's.")
]
Step = Annotated[int, typer.Option(min=1, help="Scenes between two writings of the entries.")]

leaderboard = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


class EntryDiffersError(RobosacError):
    """What was played again is not what the entry says; which cells stand above."""


@leaderboard.callback()
def _render(
    context: typer.Context,
    results: Results = Path("results"),
    out: Annotated[
        Path, typer.Option("--out", "-o", file_okay=False, help="Folder for leaderboard.md and .html.")
    ] = OUT,
    json: Json = False,
) -> None:
    """The board: defences ranked by the worst attack, as Markdown and as one HTML page.

    Without a command, the entries in the folder of results are rendered; those of the fleet board, in its folder fleet,
    on a page of their own.
    """
    if context.invoked_subcommand is not None:
        return
    from robosac.experiments.board.entry import read_entries
    from robosac.experiments.board.page import board_page
    from robosac.experiments.board.table import rows, to_markdown
    from robosac.experiments.fleet import entry as fleet
    from robosac.experiments.fleet import page as fleet_board
    from robosac.files import write_whole
    from robosac.viz.board import write_board

    entries = read_entries(results)
    text = to_markdown(entries)
    write_whole(out / "leaderboard.md", text.encode())
    page = write_board(out / "leaderboard.html", board_page(entries, results))
    fleets = fleet.read_entries(results / "fleet")
    fleet_text = fleet_board.to_markdown(fleets)
    if fleets:
        write_whole(out / "fleet.md", fleet_text.encode())
        write_board(out / "fleet.html", fleet_board.fleet_page(fleets, results))
    if json:
        found = [
            {"defense": r.title, "detector": r.group, **{k: v.sort for k, v in r.cells.items()}} for r in rows(entries)
        ]
        learnt = [
            {"row": r.title, "track": r.group, **{k: v.sort for k, v in r.cells.items()}}
            for r in fleet_board.rows(fleets)
        ]
        print(dumps({"out": str(out), "rows": found, "fleet": learnt}))
        return
    print(text)
    print(fleet_text)
    print(f"{len(entries)} entries; look at them: {page}")
    if fleets:
        print(f"{len(fleets)} entries of fleets: {out / 'fleet.html'}")


@dataclass(frozen=True, kw_only=True)
class Work:
    """By which protocol, and where the work is done."""

    attack: Attacks = None
    attackers: Attackers = None
    out: Kept = OUT
    protocol: ProtocolFile = None
    root: Root = None
    jobs: Jobs = None
    threads: Threads = 1
    executor: ExecutorName = "processes"
    address: Address = None
    json: Json = False

    def make_executor(self) -> Executor:
        """Where work is done."""
        return make_executor(self.jobs, threads=self.threads, name=self.executor, address=self.address)


@dataclass(frozen=True, kw_only=True)
class Play(Work):
    """A slice of the board."""

    detector: Detectors = None
    scenes: Scenes = None
    step: Step = 10
    results: Results = Path("results")

    def slice(self, defenses: tuple[str, ...] | None) -> Slice:
        """What is played, with these defences."""
        from robosac.experiments.board.play import Slice

        return Slice(
            protocol=_protocol(self.protocol),
            defenses=defenses,
            detectors=listed(self.detector),
            attacks=listed(self.attack),
            attackers=_numbers(self.attackers),
            scenes=self.scenes,
        )

    def command(self, defense: str) -> str:
        """What to type for the entry of a defence."""
        from robosac.experiments.provenance import command_line

        named = {k: getattr(self, k) for k in ("detector", "attack", "attackers", "scenes", "protocol")}
        options = {k: ",".join(v) if isinstance(v, list) else v for k, v in named.items()}
        if ":" in defense:
            return command_line("robosac leaderboard add", defense, **options)
        return command_line("robosac leaderboard run", only=defense, **options)


@dataclass(frozen=True, kw_only=True)
class Run(Play):
    """Defences that have a name."""

    only: Annotated[
        list[str] | None,
        named(
            "--only",
            complete=completion.defenses,
            help="Defences; default: the protocol's. Reference rows are always played.",
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class Add(Play):
    """A defence of one's own."""

    name: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="Your defence: a value, or what makes one.")]


@dataclass(frozen=True, kw_only=True)
class Check(Work):
    """An entry that is played again."""

    entry: Annotated[Path, typer.Argument(metavar="ENTRY", help="A file of the folder of results.")]
    scenes: Annotated[int, typer.Option("--scenes", "-n", min=1, help="Play the first so many again.")] = 2
    tolerance: Annotated[float | None, typer.Option(help="Of AP@0.5; default: the protocol's.")] = None
    out: Kept = Path("runs/board-check")


def run(asked: Run) -> None:
    """Play the board, or a slice of it; entries are written as they grow.

    Every entry states its scenes. A run that is stopped goes on where it was; a slice that grows uses what is there.
    """
    _play(asked, asked.slice(listed(asked.only)))


def add(asked: Add) -> None:
    """Take a defence of your own through the whole protocol and put it on the board."""
    if ":" not in asked.name:
        raise InputError(
            f"expected MODULE:NAME, got {asked.name!r}; a preset is played by robosac leaderboard run --only "
            f"{asked.name}"
        )
    _play(asked, asked.slice((asked.name,)))


def check(asked: Check) -> None:
    """Play the first scenes of an entry again and compare; exit code 1 where a cell differs by more than tolerance."""
    from robosac.experiments.board.check import check_entry
    from robosac.experiments.board.entry import read_entry
    from robosac.experiments.provenance import environment

    told, frozen = read_entry(asked.entry), _protocol(asked.protocol)
    limit = frozen.tolerance if asked.tolerance is None else asked.tolerance
    chosen = asked.make_executor()
    with kept_on_stop(asked.out), progress_bar("attacks on scenes", quiet=asked.json) as tell:
        found = check_entry(
            told, frozen, asked.out, chosen, scenes=asked.scenes, attacks=listed(asked.attack),
            attackers=_numbers(asked.attackers), root=asked.root, tell=tell,
        )  # fmt: skip
    differing = [c.title for c in found if not c.within(limit)]
    if asked.json:
        cells = [{**vars(c), "within": c.within(limit)} for c in found]
        print(dumps({"entry": str(asked.entry), "tolerance": limit, "cells": cells}))
    else:
        for c in found:
            shown = " and ".join("–" if v is None else f"{v:.3f}" for v in (c.told, c.found))
            verdict = "agrees" if c.within(limit) else "DIFFERS"
            print(f"{c.title}: AP@0.5 {shown}, {c.same} of {c.scenes} scenes bit by bit: {verdict}")
    if differing or not found:
        what = ", ".join(differing) or "nothing to compare"
        there, here = told.machine.get("vectors", "unknown"), environment(1, 1)["vectors"]
        elsewhere = bool(found) and not any(c.same for c in found) and there != here
        raise EntryDiffersError(
            f"expected {asked.entry.name} to hold within {limit:g} of AP@0.5, got {what}"
            + (f"; no scene is equal bit by bit, as on another processor (there {there}, here {here})" * elsewhere)
        )


leaderboard.command("run")(command_of(Run, run))
leaderboard.command("add")(command_of(Add, add))
leaderboard.command("check")(command_of(Check, check))


@leaderboard.command()
def cost(
    results: Results = Path("results"),
    protocol: ProtocolFile = None,
    scenes: Scenes = None,
    json: Json = False,
) -> None:
    """What the board costs, from the seconds of a core that its cells took so far."""
    from robosac.experiments.board.cost import cost_of, in_words
    from robosac.experiments.board.entry import read_entries

    found = cost_of(read_entries(results), _protocol(protocol), scenes)
    print(dumps(found.to_dict()) if json else in_words(found))


def _protocol(path: Path | None) -> Protocol:
    from robosac.experiments.board.protocol import read_protocol

    return read_protocol() if path is None else read_protocol(path)


def _numbers(texts: list[str] | None) -> tuple[int, ...] | None:
    try:
        return None if texts is None else tuple(int(t) for t in listed(texts) or ())
    except ValueError:
        raise InputError(f"expected --attackers to be whole numbers like 0,1,2; got {', '.join(texts or [])}") from None


def _play(asked: Play, wanted: Slice) -> None:
    from robosac.experiments.board.play import play_slices
    from robosac.experiments.provenance import environment
    from robosac.files import check_writable

    check_writable(asked.results)
    chosen = asked.make_executor()
    used = default_jobs() if asked.jobs is None else asked.jobs
    machine = {k: v for k, v in environment(used, asked.threads).items() if k != "versions"}
    written: dict[str, BoardEntry] = {}

    def wrote(path: Path, entry: BoardEntry) -> None:
        if not asked.json and str(path) not in written:
            print(f"{path}: {entry.defense} on {entry.detector}", flush=True)
        written[str(path)] = entry

    with kept_on_stop(asked.out), progress_bar("attacks on scenes", quiet=asked.json) as tell:
        play_slices(
            wanted, asked.out, asked.results, chosen, step=asked.step, command=asked.command, run=machine,
            root=asked.root, tell=tell, wrote=wrote,
        )  # fmt: skip
    if asked.json:
        print(dumps({"entries": list(written)}))
    else:
        print(
            f"{len(written)} entries in {asked.results}; render them with robosac leaderboard --results {asked.results}"
        )
