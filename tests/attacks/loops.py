"""The loop of the gradient attacks on a loss that a test writes down."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from robosac.attacks.features.ball import Ball
from robosac.attacks.features.descent import ArrayLoss, by_autograd, by_loss, descend, last, steps_of


def descended(
    loss: ArrayLoss, start: Sequence[Tensor], ball: Ball, *, step: float, steps: int, momentum: float = 0.0
) -> list[Tensor]:
    """The arrays after steps of a fixed length."""
    rule = steps_of(step, steepest=ball.steepest, momentum=momentum)
    look = by_autograd(by_loss(loss), ball.keys)
    return last(descend(look, start, rule, ball.project(), steps, judge_last=False)).arrays
