"""One real object moved by less than a metre, everything else left as it is: no map of scores shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker
from robosac.attacks.adaptive.penalised import Judged, PenalisedPgd
from robosac.attacks.base import StatelessAttacker, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.descent import Arrays
from robosac.attacks.features.labels import Peaks
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.projection import Reaches
from robosac.attacks.features.regions import on_map, on_sender_maps
from robosac.attacks.features.target_subsets import FullFusion
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.capabilities import BoxDifferentiable
from robosac.types import Array, BevGrid, Id, InputError, Message, Subset


@register("pose_pert")
@dataclass(frozen=True, kw_only=True)
class PosePert(PenalisedPgd):
    """PosePert: the box of one object that the full fusion detects is moved; scores and the other boxes are pinned.

    The object is one that is on an attacker's map, drawn a frame; the direction is drawn once a scenario unless
    given. Features move only where they are within `radius_m` of the object. Needs a `BoxDifferentiable` session;
    `objective` is not in play.

    Attributes:
        shift_m: how far the centre of the box is to go, below 1.
        bearing_deg: direction of the shift in the ego frame, counter-clockwise from +x; None draws it.
        min_score: of an object that is worth moving; None takes the score from which the detector's cells count as
            objects.
        score_tolerance: no score of the map may change by more.
        box_tolerance_m: no other object's centre, nor the length or width of this one, may change by more.
        radius_m: see above.
    """

    epsilon: float | str = 0.5
    penalty_weight: float = 2.0
    step_per_epsilon: float = 0.1
    steps: int = 40
    shift_m: float = number(0.9, low=0.0, high=1.0)
    bearing_deg: float | None = number(None)
    min_score: float | None = number(None, low=1e-6, high=1 - 1e-6)
    score_tolerance: float = number(0.2, low=0.0, high=1.0)
    box_tolerance_m: float = number(0.2, low=0.0)
    radius_m: float = number(8.0, low=0.0)

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        colluders = Colluders.gather(attackers, rng)
        drawn = float(rng.uniform(0.0, 360.0)) if self.bearing_deg is None else self.bearing_deg
        return StatelessAttacker(replace(self, bearing_deg=drawn), colluders)

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        problem = self.problem(honest, air, colluders, FullFusion())
        session, grid = problem.session, air.detector.grid
        if not isinstance(session, BoxDifferentiable) or grid is None:
            raise InputError(
                f"expected a session of detector {air.detector.name!r} that can differentiate boxes, and a grid, got "
                f"{type(session).__name__} and {grid}; hide or spoof an object instead"
            )
        with torch.no_grad():
            logits, boxes = session.logits_and_boxes({}, problem.clean.subsets)
        objects = problem.clean.marked(Peaks(score=self.min_score), logits)[0]
        cells = objects.nonzero().numpy()
        centres = boxes[0][objects][:, :2].double().numpy()
        covered = [on_map(centres, grid, air.to.world_T_ego, m.world_T_payload) for m in honest.values()]
        within = np.flatnonzero(np.any(covered, axis=0))
        if len(within) == 0:  # no object that they could move
            return list(honest.values())
        chosen = within[int(colluders.rng(air, "object").integers(len(within)))]
        cell, centre = (int(cells[chosen, 0]), int(cells[chosen, 1])), centres[chosen]
        reach = {who: self._reach_around(centre, air, message, grid) for who, message in honest.items()}
        return self.optimised(honest, air, self._judged(problem, session, logits, boxes[0], objects, cell), reach)

    def _reach_around(self, centre: Array, air: Air, message: Message, grid: BevGrid) -> Reaches:
        """How far features of one attacker may move: `epsilon` within the radius of `centre (2,)`, else not at all."""
        x = grid.x_min_m + (np.arange(grid.cols) + 0.5) * grid.cell_m
        y = grid.y_min_m + (np.arange(grid.rows) + 0.5) * grid.cell_m
        near = np.hypot(x[None, :] - centre[0], y[:, None] - centre[1]) <= self.radius_m
        shares = on_sender_maps(near, grid, air, message)
        return {name: plain_budget(self) * share.astype(np.float64) for name, share in shares.items()}

    def _judged(
        self,
        problem: Problem,
        session: BoxDifferentiable,
        clean_logits: Tensor,
        clean: Tensor,
        objects: Tensor,
        cell: tuple[int, int],
    ) -> Judged:
        """Arrays -> metres that the object's centre is off its goal, and what else changed beyond the tolerances."""
        bearing = math.radians(self.bearing_deg or 0.0)
        goal = clean[cell][:2] + self.shift_m * clean.new_tensor([math.cos(bearing), math.sin(bearing)])
        others = objects.clone()
        others[cell] = False
        scores = clean_logits.sigmoid()

        def judged(arrays: Arrays) -> tuple[Tensor, Tensor]:
            logits, boxes = session.logits_and_boxes(problem.payloads(arrays), problem.clean.subsets)
            off = (boxes[0][cell][:2] - goal).square().sum().add(1e-12).sqrt()
            moved = (boxes[0][others][:, :2] - clean[others][:, :2]).abs() - self.box_tolerance_m
            grown = (boxes[0][cell][3:5] - clean[cell][3:5]).abs() - self.box_tolerance_m
            changed = (logits.sigmoid() - scores).abs() - self.score_tolerance
            return off, sum((t.clamp(min=0.0).sum() for t in (moved, grown, changed)), torch.zeros(()))

        return judged
