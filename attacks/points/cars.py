"""Cars put into the attackers' own scans, or taken out of them, by casting rays again (CAD, arXiv 2309.12955).

What is edited is the scan before it is encoded, so that these run on any detector: points travel as they are in early
fusion, as the boxes found on them in late fusion, as features in between. Where the air has a `World` its rays are cast
at the place itself; on recorded data cars are boxes (`robosac.attacks.points.recast`). Colluding
attackers agree on the cars.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
from scipy.ndimage import minimum_filter, uniform_filter
from scipy.spatial import cKDTree

from robosac.air import Air, Knowledge, World
from robosac.attacks.base import Budgeted, Stage, same_array, same_but
from robosac.attacks.colluders import Crew
from robosac.attacks.points.recast import BoxWorld, ground_plane
from robosac.attacks.settings import integer, real
from robosac.boxes import invert_pose, nms_bev, transform_boxes, transform_points
from robosac.types import EGO_ALONE, Array, Float32, Float64, Id, InputError, Int64, Message, Request, Subset, View

CAR_M: Final = (4.5, 1.9, 1.6)
_EGO_M: Final = 3.0  # a box that near is the ego's own
_APART_M: Final = 12.0  # between cars put in: nobody can take two for one
_GAP_M: Final = 5.0  # points of one car are no further from its others
_CELL_M: Final = 0.5
_COVERED: Final = 10  # cells with ground of about 90: two or three rings of a sweep at 20 m
_LEVEL_M: Final = 0.8
_BEST: Final = 8  # places, half a metre from one another, that are as good as the best
_NO_BOXES: Final = np.zeros((0, 7), np.float32)


@dataclass(frozen=True, kw_only=True)
class _Cars(Budgeted):
    STAGE: ClassVar = Stage.POINTS
    BUDGET: ClassVar = "cars"
    UNIT: ClassVar = "cars"

    cars: int = 1

    def __post_init__(self) -> None:
        integer(self, "cars", low=0)

    def edits(self, air: Air, crew: Crew) -> tuple[Float32, Float32]:
        """Boxes `(M, 7)` of cars to put in and `(K, 7)` to take out, ego frame, at most `cars` in all."""
        raise NotImplementedError

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> PointsAttacker:
        return PointsAttacker(self, Crew.gather(attackers, rng))


@dataclass(frozen=True, kw_only=True)
class SpoofCar(_Cars):
    """Cars that are not there, near the ego on ground that the attackers see well and see to be free.

    Needs no knowledge: the attackers' own scans, and where the ego is (its request says so).

    Attributes:
        cars: how many; fewer where there is no room.
        nearest_m, furthest_m: distance of their centres from the ego.
    """

    nearest_m: float = 6.0
    furthest_m: float = 25.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "nearest_m", low=0.0)
        real(self, "furthest_m", low=self.nearest_m)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def edits(self, air: Air, crew: Crew) -> tuple[Float32, Float32]:
        own = crew.honest(air)
        scans = [_in_ego_frame(air, air.own[i]) for i in own]
        free = free_places(np.concatenate(scans), self.nearest_m, self.furthest_m)
        return _spread(free, self.cars, crew.rng(air, "places")), _NO_BOXES

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Cars put in. Where points are sent, groups of new points that no car is large enough to span; of features
        and boxes nobody can tell how many cars changed them, so there it is at least 1."""
        return _cars_between(honest, sent, new=True)


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

    within_m: float = 30.0
    pick: Literal["nearest", "furthest", "best"] = "furthest"
    min_score: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "within_m", low=0.0)
        if self.pick not in ("nearest", "furthest", "best"):
            raise InputError(f"expected pick of RemoveCar to be 'nearest', 'furthest' or 'best', got {self.pick!r}")
        real(self, "min_score", low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.MODEL

    def edits(self, air: Air, crew: Crew) -> tuple[Float32, Float32]:
        found, scores = [_NO_BOXES], [np.zeros(0, np.float32)]
        detector = air.detector
        for who in crew.honest(air):
            view = air.own[who]
            alone = detector.open(view, Request.of(view), []).detect([EGO_ALONE])[0]
            sure = alone.scores >= self.min_score
            found.append(transform_boxes(invert_pose(air.to.world_T_ego) @ view.world_T_sensor, alone.boxes[sure]))
            scores.append(alone.scores[sure])
        boxes, score = np.concatenate(found), np.concatenate(scores)
        kept = nms_bev(boxes, score, 0.1)
        boxes = boxes[kept]
        distance = np.hypot(boxes[:, 0], boxes[:, 1])
        around = (distance > _EGO_M) & (distance <= self.within_m)
        boxes, distance = boxes[around], distance[around]
        by = {"nearest": distance, "furthest": -distance, "best": np.arange(len(boxes))}[self.pick]
        order = np.argsort(by, kind="stable")
        return _NO_BOXES, boxes[order[: self.cars]]

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Cars taken out: as `SpoofCar.spent`, of the points that are gone."""
        return _cars_between(honest, sent, new=False)


@dataclass(frozen=True)
class PointsAttacker:
    """One scenario of an attack on points. It remembers nothing from frame to frame."""

    attack: _Cars
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present: what its encoder makes of the edited scan."""
        honest = self.crew.honest(air)
        if not honest or self.attack.cars == 0:
            return list(honest.values())
        added, removed = self.attack.edits(air, self.crew)
        world: World = air.world or BoxWorld()
        return [self._edited(air, world, m, who, added, removed) for who, m in honest.items()]

    @staticmethod
    def _edited(air: Air, world: World, honest: Message, who: Id, added: Float32, removed: Float32) -> Message:
        view = air.own[who]
        sensor_T_ego = invert_pose(view.world_T_sensor) @ air.to.world_T_ego
        points = world.seen(
            view, added=transform_boxes(sensor_T_ego, added), removed=transform_boxes(sensor_T_ego, removed)
        )
        if same_array(points, view.points):
            return honest
        encoded = air.encode(dataclasses.replace(view, points=points))
        return dataclasses.replace(honest, payload=encoded.payload)


# --------------------------------------------------------------------------------------------------- where to put a car
def free_places(points: Array, nearest_m: float, furthest_m: float) -> Float32:
    """Cars `(M, 7)` that would stand on free ground, those on the best seen ground first.

    Args:
        points: `(N, >=3)` what is seen, ego frame.
        nearest_m, furthest_m: distance of the centres from the ego.

    Cars point as the ego does. The ground is free where points lie on it, all over the place, and none above it, up to
    a metre from the car; its height is the lowest point within 2 m, and near the plane of all ground (no roof).
    """
    plane = ground_plane(points)
    if plane is None:
        return _NO_BOXES
    half = math.ceil((furthest_m + CAR_M[0]) / _CELL_M)
    side = 2 * half
    col, row = (np.floor(points[:, k] / _CELL_M).astype(np.int64) + half for k in (0, 1))
    inside = (col >= 0) & (col < side) & (row >= 0) & (row < side)
    z, flat = points[inside, 2].astype(np.float64), (row * side + col)[inside]
    lowest = np.full(side * side, np.inf)
    np.minimum.at(lowest, flat, z)
    ground = minimum_filter(lowest.reshape(side, side), size=9, mode="nearest").ravel()
    above = z - ground[flat]
    on_it = np.bincount(flat[above < 0.3], minlength=side * side).reshape(side, side)
    in_way = np.bincount(flat[(above >= 0.3) & (above < 3.0)], minlength=side * side).reshape(side, side)
    footprint = [math.ceil((m + 2.0) / _CELL_M) for m in (CAR_M[1], CAR_M[0])]

    def total(count: Array) -> Float64:
        mean = uniform_filter(count.astype(np.float64), size=footprint, mode="constant")
        return np.asarray(np.round(mean * footprint[0] * footprint[1]), np.float64)

    covered = total(on_it > 0)
    rows, cols = np.indices((side, side))
    x, y = (cols + 0.5 - half) * _CELL_M, (rows + 0.5 - half) * _CELL_M
    distance = np.hypot(x, y)
    level = np.abs(ground.reshape(side, side) - (plane[0] + plane[1] * x + plane[2] * y)) < _LEVEL_M
    good = level & (total(in_way) == 0) & (covered >= _COVERED) & (distance >= nearest_m) & (distance <= furthest_m)
    at = np.flatnonzero(good)
    at = at[np.argsort(-total(on_it).ravel()[at], kind="stable")]
    boxes = np.zeros((len(at), 7), np.float32)
    boxes[:, 0], boxes[:, 1] = x.ravel()[at], y.ravel()[at]
    boxes[:, 2] = ground[at] + CAR_M[2] / 2
    boxes[:, 3:6] = CAR_M
    return boxes


def _spread(free: Float32, count: int, rng: np.random.Generator) -> Float32:
    """At most `count` of the places `(M, 7)`, well apart, each drawn among the best of those that are left."""
    chosen: list[Float32] = []
    while len(chosen) < count and len(free):
        chosen.append(free[rng.integers(min(len(free), _BEST))])
        free = free[np.hypot(free[:, 0] - chosen[-1][0], free[:, 1] - chosen[-1][1]) >= _APART_M]
    return np.stack(chosen) if chosen else _NO_BOXES


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
    """Into how many groups points `(N, >=2)` fall that lie further than `gap_m` from one another, seen from above."""
    if not len(points):
        return 0
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    # a point a half-metre cell is enough: the gap is ten times that
    xy = np.unique(np.round(points[:, :2].astype(np.float64) * 2) / 2, axis=0)
    pairs: Int64 = cKDTree(xy).query_pairs(gap_m + 0.5, output_type="ndarray")
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(xy), len(xy)))
    return int(connected_components(graph, directed=False)[0])


ATTACKS: Final[Mapping[str, type[Any]]] = {"remove_car": RemoveCar, "spoof_car": SpoofCar}
