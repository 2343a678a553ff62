"""A detector small enough to reason about: agents send the boxes they see, fusion is their union.

A view's "points" are read as car centres, so a frame is written down as a list of positions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robosac.boxes import nms_bev, transform_points
from robosac.types import BevGrid, Codec, Detections, Frame, InputError, Message, Received, Request, Subset, View

GRID = BevGrid(-40.0, -40.0, 2.0, 40, 40)
CODEC = Codec("toy", {"centres": ((None, 2), "float32", -200.0, 200.0)})


def view(name: str, centres: Iterable[tuple[float, float]], *, t_ns: int = 0) -> View:
    """A view whose points are car centres, on the ground, in the world frame (all sensors at the origin)."""
    xy = np.array(list(centres), np.float32).reshape(-1, 2)
    points = np.concatenate([xy, np.full((len(xy), 1), -2.0, np.float32), np.ones((len(xy), 1), np.float32)], axis=1)
    return View(name, "vehicle", t_ns, points, np.eye(4))


def frame(seen: Mapping[str, Iterable[tuple[float, float]]], *, ego: str = "ego", scenario: str = "toy") -> Frame:
    """A frame from what each agent sees; `ego` is the ego's name."""
    views = {name: view(name, centres) for name, centres in seen.items()}
    return Frame(scenario, 0, views.pop(ego), views)


def detections(centres: np.ndarray) -> Detections:
    """4 x 2 m boxes at the centres `(N, 2)`, score 0.9, with a score map of one cell a box."""
    boxes = np.zeros((len(centres), 7), np.float32)
    boxes[:, :2], boxes[:, 3:6] = centres, (4.0, 2.0, 1.5)
    scores = np.full(len(centres), 0.9, np.float32)
    keep = nms_bev(boxes, scores, 0.1)
    boxes, scores = boxes[keep], scores[keep]
    score_map = np.zeros((GRID.rows, GRID.cols), np.float32)
    inside = GRID.contains(boxes)
    row, col = GRID.cells(boxes[inside])
    score_map[row, col] = scores[inside]
    return Detections(boxes, scores, score_map)


@dataclass
class ToySession:
    ego: View
    messages: Mapping[str, Message]
    decoded: list[Subset] = field(default_factory=list)

    @property
    def ids(self) -> Sequence[str]:
        return sorted(self.messages)

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        unknown = frozenset().union(*subsets) - set(self.ids)
        if unknown:
            raise InputError(f"expected teammates among {self.ids}, got {sorted(unknown)}")
        self.decoded += subsets
        return [
            detections(
                np.concatenate([self.ego.points[:, :2], *(self.messages[i].payload["centres"] for i in sorted(s))])
            )
            for s in subsets
        ]


@dataclass
class ToyDetector:
    name: str = "toy"
    grid: BevGrid | None = GRID
    codec: Codec = CODEC
    sessions: list[ToySession] = field(default_factory=list)

    def encode(self, view: View, to: Request) -> Message:
        centres = transform_points(view.world_T_sensor, view.points)[:, :2].copy()
        return Message(
            sender=view.id,
            to=to.ego,
            sensed_ns=view.t_ns,
            world_T_payload=view.world_T_sensor,
            codec=self.codec.name,
            payload={"centres": centres},
        )

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> ToySession:
        self.sessions.append(ToySession(ego, {m.sender: m for m in messages}))
        return self.sessions[-1]


def received(messages: Sequence[Message], to: Request) -> list[Received]:
    """Messages as they arrive from who sends on a link of its own."""
    return [Received.honest(m, to) for m in messages]
