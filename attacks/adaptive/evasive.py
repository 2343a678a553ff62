"""Attacks made against a defence that holds joint results against what each teammate shows by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from robosac.air import Air, Knowledge
from robosac.attacks.adaptive.checks import Agrees, Check, Claims, ClaimsTogether, Consistent, SteadySolos
from robosac.attacks.adaptive.evidence import Evidence
from robosac.attacks.adaptive.harms import Harm, OnScores
from robosac.attacks.adaptive.penalised import Judged, PenalisedPgd
from robosac.attacks.base import plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.ball import Ball
from robosac.attacks.features.descent import Arrays, Judge, Visit, best
from robosac.attacks.features.gradient import WHITE_BOX
from robosac.attacks.features.norms import Linf
from robosac.attacks.features.target_subsets import FullFusion, TargetSubsets
from robosac.attacks.registry import register
from robosac.attacks.settings import number, part
from robosac.types import Id, InputError, Message

ALL_CHECKS: Final[tuple[tuple[float, Check], ...]] = (
    (20.0, Agrees()),
    (2.0, Claims()),
    (2.0, ClaimsTogether()),
    (2.0, Consistent()),
    (2.0, SteadySolos()),
)


_GROWTH: Final = 1.15  # of the penalty's weight from step to step
_LEAST, _MOST = 0.1, 100.0


@register("evasive")
@dataclass(frozen=True, kw_only=True)
class Evasive(PenalisedPgd):
    """Harms joint results as far as each of its checks lets it: the strongest that knows rules like these.

    The attackers' features are optimised together on joint results and on the attackers' own singles. It needs a
    `BoxDifferentiable` session; `objective` is not in play.

    Attributes:
        epsilon: 1 and more is anywhere in the codec's range, for features in [0, 1).
        harm: what is wanted.
        checks: pairs of weight and check, what must not be beyond its limit.
        subsets: the joint results in the loop; by default everybody's, which is the result where it passes.
        penalty_weight: at the first step; it follows how the search goes.
        tolerance: of the penalty that is taken for none.
        restarts: searches after the first, each with steps half as long and, where the harm draws anything, with other
            draws; that of the most harm is sent. Each costs as much as the first.
    """

    epsilon: float | str = number(1.0, low=0.0, sd=True)
    step_per_epsilon: float = 0.1
    steps: int = 60
    penalty_weight: float = 1.0
    harm: Harm = part(Harm, OnScores)
    checks: tuple[tuple[float, Check], ...] = ALL_CHECKS
    subsets: TargetSubsets = part(TargetSubsets, FullFusion)
    tolerance: float = number(0.05, low=0.0)
    restarts: int = number(0, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        pairs = tuple((float(weight), check) for weight, check in self.checks)
        if not all(weight >= 0 and isinstance(check, Check) for weight, check in pairs):
            raise InputError(f"expected checks to be pairs of a weight >= 0 and a Check, got {self.checks!r}")
        object.__setattr__(self, "checks", pairs)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX | Knowledge.DEFENSE

    def targets(self) -> TargetSubsets:
        return self.subsets

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        reach = dict.fromkeys(honest, plain_budget(self))
        ball = Ball.around(honest, air.codec, Linf(), plain_budget(self), reach)
        victim = colluders.framed(air.others, air.scenario)

        def once(turn: int) -> Visit:
            evidence = Evidence.of(air, honest, self.targets(), victim, colluders.rng(air, "evidence", turn))
            judge = self._weighed(self.judged(evidence))
            return self.searched(ball, judge, reach, ball.tensors(ball.clean), stride=0.5**turn)

        return ball.messages(honest, best(map(once, range(self.restarts + 1))).arrays)

    def judged(self, evidence: Evidence) -> Judged:
        """Arrays -> the harm, and all that is beyond a limit, mean over the subsets that are to pass."""
        harm, must_pass = self.harm.make_harm(evidence), self.harm.must_pass(evidence)
        limits = [(weight, check.make_excess(evidence)) for weight, check in self.checks]

        def judged(arrays: Arrays) -> tuple[Tensor, Tensor]:
            look = evidence.look(arrays)
            beyond = [weight * excess(look)[must_pass].clamp(min=0.0).sum(dim=1).mean() for weight, excess in limits]
            return harm(look), torch.stack(beyond).sum() if beyond else 0.0 * look.logits.sum()

        return judged

    def _weighed(self, judged: Judged) -> Judge:
        """As `weighed`, with a weight of the penalty that grows while something is beyond a limit and falls while not.

        No one weight suits every harm: too small, and nothing that was found may be sent; too large, and little is.
        """
        weight = self.penalty_weight

        def judge(arrays: Arrays) -> tuple[Tensor, tuple[float, ...]]:
            nonlocal weight
            harm, penalty = judged(arrays)
            total, beyond = harm + weight * penalty, max(penalty.item() - self.tolerance, 0.0)
            weight = min(max(weight * (_GROWTH if beyond else 1 / _GROWTH), _LEAST), _MOST)
            return total, (beyond, harm.item())

        return judge
