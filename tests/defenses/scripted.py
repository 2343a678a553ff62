"""A detector whose result for each subset is written down, whatever was sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.types import (
    BevGrid,
    Codec,
    Detections,
    Detector,
    Id,
    Message,
    Received,
    Request,
    Subset,
    Verdict,
    View,
    keyed_rng,
)

CODEC = Codec("nothing", {})
Script = Callable[[Subset], Detections]


def ground(radius_m: float = 38.0) -> View:
    """An ego whose rays end on flat ground all around."""
    angle = np.linspace(-np.pi, np.pi, 180, endpoint=False)
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1) for r in np.arange(4.0, radius_m, 1.4)]
    points = np.ones((len(rings) * 180, 4), np.float32)
    points[:, :2], points[:, 2] = np.concatenate(rings), -1.8
    return View("ego", "vehicle", 0, points, np.eye(4))


EGO = ground()
TO = Request.of(EGO)


@dataclass
class Scripted:
    """Implements Session: each subset is decoded once."""

    ids: Sequence[Id]
    script: Script
    decoded: dict[Subset, Detections] = field(default_factory=dict)

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        for s in subsets:
            assert s <= set(self.ids)
            if s not in self.decoded:
                self.decoded[s] = self.script(s)
        return [self.decoded[s] for s in subsets]


@dataclass
class ByScript:
    """Implements Detector."""

    script: Script
    name: str = "scripted"
    grid: BevGrid | None = None
    codec: Codec = CODEC
    sessions: list[Scripted] = field(default_factory=list)

    def encode(self, view: View, to: Request) -> Message:
        raise NotImplementedError

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Scripted:
        self.sessions.append(Scripted([m.sender for m in messages], self.script))
        return self.sessions[-1]


def sent(ids: Sequence[Id]) -> list[Received]:
    return [Received.honest(Message(i, "ego", 0, np.eye(4), CODEC.name, {}), TO) for i in ids]


def step(
    defense: Robosac, detector: Detector, ids: Sequence[Id], calibration: Calibration | None, *, seed: int = 0
) -> Verdict:
    """The verdict on a scenario's first frame."""
    return defense.start("s", calibration, keyed_rng(seed)).step(detector, EGO, TO, sent(ids))
