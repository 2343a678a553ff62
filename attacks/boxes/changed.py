"""Boxes changed as they are sent: moved, turned, resized, too sure. What is sent always fits the codec."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robosac.air import Air
from robosac.attacks.boxes.lists import BOXES, SCORES, BoxEdit, BoxList, box_changes
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.projection import FeasibleSet
from robosac.attacks.measures import linf_size, pairs, same_array
from robosac.attacks.registry import register
from robosac.attacks.settings import choice, number, part
from robosac.boxes import yaw_of
from robosac.types import Array, Message


@register("box_shift")
@dataclass(frozen=True, kw_only=True)
class BoxShift(BoxEdit):
    """Every box moves: along its own heading or across it, to a side that is drawn; or all of them together.

    Attributes:
        metres: how far.
        way: "along" or "across" each heading, a side drawn for each box; "together": one bearing in the world, drawn
            for the frame, for all boxes of all attackers, so that they bear each other out.
    """

    BUDGET, UNIT = "metres", "m"

    metres: float = number(1.0, low=0.0)
    way: str = choice("along", "along", "across", "together")

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        way = colluders.rng(air, "shift", honest.sender).choice([-1.0, 1.0], len(own.boxes))
        boxes = own.boxes.copy()
        yaw = boxes[:, 6] + (np.pi / 2 if self.way == "across" else 0.0)
        if self.way == "together":
            way, bearing = np.ones(len(boxes)), colluders.rng(air, "shift").uniform(-np.pi, np.pi)
            yaw = np.full(len(boxes), bearing - yaw_of(honest.world_T_payload))
        # coordinates are rounded to the message's numbers: what that may add is taken off before
        step = max(
            0.0, self.metres - 2 * float(np.spacing(np.abs(boxes[:, :2]).max(initial=0) + np.float32(self.metres)))
        )
        for k, along in ((0, np.cos(yaw)), (1, np.sin(yaw))):
            boxes[:, k] = np.clip(own.boxes[:, k].astype(np.float64) + way * step * along, *own.reach_m)
        return {BOXES: boxes}

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest distance that a centre moved; `inf` where anything else changed."""
        moved = box_changes(honest, sent, columns=slice(0, 2))
        return math.inf if moved is None else float(np.hypot(moved[:, 0], moved[:, 1]).max(initial=0.0))


@register("box_turn")
@dataclass(frozen=True, kw_only=True)
class BoxTurn(BoxEdit):
    """Every box turns about its centre, all of them to the left.

    Attributes:
        degrees: how far.
    """

    BUDGET, UNIT = "degrees", "degrees"

    degrees: float = number(90.0, low=0.0, high=180.0)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        boxes = own.boxes.copy()
        boxes[:, 6] += max(0.0, math.radians(self.degrees) - 1e-5)  # the message's numbers round
        return {BOXES: boxes}

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest turn in degrees; `inf` where anything else changed."""
        turned = box_changes(honest, sent, columns=slice(6, 7))
        return math.inf if turned is None else math.degrees(float(np.abs(turned).max(initial=0.0)))


@register("box_resize")
@dataclass(frozen=True, kw_only=True)
class BoxResize(BoxEdit):
    """Every box grows, or shrinks, by one factor: `1 + share`, or 1 over that.

    Attributes:
        share: what is added to the length, width and height of the larger of the two.
        shrink: they shrink.
    """

    BUDGET, UNIT = "share", "share of the size"

    share: float = number(0.5, low=0.0)
    shrink: bool = part(bool, bool)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        boxes = own.boxes.copy()
        factor = 1 + self.share * (1 - 1e-6) - 4e-7  # the message's numbers round
        sizes = own.boxes[:, 3:6].astype(np.float64)
        if factor > 1:
            boxes[:, 3:6] = np.minimum(sizes / factor if self.shrink else sizes * factor, own.reach_m[1])
        return {BOXES: boxes}

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest factor between a size sent and the honest one, less 1; `inf` where anything else changed."""
        if box_changes(honest, sent, columns=slice(3, 6)) is None:
            return math.inf
        a, b = (m.payload[BOXES][:, 3:6].astype(np.float64) for m in (honest, sent[0]))
        if same_array(a, b):
            return 0.0
        if (np.minimum(a, b) <= 0).any():
            return math.inf
        return float((np.maximum(a, b) / np.minimum(a, b)).max(initial=1.0) - 1)


@register("box_confidence")
@dataclass(frozen=True, kw_only=True)
class BoxConfidence(BoxEdit):
    """Every box is sent with more confidence than one has, up to certainty; order and boxes stay.

    Attributes:
        added: what each score gains.
    """

    BUDGET, UNIT = "added", "score"

    added: float = number(0.5, low=0.0)

    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        low, high = own.codec.arrays[SCORES][2:]
        return {SCORES: FeasibleSet.around(own.scores, self.added, low=low, high=high).upper}

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Largest change of a score; `inf` where anything else changed."""
        return math.inf if pairs(honest, sent, [SCORES]) is None else linf_size(honest, sent)
