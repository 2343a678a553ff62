"""Simple lies for late and early fusion, for the studies here: they need no weights and no view of the victim's.

`BoxLies` sends cars that are not there, and its own cars moved, with full confidence, so that suppression drops where
they really are. `PointLies` adds the points of cars that are not there and leaves out its own points on cars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from robosac.air import Air, Knowledge
from robosac.boxes import corners_bev, invert_pose, transform_boxes
from robosac.detectors.bev.raster import rasterise
from robosac.detectors.fusion.callables import Detect, found_by
from robosac.types import Float32, Float64, Message, Subset, View

CAR_M: Final = (4.5, 1.9, 1.6)
BELOW_SENSOR_M: Final = 1.2  # the centre of a car, below a sensor 2 m above the ground


@dataclass(frozen=True, kw_only=True)
class BoxLies:
    """Late fusion: `spoof` invented cars within `within_m` of the ego, and all of one's own moved by `shift_m`."""

    spoof: int = 5
    shift_m: float = 2.0
    within_m: float = 25.0
    knowledge: Knowledge = Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> BoxLiar:
        return BoxLiar(self, rng)


@dataclass(frozen=True, kw_only=True)
class PointLies:
    """Early fusion: `spoof` invented cars of `points` points each; one's own points on cars are cut."""

    detect: Detect
    spoof: int = 5
    points: int = 300
    within_m: float = 25.0
    knowledge: Knowledge = Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> PointLiar:
        return PointLiar(self, rng)


def invented(rng: np.random.Generator, count: int, within_m: float) -> Float32:
    """Cars `(count, 7)` on the ground in the ego's frame, at least 5 m from it, turned anyhow."""
    boxes = np.zeros((count, 7), np.float32)
    radius, angle = rng.uniform(5, within_m, count), rng.uniform(-np.pi, np.pi, count)
    boxes[:, 0], boxes[:, 1], boxes[:, 2] = radius * np.cos(angle), radius * np.sin(angle), -BELOW_SENSOR_M
    boxes[:, 3:6], boxes[:, 6] = CAR_M, rng.uniform(-np.pi, np.pi, count)
    return boxes


def shifted(boxes: Float32, rng: np.random.Generator, distance_m: float) -> Float32:
    """Boxes `(N, 7)`, each moved by a distance along its own heading, forwards or back."""
    out: Float32 = boxes.copy()
    way = rng.choice([-distance_m, distance_m], len(boxes))
    out[:, 0] += way * np.cos(boxes[:, 6])
    out[:, 1] += way * np.sin(boxes[:, 6])
    return out


def surface(box: Float32, count: int, ground_m: float, rng: np.random.Generator) -> Float64:
    """Points `(count, 4)` on the sides and the roof of one box `(7,)` that stands at `ground_m`."""
    corner = corners_bev(box[None])[0]
    side = rng.integers(0, 4, count)
    along = rng.random((count, 1))
    xy = corner[side] * (1 - along) + corner[(side + 1) % 4] * along
    inwards = rng.random((count, 1)) * (rng.random((count, 1)) < 0.3)  # three in ten on the roof
    xy = xy + (box[:2] - xy) * inwards
    z = ground_m + box[5] * np.where(inwards[:, 0] > 0, 1.0, rng.uniform(0.2, 1.0, count))
    return np.column_stack([xy, z, rng.uniform(0.1, 0.6, count)])


@dataclass(frozen=True, eq=False)
class BoxLiar:
    lies: BoxLies
    rng: np.random.Generator

    def send(self, air: Air) -> Sequence[Message]:
        cars = invented(self.rng, self.lies.spoof, self.lies.within_m)  # all attackers back one another up
        return [self._lie(m, air.to.world_T_ego, cars) for m in air.honest.values()]

    def _lie(self, honest: Message, world_T_ego: Float64, cars: Float32) -> Message:
        own, most = honest.payload["boxes"], 100
        spoofed = transform_boxes(invert_pose(honest.world_T_payload) @ world_T_ego, cars)
        boxes = np.concatenate([spoofed, shifted(own, self.rng, self.lies.shift_m)])[:most].astype(np.float32)
        return honest.with_payload(boxes=boxes, scores=np.ones(len(boxes), np.float32))


@dataclass(frozen=True, eq=False)
class PointLiar:
    lies: PointLies
    rng: np.random.Generator

    def send(self, air: Air) -> Sequence[Message]:
        cars = invented(self.rng, self.lies.spoof, self.lies.within_m)
        return [self._lie(air.honest[i], view, air.to.world_T_ego, cars) for i, view in air.own.items()]

    def _lie(self, honest: Message, view: View, world_T_ego: Float64, cars: Float32) -> Message:
        points = honest.payload["points"]
        own, _ = found_by(self.lies.detect, points, name="liar")
        local = transform_boxes(invert_pose(honest.world_T_payload) @ world_T_ego, cars)
        ground = rasterise(view.points).ground_z(local)
        fake = [surface(b, self.lies.points, float(g), self.rng) for b, g in zip(local, ground, strict=True)]
        kept = points[~_on_any(points, own)]
        return replace(honest, payload={"points": np.concatenate([kept, *fake]).astype(np.float32)})


def _on_any(points: Float32, boxes: Float32, margin_m: float = 0.3) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which points `(N, 4)` lie in any of some boxes, widened by a margin, above 0.2 m of their ground."""
    on = np.zeros(len(points), dtype=np.bool_)
    for x, y, z, length, width, height, yaw in boxes:  # a few boxes, in a benchmark
        dx, dy = points[:, 0] - x, points[:, 1] - y
        u, v = np.cos(yaw) * dx + np.sin(yaw) * dy, np.cos(yaw) * dy - np.sin(yaw) * dx
        on |= (
            (np.abs(u) < length / 2 + margin_m)
            & (np.abs(v) < width / 2 + margin_m)
            & (points[:, 2] > z - height / 2 + 0.2)
        )
    return on
