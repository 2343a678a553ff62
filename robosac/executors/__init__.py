"""Where work is done: an executor is a value, `run(work, items)` gives results as they are done.

Results are the same whatever executes: workers return plain results, the caller alone writes them down. So work needs
no shared disk, and a killed worker costs nothing but its own item.

Another executor is a class with `run` and a line in `EXECUTORS`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from robosac.errors import InputError, did_you_mean
from robosac.executors.local import Executor, Processes, Serial, default_jobs, set_threads
from robosac.executors.on_ray import OnRay

__all__ = [
    "EXECUTORS", "Executor", "OnRay", "Processes", "Serial", "Wanted", "default_jobs", "make_executor", "set_threads",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of an executor, as in `make_executor`; None where nobody said."""

    jobs: int | None = None
    threads: int | None = None
    address: str | None = None
    device: str = "cpu"

    @property
    def jobs_here(self) -> int:
        """At once on this machine."""
        return default_jobs() if self.jobs is None else self.jobs


def _on_ray(wanted: Wanted) -> OnRay:
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "expected the package ray for --executor ray, found none; install it: pip install 'robosac[ray]'"
        )
    jobs = wanted.jobs_here if wanted.address is None else wanted.jobs
    gpus = float(wanted.device.startswith("cuda"))
    return OnRay(jobs=jobs, threads=wanted.threads, address=wanted.address, gpus=gpus)


EXECUTORS: Final[Mapping[str, Callable[[Wanted], Executor]]] = {
    "serial": lambda wanted: Serial(threads=wanted.threads),
    "processes": lambda wanted: Processes(jobs=wanted.jobs_here, threads=wanted.threads),
    "ray": _on_ray,
}


def make_executor(
    jobs: int | None = None,
    *,
    threads: int | None = None,
    name: str = "processes",
    address: str | None = None,
    device: str = "cpu",
) -> Executor:
    """The executor of a name.

    Args:
        jobs: at once; left out, one a core, or in a cluster as many as it has cores.
        threads: computing threads of each.
        name: one of `EXECUTORS`.
        address: of a Ray cluster.
        device: what detectors compute on; a GPU is asked for as a resource of a cluster.

    Raises:
        InputError: there is none of that name, jobs or threads are below 1, it has no address, or Ray is not installed.
    """
    if name not in EXECUTORS:
        raise InputError(
            f"expected an executor, one of {', '.join(EXECUTORS)}; got {name!r}{did_you_mean(name, EXECUTORS)}"
        )
    found = EXECUTORS[name](Wanted(jobs=jobs, threads=threads, address=address, device=device))
    if address is not None and not hasattr(found, "address"):
        raise InputError(f"expected --executor ray beside --address, got {name}; leave --address out")
    return found
