"""How well does a shipped detector, trained on the simulator alone, do on driving data it never saw?

    python -m benchmarks.zero_shot                          # every sample that is there; one frame of each is drawn
    python -m benchmarks.zero_shot FOLDER --ego first       # a data set of one's own

AP seen from above by `robosac.evaluation.ap`: objects with at least 5 points of the agents taking part, centred in the
detector's map (+-38.4 m about the ego; published figures of these data sets are for a larger region and are another
thing). Rows: the ego alone; everybody fused; with one teammate attacking, everybody fused and the default defence;
and that where nobody attacks. Its thresholds are the shipped ones, from simulated frames. Nothing is trained, tuned or
calibrated on the data. Where the only teammate attacks, the best a defence can do is the ego alone.

What differs from the simulator and what is done about it:
- sensor heights (1.9 m on cars of OPV2V, a levelled "virtual" lidar at DAIR's crossing): nothing; the raster measures
  height above the ground, which it estimates from the points;
- range and beams (64 beams to 120 m, or a real 40-beam scan): nothing; points beyond the map are not looked at;
- world frames that are mirrored (OPV2V's are left-handed): nothing; only relative poses are used;
- the ego's own roof, which OPV2V's scans show: nothing; a box that is found there is a mistake a frame;
- clocks: DAIR's road-side scan is up to 50 ms later than the vehicle's, half a period, and the default gate lets a
  clock run 20 ms ahead. There it is let run 50 ms ahead.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.machine import Option, Rest, options
from robosac.data.dataset import EACH
from robosac.evaluation.ap import average_precision, recall
from robosac.executors import make_executor
from robosac.experiments.entries import Entry
from robosac.experiments.pictures import draw_scene
from robosac.experiments.runner import Experiment, open_experiment, picture_tasks, run_experiment
from robosac.experiments.settings import Grid
from robosac.experiments.tables import shown
from robosac.files import write_whole
from robosac.types import InputError

SAMPLES: Final = ("opv2v/validate", "opv2v_two_cars", "dair_v2x_c")
SIMULATED: Final = "sim:mixed"
SIMULATED_FRAMES: Final = 20
ROWS: Final = {  # title -> defence, attackers
    "ego only": ("ego-only", 0),
    "all honest": ("none", 0),
    "no defence": ("none", 1),
    "robosac": ("robosac", 1),
    "robosac, no attacker": ("robosac", 0),
}


def samples() -> list[Path]:
    """The samples that are there, beside the project or where ROBOSAC_SAMPLES says."""
    home = Path(os.environ.get("ROBOSAC_SAMPLES") or Path(__file__).parents[2] / "shared" / "data")
    return [home / name for name in SAMPLES if (home / name).is_dir()]


def plan_of(name: str, ego: str, detector: str, attack: str, out: Path) -> Experiment:
    """A data set, one of the teammates attacking and none."""
    simulated = name == SIMULATED
    grid = Grid(
        dataset=(name if simulated else f"data:{name}",),
        ego=ego,
        scenes=SIMULATED_FRAMES if simulated else None,
        frames=1 if simulated else None,
        detector=(detector,),
        attack=(attack,),
        attackers=(0, 1),
        defense=("ego-only", "none", "robosac"),
    )
    return open_experiment(grid, out)


def show(title: str, entries: Sequence[Entry]) -> None:
    """One table, of the frames that have a teammate."""
    cells = {(e.cell.defense.name, e.cell.m): [r for r in e.records if r.teammates] for e in entries}
    first = cells[ROWS["ego only"]]
    if not first:
        raise InputError(f"expected frames with teammates in {title}, got none; look at it with robosac data inspect")
    mean = sum(len(r.teammates) for r in first) / len(first)
    print(f"\n{title}: {len(first)} frames, {mean:.1f} teammates, {sum(r.matches.n_gt for r in first)} objects")
    print(f"  {'':20}{'AP@0.3':>8}{'AP@0.5':>8}{'AP@0.7':>8}{'recall@0.5':>12}{'used':>6}{'attacker used':>15}")
    for policy, (defense, m) in ROWS.items():
        rows = cells[defense, m]
        ap, found = average_precision([r.matches for r in rows]), recall([r.matches for r in rows])
        aps = "".join(f"{shown(ap[t], '.3f'):>8}" for t in (0.3, 0.5, 0.7))
        used = sum(len(r.used) for r in rows) / len(rows)
        taken = f"{sum(bool(r.used & r.attackers) for r in rows) / len(rows):15.2f}" if m else ""
        print(f"  {policy:20}{aps}{shown(found[0.5], '.3f'):>12}{used:6.2f}{taken}")


def main() -> None:
    args = options(
        __doc__,
        data=Rest("folders of data sets; default: the simulator's test split and the samples"),
        detector=Option("mean", "a shipped detector"),
        attack=Option("pgd", "an attack preset"),
        ego=Option(EACH, "first, each, or an agent's name"),
        out=Path("runs/zero_shot"),
        jobs=1,
    )
    for name in args.data or [SIMULATED, *map(str, samples())]:
        title = Path(name).name
        plan, executor = plan_of(name, args.ego, args.detector, args.attack, args.out / title), make_executor(args.jobs)
        show(title, run_experiment(plan, executor))
        for _, shot in executor.run(draw_scene, picture_tasks(plan, 1)):
            write_whole(args.out / f"{title}.png", shot.panels)
            print(f"  {args.out / title}.png")


if __name__ == "__main__":
    main()
