"""The toy detector with score maps, boxes and a defence: what attacks that adapt have to do with."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from robosac.agreement import Agreement, ScoreMapOverlap
from robosac.air import Air, Knowledge
from robosac.defenses import Known, RobosacAgreement
from robosac.types import Array, Detections, Float32, Message, Request, Subset, View, keyed_rng
from tests.attacks.toy import EVERYTHING, GRID, ToyDetector, ToySession, make_air

SHIFT_M = 4.0  # metres a box moves along x where the fused channel 2 rises by 1


@dataclass
class MapSession(ToySession):
    """Score maps, and at each cell a car whose centre channel 2 shifts along x and channel 1 along y (not where all
    see one: there it is in the middle of the cell)."""

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        maps = self.logits({}, subsets).sigmoid().numpy()
        return [Detections(np.zeros((0, 7), np.float32), np.zeros(0, np.float32), m) for m in maps]

    def logits_and_boxes(
        self, payloads: Mapping[str, Any], subsets: Sequence[Subset]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        sent = {i: torch.from_numpy(m.payload["features"].copy()) for i, m in self.messages.items()}
        sent |= {i: p["features"] for i, p in payloads.items()}
        fused = torch.stack(
            [torch.stack([torch.from_numpy(self.ego), *(sent[i] for i in sorted(s))]).mean(0) for s in subsets]
        )
        x = GRID.x_min_m + torch.arange(GRID.cols) + 0.5 + SHIFT_M * (fused[:, 2] - 0.3)
        y = GRID.y_min_m + torch.arange(GRID.rows)[:, None] + 0.5 + SHIFT_M * (fused[:, 1] - 0.05)
        rest = [torch.full_like(x, v) for v in (0.0, 4.5, 1.9, 1.6, 0.0)]
        return self.logits(payloads, subsets), torch.stack([x, y, *rest], dim=-1)


@dataclass
class MapDetector(ToyDetector):
    """A toy that says more than logits."""

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Any:
        if not self.differentiable:
            return super().open(ego, to, messages)
        return MapSession(self.features(ego), {m.sender: m for m in messages}, self.calls)


def robosac(threshold: float = 0.6, agreement: Agreement | None = None) -> RobosacAgreement:
    """Assumes that nobody attacks: it tries everybody, and smaller subsets where these do not agree."""
    return RobosacAgreement(plan=Known(attackers=0), agreement=agreement or ScoreMapOverlap(), threshold=threshold)


DEFENSE = robosac()


def looks_left() -> Float32:
    """A scan that ends on the ground left of the ego, 1 to 2 m off: the row of cells there is seen."""
    xy: Array = np.stack(np.meshgrid(np.linspace(-1.9, 2.9, 49), np.linspace(1.05, 1.95, 10)), -1).reshape(-1, 2)
    return np.concatenate([xy, np.full((len(xy), 1), -1.3), np.zeros((len(xy), 1))], 1).astype(np.float32)


def defended_air(
    attackers: Sequence[str],
    others: Sequence[str] = ("x", "y"),
    *,
    index: int = 0,
    knowledge: Knowledge = EVERYTHING,
    detector: ToyDetector | None = None,
    defense: RobosacAgreement | None = DEFENSE,
) -> Air:
    """`tests.attacks.toy.make_air` with a defence and an ego that sees a part of its surroundings."""
    detector = detector or MapDetector()
    air = make_air(attackers, others, index=index, knowledge=knowledge, detector=detector)
    return dataclasses.replace(
        air,
        _ego=dataclasses.replace(air._ego, points=looks_left()),
        _defense=None if defense is None else defense.surrogate(None, detector.name),
        _defender=None if defense is None else defense.start("scene", None, keyed_rng(3, index)),
    )
