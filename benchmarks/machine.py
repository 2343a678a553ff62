"""What benchmarks share: their options, timings and what these depend on, and a frame that is played undefended."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robosac import __version__
from robosac.air import Attack
from robosac.evaluation.play import Moment, Played, play
from robosac.executors import make_executor
from robosac.experiments.studies import study
from robosac.registry.defenses import policy
from robosac.simulation import scenario
from robosac.types import Detector, InputError


# ---------------------------------------------------------------------------------------------------------- options
class Option(NamedTuple):
    """An option that needs more than its default."""

    default: Any
    help: str = ""
    choices: Sequence[str] | None = None
    kind: Callable[[str], Any] | None = None  # where the default does not say it


class Rest(NamedTuple):
    """What stands without an option's name: any number of words."""

    help: str


def options(doc: str | None, args: Sequence[str] | None = None, **asked: Any) -> Any:
    """A benchmark's arguments: `--NAME` for each, of its default's type; False is a flag, a tuple takes several."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, given in asked.items():
        if isinstance(given, Rest):
            parser.add_argument(name, nargs="*", help=given.help)
            continue
        default, about, choices, kind = given if isinstance(given, Option) else Option(given)
        about += "" if default in (None, False, ()) else f" (default: {default})"
        flag: dict[str, Any] = {"action": "store_true"}
        one = default[0] if isinstance(default, tuple) and default else default
        typed = {"type": kind or _kind(one), "choices": choices, "default": default}
        several = {"nargs": "+"} if isinstance(default, tuple) else {}
        parser.add_argument(
            f"--{name.replace('_', '-')}", help=about, **(flag if default is False else typed | several)
        )
    return parser.parse_args(args)


def _kind(value: Any) -> Callable[[str], Any]:
    return Path if isinstance(value, Path) else str if value is None or value == () else type(value)


@contextmanager
def refusing() -> Iterator[None]:
    """What is wrong with the arguments is printed; exit code 2."""
    try:
        yield
    except InputError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


# ---------------------------------------------------------------------------------------------------------- timings
@dataclass(frozen=True)
class Spread:
    """A median with the quartiles about it, in the unit of the values."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
        return Spread(float(median), float(low), float(high))

    def show(self, spec: str = ".1f") -> str:
        return f"{self.median:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def ms(work: Callable[[], object]) -> float:
    """Milliseconds of wall time that one call takes."""
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def in_turns(ways: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each way, one after another in every repeat; a first round, which warms up, does not count."""
    rounds = [{name: ms(work) for name, work in ways.items()} for _ in range(repeats + 1)][1:]
    return {name: [times[name] for times in rounds] for name in ways}


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine(threads: int | None = None, packages: Sequence[str] = ("numpy", "torch")) -> dict[str, Any]:
    """Hardware, versions and load, as plain data. `threads` are the computing threads of torch.

    `load` is the mean number of busy processes over the last minute: above the number of cores, timings are those of a
    queue.
    """
    versions = {"robosac": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in packages}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    return {"cpu": cpu_name(), "cores": cores, "threads": threads, "load": load, "versions": versions}


def describe(facts: dict[str, Any]) -> str:
    """`machine` in one or two lines."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    threads = "" if facts["threads"] is None else f", {facts['threads']} torch threads"
    return f"{facts['cpu']}, {facts['cores']} cores{threads}, load {facts['load']}\n{versions}"


def verdict(ok: bool) -> str:
    return "PASS" if ok else "FAIL"


# ----------------------------------------------------------------------------------------------------------- frames
def first_frame(split: str, index: int, *, seed: int = 0) -> Moment:
    """The first frame of a simulated scene."""
    snapshot = scenario(split, index, seed=seed).snapshot(0)
    return Moment(*snapshot.frame(), snapshot.world)


def undefended(moment: Moment, detector: Detector, attack: Attack | None, attackers: int, *, seed: int = 0) -> Played:
    """A frame under an attack where everybody who passes the gate is fused."""
    (played,) = play([moment], detector, attack, (attackers,), [policy("none")], seed=seed)
    return played


def by_cell(
    work: Callable[[Any], Any], cells: Iterable[tuple[Any, ...]], scenes: int, out: Path, jobs: int
) -> dict[tuple[Any, ...], list[Any]]:
    """What `work` makes of each scene of each cell, items `(*cell, scene)`; what is done is kept in `out`."""
    asked = list(cells)
    items = [(*cell, scene) for cell in asked for scene in range(scenes)]
    made = iter(study(work, items, out, make_executor(jobs)))
    return {cell: [next(made) for _ in range(scenes)] for cell in asked}
