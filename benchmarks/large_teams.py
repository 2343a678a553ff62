"""Teams of 20 and 50: what group tests cost and find, against decoding each teammate alone.

    python -m benchmarks.large_teams                                   # the tests alone, with a verifier that errs
    python -m benchmarks.large_teams --frames 2 --teammates 20 --attackers 0,1,2 --attack noise   # real decodes, too

Without `--frames`, teams are drawn and tests err as if their scores were normal: one decoded alone with stated
probabilities, a group by the same verifier at a stricter limit (`--group-refused`), which costs but a few tests,
since nobody is left out who passes a test of its own. Tests a frame, the share of attackers that are left out (TPR)
and of honest teammates that are (FPR), the milliseconds that choosing takes. That a group's size does not matter to
its test is assumed here; `--frames` measures it.

With `--frames`, first frames of validation scenes of the simulation with so many vehicles, the shipped mean detector
and its calibration: decodes of a frame of the default without its check of poses (which adds one solo decode a
teammate in the first frame), each alone and in groups, and the same two rates, by who is used in the result.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from scipy.stats import norm

from benchmarks.machine import Option, options, refusing
from robosac.defenses import Robosac
from robosac.defenses.groups import dealt, sorted_out
from robosac.evaluation.play import Moment, Policy, play
from robosac.experiments.opened import look_up
from robosac.registry.attacks import open_attack
from robosac.simulation import SimConfig, scenario
from robosac.types import Frame, Id, InputError, Subset, keyed_rng

DRAWS: Final = 400
RANGE_M: Final = 90.0  # within which 50 vehicles are found


class Row(NamedTuple):
    """Means over frames: tests or decodes, shares left out, milliseconds of choosing; sums of who there was."""

    cost: float
    tpr: float
    fpr: float
    ms: float = 0.0


class Errors(NamedTuple):
    """Of a test: a set with an attacker passes with probability `missed`, one without is refused with `refused`."""

    missed: float
    refused: float

    def at(self, refused: float) -> Errors:
        """The same verifier where it refuses that much; its scores are normal and of one variance."""
        apart = norm.isf(self.refused) + norm.isf(self.missed)
        return Errors(float(norm.cdf(norm.isf(refused) - apart)), refused)


def drawn(teammates: int, attackers: int, size: int, one: Errors, several: Errors, *, seed: int = 0) -> Row:
    """Teams whose tests err, those of one and those of several."""
    ids = [f"t{k:02d}" for k in range(teammates)]
    tests, caught, wronged, took = 0, 0, 0, 0.0
    for k in range(DRAWS):
        rng = keyed_rng(seed, "large", teammates, attackers, size, k)
        bad = frozenset(ids[i] for i in rng.permutation(teammates)[:attackers])
        asked = 0
        waited = 0.0

        def test(sets: Sequence[Subset], bad: Subset = bad, rng: np.random.Generator = rng) -> list[bool]:
            nonlocal asked, waited
            start = time.perf_counter()
            asked += len(sets)
            errs = [one if len(s) == 1 else several for s in sets]
            said = [
                bool(rng.random() < (e.missed if s & bad else 1 - e.refused)) for s, e in zip(sets, errs, strict=True)
            ]
            waited += time.perf_counter() - start
            return said

        start = time.perf_counter()
        _, odd = sorted_out(dealt(ids, size, rng), test, rng)
        took += time.perf_counter() - start - waited
        out = frozenset().union(*odd)
        tests, caught, wronged = tests + asked, caught + len(out & bad), wronged + len(out - bad)
    honest = DRAWS * (teammates - attackers)
    return Row(tests / DRAWS, caught / max(DRAWS * attackers, 1), wronged / honest, 1e3 * took / DRAWS)


def large_frame(index: int, teammates: int) -> Moment:
    """The first frame of a validation scene, with the nearest so many teammates."""
    config = replace(SimConfig.preset("mixed"), n_vehicles=teammates + 6, n_frames=1, comm_range_m=RANGE_M)
    made, truth = scenario("val", index, config=config).snapshot(0).frame()
    if len(made.others) < teammates:
        raise InputError(f"expected {teammates} teammates within {RANGE_M:g} m, got {len(made.others)}")

    def away(i: Id) -> float:
        return float(np.linalg.norm(made.others[i].world_T_sensor[:2, 3] - made.ego.world_T_sensor[:2, 3]))

    kept = sorted(sorted(made.others, key=away)[:teammates])
    return Moment(Frame(made.scenario, made.index, made.ego, {i: made.others[i] for i in kept}), truth)


def measured(teammates: int, counts: Sequence[int], attack: str, frames: int, group: int) -> dict[tuple[str, int], Row]:
    """The default's decodes and rates, by policy and number of attackers."""
    ref = look_up("mean", "cpu", None)
    policies = [
        Policy("alone", lambda m: Robosac(poses=None, alone=64)),
        Policy("groups", lambda m: Robosac(poses=None, alone=0, group=group)),
    ]
    found: dict[tuple[str, int], list[tuple[int, int, int, int, int]]] = {}
    for k in range(frames):
        frame = large_frame(k, teammates)
        for p in play([frame], ref.open(), open_attack(attack), counts, policies, seed=0, calibration=ref.calibration):
            bad, out = p.truth.attackers, frozenset(p.frame.others) - p.verdict.used
            row = (p.verdict.decodes, len(out & bad), len(bad), len(out - bad), len(p.frame.others) - len(bad))
            found.setdefault((p.policy, p.n_attackers), []).append(row)
    rows = {}
    for cell, each in found.items():
        decodes, caught, bad_sum, wronged, honest = np.sum(each, axis=0)
        rows[cell] = Row(decodes / len(each), caught / max(bad_sum, 1), wronged / honest)
    return rows


def main(args: Sequence[str] | None = None) -> int:
    given = options(
        __doc__,
        args,
        teammates=Option((20, 50)),
        attackers=Option((0, 1, 2, 3)),
        group=Option(5, "teammates of a group at most"),
        missed=Option(0.02, "a test passes a set with an attacker"),
        refused=Option(0.02, "a test refuses a set without"),
        group_refused=Option(0.08, "a group's does"),
        frames=Option(0, "frames of the simulation, one a scene; 0: none"),
        attack=Option("noise", "a preset"),
    )
    head = f"{'teammates':>9}{'attackers':>10}  {'alone':>7}{'TPR':>7}{'FPR':>7}  {'groups':>7}{'TPR':>7}{'FPR':>7}"
    with refusing():
        one = Errors(given.missed, given.refused)
        several = one.at(given.group_refused)
        print(
            f"tests a frame; of one: misses {one.missed:g}, refuses {one.refused:g}; of up to {given.group}: "
            f"{several.missed:.4f}, {several.refused:g}\n{head}{'ms':>7}"
        )
        for a in given.teammates:
            for m in given.attackers:
                rows = [drawn(a, m, size, one, several) for size in (1, given.group)]
                line = "  ".join(f"{r.cost:7.1f}{r.tpr:7.3f}{r.fpr:7.3f}" for r in rows)
                print(f"{a:9d}{m:10d}  {line}{rows[1].ms:7.2f}")
        for a in given.teammates if given.frames else ():
            print(f"\ndecodes a frame, {given.attack}, {given.frames} frames, detector mean\n{head}")
            cells = measured(a, given.attackers, given.attack, given.frames, given.group)
            for m in given.attackers:
                line = "  ".join(
                    f"{r.cost:7.1f}{r.tpr:7.3f}{r.fpr:7.3f}" for r in (cells["alone", m], cells["groups", m])
                )
                print(f"{a:9d}{m:10d}  {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
