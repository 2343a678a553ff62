"""The fleet on the shipped detector, over seeds, attacks and defences. `python -m benchmarks.fleet_study`

Every row is kept under `--out` and is not run again; a run that is stopped goes on within its round. The tables are
those of docs/fleet.md.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import Option, options
from robosac.executors import set_threads
from robosac.experiments.fleet.board import table, to_markdown
from robosac.experiments.fleet.poisoning import DATA_ATTACKS
from robosac.experiments.fleet.rows import row_path, run_row
from robosac.experiments.fleet.settings import ATTACKS, DEFENSES, METHODS, FleetSettings
from robosac.experiments.fleet.vehicles import World, attackers_of, open_world


def wanted(base: FleetSettings, args: Any) -> list[FleetSettings]:
    """The rows of one seed, the most telling first."""
    rows = [replace(base, method=m) for m in args.methods]
    for attack in args.attacks:
        for count in args.attackers:
            rows += [replace(base, attack=attack, attackers=count, defense=d) for d in args.defenses]
    rows += [replace(base, defense=d) for d in args.honest]
    return rows


def main() -> None:
    args = options(
        __doc__,
        methods=Option(("base", "lowest", "flexlora"), "rows without attackers", choices=METHODS),
        attacks=Option((), "attacks on FlexLoRA", choices=ATTACKS, kind=str),
        attackers=Option((1,), "of the vehicles"),
        defenses=Option(("none", "consensus"), "against them", choices=DEFENSES),
        honest=Option((), "defences of a fleet without attackers", choices=DEFENSES, kind=str),
        seeds=Option((0, 1, 2), "of draws and attackers"),
        rounds=30,
        steps=4,
        lr=1e-3,
        out=Option(Path("runs/fleet-study"), "folder where rows are kept"),
        cache=Option(Path("runs/cache"), "folder of simulated frames"),
        print_only=False,
    )
    set_threads(1)
    entries: list[dict[str, Any]] = []
    world: World | None = None
    rows = [wanted(FleetSettings(rounds=args.rounds, steps=args.steps, lr=args.lr, seed=s), args) for s in args.seeds]
    for settings in (row for of_all_seeds in zip(*rows, strict=True) for row in of_all_seeds):
        path = row_path(settings, args.out) / "entry.json"
        if not path.exists() and not args.print_only:
            world = world or opened(settings, args.cache)
            run_row(of_row(world, settings), args.out)
        if path.exists():
            entries.append(json.loads(path.read_text()))
            print(f"seed {settings.seed} {settings.title}: {_line(entries[-1])}", flush=True)
    print("\n" + to_markdown(table(entries)))


def opened(settings: FleetSettings, cache: Path) -> World:
    """The frames of all rows."""
    return open_world(replace(settings, attack="", attackers=0, method="base", defense="none"), cache=cache)


def of_row(world: World, settings: FleetSettings) -> World:
    """The same frames with a row's settings, the attackers' own as their attack makes them."""
    changed = replace(world, settings=settings, attackers=attackers_of(settings))
    return changed.poisoned() if settings.attack in DATA_ATTACKS else changed


def _line(entry: dict[str, Any]) -> str:
    return f"{entry['figures']['all']} {entry.get('left_out', {})} {entry['bytes']} bytes, {entry['seconds']} s"


if __name__ == "__main__":
    main()
