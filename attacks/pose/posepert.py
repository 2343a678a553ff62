"""One real object moved by less than a metre, everything else left as it is: a lie that no map of scores shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker
from robosac.attacks.adaptive.penalised import Judged, Reaches, Steered, steer_messages
from robosac.attacks.colluders import Crew
from robosac.attacks.features.objectives import Peaks
from robosac.attacks.features.problem import FullFusion, Key, Problem
from robosac.attacks.features.regions import on_map, on_sender_maps
from robosac.attacks.settings import real
from robosac.capabilities import BoxDifferentiable
from robosac.types import Array, BevGrid, Id, InputError, Message, Subset


@dataclass(frozen=True, kw_only=True)
class PosePert(Steered):
    """PosePert: the box of one object that the full fusion detects is moved; scores and the other boxes are pinned.

    The object is one that lies on an attacker's map, drawn a frame; the direction is drawn once a scenario unless
    given. Features move only where they lie within `radius_m` of the object. Needs a `BoxDifferentiable` session;
    `objective` is not in play.

    Attributes:
        shift_m: how far the centre of the box is to go, below 1.
        bearing_deg: direction of the shift in the ego frame, counter-clockwise from +x; None draws it.
        min_score: of an object that is worth moving.
        score_tolerance: no score of the map may change by more.
        box_tolerance_m: no other object's centre, nor the length or width of this one, may change by more.
        radius_m: see above.
    """

    epsilon: float = 0.5
    penalty_weight: float = 2.0
    step_per_epsilon: float = 0.1
    steps: int = 40
    shift_m: float = 0.9
    bearing_deg: float | None = None
    min_score: float = 0.5
    score_tolerance: float = 0.2
    box_tolerance_m: float = 0.2
    radius_m: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "shift_m", low=0.0, high=1.0)
        real(self, "min_score", low=1e-6, high=1 - 1e-6)
        real(self, "score_tolerance", low=0.0, high=1.0)
        real(self, "box_tolerance_m", low=0.0)
        real(self, "radius_m", low=0.0)
        if self.bearing_deg is not None:
            real(self, "bearing_deg")

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        crew = Crew.gather(attackers, rng)
        bearing = float(rng.uniform(0.0, 360.0)) if self.bearing_deg is None else self.bearing_deg
        return ShiftingAttacker(self, crew, math.radians(bearing))


@dataclass(frozen=True)
class ShiftingAttacker:
    """One scenario of `PosePert`: the direction, `bearing` in radians, is kept from frame to frame."""

    attack: PosePert
    crew: Crew
    bearing: float

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present; the honest one where there is no object that they could move.

        Raises:
            InputError: the detector's session gives no boxes that can be differentiated, or it has no grid.
        """
        attack, honest = self.attack, self.crew.honest(air)
        if not honest or attack.epsilon == 0:
            return list(honest.values())
        problem = Problem.pose(air, honest, attack.objective, FullFusion(), self.crew.rng(air, "problem"))
        session, grid = problem.session, air.detector.grid
        if not isinstance(session, BoxDifferentiable) or grid is None:
            raise InputError(
                f"expected a session of detector {air.detector.name!r} that can differentiate boxes, and a grid, got "
                f"{type(session).__name__} and {grid}; hide or spoof an object instead"
            )
        with torch.no_grad():
            logits, boxes = session.logits_and_boxes({}, problem.unattacked.subsets)
        objects = Peaks(score=attack.min_score).mark(logits)[0]
        cells = objects.nonzero().numpy()
        centres = boxes[0][objects][:, :2].double().numpy()
        covered = [on_map(centres, grid, air.to.world_T_ego, m.world_T_payload) for m in honest.values()]
        within = np.flatnonzero(np.any(covered, axis=0))
        if len(within) == 0:
            return list(honest.values())
        chosen = within[int(self.crew.rng(air, "object").integers(len(within)))]
        cell, centre = (int(cells[chosen, 0]), int(cells[chosen, 1])), centres[chosen]
        reach = {who: self._reach(air, message, grid, centre) for who, message in honest.items()}
        judged = self._judged(session, problem.unattacked.subsets, logits, boxes[0], objects, cell)
        return steer_messages(attack, air, honest, judged, reach)

    def _reach(self, air: Air, message: Message, grid: BevGrid, centre: Array) -> Reaches:
        """How far features of one attacker may move: `epsilon` within the radius of `centre (2,)`, else not at all."""
        x = grid.x_min_m + (np.arange(grid.cols) + 0.5) * grid.cell_m
        y = grid.y_min_m + (np.arange(grid.rows) + 0.5) * grid.cell_m
        near = np.hypot(x[None, :] - centre[0], y[:, None] - centre[1]) <= self.attack.radius_m
        shares = on_sender_maps(near, grid, air, message)
        return {name: self.attack.epsilon * share.astype(np.float64) for name, share in shares.items()}

    def _judged(
        self,
        session: BoxDifferentiable,
        subsets: Sequence[Subset],
        clean_logits: Tensor,
        clean: Tensor,
        objects: Tensor,
        cell: tuple[int, int],
    ) -> Judged:
        """Arrays -> metres that the object's centre is off its goal, and what else changed beyond the tolerances."""
        attack = self.attack
        goal = clean[cell][:2] + attack.shift_m * clean.new_tensor([math.cos(self.bearing), math.sin(self.bearing)])
        others = objects.clone()
        others[cell] = False
        scores = clean_logits.sigmoid()

        def judged(arrays: Mapping[Key, Tensor]) -> tuple[Tensor, Tensor]:
            payloads: dict[Id, dict[str, Tensor]] = {}
            for (who, name), tensor in arrays.items():
                payloads.setdefault(who, {})[name] = tensor
            logits, boxes = session.logits_and_boxes(payloads, subsets)
            off = (boxes[0][cell][:2] - goal).square().sum().add(1e-12).sqrt()
            moved = (boxes[0][others][:, :2] - clean[others][:, :2]).abs() - attack.box_tolerance_m
            grown = (boxes[0][cell][3:5] - clean[cell][3:5]).abs() - attack.box_tolerance_m
            changed = (logits.sigmoid() - scores).abs() - attack.score_tolerance
            return off, sum((t.clamp(min=0.0).sum() for t in (moved, grown, changed)), torch.zeros(()))

        return judged


ATTACKS: Final[Mapping[str, type[Any]]] = {"pose_pert": PosePert}
