"""The harm that an evasive attack does to joint results, each a loss to be minimised. One frame, one `make_harm`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.adaptive.checks import Agrees, Check, Consistent
from robosac.attacks.adaptive.evidence import Evidence, Look, Objects
from robosac.attacks.features.labels import logit
from robosac.attacks.features.objectives import BalancedInvertedBce, Objective
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, choice, number, part
from robosac.types import InputError

HarmLoss: TypeAlias = Callable[[Look], Tensor]  # a look -> scalar


@dataclass(frozen=True, kw_only=True)
class Harm(Settings, ABC):
    """A base: what is wanted of the joint results."""

    @abstractmethod
    def make_harm(self, evidence: Evidence) -> HarmLoss:
        """Fix it on one frame."""

    def must_pass(self, evidence: Evidence) -> Tensor:
        """`(R,)` bool: the subsets that a defence is to accept; all of them unless overridden."""
        return torch.ones(len(evidence.frame.subsets), dtype=torch.bool)


@register("on_scores")
@dataclass(frozen=True, kw_only=True)
class OnScores(Harm):
    """An objective on the class logits of the joint results."""

    objective: Objective = part(Objective, BalancedInvertedBce)

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        loss, n = self.objective.make_loss(evidence.joint_frame), len(evidence.joints)
        return lambda look: loss(look.logits[:n])


@register("reranked")
@dataclass(frozen=True, kw_only=True)
class Reranked(Harm):
    """What joint results surely show sinks below what they, or the ego, show faintly: the order, not any one box.

    Faint places have true evidence, so that raising them takes little, and nothing need vanish or move.

    Attributes:
        sure: score of a clean joint result from which an object is to sink.
        least, most: scores between which something is faint.
    """

    sure: float = number(0.5, low=1e-6, high=1 - 1e-6)
    least: float = number(0.08, low=1e-6, high=1 - 1e-6)
    most: float = number(0.45, low=1e-6, high=1 - 1e-6)

    def __post_init__(self) -> None:
        if not self.least < self.most <= self.sure:
            raise InputError(f"expected least < most <= sure, got {self.least}, {self.most}, {self.sure}")

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        n, alone = len(evidence.joints), evidence.frame.alone
        assert alone is not None  # each frame's problem looks at it
        clean = evidence.clean.logits[:n]
        sure, faint = Objects.marked(clean, self.sure), Objects.marked(clean, self.least) & (clean < logit(self.most))
        own = Objects.marked(alone[None], 0.15) & (alone[None] < logit(self.sure))
        faint = faint | (own & (_widened(clean, 5) < logit(self.sure)))

        def harm(look: Look) -> Tensor:
            total = 0.0 * look.logits.sum()
            for k in range(n):
                high, low = look.logits[k][sure[k]], look.logits[k][faint[k]]
                if len(high) and len(low):
                    total = total + F.softplus(high[:, None] - low[None]).mean()
            return total / n

        return harm


@register("hide_unseen")
@dataclass(frozen=True, kw_only=True)
class HideUnseen(Harm):
    """What the ego does not show by itself disappears from the joint results; everything where it shows all.

    Attributes:
        score: from which a clean joint result shows an object.
        own: score from which the ego's own is within `cells` of it.
        cells: half-width of the square around an object that is looked at, and emptied.
    """

    score: float = number(0.3, low=1e-6, high=1 - 1e-6)
    own: float = number(0.3, low=1e-6, high=1 - 1e-6)
    cells: int = number(1, low=0)

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        n, wide = len(evidence.joints), 2 * self.cells + 1
        alone = evidence.frame.alone
        clean = evidence.clean.logits[:n]
        assert alone is not None  # each frame's problem looks at it
        seen, objects = _widened(alone, wide) > logit(self.own), _widened(clean, wide) > logit(self.score)
        there = objects & ~seen if bool((objects & ~seen).any()) else objects
        count = there.sum().clamp(min=1)
        return lambda look: (F.softplus(look.logits[:n]) * there).sum() / count


@register("shifted")
@dataclass(frozen=True, kw_only=True)
class Shifted(Harm):
    """Every box of the joint results moves, all to one side: across their headings, or along one bearing.

    Of each object that a clean joint result shows, the cells around it count by their present scores, so that the box
    that will be reported is the one that moves.

    Attributes:
        metres: how far.
        way: "across" each box's heading, or the same "bearing" for all; which side, or which bearing, is drawn.
        score: from which an object is worth moving.
    """

    metres: float = number(1.5, low=0.0)
    way: str = choice("across", "across", "bearing")
    score: float = number(0.2, low=1e-6, high=1 - 1e-6)

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        n = len(evidence.joints)
        objects = evidence.clean.objects.rows(0, n)
        worth = objects.scoring(self.score).to(objects.logits)
        bearing = float(evidence.rng.uniform(-math.pi, math.pi))
        one = objects.boxes.new_tensor([math.cos(bearing), math.sin(bearing)])
        side = torch.stack([-objects.boxes[..., 6].sin(), objects.boxes[..., 6].cos()], dim=-1)
        side = side * torch.where((side @ one)[..., None] < 0, -1.0, 1.0)
        way = side if self.way == "across" else one.expand(side.shape)
        near = _cells_near(objects, evidence.clean.boxes[:n], evidence.cell_m)

        def harm(look: Look) -> Tensor:
            logits = look.logits[:n].flatten(1).gather(1, near.flatten(1)).reshape(near.shape)
            places = look.boxes[:n].flatten(1, 2)[..., :2]
            xy = places.gather(1, near.flatten(1)[..., None].expand(-1, -1, 2)).reshape(*near.shape, 2)
            gone = ((xy - objects.boxes[..., None, :2]) * way[..., None, :]).sum(dim=-1)
            missing = (logits.softmax(dim=-1) * (self.metres - gone).clamp(min=0.0)).sum(dim=-1)
            return (missing * worth).sum() / worth.sum().clamp(min=1.0)

        return harm


@register("ghosts")
@dataclass(frozen=True, kw_only=True)
class Ghosts(Harm):
    """Objects that are not there, at the same places in all joint results and, if asked, in all attackers' singles.

    Places are cells on an attacker's map without any score near them, apart from each other.

    Attributes:
        count: how many; fewer where there is no room.
        where: the ego does not see the place ("unseen"), or sees a part of its surroundings ("partly").
        score: wanted of them in the joint results.
        single: score wanted in each attacker's single: all of it corroborates, a faint one explains; None leaves it.
        apart_m: between two places.
        clear: score that no source shows within 2 cells of a place.
    """

    count: int = number(12, low=1)
    where: str = choice("unseen", "unseen", "partly")
    score: float = number(0.6, low=1e-6, high=1 - 1e-6)
    single: float | None = number(None, low=1e-6, high=1 - 1e-6)
    apart_m: float = number(5.0, low=0.0)
    clear: float = number(0.1, low=1e-6, high=1 - 1e-6)

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        n = len(evidence.joints)
        rows, cols = self.places(evidence)
        logits_wanted = logit(self.score) + 0.5

        def harm(look: Look) -> Tensor:
            there = look.logits[:, rows, cols]
            missing = (logits_wanted - there[:n]).clamp(min=0.0).mean()
            if self.single is None:
                return missing
            return missing + (logit(self.single) - there[n:]).clamp(min=0.0).mean()

        return harm

    def places(self, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """Rows and columns of the places. Those that suit come first, and any free cell before a place is left out."""
        alone, without = evidence.frame.alone, evidence.frame.without
        assert alone is not None and without is not None  # each frame's problem looks at both
        shown = torch.cat([evidence.clean.logits, without, alone[None]])
        free = (_widened(shown, 5) < logit(self.clear)).all(dim=0) & evidence.covered
        around = F.avg_pool2d(evidence.blind[None, None].float(), 7, 1, 3, count_include_pad=False)[0, 0]
        suits = around > 0.95 if self.where == "unseen" else (around > 0.2) & (around < 0.8) & evidence.blind
        drawn = torch.from_numpy(evidence.rng.uniform(size=free.shape))
        rank = 4 * free.double() + 2 * suits.double() + drawn - shown.amax(dim=0).sigmoid().double()
        cells = [divmod(int(c), free.shape[1]) for c in rank.flatten().argsort(descending=True)]
        kept: list[tuple[int, int]] = []
        for cell in cells[: max(int(free.sum()), 1)]:
            if len(kept) < self.count and all(math.dist(cell, k) * evidence.cell_m >= self.apart_m for k in kept):
                kept.append(cell)
        found = torch.tensor(kept)
        return found[:, 0], found[:, 1]


@register("framed")
@dataclass(frozen=True, kw_only=True)
class Framed(Harm):
    """Joint results that hold one honest teammate are inconsistent, those without it pass: it is the one who looks bad.

    Attributes:
        checks: those that are to fail, some check in each joint result with the teammate.
        margin: by how much.
    """

    checks: tuple[Check, ...] = (Agrees(), Consistent())
    margin: float = number(0.1, low=0.0)

    def make_harm(self, evidence: Evidence) -> HarmLoss:
        made = [check.make_excess(evidence) for check in self.checks]
        guilty = evidence.with_victim()

        def harm(look: Look) -> Tensor:
            worst = torch.stack([excess(look).amax(dim=1) for excess in made]).amax(dim=0).clamp(min=-10.0)
            return (self.margin - worst[guilty]).clamp(min=0.0).sum() / guilty.sum().clamp(min=1)

        return harm

    def must_pass(self, evidence: Evidence) -> Tensor:
        return ~evidence.with_victim()


def _widened(logits: Tensor, wide: int) -> Tensor:
    """The highest of each square of `wide` cells of maps `(..., H, W)`."""
    flat = logits.reshape(-1, 1, *logits.shape[-2:])
    return F.max_pool2d(flat, wide, stride=1, padding=wide // 2).reshape(logits.shape)


def _cells_near(objects: Objects, boxes: Tensor, cell_m: float) -> Tensor:
    """`(S, K, 9)`: the flat cells whose clean `boxes (S, H, W, 7)`, or peaks, are nearest to each object."""
    apart = torch.cdist(objects.boxes[..., :2], boxes.flatten(1, 2)[..., :2])
    return apart.topk(min(9, apart.shape[-1]), dim=-1, largest=False).indices
