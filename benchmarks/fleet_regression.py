"""Federated low-rank regression: what each rule makes of unequal ranks. `python -m benchmarks.fleet_regression`

Every client has inputs of its own and outputs `target @ x` without noise; the target has rank 16, the clients ranks
2, 2, 2, 4, 8 and 16. Shown: the relative error of the merged update, and the share of its first two directions in its
squared norm, which a target of equal directions has at 0.125. Directions above the smallest rank collapse where a rule
averages zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.machine import Option, options
from robosac.fleet.adapters import blank, cut, merge
from robosac.fleet.aggregation import AGGREGATIONS, Aggregation
from robosac.fleet.lowrank import LowRankUpdate, singular_values

RANKS: Final = (2, 2, 2, 4, 8, 16)
TRUE_RANK: Final = 16
ROWS: Final = {  # name -> rule, ranks
    "homogeneous lowest rank": ("fedavg-factors", (min(RANKS),) * len(RANKS)),
    "homogeneous highest rank": ("fedavg-factors", (max(RANKS),) * len(RANKS)),
    "HETLoRA": ("hetlora", RANKS),
    "FlexLoRA": ("flexlora", RANKS),
    "rank-weighted": ("rank-weighted", RANKS),
}


@dataclass(frozen=True)
class Setting:
    """Size of the layer, samples and steps of a client in a round, step length, decay of the target's directions."""

    size: int = 48
    samples: int = 256
    steps: int = 20
    lr: float = 0.05
    decay: float = 1.0


def target(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """`(m, m)` of rank 16, singular values 3, 3 decay, 3 decay^2, ..."""
    u, v = (np.linalg.qr(rng.normal(size=(setting.size, TRUE_RANK)))[0] for _ in range(2))
    return np.asarray((u * (3.0 * setting.decay ** np.arange(TRUE_RANK))) @ v.T)


def curve(
    rule: Aggregation, ranks: Sequence[int], setting: Setting, rounds: int, seed: int
) -> list[tuple[float, float]]:
    """Relative error and share of the first two directions after each round."""
    rng = np.random.default_rng(seed)
    goal = target(setting, rng)
    n = setting.samples
    inputs = [rng.normal(size=(setting.size, n)) for _ in ranks]
    covariances = [x @ x.T / n for x in inputs]
    merged = blank({"layer": goal.shape})
    found = []
    for _ in range(rounds):
        learnt = []
        for rank, covariance in zip(ranks, covariances, strict=True):
            given = cut(rule, merged, rank, seed, alpha=float(rank))["layer"]  # scale 1
            b, a = given.b.copy(), given.a.copy()
            for _ in range(setting.steps):
                error = (b @ a - goal) @ covariance
                b, a = b - setting.lr * error @ a.T, a - setting.lr * b.T @ error
            learnt.append({"layer": LowRankUpdate(b, a, 1.0, n)})
        merged = merge(rule, learnt, [1 / len(ranks)] * len(ranks))
        s = singular_values(merged["layer"]) ** 2
        apart = np.linalg.norm(merged["layer"].dense - goal) / np.linalg.norm(goal)
        found.append((float(apart), float(s[:2].sum() / s.sum())))
    return found


def main() -> None:
    args = options(__doc__, rounds=Option(30), seeds=Option((0, 1, 2)), decays=Option((1.0, 0.85), "of the target"))
    shown = sorted({1, 3, 12, args.rounds} & set(range(1, args.rounds + 1)))
    for decay in args.decays:
        setting = Setting(decay=decay)
        ideal = singular_values(LowRankUpdate(target(setting, np.random.default_rng(0)), np.eye(setting.size))) ** 2
        print(f"\ndecay {decay:g}; the target's own share {ideal[:2].sum() / ideal.sum():.3f}; mean over {args.seeds}")
        print("| rule | " + " | ".join(f"error, round {r} | share" for r in shown) + " |")
        print("|---|" + "--:|" * 2 * len(shown))
        for name, (rule, ranks) in ROWS.items():
            curves = np.mean([curve(AGGREGATIONS[rule], ranks, setting, args.rounds, s) for s in args.seeds], axis=0)
            print(f"| {name} | " + " | ".join(f"{curves[r - 1][0]:.3f} | {curves[r - 1][1]:.3f}" for r in shown) + " |")


if __name__ == "__main__":
    main()
