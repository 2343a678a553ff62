"""What a defence may hold against messages, each as a penalty: how far some figure is beyond what is accepted.

A check asks the defence's surrogate for its limits. What that does not name is not tested and costs nothing; of a
surrogate that says nothing of limits, those in `USUAL` are expected. Nobody is asked for more than the honest messages
of the frame have. Figures are soft counts on the peaks of maps, so that gradients know the way; a share of each limit
is kept in hand.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import permutations
from typing import ClassVar, Final, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.attacks.adaptive.evidence import Evidence, Look, Objects
from robosac.attacks.registry import register
from robosac.attacks.settings import Settings, number
from robosac.types import InputError

Excess: TypeAlias = Callable[[Look], Tensor]  # -> (R, C): what each subset is beyond a limit, C times; <= 0 passes

USUAL: Final[Mapping[str, float]] = {
    "claims": 7.0,
    "claims_together": 5.0,
    "gone": 0.3,
    "gone_of_one": 0.52,
    "gone_of_ego": 0.33,
    "gone_of_two": 0.33,
    "moved": 0.24,
    "moved_of_one": 0.5,
    "extra": 2.0,
    "honest_singles": 0.1,
}


@runtime_checkable
class Check(Protocol):
    """Something that a defence may test; `make_excess` fixes it on one frame."""

    def make_excess(self, evidence: Evidence) -> Excess: ...


@register("agrees")
@dataclass(frozen=True, kw_only=True)
class Agrees(Settings):
    """The agreement with the ego that the defence measures, and asks for by size, of joints and singles.

    Nothing without a defence, or for an attack that does not know it.

    Attributes:
        margin: agreement to spare.
    """

    margin: float = number(0.01, low=-1.0, high=1.0)

    def make_excess(self, evidence: Evidence) -> Excess:
        agreement, thresholds = evidence.frame.agreement, evidence.frame.thresholds
        if agreement is None or thresholds is None:
            return lambda look: 0.0 * look.logits.sum(dim=(1, 2))[:, None]
        return lambda look: (thresholds.to(look.logits) + self.margin - agreement(look.logits))[:, None]


@dataclass(frozen=True, kw_only=True)
class _Limited(Settings, ABC):
    """A base for checks of figures that have limits by name; override `figures`.

    Attributes:
        spare: share of each limit that is left unused.
        score: from which a box is shown, whoever shows it; None takes the defence's, or 0.25.
        same: IoU from which two boxes are of one object.
    """

    KEYS: ClassVar[tuple[str, ...]]

    spare: float = number(0.1, low=0.0, high=1.0)
    score: float | None = number(None, low=1e-6, high=1 - 1e-6)
    same: float = number(0.3, low=0.0, high=1.0)

    @abstractmethod
    def figures(self, evidence: Evidence, look: Look, score: float) -> Tensor:
        """`(R, C)`, a column a key, larger is worse; -inf where it says nothing of a subset."""

    def make_excess(self, evidence: Evidence) -> Excess:
        """The check on one frame: figures as multiples of their limits, less what is accepted."""
        known = USUAL if evidence.limits is None else evidence.limits
        limits = evidence.clean.logits.new_tensor([max(known.get(key, math.inf), 1e-3) for key in self.KEYS])
        score = self.score or (known.get("score", 0.25))
        if not limits.isfinite().any():
            return lambda look: look.logits.new_full((len(look.logits), 1), -1.0)
        with torch.no_grad():
            accepted = (self.figures(evidence, evidence.clean, score) / limits).clamp(min=1.0 - self.spare)
        return lambda look: self.figures(evidence, look, score) / limits - accepted


@register("claims")
@dataclass(frozen=True, kw_only=True)
class Claims(_Limited):
    """How many objects an attacker's single shows that no other source does."""

    KEYS = ("claims",)

    def figures(self, evidence: Evidence, look: Look, score: float) -> Tensor:
        alone = 1.0 - look.vouched(score, self.same)  # (N, N, K)
        shown, n = look.sources.shown(score), len(alone)
        claimed = [shown[k] * alone[k, torch.arange(n) != k].amin(dim=0) for k in range(n - look.attackers, n)]
        return _of_singles(look, torch.stack(claimed).sum(dim=1))


@register("claims_together")
@dataclass(frozen=True, kw_only=True)
class ClaimsTogether(_Limited):
    """How many objects two attackers' singles show that neither the ego nor anybody else does, for the worst pair.

    Colluders who show the same have no sole claims.
    """

    KEYS = ("claims_together",)

    def figures(self, evidence: Evidence, look: Look, score: float) -> Tensor:
        vouched, shown = look.vouched(score, self.same), look.sources.shown(score)
        n, worst = len(vouched), [look.logits.new_zeros(())] * look.attackers
        for a, b in permutations(range(n - look.attackers, n), 2):
            others = (torch.arange(n) != a) & (torch.arange(n) != b)
            held = shown[a] * vouched[a, b] * (1.0 - vouched[a, others].amax(dim=0))
            worst[a - n] = torch.maximum(worst[a - n], held.sum())
        return _of_singles(look, torch.stack(worst))


@register("consistent")
@dataclass(frozen=True, kw_only=True)
class Consistent(_Limited):
    """How far joint results are from what each of their members shows, by the numbers that are named in `KEYS`.

    A box of a source is *gone* where the joint result has none of at least half its score at its place.

    - `gone`: share, of what members show and the ego does not, that is gone; `gone_of_one` of the worst member, one
      box forgiven; `gone_of_ego` of the ego's own boxes; `gone_of_two` mean of the two worst members, all they show;
    - `moved`: 1 less the median IoU of what is shown with what the joint result has there; `moved_of_one` of the worst
      source;
    - `extra`: boxes of the joint result that no member shows.

    Attributes:
        place: IoU from which two boxes are at one place.
    """

    KEYS = ("gone", "gone_of_one", "gone_of_ego", "gone_of_two", "moved", "moved_of_one", "extra")

    place: float = number(0.5, low=0.0, high=1.0)

    def figures(self, evidence: Evidence, look: Look, score: float) -> Tensor:
        inside, shown = evidence.members, look.sources.shown(score)  # (R, N), (N, K)
        members = inside[:, 1:].to(shown)
        gone = shown * (1.0 - look.kept(self.place))  # (R, N, K)
        new = 1.0 - look.vouched(score, self.place)[1:, 0]  # (N - 1, K): what the ego does not show there
        gone_new, shown_new = (gone[:, 1:] * new).sum(dim=2), (shown[1:] * new).sum(dim=1)
        of_all = members * gone[:, 1:].sum(dim=2) / (shown[1:].sum(dim=1) + 3.0)
        best = torch.where(inside[..., None], look.best(look.sources.scoring(score)), torch.nan)
        enough = inside & ((~best.isnan()).sum(dim=2) >= 3)
        explained = (look.explained(score, self.same) * inside[..., None]).amax(dim=1)
        columns = [
            (gone_new * members).sum(dim=1) / ((shown_new * members).sum(dim=1) + 3.0),
            (members * (gone_new - 1.0).clamp(min=0.0) / (shown_new + 2.0)).amax(dim=1),
            gone[:, 0].sum(dim=1) / (shown[0].sum() + 3.0),
            F.pad(of_all, (0, 2)).topk(2, dim=1).values.mean(dim=1),
            (1.0 - best.flatten(1).nanmedian(dim=1).values).nan_to_num(0.0),
            torch.where(enough, 1.0 - best.nanmedian(dim=2).values, 0.0).amax(dim=1),
            (look.objects.shown(score) * (1.0 - explained)).sum(dim=1),
        ]
        return torch.stack(columns, dim=1)


@register("honest_singles")
@dataclass(frozen=True, kw_only=True)
class HonestSingles(_Limited):
    """Each attacker's single stays what it honestly is: change of scores as a share of all scores."""

    KEYS = ("honest_singles",)

    def figures(self, evidence: Evidence, look: Look, score: float) -> Tensor:
        clean, now = evidence.clean.logits.sigmoid(), look.logits.sigmoid()
        changed = (now - clean).abs().sum(dim=(1, 2)) / clean.sum(dim=(1, 2)).clamp(min=1.0)
        return _of_singles(look, changed[len(changed) - look.attackers :])


@register("steady_solos")
@dataclass(frozen=True, kw_only=True)
class SteadySolos(Settings):
    """What an attacker's message shows by itself does not move or turn as a whole: by that claimed poses are judged.

    Nothing where the session does not tell, or where the defence tests nothing but the agreement.

    Attributes:
        tolerance_m: that all its objects together may move by, or by turning, 20 m away.
        score: from which the honest solo result shows an object.
        drop: that their scores may fall by, mean.
    """

    tolerance_m: float = number(0.2, low=0.0)
    score: float = number(0.3, low=1e-6, high=1 - 1e-6)
    drop: float = number(0.3, low=0.0, high=1.0)

    def make_excess(self, evidence: Evidence) -> Excess:
        clean = evidence.clean.solo
        if clean is None or evidence.limits == {}:
            return lambda look: look.logits.new_full((len(look.logits), 1), -1.0)
        with torch.no_grad():
            logits, boxes = clean()
        before, there = logits.sigmoid(), Objects.marked(logits, self.score)
        count = there.sum(dim=(1, 2)).clamp(min=1)

        def excess(look: Look) -> Tensor:
            if look.solo is None:
                raise InputError("expected the solo results of a session that told them before, got none")
            logits, now = look.solo()
            moved, weight = now[..., :2] - boxes[..., :2], there[..., None].to(now) / count[:, None, None, None]
            shift = (moved * weight).sum(dim=(1, 2))
            arm = boxes[..., :2] - (boxes[..., :2] * weight).sum(dim=(1, 2))[:, None, None]
            turned = (weight[..., 0] * (arm[..., 0] * moved[..., 1] - arm[..., 1] * moved[..., 0])).sum(dim=(1, 2))
            turn = turned / (weight * arm.square()).sum(dim=(1, 2, 3)).clamp(min=1.0)
            lost = ((before - logits.sigmoid()) * weight[..., 0]).sum(dim=(1, 2)) - self.drop
            length = shift.square().sum(dim=1).add(1e-12).sqrt() - self.tolerance_m
            off = length.clamp(min=0.0) + (20.0 * turn.abs() - self.tolerance_m).clamp(min=0.0) + lost.clamp(min=0.0)
            return _of_singles(look, off)

        return excess


def _of_singles(look: Look, values: Tensor) -> Tensor:
    """Values `(A,)` of the attackers' singles in the rows of these, `(R, 1)`."""
    return torch.cat([values.new_full((len(look.logits) - len(values),), -torch.inf), values])[:, None]
