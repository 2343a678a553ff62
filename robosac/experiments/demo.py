"""`robosac demo`: a preset of the runner, with pictures. Its table is a view of the same entries."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from robosac.evaluation.bootstrap import Estimate, recovered_share
from robosac.evaluation.metrics import Summary, paired_ap
from robosac.executors import Executor
from robosac.experiments.entries import Entry
from robosac.experiments.notes import notes
from robosac.experiments.pictures import Shot
from robosac.experiments.runner import (
    Experiment,
    Tell,
    open_experiment,
    run_experiment,
    scale_of,
    settings_of,
)
from robosac.experiments.scenes import simulation
from robosac.experiments.settings import Grid
from robosac.experiments.tables import Text, Value, as_shown, empty_table, pair, row, shown
from robosac.experiments.worst import draw
from robosac.feature_scale import Amount, as_multiple, in_words
from robosac.registry.settings import plain
from robosac.types import InputError, keyed_rng

if TYPE_CHECKING:
    from rich.table import Table

IOU: Final = 0.5
KNOWING: Final = "who-knows-the-defence"  # folder of that part
POLICIES: Final[dict[str, str]] = {  # title in the table -> name of the policy
    "ego only": "ego-only",
    "no defence": "none",
    "robosac, as in paper": "paper",
    "robosac, count known": "robosac-known",
    "robosac, count unknown": "robosac",
    "oracle": "oracle",
    "all honest": "all-honest",
}
KNOWN_BY: Final = ("ego only", "no defence", "robosac, count unknown", "oracle")  # rows of who knows the defence


@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Scenes, attack and policies of a demo.

    Attributes:
        scenes, frames: held-out scenes, and how many frames of each are judged.
        frame_step: simulated frames (at 10 Hz) from one judged frame to the next.
        seed: of scenes, attackers, attack and defence.
        preset: simulation preset.
        detector, attack: names of a detector and of an attack preset.
        epsilon: budget in place of the preset's.
        attackers: how many teammates attack, a block of the table each.
        policies: rows of the table: title -> name.
        knowing: attack preset of who knows the defence, with as many attackers as attack at most.
        knowing_scenes: the first so many scenes, one frame each, are played under it too; 0 is none.
        pictures: frames that are drawn, the worst of the last policy that defends first, and a typical one last.
        device: what the detector computes on.
    """

    scenes: int = 100
    frames: int = 2
    frame_step: int = 5
    seed: int = 0
    preset: str = "mixed"
    detector: str = "mean"
    attack: str = "pgd"
    epsilon: Amount | None = None
    attackers: tuple[int, ...] = (0, 1, 2)
    policies: dict[str, str] = field(default_factory=lambda: dict(POLICIES))
    knowing: str = "evasive_balanced"
    knowing_scenes: int = 0
    pictures: int = 3
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("scenes", "frames", "frame_step"):
            if getattr(self, name) < 1:
                raise InputError(f"expected {name} >= 1, got {getattr(self, name)}")
        if isinstance(self.epsilon, str):
            object.__setattr__(self, "epsilon", as_multiple(self.epsilon))
        elif self.epsilon is not None and not 0 <= self.epsilon < math.inf:
            raise InputError(f"expected epsilon to be a finite number >= 0, got {self.epsilon}")

    @staticmethod
    def fast(**changes: object) -> DemoSettings:
        """Few scenes: under a minute on two cores; its figures have wide intervals."""
        return DemoSettings(**{"scenes": 12, "pictures": 2, **changes})  # type: ignore[arg-type]

    @staticmethod
    def full(**changes: object) -> DemoSettings:
        """What `robosac demo` plays."""
        return DemoSettings(**{"knowing_scenes": 10, **changes})  # type: ignore[arg-type]

    @property
    def grid(self) -> Grid:
        """The experiment that it is."""
        return Grid(
            dataset=(f"sim:{self.preset}",),
            detector=(self.detector,),
            attack=(self.attack,),
            epsilon=() if self.epsilon is None else (self.epsilon,),
            attackers=self.attackers,
            defense=tuple(self.policies.values()),
            titles=tuple(self.policies),
            seed=self.seed,
            scenes=self.scenes,
            frames=self.frames,
            frame_step=self.frame_step,
            device=self.device,
        )

    @property
    def knowing_grid(self) -> Grid | None:
        """The experiment under the attack that knows the defence; None where none is played."""
        policies = {title: name for title, name in self.policies.items() if title in KNOWN_BY}
        if not self.knowing_scenes or not policies or not max(self.attackers):
            return None
        changed = {
            "attack": (self.knowing,),
            "epsilon": (),
            "attackers": (max(self.attackers),),
            "defense": tuple(policies.values()),
            "titles": tuple(policies),
            "scenes": min(self.knowing_scenes, self.scenes),
            "frames": 1,
        }
        return self.grid.model_copy(update=changed)


@dataclass(frozen=True)
class Row:
    """One policy against one number of attackers. `recovered` is its share of the gap from ego only to the oracle."""

    entry: Entry
    summary: Summary
    recovered: Estimate | None

    @property
    def attackers(self) -> int:
        return self.entry.cell.m

    def to_dict(self) -> dict[str, Any]:
        recovered = None if self.recovered is None else asdict(self.recovered)
        return {"attackers": self.attackers, **self.summary.to_dict(), "recovered": recovered}

    def flat(self) -> dict[str, Value]:
        """One plain value a column."""
        return {**row(self.entry), "recovered": None if self.recovered is None else 100 * self.recovered.value}


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What a run found: the table's rows, those of who knows the defence (or why there are none), and the first frames
    as pictures."""

    settings: DemoSettings
    experiment: Experiment
    rows: list[Row]
    knowing: list[Row]
    unplayed: list[str]
    shots: list[Shot]
    seconds: float

    def to_dict(self, command: str, environment: dict[str, Any]) -> dict[str, Any]:
        entries = [r.entry for r in self.rows]
        return {
            "command": command,
            "config": resolved(self.settings, self.experiment),
            "environment": environment,
            "scenes": dict(sorted(Counter(entries[0].kinds).items())),
            "seconds": self.seconds,
            "simulate_ms_a_frame": entries[0].making_ms,
            "rows": [r.to_dict() for r in self.rows],
            "knowing": [r.to_dict() for r in self.knowing],
            "frames": [
                {"n_attackers": e.cell.m, "policy": e.cell.defense.label, **record.to_dict()}
                for e in entries
                for record in e.records
            ],
        }


def run_demo(
    settings: DemoSettings,
    out: Path,
    executor: Executor,
    *,
    calibration: Path | None = None,
    tell: Tell = lambda done, total: None,
) -> DemoResult:
    """Play every scene and tabulate. What is done is kept in `out`; `tell` hears how much is done, and of how much.
    `calibration` is a file of thresholds in place of the detector's own.

    Raises:
        InputError: a name means nothing, `out` cannot be written to, or a scene cannot be played.
    """
    start = time.perf_counter()
    experiment = open_experiment(settings.grid, out, calibration=calibration)
    grid = settings.knowing_grid
    also = None if grid is None else open_experiment(grid, out / KNOWING, calibration=calibration)
    before = experiment.total
    total = before + (0 if also is None else also.total)
    entries = run_experiment(experiment, executor, tell=lambda done, _: tell(done, total))
    if missing := unplayed(entries):
        raise InputError(missing[0])
    # a detector that such an attack does not know how to take on has no rows of it, and the table says so
    known = [] if also is None else run_experiment(also, executor, tell=lambda done, _: tell(before + done, total))
    pictures = draw(experiment, executor, settings.pictures)
    rows = tabulate(entries, seed=settings.seed)
    missing = unplayed(known)
    knowing = [] if missing else tabulate(known, seed=settings.seed)
    return DemoResult(settings, experiment, rows, knowing, missing, pictures, time.perf_counter() - start)


def unplayed(entries: Sequence[Entry]) -> list[str]:
    """Why scenes of them were not played, each reason once; empty where all were."""
    said = (f"{e.cell.attack_label}, {e.cell.m} attackers: {'; '.join(e.left_out)}" for e in entries if e.left_out)
    return list(dict.fromkeys(said))


def tabulate(entries: Sequence[Entry], *, seed: int) -> list[Row]:
    """Rows in the entries' order; shares of the gap are paired over the same resampled scenes."""
    rows = []
    for m in dict.fromkeys(e.cell.m for e in entries):
        block = {e.cell.defense.name: e for e in entries if e.cell.m == m}
        ap = paired_ap({name: e.records for name, e in block.items()}, keyed_rng(seed, "bootstrap"))
        ends = [ap[name][IOU] if name in ap else None for name in ("ego-only", "oracle")]
        for name, entry in block.items():
            share = None if name in ("ego-only", "oracle") else recovered_share(ap[name][IOU], *ends)
            assert entry.summary is not None  # every scene was played
            rows.append(Row(entry, entry.summary, None if share is None else share.estimate()))
    return rows


def resolved(settings: DemoSettings, experiment: Experiment) -> dict[str, Any]:
    """Settings with every preset they name spelled out."""
    m = max(settings.attackers)
    ((detector, dataset),) = experiment.combinations
    attacks = [b.attack for b in experiment.blocks_of(detector, dataset)]
    told = ("oracle", "all-honest")
    defenses = {d.label: settings_of(d, dataset, m, experiment.grid) for d in experiment.defenses if d.name not in told}
    return {
        **plain(settings),
        "simulation": plain(simulation(dataset, experiment.grid)),
        "attack_settings": next(({**plain(a.value), **scale_of(a)} for a in attacks if a is not None), None),
        "calibration": plain(detector.calibration),
        f"defences (with {m} attackers)": defenses,
    }


def attack_in_words(result: DemoResult) -> str:
    """The attack and its budget; a multiple of the features' standard deviation with what that is in numbers."""
    s = result.settings
    scale = next((r.entry.cell.attack.scale for r in result.rows if r.entry.cell.attack is not None), "")
    budget = "" if s.epsilon is None else f" eps {in_words(s.epsilon)}"
    return f"{s.attack}{budget}{f' ({scale})' if scale else ''}"


LEGEND: Final = (
    "gap: share of the way from ego only to the oracle that is recovered, AP@0.5. a/h: attackers / honest teammates "
    "(left out is not accused). decodes: fuse + decode passes a frame, the ego's own included. ms: a frame, on "
    "this machine, without the teammates' own encoding. AP: rotated BEV boxes, scores sorted over all frames."
)
_TERMINAL: Final[dict[str, Text]] = {
    "policy": lambda made: f" {made['defense']}",
    "AP@\n0.3": as_shown("ap30"),
    "AP@\n0.5": as_shown("ap50"),
    "AP@\n0.7": as_shown("ap70"),
    "gap\n%": lambda made: shown(made["recovered"], ".0f"),
    "left out\n% a/h": pair("excluded"),
    "accused\n% a/h": pair("accused"),
    "de-\ncodes": as_shown("decodes"),
    "ms": as_shown("ms"),
}


def notes_of(result: DemoResult, *, warned: bool) -> list[str]:
    """What is to be said beside the figures."""
    return [*notes([r.entry for r in (*result.rows, *result.knowing)], warned=warned), *result.unplayed]


def blocks_of(result: DemoResult) -> dict[str, list[Row]]:
    """The table's blocks with their titles, in order."""
    found: dict[str, list[Row]] = {}
    for r in result.rows:
        title = f"{r.attackers} of the teammates attack" if r.attackers else "nobody attacks"
        found.setdefault(title, []).append(r)
    for r in result.knowing:
        scenes = r.summary.scenes
        title = f"{r.attackers} attack and know the defence: {result.settings.knowing}, {scenes} scenes"
        found.setdefault(title, []).append(r)
    return found


def rich_table(result: DemoResult, title: str) -> Table:
    """For the terminal: fits 80 columns; intervals are in result.json and the report."""
    table = empty_table(title, list(_TERMINAL), "policy", pad_edge=False)
    for heading, rows in blocks_of(result).items():
        table.add_row(f"[italic]{heading}[/italic]")
        for r in rows:
            bold = "bold" if r.summary.policy.startswith("robosac, count") else ""
            table.add_row(*(text(r.flat()) for text in _TERMINAL.values()), style=bold)
        table.add_row()
    return table
