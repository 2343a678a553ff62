"""Checking some teammates a frame instead of all, in an order that nobody can foresee.

A frame that is *audited* decodes the ego, the joint result of everybody who is not left out, and, each by itself, whose
turn it is and who was left out. It stands only after a frame in which everybody was checked and accepted together, and
only if nothing is odd in it; else the same frame is checked in full.

Whose turn it is says `Rotation`, by `robosac.budget.AuditLaw.ROTATION`: at a rate r a pass has P = ceil(1 / r) frames,
and each teammate is checked in one of them, drawn anew for each pass. An attack is met within P frames of the start of
a pass, within 2 P - 1 of any other, and earlier with the probabilities that `robosac budget --audit` prints.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from robosac.boxes import transform_boxes
from robosac.budget import pass_frames
from robosac.defenses.ranking import Ranking
from robosac.defenses.singles import Singles
from robosac.evidence import Consistency
from robosac.types import EGO_ALONE, Bool, Detections, Float32, Float64, Id, Request, Subset, Trial


@dataclass
class Rotation:
    """Whose turn it is to be checked in each frame of a scenario.

    Attributes:
        rate: share of the teammates a frame.
        rng: whatever deals them.
    """

    rate: float
    rng: np.random.Generator
    _pass: list[set[Id]] = field(default_factory=list)  # of the frames to come
    _dealt: frozenset[Id] = EGO_ALONE  # in this pass

    def turn(self, ids: Collection[Id]) -> Subset:
        """Who of the teammates that are here is checked in this frame.

        A teammate that comes amid a pass is dealt to one of the frames that are left of it.
        """
        if not self._pass:
            self._pass, self._dealt = [set() for _ in range(pass_frames(self.rate))], EGO_ALONE
        new = sorted(frozenset(ids) - self._dealt)
        # as evenly as can be: every frame equally many, then one more in frames drawn at random
        frames = len(self._pass)
        places = np.concatenate(
            [self.rng.permutation(frames) for _ in range(-(-len(new) // frames))] or [np.zeros(0, np.int64)]
        )
        for who, place in zip(self.rng.permutation(new), places, strict=False):
            self._pass[place].add(str(who))
        self._dealt |= frozenset(new)
        return frozenset(self._pass.pop(0)) & frozenset(ids)


FASTEST_MPS: Final = 20.0  # in the world
_SLACK_M: Final = 1.5  # what boxes jump without any motion
NEWS: Final = "news"  # an audited joint result's: boxes that came or went since the frame before, as a share of `MOST`
MOST: Final = 4


@dataclass(frozen=True, eq=False)
class Expected:
    """What a joint result leads one to expect of the next: each box again, no further off than a car can come.

    Attributes:
        places: `(N, 2)` in the world.
        scores: `(N,)`.
        t_ns: when.
    """

    places: Float64
    scores: Float32
    t_ns: int

    @staticmethod
    def of(joint: Detections, to: Request) -> Expected:
        """From a result in the ego's frame."""
        world = transform_boxes(to.world_T_ego, joint.boxes)[:, :2].astype(np.float64)
        return Expected(world, joint.scores, to.t_ns)

    def news(self, now: Expected, own: Expected, score: float) -> int:
        """How many boxes of at least this score came from nowhere or went, where the ego alone shows none.

        None has come where a fainter one was before, and none has gone where a fainter one is left.
        """
        reach = _SLACK_M + FASTEST_MPS * abs(now.t_ns - self.t_ns) / 1e9
        came = (now.scores >= score) & ~_near(now.places, self.places, reach) & ~_near(now.places, own.places, _SLACK_M)
        went = (self.scores >= score) & ~_near(self.places, now.places, reach) & ~_near(self.places, own.places, reach)
        return int(came.sum() + went.sum())


@dataclass
class Audit:
    """What the audit of one scenario keeps.

    Attributes:
        rotation: whose turn it is.
        expected: by the last joint result; None before there is one.
    """

    rotation: Rotation
    expected: Expected | None = None

    def judged(self, trial: Trial, joint: Detections, own: Detections, to: Request, score: float) -> Trial:
        """The trial of a joint result, held against the last one as well."""
        if self.expected is None or not joint.finite:
            return trial
        news = self.expected.news(Expected.of(joint, to), Expected.of(own, to), score) / MOST
        return replace(trial, accepted=trial.accepted and news <= 1, scores={**trial.scores, NEWS: news})

    def odd(self, seen: Singles, joint: Trial, left_out: Subset, waiting: Subset) -> str:
        """What of an audited frame asks for a full check; empty where nothing does.

        Args:
            seen: what the singles say of whose turn it was and of who is left out.
            joint: the joint result of all others together with whose turn it was, judged.
            waiting: who of those left out is not to be tried yet.
        """
        spoiled = {i for t in seen.trials if not t.accepted for i in t.subset} - left_out
        if not joint.accepted:
            return "the joint result"
        if spoiled:
            return f"what {', '.join(sorted(spoiled))} shows alone"
        if back := left_out & frozenset(seen.trusted) - waiting:
            return f"{', '.join(sorted(back))} fine again"
        return ""


def for_some(consistency: Consistency) -> Consistency:
    """The same rules where not all members were decoded alone: what these show need not explain all of a result."""
    return replace(consistency, extra=math.inf)


def unranked(ranking: Ranking) -> Ranking:
    """The same rules where nobody knows who shows a box: nothing is ranked by it."""
    return replace(ranking, nobody=1.0, one=1.0, two=1.0)


def _near(a: Float64, b: Float64, metres: float) -> Bool:
    """Which of places `a (N, 2)` have one of `b (M, 2)` so near."""
    return np.asarray((np.linalg.norm(a[:, None] - b[None], axis=2) <= metres).any(axis=1))
