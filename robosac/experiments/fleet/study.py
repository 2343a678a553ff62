"""Rows over seeds: what `robosac fleet` runs. Each is kept whole and run once; a stopped one goes on in its round."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from robosac.experiments.fleet.domains import CACHE
from robosac.experiments.fleet.opening import open_fleet
from robosac.experiments.fleet.rows import row_path, run_row
from robosac.experiments.fleet.settings import FleetSettings
from robosac.experiments.fleet.world import World
from robosac.fingerprint import fingerprint

Tell = Callable[[int, int], None]
ROUNDS_OF: Final = {"base": 1}  # what a row counts for in the bar, else its rounds


@dataclass(frozen=True, kw_only=True)
class Study:
    """What rows there are.

    Attributes:
        base: settings that all share.
        methods: rows without attackers.
        attacks, attackers, defenses: rows with them, of the base's method: every attack with every number and defence.
        honest: defences of a fleet without attackers.
        seeds: of every row.
    """

    base: FleetSettings
    methods: Sequence[str] = ("base", "lowest", "flexlora")
    attacks: Sequence[str] = ()
    attackers: Sequence[int] = (1,)
    defenses: Sequence[str] = ("none", "consensus")
    honest: Sequence[str] = ()
    seeds: Sequence[int] = (0,)

    @property
    def rows(self) -> list[FleetSettings]:
        """All rows, those of one title together."""
        return [replace(row, seed=seed) for row in self._titles() for seed in self.seeds]

    def _titles(self) -> Iterator[FleetSettings]:
        for method in self.methods:
            yield replace(self.base, method=method)
        for defense in self.honest:
            yield replace(self.base, defense=defense)
        for attack in self.attacks:
            for count in self.attackers:
                for defense in self.defenses:
                    yield replace(self.base, attack=attack, attackers=count, defense=defense)

    @property
    def protocol(self) -> str:
        """A hash of what no row may change: who drives where, ranks, frames, rounds, steps and the budget."""
        b = self.base
        frozen = (b.detector, b.language, b.content, b.vehicles, b.frames, b.rounds, b.steps, b.lr, b.budget_mb)
        return fingerprint(*map(repr, frozen))


def run_study(
    study: Study, out: Path, *, cache: Path = CACHE, tell: Tell = lambda done, total: None
) -> list[dict[str, Any]]:
    """Run what is missing. Returns an entry a row. `tell(rounds done, of all)`, opening the frames included."""
    rows = study.rows
    opening = 2 * len(study.base.vehicles)
    sizes = [ROUNDS_OF.get(s.method, s.rounds) for s in rows]
    total, done = opening + sum(sizes), opening
    world: World | None = None
    entries = []
    for settings, size in zip(rows, sizes, strict=True):
        path = row_path(settings, out) / "entry.json"
        if path.exists():
            entries.append(json.loads(path.read_text()))
        else:
            world = world or open_fleet(study.base, cache=cache, tell=lambda now, _: tell(now, total))
            share = partial_tell(tell, done, size, total)
            entries.append(run_row(world.of(settings), out, share))
        done += size
        tell(done, total)
    return entries


def partial_tell(tell: Tell, before: int, size: int, total: int) -> Tell:
    """A row's share of the whole."""
    return lambda now, of: tell(before + now * size // max(of, 1), total)
