"""How every frame of a defence begins: the gate, then a session of what passed."""

from __future__ import annotations

from collections.abc import Sequence

from robosac.defenses.stages import Stages
from robosac.gate import Gate, Inbox
from robosac.types import Detector, Received, Request, Session, View


def opened(
    gate: Gate, stages: Stages, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]
) -> tuple[Inbox, Session]:
    """What the gate let in, and a session of it; the time of both is counted."""
    with stages.measure("gate"):
        admitted = gate.admit(to, detector.codec, inbox)
    with stages.measure("encode"):
        return admitted, detector.open(ego, to, admitted.messages)
