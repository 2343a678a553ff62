"""Boxes put in and left out as they are sent: what late fusion is attacked with (as in CAD, arXiv 2309.12955).

What is sent always fits the codec: no more boxes than it takes, numbers in its range, best first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from robosac.air import Air
from robosac.attacks.boxes.lists import BoxEdit, BoxList, changed_boxes
from robosac.attacks.colluders import Colluders
from robosac.attacks.registry import register
from robosac.attacks.settings import number, real
from robosac.boxes import invert_pose, transform_boxes
from robosac.types import Array, Float32, Message

CAR_M: Final = (4.5, 1.9, 1.6)
BELOW_SENSOR_M: Final = 1.2  # a car's centre, below a sensor 2 m above the ground


@register("box_spoof")
@dataclass(frozen=True, kw_only=True)
class BoxSpoof(BoxEdit):
    """Cars that are not there, around the ego; all attackers name the same ones. The worst of one's own give way.

    Attributes:
        boxes: how many.
        nearest_m, furthest_m: distance of their centres from the ego.
        score: how sure the attackers claim to be.
    """

    BUDGET, UNIT = "boxes", "boxes"

    boxes: int = number(3, low=0)
    nearest_m: float = number(6.0, low=0.0)
    furthest_m: float = 25.0
    score: float = number(0.9, low=0.0, high=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "furthest_m", low=self.nearest_m)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        rng = colluders.rng(air, "cars")
        cars = _around(air, honest, self._places(rng), own)
        most = len(cars) + len(own.boxes) if own.longest is None else own.longest
        cars = cars[:most]
        kept = max(0, most - len(cars))  # one's own are best first
        return own.best_first(
            np.concatenate([cars, own.boxes[:kept]]),
            np.concatenate([np.full(len(cars), self.score, own.scores.dtype), own.scores[:kept]]),
        )

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes sent that are not one's own; `inf` where more of one's own are missing than that."""
        added, gone = changed_boxes(honest, sent)
        return float(added) if gone <= added else math.inf

    def _places(self, rng: np.random.Generator) -> Float32:
        radius = rng.uniform(self.nearest_m, self.furthest_m, self.boxes)
        return _cars_at(radius, rng.uniform(-np.pi, np.pi, self.boxes), rng.uniform(-np.pi, np.pi, self.boxes))


@register("box_flood")
@dataclass(frozen=True, kw_only=True)
class BoxFlood(BoxEdit):
    """As many boxes as the codec takes, on a lattice about the ego: work for its suppression, and cars everywhere.

    Neighbours overlap a little, each its own way, so that many pairs have to be measured and hardly any box falls.

    Attributes:
        boxes: at most so many are added.
        spacing_m: of the lattice.
        score: of them all.
    """

    BUDGET, UNIT = "boxes", "boxes"

    boxes: int = number(100, low=0)
    spacing_m: float = number(3.5, low=0.1)
    score: float = number(1.0, low=0.0, high=1.0)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        most = self.boxes if own.longest is None else min(self.boxes, own.longest - len(own.boxes))
        half = math.ceil(math.sqrt(max(most, 1)) / 2) + 2
        x, y = (a.ravel() * self.spacing_m for a in np.mgrid[-half : half + 1, -half : half + 1])
        ring = np.argsort(np.hypot(x, y), kind="stable")[1 : 1 + max(most, 0)]  # the ego stands in the middle
        yaw = colluders.rng(air, "flood", honest.sender).uniform(-np.pi, np.pi, len(ring))
        cars = _around(air, honest, _cars_at(np.hypot(x, y)[ring], np.arctan2(y, x)[ring], yaw), own)
        return own.best_first(
            np.concatenate([cars, own.boxes]),
            np.concatenate([np.full(len(cars), self.score, own.scores.dtype), own.scores]),
        )

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes added; `inf` where one of one's own is missing."""
        added, gone = changed_boxes(honest, sent)
        return math.inf if gone else float(added)


@register("box_remove")
@dataclass(frozen=True, kw_only=True)
class BoxRemove(BoxEdit):
    """One's own boxes nearest to the ego are not sent.

    Attributes:
        boxes: how many.
    """

    BUDGET, UNIT = "boxes", "boxes"

    boxes: int = number(3, low=0)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        here = transform_boxes(invert_pose(air.to.world_T_ego) @ honest.world_T_payload, own.boxes)
        nearest = np.argsort(np.hypot(here[:, 0], here[:, 1]), kind="stable")
        kept = np.sort(nearest[self.boxes :])
        return own.best_first(own.boxes[kept], own.scores[kept])

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes missing; `inf` where one was added."""
        added, gone = changed_boxes(honest, sent)
        return math.inf if added else float(gone)


def _cars_at(radius_m: Array, bearing: Array, yaw: Array) -> Float32:
    """Cars `(M, 7)` on the ground about the ego, its frame."""
    boxes = np.zeros((len(radius_m), 7), np.float32)
    boxes[:, 0], boxes[:, 1] = radius_m * np.cos(bearing), radius_m * np.sin(bearing)
    boxes[:, 2], boxes[:, 3:6], boxes[:, 6] = -BELOW_SENSOR_M, CAR_M, yaw
    return boxes


def _around(air: Air, honest: Message, cars: Float32, own: BoxList) -> Float32:
    """Cars `(M, 7)` of the ego's frame in the sender's, by the poses both claim; those out of range left out."""
    there = transform_boxes(invert_pose(honest.world_T_payload) @ air.to.world_T_ego, cars)
    low, high = own.reach_m
    return there[((there >= low) & (there <= high)).all(axis=1)]
