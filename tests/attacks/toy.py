"""A detector small enough to reason about: linear fusion of 3 channels on a 4 x 5 map, no warping, no weights file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from robosac.air import Air, Knowledge
from robosac.types import BevGrid, Codec, Detections, Message, Request, Subset, View, keyed_rng

SHAPE = (3, 4, 5)
GRID = BevGrid(-2.0, -2.0, 1.0, 4, 5)
WEIGHTS = np.array([8.0, -6.0, 3.0], np.float32)  # logit = WEIGHTS . mean over ego and subset of the features - BIAS
BIAS = 2.5
OBJECTS = [(1, 1), (2, 3)]  # the cells where everybody sees a car
EVERYTHING = Knowledge.MODEL | Knowledge.TEAMMATES | Knowledge.VICTIM | Knowledge.DEFENSE | Knowledge.SEED


@dataclass
class ToySession:
    ego: np.ndarray
    messages: Mapping[str, Message]
    calls: list[Subset]

    @property
    def ids(self) -> Sequence[str]:
        return sorted(self.messages)

    def logits(self, payloads: Mapping[str, Any], subsets: Sequence[Subset]) -> torch.Tensor:
        self.calls.extend(subsets)
        sent = {i: torch.from_numpy(m.payload["features"].copy()) for i, m in self.messages.items()}
        sent |= {i: p["features"] for i, p in payloads.items()}
        fused = torch.stack(
            [torch.stack([torch.from_numpy(self.ego), *(sent[i] for i in sorted(s))]).mean(0) for s in subsets]
        )
        return torch.einsum("c,schw->shw", torch.from_numpy(WEIGHTS), fused) - BIAS

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        return [Detections.empty() for _ in subsets]


class BlindSession:
    """A session without `logits`."""

    ids = ()

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        return [Detections.empty() for _ in subsets]


@dataclass
class ToyDetector:
    name: str = "toy"
    grid: BevGrid = GRID
    differentiable: bool = True
    flat: bool = False  # everybody sees the same in every frame: what differs then is the attack's doing
    calls: list[Subset] = field(default_factory=list)

    @property
    def codec(self) -> Codec:
        return Codec("toy", {"features": (SHAPE, "float32", 0.0, 1.0), "slots": ((None,), "int64", 0, 99)})

    def features(self, view: View) -> np.ndarray:
        """A car raises channel 0 and lowers channel 1; some exact zeros and a negative zero, as a ReLU leaves them."""
        if self.flat:
            return np.full(SHAPE, 0.5, np.float32)
        rng = keyed_rng(view.t_ns, view.id)
        made = rng.uniform(0.05, 0.2, SHAPE).astype(np.float32)
        for row, col in OBJECTS:
            made[:, row, col] = [0.9, 0.05, 0.3]
        made[2, 0, :2] = [0.0, -0.0]
        return made

    def encode(self, view: View, to: Request) -> Message:
        payload = {"features": self.features(view), "slots": np.arange(4)}
        return Message.of(view, to, "toy", payload)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Any:
        if not self.differentiable:
            return BlindSession()
        return ToySession(self.features(ego), {m.sender: m for m in messages}, self.calls)


def view(name: str, t_ns: int = 7) -> View:
    return View(name, "vehicle", t_ns, np.zeros((0, 4), np.float32), np.eye(4))


def make_air(
    attackers: Sequence[str],
    others: Sequence[str] = ("x", "y"),
    *,
    index: int = 0,
    knowledge: Knowledge = EVERYTHING,
    detector: ToyDetector | None = None,
) -> Air:
    """One frame in which `attackers` and honest `others` send to the ego `e`."""
    detector = detector or ToyDetector()
    ego = view("e", 7 + index)
    to = Request.of(ego)
    views = {name: view(name, 7 + index) for name in [*attackers, *others]}
    sent = {name: detector.encode(v, to) for name, v in views.items()}
    return Air(
        scenario="scene",
        index=index,
        to=to,
        own={name: views[name] for name in attackers},
        honest={name: sent[name] for name in attackers},
        knowledge=knowledge,
        _detector=detector,
        _others={name: sent[name] for name in others},
        _ego=ego,
    )


def full_logits(air: Air, messages: Sequence[Message]) -> torch.Tensor:
    """Class logits `(1, H, W)` of the full fusion when the attackers send `messages`."""
    sent = {**air._others, **{m.sender: m for m in messages}}
    return air._detector.open(air._ego, air.to, list(sent.values())).logits({}, [frozenset(sent)])
