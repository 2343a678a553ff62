"""How every frame of a defence begins: the gate, then a session of what passed, whose decodes are counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.defenses.stages import Stages
from robosac.gate import Gate, Inbox
from robosac.poses import FreeGround
from robosac.types import EGO_ALONE, Detections, Detector, Id, Received, Request, Session, Subset, View


def opened(
    gate: Gate, stages: Stages, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]
) -> tuple[Inbox, Session]:
    """What the gate let in, and a session of it; the time of both is counted."""
    with stages.measure("gate"):
        admitted = gate.admit(to, detector.codec, inbox)
    with stages.measure("encode"):
        return admitted, detector.open(ego, to, admitted.messages)


@dataclass(frozen=True, eq=False)
class Heard:
    """What is left of an inbox after the gate and the check of poses.

    Attributes:
        session: of the messages that go on.
        admitted: whose messages the gate let in.
        rejected: link -> why its message was left out.
        nobody: why nobody passed the gate; None where somebody did.
        told: what was mended and refused, in words.
        decodes: that the check of poses took.
        leaning: whose pose was mended on the word of others, and whose, who may be wrong: what such a one shows is not
            its own alone.
    """

    session: Session
    admitted: Subset
    rejected: Mapping[Id, str]
    nobody: str | None
    told: str = ""
    decodes: int = 0
    leaning: Mapping[Id, Subset] = field(default_factory=dict)

    def answering(self, subset: Subset) -> Subset:
        """A subset, with all on whose word the poses in it rest."""
        more = subset.union(*(self.leaning.get(i, EGO_ALONE) for i in subset))
        return subset if more == subset else self.answering(more)


@dataclass(eq=False)
class Decoding:
    """Decodes subsets of one session, and counts them and their time."""

    session: Session
    stages: Stages
    done: set[Subset] = field(default_factory=set)  # a batch may hold some that are never judged

    def __call__(self, subsets: Sequence[Subset]) -> list[Detections]:
        self.done.update(subsets)
        with self.stages.measure("decode"):
            return self.session.detect(subsets)


@dataclass(frozen=True, eq=False)
class OpenFrame:
    """One frame, opened and its poses verified.

    Attributes:
        ground: what the ego's rays prove to be free; computed when first asked for.
        rng: this frame's own.
    """

    detector: Detector
    ego: View
    to: Request
    heard: Heard
    detect: Decoding
    ground: Callable[[], FreeGround]
    stages: Stages
    rng: np.random.Generator

    @property
    def ids(self) -> tuple[Id, ...]:
        """Who goes on."""
        return tuple(self.heard.session.ids)
