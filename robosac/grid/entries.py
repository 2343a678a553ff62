"""From parts to entries: one JSON for each cell of a grid, the same bytes however the parts came to be."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from robosac.evaluation.ap import ap_replicates
from robosac.evaluation.bootstrap import REPLICATES, Estimate, scene_weights
from robosac.evaluation.metrics import FrameRecord, Summary, by_scene, summarise
from robosac.evaluation.ranges import BANDS_M, THRESHOLD, band_name
from robosac.evaluation.roc import Roc, roc
from robosac.grid.data import SceneRef, described, gate_of
from robosac.grid.parts import FORMAT, Done, digest
from robosac.grid.settings import NOBODY, AttackSpec, DefenseSpec, Grid
from robosac.registry.settings import plain
from robosac.types import keyed_rng


@dataclass(frozen=True)
class Cell:
    """One combination of the grid's names."""

    dataset: str
    detector: str
    attack: AttackSpec | None
    m: int
    defense: DefenseSpec

    @property
    def attack_label(self) -> str:
        return NOBODY if self.attack is None else self.attack.label

    @property
    def budget(self) -> float | None:
        return None if self.attack is None else float(self.attack.value.budget)

    @property
    def unit(self) -> str | None:
        """What the budget counts."""
        return None if self.attack is None else str(self.attack.value.unit)

    def labels(self) -> dict[str, Any]:
        """What tells it from the others, in the order of the columns."""
        return {
            "dataset": self.dataset,
            "detector": self.detector,
            "attack": self.attack_label,
            "budget": self.budget,
            "unit": self.unit,
            "attackers": self.m,
            "defense": self.defense.label,
            "trials": self.defense.trials,
        }

    def file_name(self, grid: Grid) -> str:
        """Readable, and one's own even where names differ only in what no file name can hold."""
        names = (self.dataset, self.detector, self.attack_label, f"m{self.m}", self.defense.label)
        readable = "_".join(re.sub(r"[^A-Za-z0-9.@+-]+", "-", n).strip("-")[-40:] for n in names)
        judged_on = [described(self.dataset, grid), grid.seeds, grid.device]
        return f"{readable}_{digest([names, judged_on])[:8]}.json"


@dataclass(frozen=True, eq=False)
class Entry:
    """What came of a cell. `summary` is None where it cannot be, and `skipped` says why.

    Attributes:
        cell: which.
        records: every frame.
        seeds: of each record.
        seconds: spent on it, attacks included, their share where several defences met the same messages.
        summary: AP, rates and means with intervals.
        bands: AP@0.5 by distance from the ego; None where nothing counts there.
        roc: of suspicion; None where nobody attacks or nobody is honest.
        left_out: reason -> scenes that could not be played.
        skipped: why there is nothing, where there is nothing.
    """

    cell: Cell
    records: tuple[FrameRecord, ...]
    seeds: tuple[int, ...]
    seconds: float
    summary: Summary | None
    bands: dict[str, Estimate | None]
    roc: Roc | None
    left_out: dict[str, list[str]]
    skipped: str | None


def make_entry(cell: Cell, found: Sequence[tuple[SceneRef, Done]], *, replicates: int = REPLICATES) -> Entry:
    """An entry of its scenes: each with its records, or with the reason why there are none."""
    left_out: dict[str, list[str]] = {}
    records: list[FrameRecord] = []
    seeds: list[int] = []
    for ref, done in found:
        if done.cannot is not None:
            left_out.setdefault(done.cannot, []).append(f"{ref.scene} (seed {ref.seed})")
        records += done.records
        seeds += [ref.seed] * len(done.records)
    if not records:
        return Entry(cell, (), (), 0.0, None, {}, None, left_out, "; ".join(left_out) or "no frames")
    rng = keyed_rng(0, "bootstrap")
    summary = summarise(cell.defense.label, records, rng, replicates=replicates)
    seconds = sum(done.seconds for _, done in found)
    bands = _bands(records, replicates)
    return Entry(cell, tuple(records), tuple(seeds), seconds, summary, bands, roc(records), left_out, None)


def _bands(records: Sequence[FrameRecord], replicates: int) -> dict[str, Estimate | None]:
    groups = by_scene(records)
    weights = scene_weights(len(groups), keyed_rng(0, "bootstrap"), replicates)
    found = {}
    for k, band in enumerate(BANDS_M):
        ap = ap_replicates({name: [r.bands[k] for r in rows] for name, rows in groups.items()}, weights)[THRESHOLD]
        found[band_name(band)] = None if ap is None else ap.estimate()
    return found


def entry_json(
    entry: Entry,
    grid: Grid,
    *,
    detector: dict[str, Any],
    calibration: Any,
    versions: dict[str, str],
    run: dict[str, Any],
) -> str:
    """The file of an entry. All that differs from run to run is under `timings`, the last key."""
    cell, s = entry.cell, entry.summary
    held: dict[str, Any] = {
        "format": FORMAT,
        "cell": cell.labels(),
        "config": {
            "data": described(cell.dataset, grid),
            "detector": detector,
            "calibration": calibration,
            "attack": None if cell.attack is None else plain(cell.attack.value),
            "defense": plain(cell.defense.policy(gate_of(cell.dataset)).defense(frozenset(map(str, range(cell.m))))),
        },
        "versions": versions,
        "seeds": list(range(grid.seeds)),
        "skipped": entry.skipped,
        "left_out": entry.left_out,
    }
    timings: dict[str, Any] = {**run, "seconds": entry.seconds}
    if s is not None:
        plain_summary = s.to_dict()
        timings |= {"ms": plain_summary.pop("ms"), "frames_ms": [dict(r.ms) for r in entry.records]}
        held |= plain_summary
        held["ap50_by_range_m"] = {b: None if e is None else e.to_dict() for b, e in entry.bands.items()}
        held["roc"] = None if entry.roc is None else entry.roc.to_dict()
        held["per_frame"] = [
            {"seed": seed, **_without_ms(r)} for seed, r in zip(entry.seeds, entry.records, strict=True)
        ]
    held["timings"] = timings
    return json.dumps(_finite(held), indent=1, allow_nan=False) + "\n"


def _without_ms(record: FrameRecord) -> dict[str, Any]:
    return {k: v for k, v in record.to_dict().items() if k != "ms"}


def _finite(value: Any) -> Any:
    """JSON knows no infinity: it is written as a word."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def without_timings(text: str) -> str:
    """An entry's file without what differs from run to run, for comparing two of them byte by byte."""
    held = json.loads(text)
    held.pop("timings")
    return json.dumps(held, indent=1)
