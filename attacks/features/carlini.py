"""The L2 attack of Carlini and Wagner, "Towards evaluating the robustness of neural networks" (arXiv 1608.04644)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor

from robosac.air import Knowledge
from robosac.attacks.base import Budgeted, Stage
from robosac.attacks.colluders import Crew
from robosac.attacks.features.gradient import WHITE_BOX, GradientAttacker, slopes_of
from robosac.attacks.features.norms import L2, Ball, Norm, Rng, spent
from robosac.attacks.features.objectives import Labels, Margin, Objective, Threshold
from robosac.attacks.features.problem import Aim, Arrays, FullFusion, Problem
from robosac.attacks.settings import instance, integer, real
from robosac.types import Message, Subset


@dataclass(frozen=True, kw_only=True)
class CwL2(Budgeted):
    """The smallest L2 perturbation that turns enough cells: Adam on `size^2 + c * margin`, c by binary search.

    A cell is turned where its logit lies on the other side of 0 by `kappa` or more; the margin is the sum over cells of
    what they lack. Every search keeps to the valid range and to the budget by projection (the paper's section V-B names
    it beside its change of variables, which could hardly move a feature that is 0, and most are). Where no search turns
    enough cells, the iterate of the lowest margin is sent.

    Attributes:
        epsilon: most L2 of a message that is sent; a search that succeeds with less sends less.
        turned: share of the cells that must be turned; objects cover about 0.003 of a map, and two attackers of five
            hardly turn 0.1 of it with any budget.
        kappa: confidence wanted of a turned cell, in logits.
        labels: which cells are objects, in the unattacked output.
        aim: on which subsets.
        rate: learning rate of Adam, in the units of the features.
        steps: steps of one search; each costs one forward and one backward pass, the search one forward pass more.
        searches: how many values of c are tried; each search starts at the honest message.
        first_c: the first c. It grows tenfold until a search succeeds; then it halves the gap between the largest c
            that failed and the smallest that did not.
    """

    STAGE: ClassVar = Stage.FEATURES
    BUDGET: ClassVar = "epsilon"
    UNIT: ClassVar = "L2 a message"

    epsilon: float = 50.0
    turned: float = 0.01
    kappa: float = 0.0
    labels: Labels = field(default_factory=Threshold)
    aim: Aim = field(default_factory=FullFusion)
    rate: float = 0.02
    steps: int = 25
    searches: int = 4
    first_c: float = 1.0

    def __post_init__(self) -> None:
        real(self, "epsilon", low=0.0)
        real(self, "turned", low=1e-9, high=1.0)
        real(self, "kappa", low=0.0)
        instance(self, "labels", Labels)
        instance(self, "aim", Aim)
        real(self, "rate", low=0.0)
        integer(self, "steps", low=1)
        integer(self, "searches", low=1)
        real(self, "first_c", low=0.0)

    @property
    def knowledge(self) -> Knowledge:
        return WHITE_BOX

    @property
    def norm(self) -> Norm:
        return L2()

    @property
    def objective(self) -> Objective:
        """The margin alone, mean over cells: what `Problem` judges by."""
        return Margin(labels=self.labels, c=1.0, kappa=self.kappa)

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> GradientAttacker:
        return GradientAttacker(self, Crew.gather(attackers, rng))

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        return spent(self.norm, honest, sent)

    def search(self, problem: Problem, ball: Ball, rng: Rng) -> list[Tensor]:
        """The smallest success over all values of c, or else the lowest margin."""
        fails, succeeds, c = 0.0, math.inf, self.first_c
        smallest, success = math.inf, None
        least, nearest = math.inf, ball.tensors(ball.clean)
        for _ in range(self.searches):
            succeeded = False
            for found in self._iterates(c, problem, ball):
                if found.turned >= self.turned:
                    succeeded = True
                    if found.size < smallest:
                        smallest, success = found.size, found.arrays
                if found.margin < least:
                    least, nearest = found.margin, found.arrays
            fails, succeeds = (fails, c) if succeeded else (c, succeeds)
            c = 10.0 * c if math.isinf(succeeds) else (fails + succeeds) / 2.0
        return nearest if success is None else success

    def _iterates(self, c: float, problem: Problem, ball: Ball) -> Iterator[_Iterate]:
        """One search, the honest arrays first."""
        sign = torch.where(self.labels.mark(problem.unattacked.logits), 1.0, -1.0)
        clean, back = ball.tensors(ball.clean), ball.project()
        leaves = [x.clone().requires_grad_() for x in clean]
        adam = torch.optim.Adam(leaves, lr=self.rate)
        seen: dict[str, Any] = {}

        def total(arrays: Arrays) -> Tensor:
            lacking = (sign * problem.logits(arrays)).clamp(min=-self.kappa)
            sizes = [(x - x0).square().sum() for x, x0 in zip(arrays.values(), clean, strict=True)]
            size, margin = torch.stack(sizes).sum(), lacking.sum() / len(sign)
            share = (lacking <= -self.kappa).float().mean()
            seen.update(size=size.item(), margin=margin.item(), turned=share.item())
            return size + c * margin

        for k in range(self.steps + 1):
            if k == self.steps:
                with torch.no_grad():
                    total(dict(zip(ball.keys, leaves, strict=True)))
                slopes = None
            else:
                _, slopes = slopes_of(total, ball, leaves)
            yield _Iterate(arrays=[x.detach().clone() for x in leaves], **seen)
            if slopes is None:
                return
            for x, g in zip(leaves, slopes, strict=True):
                x.grad = g
            adam.step()
            with torch.no_grad():
                for x, inside in zip(leaves, back(leaves), strict=True):
                    x.copy_(inside)


@dataclass(frozen=True, eq=False)
class _Iterate:
    """Arrays in a search, their squared L2 distance from honest, margin, and share of cells turned."""

    arrays: list[Tensor]
    size: float
    margin: float
    turned: float


ATTACKS: Final[Mapping[str, type[Any]]] = {"cw_l2": CwL2}
