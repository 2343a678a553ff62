"""A foreign detector that has learnt something, attacked and defended: `python -m benchmarks.trained_opencood`

    python -m benchmarks.trained_opencood                     # simulate, train, calibrate, attack; goes on if stopped
    python -m benchmarks.trained_opencood --until 500         # train to step 500 and stop there
    python -m benchmarks.trained_opencood --table             # the table alone, of weights that are there
    python -m benchmarks.trained_opencood --model F-Cooper    # another of OpenCOOD's models on the same data

An OpenCOOD model is trained with OpenCOOD's data set, labels, model and loss (`benchmarks.opencood_training`) on what
`robosac simulate` writes, wrapped by the ordinary adapter and calibrated by `robosac calibrate`. The table, on held-out
scenes: AP at IoU 0.5 seen from above, with 95 % intervals by a bootstrap over scenes, of objects that the agents taking
part hit at least 5 times. PGD on all features that an attacker sends; its budget is a multiple of the standard
deviation of the features that honest teammates send. Weights and data stay outside of the repository.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import Option, options, refusing
from benchmarks.opencood_training import TRAINABLE, WEIGHTS, Plan, train
from robosac.cli import calibrate as calibration
from robosac.cli.simulate import Simulate, write
from robosac.detectors.adapters.opencood import bridges
from robosac.evaluation.bootstrap import Estimate
from robosac.executors import make_executor
from robosac.experiments.entries import Entry
from robosac.experiments.opened import look_up
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.types import InputError

TEAMS: Final = ((5, 800), (3, 360), (2, 240), (1, 440))  # connected vehicles, training scenes of one frame
SEED: Final = 201  # of the first team's scenes; the next has the next
VEHICLES: Final = 5  # in calibration and test
CALIBRATION: Final = 100
WORTH: Final = {"ego only": 0.4, "all honest": 0.65}  # AP from which on the detector is worth defending
MULTIPLES: Final = ("1sd", "2sd", "4sd")
ATTACKERS: Final = (0, 1, 2)
POLICIES: Final = {  # column -> defence
    "ego only": "ego-only",
    "all honest": "all-honest",
    "no defence": "none",
    "robosac": "robosac",
    "paper": "paper",
    "oracle": "oracle",
}


def cache() -> Path:
    """Where weights and data go unless `--folder` says otherwise."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "robosac" / "trained_opencood"


@dataclass(frozen=True)
class Places:
    """What lies where in the folder of this benchmark."""

    folder: Path
    plan: Plan

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def model(self) -> Path:
        """As OpenCOOD's training leaves a model: `config.yaml` and weights."""
        return self.folder / self.plan.model.lower()

    @property
    def detector(self) -> str:
        """As `robosac` names it."""
        return f"opencood:{self.model}@{WEIGHTS}"


# ------------------------------------------------------------------------------------------------------------- data
def simulated(out: Path, split: str, scenes: int, *, vehicles: int = VEHICLES, seed: int = 0) -> Path:
    """Scenes of one frame as OPV2V lays them out; what is there stays. No road-side unit: OpenCOOD of mid-2022 takes
    its folder for the ego's."""
    write(Simulate(out=out, scenes=scenes, split=split, seed=seed, frames=1, vehicles=vehicles, roadside=False, jobs=1))
    return out / split


def training_data(out: Path, share: float = 1.0) -> Path:
    """Scenes with different numbers of agents: a detector that is to be defended must also do with few, or alone."""
    for k, (vehicles, scenes) in enumerate(TEAMS):
        simulated(out, "train", max(1, round(share * scenes)), vehicles=vehicles, seed=SEED + k)
    return out / "train"


# ------------------------------------------------------------------------------------------------------ calibration
def calibrated(detector: str, data: Path, frames: int) -> None:
    """Thresholds beside the weights, unless those of these very weights are there."""
    if look_up(detector, "cpu", None).calibration is not None:
        return
    settings = calibration.Calibrate(detector=detector, data=str(data), frames=frames, jobs=1)
    work, path = calibration.plan(settings)
    print(f"calibrating on {len(work)} honest frames", file=sys.stderr, flush=True)
    calibration.measured(settings, work, tell("calibration")).save(path)


def tell(what: str) -> Any:
    """Says how far something is, ten times."""

    def told(done: int, total: int) -> None:
        if done * 10 // total != (done - 1) * 10 // total:
            print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    return told


# ------------------------------------------------------------------------------------------------------------ table
def grid_of(detector: str, data: Path, scenes: int, seed: int = 0) -> Grid:
    """The experiment: every policy against every number of attackers and every budget, on the same frames."""
    return Grid(
        dataset=(f"opv2v:{data}",),
        detector=(detector,),
        attack=("pgd",),
        epsilon=MULTIPLES,
        attackers=ATTACKERS,
        defense=tuple(POLICIES.values()),
        titles=tuple(POLICIES),
        scenes=scenes,
        seed=seed,
    )


def shown(estimate: Estimate | None) -> str:
    """`.712 [.68, .74]`; of one scene, which has no interval, `.712`"""
    if estimate is None:
        return "–"
    value = f"{estimate.value:.3f}".removeprefix("0")
    if estimate.low is None or estimate.high is None:
        return value
    low, high = (f"{v:.2f}".removeprefix("0") for v in (estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def ap50(entry: Entry) -> Estimate | None:
    return None if entry.summary is None else entry.summary.ap[0.5]


def table(entries: Sequence[Entry]) -> list[str]:
    """Markdown: a row for each number of attackers and budget, a column for each policy."""
    cells: dict[tuple[int, str], dict[str, Estimate | None]] = {}
    for e in entries:
        label = "" if e.cell.m == 0 else e.cell.attack_label.partition("@")[2]
        cells.setdefault((e.cell.m, label), {})[e.cell.defense.label] = ap50(e)
    lines = [
        "| attackers | budget | " + " | ".join(POLICIES) + " |",
        "|--:|--:|" + "--:|" * len(POLICIES),
    ]
    for (m, label), row in sorted(cells.items(), key=lambda item: (item[0][0], _multiple(item[0][1]))):
        values = " | ".join(shown(row.get(policy)) for policy in POLICIES)
        lines.append(f"| {m} | {label or '–'} | {values} |")
    return lines


def _multiple(label: str) -> float:
    return float(label.removesuffix("sd") or 0)


def worth(entries: Sequence[Entry]) -> list[str]:
    """Whether the detector is worth defending, in words."""
    honest = {e.cell.defense.label: ap50(e) for e in entries if e.cell.m == 0}
    lines = []
    for name, least in WORTH.items():
        e = honest.get(name)
        verdict = "not measured" if e is None else "reached" if e.value >= least else "NOT reached"
        lines.append(f"{name}: AP@.5 {shown(e)}, asked for {least:g}: {verdict}")
    return lines


def show(places: Places, scenes: int, jobs: int) -> None:
    """Play what is missing of the experiment and print the table."""
    data = simulated(places.data, "test", scenes)
    experiment = open_experiment(grid_of(places.detector, data, scenes), places.folder / "results" / places.model.name)
    entries = run_experiment(experiment, make_executor(jobs, threads=1), tell=tell("scenes"))
    frames = next((e.summary.frames for e in entries if e.summary is not None), 0)
    sd = next((e.cell.feature_std for e in entries if e.cell.feature_std is not None), None)
    scale = "not measured" if sd is None else f"1sd = {sd:g}"
    print(f"{places.plan.model}, {frames} held-out frames, one a scene; AP@.5 [95 % interval over scenes]; {scale}")
    print("\n".join([*worth(entries), "", *table(entries)]))


# ---------------------------------------------------------------------------------------------------------- command
def main(args: Sequence[str] | None = None) -> None:
    usual = Plan()
    chosen = options(
        __doc__,
        args,
        model=Option(usual.model, choices=TRAINABLE),
        folder=Option(cache(), "of data, weights and results"),
        steps=Option(usual.steps, "of the whole training"),
        batch=Option(usual.batch, "samples a step"),
        peak=Option(usual.peak, "highest learning rate"),
        seed=0,
        every=Option(100, "steps between checkpoints"),
        until=Option(None, "stop at this step; the same command without it goes on", kind=int),
        scenes=Option(40, "held-out scenes of the table"),
        share=Option(1.0, "of the training and calibration scenes; 1 is what docs/results.md was made with"),
        table=Option(False, "the table alone, of the weights that are there"),
        jobs=1,
    )
    with refusing():
        plan = Plan(model=chosen.model, steps=chosen.steps, batch=chosen.batch, peak=chosen.peak, seed=chosen.seed)
        run(Places(chosen.folder.expanduser(), plan), chosen)


def run(places: Places, chosen: Any) -> None:
    """All stages, or what was chosen of them.

    Raises:
        InputError: a stage cannot be done; says why.
    """
    import torch

    torch.set_num_threads(1)
    if chosen.table and not (places.model / WEIGHTS).is_file():
        raise InputError(f"expected weights in {places.model}, found none; leave out --table to train them")
    with bridges.bridged():  # no OpenCOOD: said before an hour of simulation
        pass
    if not chosen.table:
        training = train(
            places.plan,
            training_data(places.data, chosen.share),
            places.model,
            every=chosen.every,
            kept=places.folder / "samples",
            until=chosen.until,
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
        print(f"{training.step} of {places.plan.steps} steps in {training.spent_s / 60:.0f} min")
        if training.step < places.plan.steps:
            return
    frames = max(50, round(chosen.share * CALIBRATION))
    calibrated(places.detector, simulated(places.data, "calibration", frames), frames)
    show(places, chosen.scenes, chosen.jobs)


if __name__ == "__main__":
    main()
