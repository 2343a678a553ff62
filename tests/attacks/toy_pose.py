"""The toy detector with poses that matter: agents drive at 10 frames a second, maps are brought to the ego."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from robosac.air import Air, Knowledge
from robosac.types import Codec, Detector, Message, Request, Subset, View
from tests.attacks.toy import BIAS, EVERYTHING, GRID, OBJECTS, SHAPE, WEIGHTS, BlindSession, ToyDetector, ToySession

FRAME_NS = 100_000_000


def pose(x_m: float, y_m: float, yaw: float) -> np.ndarray:
    made = np.eye(4)
    made[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    made[:2, 3] = x_m, y_m
    return made


@dataclass
class PosedSession(ToySession):
    """Bilinear sampling of every map at the ego's cells; features beyond a sender's map are 0."""

    ego_pose: np.ndarray = field(default_factory=lambda: np.eye(4))

    def logits(self, payloads: Mapping[str, Any], subsets: Sequence[Subset]) -> torch.Tensor:
        self.calls.extend(subsets)
        sent = {i: torch.from_numpy(m.payload["features"].copy()) for i, m in self.messages.items()}
        sent |= {i: p["features"] for i, p in payloads.items()}
        here = {i: self._warped(x, self.messages[i].world_T_payload) for i, x in sent.items()}
        fused = torch.stack(
            [torch.stack([torch.from_numpy(self.ego), *(here[i] for i in sorted(s))]).mean(0) for s in subsets]
        )
        return torch.einsum("c,schw->shw", torch.from_numpy(WEIGHTS), fused) - BIAS

    def _warped(self, features: torch.Tensor, world_T_payload: np.ndarray) -> torch.Tensor:
        payload_T_ego = np.linalg.inv(world_T_payload) @ self.ego_pose
        row, col = np.mgrid[: GRID.rows, : GRID.cols]
        x, y = GRID.x_min_m + col + 0.5, GRID.y_min_m + row + 0.5
        there = payload_T_ego @ np.stack([x.ravel(), y.ravel(), 0 * x.ravel(), 1 + 0 * x.ravel()])
        at = np.stack([(there[0] - GRID.x_min_m) / GRID.cols, (there[1] - GRID.y_min_m) / GRID.rows], -1) * 2 - 1
        grid = torch.from_numpy(at.reshape(1, GRID.rows, GRID.cols, 2).astype(np.float32))
        return F.grid_sample(features[None], grid, align_corners=False)[0]


@dataclass
class PosedDetector(ToyDetector):
    """`most` messages a session; `opened` counts sessions."""

    most: int | None = None
    opened: list[int] = field(default_factory=list)

    @property
    def codec(self) -> Codec:
        return Codec("toy", super().codec.arrays, max_messages=self.most)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Any:
        assert len({m.sender for m in messages}) == len(messages)
        assert self.most is None or len(messages) <= self.most
        self.opened.append(len(messages))
        if not self.differentiable:
            return BlindSession()
        return PosedSession(self.features(ego), {m.sender: m for m in messages}, self.calls, ego.world_T_sensor)


class CrowdedDetector(PosedDetector):
    """Everybody sees objects in the same cells wherever they are: the pose that is true explains the ego's best."""

    def features(self, view: View) -> np.ndarray:
        made = np.full(SHAPE, 0.1, np.float32)
        for row, col in OBJECTS:
            made[:, row, col] = [0.9, 0.05, 0.3]
        return made


def posed_air(
    attackers: Sequence[str],
    others: Sequence[str] = ("x", "y"),
    *,
    index: int = 0,
    knowledge: Knowledge = EVERYTHING,
    detector: Detector | None = None,
    opens: Callable[[str], Detector] | None = None,
) -> Air:
    """One frame in which agents of their own places drive ahead at 10 m/s, far from the world's origin."""
    detector = detector or PosedDetector()
    t_ns = 5 * FRAME_NS + index * FRAME_NS

    def view(name: str, x_m: float, y_m: float, yaw: float) -> View:
        return View(name, "vehicle", t_ns, np.zeros((0, 4), np.float32), pose(x_m + index, y_m, yaw))

    ego = view("e", 31_234.5, -876.25, 0.3)
    views = {
        name: view(name, 31_234.5 + 0.4 * k, -876.25 - 0.3 * k, 0.3 + 0.05 * k)
        for k, name in enumerate([*attackers, *others])
    }
    to = Request.of(ego)
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
        _open=opens,
    )
