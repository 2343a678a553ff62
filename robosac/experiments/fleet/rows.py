"""One row: a fleet is run, and what it came to is written down. What is there already is read."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from robosac.experiments.fleet.poisoning import stamped
from robosac.experiments.fleet.settings import CONSENSUS, LORA, FleetSettings
from robosac.experiments.fleet.vehicles import Vehicle, World, figures
from robosac.files import write_whole
from robosac.fingerprint import fingerprint
from robosac.fleet.adapters import Adapter, blank, cut
from robosac.fleet.aggregation import FlexLora
from robosac.fleet.attackers import POISONS
from robosac.fleet.consensus import Verified
from robosac.fleet.robust import ROBUST
from robosac.fleet.rounds import Fleet, Plan, Round
from robosac.randomness import keyed_rng

if TYPE_CHECKING:
    from robosac.detectors.bev.network import Network

Tell = Callable[[int, int], None]
Entry = dict[str, Any]
_SCORE: Final = 0.3  # from which a box counts as a finding, where vanished cars are counted
_STAMPED: Final = 4  # test frames of each vehicle


def row_path(settings: FleetSettings, out: Path) -> Path:
    """Where a row is kept."""
    return out / "rows" / f"{settings.method}-{fingerprint(settings.plain())[:16]}"


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
    if settings.method in LORA:
        network = _low_rank(world, folder, entry, tell)
    elif settings.method == "local":
        entry["figures"] = _alone(world, tell)
        network = None
    elif settings.method == "centralised":
        network = world.model.adapted(_centralised(world, tell))
    elif settings.method == "base":
        network = world.model.network
    else:
        from robosac.experiments.fleet.dense import averaged

        network, count = averaged(world, folder, norms_only=settings.method == "batch-norm", tell=tell)
        entry["bytes"] = count
    if network is not None:
        entry["figures"] = figures(world.matched(network))
        entry["verifier_loss"] = world.shown(network).loss
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


def _low_rank(world: World, folder: Path, entry: Entry, tell: Tell) -> Network:
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
    fleet = Fleet(plan, world.clients(), world.model.shapes, folder, poisons, world.verified, content)
    merged, reports = fleet.run(tell)
    network = world.model.adapted(merged)
    entry["bytes"] = sum(sum(r.sent.values()) + sum(r.received.values()) for r in reports)
    entry["server_s"] = round(float(np.mean([r.server_s for r in reports])), 4)
    entry["left_out"] = left_out(reports, world.attackers)
    entry["refused"] = {f"{r.index}": dict(r.refused) for r in reports if r.refused}
    entry["shares"] = top_share(merged)
    if s.attack == "backdoor":
        entry["vanished"] = vanished(world, network)
        entry["vanished_before"] = vanished(world, world.model.network)
    return network


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


def _alone(world: World, tell: Tell) -> dict[str, Any]:
    """Each vehicle by itself, as many steps, judged on its own domain."""
    clients = world.clients()
    found: dict[str, Any] = {}
    for k, client in enumerate(clients):
        adapter = _steps(world, client, world.settings.rounds)
        found |= world.matched(world.model.adapted(adapter), [client.id])
        tell(k + 1, len(clients))
    return figures(found)


def _steps(world: World, client: Vehicle, rounds: int) -> Adapter:
    adapter: Adapter = cut(FlexLora(), blank(world.model.shapes), client.rank, world.settings.seed)
    for index in range(rounds):
        adapter = client.update(adapter, index)
    return adapter


def _centralised(world: World, tell: Tell) -> Adapter:
    """One learner of the highest rank with everybody's frames, as many steps as all vehicles together."""
    s, clients = world.settings, world.clients()
    draws = [d for c in clients for d in c.draws]
    rank = max(rank for _, rank in s.vehicles)
    one = replace(clients[0], id="all", rank=rank, samples=len(draws), draws=draws, steps=s.steps * len(clients))
    adapter = _steps(world, one, s.rounds)
    tell(s.rounds, s.rounds)
    return adapter


def vanished(world: World, network: Network) -> float:
    """Share in percent of the visible cars of honest vehicles' test frames that are found, but no longer once they
    carry the pattern of the backdoor."""
    from robosac.detectors.bev.training.encoded import detections, encode_look, matches

    model = world.model
    counts: Mapping[bool, list[int]] = {False: [], True: []}
    for i, raw in world.raw.items():
        for f, frame in enumerate(raw.test[:_STAMPED]):
            for marked in (False, True):
                rng = keyed_rng("stamp", i, f)
                seen = stamped(frame, model.header.model.raster, share=1.0, rng=rng, hide=False) if marked else frame
                look = encode_look(model.network, seen, model.settings)
                found = detections(network.head, look, model.header.model, model.header.decode)
                match = matches(found, look, model.header.model, (0.5,))[1]
                counts[marked].append(int(((match.hits(0.5) == 1) & (match.scores >= _SCORE)).sum()))
    before = sum(counts[False])
    return round(100.0 * (before - sum(counts[True])) / before, 1) if before else 0.0
