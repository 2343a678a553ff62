"""A grid that is killed again and again ends as one that was left alone; and two processes are worth almost two.

    python -m benchmarks.grid                  kills, then speed
    python -m benchmarks.grid --kills 50 --no-speed
    python -m benchmarks.grid --kills 0 --scenes 20

Every run is `robosac evaluate` in a process group of its own. It is killed (SIGKILL, the whole group) at a moment drawn
uniformly from the time that an undisturbed run takes, starting up included, and started again, until one gets through;
then the entries are compared byte by byte with those of the undisturbed run, `timings` aside, and the next round begins
in an empty folder.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from benchmarks.machine import Option, describe, machine, ms, options
from robosac.experiments.entries import without_timings

SMALL = (
    *("--scenes", "8", "--frames", "1", "--attack", "noise,pgd:steps=2", "--attackers", "0,1,2"),
    *("--defense", "none,robosac,oracle"),
)
LARGE = ("--frames", "2", "--attack", "pgd", "--attackers", "0,1,2", "--defense", "none,robosac,oracle")


@dataclass(frozen=True)
class Kills:
    """The kills and their outcome.

    Attributes:
        kills: how many there were.
        rounds: grids that got through in the end.
        during: kills after which some shards, but not all of the entries, were there: those that hit the work itself.
        differing: files of entries that are not what they should be.
    """

    kills: int
    rounds: int
    during: int
    differing: tuple[str, ...]


def entries(out: Path) -> dict[str, str]:
    """File name -> content without what differs from run to run."""
    return {p.name: without_timings(p.read_text()) for p in sorted((out / "entries").glob("*.json"))}


def start(settings: Sequence[str], out: Path, jobs: int) -> subprocess.Popen[bytes]:
    """`robosac evaluate` in a session, and so a process group, of its own."""
    command = [
        sys.executable,
        "-m",
        "robosac",
        "evaluate",
        "--pictures",
        "0",
        *settings,
        "--jobs",
        str(jobs),
        "--out",
        str(out),
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


class Run(Protocol):
    """What is needed of a `subprocess.Popen` that leads a process group."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    def communicate(self, *, timeout: float | None = None) -> tuple[bytes, bytes]: ...


Start: TypeAlias = Callable[[Sequence[str], Path, int], Run]


def finish(process: Run) -> None:
    """Wait for a run that nobody kills.

    Raises:
        RuntimeError: it failed.
    """
    _, told = process.communicate()
    if process.returncode:
        raise RuntimeError(f"expected the grid to be run, got exit code {process.returncode}: {told.decode()[-2000:]}")


def kill_and_resume(
    settings: Sequence[str],
    folder: Path,
    *,
    kills: int,
    jobs: int,
    rng: random.Random,
    show: bool = False,
    start: Start = start,
) -> Kills:
    """Kill grids so many times; each is resumed until it is done and compared with one that nobody disturbed."""
    lasts_s = ms(lambda: finish(start(settings, folder / "undisturbed", jobs))) / 1e3
    wanted = entries(folder / "undisturbed")
    killed = rounds = during = 0
    differing: list[str] = []
    while killed < kills:
        out = folder / f"round-{rounds}"
        while killed < kills:
            process = start(settings, out, jobs)
            try:
                _, told = process.communicate(timeout=rng.uniform(0, lasts_s))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                killed += 1
                n_shards, n_entries = len(list(out.glob("shards/*.json"))), len(list(out.glob("entries/*.json")))
                during += n_shards > 0 and n_entries < len(wanted)
                if show:
                    print(f"kill {killed}: {n_shards} shards, {n_entries} of {len(wanted)} entries", flush=True)
            else:
                if process.returncode:
                    raise RuntimeError(f"expected a resumed grid to go on, got: {told.decode()[-2000:]}")
                break
        finish(start(settings, out, jobs))
        found = entries(out)
        differing += [f"{out.name}/{n}" for n in sorted(wanted.keys() | found.keys()) if wanted.get(n) != found.get(n)]
        rounds += 1
    return Kills(killed, rounds, during, tuple(differing))


def seconds(settings: Sequence[str], out: Path, jobs: int) -> float:
    """How long a grid takes, starting up included."""
    return ms(lambda: finish(start(settings, out, jobs))) / 1e3


def main(args: Sequence[str] | None = None) -> None:
    chosen = options(
        __doc__,
        args,
        kills=50,
        jobs=Option(2, "processes of the grids that are killed"),
        seed=Option(0, "of the moments"),
        scenes=Option(20, "of the grid whose speed is measured"),
        no_speed=False,
    )
    os.environ["OMP_NUM_THREADS"] = "1"
    print(describe(machine(1)))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if chosen.kills:
            rng = random.Random(chosen.seed)
            k = kill_and_resume(SMALL, folder, kills=chosen.kills, jobs=chosen.jobs, rng=rng, show=True)
            print(
                f"{k.kills} kills, {k.during} of them between the first shard and the last entry; {k.rounds} grids of "
                f"{len(entries(folder / 'undisturbed'))} entries got through; "
                f"{len(k.differing)} entries differ {', '.join(k.differing)}"
            )
        if not chosen.no_speed:
            settings = (*LARGE, "--scenes", str(chosen.scenes))
            one, two = (seconds(settings, folder / f"jobs-{j}", j) for j in (1, 2))
            same = entries(folder / "jobs-1") == entries(folder / "jobs-2")
            print(
                f"{chosen.scenes} scenes: {one:.1f} s in 1 process, {two:.1f} s in 2, {one / two:.2f} times faster; "
                f"entries {'equal' if same else 'DIFFER'}"
            )


if __name__ == "__main__":
    main()
