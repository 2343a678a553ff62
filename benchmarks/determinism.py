"""Is a run the same twice, whatever computes it?

    python -m benchmarks.determinism                     # 20 held-out scenes, two frames each
    python -m benchmarks.determinism --scenes 4 --json

Runs the demo's core (simulate, detect, attack, defend, tabulate; no pictures) with one seed four times, each in fresh
processes: twice in one process at one thread, once in two processes, once at two threads. Timings aside, the first
three must agree bit by bit: in the boxes and scores of every frame (by their digest), in who is used and accused and
after how many trials and decodes, and in every figure of the table. Two threads add up in another order, so there the
flipped decisions are counted, and the AP of every cell must agree to 0.001.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import Option, describe, machine, options, refusing, verdict
from robosac.executors import Processes
from robosac.experiments.demo import DemoSettings, run_demo
from robosac.experiments.provenance import environment
from robosac.types import InputError

AP_BAR: Final = 1e-3
TIMINGS: Final = frozenset({"ms", "seconds", "simulate_ms_a_frame", "environment", "command"})
DECISIONS: Final = ("used", "accused", "trials", "decodes", "fell_back", "rejected")

Result = Mapping[str, Any]
"""`DemoResult.to_dict()`."""


@dataclass(frozen=True)
class Comparison:
    """Two runs of the same settings.

    Attributes:
        name: what differed between the two.
        frames: verdicts compared: frames times policies times numbers of attackers.
        boxes_differ: verdicts whose boxes or scores are not the same bit by bit.
        flipped: (attackers, policy) -> verdicts that use another set of teammates; cells with none are left out.
        flipped_accusations: verdicts that accuse others.
        ap_difference: the largest difference of an AP, over all cells and IoU thresholds.
        same: part of `digests` -> whether it is the same bit by bit.
    """

    name: str
    frames: int
    boxes_differ: int
    flipped: dict[str, int]
    flipped_accusations: int
    ap_difference: float
    same: dict[str, bool]


def without_timings(value: Any) -> Any:
    """Plain data without what measures time or says where it ran."""
    if isinstance(value, Mapping):
        return {k: without_timings(v) for k, v in value.items() if k not in TIMINGS}
    return [without_timings(v) for v in value] if isinstance(value, list) else value


def digest(value: Any) -> str:
    """SHA-256 of plain data; floats count to the last bit, the order of keys does not."""
    return sha256(json.dumps(without_timings(value), sort_keys=True).encode()).hexdigest()


def digests(result: Result) -> dict[str, str]:
    """What of a run must not change, each part as one SHA-256. Equal digests, equal bits."""
    frames = result["frames"]
    return {
        "boxes": digest([[f["digest"], f["matches"]] for f in frames]),
        "decisions": digest([[f[name] for name in DECISIONS] for f in frames]),
        "table": digest(result["rows"]),
        "everything": digest(result),
    }


def compare(name: str, a: Result, b: Result) -> Comparison:
    """Two runs of the same settings.

    Raises:
        InputError: if they did not play the same frames under the same policies.
    """
    keys = [[(f["n_attackers"], f["policy"], f["scenario"], f["index"]) for f in run["frames"]] for run in (a, b)]
    if keys[0] != keys[1] or not all(f["digest"] for f in a["frames"]):
        raise InputError("expected two runs of the same settings, with digests; they hold other frames")
    pairs = list(zip(a["frames"], b["frames"], strict=True))
    flips = Counter(f"{x['n_attackers']} attackers, {x['policy']}" for x, y in pairs if x["used"] != y["used"])
    left, right = digests(a), digests(b)
    return Comparison(
        name=name,
        frames=len(pairs),
        boxes_differ=sum(x["digest"] != y["digest"] for x, y in pairs),
        flipped=dict(flips),
        flipped_accusations=sum(x["accused"] != y["accused"] for x, y in pairs),
        ap_difference=ap_difference(a["rows"], b["rows"]),
        same={part: left[part] == right[part] for part in left},
    )


def ap_difference(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> float:
    """Largest difference of an AP over all rows and IoU thresholds; infinite where only one run has the AP."""
    largest = 0.0
    for x, y in zip(a, b, strict=True):
        for iou, one in x["ap"].items():
            other = y["ap"][iou]
            if (one is None) != (other is None):
                return float("inf")
            if one is not None:
                largest = max(largest, abs(one["value"] - other["value"]))
    return largest


def fresh(settings: DemoSettings, jobs: int, threads: int) -> Result:
    """A run in processes of its own, which share no warmed-up library with any other."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_play, settings, jobs, threads).result()


def _play(settings: DemoSettings, jobs: int, threads: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:  # a new one: what is done there is not done again
        result = run_demo(settings, Path(folder), Processes(jobs=jobs, threads=threads))
        return result.to_dict("robosac demo", environment(jobs, threads))


def run(settings: DemoSettings) -> tuple[dict[str, str], list[Comparison]]:
    """The digests of the first run, and the others held against it."""
    first = fresh(settings, 1, 1)
    others = {"again": (1, 1), "two processes": (2, 1), "two threads": (1, 2)}
    return digests(first), [compare(name, first, fresh(settings, *how)) for name, how in others.items()]


def passed(comparison: Comparison) -> bool:
    """The bar: everything the same, or at two threads AP to 0.001."""
    if comparison.name == "two threads":
        return comparison.ap_difference <= AP_BAR
    return comparison.same["everything"]


def show(
    settings: DemoSettings, first: dict[str, str], comparisons: Sequence[Comparison], facts: dict[str, Any]
) -> str:
    """The comparisons as text."""
    lines = [
        describe(facts),
        f"{settings.scenes} scenes x {settings.frames} frames x {len(settings.policies)} policies x "
        f"{len(settings.attackers)} numbers of attackers, seed {settings.seed}, detector {settings.detector}, "
        f"attack {settings.attack}",
        f"one process, one thread: digest {first['everything'][:16]}",
    ]
    for c in comparisons:
        lines += [
            "",
            f"{c.name}: {verdict(passed(c))}",
            "  " + ", ".join(f"{part} {'identical' if same else 'DIFFER'}" for part, same in c.same.items()),
            f"  of {c.frames} verdicts: {c.boxes_differ} with other bits in boxes or scores, "
            f"{sum(c.flipped.values())} use other teammates, {c.flipped_accusations} accuse others",
            f"  largest difference of an AP: {c.ap_difference:.2g} (bar: "
            f"{'0, bit by bit' if c.name != 'two threads' else AP_BAR})",
            *(f"    {n:3d} flipped: {cell}" for cell, n in c.flipped.items()),
        ]
    return "\n".join(lines)


def main(args: Sequence[str] | None = None) -> int:
    """Print the comparisons; exit code 1 where a bar is missed, 2 where the arguments are wrong."""
    given = options(
        __doc__,
        args,
        scenes=Option(20, "held-out scenes, two frames each"),
        detector="mean",
        attack="pgd",
        seed=0,
        json=Option(False, "print JSON instead of text"),
    )
    with refusing():
        asked = {name: getattr(given, name) for name in ("scenes", "detector", "attack", "seed")}
        settings = DemoSettings(**asked, pictures=0)
        first, comparisons = run(settings)
    facts = machine(packages=("numpy", "scipy", "torch", "embreex"))
    if given.json:
        entries = [{**asdict(c), "passed": passed(c)} for c in comparisons]
        print(json.dumps({"machine": facts, "digests": first, "comparisons": entries}, indent=1))
    else:
        print(show(settings, first, comparisons, facts))
    return 0 if all(passed(c) for c in comparisons) else 1


if __name__ == "__main__":
    sys.exit(main())
