"""Messages that make an honest teammate look guilty: with it nothing agrees with the ego, without it all does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.adaptive.agreement import likeness
from robosac.attacks.adaptive.knows_seed import Exactly
from robosac.attacks.adaptive.penalised import WHITE_BOX, Steered, by_logits, steer_messages
from robosac.attacks.colluders import Crew
from robosac.attacks.features.objectives import Loss, Unattacked
from robosac.attacks.features.problem import Problem
from robosac.attacks.settings import real
from robosac.types import Id, Message, Subset, keyed_rng


@dataclass(frozen=True, kw_only=True)
class FrameUp(Steered):
    """After TrustFlip: subsets that hold attackers and one honest teammate are to disagree with the ego, those without
    that teammate to agree; a defence that asks who was in what it refused then points at the honest one.

    The teammate is chosen once a scenario. The subsets in mind are those that a search meets first: everybody, and
    everybody but one. Without a defence to know, the overlap of the score maps with the ego's stands for its measure,
    and `guessed_threshold` for what it asks for. The attack on the objects themselves, `objective`, is not in play.

    Attributes:
        margin: agreement by which a subset is to pass, or to fail.
        guessed_threshold: see above.
    """

    steps: int = 30
    margin: float = 0.02
    guessed_threshold: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        real(self, "margin", low=0.0, high=1.0)
        real(self, "guessed_threshold", low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return FramingAttacker(self, Crew.gather(attackers, rng))

    def framed(self, others: Sequence[Id], scenario: str, crew: Crew) -> Id:
        """The honest teammate that is made to look guilty: the same whoever else comes and goes."""
        return min(others, key=lambda i: int(keyed_rng(crew.seed, scenario, "framed", i).integers(2**62)))


@dataclass(frozen=True)
class FramingAttacker:
    """One scenario of `FrameUp`; whom it frames follows from the crew's seed."""

    attack: FrameUp
    crew: Crew

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present; the honest one where there is nobody to frame."""
        attack, honest = self.attack, self.crew.honest(air)
        if not honest or attack.epsilon == 0 or not air.others:
            return list(honest.values())
        victim = attack.framed(sorted(air.others), air.scenario, self.crew)
        everybody = frozenset(honest) | frozenset(air.others)
        but_one = [everybody - {i} for i in sorted(everybody)]
        subsets = [s for s in (everybody, *but_one) if s & frozenset(honest)]
        rng = self.crew.rng(air, "problem")
        problem = Problem.pose(air, honest, attack.objective, Exactly(wanted=tuple(subsets)), rng)
        suspect = torch.tensor([victim in s for s in subsets])
        harm, penalty = _goals(problem.unattacked, suspect, attack, knows=air.defense is not None)
        reach = dict.fromkeys(honest, attack.epsilon)
        return steer_messages(attack, air, honest, by_logits(problem, harm, penalty), reach)


def _goals(frame: Unattacked, suspect: Tensor, attack: FrameUp, *, knows: bool) -> tuple[Loss, Loss]:
    """How much the subsets with the victim `suspect (S,)` still agree, and by how much those without fail to."""
    measure, asked = frame.agreement, frame.thresholds
    if not knows or measure is None or asked is None:
        measure, asked = likeness(frame), torch.full((len(suspect),), attack.guessed_threshold)
    agreement, thresholds = measure, asked

    def harm(logits: Tensor) -> Tensor:
        above = agreement(logits)[suspect] - thresholds[suspect].to(logits) + attack.margin
        return above.clamp(min=0.0).mean()

    def penalty(logits: Tensor) -> Tensor:
        below = thresholds[~suspect].to(logits) + attack.margin - agreement(logits)[~suspect]
        return below.clamp(min=0.0).mean() if len(below) else 0.0 * logits.sum()

    return harm, penalty


ATTACKS: Final[Mapping[str, type[Any]]] = {"frame_up": FrameUp}
