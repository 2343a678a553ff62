"""How well a policy tells attackers from honest teammates, what it costs, and how much it helps.

Over all (frame, teammate) pairs of a set of frames, with "excluded" = not in `verdict.used` and "accused" = in
`verdict.accused` (not used is not accused):

    TPR of exclusion   = excluded attackers / attackers          the attacker is kept out
    FPR of exclusion   = excluded honest / honest teammates      an honest teammate is kept out, its help is lost
    TPR of accusation  = accused attackers / attackers
    FPR of accusation  = accused honest / honest teammates       an honest teammate is slandered

A rate with nothing to count (no attacker in any frame) is None. A used set is *attacker-free* when it holds honest
teammates of the frame only: neither an attacker nor an identity that no real teammate has. "Ego alone" is
attacker-free. A frame *fell back* when the ego's own result stands although teammates had sent something.

Every share and mean is a ratio of sums over scenes, so its interval comes from the bootstrap over scenes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Annotated, Any, Final, TypeAlias

import numpy as np
from pydantic import PlainSerializer, TypeAdapter

from robosac.certificates import withstands
from robosac.evaluation.ap import TP, FrameMatches, ap_replicates
from robosac.evaluation.bootstrap import LEVEL, REPLICATES, Estimate, Replicated, ratio, scene_weights
from robosac.types import Array, Id, InputError, Int64, Subset, Verdict

CERTIFIED: Final = (1, 2)  # attackers against whom certified recall is told
Names: TypeAlias = Annotated[Subset, PlainSerializer(sorted)]


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """What one policy did on one frame, with the truth beside it. Plain enough to be stored as JSON.

    Attributes:
        scenario, index: which frame.
        attackers: teammates present that attack in this frame.
        teammates: all teammates present, whether their messages arrived or not.
        used, accused: the verdict's.
        decodes: fuse + decode passes, the ego's own included.
        trials: subsets that were judged.
        ms: milliseconds a stage.
        fell_back: the ego's own result stands although teammates had sent something.
        rejected: link -> why the gate let nothing in.
        matches: the result against the truth.
        suspicion: teammate -> how much the verdict suspects it, in [0, 1]; 1 where the gate refused it. One that
            sent nothing is left out: there is nothing to judge.
        boxes: detections in the result.
        bytes_received: payloads of everything that was sent to the ego.
        bands: the result against the truth by distance (see `evaluation.ranges`); empty where nobody asked.
        attacked_boxes: boxes that rest on a message of an attacker, by the verdict's `sources`.
        supported_boxes: boxes that another decode shows too, by its `support`.
        notes: what of the attack came to nothing in this frame, as it says itself.
        certified: counted objects found (IoU 0.5) by a box that m attackers cannot have invented, for m in
            `CERTIFIED`, by the verdict's `certificates`; empty where it has none.
        found: counted objects that are found (IoU 0.5), by their position in the truth.
        saved: boxes, scores, objects, ignored objects, where asked for.
        digest: of the result's boxes and scores, bit by bit, so that two runs can be compared from their JSON.
    """

    scenario: str
    index: int
    attackers: Names
    teammates: Names
    used: Names
    accused: Names
    decodes: int
    trials: int
    ms: Mapping[str, float]
    fell_back: bool
    rejected: Mapping[Id, str]
    matches: FrameMatches
    suspicion: Mapping[Id, float] = field(default_factory=dict)
    boxes: int = 0
    bytes_received: int = 0
    bands: tuple[FrameMatches, ...] = ()
    digest: str = ""
    attacked_boxes: int = 0
    supported_boxes: int = 0
    notes: tuple[str, ...] = ()
    certified: tuple[int, ...] = ()
    found: tuple[int, ...] = ()
    saved: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        strangers = self.attackers - self.teammates
        if strangers:
            raise InputError(
                f"expected the attackers to be among the teammates {sorted(self.teammates)}, got {sorted(strangers)}; "
                "name only the attackers present in the frame"
            )

    @staticmethod
    def of(
        scenario: str,
        index: int,
        teammates: Subset,
        attackers: Subset,
        verdict: Verdict,
        matches: FrameMatches,
        *,
        bands: tuple[FrameMatches, ...] = (),
        bytes_received: int = 0,
        notes: tuple[str, ...] = (),
        found: tuple[int, ...] = (),
    ) -> FrameRecord:
        """From a verdict; attackers that are not present in the frame are left out."""
        return FrameRecord(
            scenario=scenario,
            index=index,
            attackers=attackers & teammates,
            teammates=teammates,
            used=verdict.used,
            accused=verdict.accused,
            decodes=verdict.decodes,
            trials=len(verdict.trials),
            ms={stage: float(ms) for stage, ms in verdict.ms.items()},
            fell_back=verdict.fell_back,
            rejected=dict(verdict.rejected),
            matches=matches,
            suspicion=_suspicion(verdict, teammates),
            boxes=len(verdict.result),
            bytes_received=bytes_received,
            bands=bands,
            digest=sha256(verdict.result.boxes.tobytes() + verdict.result.scores.tobytes()).hexdigest()[:16],
            attacked_boxes=sum(bool(rests_on & attackers) for rests_on in verdict.sources),
            supported_boxes=sum(map(bool, verdict.support)),
            notes=notes,
            certified=_certified(verdict, matches),
            found=found,
        )

    @property
    def honest(self) -> Subset:
        return self.teammates - self.attackers

    @property
    def attacker_free(self) -> bool:
        """Whether only honest teammates of this frame are used."""
        return self.used <= self.honest

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain: dict[str, Any] = _RECORD.dump_python(self, mode="json")
        return plain

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> FrameRecord:
        """What `to_dict` gave, bit by bit."""
        return _RECORD.validate_python(data)


_RECORD: Final = TypeAdapter(FrameRecord)


def _certified(verdict: Verdict, matches: FrameMatches) -> tuple[int, ...]:
    told = verdict.certificates
    if told is None:
        return ()
    found = matches.hits(0.5) == TP
    return tuple(int((found & withstands(told, m)).sum()) for m in CERTIFIED)


def _suspicion(verdict: Verdict, teammates: Subset) -> dict[Id, float]:
    known = {**verdict.suspicion, **dict.fromkeys(verdict.rejected, 1.0)}
    return {i: float(known[i]) for i in sorted(teammates) if i in known}


@dataclass(frozen=True)
class Milliseconds:
    """Time of one stage over all frames; a frame without the stage counts as 0 ms."""

    mean: float
    median: float
    p95: float

    @staticmethod
    def of(values: Array) -> Milliseconds:
        return Milliseconds(float(np.mean(values)), float(np.median(values)), float(np.quantile(values, 0.95)))


@dataclass(frozen=True)
class Summary:
    """One row of the table: a policy over a set of frames. None = undefined there (nothing to count).

    Attributes:
        policy: its name in the table.
        frames, scenes: how many of each.
        ap: IoU threshold -> AP in [0, 1].
        tpr_excluded .. fpr_accused: rates as the module's docstring defines them.
        attacked_boxes: share of the boxes that rest on a message of an attacker.
        certified_1, certified_2: share of the counted objects that are found by a box which so many attackers cannot
            have invented; None where verdicts carry no certificates.
        attacker_free, fell_back: shares of the frames.
        decodes, trials, boxes, bytes_received: mean a frame.
        ms: stage -> milliseconds a frame; "total" is the sum of the stages.
    """

    policy: str
    frames: int
    scenes: int
    ap: Mapping[float, Estimate | None]
    tpr_excluded: Estimate | None
    fpr_excluded: Estimate | None
    tpr_accused: Estimate | None
    fpr_accused: Estimate | None
    attacked_boxes: Estimate | None
    certified_1: Estimate | None
    certified_2: Estimate | None
    attacker_free: Estimate
    fell_back: Estimate
    decodes: Estimate
    trials: Estimate
    boxes: Estimate
    bytes_received: Estimate
    ms: Mapping[str, Milliseconds]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; AP's keys become strings such as "0.5"."""
        plain: dict[str, Any] = {"policy": self.policy, "frames": self.frames, "scenes": self.scenes}
        plain["ap"] = {f"{t:g}": None if e is None else e.to_dict() for t, e in self.ap.items()}
        for name in (*_RATES, *_MEANS):
            estimate: Estimate | None = getattr(self, name)
            plain[name] = None if estimate is None else estimate.to_dict()
        plain["ms"] = {stage: vars(ms) for stage, ms in self.ms.items()}
        return plain


# name -> (numerator, denominator) a frame
_Counts = tuple[Callable[[FrameRecord], int], Callable[[FrameRecord], int]]
_RATES: dict[str, _Counts] = {
    "tpr_excluded": (lambda r: len(r.attackers - r.used), lambda r: len(r.attackers)),
    "fpr_excluded": (lambda r: len(r.honest - r.used), lambda r: len(r.honest)),
    "tpr_accused": (lambda r: len(r.attackers & r.accused), lambda r: len(r.attackers)),
    "fpr_accused": (lambda r: len(r.honest & r.accused), lambda r: len(r.honest)),
    "attacked_boxes": (lambda r: r.attacked_boxes, lambda r: r.boxes),
    "certified_1": (lambda r: sum(r.certified[:1]), lambda r: r.matches.n_gt if r.certified else 0),
    "certified_2": (lambda r: sum(r.certified[1:]), lambda r: r.matches.n_gt if r.certified else 0),
}
_MEANS: dict[str, Callable[[FrameRecord], int]] = {
    "attacker_free": lambda r: int(r.attacker_free),
    "fell_back": lambda r: int(r.fell_back),
    "decodes": lambda r: r.decodes,
    "trials": lambda r: r.trials,
    "boxes": lambda r: r.boxes,
    "bytes_received": lambda r: r.bytes_received,
}


def by_scene(records: Sequence[FrameRecord], *, every_ego: bool = False) -> dict[str, list[FrameRecord]]:
    """Records grouped by scenario, scenarios sorted by name: the columns of the bootstrap's weights.

    `every_ego`: scenarios are named `SCENARIO/EGO` and the egos of one are no independent draws: they see the same
    streets and objects.
    """
    groups: dict[str, list[FrameRecord]] = {}
    for r in records:
        groups.setdefault(r.scenario.rpartition("/")[0] if every_ego else r.scenario, []).append(r)
    return dict(sorted(groups.items()))


def summarise(
    policy: str,
    records: Sequence[FrameRecord],
    rng: np.random.Generator,
    *,
    replicates: int = REPLICATES,
    level: float = LEVEL,
    every_ego: bool = False,
) -> Summary:
    """One policy's row, with intervals from a bootstrap over scenes. `every_ego`: as for `by_scene`."""
    groups = by_scene(records, every_ego=every_ego)
    weights = scene_weights(len(groups), rng, replicates)
    ap = ap_replicates(_matches(groups), weights)

    def rate(name: str) -> Any:
        replicated = _ratio(groups, *_RATES[name], weights)
        return None if replicated is None else replicated.estimate(level)

    def mean(name: str) -> Any:
        replicated = _ratio(groups, _MEANS[name], lambda _: 1, weights)
        assert replicated is not None  # there is at least one frame
        return replicated.estimate(level)

    return Summary(
        policy=policy,
        frames=len(records),
        scenes=len(groups),
        ap={t: None if r is None else r.estimate(level) for t, r in ap.items()},
        **{name: rate(name) for name in _RATES},
        **{name: mean(name) for name in _MEANS},
        ms=stage_times(records),
    )


def paired_ap(
    records: Mapping[str, Sequence[FrameRecord]], rng: np.random.Generator, *, replicates: int = REPLICATES
) -> dict[str, dict[float, Replicated | None]]:
    """Policy -> IoU threshold -> AP on the data and on resamples *shared* by all policies.

    Feed the results to `bootstrap.difference` and `bootstrap.recovered_share`. All policies must have run on the
    same frames.

    Raises:
        InputError: the policies were not played on the same frames.
    """
    frames = {policy: sorted((r.scenario, r.index) for r in rows) for policy, rows in records.items()}
    reference = next(iter(frames), None)
    for policy, keys in frames.items():
        if reference is not None and keys != frames[reference]:
            raise InputError(
                f"expected every policy on the same frames, got {len(frames[reference])} frames of {reference!r} and "
                f"{len(keys)} other ones of {policy!r}; run the missing ones"
            )
    if not frames:
        return {}
    groups = {policy: by_scene(rows) for policy, rows in records.items()}
    weights = scene_weights(len(next(iter(groups.values()))), rng, replicates)
    return {policy: ap_replicates(_matches(g), weights) for policy, g in groups.items()}


def stage_times(records: Sequence[FrameRecord]) -> dict[str, Milliseconds]:
    """Stage -> milliseconds a frame, stages in the order in which they first appear, "total" last."""
    stages = list(dict.fromkeys(stage for r in records for stage in r.ms if stage != "total"))
    table = np.array([[r.ms.get(stage, 0.0) for stage in stages] for r in records], np.float64)
    table = table.reshape(len(records), len(stages))
    if not len(records):
        return {}
    times = {stage: Milliseconds.of(table[:, k]) for k, stage in enumerate(stages)}
    return {**times, "total": Milliseconds.of(table.sum(axis=1))}


def _matches(groups: Mapping[str, Sequence[FrameRecord]]) -> dict[str, list[FrameMatches]]:
    return {name: [r.matches for r in rows] for name, rows in groups.items()}


def _ratio(
    groups: Mapping[str, Sequence[FrameRecord]],
    above: Callable[[FrameRecord], int],
    below: Callable[[FrameRecord], int],
    weights: Int64,
) -> Replicated | None:
    sums = np.array([[sum(map(above, rows)), sum(map(below, rows))] for rows in groups.values()], np.float64)
    return ratio(sums[:, 0], sums[:, 1], weights)
