"""The L2 attack of Carlini and Wagner, "Towards evaluating the robustness of neural networks" (arXiv 1608.04644)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robosac.air import Air
from robosac.attacks.base import plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.ball import Ball
from robosac.attacks.features.descent import Arrays, Judge, Rule, by_autograd, descend
from robosac.attacks.features.gradient import WhiteBox
from robosac.attacks.features.labels import Labels, Threshold
from robosac.attacks.features.norms import L2, Norm
from robosac.attacks.features.objectives import Margin
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.target_subsets import FullFusion, TargetSubsets
from robosac.attacks.registry import register
from robosac.attacks.settings import number, part, plain_number
from robosac.types import Id, Message


@register("cw_l2")
@dataclass(frozen=True, kw_only=True)
class CwL2(WhiteBox):
    """The smallest L2 perturbation that turns enough cells: Adam on `size^2 + c * margin`, c by binary search.

    A cell is turned where its logit is by `kappa` or more on the other side of that of the score which divides objects
    from background; the margin is the sum over cells of
    what they lack. Every search keeps to the valid range and to the budget by projection (the paper's section V-B names
    it beside its change of variables, which could hardly move a feature that is 0, and most are). Where no search turns
    enough cells, the iterate of the lowest margin is sent.

    Attributes:
        epsilon: most L2 of a message that is sent; a search that succeeds with less sends less.
        turned: share of the cells that must be turned; objects cover about 0.003 of a map, and two attackers of five
            hardly turn 0.1 of it with any budget.
        kappa: confidence wanted of a turned cell, in logits.
        labels: which cells are objects, in the clean output.
        target_subsets: on which subsets.
        rate: learning rate of Adam, in the units of the features.
        steps: steps of one search; each costs one forward and one backward pass, the search one forward pass more.
        searches: how many values of c are tried; each search starts at the honest message.
        first_c: the first c. It grows tenfold until a search succeeds; then it halves the gap between the largest c
            that failed and the smallest that did not.
    """

    epsilon: float | str = 50.0
    turned: float = number(0.01, low=1e-9, high=1.0)
    kappa: float = number(0.0, low=0.0)
    labels: Labels = part(Labels, Threshold)
    target_subsets: TargetSubsets = part(TargetSubsets, FullFusion)
    rate: float | str = number(0.02, low=0.0, sd=True)
    steps: int = number(25, low=1)
    searches: int = number(4, low=1)
    first_c: float = number(1.0, low=0.0)

    def counted_by(self) -> Norm:
        return L2()

    @property
    def objective(self) -> Margin:
        """The margin alone, mean over cells: what its harm is measured by."""
        return Margin(labels=self.labels, c=1.0, kappa=self.kappa)

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        ball = Ball.around(honest, air.codec, L2(), plain_budget(self))
        rng = colluders.rng(air, "problem")
        problem = Problem.on_frame(air, honest, self.objective, self.target_subsets, rng)
        return ball.messages(honest, self.search(problem, ball))

    def search(self, problem: Problem, ball: Ball) -> list[Tensor]:
        """The smallest success over all values of c, or else the lowest margin."""
        fails, succeeds, c = 0.0, math.inf, self.first_c
        clean, project, rate = ball.tensors(ball.clean), ball.project(), plain_number(self.rate, "rate of CwL2")
        smallest, success = math.inf, None
        least, nearest = math.inf, clean
        for _ in range(self.searches):
            succeeded = False
            look = by_autograd(self._judge(c, problem, clean), ball.keys)
            for found in descend(look, clean, _adam(clean, rate), project, self.steps):
                size, margin, turned = found.marks
                if turned >= self.turned:
                    succeeded = True
                    if size < smallest:
                        smallest, success = size, found.arrays
                if margin < least:
                    least, nearest = margin, found.arrays
            fails, succeeds = (fails, c) if succeeded else (c, succeeds)
            c = 10.0 * c if math.isinf(succeeds) else (fails + succeeds) / 2.0
        return nearest if success is None else success

    def _judge(self, c: float, problem: Problem, clean: Sequence[Tensor]) -> Judge:
        """Arrays -> `size^2 + c * margin`, and size^2, margin and share of cells turned as marks."""
        sign = torch.where(problem.clean.marked(self.labels), 1.0, -1.0)
        boundary = problem.clean.boundary(self.labels)

        def judge(arrays: Arrays) -> tuple[Tensor, tuple[float, ...]]:
            lacking = (sign * (problem.logits(arrays) - boundary)).clamp(min=-self.kappa)
            sizes = [(x - x0).square().sum() for x, x0 in zip(arrays.values(), clean, strict=True)]
            size, margin = torch.stack(sizes).sum(), lacking.sum() / len(sign)
            turned = (lacking <= -self.kappa).float().mean()
            return size + c * margin, (size.item(), margin.item(), turned.item())

        return judge


def _adam(start: Sequence[Tensor], rate: float) -> Rule:
    """Steps of Adam (Kingma and Ba, arXiv 1412.6980)."""
    leaves = [x.clone().requires_grad_() for x in start]
    optimiser = torch.optim.Adam(leaves, lr=rate)

    def rule(turn: int, arrays: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        with torch.no_grad():
            for leaf, x, g in zip(leaves, arrays, slopes, strict=True):
                leaf.copy_(x)  # projected since the last step
                leaf.grad = g
        optimiser.step()
        return [x.detach().clone() for x in leaves]

    return rule
