"""Poisoned low-rank regression: every attack on the model against every defence. `python -m benchmarks.fleet_poisoning`

Six clients of ranks 2, 2, 4, 4, 8, 16 learn matrices that share most of what they hold: a common one of rank 8, and for
each client a part of its own of a tenth of its norm, a third for the odd one (the last, which never attacks). What
they see is noisy. The verifier knows a little of every client's matrix; there are no detections here, so consensus
rests on losses alone. Shown: the relative error of the merged model on the common matrix after the run, the mean of the
seeds, and the share of updates of attackers and of honest clients that did not enter, the odd one's among them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.machine import Option, options
from robosac.fleet.adapters import Adapter
from robosac.fleet.aggregation import AGGREGATIONS
from robosac.fleet.attackers import POISONS
from robosac.fleet.consensus import Verified
from robosac.fleet.lowrank import LowRankUpdate
from robosac.fleet.robust import ROBUST, MultiKrum
from robosac.fleet.rounds import Fleet, Plan, Round

RANKS: Final = (2, 2, 4, 4, 8, 16)
SIZE: Final = 40
LAYER: Final = "layer"
CONSENSUS: Final = "consensus"
DEFENSES: Final = (*ROBUST, CONSENSUS)


def product(rng: np.random.Generator, rank: int) -> np.ndarray:
    """A matrix of a rank, of norm 1."""
    made = rng.normal(size=(SIZE, rank)) @ rng.normal(size=(rank, SIZE))
    return np.asarray(made / np.linalg.norm(made))


@dataclass(frozen=True)
class Learner:
    """A client that sees its matrix through noisy samples, other ones in each round."""

    id: str
    rank: int
    goal: np.ndarray
    seed: int
    samples: int = 100
    noise: float = 0.02
    steps: int = 10
    lr: float = 0.2

    def update(self, given: Adapter, round: int) -> Adapter:
        """As `robosac.fleet.rounds.Client`."""
        u = given[LAYER]
        rng = np.random.default_rng([self.seed, round])
        inputs = rng.normal(size=(SIZE, self.samples))
        seen = self.goal @ inputs + self.noise * rng.normal(size=(SIZE, self.samples))
        b, a = u.scale * u.b.astype(np.float64), u.a.astype(np.float64)
        for _ in range(self.steps):
            slope = (b @ a @ inputs - seen) @ inputs.T / self.samples
            b, a = b - self.lr * slope @ a.T, a - self.lr * b.T @ slope
        return {LAYER: LowRankUpdate(b / u.scale, a, u.scale, u.samples)}


@dataclass(frozen=True)
class Seen:
    """Mean squared error on what the verifier knows."""

    losses: tuple[float, ...]

    @property
    def loss(self) -> float:
        """Of all clients' matrices."""
        return float(np.mean(self.losses))

    def agreement(self, reference: object) -> float:
        """No detections: nothing to disagree on."""
        return 1.0


@dataclass(frozen=True)
class Task:
    """One seed's matrices and clients."""

    common: np.ndarray
    clients: Sequence[Learner]
    seed: int

    @staticmethod
    def draw(seed: int) -> Task:
        rng = np.random.default_rng(seed)
        common = product(rng, 8)
        own = [0.1] * (len(RANKS) - 1) + [1 / 3]
        clients = [
            Learner(f"car-{k}", rank, common + share * product(rng, 2), seed * 10 + k)
            for k, (rank, share) in enumerate(zip(RANKS, own, strict=True))
        ]
        return Task(common, clients, seed)

    def verified(self, adapter: Adapter) -> Seen:
        """On noisy samples of every client's matrix, the same each time."""
        rng = np.random.default_rng([self.seed, 99])
        dense = adapter[LAYER].dense
        losses = []
        for client in self.clients:
            inputs = rng.normal(size=(SIZE, 20))
            seen = client.goal @ inputs + client.noise * rng.normal(size=(SIZE, 20))
            losses.append(float(np.mean((dense @ inputs - seen) ** 2)))
        return Seen(tuple(losses))

    def practised(self, given: Sequence[Adapter], round: int) -> dict[str, list[Adapter]]:
        """What the verifier learns of each client's matrix from its own samples, ten for each of two starts."""
        return {
            c.id: [
                replace(c, id=f"verifier-{k}", seed=self.seed * 10 + 1000 * (k + 1) + n, samples=10).update(start, 0)
                for k, start in enumerate(given)
            ]
            for n, c in enumerate(self.clients)
        }

    def run(
        self, rounds: int, defense: str, attack: str, attackers: int, rule: str = "flexlora"
    ) -> tuple[float, Mapping[str, float | None]]:
        """Relative error on the common matrix, and percent left out of attackers and honest clients."""
        chosen = [f"car-{int(k)}" for k in np.random.default_rng([self.seed, 7]).permutation(len(RANKS) - 1)][
            :attackers
        ]
        robust = (
            MultiKrum(attackers=max(attackers, 1)) if defense == "multi-krum" else ROBUST.get(defense, ROBUST["none"])
        )
        plan = Plan(rounds=rounds, rule=AGGREGATIONS[rule], robust=robust, seed=self.seed)
        plan = replace(plan, verified=Verified() if defense == CONSENSUS else None)
        poisons = dict.fromkeys(chosen, POISONS[attack]) if chosen else {}
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(plan, self.clients, {LAYER: (SIZE, SIZE)}, Path(folder), poisons, self)
            merged, reports = fleet.run()
        error = np.linalg.norm(merged[LAYER].dense - self.common) / np.linalg.norm(self.common)
        return float(error), left_out(reports, chosen)


def left_out(reports: Sequence[Round], attackers: Sequence[str]) -> dict[str, float | None]:
    """Percent of the updates of each group that did not enter."""
    groups: dict[str, list[bool]] = {"attackers": [], "honest": []}
    for report in reports:
        for client, weight in report.weights.items():
            groups["attackers" if client in attackers else "honest"].append(weight == 0)
    return {name: 100 * float(np.mean(out)) if out else None for name, out in groups.items()}


def main() -> None:
    args = options(
        __doc__,
        rounds=Option(20),
        seeds=Option((0, 1, 2)),
        attackers=Option((1, 2)),
        attack=Option(tuple(POISONS), "which ones", choices=tuple(POISONS)),
        rule=Option("flexlora", choices=tuple(AGGREGATIONS)),
    )
    tasks = [Task.draw(seed) for seed in args.seeds]
    cases = [("", 0), *((attack, count) for count in args.attackers for attack in args.attack)]
    print(f"{args.rule}, {args.rounds} rounds, seeds {args.seeds}; error, attackers / honest left out in percent")
    print("| attack | " + " | ".join(DEFENSES) + " |\n|---|" + "--:|" * len(DEFENSES))
    for attack, count in cases:
        cells = []
        for defense in DEFENSES:
            found = [task.run(args.rounds, defense, attack, count, args.rule) for task in tasks]
            shares = [
                "–"
                if None in (values := [out[who] for _, out in found])
                else f"{np.mean([v or 0 for v in values]):.0f}"
                for who in ("attackers", "honest")
            ]
            cells.append(f"{np.mean([e for e, _ in found]):.3f}, {shares[0]} / {shares[1]}")
        print(f"| {f'{count} x {attack}' if count else 'none'} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
