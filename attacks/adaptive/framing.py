"""Messages that make an honest teammate look guilty: with it nothing agrees with the ego, without it all does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.adaptive.agreement import similarity
from robosac.attacks.adaptive.penalised import PenalisedPgd, by_logits
from robosac.attacks.base import plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.attacks.features.objectives import CleanFrame, Loss
from robosac.attacks.features.target_subsets import Subsets
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.types import Id, Message


@register("frame_up")
@dataclass(frozen=True, kw_only=True)
class FrameUp(PenalisedPgd):
    """After TrustFlip: subsets that hold attackers and one honest teammate are to disagree with the ego, those without
    that teammate to agree; a defence that asks who was in what it refused then points at the honest one.

    The teammate is chosen once a scenario. The target subsets are those that a search meets first: everybody, and
    everybody but one. Without a defence to know, the overlap of the score maps with the ego's stands for its measure,
    and `guessed_threshold` for what it asks for. The attack on the objects themselves, `objective`, is not in play.

    Attributes:
        margin: agreement by which a subset is to pass, or to fail.
        guessed_threshold: see above.
    """

    steps: int = 30
    margin: float = number(0.02, low=0.0, high=1.0)
    guessed_threshold: float = number(0.4, low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        victim = colluders.framed(air.others, air.scenario)
        if victim is None:  # nobody to frame
            return list(honest.values())
        everybody = frozenset(honest) | frozenset(air.others)
        but_one = [everybody - {i} for i in sorted(everybody)]
        subsets = [s for s in (everybody, *but_one) if s & frozenset(honest)]
        problem = self.problem(honest, air, colluders, Subsets(named=tuple(map(tuple, subsets))))
        suspect = torch.tensor([victim in s for s in subsets])
        harm, penalty = _goals(problem.clean, suspect, self, knows=air.defense is not None)
        reach = dict.fromkeys(honest, plain_budget(self))
        return self.optimised(honest, air, by_logits(problem, harm, penalty), reach)


def _goals(frame: CleanFrame, suspect: Tensor, attack: FrameUp, *, knows: bool) -> tuple[Loss, Loss]:
    """How much the subsets with the victim `suspect (S,)` still agree, and by how much those without fail to."""
    measure, asked = frame.agreement, frame.thresholds
    if not knows or measure is None or asked is None:
        measure, asked = similarity(frame), torch.full((len(suspect),), attack.guessed_threshold)
    agreement, thresholds = measure, asked

    def harm(logits: Tensor) -> Tensor:
        above = agreement(logits)[suspect] - thresholds[suspect].to(logits) + attack.margin
        return above.clamp(min=0.0).mean()

    def penalty(logits: Tensor) -> Tensor:
        below = thresholds[~suspect].to(logits) + attack.margin - agreement(logits)[~suspect]
        return below.clamp(min=0.0).mean() if len(below) else 0.0 * logits.sum()

    return harm, penalty
