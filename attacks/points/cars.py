"""Cars put into the attackers' own scans, or taken out of them, by casting rays again (CAD, arXiv 2309.12955).

What is edited is the scan before it is encoded, so that these run on any detector: points travel as they are in early
fusion, as the boxes found on them in late fusion, as features in between. Where the air has a `World` its rays are cast
at the place itself; on recorded data cars are boxes (`robosac.attacks.points.recast`). Colluding attackers agree on the
cars.
"""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
from scipy.spatial import cKDTree

from robosac.air import Air, Knowledge, World
from robosac.attacks.base import Stage, Stateless
from robosac.attacks.colluders import Colluders
from robosac.attacks.measures import same_array, same_but
from robosac.attacks.points.places import NO_BOXES, free_places, spread
from robosac.attacks.points.recast import BoxWorld
from robosac.attacks.registry import register
from robosac.attacks.settings import choice, number, real
from robosac.boxes import invert_pose, nms_bev, transform_boxes, transform_points
from robosac.types import EGO_ALONE, Array, Float32, Id, Int64, Message, Request, View

_EGO_M: Final = 3.0  # a box that near is the ego's own
_GAP_M: Final = 5.0  # points of one car are no further from its others


@dataclass(frozen=True, kw_only=True)
class _Cars(Stateless):
    """A base: override `edits`."""

    STAGE: ClassVar = Stage.POINTS
    BUDGET, UNIT = "cars", "cars"

    cars: int = number(1, low=0)

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        added, removed = self.edits(air, colluders)
        world: World = air.world or BoxWorld()
        return [self._encoded(m, air, world, added, removed) for m in honest.values()]

    @staticmethod
    def _encoded(honest: Message, air: Air, world: World, added: Float32, removed: Float32) -> Message:
        """What an attacker's encoder makes of its edited scan."""
        view = air.own[honest.sender]
        sensor_T_ego = invert_pose(view.world_T_sensor) @ air.to.world_T_ego
        points = world.seen(
            view, added=transform_boxes(sensor_T_ego, added), removed=transform_boxes(sensor_T_ego, removed)
        )
        if same_array(points, view.points):
            return honest
        return dataclasses.replace(honest, payload=air.encode(dataclasses.replace(view, points=points)).payload)

    @abstractmethod
    def edits(self, air: Air, colluders: Colluders) -> tuple[Float32, Float32]:
        """Boxes `(M, 7)` of cars to put in and `(K, 7)` to take out, ego frame, at most `cars` in all."""


@register("spoof_car")
@dataclass(frozen=True, kw_only=True)
class SpoofCar(_Cars):
    """Cars that are not there, near the ego on ground that the attackers see well and see to be free.

    Needs no knowledge: the attackers' own scans, and where the ego is (its request says so).

    Attributes:
        cars: how many; fewer where there is no place.
        nearest_m, furthest_m: distance of their centres from the ego.
    """

    nearest_m: float = number(6.0, low=0.0)
    furthest_m: float = 25.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "furthest_m", low=self.nearest_m)

    def edits(self, air: Air, colluders: Colluders) -> tuple[Float32, Float32]:
        own = colluders.honest(air)
        scans = [_in_ego_frame(air, air.own[i]) for i in own]
        free = free_places(np.concatenate(scans), self.nearest_m, self.furthest_m)
        return spread(free, self.cars, colluders.rng(air, "places")), NO_BOXES

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Cars put in. Where points are sent, groups of new points that no car is large enough to span; of features
        and boxes nobody can tell how many cars changed them, so there it is at least 1."""
        return _cars_between(honest, sent, new=True)


@register("remove_car")
@dataclass(frozen=True, kw_only=True)
class RemoveCar(_Cars):
    """Cars that the attackers see are left out of their scans: found by the detector on their own scans alone.

    Attributes:
        cars: how many.
        within_m: of the ego; what is further is not its concern.
        pick: the ones nearest to the ego, furthest from it, or found best. What is near the ego sees for itself: far
            ones are those that it needs teammates for.
        min_score: what the detector is less sure of is not worth removing.
    """

    within_m: float = number(30.0, low=0.0)
    pick: Literal["nearest", "furthest", "best"] = choice("furthest", "nearest", "furthest", "best")
    min_score: float = number(0.3, low=0.0, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.MODEL

    def edits(self, air: Air, colluders: Colluders) -> tuple[Float32, Float32]:
        found, scores = [NO_BOXES], [np.zeros(0, np.float32)]
        detector = air.detector
        for who in colluders.honest(air):
            view = air.own[who]
            alone = detector.open(view, Request.of(view), []).detect([EGO_ALONE])[0]
            sure = alone.scores >= self.min_score
            found.append(transform_boxes(invert_pose(air.to.world_T_ego) @ view.world_T_sensor, alone.boxes[sure]))
            scores.append(alone.scores[sure])
        boxes, score = np.concatenate(found), np.concatenate(scores)
        if not len(boxes):
            air.note(f"no car that the attackers see by themselves scores {self.min_score:g}: there is none to remove")
        kept = nms_bev(boxes, score, 0.1)
        boxes = boxes[kept]
        distance = np.hypot(boxes[:, 0], boxes[:, 1])
        around = (distance > _EGO_M) & (distance <= self.within_m)
        boxes, distance = boxes[around], distance[around]
        by = {"nearest": distance, "furthest": -distance, "best": np.arange(len(boxes))}[self.pick]
        order = np.argsort(by, kind="stable")
        return NO_BOXES, boxes[order[: self.cars]]

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Cars taken out: as `SpoofCar.perturbation_size`, of the points that are gone."""
        return _cars_between(honest, sent, new=False)


def _in_ego_frame(air: Air, view: View) -> Float32:
    return transform_points(invert_pose(air.to.world_T_ego) @ view.world_T_sensor, view.points)


# ------------------------------------------------------------------------------------------------ measuring messages
def _cars_between(honest: Message, sent: Sequence[Message], *, new: bool) -> float:
    if len(sent) != 1 or not same_but(honest, sent[0], "payload") or set(honest.payload) != set(sent[0].payload):
        return math.inf
    if same_but(honest, sent[0]):
        return 0.0
    points = honest.payload.get("points")
    if points is None or set(honest.payload) != {"points"}:
        return 1.0
    pair = [np.asarray(points), np.asarray(sent[0].payload["points"])]
    return float(max(1, groups(_only_in(*(pair[::-1] if new else pair)))))


def _only_in(a: Array, b: Array) -> Array:
    """Rows of `a` `(N, 4)` that are not among those of `b`, bit by bit."""
    rows = [np.ascontiguousarray(x).view(np.dtype((np.void, x.itemsize * x.shape[1]))).ravel() for x in (a, b)]
    return np.asarray(a[~np.isin(rows[0], rows[1])])


def groups(points: Array, gap_m: float = _GAP_M) -> int:
    """Into how many groups points `(N, >=2)` fall that are further than `gap_m` from one another, seen from above."""
    if not len(points):
        return 0
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    # a point a half-metre cell is enough: the gap is ten times that
    xy = np.unique(np.round(points[:, :2].astype(np.float64) * 2) / 2, axis=0)
    pairs: Int64 = cKDTree(xy).query_pairs(gap_m + 0.5, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    return int(connected_components(graph, directed=False)[0])
