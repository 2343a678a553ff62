"""One cell of the board: what a defence did under one attack by so many attackers, with intervals over scenes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from robosac.evaluation.ap import FP, TP, average_precision
from robosac.evaluation.bootstrap import ratio, scene_weights
from robosac.evaluation.metrics import FrameRecord, by_scene
from robosac.experiments.entries import Entry
from robosac.types import keyed_rng

IOU: Final = 0.5
RATES: Final = (
    "tpr_excluded", "fpr_excluded", "tpr_accused", "fpr_accused", "certified_1", "certified_2", "fell_back",
    "attacker_free", "decodes", "bytes_received",
)  # fmt: skip
Alone = Mapping[tuple[str, int], FrameRecord]  # (scenario, index) -> what the ego makes of the frame alone


class Figure(BaseModel):
    """A figure with its 95 % interval over scenes; None where one scene alone has anything to count."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float | None = None
    high: float | None = None


class SceneCheck(BaseModel):
    """What one scene gave, so that it can be played again and compared.

    Attributes:
        objects: that count.
        ap50: of this scene alone; None without objects.
        found, false: objects found and boxes that find none, IoU 0.5.
        digest: of all results, bit by bit.
    """

    model_config = ConfigDict(frozen=True)

    objects: int
    ap50: float | None
    found: int
    false: int
    digest: str


class CellResult(BaseModel):
    """One cell.

    Attributes:
        attack, attackers: which; no attack where nobody attacks.
        kind: ignorant of the defence, or made anew against it.
        scenes, frames: that stand behind the figures.
        skipped: why there are none.
        ap50, ap70: average precision.
        ego_lost: share of the objects which the ego finds alone that are not found (IoU 0.5).
        fp_added: boxes a frame that find nothing, more than the ego alone has.
        rates: those of `robosac.evaluation.metrics`.
        ms: median milliseconds a frame; 0 where somebody attacks, since rows share there what they do alike.
        cpu_s: seconds of a core that it took, in the first row with the attack, and with what others share.
        notes: what of the attack came to nothing -> in how many frames.
        source: of the code that played it.
        checks: by scene.
    """

    model_config = ConfigDict(frozen=True)

    attack: str
    attackers: int
    kind: str
    scenes: int
    frames: int
    skipped: str | None = None
    ap50: Figure | None = None
    ap70: Figure | None = None
    ego_lost: Figure | None = None
    fp_added: Figure | None = None
    rates: dict[str, Figure | None] = {}
    ms: float = 0.0
    cpu_s: float = 0.0
    notes: dict[str, int] = {}
    source: str = ""
    checks: dict[str, SceneCheck] = {}

    @property
    def key(self) -> tuple[str, int]:
        """Which cell."""
        return self.attack, self.attackers

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.attack} by {self.attackers}" if self.attackers else "nobody attacks"


def cell_of(entry: Entry, kind: str, alone: Alone, source: str, seed: int) -> CellResult:
    """The cell of an entry of an experiment."""
    cell, s = entry.cell, entry.summary
    named: dict[str, Any] = {"attack": "" if cell.attack is None else cell.attack.title, "attackers": cell.m}
    if s is None:
        return CellResult(**named, kind=kind, scenes=0, frames=0, skipped=entry.skipped, source=source)
    lost, added = against(entry.records, alone, seed)
    return CellResult(
        **named,
        kind=kind,
        scenes=s.scenes,
        frames=s.frames,
        ap50=_figure(s.ap.get(0.5)),
        ap70=_figure(s.ap.get(0.7)),
        ego_lost=lost,
        fp_added=added,
        rates={name: _figure(getattr(s, name)) for name in RATES},
        ms=0.0 if cell.m else median(sum(r.ms.values()) for r in entry.records),
        cpu_s=entry.cpu_s,
        notes=entry.notes,
        source=source,
        checks={name: check_of(rows) for name, rows in by_scene(entry.records).items()},
    )


def check_of(rows: Sequence[FrameRecord]) -> SceneCheck:
    """Of the frames of one scene."""
    hits = [r.matches.hits(IOU) for r in rows]
    return SceneCheck(
        objects=sum(r.matches.n_gt for r in rows),
        ap50=average_precision([r.matches for r in rows])[IOU],
        found=sum(int((h == TP).sum()) for h in hits),
        false=sum(int((h == FP).sum()) for h in hits),
        digest="-".join(r.digest[:8] for r in rows),
    )


def against(records: Sequence[FrameRecord], alone: Alone, seed: int) -> tuple[Figure | None, Figure | None]:
    """Objects of the ego's that are lost, as a share, and false boxes a frame that are added; paired over scenes."""
    known = [r for r in records if (r.scenario, r.index) in alone]
    groups = by_scene(known)
    if not groups:
        return None, None
    weights = scene_weights(len(groups), keyed_rng(seed, "bootstrap"))

    def shares(above: Callable[[FrameRecord], int], below: Callable[[FrameRecord], int]) -> Figure | None:
        sums = np.array([[sum(map(above, rows)), sum(map(below, rows))] for rows in groups.values()], np.float64)
        made = ratio(sums[:, 0], sums[:, 1], weights)
        return None if made is None else _figure(made.estimate())

    def own(r: FrameRecord) -> FrameRecord:
        return alone[r.scenario, r.index]

    lost = shares(lambda r: len(set(own(r).found) - set(r.found)), lambda r: len(own(r).found))
    return lost, shares(lambda r: _false(r) - _false(own(r)), lambda r: 1)


def _false(record: FrameRecord) -> int:
    return int((record.matches.hits(IOU) == FP).sum())


def _figure(estimate: Any) -> Figure | None:
    return None if estimate is None else Figure(value=estimate.value, low=estimate.low, high=estimate.high)
