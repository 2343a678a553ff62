"""How the size of a perturbation is counted, and the ball of messages that a budget allows. Values: `Linf()`, `L2()`.

A norm is taken over all float arrays of one attacker's message together; every attacker has the whole budget. Searches
run in float32; what leaves a ball is rounded towards the honest message in the message's own float type, so that the
budget holds exactly when it is measured in float64 on what is sent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from robosac.attacks.base import difference
from robosac.attacks.features.problem import Key
from robosac.attacks.features.projection import Room, rooms
from robosac.types import Array, Codec, Id, Message

Rng: TypeAlias = Callable[..., np.random.Generator]  # a role -> its stream of random numbers


@runtime_checkable
class Norm(Protocol):
    """What a budget counts. Lists hold the arrays of one message."""

    @property
    def unit(self) -> str:
        """In words, for tables."""
        ...

    def size(self, moved: Sequence[Array]) -> float:
        """The norm of a perturbation, float64."""
        ...

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """The step of norm 1 along which a linear function with these slopes rises most; 0 where all slopes are 0."""
        ...

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        """The nearest perturbation of norm epsilon or less, up to float32."""
        ...

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        """A perturbation drawn from the ball of norm 1."""
        ...

    def spread(self, count: int) -> float:
        """Standard deviation of normal noise on `count` features that counts as noise of size 1."""
        ...


@dataclass(frozen=True, kw_only=True)
class Linf:
    """The largest change of a feature."""

    @property
    def unit(self) -> str:
        return "L-inf a feature"

    def size(self, moved: Sequence[Array]) -> float:
        return max((float(np.abs(d).max(initial=0.0)) for d in moved), default=0.0)

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        return [g.sign() for g in slopes]

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        return [d.clamp(-epsilon, epsilon) for d in moved]

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        return [rng.uniform(-1.0, 1.0, shape) for shape in shapes]

    def spread(self, count: int) -> float:
        return 1.0


@dataclass(frozen=True, kw_only=True)
class L2:
    """The root of the summed squares over all features of a message."""

    @property
    def unit(self) -> str:
        return "L2 a message"

    def size(self, moved: Sequence[Array]) -> float:
        return math.sqrt(sum(float(np.square(d, dtype=np.float64).sum()) for d in moved))

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        most = max((float(g.abs().max()) for g in slopes if g.numel()), default=0.0)
        if most == 0.0:
            return [torch.zeros_like(g) for g in slopes]
        scaled = [g / most for g in slopes]  # squares of slopes of 1e-25 would vanish in float32
        return [g / _length(scaled) for g in scaled]

    def shrink(self, moved: Sequence[Tensor], epsilon: float) -> list[Tensor]:
        length = _length(moved)
        return [d * (epsilon / length) for d in moved] if length > epsilon else list(moved)

    def random(self, shapes: Sequence[tuple[int, ...]], rng: np.random.Generator) -> list[Array]:
        drawn = [rng.standard_normal(shape) for shape in shapes]
        count = max(sum(d.size for d in drawn), 1)
        radius = rng.uniform() ** (1.0 / count)  # uniform in volume
        return [d * (radius / max(self.size(drawn), 1e-300)) for d in drawn]

    def spread(self, count: int) -> float:
        return 1.0 / math.sqrt(max(count, 1))


def _length(arrays: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(a.double().square().sum()) for a in arrays))


def spent(norm: Norm, honest: Message, sent: Sequence[Message]) -> float:
    """Size of what was added to one message; `inf` where it is not one message whose float arrays alone differ."""
    moved = difference(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if moved is None else norm.size(moved)


@dataclass(frozen=True, eq=False)
class Ball:
    """What the attackers of a frame may send: within a budget of what they honestly would, and valid.

    Lists of tensors are in the order of `keys`, one array of one attacker each.

    Attributes:
        norm: what the budget counts.
        epsilon: the budget of each attacker.
        clean: the honest arrays.
        allowed: for each the valid range, cut with what any perturbation of this norm can reach.
    """

    norm: Norm
    epsilon: float
    clean: Mapping[Key, Array]
    allowed: Mapping[Key, Room]

    @staticmethod
    def around(honest: Mapping[Id, Message], codec: Codec, norm: Norm, epsilon: float) -> Ball:
        """The ball around all float arrays of honest messages. No norm here is below its largest element."""
        allowed = {(i, n): room for i, m in honest.items() for n, room in rooms(m, codec, epsilon).items()}
        return Ball(norm, epsilon, {(i, n): honest[i].payload[n] for i, n in allowed}, allowed)

    @property
    def keys(self) -> list[Key]:
        return list(self.clean)

    @property
    def crew(self) -> list[list[int]]:
        """Places in `keys`, by attacker."""
        keys = self.keys
        return [[k for k, key in enumerate(keys) if key[0] == who] for who in dict.fromkeys(i for i, _ in keys)]

    def tensors(self, arrays: Mapping[Key, Array]) -> list[Tensor]:
        """Float32, apart from the arrays they are made of."""
        return [torch.from_numpy(np.array(arrays[k], dtype=np.float32)) for k in self.keys]

    def box(self) -> tuple[list[Tensor], list[Tensor]]:
        """Lower and upper bounds of every element."""
        lower = self.tensors({k: room.lower for k, room in self.allowed.items()})
        return lower, self.tensors({k: room.upper for k, room in self.allowed.items()})

    def steepest(self, slopes: Sequence[Tensor]) -> list[Tensor]:
        """Of every attacker a step of norm 1: they collude in the loss, not in the budget."""
        made = list(slopes)
        for places in self.crew:
            for place, step in zip(places, self.norm.steepest([slopes[p] for p in places]), strict=True):
                made[place] = step
        return made

    def project(self) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """A function that brings arrays back, up to float32: into the range first, then into the ball.

        The range holds the honest arrays, so that shrinking a perturbation does not leave it again.
        """
        clean, (lower, upper), crew = self.tensors(self.clean), self.box(), self.crew

        def back(arrays: Sequence[Tensor]) -> list[Tensor]:
            made = [x.clamp(lo, up) for x, lo, up in zip(arrays, lower, upper, strict=True)]
            if isinstance(self.norm, Linf):  # the box is the ball
                return made
            for places in crew:
                moved = self.norm.shrink([made[p] - clean[p] for p in places], self.epsilon)
                for place, d in zip(places, moved, strict=True):
                    made[place] = clean[place] + d
            return made

        return back

    def random(self, rng: Rng, *role: Any) -> list[Tensor]:
        """Somewhere in the ball, by the stream `rng(attacker, *role)`."""
        made: dict[Key, Array] = {}
        keys = self.keys
        for places in self.crew:
            mine = [keys[p] for p in places]
            drawn = self.norm.random([self.clean[k].shape for k in mine], rng(mine[0][0], *role))
            made |= {k: self.clean[k] + self.epsilon * d for k, d in zip(mine, drawn, strict=True)}
        return self.project()(self.tensors(made))

    def sendable(self, arrays: Sequence[Tensor]) -> dict[Key, Array]:
        """What is sent of these arrays: each in its own float type, in the ball and in the range exactly."""
        keys = self.keys
        made = {k: self.allowed[k].clip(x.detach().numpy()) for k, x in zip(keys, arrays, strict=True)}
        for places in self.crew:
            mine = [keys[p] for p in places]
            moved = [made[k].astype(np.float64) - self.clean[k].astype(np.float64) for k in mine]
            size = self.norm.size(moved)
            if size > self.epsilon:
                share = self.epsilon / size * (1.0 - 1e-12)  # the size itself is a rounded sum
                made |= {k: _added(self.clean[k], share * d) for k, d in zip(mine, moved, strict=True)}
        return made


def _added(clean: Array, moved: Array) -> Array:
    """`clean + moved` in the type of `clean`, no element further from it than `moved` (float64) says."""
    made = (clean.astype(np.float64) + moved).astype(clean.dtype)
    beyond = np.abs(made.astype(np.float64) - clean.astype(np.float64)) > np.abs(moved)
    return np.asarray(np.where(beyond, np.nextafter(made, clean), made))


PARTS: Final[Mapping[str, type[Any]]] = {"l2": L2, "linf": Linf}
