"""The poses of several teammates and the objects that they see, at once: an agent-object pose graph.

Every box of an agent observes an object: its place and heading, seen from where the agent claims to be. Unknown are a
motion for each teammate and the place of each object; the ego's pose is given and does not move, whatever the others
say. Residuals are in standard deviations under a robust loss, claims included: a pose that is far off stops being
pulled back to its claim, and a box that is out of place stops pulling.

Source: the idea of an agent-object graph is CoAlign's (Lu et al., arXiv 2211.07214, section IV). There all poses are
free and boxes trusted; here the ego is fixed and the loss robust, since boxes and poses may be an attacker's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from robosac.boxes import wrap_angle
from robosac.poses.fitting import GATE, HONEST_DEG, HONEST_M, jacobian
from robosac.poses.hypotheses import half_turn
from robosac.poses.objects import ACROSS_M, ALONG_M, HEADING_DEG, Objects
from robosac.poses.offset import moved
from robosac.types import Float64, Id, Int64

_SOFT: Final = 2.0  # standard deviations from which on a residual loses its pull
_HEADING: Final = float(np.radians(HEADING_DEG))
_CLAIM: Final = np.array([1 / HONEST_M, 1 / HONEST_M, 1 / float(np.radians(HONEST_DEG))])


@dataclass(frozen=True, eq=False)
class Agent:
    """What a teammate shows, ego frame by its claim, where it claims to be, and the motion to begin with."""

    objects: Objects
    pivot: Float64  # (2,)
    start: Float64  # (3,) [x y yaw]


@dataclass(frozen=True, eq=False)
class Placed:
    """A teammate's motion `(3,)`, its covariance `(3, 3)`, and with whom (the ego: "") it shares how many objects."""

    vector: Float64
    covariance: Float64
    shares: Mapping[Id, int]


def solve(own: Objects, agents: Mapping[Id, Agent]) -> dict[Id, Placed]:
    """The motions of all teammates that share objects with anybody.

    Args:
        own: the ego's objects, ego frame.
        agents: the teammates, with motions near to the answer: those that were found one by one.
    """
    names = sorted(agents)
    cluster = _clusters(own, [agents[n] for n in names])
    graph = _Graph(own, [agents[n] for n in names], cluster)
    if not graph.objects:
        return {}
    found = least_squares(
        graph.residuals,
        graph.start(),
        jac=graph.slopes,
        loss="cauchy",
        f_scale=_SOFT,
        method="trf",
        x_scale="jac",
        max_nfev=30,
    )
    slopes = graph.slopes(found.x).toarray()
    left = graph.residuals(found.x)
    weighted = slopes / np.sqrt(1 + (left / _SOFT) ** 2)[:, None]  # at the optimum a robust loss is these weights
    covariance = np.linalg.pinv(weighted.T @ weighted)
    placed = {}
    for k, name in enumerate(names):
        shares = graph.shares(k, ["", *names])
        if shares:
            at = slice(3 * k, 3 * k + 3)
            placed[name] = Placed(found.x[at], covariance[at, at], shares)
    return placed


def _clusters(own: Objects, agents: Sequence[Agent]) -> list[Int64]:
    """For each agent, the ego first, which object each of its boxes shows, or -1: boxes of different agents are one
    object where they are each other's nearest; nearest pairs first, and never two boxes of one agent."""
    places = [own.xy, *(moved(a.objects.xy, a.start, a.pivot) for a in agents)]
    yaws = [own.yaw, *(a.objects.yaw + a.start[2] for a in agents)]
    pairs: list[tuple[float, tuple[int, int], tuple[int, int]]] = []
    reach = GATE * np.hypot(ALONG_M, ACROSS_M)
    for a in range(len(places)):
        for b in range(a + 1, len(places)):
            if not len(places[a]) or not len(places[b]):
                continue
            away = np.hypot(*(places[a][:, None] - places[b][None]).transpose(2, 0, 1))
            away = np.where(np.abs(half_turn(yaws[a][:, None] - yaws[b][None])) < np.radians(20), away, np.inf)
            mine, yours = away.argmin(axis=1), away.argmin(axis=0)
            rows = np.flatnonzero((yours[mine] == np.arange(len(mine))) & (away.min(axis=1) < reach))
            pairs += [(float(away[i, mine[i]]), (a, int(i)), (b, int(mine[i]))) for i in rows]
    group: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for _, one, other in sorted(pairs):
        joined = group.get(one, {one}) | group.get(other, {other})
        if len({agent for agent, _ in joined}) == len(joined):
            for box in joined:
                group[box] = joined
    numbers: dict[int, int] = {}
    shown = [np.full(len(p), -1, np.int64) for p in places]
    for box in sorted(group):
        shown[box[0]][box[1]] = numbers.setdefault(id(group[box]), len(numbers))
    return shown


class _Graph:
    """Residuals and slopes; unknown are `[x y yaw]` of each agent, then of each object."""

    def __init__(self, own: Objects, agents: Sequence[Agent], shown: Sequence[Int64]) -> None:
        self.agents, self.shown = agents, shown
        self.objects = 1 + max((int(s.max(initial=-1)) for s in shown), default=-1)
        owner = np.concatenate([np.full(int((s >= 0).sum()), k) for k, s in enumerate(shown)]).astype(np.int64)
        lists = [own, *(a.objects for a in agents)]
        self.owner = owner  # (n,) 0: the ego
        self.object = np.concatenate([s[s >= 0] for s in shown])
        self.xy = np.concatenate([o.xy[s >= 0] for o, s in zip(lists, shown, strict=True)])
        self.yaw = np.concatenate([o.yaw[s >= 0] for o, s in zip(lists, shown, strict=True)])
        self.weight = np.sqrt(np.concatenate([o.weight[s >= 0] for o, s in zip(lists, shown, strict=True)]))
        self.pivots = np.stack([np.zeros(2), *(a.pivot for a in agents)])

    def start(self) -> Float64:
        """The agents' motions, and each object where the first agent that shows it has it."""
        x = np.zeros(3 * (len(self.agents) + self.objects))
        for k, agent in enumerate(self.agents):
            x[3 * k : 3 * k + 3] = agent.start
        places, yaws = self._placed(x)
        base = 3 * len(self.agents)
        for k in reversed(range(len(self.owner))):
            at = base + 3 * int(self.object[k])
            x[at : at + 2], x[at + 2] = places[k], yaws[k]
        return x

    def _motions(self, x: Float64) -> Float64:
        """`(n, 3)`, that of each box's agent; none for the ego."""
        each: Float64 = np.vstack([np.zeros(3), x[: 3 * len(self.agents)].reshape(-1, 3)])[self.owner]
        return each

    def _placed(self, x: Float64) -> tuple[Float64, Float64]:
        each, pivot = self._motions(x), self.pivots[self.owner]
        cos, sin = np.cos(each[:, 2]), np.sin(each[:, 2])
        v = self.xy - pivot
        turned = np.stack([cos * v[:, 0] - sin * v[:, 1], sin * v[:, 0] + cos * v[:, 1]], axis=1)
        return turned + pivot + each[:, :2], np.asarray(wrap_angle(self.yaw + each[:, 2]))

    def _rows(self, x: Float64) -> tuple[Float64, Float64]:
        """Whitening `(n, 2, 2)` along and across each box's heading, and weight."""
        yaw = self.yaw + self._motions(x)[:, 2]
        cos, sin = np.cos(yaw), np.sin(yaw)
        white = np.stack([np.stack([cos, sin], 1) / ALONG_M, np.stack([-sin, cos], 1) / ACROSS_M], axis=1)
        return white * self.weight[:, None, None], self.weight / _HEADING

    def residuals(self, x: Float64) -> Float64:
        places, yaws = self._placed(x)
        marks = x[3 * len(self.agents) :].reshape(-1, 3)[self.object]
        white, turning = self._rows(x)
        steps = np.einsum("nij,nj->ni", white, marks[:, :2] - places)
        turns = turning * half_turn(marks[:, 2] - yaws)
        claims = x[: 3 * len(self.agents)].reshape(-1, 3) * _CLAIM
        return np.concatenate([steps.ravel(), turns, claims.ravel()])

    def slopes(self, x: Float64) -> Any:
        """Sparse, `(3 n + 3 A, 3 A + 3 L)`; how the whitening turns with an agent is left out, being small."""
        n, agents = len(self.owner), len(self.agents)
        places, _ = self._placed(x)
        white, turning = self._rows(x)
        each = self._motions(x)
        moving = -np.einsum("nij,njk->nik", white, jacobian(places - self.pivots[self.owner] - each[:, :2]))
        rows: list[Any] = []
        cols: list[Any] = []
        values: list[Any] = []

        def put(row: Any, col: Any, value: Any) -> None:
            for held, array in ((rows, row), (cols, col), (values, value)):
                held.append(np.ravel(array))

        theirs = np.flatnonzero(self.owner > 0)
        base = 3 * agents + 3 * self.object
        for i in range(2):
            for j in range(3):
                put(2 * theirs + i, 3 * (self.owner[theirs] - 1) + j, moving[theirs, i, j])
            for j in range(2):
                put(2 * np.arange(n) + i, base + j, white[:, i, j])
        put(2 * n + theirs, 3 * (self.owner[theirs] - 1) + 2, -turning[theirs])
        put(2 * n + np.arange(n), base + 2, turning)
        put(3 * n + np.arange(3 * agents), np.arange(3 * agents), np.tile(_CLAIM, agents))
        shape = (3 * n + 3 * agents, len(x))
        return csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=shape)

    def shares(self, k: int, names: Sequence[Id]) -> dict[Id, int]:
        """With whom agent `k` shares how many objects."""
        mine = set(self.shown[k + 1][self.shown[k + 1] >= 0].tolist())
        counts = {n: len(mine & set(s[s >= 0].tolist())) for n, s in zip(names, self.shown, strict=True)}
        return {n: c for n, c in counts.items() if c and n != names[k + 1]}
