"""The poses of several teammates and the objects that they see, at once: an agent-object pose graph.

Every box of an agent observes an object: its place and heading, seen from where the agent claims to be. Unknown are a
motion for each teammate and the place of each object; the ego's pose is given and does not move, whatever the others
say. Residuals are in standard deviations under a robust loss, claims included: a pose that is far off stops being
pulled back to its claim, and a box that is out of place stops pulling.

Source: the idea of an agent-object graph is CoAlign's (Lu et al., arXiv 2211.07214, section IV). There all poses are
free and boxes trusted; here the ego is fixed and the loss robust, since boxes and poses may be an attacker's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.boxes import wrap_angle
from robosac.poses.hypotheses import half_turn
from robosac.poses.objects import ACROSS_M, ALONG_M, HEADING_DEG, Objects
from robosac.poses.offset import moved
from robosac.poses.refining import GATE, HONEST_DEG, HONEST_M
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
    # at the optimum a robust loss is these weights
    covariance = np.asarray(np.linalg.inv(_reduced(graph, x, _pull)[0]), np.float64)
    placed = {}
    for k, name in enumerate(names):
        shares = graph.shares(k, ["", *names])
        if shares:
            at = slice(3 * k, 3 * k + 3)
            placed[name] = Placed(x[at], covariance[at, at], shares)
    return placed


def _settled(graph: _Graph) -> Float64:
    """Where the robust loss is least: Newton's steps, each no longer than it helps."""
    x = graph.start()
    loss = graph.loss(x)
    for _ in range(_ROUNDS):
        step, share = _step(graph, x), 1.0
        while (after := graph.loss(x + share * step)) > loss and share > 1e-3:
            share /= 2
        if after > loss:
            break
        x, loss = x + share * step, after
        if np.abs(share * step[: 3 * len(graph.agents)]).max() < _STILL:
            break
    return x


def _pull(residuals: Float64) -> Float64:
    """The weights by which least squares have the slope of the robust loss, Cauchy's."""
    return np.asarray(1 / (1 + (residuals / _SOFT) ** 2))


def _bend(residuals: Float64) -> Float64:
    """Those by which they have its curvature, or a little where it bends down: steps lead down all the same."""
    z = (residuals / _SOFT) ** 2
    return np.asarray(np.maximum((1 - z) / (1 + z), 0.1) / (1 + z))


def _reduced(
    graph: _Graph, x: Float64, weigh: Callable[[Float64], Float64]
) -> tuple[Float64, Float64, Float64, Float64, Float64]:
    """The normal equations at `x` without the objects (Schur's complement): information `(3 A, 3 A)` of the agents and
    its right side, then what gives the objects back: the blocks between `(L, 3, 3 A)`, inverses of the objects' own
    `(L, 3, 3)`, and their right sides `(L, 3)`."""
    left, by_agent, by_object = graph.linear(x)
    weight, pull = weigh(left), _pull(left) * left
    agents, objects = len(graph.agents), graph.objects
    weighted = by_object * weight[:, :, None]
    own, right = np.zeros((objects, 3, 3)), np.zeros((objects, 3))
    np.add.at(own, graph.object, weighted.transpose(0, 2, 1) @ by_object)
    np.add.at(right, graph.object, -(by_object * pull[:, :, None]).sum(axis=1))
    claims = x[: 3 * agents].reshape(-1, 3) * _CLAIM
    normal, slope = np.diag((weigh(claims) * _CLAIM**2).ravel()), -(_pull(claims) * claims * _CLAIM).ravel()
    between = np.zeros((objects, 3, 3 * agents))
    for k in range(agents):
        at, mine = slice(3 * k, 3 * k + 3), graph.owner == k + 1
        moving = by_agent[mine].reshape(-1, 3)
        normal[at, at] += moving.T @ (weight[mine].reshape(-1, 1) * moving)
        slope[at] -= pull[mine].ravel() @ moving
        between[graph.object[mine], :, at] = weighted[mine].transpose(0, 2, 1) @ by_agent[mine]
    inverse = np.asarray(np.linalg.inv(own), np.float64)
    seen = inverse @ between
    wide = seen.reshape(-1, 3 * agents)
    return normal - between.reshape(wide.shape).T @ wide, slope - right.ravel() @ wide, between, inverse, right


def _step(graph: _Graph, x: Float64) -> Float64:
    normal, slope, between, inverse, right = _reduced(graph, x, _bend)
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
        xy = np.concatenate([o.xy[s >= 0] for o, s in zip(lists, shown, strict=True)])
        self.yaw = np.concatenate([o.yaw[s >= 0] for o, s in zip(lists, shown, strict=True)])
        weight = np.sqrt(np.concatenate([o.weight[s >= 0] for o, s in zip(lists, shown, strict=True)]))
        self.pivot = np.stack([np.zeros(2), *(a.pivot for a in agents)])[owner]
        self.arm = xy - self.pivot
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        white = np.array([[cos / ALONG_M, sin / ALONG_M], [-sin / ACROSS_M, cos / ACROSS_M]]).transpose(2, 0, 1)
        self.white, self.turning = white * weight[:, None, None], weight / _HEADING

    def start(self) -> Float64:
        """The agents' motions, and each object where the first agent that shows it has it."""
        x = np.zeros(3 * (len(self.agents) + self.objects))
        for k, agent in enumerate(self.agents):
            x[3 * k : 3 * k + 3] = agent.start
        each, arm, _ = self._motions(x)
        places, yaws = arm + self.pivot + each[:, :2], wrap_angle(self.yaw + each[:, 2])
        base = 3 * len(self.agents)
        for k in reversed(range(len(self.owner))):
            at = base + 3 * int(self.object[k])
            x[at : at + 2], x[at + 2] = places[k], yaws[k]
        return x

    def _motions(self, x: Float64) -> tuple[Float64, Float64, Float64]:
        """Of each box: the motion `(n, 3)` of its agent, none for the ego; its place `(n, 2)` about where that agent
        claims to be, turned; and a whitening `(n, 2, 2)` along and across its heading."""
        each = np.zeros((1 + len(self.agents), 3))
        each[1:] = x[: 3 * len(self.agents)].reshape(-1, 3)
        each = each[self.owner]
        cos, sin = np.cos(each[:, 2]), np.sin(each[:, 2])
        turn = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
        return each, (turn @ self.arm[:, :, None])[:, :, 0], self.white @ turn.transpose(0, 2, 1)

    def _left(self, x: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Residuals `(n, 3)`, and what they come from: steps `(n, 2)` to the objects, places and whitening as above."""
        each, arm, white = self._motions(x)
        marks = x[3 * len(self.agents) :].reshape(-1, 3)[self.object]
        away = marks[:, :2] - arm - self.pivot - each[:, :2]
        left = np.empty((len(arm), 3))
        left[:, :2] = (white @ away[:, :, None])[:, :, 0]
        left[:, 2] = self.turning * half_turn(marks[:, 2] - self.yaw - each[:, 2])
        return left, away, arm, white

    def residuals(self, x: Float64) -> Float64:
        """`(n, 3)` of the boxes: along, across and heading, in standard deviations."""
        return self._left(x)[0]

    def linear(self, x: Float64) -> tuple[Float64, Float64, Float64]:
        """Residuals `(n, 3)` of the boxes, and how they change with its agent and with its object, `(n, 3, 3)` each."""
        left, away, arm, white = self._left(x)
        by_agent, by_object = np.zeros((len(arm), 3, 3)), np.zeros((len(arm), 3, 3))
        by_object[:, :2, :2], by_object[:, 2, 2] = white, self.turning
        by_agent[:, :2, :2], by_agent[:, 2, 2] = -white, -self.turning
        reach = arm + away  # along and across turn with the agent, too
        by_agent[:, :2, 2] = white[:, :, 0] * reach[:, 1:] - white[:, :, 1] * reach[:, :1]
        return left, by_agent, by_object

    def loss(self, x: Float64) -> float:
        """Cauchy's, of boxes and claims."""
        claims = x[: 3 * len(self.agents)].reshape(-1, 3) * _CLAIM
        return float(sum(np.log1p((r / _SOFT) ** 2).sum() for r in (self.residuals(x), claims)))

    def shares(self, k: int, names: Sequence[Id]) -> dict[Id, int]:
        """With whom agent `k` shares how many objects."""
        mine = set(self.shown[k + 1][self.shown[k + 1] >= 0].tolist())
        counts = {n: len(mine & set(s[s >= 0].tolist())) for n, s in zip(names, self.shown, strict=True)}
        return {n: c for n, c in counts.items() if c and n != names[k + 1]}
