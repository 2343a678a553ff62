"""`python -m benchmarks.fleet_tolerances`: which steps consensus leaves out, honest ones and poisoned ones.

On data that no run of a fleet has: other drives of the six worlds (scene seeds 100 to 105, a fleet has 0 to 5), or with
`--track tiny-lm` other instructions. In every round each honest step, and what each attack makes of it, is laid beside
the verifier's own; the model goes on with the honest ones. A client's rounds add up, so each attack is a client that
always does the same. `turned` behaves for half of the rounds and reverses its steps after that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import Option, options
from robosac.experiments.fleet.domains import CACHE, DOMAINS, drives
from robosac.experiments.fleet.model import Model
from robosac.experiments.fleet.opening import base_of
from robosac.experiments.fleet.settings import FleetSettings, ids_of
from robosac.experiments.fleet.vehicles import open_world
from robosac.experiments.fleet.world import World
from robosac.fleet.adapters import Adapter, blank, cut, merge, minus
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.attackers import POISONS, Knowing
from robosac.fleet.consensus import Compared, Effects, Measure, Verified
from robosac.randomness import keyed_rng
from robosac.types import Id

FIRST_SEED = 100  # of scenes
TRAIN, VERIFY = slice(600, 1000), slice(60, 90)  # of instructions; a fleet has the first 400 and 30
HONEST, ODD, TURNED = "honest", "honest, the odd vehicle", "turned"


class Rounds:
    """A fleet's rounds, and what consensus says of every step that could be sent."""

    def __init__(self, world: World, settings: Verified) -> None:
        self.world, self.settings, self.rule = world, settings, FlexLora()
        self.before: list[Effects] = []
        self.standing: Adapter = blank(world.shapes)
        data = ("label-shift",) if world.settings.language else ("label-shift", "backdoor")
        able = [i for i in ids_of(world.settings) if i not in world.settings.odd]
        count = len(able) // 2
        self.poisoned = {a: world.of(replace(world.settings, attack=a, attackers=count)) for a in data}

    def sent(self, index: int, turned: bool) -> dict[tuple[str, Id], Adapter]:
        """Of one round: kind of step and client -> the step. The model goes on with the honest ones."""
        rule, seed, world = self.rule, self.world.settings.seed, self.world
        clients = list(world.clients())
        given = {c.id: cut(rule, self.standing, c.rank, seed) for c in clients}
        learnt = {c.id: c.update(given[c.id], index) for c in clients}
        updates = {(HONEST, i): a for i, a in learnt.items()}
        for (name, poison), (i, a) in product(POISONS.items(), learnt.items()):
            if i not in world.settings.odd and not isinstance(poison, Knowing):  # who knows the rule enters
                others = [b for k, b in learnt.items() if k != i]
                rng = keyed_rng("tolerances", name, i, index)
                updates[name, i] = poison.poison(given[i], a, others, rng)
                if turned and name == "sign-flip":
                    updates[TURNED, i] = updates[name, i]
        for name, other in self.poisoned.items():
            updates |= {(name, c.id): c.update(given[c.id], index) for c in other.clients() if c.id in other.attackers}
        self.merged = merge(rule, list(learnt.values()), [1 / len(clients)] * len(clients))
        return {key: minus(a, given[key[1]]) for key, a in updates.items()}

    def play(self, index: int, rounds: int) -> Compared:
        """One round: what is said of each step, by `kind:client`."""
        ranks = [c.rank for c in self.world.clients()]
        practice = [cut(self.rule, self.standing, r, self.world.settings.seed) for r in (min(ranks), max(ranks))]
        measure = Measure.practised(self.standing, self.world, practice, self.settings, index, tuple(self.before))
        steps = {f"{name}:{i}": step for (name, i), step in self.sent(index, index >= rounds // 2).items()}
        said = measure.compared(steps)
        known = dict(said.effects.clients)
        for key, effect in said.effects.clients.items():  # who turned was honest before
            if key.startswith(f"{HONEST}:") and index < rounds // 2:
                known[key.replace(HONEST, TURNED)] = effect
        self.before.append(Effects(known, said.effects.own))
        self.standing = self.merged
        return said


def row(name: str, rises: Sequence[float], large: Sequence[bool], out: Sequence[bool]) -> list[str]:
    """A line of the table, percent."""
    each = 100 * np.array(rises)
    shares = [f"{100 * float(np.mean(v)):.0f}" for v in (large, out)]
    return [name, str(len(each)), f"{np.median(each):+.2f}", f"{each.max():+.2f}", *shares]


def opened(track: str, cache: Path) -> World:
    """The fleet of the board's protocol on other data."""
    settings = replace(FleetSettings(), frames=(12, 2, 1))
    if track == "detector":
        model = Model.load(settings.detector)
        grid = model.settings.model.raster
        raw = {
            i: drives(DOMAINS[domain], grid, settings.frames, seed=FIRST_SEED + k, cache=cache)
            for k, (i, (domain, _)) in enumerate(zip(ids_of(settings), settings.vehicles, strict=True))
        }
        return open_world(settings, model=model, raw=raw)
    from robosac.experiments.fleet.language import LanguageWorld, open_model
    from robosac.language.domains import domain
    from robosac.language.items import Split

    base = replace(base_of("mean", "tiny-lm", None, budget_mb=100.0, fast=False), lr=0.003)
    splits = {}
    for name in dict.fromkeys(d for d, _ in base.vehicles):
        whole = domain(name, (TRAIN.stop, VERIFY.stop, 1))
        train, verify = whole.train[TRAIN] or whole.train, whole.verify[VERIFY] or whole.verify[-30:]
        splits[name] = Split(train, verify, whole.test)
    return LanguageWorld(open_model(base.language), base, splits)


def main() -> None:
    """Print the table."""
    asked = options(
        __doc__,
        track=Option("detector", choices=("detector", "tiny-lm")),
        rounds=Option(6),
        cache=Option(str(CACHE), "of simulated frames"),
    )
    torch.set_num_threads(1)
    world = opened(asked.track, Path(asked.cache))
    fleet = Rounds(world, Verified())
    seen: Mapping[str, tuple[list[float], list[bool], list[bool]]] = defaultdict(lambda: ([], [], []))
    allowed = []
    for index in range(asked.rounds):
        said = fleet.play(index, asked.rounds)
        fine = set(said.fine)
        for key, share in said.rises.items():
            name, _, client = key.partition(":")
            rises, large, out = seen[ODD if name == HONEST and client in world.settings.odd else name]
            rises.append(share)
            large.append(share > said.allowed)
            out.append(key not in fine)
        allowed.append(100 * said.allowed)
        print(f"round {index + 1} of {asked.rounds}", flush=True)
    columns = ["step", "steps", "rise: median %", "largest %", "above what is allowed %", "left out %"]
    for line in (columns, ["---", *["--:"] * (len(columns) - 1)], *(row(n, *v) for n, v in seen.items())):
        print("| " + " | ".join(line) + " |")
    print(f"allowed to rise alone, by the verifier's own steps: {min(allowed):.1f} to {max(allowed):.1f} %")


if __name__ == "__main__":
    main()
