"""A fleet without a model: clients whose adapters move toward a matrix of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robosac.fleet.adapters import Adapter
from robosac.fleet.lowrank import LowRankUpdate

SHAPES = {"first": (12, 20), "second": (16, 10)}


def target(seed: int = 0) -> dict[str, np.ndarray]:
    """What everybody should learn: a matrix of rank 3 a layer."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(m, 3)) @ rng.normal(size=(3, n)) for name, (m, n) in SHAPES.items()}


@dataclass
class Learner:
    """A client that takes steps of gradient descent toward a target. `fails`: the rounds in which it raises."""

    id: str
    rank: int
    samples: int = 10
    noise: float = 0.0
    fails: tuple[int, ...] = ()
    asked: int = 0

    def update(self, given: Adapter, round: int) -> Adapter:
        self.asked += 1
        if round in self.fails:
            raise RuntimeError("out of memory")
        made = {}
        rng = np.random.default_rng([len(self.id), round])
        for layer, goal in target().items():
            u = given[layer]
            wanted = goal + self.noise * rng.normal(size=goal.shape)
            b, a = u.b.astype(np.float64), u.a.astype(np.float64)
            for _ in range(10):
                error = u.scale * b @ a - wanted
                b, a = b - 0.1 / u.scale * error @ a.T, a - 0.005 * u.scale * b.T @ error
            made[layer] = LowRankUpdate(b, a, u.scale, u.samples)
        return made


@dataclass(frozen=True)
class Seen:
    """What a model shows: how far each layer is from the target."""

    losses: tuple[float, ...]

    @property
    def loss(self) -> float:
        return float(np.mean(self.losses))

    def agreement(self, reference: object) -> float:
        return 1.0


def verify(adapter: Adapter) -> Seen:
    """Mean squared distance from the target, layer by layer."""
    return Seen(tuple(float(np.mean((adapter[k].dense - goal) ** 2)) for k, goal in target().items()))


class Watcher:
    """The verifier: learns as a client does, with a little noise."""

    def __init__(self, noise: float = 0.1) -> None:
        self.noise = noise

    def verified(self, adapter: Adapter) -> Seen:
        return verify(adapter)

    def practised(self, given: Sequence[Adapter], round: int) -> dict[str, list[Adapter]]:
        names = ("verifier", "verifier-2")
        learners = [Learner(name, 1, noise=self.noise) for name in names[: len(given)]]
        return {"all": [learner.update(start, round) for learner, start in zip(learners, given, strict=True)]}
