"""Late and early fusion, studied on validation scenes, and measured. `python -m benchmarks.late_study`

    python -m benchmarks.late_study --tables late early --split test --scenes 100

Two kinds of tables, of which the first decided something and the others decide nothing:

- *profiles*: by which shape of a box's score map are honest subsets told from attacked ones best? Area under the ROC
  curve of `SeenScoreMap` for each attack and subset size, late fusion of the shipped network. The outcome is
  `robosac.score_maps.rasterise_boxes`; the others are drawn here.
- *late*, *late-wbf*, *early*: late fusion (suppression, weighted boxes) and early fusion under attack, without and with
  a defence. Thresholds as shipped, or else from calibration scenes. Stopped, they go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from benchmarks.agreement_study import Against, agreements
from benchmarks.machine import Option, first_frame, options
from robosac.agreement import BoxJaccard, Compare, SeenScoreMap
from robosac.calibration import calibrate
from robosac.detectors.fusion.late import LateFusion
from robosac.detectors.fusion.single import single
from robosac.executors import make_executor, set_threads
from robosac.experiments.opened import DetectorRef
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.experiments.tables import to_markdown
from robosac.registry.defenses import statistics_of
from robosac.registry.detectors import open_detector
from robosac.score_maps import cells_near, rasterise_boxes
from robosac.types import Array, BevGrid, Detections, Float32, View, keyed_rng

Profile: TypeAlias = Callable[[Float32, Float32, BevGrid], Array]


# --------------------------------------------------------------------------------------------------------- profiles
def drawn(boxes: Float32, scores: Float32, grid: BevGrid, *, kind: str, width_m: float) -> Array:
    """A score map `(H, W)` by another profile than the one of `rasterise_boxes`."""
    b = np.asarray(boxes, np.float64)
    reach_m = np.hypot(b[:, 3], b[:, 4]) + 3 * width_m
    box, cell, u, v = cells_near(b, grid, reach_m)
    half_l, half_w = b[box, 3] / 2, b[box, 4] / 2
    if kind == "filled":
        shape = ((np.abs(u) <= half_l) & (np.abs(v) <= half_w)).astype(np.float64)
    elif kind == "ramp":
        ramps = [np.clip((half - np.abs(d)) / width_m + 0.5, 0, 1) for half, d in ((half_l, u), (half_w, v))]
        shape = ramps[0] * ramps[1]
    elif kind == "bump":
        shape = np.exp(-(u**2 / (half_l**2 / 4 + width_m**2) + v**2 / (half_w**2 / 4 + width_m**2)) / 2)
    else:
        shape = np.exp(-(u**2 + v**2) / (2 * width_m**2))
    shown = np.zeros(grid.rows * grid.cols)
    np.maximum.at(shown, cell, shape * scores[box])
    return shown.reshape(grid.rows, grid.cols)


PROFILES: Final[dict[str, Profile]] = {
    "filled box": partial(drawn, kind="filled", width_m=0.0),
    "box, edges over 0.6 m": partial(drawn, kind="ramp", width_m=0.6),
    "box, edges over 1.2 m": partial(drawn, kind="ramp", width_m=1.2),
    "bump of the box, blur 0 m": partial(drawn, kind="bump", width_m=0.0),
    "bump of the box, blur 0.4 m": rasterise_boxes,
    "bump of the box, blur 0.8 m": partial(drawn, kind="bump", width_m=0.8),
    "bump of the box, blur 1.2 m": partial(drawn, kind="bump", width_m=1.2),
    "round bump, 0.8 m": partial(drawn, kind="round", width_m=0.8),
    "round bump, 1.2 m": partial(drawn, kind="round", width_m=1.2),
    "round bump, 1.8 m": partial(drawn, kind="round", width_m=1.8),
}
EDITS: Final = {  # attacks on boxes as sent
    "spoof 5": "box_spoof:boxes=5,score=1.0",
    "spoof 1": "box_spoof:boxes=1,score=1.0",
    "move 3 m": "box_shift:metres=3.0",
    "move 1.5 m": "box_shift:metres=1.5",
    "turn": "box_turn:degrees=90.0",
    "inflate": "box_resize:share=0.6",
    "silence": "box_remove:boxes=100",
}
COUNTED: Final = tuple(edit for edit in EDITS if edit != "silence")  # in the mean: nobody could tell silence
SIZES: Final = (1, 3, 5)


def redrawn(reference: Detections, ego: View, grid: BevGrid, *, profile: Profile) -> Compare:
    """`SeenScoreMap` on score maps of a profile."""

    def draw(found: Detections) -> Detections:
        return replace(found, score_map=profile(found.boxes, found.scores, grid).astype(np.float32))

    compare = SeenScoreMap().against(draw(reference), ego, grid)
    return lambda other: compare(draw(other))


MEASURES: Final[dict[str, Against]] = {
    **{name: partial(redrawn, profile=profile) for name, profile in PROFILES.items()},
    "box Jaccard": BoxJaccard().against,
}


def auc(honest: Sequence[float], attacked: Sequence[float]) -> float:
    """Probability that an honest subset agrees more than an attacked one, ties counting half."""
    ranked = np.sort(honest)
    below, upto = (np.searchsorted(ranked, attacked, side=s) for s in ("left", "right"))
    return float(np.mean(len(ranked) - (below + upto) / 2) / len(ranked))


def profiles(scenes: Sequence[int], cell_m: float) -> str:
    detector = open_detector("late:mean")
    assert detector.grid is not None
    half = int(np.ceil(detector.grid.x_max_m / cell_m))
    grid = BevGrid(-half * cell_m, -half * cell_m, cell_m, 2 * half, 2 * half)
    found = agreements(detector, scenes, EDITS, SIZES, MEASURES, grid)
    lines = [
        f"{len(scenes)} validation scenes, cells of {cell_m:g} m: area under ROC, mean over subset sizes {SIZES}",
        f"{'profile':28s}  mean  " + "  ".join(f"{edit:>10s}" for edit in EDITS) + "   (mean: without silence)",
    ]
    for name in MEASURES:
        by_edit = {
            edit: float(
                np.mean([auc(found[name, "", 0, s], found[name, edit, 1, s] + found[name, edit, 2, s]) for s in SIZES])
            )
            for edit in EDITS
        }
        mean = np.mean([by_edit[edit] for edit in COUNTED])
        lines.append(f"{name:28s} {mean:.3f}  " + "  ".join(f"{v:10.3f}" for v in by_edit.values()))
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- defences
def weighted() -> LateFusion:
    """Late fusion of the shipped network by weighted boxes, for its name below."""
    alone = single("mean")
    return LateFusion(alone, name="late-wbf:mean", grid=alone.grid, merge="wbf")


MOVED: Final = "box_shift:metres=2.0"  # twice the preset's: no box of an attacker counts as found any more
ON_BOXES: Final = ("box_spoof", "box_remove", "box_shift", MOVED, "box_shift_together", "box_flood")
TABLES: Final = {  # name -> detector, attacks
    "late": ("late:mean", ON_BOXES),
    "late-wbf": ("benchmarks.late_study:weighted", ON_BOXES),
    "early": ("early:mean", ("spoof_car", "spoof_car:cars=5", "remove_car")),
}
POLICIES: Final = ("ego-only", "none", "robosac-agreement", "robosac", "oracle")
COUNTS: Final = (0, 1, 2, 3)


def calibrated(ref: DetectorRef, scenes: int) -> DetectorRef:
    """A detector with its own thresholds, or else with some from the first frames of calibration scenes."""
    if ref.calibration is not None:
        return ref
    honest = (first_frame("calibration", i).frame for i in range(scenes))
    asked = statistics_of(["robosac", "robosac-agreement"])
    made = calibrate(ref.open(), honest, asked, alpha=0.02, rng=keyed_rng(0, "late study"))
    return replace(ref, calibration=made)


def grid_of(detector: str, strikes: Sequence[str], split: Literal["val", "test"], scenes: int) -> Grid:
    """The experiment of one table."""
    return Grid(
        split=split,
        detector=(detector,),
        attack=tuple(strikes),
        attackers=COUNTS,
        defense=POLICIES,
        scenes=scenes,
        frames=1,
    )


def main() -> None:
    args = options(
        __doc__,
        tables=Option(("profiles", *TABLES), choices=("profiles", *TABLES)),
        split=Option("val", "of the scenes of the other tables", choices=("val", "test")),
        scenes=Option(40, "scenes a table"),
        calibrating=Option(200, "calibration scenes"),
        cells=Option((1.2, 0.6), "metres a cell, of the first table"),
        jobs=Option(1, "processes, for the other tables"),
        out=Option(Path("runs/late_study"), "folder where their results are kept"),
    )
    set_threads(1)
    for cell_m in args.cells if "profiles" in args.tables else ():
        print(profiles(range(60, 60 + args.scenes), cell_m) + "\n", flush=True)
    for name, (detector, strikes) in TABLES.items():
        if name in args.tables:
            grid = grid_of(detector, strikes, args.split, args.scenes)
            experiment = open_experiment(grid, args.out)
            refs = {named: calibrated(ref, args.calibrating) for named, ref in experiment.detectors.items()}
            entries = run_experiment(replace(experiment, detectors=refs), make_executor(args.jobs, threads=1))
            print(to_markdown(entries), flush=True)


if __name__ == "__main__":
    main()
