"""What the attackers of a frame may send: the honest messages, the budget around them, and what the codec allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.attacks.features.descent import Key, Projection
from robosac.attacks.features.norms import Linf, Norm
from robosac.attacks.features.projection import FeasibleSet, Reaches, feasible_sets
from robosac.types import Array, Codec, Id, Message

Rng: TypeAlias = Callable[..., np.random.Generator]  # a role -> its stream of random numbers


@dataclass(frozen=True, eq=False)
class Ball:
    """Within a budget of what the attackers honestly would send, and valid.

    Lists of tensors are in the order of `keys`, one array of one attacker each. Searches run in float32; what leaves is
    rounded towards the honest message in the message's own float type, so that the budget holds exactly when it is
    measured in float64 on what is sent.

    Attributes:
        norm: what the budget counts.
        epsilon: the budget of each attacker.
        clean: the honest arrays.
        allowed: for each the valid range, cut with what any perturbation of this norm can reach.
    """

    norm: Norm
    epsilon: float
    clean: Mapping[Key, Array]
    allowed: Mapping[Key, FeasibleSet]

    @staticmethod
    def around(
        honest: Mapping[Id, Message],
        codec: Codec,
        norm: Norm,
        epsilon: float,
        reach: Mapping[Id, Reaches] | None = None,
    ) -> Ball:
        """The ball around all float arrays of honest messages. No norm here is below its largest element.

        `reach` says by attacker how far features may move, at most `epsilon`, where that differs between them.
        """
        allowed = {
            (i, n): found
            for i, m in honest.items()
            for n, found in feasible_sets(m, codec, epsilon if reach is None else reach[i]).items()
        }
        return Ball(norm, epsilon, {(i, n): honest[i].payload[n] for i, n in allowed}, allowed)

    @property
    def keys(self) -> list[Key]:
        return list(self.clean)

    @property
    def places(self) -> list[list[int]]:
        """Places in `keys`, by attacker."""
        keys = self.keys
        return [[k for k, key in enumerate(keys) if key[0] == who] for who in dict.fromkeys(i for i, _ in keys)]

    def tensors(self, arrays: Mapping[Key, Array]) -> list[Tensor]:
        """Float32, apart from the arrays they are made of."""
        return [torch.from_numpy(np.array(arrays[k], dtype=np.float32)) for k in self.keys]

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """Of every attacker a step of norm 1: they collude in the loss, not in the budget."""
        made = list(slopes)
        for places in self.places:
            for place, step in zip(places, self.norm.steepest([slopes[p] for p in places]), strict=True):
                made[place] = step
        return made

    def project(self) -> Projection:
        """A function that brings arrays back, up to float32: into the range first, then into the ball.

        The range holds the honest arrays, so that shrinking a perturbation does not leave it again.
        """
        clean, by_attacker = self.tensors(self.clean), self.places
        lower = self.tensors({k: found.lower for k, found in self.allowed.items()})
        upper = self.tensors({k: found.upper for k, found in self.allowed.items()})

        def back(arrays: Sequence[Tensor]) -> list[Tensor]:
            made = [x.clamp(lo, up) for x, lo, up in zip(arrays, lower, upper, strict=True)]
            if isinstance(self.norm, Linf):  # the box is the ball
                return made
            for places in by_attacker:
                moved = self.norm.shrink([made[p] - clean[p] for p in places], self.epsilon)
                for place, d in zip(places, moved, strict=True):
                    made[place] = clean[place] + d
            return made

        return back

    def random(self, rng: Rng, *role: Any) -> list[Tensor]:
        """Somewhere in the ball, by the stream `rng(attacker, *role)`."""
        made: dict[Key, Array] = {}
        keys = self.keys
        for places in self.places:
            mine = [keys[p] for p in places]
            drawn = self.norm.random([self.clean[k].shape for k in mine], rng(mine[0][0], *role))
            made |= {k: self.clean[k] + self.epsilon * d for k, d in zip(mine, drawn, strict=True)}
        return self.project()(self.tensors(made))

    def sendable(self, arrays: Sequence[Tensor]) -> dict[Key, Array]:
        """What is sent of these arrays: each in its own float type, in the ball and in the range exactly."""
        keys = self.keys
        made = {k: self.allowed[k].clip(x.detach().numpy()) for k, x in zip(keys, arrays, strict=True)}
        for places in self.places:
            mine = [keys[p] for p in places]
            moved = [made[k].astype(np.float64) - self.clean[k].astype(np.float64) for k in mine]
            size = self.norm.size(moved)
            if size > self.epsilon:
                share = self.epsilon / size * (1.0 - 1e-12)  # the size itself is a rounded sum
                made |= {k: _added(self.clean[k], share * d) for k, d in zip(mine, moved, strict=True)}
        return made

    def messages(self, honest: Mapping[Id, Message], arrays: Sequence[Tensor]) -> list[Message]:
        """The honest messages with these arrays in place of their own."""
        sent = self.sendable(arrays)
        return [m.with_payload(**{n: array for (i, n), array in sent.items() if i == who}) for who, m in honest.items()]


def _added(clean: Array, moved: Array) -> Array:
    """`clean + moved` in the type of `clean`, no element further from it than `moved` (float64) says."""
    made = (clean.astype(np.float64) + moved).astype(clean.dtype)
    beyond = np.abs(made.astype(np.float64) - clean.astype(np.float64)) > np.abs(moved)
    return np.asarray(np.where(beyond, np.nextafter(made, clean), made))
