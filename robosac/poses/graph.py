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
from typing import Final

import numpy as np

from robosac.boxes import wrap_angle
from robosac.poses.hypotheses import half_turn
from robosac.poses.objects import ACROSS_M, ALONG_M, HEADING_DEG, Objects
from robosac.poses.offset import moved
from robosac.poses.refining import GATE, HONEST_DEG, HONEST_M, jacobian
from robosac.types import Float64, Id, Int64

_SOFT: Final = 2.0  # standard deviations from which on a residual loses its pull
_ROUNDS: Final = 60
_STILL: Final = 1e-7  # metres and radians: steps that short end the search
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
    x = _settled(graph)
    covariance = np.linalg.inv(_reduced(graph, x)[0])
    placed = {}
    for k, name in enumerate(names):
        shares = graph.shares(k, ["", *names])
        if shares:
            at = slice(3 * k, 3 * k + 3)
            placed[name] = Placed(x[at], covariance[at, at], shares)
    return placed


def _settled(graph: _Graph) -> Float64:
    """Where the robust loss is least: Gauss-Newton steps under the weights of the last ones, each no longer than it
    helps."""
    x = graph.start()
    loss = graph.loss(x)
    for _ in range(_ROUNDS):
        step, share = _step(graph, x), 1.0
        while (after := graph.loss(x + share * step)) > loss and share > 1e-3:
            share /= 2
        if after > loss:
            break
        x, loss = x + share * step, after
        if np.abs(share * step).max() < _STILL:
            break
    return x


def _reduced(graph: _Graph, x: Float64) -> tuple[Float64, Float64, Float64, Float64, Float64]:
    """The normal equations at `x` without the objects (Schur's complement): information `(3 A, 3 A)` of the agents and
    its right side, then what gives the objects back: the blocks between `(L, 3, 3 A)`, inverses of the objects' own
    `(L, 3, 3)`, and their right sides `(L, 3)`."""
    left, by_agent, by_object = graph.linear(x)
    weight = graph.robust(left)
    agents, objects = len(graph.agents), graph.objects
    weighted = by_object * weight[:, :, None]
    own, right = np.zeros((objects, 3, 3)), np.zeros((objects, 3))
    np.add.at(own, graph.object, weighted.transpose(0, 2, 1) @ by_object)
    np.add.at(right, graph.object, -(weighted * left[:, :, None]).sum(axis=1))
    claims = x[: 3 * agents].reshape(-1, 3) * _CLAIM
    held = graph.robust(claims)
    normal, slope = np.zeros((3 * agents, 3 * agents)), (-held * claims * _CLAIM).ravel()
    normal[np.diag_indices(3 * agents)] = (held * _CLAIM**2).ravel()
    between = np.zeros((objects, 3, 3 * agents))
    for k in range(agents):
        at, mine = slice(3 * k, 3 * k + 3), graph.owner == k + 1
        moving = by_agent[mine] * weight[mine][:, :, None]
        normal[at, at] += np.einsum("nij,nik->jk", moving, by_agent[mine])
        slope[at] -= np.einsum("nij,ni->j", moving, left[mine])
        between[graph.object[mine], :, at] = weighted[mine].transpose(0, 2, 1) @ by_agent[mine]
    inverse = np.linalg.inv(own)
    seen = inverse @ between
    normal -= np.tensordot(between, seen, axes=([0, 1], [0, 1]))
    slope -= np.tensordot(seen, right, axes=([0, 1], [0, 1]))
    return normal, slope, between, inverse, right


def _step(graph: _Graph, x: Float64) -> Float64:
    normal, slope, between, inverse, right = _reduced(graph, x)
    moved_by = np.linalg.solve(normal, slope)
    objects = inverse @ (right - between @ moved_by)[:, :, None]
    return np.concatenate([moved_by, objects.ravel()])


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

    def linear(self, x: Float64) -> tuple[Float64, Float64, Float64]:
        """Residuals `(n, 3)` of the boxes, and how they change with its agent and with its object, `(n, 3, 3)` each."""
        places, _ = self._placed(x)
        marks = x[3 * len(self.agents) :].reshape(-1, 3)[self.object]
        white, turning = self._rows(x)
        arm = places - self.pivots[self.owner] - self._motions(x)[:, :2]
        by_agent, by_object = np.zeros((len(arm), 3, 3)), np.zeros((len(arm), 3, 3))
        by_agent[:, :2] = -np.einsum("nij,njk->nik", white, jacobian(arm))
        away = marks[:, :2] - places
        across = np.stack([-away[:, 1], away[:, 0]], axis=1)
        by_agent[:, :2, 2] -= np.einsum("nij,nj->ni", white, across)  # along and across turn with the agent
        by_agent[:, 2, 2] = -turning
        by_object[:, :2, :2], by_object[:, 2, 2] = white, turning
        return self.residuals(x), by_agent, by_object

    def residuals(self, x: Float64) -> Float64:
        """`(n, 3)` of the boxes: along, across and heading, in standard deviations."""
        places, yaws = self._placed(x)
        marks = x[3 * len(self.agents) :].reshape(-1, 3)[self.object]
        white, turning = self._rows(x)
        steps = np.einsum("nij,nj->ni", white, marks[:, :2] - places)
        return np.column_stack([steps, turning * half_turn(marks[:, 2] - yaws)])

    def loss(self, x: Float64) -> float:
        """Cauchy's, of boxes and claims."""
        claims = x[: 3 * len(self.agents)].reshape(-1, 3) * _CLAIM
        return float(sum(np.log1p((r / _SOFT) ** 2).sum() for r in (self.residuals(x), claims)))

    def robust(self, residuals: Float64) -> Float64:
        """The weights by which least squares have the slope of that loss."""
        return np.asarray(1 / (1 + (residuals / _SOFT) ** 2))

    def shares(self, k: int, names: Sequence[Id]) -> dict[Id, int]:
        """With whom agent `k` shares how many objects."""
        mine = set(self.shown[k + 1][self.shown[k + 1] >= 0].tolist())
        counts = {n: len(mine & set(s[s >= 0].tolist())) for n, s in zip(names, self.shown, strict=True)}
        return {n: c for n, c in counts.items() if c and n != names[k + 1]}
