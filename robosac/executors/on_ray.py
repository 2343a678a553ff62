"""Work on a Ray cluster, or on a Ray of its own on this machine.

The process that hands out the work alone reads and writes results, so that no disk is shared. What items have in common
goes through Ray's object store, once to each node (`parcels`). A node that dies costs the items that ran there, which
run again elsewhere; a driver that dies leaves what it had written down.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from robosac.errors import InputError, RobosacError, RobosacWarning
from robosac.executors.local import at_least_one, set_threads
from robosac.executors.parcels import at_hand, parcels_of

T = TypeVar("T")
R = TypeVar("R")
VERSIONS: Final = "robosac.experiments.provenance:versions"
_AHEAD: Final = 2  # items in flight for each that runs, so that nobody waits for the driver
# by value, so that a node without this package can still say so
_ABOUT: Final = """
def about(name):
    import importlib, platform, socket
    found = {"host": socket.gethostname(), "python": platform.python_version()}
    module, _, attribute = name.partition(":")
    try:
        return {**found, **getattr(importlib.import_module(module), attribute)()}
    except ImportError as error:
        return {**found, "missing": str(error)}
"""


@dataclass(frozen=True, kw_only=True)
class OnRay:
    """Work on Ray.

    Attributes:
        jobs: items at once, at most; None: as many as the cluster has room for.
        threads: computing threads of each, and the cores that it asks for; None: one core.
        address: of a cluster: `auto` (the one of this machine), HOST:PORT or ray://HOST:PORT; None: a Ray of its own.
        gpus: that each item asks for.
        retries: how often an item runs again where its node or process died.
        timeout_s: how long an address may take to answer, and every node to say what it has.
        versions: MODULE:FUNCTION whose answer must be the same on every node.
    """

    jobs: int | None = None
    threads: int | None = None
    address: str | None = None
    gpus: float = 0.0
    retries: int = 5
    timeout_s: float = 60.0
    versions: str = VERSIONS

    def __post_init__(self) -> None:
        at_least_one(jobs=self.jobs, threads=self.threads)

    def run(self, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        """As `Executor.run`.

        Raises:
            InputError: the address does not answer, or a node lacks this package or has another
                version of it.
            RobosacError: an item could not be done although it was tried several times.
        """
        if not items:
            return
        ray = _ray()
        begun_here = not ray.is_initialized()
        if begun_here:
            self._connect(ray)
        try:
            self._same_everywhere(ray)
            yield from self._run(ray, work, items)
        finally:
            if begun_here:
                ray.shutdown()

    def _run(self, ray: Any, work: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
        room = self._room(ray)
        remote = ray.remote(_work).options(
            num_cpus=self.threads or 1, num_gpus=self.gpus, max_retries=self.retries, name="robosac"
        )
        shared = _Shared(ray, items)
        todo, flying = iter(range(len(items))), dict[Any, int]()
        try:
            while True:
                while len(flying) < room and (position := next(todo, None)) is not None:
                    sent = shared.refs(position)
                    flying[remote.remote(work, items[position], sent, self.threads, str(Path.cwd()))] = position
                if not flying:
                    return
                for done in ray.wait(list(flying), num_returns=1)[0]:
                    position = flying.pop(done)
                    result = self._result(ray, done)
                    shared.release(position)
                    yield position, result
        finally:
            for left in flying:
                ray.cancel(left, force=True)

    def _result(self, ray: Any, done: Any) -> Any:
        try:
            return ray.get(done)
        except ray.exceptions.RayTaskError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, RobosacError):
                raise cause from None
            raise
        except ray.exceptions.RayError as error:
            raise RobosacError(
                f"a node or its process died {self.retries + 1} times under the same item ({_line(error)}); what was "
                "done is kept where the command keeps it, run again"
            ) from error

    def _room(self, ray: Any) -> int:
        """Items in flight: `_AHEAD` for each that can run at once."""
        there = ray.cluster_resources()
        each = self.threads or 1
        most = int(there.get("CPU", 0)) // each
        if self.gpus:
            most = min(most, int(there.get("GPU", 0) / self.gpus))
        if most < 1:
            wanted = f"{each} cores" + (f" and {self.gpus:g} GPU" if self.gpus else "")
            have = ", ".join(f"{int(there.get(k, 0))} {k}" for k in ("CPU", "GPU"))
            raise InputError(f"expected a cluster with {wanted} for an item, got {have}; add nodes, or ask for less")
        return min(self.jobs, most) if self.jobs is not None else _AHEAD * most

    # ------------------------------------------------------------------------------------------------ the cluster
    def _connect(self, ray: Any) -> None:
        """Join the cluster, or begin one of its own.

        Raises:
            InputError: nobody answered in time.
        """
        named = self.address or None
        settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "include_dashboard": False}
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if named is None:
            settings |= {"num_cpus": (self.jobs or 1) * (self.threads or 1), "address": "local"}
        else:
            self._answers(named)
            settings = {"log_to_driver": False, "configure_logging": False, "address": named}
        failed: list[BaseException] = []

        def join() -> None:
            try:
                ray.init(**settings)
            except BaseException as error:  # said in the thread that waits
                failed.append(error)

        if named is None:
            join()  # here: what Ray starts ends with the thread that started it
            waiting = None
        else:
            waiting = Thread(target=join, daemon=True)
            waiting.start()
            waiting.join(self.timeout_s)
        where = named or "of this machine"
        if waiting is not None and waiting.is_alive():
            raise InputError(f"expected Ray at {where} to answer within {self.timeout_s:g} s, got nothing; is it up?")
        if failed:
            raise InputError(
                f"expected Ray at {where} to be joined, got {_line(failed[0])}; ray start --head begins one, ray "
                "status says whether it is up"
            ) from failed[0]

    def _answers(self, address: str) -> None:
        """InputError where nobody listens at HOST:PORT: Ray itself would try for long."""
        plain = address.removeprefix("ray://")
        host, colon, port = plain.rpartition(":")
        if address == "auto":
            return
        if not colon or not port.isdigit():
            raise InputError(f"expected --address to be auto, HOST:PORT or ray://HOST:PORT, got {address!r}")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=self.timeout_s).close()
        except OSError as error:
            raise InputError(
                f"expected Ray at {address} to answer within {self.timeout_s:g} s, got {_line(error)}; is it up?"
            ) from error

    def _same_everywhere(self, ray: Any) -> None:
        """Ask every node what it has, before any work.

        Raises:
            InputError: a node lacks this package, or has other versions than this process.
        """
        module, _, attribute = self.versions.partition(":")
        here: Mapping[str, str] = getattr(import_module(module), attribute)()
        held: dict[str, Any] = {"__name__": "__main__"}
        exec(_ABOUT, held)
        kind = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        nodes = [n for n in ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
        asked = {
            ray.remote(held["about"])
            .options(num_cpus=0, scheduling_strategy=kind(node_id=n["NodeID"], soft=False), max_retries=self.retries)
            .remote(self.versions): n["NodeManagerAddress"]
            for n in nodes
        }
        done, silent = ray.wait(list(asked), num_returns=len(asked), timeout=self.timeout_s) if asked else ([], [])
        if silent:
            hosts = ", ".join(sorted(str(asked[r]) for r in silent))
            raise InputError(f"expected every node to answer within {self.timeout_s:g} s, got nothing of {hosts}")
        for ref in done:
            try:
                found = ray.get(ref)
            except ray.exceptions.RayError:
                continue  # it died since: its work goes elsewhere
            differing(here, found, str(asked[ref]))


def differing(here: Mapping[str, str], found: Mapping[str, str], node: str) -> None:
    """InputError where a node has other versions than this process, or lacks the package; says what to do."""
    host = f"{found.get('host', '?')} ({node})"
    if "missing" in found:
        raise InputError(
            f"expected this package on every node, {host} has none: {found['missing']}; install robosac there in the "
            f"same version, {here.get('robosac', '?')}, into the Python that ray start uses"
        )
    other = [f"{k} {found.get(k, 'none')} and not {v}" for k, v in here.items() if found.get(k) != v]
    if other:
        raise InputError(
            f"expected the same versions on every node, {host} has {', '.join(other)}; figures would not be those of "
            "one machine: install the same there"
        )


class _Shared:
    """The parcels of the items in flight, each in the object store while any of them asks for it."""

    def __init__(self, ray: Any, items: Sequence[Any]) -> None:
        self.ray, self.items = ray, items
        self.kept: dict[str, Any] = {}
        self.asking: dict[str, int] = {}
        for item in items:
            for name in parcels_of(item):
                self.asking[name] = self.asking.get(name, 0) + 1

    def refs(self, position: int) -> dict[str, Any]:
        """References to what an item asks for; what is not there yet is made and put there."""
        wanted = parcels_of(self.items[position])
        for name, make in wanted.items():
            if name not in self.kept:
                self.kept[name] = self.ray.put(make())
        return {name: self.kept[name] for name in wanted}

    def release(self, position: int) -> None:
        """An item is done: what nobody else asks for leaves the store."""
        for name in parcels_of(self.items[position]):
            self.asking[name] -= 1
            if not self.asking[name]:
                self.kept.pop(name, None)


def _work(work: Callable[[T], R], item: T, sent: Mapping[str, Any], threads: int | None, folder: str) -> R:
    """One item in a worker; `folder`: where the driver runs, which a user's own modules may lie in."""
    import sys

    import ray

    warnings.simplefilter("ignore", RobosacWarning)  # who hands out the work says it
    if Path(folder).is_dir() and folder not in sys.path:
        sys.path.append(folder)
    set_threads(threads)

    def fetch(ref: Any) -> Callable[[], Any]:
        return lambda: ray.get(ref)

    with at_hand({name: fetch(ref) for name, ref in sent.items()}):
        return work(item)


def _ray() -> Any:
    import ray
    import ray.util.scheduling_strategies

    return ray


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
