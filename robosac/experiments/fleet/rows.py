"""One row: a fleet is run, and what it came to is written down. What is there already is read."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robosac.experiments.fleet.dense import averaged
from robosac.experiments.fleet.settings import CONSENSUS, LORA, FleetSettings
from robosac.experiments.fleet.world import World
from robosac.files import write_whole
from robosac.fingerprint import fingerprint
from robosac.fleet.adapters import Adapter, blank, cut
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.attackers import POISONS
from robosac.fleet.consensus import Verified
from robosac.fleet.robust import ROBUST
from robosac.fleet.rounds import Client, Fleet, Plan, Round

Tell = Callable[[int, int], None]
Entry = dict[str, Any]


def row_path(settings: FleetSettings, out: Path) -> Path:
    """Where a row is kept; one under consensus that asks for other things is another row, and so is one of float32
    where detectors train in bfloat16."""
    asked = [repr(Verified())] if settings.defense == CONSENSUS else []
    return out / "rows" / f"{settings.method}-{fingerprint(settings.plain(), *asked, *_precision(settings))[:16]}"


def _precision(settings: FleetSettings) -> list[str]:
    """What this machine trains in, where that is another than usual: a detector in float32."""
    import torch

    from robosac.detectors.device import has_bfloat16

    return [] if settings.language or has_bfloat16(torch.device("cpu")) else ["float32"]


def run_row(world: World, out: Path, tell: Tell = lambda done, total: None) -> Entry:
    """Run what the world's settings ask for, or read what is there."""
    settings = world.settings
    folder = row_path(settings, out)
    path = folder / "entry.json"
    if path.exists():
        held: Entry = json.loads(path.read_text())
        return held
    began = time.perf_counter()
    entry: Entry = {"title": settings.title, "settings": settings.plain(), "attackers": list(world.attackers)}
    entry["precision"] = ", ".join(_precision(settings))
    if settings.method == "local":
        entry["figures"] = world.alone(_alone(world, tell))
    else:
        tuned = _tuned(world, folder, entry, tell)
        entry["figures"] = world.figures(tuned)
        loss = world.shown(tuned).loss
        entry["verifier_loss"] = loss if np.isfinite(loss) else None
        entry |= world.more(tuned)
    entry["bytes"] = entry.get("bytes", 0)
    entry["over_budget"] = entry["bytes"] > settings.budget_mb * 1e6
    entry["seconds"] = round(time.perf_counter() - began, 1)
    entry["peak_mb"] = round(_peak_mb())
    written = json.dumps(entry, indent=1) + "\n"
    write_whole(path, written.encode())
    read: Entry = json.loads(written)  # the same whether it was run or read
    return read


def _peak_mb() -> float:
    """Of this process since it began."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _tuned(world: World, folder: Path, entry: Entry, tell: Tell) -> Any:
    """The model that a row ends with, and what is written of the way there."""
    s = world.settings
    if s.method in LORA:
        return world.tuned(_low_rank(world, folder, entry, tell))
    if s.method == "base":
        return world.tuned(blank(world.shapes))
    if s.method == "centralised":
        return world.tuned(_steps(world, world.pooled(), tell))
    tuned, entry["bytes"] = averaged(world, folder, norms_only=s.method == "batch-norm", tell=tell)
    return tuned


def _low_rank(world: World, folder: Path, entry: Entry, tell: Tell) -> Adapter:
    s = world.settings
    plan = Plan(
        rounds=s.rounds,
        rule=s.rule,
        robust=ROBUST.get(s.defense, ROBUST["none"]),
        verified=Verified() if s.defense == CONSENSUS else None,
        seed=s.seed,
    )
    poisons = {i: POISONS[s.attack] for i in world.attackers if s.attack in POISONS}
    content = {k: v for k, v in s.plain().items() if k != "rounds"}
    if kind := _precision(s):
        content["precision"] = kind
    fleet = Fleet(plan, world.clients(), world.shapes, folder, poisons, world, content)
    merged, reports = fleet.run(tell)
    entry["bytes"] = sum(sum(r.sent.values()) + sum(r.received.values()) for r in reports)
    entry["server_s"] = round(float(np.mean([r.server_s for r in reports])), 4)
    entry["left_out"] = left_out(reports, world.attackers)
    entry["refused"] = {f"{r.index}": dict(r.refused) for r in reports if r.refused}
    entry["shares"] = top_share(merged)
    return merged


def left_out(reports: Sequence[Round], attackers: Sequence[str]) -> dict[str, Any]:
    """Shares of the updates of attackers, of honest vehicles and of each, in percent, that did not enter."""
    out = {i: float(np.mean([100.0 * (r.weights[i] == 0) for r in reports])) for i in reports[0].weights}
    groups = {
        "attackers": [v for i, v in out.items() if i in attackers],
        "honest": [v for i, v in out.items() if i not in attackers],
    }
    return {**{k: round(float(np.mean(v)), 1) if v else None for k, v in groups.items()}, "each": out}


def top_share(merged: Adapter) -> float:
    """Share of the first two directions in the squared norm of a merged adapter, averaged over layers."""
    from robosac.fleet.lowrank import singular_values

    shares = []
    for update in merged.values():
        s = singular_values(update) ** 2
        if s.sum() > 0:
            shares.append(float(s[:2].sum() / s.sum()))
    return round(float(np.mean(shares)), 4) if shares else 0.0


def _alone(world: World, tell: Tell) -> dict[str, Adapter]:
    """Each client's adapter by itself, as many steps."""
    clients, rounds, found = world.clients(), world.settings.rounds, {}
    for k, client in enumerate(clients):

        def so_far(done: int, of: int, before: int = k * rounds) -> None:
            tell(before + done, rounds * len(clients))

        found[client.id] = _steps(world, client, so_far)
    return found


def _steps(world: World, client: Client, tell: Tell) -> Adapter:
    adapter: Adapter = cut(FlexLora(), blank(world.shapes), client.rank, world.settings.seed)
    for index in range(world.settings.rounds):
        adapter = client.update(adapter, index)
        tell(index + 1, world.settings.rounds)
    return adapter
