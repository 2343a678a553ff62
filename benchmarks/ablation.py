"""What does each part of the default defence bring, and what does it cost? `python -m benchmarks.ablation`

One frame of each of the first validation scenes (nothing here is read off the test scenes), two of five teammates
attacking, or none. In each row one part is left out; attacks that know the defence are made anew against what is left.
Printed are AP at IoU 0.5 and 0.7, and how far below the whole defence that is. An attack made against less is not
always the worse one, since less tells it less of what to keep to: `--transferred` plays the one that was made against
the whole defence to all rows. Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, by_cell, first_frame, options
from robosac import attacks
from robosac.air import Air, Attack, Knowledge
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.defenses.limits import Limits
from robosac.defenses.ranking import Ranking
from robosac.evaluation.ap import FrameMatches, average_precision
from robosac.evaluation.play import Policy, oracle, play
from robosac.experiments.opened import DetectorRef, look_up
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy
from robosac.types import Message, Subset

WHOLE: Final = "whole"
TRANSFERRED: Final = " of the whole"  # behind the name of an attack: made against the whole defence, played to all rows
Item = tuple[str, int]  # attack, scene


@dataclass(frozen=True, kw_only=True)
class Unlimited(Robosac):
    """The default without some of its limits; what attacks know of it says so too.

    Attributes:
        without: names of `robosac.defenses.limits.Limits`.
    """

    without: tuple[str, ...] = ()

    def limits(self, calibration: Calibration | None, detector: str) -> Limits:
        limits = super().limits(calibration, detector)
        everything: Mapping[str, Callable[[int], float]] = {
            name: (lambda _: 0.0) if name == "agreement" else (lambda _: inf) for name in self.without
        }
        return replace(limits, **everything)


VARIANTS: Final[Mapping[str, Robosac]] = {
    WHOLE: Robosac(),
    "claimed poses": Robosac(poses=None),
    "agreement with the ego": Unlimited(without=("agreement",)),
    "claims of one and of two": Unlimited(without=("claims", "together")),
    "strain of joint results": Unlimited(without=("strain", "strain_at_most")),
    "the stricter strain of two and more": Robosac(strain_alpha=0.02),
    "pooling of the next smaller size": Robosac(pool=1),
    "ranks by who shows a box": Robosac(ranking=Ranking(nobody=1.0, one=1.0, two=1.0)),
    "what is shown alone, put back": Robosac(ranking=Ranking(put_back=0.0)),
    "free ground": Robosac(ranking=Ranking(drop_free=False)),
}


def judged(item: Item, *, ref: DetectorRef, seed: int) -> dict[str, Any]:
    """One frame by each variant, by the ego alone and by the oracle, as plain data."""
    name, scene = item
    attack: Attack | None = None if name == "none" else open_attack(name.removesuffix(TRANSFERRED))
    variants = [Policy(key, partial(_given, defense)) for key, defense in VARIANTS.items()]
    policies = [*variants, policy("ego-only"), oracle()]
    count = (0,) if attack is None else (2,)
    moment = first_frame("val", scene)
    if name.endswith(TRANSFERRED):
        (whole,) = play([moment], ref.open(), attack, count, variants[:1], seed=seed, calibration=ref.calibration)
        attack = Made(tuple(r.message for r in whole.inbox if r.link in whole.truth.attackers))
    found = play([moment], ref.open(), attack, count, policies, seed=seed, calibration=ref.calibration)
    return {p.policy: {"matches": p.record.matches.to_dict(), "decodes": p.verdict.decodes} for p in found}


@dataclass(frozen=True, eq=False)
class Made:
    """What was sent once, sent again to whoever defends."""

    messages: tuple[Message, ...]
    knowledge: Knowledge = Knowledge.NONE

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Made:
        return self

    def send(self, air: Air) -> Sequence[Message]:
        return self.messages


def _given(defense: Robosac, attackers: int) -> Robosac:
    return defense


def rows(name: str, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each variant."""

    def ap(policy_name: str) -> tuple[float, float]:
        aps = average_precision([FrameMatches.from_dict(f[policy_name]["matches"]) for f in found])
        return aps[0.5] or 0.0, aps[0.7] or 0.0

    whole = ap(WHOLE)
    lines = []
    for key in found[0]:
        at, decodes = ap(key), float(np.mean([f[key]["decodes"] for f in found]))
        less = "" if key == WHOLE else f"{at[0] - whole[0]:>+9.3f}{at[1] - whole[1]:>+8.3f}"
        called = key if key == WHOLE or key not in VARIANTS else f"without {key}"
        lines.append(f"{name:<34}{called:<48}{at[0]:>6.3f}{at[1]:>7.3f}{decodes:>9.1f}{less}")
    return lines


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a shipped name"),
        scenes=40,
        adaptive_scenes=Option(8, "for attacks that know the defence"),
        seed=0,
        attacks=Option(("none", "pgd", "pretend_benign", "gps_offset"), choices=("none", *attacks.names())),
        adaptive=Option(("evasive_balanced", "evasive_hide", "evasive_geometry"), choices=tuple(attacks.names())),
        transferred=Option(False, "these also as they are made against the whole defence, by all rows"),
        jobs=1,
        out=Path("runs/ablation"),
    )
    ref = look_up(args.detector, "cpu", None)
    work = partial(judged, ref=ref, seed=args.seed)
    print(f"{ref.called}, validation scenes, seed {args.seed}; two of five attack")
    print(f"{'attack':<34}{'':<48}{'AP@.5':>6}{'AP@.7':>7}{'decodes':>9}{'less':>9}")
    transferred = [name + TRANSFERRED for name in args.adaptive] if args.transferred else []
    for names, scenes in ((args.attacks, args.scenes), ((*args.adaptive, *transferred), args.adaptive_scenes)):
        for name in names if scenes else ():
            found = by_cell(work, [(name,)], scenes, args.out, args.jobs)
            print("\n".join(rows(f"{name}, {scenes}", found[name,])), flush=True)


if __name__ == "__main__":
    main()
