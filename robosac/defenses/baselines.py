"""What a defence is measured against: the ego alone, everybody, and everybody honest.

The same gate stands before each, so that they differ in one thing only: whom they fuse with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.calibration import Calibration
from robosac.defenses.stages import Stages
from robosac.gate import Gate
from robosac.types import EGO_ALONE, Detector, Received, Request, Subset, Verdict, View


@dataclass(frozen=True, kw_only=True)
class EgoOnly:
    """Nobody is listened to."""

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> _Fixed:
        return _Fixed(Gate(), listen=False)


@dataclass(frozen=True, kw_only=True)
class NoDefense:
    """Everybody whose message passes the gate is fused."""

    gate: Gate = field(default_factory=Gate)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> _Fixed:
        return _Fixed(self.gate)


@dataclass(frozen=True, kw_only=True)
class Oracle:
    """Knows who attacks, fuses everybody else: the best any defence that only leaves teammates out can do.

    Evaluation alone can build one, because only evaluation knows the attackers.
    """

    attackers: Subset
    gate: Gate = field(default_factory=Gate)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> _Fixed:
        return _Fixed(self.gate, leave_out=self.attackers)


class _Fixed:
    def __init__(self, gate: Gate, *, listen: bool = True, leave_out: Subset = EGO_ALONE) -> None:
        self._gate, self._listen, self._leave_out = gate, listen, leave_out

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
        stages = Stages()
        with stages.measure("gate"):
            admitted = self._gate.admit(to, detector.codec, inbox if self._listen else ())
        with stages.measure("encode"):
            session = detector.open(ego, to, admitted.messages)
        used = frozenset(session.ids) - self._leave_out
        with stages.measure("decode"):
            result = session.detect([used])[0]
        accused = self._leave_out & frozenset(session.ids)
        return Verdict(
            result=result,
            used=used,
            accused=accused,
            suspicion={i: float(i in accused) for i in session.ids},
            trials=(),
            decodes=1,
            ms=stages.done(),
            reason=(admitted.nobody if self._listen else None) or "fixed choice of teammates",
            rejected=admitted.rejected,
        )
