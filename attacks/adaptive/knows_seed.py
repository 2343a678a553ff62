"""An attack that knows the very random numbers of the defence: it rehearses the frame before it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.adaptive.agreement import KeepsAgreement
from robosac.attacks.adaptive.penalised import WHITE_BOX, Steered, by_logits, steer_messages
from robosac.attacks.colluders import Crew
from robosac.attacks.features.problem import Problem
from robosac.attacks.settings import integer, real
from robosac.types import Id, Message, Subset, Verdict


@dataclass(frozen=True, kw_only=True)
class Exactly:
    """Subsets that are given; an aim."""

    wanted: tuple[Subset, ...]

    def subsets(self, air: Air, attackers: Subset, rng: np.random.Generator) -> list[Subset]:
        return list(self.wanted)


@dataclass(frozen=True, kw_only=True)
class KnowsSeed(Steered):
    """Optimised for exactly the subset that the defence will accept, as a rehearsal on a copy of it shows.

    The first rehearsal is of the honest messages. Then, round by round, a lie is made for the subset that the last
    rehearsal accepted, with agreement to spare that grows when a lie was refused and shrinks when it passed; the most
    harmful one that passed is sent, the honest messages where none did. Without a defence it is the plain objective on
    the full fusion. It is the worst case that no defence with secret random numbers has to meet.

    Attributes:
        rounds: lies that are rehearsed; each costs a whole search and one frame of the defence.
        margin: agreement to spare in the first round.
        margin_step: by how much it changes from round to round, halved each time it turns round.
    """

    rounds: int = 4
    margin: float = 0.01
    margin_step: float = 0.04

    def __post_init__(self) -> None:
        super().__post_init__()
        integer(self, "rounds", low=1)
        real(self, "margin", low=-1.0, high=1.0)
        real(self, "margin_step", low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE | Knowledge.SEED

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return RehearsingAttacker(self, Crew.gather(attackers, rng))


@dataclass(frozen=True)
class RehearsingAttacker:
    """One scenario of `KnowsSeed`. It remembers nothing: what the defence remembers is in the copy it rehearses."""

    attack: KnowsSeed
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays."""
        attack, honest = self.attack, self.crew.honest(air)
        if not honest or attack.epsilon == 0:
            return list(honest.values())
        everybody = frozenset(honest) | frozenset(air.others)
        best, most = list(honest.values()), 0.0
        verdict = _rehearse(air, honest, best)
        target = _polluted(verdict, honest, everybody) or everybody
        margin, step, passed_before = attack.margin, attack.margin_step, None
        for _ in range(attack.rounds):
            sent, drop = self._lie(air, honest, target, margin)
            if verdict is None:  # nobody defends: nothing to tune
                return sent
            used = _polluted(_rehearse(air, honest, sent), honest, everybody)
            passed = used == target
            if passed and drop > most:
                best, most = sent, drop
            target = used or target
            step = step / 2 if passed_before is not None and passed != passed_before else step
            margin, passed_before = margin + (-step if passed else step), passed
        return best

    def _lie(
        self, air: Air, honest: Mapping[Id, Message], target: Subset, margin: float
    ) -> tuple[list[Message], float]:
        """Messages made for one subset, and by how much they lower the loss there: their harm if it is accepted."""
        objective, aim = self.attack.objective, Exactly(wanted=(target,))
        problem = Problem.pose(air, honest, objective, aim, self.crew.rng(air, "problem"))
        harm = objective.aim(problem.unattacked)
        penalty = KeepsAgreement(margin=margin).aim(problem.unattacked)
        reach = dict.fromkeys(honest, self.attack.epsilon)
        sent = steer_messages(self.attack, air, honest, by_logits(problem, harm, penalty), reach)
        with torch.no_grad():
            before, after = harm(problem.unattacked.logits), harm(problem.logits(_arrays(sent)))
        return sent, float(before - after)


def _arrays(messages: Sequence[Message]) -> dict[tuple[Id, str], Tensor]:
    return {
        (m.sender, name): torch.from_numpy(np.array(array)).float()
        for m in messages
        for name, array in m.payload.items()
        if np.issubdtype(array.dtype, np.floating)
    }


def _rehearse(air: Air, honest: Mapping[Id, Message], sent: Sequence[Message]) -> Verdict | None:
    """What the defence will say if the crew sends this and everybody else what they honestly would."""
    return air.simulate_defense([*(m for i, m in air.honest.items() if i not in honest), *sent])


def _polluted(verdict: Verdict | None, crew: Mapping[Id, Message], known: Subset) -> Subset | None:
    """The subset that was accepted, as far as its members' messages are known, if anybody of the crew is in it."""
    return verdict.used & known if verdict is not None and verdict.used & frozenset(crew) else None


ATTACKS: Final[Mapping[str, type[Any]]] = {"knows_seed": KnowsSeed}
