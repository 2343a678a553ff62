"""An attack that knows the very random numbers of the defence: it simulates the defence before it sends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from robosac.air import Air, Knowledge
from robosac.attacks.adaptive.agreement import KeepsAgreement
from robosac.attacks.adaptive.penalised import PenalisedPgd, by_logits
from robosac.attacks.base import plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.attacks.features.target_subsets import Subsets
from robosac.attacks.measures import floats
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Id, Message, Subset, Verdict


@register("knows_seed")
@dataclass(frozen=True, kw_only=True)
class KnowsSeed(PenalisedPgd):
    """Optimised for exactly the subset that the defence will accept, as a simulation on a copy of it shows.

    The defence is first simulated with the honest messages. Then, round by round, malicious messages are made for the
    subset that it accepted last, with agreement to spare that grows when they were refused and shrinks when they
    passed; the most harmful that passed are sent, the honest messages where none did. Without a defence it is the plain
    objective on the full fusion. It is the worst case that no defence with secret random numbers has to meet.

    Attributes:
        rounds: simulations after the first; each costs a whole search and one frame of the defence.
        margin: agreement to spare in the first round.
        margin_step: by how much it changes from round to round, halved each time it turns round.
    """

    rounds: int = number(4, low=1)
    margin: float = number(0.01, low=-1.0, high=1.0)
    margin_step: float = number(0.04, low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE | Knowledge.SEED

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        everybody = frozenset(honest) | frozenset(air.others)
        best, most = list(honest.values()), 0.0
        verdict = _simulated(air, honest, best)
        target = _polluted(verdict, honest, everybody) or everybody
        margin, step, passed_before = self.margin, self.margin_step, None
        for _ in range(self.rounds):
            sent, drop = self._made_for(target, margin, honest, air, colluders)
            if verdict is None:  # nobody defends: nothing to tune
                return sent
            used = _polluted(_simulated(air, honest, sent), honest, everybody)
            passed = used == target
            if passed and drop > most:
                best, most = sent, drop
            target = used or target
            step = step / 2 if passed_before is not None and passed != passed_before else step
            margin, passed_before = margin + (-step if passed else step), passed
        return best

    def _made_for(
        self, target: Subset, margin: float, honest: Mapping[Id, Message], air: Air, colluders: Colluders
    ) -> tuple[list[Message], float]:
        """Messages made for one subset, and by how much they lower the loss there: their harm if it is accepted."""
        problem = self.problem(honest, air, colluders, Subsets(named=(tuple(target),)))
        harm, penalty = problem.objective_loss, KeepsAgreement(margin=margin).make_loss(problem.clean)
        reach = dict.fromkeys(honest, plain_budget(self))
        sent = self.optimised(honest, air, by_logits(problem, harm, penalty), reach)
        arrays = {(m.sender, n): torch.from_numpy(np.array(m.payload[n])).float() for m in sent for n in floats(m)}
        with torch.no_grad():
            before, after = harm(problem.clean.logits), problem.loss(arrays)
        return sent, float(before - after)


def _simulated(air: Air, honest: Mapping[Id, Message], sent: Sequence[Message]) -> Verdict | None:
    """What the defence will say if the colluders send this and everybody else what they honestly would."""
    return air.simulate_defense([*(m for i, m in air.honest.items() if i not in honest), *sent])


def _polluted(verdict: Verdict | None, colluders: Mapping[Id, Message], known: Subset) -> Subset | None:
    """The subset that was accepted, as far as its members' messages are known, if any of the colluders is in it."""
    return verdict.used & known if verdict is not None and verdict.used & frozenset(colluders) else None
