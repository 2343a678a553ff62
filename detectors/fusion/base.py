"""What late and early fusion share: a single-vehicle detector that is a callable, and who sent what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from robosac.detectors.fusion.callables import Detect
from robosac.types import BevGrid, Codec, InputError, Message, Request, View


@dataclass(eq=False, repr=False)
class PerVehicle:
    """A collaborative detector made of a single-vehicle one. Stateless but for what `detect` is.

    Attributes:
        detect: points `(N, 4)` float32 in a sensor's frame -> boxes `(M, 7)` there and scores `(M,)` in [0, 1].
        name: names the detector in results and calibrations.
        grid: where results are compared and evaluated; None takes `robosac.agreement.DEFAULT_GRID`.
        min_score: boxes below it are neither sent nor used nor reported.
        max_messages: teammates a session takes. With the bound on one message it bounds what a flood of them may cost.
        keep_own_body: keep boxes that hold the ego's own sensor; what teammates see there is the ego itself.
        calibration_file: where its thresholds are kept; None: nowhere, they are named to who needs them.
    """

    detect: Detect
    _: KW_ONLY
    name: str
    grid: BevGrid | None = None
    min_score: float = 0.1
    max_messages: int = 16
    keep_own_body: bool = False
    calibration_file: Path | None = None

    def __post_init__(self) -> None:
        if not callable(self.detect):
            raise InputError(
                f"expected detect to be a callable, points -> (boxes, scores), got {type(self.detect).__name__}"
            )
        if not 0 <= self.min_score <= 1:
            raise InputError(f"expected min_score in [0, 1], got {self.min_score}")

    def fingerprint(self) -> list[Any]:
        """Which fusion, all of its settings, and what `detect` is made of; not what was read off it."""
        return [type(self).__name__, {k: v for k, v in vars(self).items() if k != "calibration_file"}]

    @property
    def reporting_threshold(self) -> float:
        return self.min_score

    @property
    def codec(self) -> Codec:
        raise NotImplementedError

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        raise NotImplementedError

    def _sent(self, others: Sequence[View], to: Request, tampered: Sequence[Message]) -> list[Message]:
        """What these agents send, in the order of names; tampered messages in place of their senders' own."""
        instead = {m.sender: m for m in tampered}
        return [instead.get(v.id) or self.encode(v, to) for v in sorted(others, key=lambda v: v.id)]
