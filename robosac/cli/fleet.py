"""`robosac fleet`: vehicles adapt one detector together; some poison it, some rules keep them out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from robosac.cli.options import Json, Out, command_of, listed
from robosac.cli.progress import kept_on_stop, progress_bar
from robosac.errors import InputError

if TYPE_CHECKING:
    from robosac.experiments.fleet.settings import FleetSettings
    from robosac.experiments.fleet.study import Study

METHODS_HELP: Final = (
    "Rows without attackers: base, local, lowest, highest, hetlora, flexlora, rank-weighted, batch-norm, full,"
    " centralised."
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What rows are run."""

    fast: Annotated[
        bool, typer.Option("--fast", help="Four vehicles, four rounds, four rows: under two minutes on two cores.")
    ] = False
    method: Annotated[list[str] | None, typer.Option(help=METHODS_HELP)] = None
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Attacks on FlexLoRA: sign-flip, scaling, alie, noise, evasive, label-shift, backdoor."),
    ] = None
    attackers: Annotated[list[int] | None, typer.Option(min=1, help="How many vehicles attack. Default: 1.")] = None
    defense: Annotated[
        list[str] | None,
        typer.Option(help="Against them: none, clip, multi-krum, geometric-median, cosine, consensus."),
    ] = None
    honest: Annotated[
        list[str] | None, typer.Option(metavar="DEFENSE", help="Defences of a fleet without attackers, as rows.")
    ] = None
    vehicles: Annotated[
        str | None,
        typer.Option(
            help="DOMAIN:RANK of each: city, highway, fog, sparse, bus or rain, like city:8,fog:2; of a language model"
            " arithmetic, reversal, sorting or facts; with --data what is in the folder."
        ),
    ] = None
    detector: Annotated[str, typer.Option(help="Shipped name or FILE.safetensors that all begin with.")] = "mean"
    model: Annotated[
        str | None,
        typer.Option(help="A language model in place of a detector: tiny-lm, tiny-lm:FILE or hf:PATH (extra llm)."),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of recordings, DOMAIN/ each; for a language model of instructions, DOMAIN.jsonl each."
        ),
    ] = None
    rounds: Annotated[int | None, typer.Option(min=1, help="Default: 30; of a language model 20.")] = None
    steps: Annotated[int | None, typer.Option(min=1, help="Of training, of each vehicle in a round. Default: 8.")] = (
        None
    )
    lr: Annotated[
        float | None, typer.Option(help="Step length of Adam. Default: 0.0005; of a language model 0.003.")
    ] = None
    seeds: Annotated[int, typer.Option(min=1, help="So many runs of each row, with their interval.")] = 1
    budget_mb: Annotated[float, typer.Option(help="Of a run's messages; a row over it is marked.")] = 100.0
    board: Annotated[
        str | None,
        typer.Option(help="A track of the fleet board, detector or tiny-lm: its settings, and entries to --results."),
    ] = None
    results: Annotated[
        Path, typer.Option(file_okay=False, help="With --board, the folder of entries, a JSON file each.")
    ] = Path("results/fleet")
    out: Out = Path("runs/fleet")
    json: Json = False


def run(asked: Asked) -> None:
    """Vehicles adapt one detector or language model together, round after round, poisoned updates left out.

    Stopped, it goes on.
    """
    from robosac.executors import set_threads
    from robosac.experiments.fleet.board import differences, metrics, table, to_markdown, write_board
    from robosac.experiments.fleet.study import run_study
    from robosac.files import check_writable
    from robosac.viz.canvas import save_png
    from robosac.viz.fleet import fleet_figure

    study = study_of(asked)
    check_writable(asked.out)
    if asked.board is not None:
        check_writable(asked.results)
        check_rows(asked.board, study)
    set_threads(1)
    with kept_on_stop(asked.out), progress_bar("rounds", quiet=asked.json) as tell:
        entries = run_study(study, asked.out, tell=tell)
    rows = table(entries)
    board = write_board(asked.out, entries, rows, study)
    enter_board(asked, entries)
    title = f"{len(study.base.vehicles)} vehicles, {study.base.rounds} rounds, seeds: {len(study.seeds)}"
    picture = save_png(fleet_figure(rows, title, list(metrics(entries))[-1]), asked.out / "fleet.png")
    if asked.json:
        print(dumps({"out": str(asked.out), "protocol": study.protocol, "rows": rows}))
        return
    print(to_markdown(rows))
    for line in (*differences(entries), *notes(entries)):
        print(line)
    print(f"Written to {board}, {picture}")


def enter_board(asked: Asked, entries: Sequence[dict[str, Any]]) -> None:
    """Write the entries of the fleet board, where a track of it was played."""
    if asked.board is None:
        return
    from robosac.experiments.fleet.entry import entries_of, write_entry
    from robosac.experiments.fleet.protocol import read_protocol
    from robosac.experiments.provenance import versions

    for entry in entries_of(read_protocol(), asked.board, entries, versions()):
        write_entry(asked.results, entry)


def check_rows(track: str, study: Study) -> None:
    """Before anything is played.

    Raises:
        InputError: a row is none of the fleet board's; says why, and which attacks are.
    """
    from robosac.experiments.fleet.protocol import read_protocol

    frozen = read_protocol()
    for row in study.rows:
        if why := frozen.why_not(track, row):
            raise InputError(
                f"expected rows of the protocol {frozen.name} {frozen.version}, whose attacks are "
                f"{', '.join(frozen.attacks)}; got {why}. Leave out --board for others"
            )


def study_of(asked: Asked) -> Study:
    """The rows that are asked for.

    Raises:
        InputError: a name is unknown, or things do not go together.
    """
    from robosac.experiments.fleet.opening import base_of
    from robosac.experiments.fleet.settings import vehicles_of
    from robosac.experiments.fleet.study import Study

    given: dict[str, Any] = {k: v for k in ("rounds", "steps", "lr") if (v := getattr(asked, k)) is not None}
    base = (
        _board_base(asked)
        if asked.board is not None
        else base_of(asked.detector, asked.model or "", asked.data, budget_mb=asked.budget_mb, fast=asked.fast)
    )
    methods, attacks = listed(asked.method), listed(asked.attack)
    if asked.fast:
        attacks = ("scaling",) if attacks is None else attacks
        methods = ("base", "flexlora") if methods is None else methods
    if asked.vehicles is not None:
        given["vehicles"] = vehicles_of(asked.vehicles)
    if asked.attackers and not attacks:
        raise InputError("expected --attack beside --attackers, like sign-flip, got none")
    study = Study(
        base=replace(base, **given),
        methods=("base", "lowest", "flexlora") if methods is None else methods,
        attacks=attacks or (),
        attackers=tuple(asked.attackers or (1,)),
        defenses=listed(asked.defense) or ("none", "consensus"),
        honest=listed(asked.honest) or (),
        seeds=tuple(range(asked.seeds)),
    )
    if not study.rows:
        raise InputError("expected a row, got none; name a --method")
    return study


def _board_base(asked: Asked) -> FleetSettings:
    """What a track of the board fixes.

    Raises:
        InputError: something of it was asked for otherwise.
    """
    from robosac.experiments.fleet.protocol import read_protocol

    plain = Asked()
    fixed = ("fast", "vehicles", "detector", "model", "data", "steps", "lr", "budget_mb")
    given = [f"--{name.replace('_', '-')}" for name in fixed if getattr(asked, name) != getattr(plain, name)]
    if given:
        raise InputError(f"expected what the board fixes to be left out beside --board, got {', '.join(given)}")
    track = read_protocol().track(asked.board or "")
    if asked.rounds is not None and asked.rounds > track.rounds:
        raise InputError(f"expected at most {track.rounds} rounds with --board {asked.board}, got {asked.rounds}")
    return track.settings


def notes(entries: Sequence[dict[str, Any]]) -> list[str]:
    """What was refused, and by whom."""
    lines = []
    for e in entries:
        for index, refused in e.get("refused", {}).items():
            lines += [f"{e['title']}, round {index}: {who} left out: {why}" for who, why in refused.items()]
    return lines[:20]


fleet = command_of(Asked, run)
