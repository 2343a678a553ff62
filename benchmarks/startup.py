"""How long until the first answer? `python -m benchmarks.startup`

Wall time of fresh interpreters, best and median: one that does nothing, one that imports robosac, one that answers
`robosac budget --teammates 5 --attackers 2 --subset 3`. Beside it, which heavy packages those two loaded: none should.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from benchmarks.machine import Option, describe, machine, ms, options, refusing, verdict
from robosac.types import InputError

BAR_S: Final = 0.5
HEAVY: Final = ("torch", "open3d", "matplotlib", "scipy", "shapely", "pandas", "embreex")
BUDGET: Final = ("budget", "--teammates", "5", "--attackers", "2", "--subset", "3")
_NAMES: Final = f"import sys; print(*sorted({set(HEAVY)!r} & set(sys.modules)), file=sys.stderr)"


@dataclass(frozen=True)
class Start:
    """Seconds of `runs` fresh interpreters, and the heavy packages that one of them loaded."""

    name: str
    best_s: float
    median_s: float
    runs: int
    heavy: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.median_s < BAR_S and not self.heavy


def seconds(arguments: Sequence[str], runs: int) -> list[float]:
    """Wall time of `runs` fresh interpreters with these arguments, after one that fills the file cache."""
    if runs < 1:
        raise InputError(f"expected runs >= 1, got {runs}")
    command = [sys.executable, *arguments]
    times = [ms(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)) for _ in range(runs + 1)]
    return [t / 1e3 for t in times[1:]]


def heavy_modules(code: str) -> tuple[str, ...]:
    """Which of `HEAVY` are loaded in a fresh interpreter after `code` ran, whether it returned or exited."""
    program = f"try:\n exec({code!r})\nexcept SystemExit:\n pass\n{_NAMES}"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return tuple(done.stderr.split())


def starts(runs: int) -> list[Start]:
    """The three interpreters."""
    programs = {
        "python, nothing else": (("-c", "pass"), "pass"),
        "import robosac": (("-c", "import robosac"), "import robosac"),
        f"robosac {' '.join(BUDGET)}": (
            ("-m", "robosac", *BUDGET),
            f"from robosac.cli import main; main({list(BUDGET)!r})",
        ),
    }
    found = []
    for name, (arguments, code) in programs.items():
        times = seconds(arguments, runs)
        found.append(Start(name, min(times), median(times), runs, heavy_modules(code)))
    return found


def main(args: Sequence[str] | None = None) -> int:
    """Print the times; exit code 1 where a heavy package is loaded. Times are information, they depend on the load."""
    given = options(__doc__, args, runs=5, json=Option(False, "print JSON instead of text"))
    with refusing():
        found = starts(given.runs)
    facts = machine(packages=("numpy", "typer", "rich"))
    if given.json:
        entries = [{**asdict(s), "passed": s.ok} for s in found]
        print(json.dumps({"machine": facts, "bar_s": BAR_S, "starts": entries}, indent=1))
    else:
        print(describe(facts))
        print(f"{'':58}{'best':>8}{'median':>8}   heavy packages loaded")
        for s in found:
            print(f"{s.name:58}{s.best_s:7.3f}s{s.median_s:7.3f}s   {', '.join(s.heavy) or 'none'}")
        print(f"{verdict(all(s.ok for s in found))}: under {BAR_S:g} s, nothing heavy loaded")
    return 1 if any(s.heavy for s in found) else 0


if __name__ == "__main__":
    sys.exit(main())
