"""Self-consistency: is a joint result what its members show, each by itself?

An attack on the joint result shows in the attacker's own single, and one that keeps its single clean makes a joint
result that nobody's single explains. Every source is asked by itself, the ego too: one merged box must never stand
for a group, or whoever scores highest would own its geometry.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from robosac.boxes import reaches
from robosac.evidence.shown import Shown
from robosac.types import Detections, Float64, InputError, Subset

_KEPT_SHARE = 0.5  # of its score, from which a box is still there


@dataclass(frozen=True)
class Strain:
    """How far a joint result is from what its members show; each number is 0 for a result that is exactly that.

    A box of a source is *gone* where the joint result has none of at least half its score at its place.

    Attributes:
        gone: share of what members show and the ego does not that is gone, all members together.
        gone_of_one: the same of the worst member, one box forgiven.
        gone_of_ego: share of the ego's own boxes that are gone.
        gone_of_two: of the two worst members, share of all they show that is gone, mean.
        moved: 1 - median IoU of what is shown with what the joint result has there, all sources together.
        moved_of_one: the same of the worst source with at least three boxes.
        extra: boxes of the joint result that no source shows.
    """

    gone: float
    gone_of_one: float
    gone_of_ego: float
    gone_of_two: float
    moved: float
    moved_of_one: float
    extra: float


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """What each number of `Strain` may be before all of them are held against honest frames together.

    These are what 98 % of honest subsets of three and more stay below on validation scenes (half of them with noisy
    poses and late messages), and weigh the numbers against one another; the limit of `of` is calibrated.
    """

    gone: float = 0.3
    gone_of_one: float = 0.52
    gone_of_ego: float = 0.33
    gone_of_two: float = 0.33
    moved: float = 0.24
    moved_of_one: float = 0.5
    extra: float = 2.0

    def __post_init__(self) -> None:
        for f in fields(self):
            if not getattr(self, f.name) > 0:
                raise InputError(f"expected {f.name} > 0, got {getattr(self, f.name)}")

    @property
    def name(self) -> str:
        return ",".join(f"{getattr(self, f.name):g}" for f in fields(self))

    def of(self, strain: Strain) -> float:
        """The worst of its numbers, each as a multiple of what is usual."""
        return max(float(getattr(strain, f.name) / getattr(self, f.name)) for f in fields(self))


def strain(shown: Shown, members: Subset, joint: Detections) -> Strain:
    """How far the joint result of the ego and `members` is from what each of them shows."""
    overlaps = shown.overlaps(joint.boxes)
    best = _kept(shown, joint, overlaps)
    there = np.asarray(reaches(best, shown.showing.place))
    rows = shown.rows(members)
    gone_new, new = 0, 0
    of_one, of_all, moved = 0.0, [0.0], []
    for k in (0, *rows):
        mine = shown.source == k
        moved.append(best[mine])
        if k == 0:
            of_ego = _share(int((mine & ~there).sum()), int(mine.sum()))
            continue
        of_all.append(_share(int((mine & ~there).sum()), int(mine.sum())))
        beyond = mine & ~shown.ego_in_place
        n, gone = int(beyond.sum()), int((beyond & ~there).sum())
        gone_new, new = gone_new + gone, new + n
        of_one = max(of_one, max(0, gone - 1) / (n + 2))
    two = sorted(of_all, reverse=True)[:2]
    every = np.concatenate(moved)
    return Strain(
        gone=_share(gone_new, new),
        gone_of_one=of_one,
        gone_of_ego=of_ego,
        gone_of_two=float(np.mean(two)),
        moved=1 - float(np.median(every)) if len(every) else 0.0,
        moved_of_one=max((1 - float(np.median(m)) for m in moved if len(m) >= 3), default=0.0),
        extra=float(_extra(shown, rows, joint, overlaps)),
    )


def _share(part: int, whole: int) -> float:
    """Three boxes more in the whole: one of one is no catastrophe."""
    return part / (whole + 3)


def _kept(shown: Shown, joint: Detections, overlaps: Float64) -> Float64:
    """The best IoU `(N,)` of each box that is shown with a box of the joint result of at least half its score."""
    strong = joint.scores[None, :] >= _KEPT_SHARE * shown.scores[:, None]
    return np.asarray(np.where(strong, overlaps, 0.0).max(axis=1, initial=0.0))


def _extra(shown: Shown, rows: list[int], joint: Detections, overlaps: Float64) -> int:
    """How many boxes of the joint result none of its sources shows."""
    explained = reaches(overlaps[np.isin(shown.source, [0, *rows])], shown.showing.same).any(axis=0)
    return int(((joint.scores >= shown.showing.score) & ~explained).sum())
