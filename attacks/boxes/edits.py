"""Lies about boxes as sent: what late fusion is attacked with (spoof and removal as in CAD, arXiv 2309.12955).

A message of boxes carries `boxes (n, 7)` in the sender's own frame and `scores (n,)`, best first. What is sent always
fits the codec: no more boxes than it takes, numbers in its range, best first. None of these needs any knowledge.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from robosac.air import Air, Knowledge
from robosac.attacks.base import Budgeted, Stage, difference, same_array, same_but
from robosac.attacks.colluders import Crew
from robosac.attacks.features.projection import linf_room
from robosac.attacks.settings import integer, real
from robosac.boxes import invert_pose, transform_boxes
from robosac.types import Array, Codec, Float32, Float64, InputError, Message, Subset

BOXES: Final = "boxes"
SCORES: Final = "scores"
CAR_M: Final = (4.5, 1.9, 1.6)
BELOW_SENSOR_M: Final = 1.2  # a car's centre, below a sensor 2 m above the ground


@dataclass(frozen=True, eq=False)
class Listed:
    """The boxes of one message, and what the codec says of them."""

    boxes: Float32
    scores: Float32
    codec: Codec

    @staticmethod
    def of(message: Message, codec: Codec) -> Listed:
        """InputError where the codec knows no boxes."""
        if not {BOXES, SCORES} <= set(codec.arrays):
            raise InputError(
                f"expected a codec of boxes and scores (late fusion), got {codec.name!r} with "
                f"{', '.join(codec.arrays)}; attack it on points or features"
            )
        return Listed(message.payload[BOXES], message.payload[SCORES], codec)

    @property
    def longest(self) -> int | None:
        """How many boxes fit; None where the codec does not care."""
        name = self.codec.arrays[SCORES][0][0]
        return self.codec.longest.get(name) if isinstance(name, str) else name

    @property
    def reach_m(self) -> tuple[float, float]:
        """Least and largest coordinate."""
        return self.codec.arrays[BOXES][2:]

    def best_first(self, boxes: Array, scores: Array) -> dict[str, Array]:
        """A payload of some boxes `(m, 7)` and scores `(m,)`; equal scores stay in their order."""
        order = np.argsort(-scores, kind="stable")
        return {
            BOXES: np.ascontiguousarray(boxes[order], self.boxes.dtype),
            SCORES: np.ascontiguousarray(scores[order], self.scores.dtype),
        }


@dataclass(frozen=True, kw_only=True)
class _BoxLie(Budgeted):
    STAGE: ClassVar = Stage.BOXES

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> BoxAttacker:
        return BoxAttacker(self, Crew.gather(attackers, rng))

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        """The payload that one attacker sends."""
        raise NotImplementedError


@dataclass(frozen=True)
class BoxAttacker:
    """One scenario of a lie about boxes. It remembers nothing from frame to frame."""

    attack: _BoxLie
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its boxes and scores.

        Raises:
            InputError: the detector sends no boxes.
        """
        honest = self.crew.honest(air)
        if self.attack.budget == 0:
            return list(honest.values())
        return [m.with_payload(**self.attack.lie(Listed.of(m, air.codec), m, air, self.crew)) for m in honest.values()]


# ---------------------------------------------------------------------------------------------- boxes added, dropped
@dataclass(frozen=True, kw_only=True)
class BoxSpoof(_BoxLie):
    """Cars that are not there, around the ego; all attackers name the same ones. The worst of one's own make room.

    Attributes:
        boxes: how many.
        nearest_m, furthest_m: distance of their centres from the ego.
        score: how sure the attackers claim to be.
    """

    BUDGET: ClassVar = "boxes"
    UNIT: ClassVar = "boxes"

    boxes: int = 3
    nearest_m: float = 6.0
    furthest_m: float = 25.0
    score: float = 0.9

    def __post_init__(self) -> None:
        integer(self, "boxes", low=0)
        real(self, "nearest_m", low=0.0)
        real(self, "furthest_m", low=self.nearest_m)
        real(self, "score", low=0.0, high=1.0)

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        rng = crew.rng(air, "cars")
        cars = _around(air, honest, self._places(rng), own)
        most = len(cars) + len(own.boxes) if own.longest is None else own.longest
        cars = cars[:most]
        kept = max(0, most - len(cars))  # one's own are best first
        return own.best_first(
            np.concatenate([cars, own.boxes[:kept]]),
            np.concatenate([np.full(len(cars), self.score, own.scores.dtype), own.scores[:kept]]),
        )

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes sent that are not one's own; `inf` where more of one's own are missing than that."""
        added, gone = _changed_boxes(honest, sent)
        return float(added) if gone <= added else math.inf

    def _places(self, rng: np.random.Generator) -> Float32:
        radius = rng.uniform(self.nearest_m, self.furthest_m, self.boxes)
        return _cars_at(radius, rng.uniform(-np.pi, np.pi, self.boxes), rng.uniform(-np.pi, np.pi, self.boxes))


@dataclass(frozen=True, kw_only=True)
class BoxFlood(_BoxLie):
    """As many boxes as the codec takes, on a lattice about the ego: work for its suppression, and cars everywhere.

    Neighbours overlap a little, each its own way, so that many pairs have to be measured and hardly any box falls.

    Attributes:
        boxes: at most so many are added.
        spacing_m: of the lattice.
        score: of them all.
    """

    BUDGET: ClassVar = "boxes"
    UNIT: ClassVar = "boxes"

    boxes: int = 100
    spacing_m: float = 3.5
    score: float = 1.0

    def __post_init__(self) -> None:
        integer(self, "boxes", low=0)
        real(self, "spacing_m", low=0.1)
        real(self, "score", low=0.0, high=1.0)

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        room = self.boxes if own.longest is None else min(self.boxes, own.longest - len(own.boxes))
        half = math.ceil(math.sqrt(max(room, 1)) / 2) + 2
        x, y = (a.ravel() * self.spacing_m for a in np.mgrid[-half : half + 1, -half : half + 1])
        ring = np.argsort(np.hypot(x, y), kind="stable")[1 : 1 + max(room, 0)]  # the ego stands in the middle
        yaw = crew.rng(air, "flood", honest.sender).uniform(-np.pi, np.pi, len(ring))
        cars = _around(air, honest, _cars_at(np.hypot(x, y)[ring], np.arctan2(y, x)[ring], yaw), own)
        return own.best_first(
            np.concatenate([cars, own.boxes]),
            np.concatenate([np.full(len(cars), self.score, own.scores.dtype), own.scores]),
        )

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes added; `inf` where one of one's own is missing."""
        added, gone = _changed_boxes(honest, sent)
        return math.inf if gone else float(added)


@dataclass(frozen=True, kw_only=True)
class BoxRemove(_BoxLie):
    """One's own boxes nearest to the ego are not sent.

    Attributes:
        boxes: how many.
    """

    BUDGET: ClassVar = "boxes"
    UNIT: ClassVar = "boxes"

    boxes: int = 3

    def __post_init__(self) -> None:
        integer(self, "boxes", low=0)

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        here = transform_boxes(invert_pose(air.to.world_T_ego) @ honest.world_T_payload, own.boxes)
        nearest = np.argsort(np.hypot(here[:, 0], here[:, 1]), kind="stable")
        kept = np.sort(nearest[self.boxes :])
        return own.best_first(own.boxes[kept], own.scores[kept])

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Boxes missing; `inf` where one was added."""
        added, gone = _changed_boxes(honest, sent)
        return math.inf if added else float(gone)


# --------------------------------------------------------------------------------------------------- boxes changed
@dataclass(frozen=True, kw_only=True)
class BoxShift(_BoxLie):
    """Every box moves along its own heading, forwards or back as the frame's luck has it.

    Attributes:
        metres: how far.
    """

    BUDGET: ClassVar = "metres"
    UNIT: ClassVar = "m"

    metres: float = 1.0

    def __post_init__(self) -> None:
        real(self, "metres", low=0.0)

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        way = crew.rng(air, "shift", honest.sender).choice([-1.0, 1.0], len(own.boxes))
        boxes = own.boxes.copy()
        # coordinates are rounded to the message's numbers: what that may add is taken off before
        step = max(
            0.0, self.metres - 2 * float(np.spacing(np.abs(boxes[:, :2]).max(initial=0) + np.float32(self.metres)))
        )
        for k, part in ((0, np.cos(boxes[:, 6])), (1, np.sin(boxes[:, 6]))):
            boxes[:, k] = np.clip(own.boxes[:, k].astype(np.float64) + way * step * part, *own.reach_m)
        return {BOXES: boxes}

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest distance that a centre moved; `inf` where anything else changed."""
        moved = _box_changes(honest, sent, columns=slice(0, 2))
        return math.inf if moved is None else float(np.hypot(moved[:, 0], moved[:, 1]).max(initial=0.0))


@dataclass(frozen=True, kw_only=True)
class BoxResize(_BoxLie):
    """Every box grows, or shrinks, by one factor: `1 + share`, or 1 over that.

    Attributes:
        share: what is added to the length, width and height of the larger of the two.
        shrink: they shrink.
    """

    BUDGET: ClassVar = "share"
    UNIT: ClassVar = "share of the size"

    share: float = 0.5
    shrink: bool = False

    def __post_init__(self) -> None:
        real(self, "share", low=0.0)
        if not isinstance(self.shrink, bool):
            raise InputError(f"expected shrink of BoxResize to be a bool, got {self.shrink!r}")

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        boxes = own.boxes.copy()
        factor = 1 + self.share * (1 - 1e-6) - 4e-7  # the message's numbers round
        sizes = own.boxes[:, 3:6].astype(np.float64)
        if factor > 1:
            boxes[:, 3:6] = np.minimum(sizes / factor if self.shrink else sizes * factor, own.reach_m[1])
        return {BOXES: boxes}

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest factor between a size sent and the honest one, less 1; `inf` where anything else changed."""
        if _box_changes(honest, sent, columns=slice(3, 6)) is None:
            return math.inf
        a, b = (m.payload[BOXES][:, 3:6].astype(np.float64) for m in (honest, sent[0]))
        if same_array(a, b):
            return 0.0
        if (np.minimum(a, b) <= 0).any():
            return math.inf
        return float((np.maximum(a, b) / np.minimum(a, b)).max(initial=1.0) - 1)


@dataclass(frozen=True, kw_only=True)
class BoxConfidence(_BoxLie):
    """Every box is sent with more confidence than one has, up to certainty; order and boxes stay.

    Attributes:
        added: what each score gains.
    """

    BUDGET: ClassVar = "added"
    UNIT: ClassVar = "score"

    added: float = 0.5

    def __post_init__(self) -> None:
        real(self, "added", low=0.0)

    def lie(self, own: Listed, honest: Message, air: Air, crew: Crew) -> Mapping[str, Array]:
        low, high = own.codec.arrays[SCORES][2:]
        return {SCORES: linf_room(own.scores, self.added, low=low, high=high).upper}

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest change of a score; `inf` where anything else changed."""
        if len(sent) != 1 or not same_but(honest, sent[0], SCORES):
            return math.inf
        moved = difference(honest, sent[0])
        return math.inf if moved is None else max(float(np.abs(d).max(initial=0.0)) for d in moved)


# ------------------------------------------------------------------------------------------------ what they share
def _cars_at(radius_m: Array, bearing: Array, yaw: Array) -> Float32:
    """Cars `(M, 7)` on the ground about the ego, its frame."""
    boxes = np.zeros((len(radius_m), 7), np.float32)
    boxes[:, 0], boxes[:, 1] = radius_m * np.cos(bearing), radius_m * np.sin(bearing)
    boxes[:, 2], boxes[:, 3:6], boxes[:, 6] = -BELOW_SENSOR_M, CAR_M, yaw
    return boxes


def _around(air: Air, honest: Message, cars: Float32, own: Listed) -> Float32:
    """Cars `(M, 7)` of the ego's frame in the sender's, by the poses both claim; those out of range left out."""
    there = transform_boxes(invert_pose(honest.world_T_payload) @ air.to.world_T_ego, cars)
    low, high = own.reach_m
    return there[((there >= low) & (there <= high)).all(axis=1)]


def _changed_boxes(honest: Message, sent: Sequence[Message]) -> tuple[float, float]:
    """How many boxes (with their scores) are new, and how many are gone; `inf` twice where anything else changed."""
    if len(sent) != 1 or not same_but(honest, sent[0], BOXES, SCORES):
        return math.inf, math.inf
    a, b = (_rows(m) for m in (honest, sent[0]))
    if a is None or b is None:
        return math.inf, math.inf
    every, index = np.unique(np.concatenate([a, b]), axis=0, return_inverse=True)
    index = index.ravel()  # its shape differs between versions of numpy
    had, has = (np.bincount(i, minlength=len(every)) for i in (index[: len(a)], index[len(a) :]))
    return float(np.maximum(has - had, 0).sum()), float(np.maximum(had - has, 0).sum())


def _rows(message: Message) -> Array | None:
    """A box and its score a row `(n, 8)`, as the bits of float32."""
    boxes, scores = message.payload.get(BOXES), message.payload.get(SCORES)
    if boxes is None or scores is None or boxes.shape != (len(scores), 7) or scores.ndim != 1:
        return None
    if boxes.dtype != np.float32 or scores.dtype != np.float32:
        return None
    rows: Float32 = np.concatenate([boxes, scores[:, None]], axis=1)
    return np.ascontiguousarray(rows).view(np.uint32)


def _box_changes(honest: Message, sent: Sequence[Message], *, columns: slice) -> Float64 | None:
    """What was added to some columns of the boxes `(n, k)`; None where anything else changed."""
    if len(sent) != 1 or not same_but(honest, sent[0], BOXES):
        return None
    a, b = honest.payload[BOXES], sent[0].payload[BOXES]
    if a.shape != b.shape or a.dtype != b.dtype:
        return None
    rest = [k for k in range(7) if k not in range(*columns.indices(7))]
    if not same_array(a[:, rest], b[:, rest]):
        return None
    return b[:, columns].astype(np.float64) - a[:, columns].astype(np.float64)


ATTACKS: Final[Mapping[str, type[Any]]] = {
    "box_confidence": BoxConfidence,
    "box_flood": BoxFlood,
    "box_remove": BoxRemove,
    "box_resize": BoxResize,
    "box_shift": BoxShift,
    "box_spoof": BoxSpoof,
}
