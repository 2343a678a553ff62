"""Ray as an executor: nodes, workers and drivers are killed and nothing is lost; and what a second node is worth.

    python -m benchmarks.cluster                   kills, then speed
    python -m benchmarks.cluster --kills 20 --no-speed
    python -m benchmarks.cluster --kills 0 --scenes 40

The cluster is of this machine: a head without cores, and nodes of one core each. Moments of kills are drawn uniformly
from the time that an undisturbed run takes; each kill hits a node (another takes its place), a worker, or the driver,
which is started again. Speed is that of the work alone: nodes and workers are up and warm, which is timed apart.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.grid import SMALL, entries, finish, start
from benchmarks.machine import Option, describe, machine, ms, options

VICTIMS: Final = ("node", "worker", "driver")


def driver(settings: Sequence[str], out: Path, address: str) -> subprocess.Popen[bytes]:
    """`robosac evaluate` on the cluster, in a process group of its own."""
    command = [sys.executable, "-m", "robosac", "evaluate", "--pictures", "0", *settings, "--out", str(out), "--json"]
    command += ["--executor", "ray", "--address", address]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def workers() -> Iterator[int]:
    """Processes of this machine that Ray works in for us."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::robosac"):
            yield int(folder.name)


class Killer:
    """Kills something of a cluster and of the run on it."""

    def __init__(self, cluster: Any, nodes: list[Any], rng: random.Random) -> None:
        self.cluster, self.nodes, self.rng = cluster, nodes, rng
        self.killed: Counter[str] = Counter()

    def kill(self, run: subprocess.Popen[bytes]) -> None:
        """One of the three, uniformly; a worker where none works is a node."""
        victim = self.rng.choice(VICTIMS)
        there = list(workers())
        if victim == "worker" and there:
            os.kill(self.rng.choice(there), signal.SIGKILL)
        elif victim == "driver":
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()
        else:
            victim = "node"
            node = self.nodes.pop(self.rng.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.killed[victim] += 1


def survive(cluster: Any, folder: Path, *, kills: int, rng: random.Random) -> tuple[Killer, int, list[str]]:
    """Kill so many times; the killer, how many grids got through, and the files of entries that differ."""
    finish(start(SMALL, folder / "serial", 1))
    wanted = entries(folder / "serial")
    killer = Killer(cluster, [cluster.add_node(num_cpus=1) for _ in range(2)], rng)
    lasts_s = ms(lambda: finish(driver(SMALL, folder / "undisturbed", cluster.address))) / 1e3
    rounds, differing = 0, list[str]()
    while sum(killer.killed.values()) < kills:
        out = folder / f"round-{rounds}"
        run = driver(SMALL, out, cluster.address)
        while True:
            left = sum(killer.killed.values()) < kills
            try:
                _, told = run.communicate(timeout=rng.uniform(0, lasts_s) if left else None)
            except subprocess.TimeoutExpired:
                killer.kill(run)
                print(f"kill {sum(killer.killed.values())}: {dict(killer.killed)}", flush=True)
                if run.poll() is not None:
                    run = driver(SMALL, out, cluster.address)
                continue
            if run.returncode:
                raise RuntimeError(f"expected the grid to go on, got: {told.decode()[-2000:]}")
            break
        found = entries(out)
        differing += [f"{out.name}/{n}" for n in sorted(wanted.keys() | found.keys()) if wanted.get(n) != found.get(n)]
        rounds += 1
    return killer, rounds, differing


def seconds(scenes: int, out: Path, cluster: Any) -> tuple[float, float]:
    """How long the work takes on the cluster as it is, and how long until its workers were up and warm."""
    from robosac.executors import OnRay
    from robosac.experiments.runner import open_experiment, run_experiment, write_entries
    from robosac.experiments.settings import Grid

    grid = Grid(attack=("pgd",), attackers=(0, 1, 2), defense=("none", "robosac", "oracle"), frames=2)
    executor = OnRay(address=cluster.address, threads=1)
    import ray

    begun = time.perf_counter()
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        warm = grid.model_copy(update={"split": "val", "scenes": 4, "frames": 1})
        run_experiment(open_experiment(warm, out / "warm"), executor)
        ready = time.perf_counter()
        many = grid.model_copy(update={"scenes": scenes})
        experiment = open_experiment(many, out)
        opened = time.perf_counter()
        write_entries(experiment, run_experiment(experiment, executor), jobs=1, threads=1)
        return time.perf_counter() - opened, ready - begun
    finally:
        ray.shutdown()


def main(args: Sequence[str] | None = None) -> None:
    chosen = options(
        __doc__,
        args,
        kills=20,
        seed=Option(0, "of the moments and of who is killed"),
        scenes=Option(40, "of the grid whose speed is measured"),
        no_speed=False,
    )
    from ray.cluster_utils import Cluster

    os.environ.update({"OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"})
    print(describe(machine(1)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cluster: Any
        if chosen.kills:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
            killer, rounds, differing = survive(cluster, folder, kills=chosen.kills, rng=random.Random(chosen.seed))
            cluster.shutdown()
            print(
                f"{sum(killer.killed.values())} kills ({dict(killer.killed)}); {rounds} grids of "
                f"{len(entries(folder / 'serial'))} entries got through; {len(differing)} entries differ from "
                f"one process {', '.join(differing)}"
            )
        if not chosen.no_speed:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
            found = []
            for nodes in (1, 2):
                cluster.add_node(num_cpus=1)
                found.append(seconds(chosen.scenes, folder / f"nodes-{nodes}", cluster))
            cluster.shutdown()
            same = entries(folder / "nodes-1") == entries(folder / "nodes-2")
            (one, up_one), (two, up_two) = found
            print(
                f"{chosen.scenes} scenes: {one:.1f} s on 1 node, {two:.1f} s on 2, {one / two:.2f} times faster; warm "
                f"after {up_one:.1f} and {up_two:.1f} s; entries {'equal' if same else 'DIFFER'}"
            )


if __name__ == "__main__":
    main()
