"""What a gradient attack minimises on one frame: an objective on the logits of the target subsets.

`Problem.on_frame` opens the session and looks at the clean frame once; `loss` is then a function of the attackers'
arrays, all of them together: colluding attackers are one optimisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.features.descent import Arrays
from robosac.attacks.features.labels import scores_of
from robosac.attacks.features.objectives import CleanFrame, Loss, Objective
from robosac.attacks.features.target_subsets import TargetSubsets
from robosac.capabilities import Differentiable
from robosac.types import EGO_ALONE, Id, InputError, Message, Subset


@dataclass(frozen=True, eq=False)
class Problem:
    """One frame's optimisation.

    Attributes:
        session: with the honest messages of everybody.
        attackers: whose arrays are free.
        clean: the frame as it would be without the attack.
        objective_loss: the objective, fixed on this frame.
    """

    session: Differentiable
    attackers: Subset
    clean: CleanFrame
    objective_loss: Loss

    @staticmethod
    def on_frame(
        air: Air,
        honest: Mapping[Id, Message],
        objective: Objective,
        target_subsets: TargetSubsets,
        rng: np.random.Generator,
    ) -> Problem:
        """The problem of the attackers in `honest` on the frame in the air.

        Raises:
            InputError: the detector's session is not `Differentiable`.
        """
        session = open_session(air, honest)
        attackers = frozenset(honest)
        subsets = target_subsets.subsets(air, attackers, rng)
        with torch.no_grad():
            everything = session.logits({}, [*subsets, *(s - attackers for s in subsets), EGO_ALONE])
        n, alone = len(subsets), everything[-1]
        defense = air.defense if Knowledge.DEFENSE in air.knowledge else None
        clean = CleanFrame(
            logits=everything[:n],
            grid=air.detector.grid,
            subsets=tuple(subsets),
            alone=alone,
            without=everything[n : 2 * n],
            agreement=None if defense is None else defense.against(alone, air.ego, air.detector.grid),
            thresholds=None if defense is None else torch.tensor([defense.threshold(len(s)) for s in subsets]),
            rng=rng,
            scores=scores_of(air.detector, session, subsets),
            note=air.note,
        )
        return Problem(session, attackers, clean, objective.make_loss(clean))

    def payloads(self, arrays: Arrays) -> dict[Id, dict[str, Tensor]]:
        """Arrays by attacker and name, as sessions take them."""
        return {i: {name: tensor for (who, name), tensor in arrays.items() if who == i} for i in self.attackers}

    def logits(self, arrays: Arrays) -> Tensor:
        """Class logits `(S, H, W)` when the attackers send these arrays."""
        return self.session.logits(self.payloads(arrays), self.clean.subsets)  # type: ignore[no-any-return]

    def loss(self, arrays: Arrays) -> Tensor:
        """The objective, a scalar to be minimised."""
        return self.objective_loss(self.logits(arrays))


def open_session(air: Air, messages: Mapping[Id, Message]) -> Differentiable:
    """A session of everybody in the air, with `messages` in place of what the attackers honestly send.

    Raises:
        InputError: it is not `Differentiable`.
    """
    sent = {**air.others, **messages}
    session = air.detector.open(air.ego, air.to, [sent[i] for i in sorted(sent)])
    if not isinstance(session, Differentiable):
        raise InputError(
            f"expected a differentiable session of detector {air.detector.name!r}, got {type(session).__name__} "
            "without `logits`; attack it without gradients (for instance `noise`) or by `transfer` from another"
        )
    return session
