"""What the default costs a frame, checked in full and audited, without attackers and with two that stay.

    python -m benchmarks.audit_cost                     # 4 validation scenes of 8 frames
    python -m benchmarks.audit_cost --scenes 12 --attack pgd

For consecutive frames (10 Hz) of validation scenes, the shipped mean detector and its calibration: AP@0.5, decodes a
frame and processor time against the same frame undefended (everybody fused, one decode), as means over the frames
after the first of a scene, and the share of frames that were audited. Teammates' messages come in encoded; the first
frame of a scene, in which every pose is verified, is shown apart. `took in`: frames in which an attacker was used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np

from benchmarks.machine import Option, options, refusing
from robosac.defenses import NoDefense, Robosac
from robosac.defenses.protocol import Defender, Defense
from robosac.evaluation.ap import average_precision
from robosac.evaluation.play import EncodedFrame, Moment, Played, Policy, encode_frames, oracle, play
from robosac.executors import Serial, set_threads
from robosac.experiments.opened import DetectorRef, look_up
from robosac.registry.attacks import open_attack
from robosac.simulation import scenario

UNDEFENDED: Final = "everybody"


@dataclass(frozen=True)
class Timed:
    """A defence whose frames note the processor time that they took."""

    inner: Defense
    ms: list[float]

    def start(self, *given: Any) -> Defender:
        return _TimedDefender(self.inner.start(*given), self.ms)


@dataclass(frozen=True, eq=False)
class _TimedDefender:
    inner: Defender
    ms: list[float]

    def step(self, *given: Any) -> Any:
        start = time.process_time()
        verdict = self.inner.step(*given)
        self.ms.append(1e3 * (time.process_time() - start))
        return verdict


def frames(ref: DetectorRef, index: int, count: int) -> Iterator[EncodedFrame]:
    """The first frames of a validation scene."""
    made = scenario("val", index)
    return encode_frames((Moment(*made.snapshot(k).frame()) for k in range(count)), ref.open())


def line(name: str, played: Sequence[Played], ms: Sequence[float], base: Sequence[float]) -> str:
    """One row of the table."""
    verdicts = [p.verdict for p in played]
    later = [k for k, p in enumerate(played) if p.frame.index > 0]
    first = [k for k, p in enumerate(played) if p.frame.index == 0]
    audited = [k for k in later if "audited" in verdicts[k].reason]
    ap = average_precision([p.record.matches for p in played])[0.5] or 0.0
    took = np.mean([bool(p.verdict.used & p.truth.attackers) for p in played])

    def cost(rows: Sequence[int]) -> str:
        if not rows:
            return f"{'-':>10}{'-':>7}"
        decodes = np.mean([verdicts[k].decodes for k in rows])
        return f"{decodes:>10.2f}{np.sum([ms[k] for k in rows]) / np.sum([base[k] for k in rows]):>7.2f}"

    return (
        f"{name:<12}{ap:>7.3f}{cost(first)}{cost(later)}{len(audited) / len(later):>10.2f}{cost(audited)}{took:>9.2f}"
    )


def main(args: Sequence[str] | None = None) -> int:
    given = options(
        __doc__,
        args,
        scenes=4,
        frames=8,
        rates=Option((0.2, 0.1), "of the audits"),
        attack=Option("noise", "a preset, of those who stay"),
        attackers=Option((0, 2)),
        threads=Option(1, "computing threads of torch"),
    )
    with refusing():
        set_threads(Serial(threads=given.threads).threads)
        ref = look_up("mean", "cpu", None)
        defenses: dict[str, Defense] = {UNDEFENDED: NoDefense(), "full": Robosac()}
        defenses |= {f"audit {rate:g}": Robosac(audit=rate) for rate in given.rates}
        print(f"{given.scenes} validation scenes of {given.frames} frames, {ref.called}, {given.attack}")
        titles = "".join(f"{f'{when}: decodes':>17}" for when in ("first", "later"))
        print(
            f"{'':<12}{'AP@.5':>7}{titles}{'audited':>10}{'decodes':>10}{'':>7}{'took in':>9}   (time over undefended)"
        )
        data = [list(frames(ref, k, given.frames)) for k in range(given.scenes)]
        warm = Policy("warm", lambda m: Robosac())
        for _ in play(data[0][:1], ref.open(), None, (0,), [warm], seed=0, calibration=ref.calibration):
            pass  # compiled code is loaded, memory is there
        for m in given.attackers:
            ms: dict[str, list[float]] = {name: [] for name in defenses}
            timed = {name: Timed(d, ms[name]) for name, d in defenses.items()}
            policies = [Policy(name, partial(lambda d, m: d, timed[name])) for name in defenses]
            played: dict[str, list[Played]] = {}
            for scene in data:
                attack = open_attack(given.attack) if m else None
                for p in play(
                    scene, ref.open(), attack, (m,), [*policies, oracle()], seed=0, calibration=ref.calibration
                ):
                    played.setdefault(p.policy, []).append(p)
            print(f"{m} attackers; oracle {oracle_ap(played['oracle']):.3f}")
            for name in defenses:
                print(line(name, played[name], ms[name], ms[UNDEFENDED]))
    return 0


def oracle_ap(played: Sequence[Played]) -> float:
    return average_precision([p.record.matches for p in played])[0.5] or 0.0


if __name__ == "__main__":
    raise SystemExit(main())
