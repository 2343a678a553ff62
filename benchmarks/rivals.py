"""What papers say of their defences, asked of simulated scenes: `python -m benchmarks.rivals`

Two frames of each of the first validation scenes (nothing is read off test scenes, and thresholds come from
calibration scenes), `mean`, the shipped calibration. Every attack is made once for all defences that it does not
know. Printed are, for each attack and number of attackers of 5 teammates, AP at IoU 0.5, the share of attackers and
of honest teammates that a defence leaves out, and its decodes a frame; then each published relation with the
figures that it rests on and whether it holds. Stopped, it goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, options
from robosac.evaluation.ap import FrameMatches, average_precision
from robosac.evaluation.play import Moment, play
from robosac.executors import make_executor
from robosac.experiments.opened import DetectorRef, look_up
from robosac.experiments.studies import study
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy, rival_names
from robosac.simulation import scenario
from robosac.types import Detector, Message, Request, Session, View

BASELINES: Final = ("none", "ego-only", "oracle", "paper")
ATTACKS: Final = (
    ("none", 0),
    ("pgd", 1),
    ("pgd", 2),
    ("cw", 2),
    ("pretend_benign", 2),
    ("feature_flip", 2),
    ("bac", 2),
)
NO_ATTACK: Final = ("none", 0)
Item = tuple[str, int, int]  # attack, attackers, scene


class OneSession:
    """A detector whose session of the same messages is opened once: what all defences decode is decoded once."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._last: dict[tuple[int, ...], tuple[Any, Session]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._detector, name)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Session:
        """One of the last sessions where the ego and all messages are those of it, one by one."""
        key = (id(ego), *map(id, messages))
        if key not in self._last:
            while len(self._last) > 3:
                del self._last[next(iter(self._last))]
            made = self._detector.open(ego, to, messages)
            self._last[key] = ((ego, tuple(messages)), made)  # kept alive, so that ids stay theirs
        return self._last[key][1]


def measured(item: Item, *, ref: DetectorRef, names: Sequence[str], frames: int, seed: int) -> dict[str, Any]:
    """One scene under one attack: for each defence its matches and whom it left out, as plain data."""
    attack, m, index = item
    scene = scenario("val", index, seed=0)
    snapshots = [scene.snapshot(k) for k in range(frames)]
    moments = [Moment(*s.frame(), s.world) for s in snapshots]
    found: dict[str, Any] = {name: [] for name in names}
    for p in play(
        moments,
        OneSession(ref.open()),
        None if attack == "none" else open_attack(attack),
        (m,),
        [policy(name) for name in names],
        seed=seed,
        calibration=ref.calibration,
    ):
        r = p.record
        row = {"matches": r.matches.to_dict(), "decodes": r.decodes, "trials": r.trials}
        row |= {"attackers": len(r.attackers), "honest": len(r.honest), "ms": sum(r.ms.values())}
        row |= {"out": len(r.attackers - r.used), "honest_out": len(r.honest - r.used)}
        found[p.policy].append(row)
    return found


@dataclass(frozen=True)
class Cell:
    """One defence under one attack, over all frames."""

    ap: float
    caught: float
    lost: float
    decodes: float
    trials: float

    @staticmethod
    def of(rows: Sequence[Mapping[str, Any]]) -> Cell:
        def share(part: str, whole: str) -> float:
            total = sum(r[whole] for r in rows)
            return float(sum(r[part] for r in rows) / total) if total else float("nan")

        ap = average_precision([FrameMatches.from_dict(r["matches"]) for r in rows])[0.5]
        means = (float(np.mean([r[key] for r in rows])) for key in ("decodes", "trials"))
        return Cell(ap or 0.0, share("out", "attackers"), share("honest_out", "honest"), *means)


Table = Mapping[tuple[str, int], Mapping[str, Cell]]


@dataclass(frozen=True)
class Relation:
    """A published sentence and how it is read off the table.

    Attributes:
        rival: whose; source: where it is said.
        said: the sentence.
        figures: names and values that it rests on.
        holds: whether they bear it out.
    """

    rival: str
    source: str
    said: str
    figures: Callable[[Table], Mapping[str, float]]
    holds: Callable[[Mapping[str, float]], bool]


def _of(attack: str, m: int, field: str, *names: str) -> Callable[[Table], Mapping[str, float]]:
    return lambda t: {n: float(getattr(t[attack, m][n], field)) for n in names}


def _over(name: str, field: str, *attacks: tuple[str, int]) -> Callable[[Table], Mapping[str, float]]:
    return lambda t: {f"{a} {m}": float(getattr(t[a, m][name], field)) for a, m in attacks}


RELATIONS: Final = (
    Relation(
        "paper-temporal", "arXiv 2303.09495",
        "the frame before as reference is as good as the ego's pass, for one decode less",
        lambda t: {
            "AP temporal": t["pgd", 2]["paper-temporal"].ap, "AP ego": t["pgd", 2]["paper"].ap,
            "other decodes": t["pgd", 2]["paper-temporal"].decodes - t["pgd", 2]["paper-temporal"].trials,
        },
        lambda f: f["AP temporal"] > f["AP ego"] - 0.03 and f["other decodes"] < 1.0,
    ),
    Relation(
        "paper-fixed", "arXiv 2303.09495", "attackers that stay the same need fewer trials",
        _of("pgd", 2, "trials", "paper-fixed", "paper"), lambda f: f["paper-fixed"] < f["paper"],
    ),
    Relation(
        "pasac", "arXiv 2412.12000", "halving needs fewer checks than ROBOSAC's draws at 20 % attackers",
        _of("pgd", 1, "trials", "pasac", "paper"), lambda f: f["pasac"] < f["paper"],
    ),
    Relation(
        "cp-uniguard", "arXiv 2506.22890", "an adaptive threshold is no worse than a fixed one",
        _of("pgd", 2, "ap", "cp-uniguard", "pasac"), lambda f: f["cp-uniguard"] > f["pasac"] - 0.01,
    ),
    Relation(
        "made", "arXiv 2310.11901", "both statistics together catch more than either alone",
        _of("pgd", 2, "caught", "made", "made-match", "made-reconstruction"),
        lambda f: f["made"] >= max(f["made-match"], f["made-reconstruction"]) and f["made"] > min(f.values()),
    ),
    Relation(
        "feature-similarity", "Pretend-Benign, ICCV 2025", "equals the oracle under PGD",
        _of("pgd", 2, "ap", "feature-similarity", "oracle"), lambda f: f["feature-similarity"] > f["oracle"] - 0.02,
    ),
    Relation(
        "feature-similarity", "Pretend-Benign, ICCV 2025", "catches PGD, C&W and flips and none of Pretend-Benign",
        _over("feature-similarity", "caught", ("pgd", 2), ("cw", 2), ("feature_flip", 2), ("pretend_benign", 2)),
        lambda f: min(f["pgd 2"], f["cw 2"], f["feature_flip 2"]) > 0.8 and f["pretend_benign 2"] < 0.2,
    ),
    Relation(
        "occupancy", "arXiv 2309.12955", "most fabrications are in conflict with occupancy, at 3 % false alarms",
        lambda t: {"caught": t["pgd", 2]["occupancy"].caught, "honest out": t[NO_ATTACK]["occupancy"].lost},
        lambda f: f["caught"] > 0.8 and f["honest out"] < 0.06,
    ),
    Relation(
        "gcp", "arXiv 2501.02450", "holds under blind-area confusion, where MADE, PASAC and ROBOSAC lose",
        _of("bac", 2, "ap", "gcp", "made", "pasac", "paper"), lambda f: f["gcp"] >= max(f.values()) - 0.005,
    ),
    Relation(
        "late-votes", "repository of arXiv 2501.02450", "gated late fusion is flat over all attacks",
        _over("late-votes", "ap", ("pgd", 2), ("cw", 2), ("pretend_benign", 2), ("feature_flip", 2), ("bac", 2)),
        lambda f: max(f.values()) - min(f.values()) < 0.03,
    ),
    Relation(
        "prbi", "arXiv 2603.08498", "2.5 checks a frame, and most of the honest AP",
        lambda t: {
            "checks": t["pgd", 2]["prbi"].trials, "AP": t["pgd", 2]["prbi"].ap, "honest AP": t[NO_ATTACK]["none"].ap,
        },
        lambda f: f["checks"] < 3.0 and f["AP"] > 0.79 * f["honest AP"],
    ),
    Relation(
        "pose-guard", "PoseGuard's last step",
        "its last step alone restores less than a defence that leaves attackers out",
        _of("pgd", 2, "ap", "none", "pose-guard", "oracle"),
        lambda f: f["none"] <= f["pose-guard"] < f["oracle"] - 0.1,
    ),
    Relation(
        "residual-classifier", "arXiv 2502.07807", "tells seen attacks without a decode of its own",
        lambda t: {
            "caught": t["pgd", 2]["residual-classifier"].caught, "decodes": t["pgd", 2]["residual-classifier"].decodes,
        },
        lambda f: f["caught"] > 0.9 and f["decodes"] <= 1.0,
    ),
    Relation(
        "single-check", "arXiv 2303.09495, 2310.11901", "one test for each finds plain PGD",
        _of("pgd", 2, "caught", "single-check"), lambda f: f["single-check"] > 0.9,
    ),
    Relation(
        "median", "arXiv 1803.01498", "a median bears a minority that a mean does not, and costs honest help",
        lambda t: {
            "median": t["pgd", 2]["median"].ap, "mean": t["pgd", 2]["none"].ap,
            "median, honest": t[NO_ATTACK]["median"].ap, "mean, honest": t[NO_ATTACK]["none"].ap,
        },
        lambda f: f["median"] > f["mean"] and f["median, honest"] < f["mean, honest"],
    ),
)  # fmt: skip


def main() -> None:
    args = options(
        __doc__,
        detector=Option("mean", "a shipped name"),
        scenes=12,
        frames=2,
        seed=0,
        jobs=1,
        out=Path("runs/rivals"),
    )
    ref = look_up(args.detector, "cpu", None)
    names = [*BASELINES, *rival_names()]
    items = [(attack, m, k) for k, (attack, m) in product(range(args.scenes), ATTACKS)]
    work = partial(measured, ref=ref, names=names, frames=args.frames, seed=args.seed)
    rows: dict[tuple[str, int], dict[str, list[Any]]] = {}
    for (attack, m, _), found in zip(items, study(work, items, args.out, make_executor(args.jobs)), strict=True):
        for name, of in found.items():
            rows.setdefault((attack, m), {}).setdefault(name, []).extend(of)
    table = {key: {name: Cell.of(of) for name, of in by.items()} for key, by in rows.items()}
    print(f"{ref.called}, {args.scenes} validation scenes of {args.frames} frames, seed {args.seed}")
    for (attack, m), cells in table.items():
        print(f"\n{attack}, {m} of 5: AP@.5, attackers out, honest out, decodes, checks")
        for name, c in cells.items():
            print(f"  {name:<20}{c.ap:>7.3f}{c.caught:>7.2f}{c.lost:>7.2f}{c.decodes:>7.1f}{c.trials:>7.1f}")
    print("\npublished relations")
    for r in RELATIONS:
        figures = r.figures(table)
        shown = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
        print(f"  {'holds' if r.holds(figures) else 'does not hold':<14}{r.rival}: {r.said} ({r.source}): {shown}")


if __name__ == "__main__":
    main()
