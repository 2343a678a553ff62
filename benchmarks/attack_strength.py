"""How much harm each attack does to an undefended detector, by budget and number of attackers.

    python -m benchmarks.attack_strength                       # shipped mean fusion, 20 validation scenes
    python -m benchmarks.attack_strength --detector mean-unbounded --scenes 40

One frame a scene, of the validation split: nothing is learnt here about the test scenes. Teammates are fused all, the
attackers included. `boxes` is the mean number of boxes a frame. Stopped, it goes on where it was. What the attacks
themselves cost is measured by `benchmarks.attack_cost`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from robosac import attacks
from robosac.executors import make_executor
from robosac.experiments.runner import make_plan, run_plan
from robosac.experiments.settings import Grid
from robosac.experiments.tables import row, shown

KINDS: Final = ("noise", "fgsm", "bim", "pgd", "pgd_balanced", "cw")  # a few whose budget is an epsilon


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--detector", default="mean", help="a name as `robosac evaluate` takes it")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attacks", nargs="+", choices=attacks.names(), default=KINDS)
    parser.add_argument("--epsilons", nargs="+", type=float, default=(0.05, 0.1, 0.25, 0.5))
    parser.add_argument("--attackers", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/attack_strength"))
    args = parser.parse_args()
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
    for entry in run_plan(make_plan(grid, args.out), make_executor(args.jobs, threads=1)):
        if entry.cell.m and entry.cell.defense.name == "ego-only":
            continue  # nobody's message reaches it
        made = row(entry)
        name = made["attack"] if entry.cell.m else {"none": "all honest"}.get(entry.cell.defense.name, "ego only")
        aps = "".join(f"{shown(made[k], '.3f'):>8}" for k in ("ap30", "ap50", "ap70"))
        print(f"{name:<28}{entry.cell.m:>10}{aps}{shown(made['boxes'], '.1f'):>8}")


if __name__ == "__main__":
    main()
