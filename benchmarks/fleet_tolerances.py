"""`python -m benchmarks.fleet_tolerances`: how far steps raise the verifier's loss, honest ones and poisoned ones.

The tolerances of `robosac.fleet.consensus.Verified` were set after a look at `robosac fleet --fast`. Here they meet
scenes that no run of a fleet has: other drives of the same six worlds. In every round each honest step, and what each
attack makes of it, is added alone to the model as it stands, which goes on with the honest ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from robosac.experiments.fleet.domains import CACHE, DOMAINS, drives
from robosac.experiments.fleet.model import Model
from robosac.experiments.fleet.settings import FleetSettings, ids_of
from robosac.experiments.fleet.vehicles import World, open_world
from robosac.fleet.adapters import Adapter, blank, cut, merge, minus, moved
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.attackers import POISONS
from robosac.fleet.consensus import Verified
from robosac.randomness import keyed_rng

FIRST_SEED = 100  # of scenes; those of `robosac fleet` are 0 to 5


def rises(world: World, rounds: int) -> dict[str, list[float]]:
    """Who -> shares by which the verifier's loss rose, a step of a client in a round each; `merged`: of all honest."""
    rule, clients = FlexLora(), world.clients()
    standing: Adapter = blank(world.shapes)
    found: dict[str, list[float]] = {name: [] for name in ("merged", "honest", "odd", *POISONS)}
    for index in range(rounds):
        reference = world.verified(standing).loss
        given = {c.id: cut(rule, standing, c.rank, world.settings.seed) for c in clients}
        learnt = {c.id: c.update(given[c.id], index) for c in clients}
        for i, adapter in learnt.items():
            others = [a for k, a in learnt.items() if k != i]
            sent: dict[str, Adapter] = {"odd" if i in world.settings.odd else "honest": adapter}
            for name, poison in POISONS.items():
                sent[name] = poison.poison(given[i], adapter, others, keyed_rng("tolerances", name, i, index))
            for name, update in sent.items():
                loss = world.verified(moved(standing, minus(update, given[i]), 1.0)).loss
                found[name].append((loss - reference) / reference)
        standing = merge(rule, list(learnt.values()), [1 / len(clients)] * len(clients))
        found["merged"].append((world.verified(standing).loss - reference) / reference)
        print(f"round {index + 1} of {rounds}", flush=True)
    return found


def row(name: str, values: Sequence[float], limit: float) -> list[str]:
    """A line of the table, percent."""
    each = 100 * np.array(values)
    middle, high = np.median(each), np.quantile(each, 0.95)
    over = [100 * float(np.mean(each > 100 * share)) for share in (0.0, limit / 2, limit)]
    return [name, str(len(each)), f"{middle:+.2f}", f"{high:+.2f}", f"{each.max():+.2f}", *(f"{v:.0f}" for v in over)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--cache", type=Path, default=CACHE)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    settings = replace(FleetSettings(), frames=(6, 2, 1))
    model = Model.load(settings.detector)
    grid = model.settings.model.raster
    raw = {
        i: drives(DOMAINS[domain], grid, settings.frames, seed=FIRST_SEED + k, cache=asked.cache)
        for k, (i, (domain, _)) in enumerate(zip(ids_of(settings), settings.vehicles, strict=True))
    }
    found = rises(open_world(settings, model=model, raw=raw), asked.rounds)
    allowed = Verified()
    columns = ["who", "steps", "median %", "95 % of them below", "largest", "above 0", "above half", "above tolerance"]
    lines = [row(n, v, allowed.worse if n == "merged" else allowed.alone) for n, v in found.items() if v]
    for line in (columns, ["---", *["--:"] * (len(columns) - 1)], *lines):
        print("| " + " | ".join(line) + " |")
    print(
        f"tolerances: {100 * allowed.worse:g} % merged, {100 * allowed.alone:g} % alone; shares above them in percent"
    )


if __name__ == "__main__":
    main()
