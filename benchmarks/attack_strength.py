"""How much harm each attack does to an undefended detector, by budget and number of attackers.

    python -m benchmarks.attack_strength                       # shipped mean fusion, 20 validation scenes
    python -m benchmarks.attack_strength --detector mean-unbounded --scenes 40

One frame a scene, of the validation split: nothing is learnt here about the test scenes. Teammates are fused all, the
attackers included. `boxes` is the mean number of boxes a frame. Stopped, it goes on where it was. What the attacks
themselves cost is measured by `benchmarks.attack_cost`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.machine import Option, options
from robosac import attacks
from robosac.executors import make_executor
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.settings import Grid
from robosac.experiments.tables import row, shown

KINDS: Final = ("noise", "fgsm", "bim", "pgd", "pgd_balanced", "cw")  # a few whose budget is an epsilon


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a name as `robosac evaluate` takes it"),
        scenes=20,
        seed=0,
        attacks=Option(KINDS, choices=attacks.names()),
        epsilons=(0.05, 0.1, 0.25, 0.5),
        attackers=(1, 2),
        jobs=1,
        out=Path("runs/attack_strength"),
    )
    grid = Grid(
        split="val",
        detector=(args.detector,),
        attack=tuple(args.attacks),
        epsilon=tuple(args.epsilons),
        attackers=(0, *args.attackers),
        defense=("ego-only", "none"),
        seed=args.seed,
        scenes=args.scenes,
        frames=1,
    )
    print(f"{args.detector}, {args.scenes} validation scenes, undefended")
    print(f"{'attack':<28}{'attackers':>10}{'AP@0.3':>8}{'AP@0.5':>8}{'AP@0.7':>8}{'boxes':>8}")
    for entry in run_experiment(open_experiment(grid, args.out), make_executor(args.jobs, threads=1)):
        if entry.cell.m and entry.cell.defense.name == "ego-only":
            continue  # nobody's message reaches it
        made = row(entry)
        name = made["attack"] if entry.cell.m else {"none": "all honest"}.get(entry.cell.defense.name, "ego only")
        aps = "".join(f"{shown(made[k], '.3f'):>8}" for k in ("ap30", "ap50", "ap70"))
        print(f"{name:<28}{entry.cell.m:>10}{aps}{shown(made['boxes'], '.1f'):>8}")


if __name__ == "__main__":
    main()
