"""From result shards to entries: one JSON for each cell, the same bytes however the shards came to be."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robosac.evaluation.ap import ap_replicates
from robosac.evaluation.bootstrap import REPLICATES, Estimate, scene_weights
from robosac.evaluation.metrics import FrameRecord, Summary, by_scene, summarise
from robosac.evaluation.ranges import BANDS_M, THRESHOLD, band_name
from robosac.evaluation.roc import Roc, roc
from robosac.experiments.axes import NOBODY, AttackSpec, DefenseSpec
from robosac.experiments.refused import Refused
from robosac.experiments.scenes import SceneRef, described
from robosac.experiments.settings import Grid
from robosac.experiments.store import FORMAT, Done
from robosac.fingerprint import fingerprint
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

    @property
    def multiple(self) -> str | None:
        """The budget as a multiple of the features' standard deviation, where it was given as one."""
        stated = None if self.attack is None or self.attack.std is None else self.attack.stated.budget
        return stated if isinstance(stated, str) else None

    @property
    def feature_std(self) -> float | None:
        """The standard deviation that settings were given as multiples of."""
        return None if self.attack is None else self.attack.std

    def labels(self) -> dict[str, Any]:
        """What tells it from the others, in the order of the columns."""
        return {
            "dataset": self.dataset,
            "detector": self.detector,
            "attack": self.attack_label,
            "budget": self.budget,
            "unit": self.unit,
            "multiple": self.multiple,
            "feature_std": self.feature_std,
            "attackers": self.m,
            "defense": self.defense.label,
            "trials": self.defense.trials,
        }

    def file_name(self, grid: Grid) -> str:
        """Readable, and one's own even where names differ only in what no file name can hold."""
        names = (self.dataset, self.detector, self.attack_label, f"m{self.m}", self.defense.label)
        readable = "_".join(re.sub(r"[^A-Za-z0-9.@+-]+", "-", n).strip("-")[-40:] for n in names)
        judged_on = (described(self.dataset, grid), grid.seed, grid.seeds, grid.device)
        return f"{readable}_{fingerprint(names, judged_on)[:8]}.json"


@dataclass(frozen=True, eq=False)
class Entry:
    """The results of a cell. `summary` is None where there are none, and `skipped` says why.

    Attributes:
        cell: which.
        records: every frame.
        seeds: of each record.
        seconds: spent on it, attacks included, their share where several defences met the same messages.
        cpu_s: of a core, its own; of the first of several with the attack that they share.
        summary: AP, rates and means with intervals.
        bands: AP@0.5 by distance from the ego; None where nothing counts there.
        roc: of suspicion; None where nobody attacks or nobody is honest.
        kinds: what each scene shows that was played.
        making_ms: what a frame took to be simulated or read.
        left_out: reason -> scenes that could not be played.
        labels_left_out: frame -> records of its labels that cannot be.
        warned: what a user should know of how the figures came to be.
        notes: what of the attack came to nothing -> in how many frames.
        skipped: why there is nothing, where there is nothing.
    """

    cell: Cell
    records: tuple[FrameRecord, ...]
    seeds: tuple[int, ...]
    seconds: float
    cpu_s: float
    summary: Summary | None
    bands: dict[str, Estimate | None]
    roc: Roc | None
    kinds: tuple[str, ...]
    making_ms: float
    left_out: dict[str, list[str]]
    labels_left_out: dict[str, tuple[str, ...]]
    warned: tuple[str, ...]
    notes: dict[str, int]
    skipped: str | None

    @property
    def refused(self) -> Refused:
        """Honest messages that the gate let not in."""
        return Refused.count(self.records)

    @property
    def scenes(self) -> int:
        """How many were played."""
        return len(self.kinds)


def make_entry(
    cell: Cell,
    found: Sequence[tuple[SceneRef, Done]],
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
    every_ego: bool = False,
) -> Entry:
    """An entry of its scenes: each with its records, or with the reason why there are none. `seed`: of intervals;
    `every_ego`: scenes are named `SCENARIO/EGO`, and one scenario is one draw.
    """
    left_out: dict[str, list[str]] = {}
    for ref, done in found:
        if done.cannot is not None:
            left_out.setdefault(done.cannot, []).append(f"{ref.scene} (seed {ref.seed})")
    records = tuple(r for _, done in found for r in done.records)
    labels = {frame: said for _, done in found for frame, said in done.labels_left_out.items()}
    if not records:
        why = "; ".join(left_out) or "no frames"
        return Entry(cell, (), (), 0.0, 0.0, None, {}, None, (), 0.0, left_out, labels, (), {}, why)
    intervals = keyed_rng(seed, "bootstrap")
    return Entry(
        cell,
        records,
        seeds=tuple(ref.seed for ref, done in found for _ in done.records),
        seconds=sum(done.seconds for _, done in found),
        cpu_s=sum(done.cpu_s for _, done in found),
        summary=summarise(cell.defense.label, records, intervals, replicates=replicates, every_ego=every_ego),
        bands=_bands(by_scene(records, every_ego=every_ego), seed, replicates),
        roc=roc(records),
        kinds=tuple(done.kind for _, done in found if done.records),
        making_ms=float(np.mean([done.making_ms for _, done in found if done.records])),
        left_out=left_out,
        labels_left_out=labels,
        warned=tuple(dict.fromkeys(text for _, done in found for text in done.warned)),
        notes=dict(sorted(Counter(text for r in records for text in r.notes).items())),
        skipped=None,
    )


def _bands(groups: Mapping[str, Sequence[FrameRecord]], seed: int, replicates: int) -> dict[str, Estimate | None]:
    weights = scene_weights(len(groups), keyed_rng(seed, "bootstrap"), replicates)
    found = {}
    for k, band in enumerate(BANDS_M):
        ap = ap_replicates({name: [r.bands[k] for r in rows] for name, rows in groups.items()}, weights)[THRESHOLD]
        found[band_name(band)] = None if ap is None else ap.estimate()
    return found


def entry_json(
    entry: Entry,
    grid: Grid,
    *,
    config: dict[str, Any],
    versions: dict[str, str],
    run: dict[str, Any],
) -> str:
    """The file of an entry. All that differs from run to run is under `timings`, the last key.

    Args:
        entry: the cell and its results.
        grid: of which it is a cell.
        config: everything that the cell's names stand for, spelled out.
        versions: of what figures depend on.
        run: processes, threads, machine.
    """
    cell, s = entry.cell, entry.summary
    held: dict[str, Any] = {
        "format": FORMAT,
        "cell": cell.labels(),
        "config": config,
        "versions": versions,
        "seeds": list(grid.every_seed),
        "skipped": entry.skipped,
        "left_out": entry.left_out,
        "labels_left_out": entry.labels_left_out,
        "warned": entry.warned,
        "notes": entry.notes,
    }
    timings: dict[str, Any] = {**run, "seconds": entry.seconds, "cpu_seconds": entry.cpu_s}
    if s is not None:
        plain_summary = s.to_dict()
        timings |= {"ms": plain_summary.pop("ms"), "frames_ms": [dict(r.ms) for r in entry.records]}
        held |= plain_summary
        held["honest_refused"] = entry.refused.to_dict()
        held["ap50_by_range_m"] = {b: None if e is None else e.to_dict() for b, e in entry.bands.items()}
        held["roc"] = None if entry.roc is None else entry.roc.to_dict()
        held["per_frame"] = [
            {"seed": seed, **_without_ms(r)} for seed, r in zip(entry.seeds, entry.records, strict=True)
        ]
    held["timings"] = timings
    return json.dumps(_finite(held), indent=1, allow_nan=False) + "\n"


def _without_ms(record: FrameRecord) -> dict[str, Any]:
    return {k: v for k, v in record.to_dict().items() if k not in ("ms", "saved")}


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
