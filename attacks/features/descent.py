"""The loop of every search by gradient: judge the arrays, take a step, bring them back to what may be sent.

`descend` visits arrays; the search that called it sends the last, or the best by its own measure. A `Rule` says where a
step goes and how far, a projection (`Ball.project`) what may be sent, a `Judge` what is minimised.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from robosac.types import Id, InputError

Key: TypeAlias = tuple[Id, str]  # an attacker and the name of one of its arrays
Arrays: TypeAlias = Mapping[Key, Tensor]
ArrayLoss: TypeAlias = Callable[[Arrays], Tensor]  # the attackers' arrays -> scalar
Judge: TypeAlias = Callable[[Arrays], tuple[Tensor, tuple[float, ...]]]  # -> what is minimised, and marks to compare by
Projection: TypeAlias = Callable[[Sequence[Tensor]], list[Tensor]]


@dataclass(frozen=True, eq=False)
class Visit:
    """Arrays that the loop came by.

    Attributes:
        arrays: one an attacker and name, in the order of the search's keys.
        marks: how good they are, lower is better; none where nobody asked.
        slopes: the gradient of what is minimised; None where it depends on none of the arrays, or was not asked for.
    """

    arrays: list[Tensor]
    marks: tuple[float, ...] = ()
    slopes: list[Tensor] | None = None


Look: TypeAlias = Callable[[list[Tensor], bool], Visit]  # arrays, and whether slopes are asked for
Rule: TypeAlias = Callable[[int, list[Tensor], list[Tensor]], list[Tensor]]  # turn, arrays, slopes -> the next arrays


def descend(
    look: Look, start: Sequence[Tensor], rule: Rule, project: Projection, steps: int, *, judge_last: bool = True
) -> Iterator[Visit]:
    """Visit `start` and, after each of `steps` steps, where it led; stop early where there is no slope.

    Without `judge_last` the last arrays have no marks, which saves a forward pass.
    """
    current = list(start)
    for turn in range(steps):
        visit = look(current, True)
        yield visit
        if visit.slopes is None:
            return
        current = project(rule(turn, visit.arrays, visit.slopes))
    yield look(current, False) if judge_last else Visit(current)


def best(visits: Iterator[Visit]) -> Visit:
    """The first visit of the lowest marks."""
    return min(visits, key=lambda visit: visit.marks)


def last(visits: Iterator[Visit]) -> Visit:
    """The visit after the last step."""
    (final,) = deque(visits, maxlen=1)
    return final


def by_autograd(judge: Judge, keys: Sequence[Key]) -> Look:
    """Look at arrays through torch's gradients.

    Raises:
        InputError: (when it looks) a gradient is NaN or inf; a sign of it would be sent as if it meant something.
    """

    def look(arrays: list[Tensor], slopes: bool) -> Visit:
        with torch.set_grad_enabled(slopes):
            leaves = [x.detach().requires_grad_(slopes) for x in arrays]
            total, marks = judge(dict(zip(keys, leaves, strict=True)))
            if not slopes or not total.requires_grad:
                return Visit(arrays, marks)
            found = torch.autograd.grad(total, leaves, materialize_grads=True)
        if not all(math.isfinite(float(g.sum())) for g in found):  # a sum holds on to any NaN or inf, and is cheap
            raise InputError(f"expected finite gradients of the logits, got NaN or inf at loss {total.item():.4g}")
        return Visit(arrays, marks, list(found))

    return look


def by_loss(loss: ArrayLoss) -> Judge:
    """A loss that is both minimised and compared."""

    def judge(arrays: Arrays) -> tuple[Tensor, tuple[float, ...]]:
        value = loss(arrays)
        return value, (value.item(),)

    return judge


def signs(slopes: Sequence[Tensor]) -> list[Tensor]:
    """The direction of steepest ascent where every element may move by as much."""
    return [g.sign() for g in slopes]


def steps_of(
    length: float | Sequence[Tensor],
    *,
    steepest: Callable[[Sequence[Tensor]], list[Tensor]] = signs,
    momentum: float = 0.0,
    last_share: float = 1.0,
    steps: int = 1,
) -> Rule:
    """Steps of a length down the steepest direction. Over `steps` of them it falls linearly to `last_share` of itself.

    With momentum the direction is of a sum of gradients, each of L1 norm 1, that decays by `momentum` a step (Dong et
    al., arXiv 1710.06081, equations 6 and 7).

    Args:
        length: of the first step, one for all arrays or one an array, that broadcasts to its shape.
        steepest: slopes -> the step of norm 1 along which the loss rises most; by default their signs.
    """
    total: list[Tensor] = []

    def rule(turn: int, arrays: list[Tensor], slopes: list[Tensor]) -> list[Tensor]:
        nonlocal total
        if momentum:
            sizes = [max(float(g.abs().sum()), 1e-30) for g in slopes]
            so_far = total or [torch.zeros_like(g) for g in slopes]
            slopes = total = [momentum * t + g / n for t, g, n in zip(so_far, slopes, sizes, strict=True)]
        share = 1.0 - (1.0 - last_share) * turn / max(steps - 1, 1)
        lengths: Sequence[Any] = [length] * len(arrays) if isinstance(length, float) else length
        return [x - share * n * d for x, n, d in zip(arrays, lengths, steepest(slopes), strict=True)]

    return rule
