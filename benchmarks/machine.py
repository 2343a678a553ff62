"""What a timing depends on, printed beside it, and how timings are summed up."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from robosac import __version__


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


def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float | None:
    """Mean number of busy processes over the last minute; above the number of cores, timings are those of a queue."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def machine(threads: int | None = None, packages: Sequence[str] = ("numpy", "torch")) -> dict[str, Any]:
    """Hardware, versions and load, as plain data. `threads` are the computing threads of torch."""
    versions = {"robosac": __version__, "python": platform.python_version()}
    versions |= {package: version(package) for package in packages}
    return {"cpu": cpu_name(), "cores": cores(), "threads": threads, "load": load(), "versions": versions}


def describe(facts: dict[str, Any]) -> str:
    """`machine` in one or two lines."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    threads = "" if facts["threads"] is None else f", {facts['threads']} torch threads"
    return f"{facts['cpu']}, {facts['cores']} cores{threads}, load {facts['load']}\n{versions}"


def verdict(ok: bool) -> str:
    return "PASS" if ok else "FAIL"
