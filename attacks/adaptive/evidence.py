"""What an attacker looks at who knows that joint results are held against what each teammate shows by itself.

`Evidence.of` looks at a frame once. Its `look` decodes what the attackers' arrays make of the *joints* (the target
subsets) and of the *singles* (each attacker alone with the ego), densely and with gradients; boxes are the peaks of
those maps. A *source* is the ego by itself, or the single of one teammate: those of honest teammates do not move.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robosac.air import Air
from robosac.attacks.features.descent import Arrays
from robosac.attacks.features.labels import logit
from robosac.attacks.features.objectives import BalancedInvertedBce, CleanFrame
from robosac.attacks.features.problem import Problem
from robosac.attacks.features.regions import on_map
from robosac.attacks.features.target_subsets import Subsets, TargetSubsets
from robosac.capabilities import BoxDifferentiable, SoloDifferentiable
from robosac.defenses.protocol import Surrogate
from robosac.types import EGO_ALONE, Id, InputError, Message, Subset
from robosac.visibility import seen_cells

MOST: Final = 48  # objects of a map that are looked at
FAINT: Final = 0.05  # score of the weakest of them
SCORE_WIDTH: Final = 0.3  # logits over which a score comes to count as shown
IOU_WIDTH: Final = 0.03  # likewise, of an overlap


@dataclass(frozen=True, eq=False)
class Objects:
    """The peaks of maps, at most K a map; leading axes are those of the maps.

    Attributes:
        logits: `(..., K)` class logits.
        boxes: `(..., K, 7)`, ego frame.
        real: `(..., K)` bool, false where a map has fewer.
    """

    logits: Tensor
    boxes: Tensor
    real: Tensor

    @staticmethod
    def of(logits: Tensor, boxes: Tensor) -> Objects:
        """The highest cells of their 3x3 neighbourhoods in `logits (S, H, W)`, with their boxes `(S, H, W, 7)`."""
        with torch.no_grad():
            peaks = torch.where(Objects.marked(logits, FAINT), logits, -torch.inf).flatten(1)
            values, cells = peaks.topk(min(MOST, peaks.shape[1]), dim=1)
        found = boxes.flatten(1, 2).gather(1, cells[..., None].expand(-1, -1, boxes.shape[-1]))
        return Objects(logits.flatten(1).gather(1, cells), found, values.isfinite())

    @staticmethod
    def marked(logits: Tensor, score: float) -> Tensor:
        """Bool `(S, H, W)`: the peaks of at least this score."""
        highest = F.max_pool2d(logits[:, None], 3, stride=1, padding=1)[:, 0]
        return (logits >= highest) & (logits >= logit(score))

    def rows(self, start: int, stop: int | None = None) -> Objects:
        """Those of some of the maps."""
        return Objects(self.logits[start:stop], self.boxes[start:stop], self.real[start:stop])

    def shown(self, score: float) -> Tensor:
        """`(..., K)` in [0, 1]: softly, which of them score at least this."""
        return soft(self.logits - logit(score), SCORE_WIDTH) * self.real

    def scoring(self, score: float) -> Tensor:
        """`(..., K)` bool: which of them do."""
        return self.real & (self.logits >= logit(score))


@dataclass(frozen=True, eq=False)
class Look:
    """R subsets as they are decoded: the joints first, then the attackers' singles.

    Attributes:
        logits: `(R, H, W)`; boxes: `(R, H, W, 7)`, the box that each cell would give.
        still: objects of the sources that no attacker moves: the ego, then honest teammates' singles.
        attackers: how many singles there are.
        solo: decodes what each attacker's message shows by itself, in a frame of its own: class logits `(A, H, W)` and
            boxes; None where the session does not tell.
    """

    logits: Tensor
    boxes: Tensor
    still: Objects
    attackers: int
    solo: Callable[[], tuple[Tensor, Tensor]] | None = None

    @cached_property
    def objects(self) -> Objects:
        """Of every subset."""
        return Objects.of(self.logits, self.boxes)

    @cached_property
    def sources(self) -> Objects:
        """Of the N sources: the ego, honest singles, attackers' singles."""
        own = self.objects.rows(len(self.logits) - self.attackers)
        return Objects(
            torch.cat([self.still.logits, own.logits]),
            torch.cat([self.still.boxes, own.boxes]),
            torch.cat([self.still.real, own.real]),
        )

    @cached_property
    def overlaps(self) -> Tensor:
        """`(R, N, K, L)` IoU of each box of each source with each object of each subset."""
        return overlap(self.sources.boxes[None, :, :, None], self.objects.boxes[:, None, None])

    @cached_property
    def _surplus(self) -> Tensor:
        """`(R, N, K, L)` by how much an object of a subset scores more than half of what a source's box does."""
        mine, theirs = self.sources.logits.sigmoid(), self.objects.logits.sigmoid()
        surplus = theirs[:, None, None] - 0.5 * mine[None, ..., None]
        return torch.where(self.objects.real[:, None, None], surplus, -1.0)

    def kept(self, iou: float) -> Tensor:
        """`(R, N, K)` in [0, 1]: softly, which boxes of a source a subset has there, with half their score."""
        return (soft(self._surplus, SCORE_WIDTH / 4) * soft(self.overlaps - iou, IOU_WIDTH)).amax(dim=-1)

    def best(self, shown: Tensor) -> Tensor:
        """`(R, N, K)` IoU with the best of those; NaN where the source has no box that is `shown (N, K)`."""
        best = torch.where(self._surplus >= 0, self.overlaps, 0.0).amax(dim=-1)
        return torch.where(shown, best, torch.nan)

    def explained(self, score: float, iou: float) -> Tensor:
        """`(R, N, L)` in [0, 1]: softly, which objects of a subset a source shows with this score and IoU."""
        return (self.sources.shown(score)[None, ..., None] * soft(self.overlaps - iou, IOU_WIDTH)).amax(dim=-2)

    def vouched(self, score: float, iou: float) -> Tensor:
        """`(N, N, K)` in [0, 1]: softly, which objects of the first source the second shows with this score and IoU."""
        sources = self.sources
        among = overlap(sources.boxes[:, None, :, None], sources.boxes[None, :, None])
        return (sources.shown(score)[None, :, None] * soft(among - iou, IOU_WIDTH)).amax(dim=-1)


@dataclass(frozen=True, eq=False)
class Evidence:
    """One frame of an attack that knows such a defence.

    Attributes:
        problem: the frame, with `rows` as its target subsets.
        session: the same session, of which boxes can be differentiated.
        attackers: in the order of their ids.
        joints: the first of `rows`; the others are the attackers' singles.
        members: `(R, N)` bool: which sources are in a subset; the ego is in each.
        clean: the look without the attack.
        limits: what the defence tests beside the agreement, and how much of each it accepts, by name; None where
            nothing is known of that.
        covered: `(H, W)` bool: cells on an attacker's map. blind: cells where the ego sees nothing.
        victim: an honest teammate whom the colluders may frame, the same in all frames; None where there is none.
        rng: for what is drawn in this frame.
        cell_m: of the maps.
    """

    problem: Problem
    session: BoxDifferentiable
    attackers: tuple[Id, ...]
    joints: tuple[Subset, ...]
    members: Tensor
    clean: Look
    limits: Mapping[str, float] | None
    covered: Tensor
    blind: Tensor
    victim: Id | None
    rng: np.random.Generator
    cell_m: float

    @staticmethod
    def of(
        air: Air,
        honest: Mapping[Id, Message],
        targets: TargetSubsets,
        victim: Id | None,
        rng: np.random.Generator,
    ) -> Evidence:
        """
        Raises:
            InputError: the session cannot differentiate boxes, or the detector has no grid.
        """
        attackers = tuple(sorted(honest))
        joints = tuple(dict.fromkeys(targets.subsets(air, frozenset(attackers), rng)))
        rows = [*joints, *(frozenset({i}) for i in attackers)]
        named = Subsets(named=tuple(tuple(sorted(s)) for s in rows))
        problem = Problem.on_frame(air, honest, BalancedInvertedBce(), named, rng)
        session, grid = problem.session, air.detector.grid
        if not isinstance(session, BoxDifferentiable) or grid is None:
            raise InputError(
                f"expected a session of detector {air.detector.name!r} that can differentiate boxes, and a grid, got "
                f"{type(session).__name__} and {grid}; take adaptive_pgd, which looks at scores only"
            )
        others = tuple(sorted(air.others))
        singles = [EGO_ALONE, *(frozenset({i}) for i in others)]
        with torch.no_grad():
            logits, boxes = session.logits_and_boxes({}, [*singles, *rows])
        n = len(singles)
        still = Objects.of(logits[:n], boxes[:n])
        clean = Look(logits[n:], boxes[n:], still, len(attackers), _solo(session, {}, attackers))
        sources = [None, *others, *attackers]
        x = grid.x_min_m + (np.arange(grid.cols) + 0.5) * grid.cell_m
        y = grid.y_min_m + (np.arange(grid.rows) + 0.5) * grid.cell_m
        centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        covered = [on_map(centres, grid, air.to.world_T_ego, m.world_T_payload) for m in honest.values()]
        shape = (grid.rows, grid.cols)
        return Evidence(
            problem=problem,
            session=session,
            attackers=attackers,
            joints=joints,
            members=torch.tensor([[i is None or i in s for i in sources] for s in rows]),
            clean=clean,
            limits=_limits(air.defense, len(air.others) + len(honest)),
            covered=torch.from_numpy(np.any(covered, axis=0).reshape(shape)),
            blind=torch.from_numpy(seen_cells(air.ego.points, grid) == 0),
            victim=victim,
            rng=rng,
            cell_m=grid.cell_m,
        )

    @property
    def frame(self) -> CleanFrame:
        """The frame without the attack, all subsets."""
        return self.problem.clean

    @property
    def joint_frame(self) -> CleanFrame:
        """The same of the joints alone."""
        frame, n = self.frame, len(self.joints)
        return replace(
            frame,
            logits=frame.logits[:n],
            subsets=frame.subsets[:n],
            without=None if frame.without is None else frame.without[:n],
            thresholds=None if frame.thresholds is None else frame.thresholds[:n],
        )

    def look(self, arrays: Arrays) -> Look:
        """What becomes of the subsets when the attackers send these arrays."""
        payloads = self.problem.payloads(arrays)
        logits, boxes = self.session.logits_and_boxes(payloads, self.frame.subsets)
        solo = _solo(self.session, payloads, self.attackers)
        return Look(logits, boxes, self.clean.still, len(self.attackers), solo)

    def with_victim(self) -> Tensor:
        """`(R,)` bool: the subsets that the framed teammate is in."""
        return torch.tensor([self.victim in s for s in self.frame.subsets])


def soft(beyond: Tensor, width: float) -> Tensor:
    """1 well above 0, 0 well below, and a half there."""
    return (beyond / width).sigmoid()


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """IoU seen from above of boxes `(..., 7)`, differentiable: exact where they are parallel, too low where not."""
    way = b[..., :2] - a[..., :2]
    cosine, sine = a[..., 6].cos(), a[..., 6].sin()
    along = cosine * way[..., 0] + sine * way[..., 1]
    across = cosine * way[..., 1] - sine * way[..., 0]
    shared = (a[..., 6] - b[..., 6]).cos().square()
    for off, size in ((along, 3), (across, 4)):
        half_a, half_b = a[..., size] / 2, b[..., size] / 2
        shared = shared * (torch.minimum(half_a, off + half_b) - torch.maximum(-half_a, off - half_b)).clamp(min=0.0)
    return shared / (a[..., 3] * a[..., 4] + b[..., 3] * b[..., 4] - shared)


def _limits(defense: Surrogate | None, teammates: int) -> Mapping[str, float] | None:
    told = {} if defense is None else getattr(defense, "limits", None)
    return told(teammates) if callable(told) else told


def _solo(
    session: BoxDifferentiable, payloads: Mapping[Id, Any], attackers: Sequence[Id]
) -> Callable[[], tuple[Tensor, Tensor]] | None:
    if not isinstance(session, SoloDifferentiable):
        return None
    return partial(session.solo_logits_and_boxes, payloads, attackers)
