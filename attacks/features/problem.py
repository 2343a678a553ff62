"""What a gradient attack minimises on one frame: an objective on the logits of the subsets that the attackers aim at.

`Problem.pose` opens the session and looks at the frame without the attack, once; `loss` is then a function of the
attackers' arrays, all of them together: colluding attackers are one optimisation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.features.objectives import Loss, Objective, Unattacked
from robosac.capabilities import Differentiable
from robosac.types import EGO_ALONE, Id, InputError, Message, Subset

Key: TypeAlias = tuple[Id, str]  # an attacker and the name of one of its arrays
Arrays: TypeAlias = Mapping[Key, Tensor]


@runtime_checkable
class Aim(Protocol):
    """Which subsets the attackers have in mind."""

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        """One or more subsets of the teammates in the air; each holds an attacker."""
        ...


@dataclass(frozen=True, kw_only=True)
class FullFusion:
    """The ego and all its teammates: what is fused where nobody defends."""

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        return [frozenset(air.others) | attackers]


@dataclass(frozen=True, eq=False)
class Problem:
    """One frame's optimisation.

    Attributes:
        session: with the honest messages of everybody.
        attackers: whose arrays are free.
        unattacked: the frame as it would be.
    """

    session: Differentiable
    attackers: Subset
    unattacked: Unattacked
    _loss: Loss

    @staticmethod
    def pose(
        air: Air, honest: Mapping[Id, Message], objective: Objective, aim: Aim, rng: np.random.Generator
    ) -> Problem:
        """The problem of the attackers in `honest` on the frame in the air.

        Raises:
            InputError: the detector's session is not `Differentiable`.
        """
        session = open_session(air, honest)
        attackers = frozenset(honest)
        subsets = aim.subsets(air, attackers, rng)
        with torch.no_grad():
            everything = session.logits({}, [*subsets, *(s - attackers for s in subsets), EGO_ALONE])
        n = len(subsets)
        alone = everything[-1]
        defense = air.defense if Knowledge.DEFENSE in air.knowledge else None
        unattacked = Unattacked(
            logits=everything[:n],
            grid=air.detector.grid,
            subsets=tuple(subsets),
            alone=alone,
            without=everything[n : 2 * n],
            agreement=None if defense is None else defense.against(alone, air.ego, air.detector.grid),
            thresholds=None if defense is None else torch.tensor([defense.threshold(len(s)) for s in subsets]),
            rng=rng,
        )
        return Problem(session, attackers, unattacked, objective.aim(unattacked))

    def logits(self, arrays: Arrays) -> Tensor:
        """Class logits `(S, H, W)` when the attackers send these arrays."""
        payloads: dict[Id, dict[str, Tensor]] = {i: {} for i in self.attackers}
        for (who, name), tensor in arrays.items():
            payloads[who][name] = tensor
        return self.session.logits(payloads, self.unattacked.subsets)  # type: ignore[no-any-return]

    def loss(self, arrays: Arrays) -> Tensor:
        """The objective, a scalar to be minimised."""
        return self._loss(self.logits(arrays))


def open_session(air: Air, messages: Mapping[Id, Message]) -> Differentiable:
    """A session of everybody in the air, with `messages` in place of what the attackers honestly send.

    Raises:
        InputError: it is not `Differentiable`.
    """
    sent: Mapping[Id, Message] = {**air.others, **messages}
    ordered: Sequence[Message] = [sent[i] for i in sorted(sent)]
    session = air.detector.open(air.ego, air.to, ordered)
    if not isinstance(session, Differentiable):
        raise InputError(
            f"expected a differentiable session of detector {air.detector.name!r}, got {type(session).__name__} "
            "without `logits`; attack it without gradients (for instance `noise`) or by `transfer` from another"
        )
    return session


PARTS: Final[Mapping[str, type[Any]]] = {"full_fusion": FullFusion}
