"""Messages of boxes, `boxes (n, 7)` in the sender's own frame and `scores (n,)`; and what changed in them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np

from robosac.air import Air
from robosac.attacks.base import Altering, Stage
from robosac.attacks.colluders import Colluders
from robosac.attacks.measures import pairs, same_array, same_but
from robosac.types import Array, Codec, Float32, Float64, InputError, Message

BOXES: Final = "boxes"
SCORES: Final = "scores"


@dataclass(frozen=True, eq=False)
class BoxList:
    """The boxes of one message, and what the codec says of them."""

    boxes: Float32
    scores: Float32
    codec: Codec

    @staticmethod
    def of(message: Message, codec: Codec) -> BoxList:
        """InputError where the codec knows no boxes."""
        if not {BOXES, SCORES} <= set(codec.arrays):
            raise InputError(
                f"expected a codec of boxes and scores (late fusion), got {codec.name!r} with "
                f"{', '.join(codec.arrays)}; attack it on points or features"
            )
        return BoxList(message.payload[BOXES], message.payload[SCORES], codec)

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
class BoxEdit(Altering):
    """A base for attacks on boxes as sent: override `edited`."""

    STAGE: ClassVar = Stage.BOXES

    def altered(self, honest: Message, air: Air, colluders: Colluders) -> Message:
        return honest.with_payload(**self.edited(BoxList.of(honest, air.codec), honest, air, colluders))

    @abstractmethod
    def edited(self, own: BoxList, honest: Message, air: Air, colluders: Colluders) -> Mapping[str, Array]:
        """The boxes or scores, or both, that one attacker sends instead of its `own`."""


# ---------------------------------------------------------------------------------------------- what was changed
def changed_boxes(honest: Message, sent: Sequence[Message]) -> tuple[float, float]:
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


def box_changes(honest: Message, sent: Sequence[Message], *, columns: slice) -> Float64 | None:
    """What was added to some columns of the boxes `(n, k)`; None where anything else changed."""
    both = pairs(honest, sent, [BOXES])
    if both is None:
        return None
    ((a, b),) = both
    rest = [k for k in range(7) if k not in range(*columns.indices(7))]
    if not same_array(a[:, rest], b[:, rest]):
        return None
    return b[:, columns].astype(np.float64) - a[:, columns].astype(np.float64)
