"""What does a trial cost, and what does a defended frame cost against the usual way of computing one?

    python -m benchmarks.trials                      # the shipped mean detector, one thread
    python -m benchmarks.trials --threads 2 --json

On held-out simulated frames with five teammates, in one run, two ratios:

- one more trial (fuse, decode and agreement of one subset, the ego encoded and the maps warped before) over what the
  ego pays anyway (rasterise, encode and decode its own scan);
- a defended frame with exactly ten trials (gate, ego's encoding, warps, eleven decodes, agreement, report; the
  teammates' messages come in encoded) over ten trials and an ego-only pass of the reference style, which encodes and
  decodes every agent in every pass (see `benchmarks.reference`).

Both sides of a ratio are measured within the same second, in alternating order; a ratio is the median over frames and
repeats, with the quartiles beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final, NamedTuple

from benchmarks.machine import Option, Spread, describe, machine, ms, options, refusing, verdict
from benchmarks.reference import reference_frame
from robosac import detectors
from robosac.agreement import SeenScoreMap
from robosac.defenses import Known, RobosacAgreement
from robosac.detectors.bev.detector import BevDetector
from robosac.executors import Serial, set_threads
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, Frame, InputError, Message, Received, Request, Subset, Verdict, keyed_rng

TEAMMATES: Final = 5
SIZE: Final = 3  # of a subset: two attackers are left out
TRIALS: Final = 10  # all subsets of three of five
BARS: Final = {"trial_over_ego": 0.7, "defended_over_reference": 1 / 6}


@dataclass(frozen=True, eq=False)
class Case:
    """One frame with what its teammates sent, and the subsets that are tried."""

    frame: Frame
    request: Request
    inbox: tuple[Message, ...]
    subsets: tuple[Subset, ...]


class Round(NamedTuple):
    """Milliseconds on one frame in one repeat."""

    ego: float  # rasterise, encode and decode the ego's scan
    trial: float  # fuse, decode and agreement, mean over the subsets
    defended: float  # the whole frame with `TRIALS` trials
    reference: float  # `TRIALS` trials and the ego-only pass in the reference style
    rasters_kept: float  # the same, had the rasters been kept after the first pass


Report = dict[str, dict[str, Spread]]


def report_of(rounds: Sequence[Round], stages: Sequence[dict[str, float]]) -> Report:
    """Medians and quartiles over all rounds, in milliseconds and of ratios, which are taken round by round."""
    return {
        "ms": {name: Spread.of([getattr(r, name) for r in rounds]) for name in Round._fields},
        "stages_ms": {name: Spread.of([s[name] for s in stages]) for name in stages[0]},
        "ratios": {
            "trial_over_ego": Spread.of([r.trial / r.ego for r in rounds]),
            "defended_over_reference": Spread.of([r.defended / r.reference for r in rounds]),
            "defended_over_rasters_kept": Spread.of([r.defended / r.rasters_kept for r in rounds]),
        },
    }


def cases(detector: BevDetector, count: int, *, seed: int = 0) -> Iterator[Case]:
    """The first frames of `count` held-out scenes, with five teammates each."""
    made = index = 0
    while made < count:
        frame, _ = scenario("test", index, seed=seed).snapshot(0).frame()
        index += 1
        if len(frame.others) < TEAMMATES:
            continue
        kept = {i: frame.others[i] for i in sorted(frame.others)[:TEAMMATES]}
        frame = Frame(frame.scenario, frame.index, frame.ego, kept)
        request = Request.of(frame.ego)
        inbox = tuple(detector.encode(view, request) for view in kept.values())
        yield Case(frame, request, inbox, tuple(frozenset(s) for s in combinations(kept, SIZE)))
        made += 1


def defended(detector: BevDetector, case: Case) -> Verdict:
    """A frame that takes its whole budget: a threshold that nothing reaches."""
    defense = RobosacAgreement(plan=Known(attackers=TEAMMATES - SIZE, budget=TRIALS), threshold=2.0)
    rng = keyed_rng(0, case.frame.scenario, "benchmark")
    found = defense.start(case.frame.scenario, None, rng).step(
        detector, case.frame.ego, case.request, [Received.honest(m, case.request) for m in case.inbox]
    )
    if found.decodes != TRIALS + 1:
        raise InputError(f"expected {TRIALS + 1} decodes a frame, got {found.decodes}; the ratio would not be the one")
    return found


def ego_pass(detector: BevDetector, case: Case) -> None:
    """What the ego pays without any teammate."""
    detector.open(case.frame.ego, case.request, ()).detect([EGO_ALONE])


def reference_run(detector: BevDetector, case: Case) -> float:
    """Reference style: the ego-only pass, then each subset, each judged. Returns the milliseconds of rasterising."""
    passes, rasterising = reference_frame(detector, case.frame, (EGO_ALONE, *case.subsets))
    compare = SeenScoreMap().against(passes[0][0], case.frame.ego, detector.grid)
    for everybody in passes[1:]:
        compare(everybody[0])
    return rasterising


def trial_ms(detector: BevDetector, case: Case) -> float:
    """Milliseconds of a trial, one subset at a time, from a session that stands ready; mean over the subsets."""
    session = detector.open(case.frame.ego, case.request, case.inbox)
    compare = SeenScoreMap().against(session.detect([EGO_ALONE])[0], case.frame.ego, detector.grid)
    return ms(lambda: [compare(session.detect([s])[0]) for s in case.subsets]) / len(case.subsets)


def measure(detector: BevDetector, case: Case, *, defended_first: bool) -> tuple[Round, dict[str, float]]:
    """One round, and the stages of its defended frame. The ego's pass is timed on both sides of the trials."""
    before = ms(lambda: ego_pass(detector, case))
    trial = trial_ms(detector, case)
    ego = (before + ms(lambda: ego_pass(detector, case))) / 2
    first, second = ("defended", "reference") if defended_first else ("reference", "defended")
    found: dict[str, Any] = {}
    runs = {
        "defended": lambda: found.update(stages=dict(defended(detector, case).ms)),
        "reference": lambda: found.update(rasterising=reference_run(detector, case)),
    }
    times = {side: ms(runs[side]) for side in (first, second)}
    passes = len(case.subsets) + 1
    kept = times["reference"] - found["rasterising"] * (passes - 1) / passes
    return Round(ego, trial, times["defended"], times["reference"], kept), found["stages"]


def run(detector: BevDetector, *, frames: int, repeats: int, seed: int = 0) -> Report:
    """Measure `repeats` rounds of `frames` frames, after one that does not count."""
    if frames < 1 or repeats < 1:
        raise InputError(f"expected frames >= 1 and repeats >= 1, got {frames} and {repeats}")
    data = list(cases(detector, frames, seed=seed))
    measure(detector, data[0], defended_first=True)  # warms caches and memory
    rounds = [measure(detector, case, defended_first=r % 2 == 0) for r in range(repeats) for case in data]
    return report_of([r for r, _ in rounds], [s for _, s in rounds])


def passed(report: Report) -> dict[str, bool]:
    return {name: report["ratios"][name].median <= bar for name, bar in BARS.items()}


def show(report: Report) -> str:
    """The report as text."""
    m, ratios, ok = report["ms"], report["ratios"], passed(report)
    stages = ", ".join(f"{name} {spread.median:.1f}" for name, spread in report["stages_ms"].items())
    rows: list[tuple[str | Spread, str]] = [  # milliseconds, or the name of a ratio; and what it is called
        (m["ego"], "ego alone: rasterise, encode, decode"),
        (m["trial"], "one more trial"),
        ("trial_over_ego", "  trial / ego alone"),
        (m["defended"], f"defended frame, {TRIALS} trials ({stages})"),
        (m["reference"], f"reference style, {TRIALS} trials"),
        ("defended_over_reference", "  defended / reference"),
        ("defended_over_rasters_kept", "  defended / reference, rasters kept"),
    ]
    lines = []
    for value, title in rows:
        if isinstance(value, Spread):
            lines.append(f"{value.show():>24} ms  {title}")
        else:
            bar = f"     bar {BARS[value]:.3f}  {verdict(ok[value])}" if value in BARS else ""
            ratio = ratios[value]
            lines.append(f"{ratio.show('.4f'):>27}  {title} (1 / {1 / ratio.median:.1f}){bar}")
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> int:
    """Print both ratios; the bars are information, so the exit code is 0 unless the arguments are wrong (2)."""
    given = options(
        __doc__,
        args,
        detector=Option("mean", "a shipped name or a .safetensors file"),
        frames=Option(8, "held-out frames, one a scene"),
        repeats=5,
        threads=Option(1, "computing threads of torch"),
        seed=0,
        json=Option(False, "print JSON instead of text"),
    )
    with refusing():
        set_threads(Serial(threads=given.threads).threads)
        detector = detectors.load(given.detector)
        report = run(detector, frames=given.frames, repeats=given.repeats, seed=given.seed)
    facts = {"detector": detector.name, **machine(given.threads)}
    if given.json:
        plain = {kind: {n: asdict(s) for n, s in spreads.items()} for kind, spreads in report.items()}
        print(json.dumps({"machine": facts, **plain, "bars": BARS, "passed": passed(report)}, indent=1))
    else:
        frames = f"{given.frames} held-out frames, {TEAMMATES} teammates, {given.repeats} repeats: median [quartiles]"
        print(f"{describe(facts)}\n{frames}\n\n{show(report)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
