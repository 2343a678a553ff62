"""The whole grid: what is asked for is checked, what is missing is played, what is complete is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from robosac.demo.run import environment
from robosac.executors import Processes
from robosac.files import check_writable, write_whole
from robosac.grid.data import SceneRef, scenes
from robosac.grid.entries import Cell, Entry, entry_json, make_entry
from robosac.grid.parts import Done, Part, missing, read_part, sweep
from robosac.grid.settings import DefenseSpec, Grid, attack_specs, defense_specs
from robosac.grid.work import Block, SceneTask, blocks, calibration_of, defense_key, identity, key_of, play_scene
from robosac.registry.detectors import cached_detector
from robosac.registry.settings import plain
from robosac.types import InputError

Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class GridResult:
    """What a grid found: its cells in order, and where they were written."""

    grid: Grid
    entries: list[Entry]
    files: list[Path]
    out: Path


@dataclass(frozen=True, eq=False)
class Plan:
    """A grid whose names have been looked up: everything that can be wrong with them has been said."""

    grid: Grid
    out: Path
    defenses: list[DefenseSpec]
    tasks: list[SceneTask]

    def todo(self) -> list[SceneTask]:
        """The tasks of which something is missing, each with nothing but that."""
        found = []
        for task in self.tasks:
            lacking = tuple(b for b in task.blocks if missing(*_part_of(task, b)))
            if lacking:
                found.append(SceneTask(**{**vars(task), "blocks": lacking}))
        return found


def make_plan(grid: Grid, out: Path, *, root: Path | None = None) -> Plan:
    """Look up every name of a grid. Nothing is written yet.

    Raises:
        InputError: one of them means nothing, or `out` cannot be written to; says what would do.
    """
    check_writable(out)
    attacks, defenses = attack_specs(grid), defense_specs(grid)
    for spec in defenses:
        spec.policy().make(max(grid.attackers))
    refs = {dataset: scenes(grid, dataset) for dataset in grid.dataset}
    for name in grid.detector:
        cached_detector(name, grid.device, root)
    wanted = blocks(grid.attackers, attacks)
    tasks = [
        SceneTask(grid, ref, detector, root, wanted, tuple(defenses), out / "parts")
        for detector in grid.detector
        for dataset in grid.dataset
        for ref in refs[dataset]
    ]
    return Plan(grid, out, defenses, tasks)


def run_plan(plan: Plan, *, jobs: int = 1, threads: int = 1, tell: Tell = lambda done, total: None) -> GridResult:
    """Play what is missing of a grid and write its entries. `tell` hears how many blocks are done, and of how many."""
    (plan.out / "parts").mkdir(parents=True, exist_ok=True)
    with alone_in(plan.out):
        return _run(plan, jobs, threads, tell)


@contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """Nobody else writes there meanwhile; who is killed lets go.

    Raises:
        InputError: another run is at work.
    """
    try:
        import fcntl
    except ImportError:  # Windows: two runs at once may do some work twice, and write the same
        yield
        return
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"expected {out} to be free, another run is at work there; wait, or name another"
            ) from error
        yield


def _run(plan: Plan, jobs: int, threads: int, tell: Tell) -> GridResult:
    grid, out, root = plan.grid, plan.out, plan.tasks[0].root
    sweep(out / "parts")
    sweep(out / "entries")
    write_whole(out / "grid.yaml", grid.to_yaml().encode())
    todo = plan.todo()
    total = sum(len(t.blocks) for t in plan.tasks)
    done = total - sum(len(t.blocks) for t in todo)
    tell(done, total)
    for _, n in Processes(jobs=jobs, threads=threads).run(play_scene, todo):
        done += n
        tell(done, total)
    made = environment(jobs, threads)
    entries, files = [], []
    for entry in make_entries(plan):
        path = out / "entries" / entry.cell.file_name(grid)
        run = {k: v for k, v in made.items() if k != "versions"}
        detector = identity(entry.cell.detector, grid.device, root)
        calibration = plain(calibration_of(entry.cell.detector, grid.device, root))
        text = entry_json(entry, grid, detector=detector, calibration=calibration, versions=made["versions"], run=run)
        write_whole(path, text.encode())
        entries.append(entry)
        files.append(path)
    return GridResult(grid, entries, files, out)


def make_entries(plan: Plan) -> Iterator[Entry]:
    """The entries of a plan whose parts are all there, in the order of the grid's names."""
    groups: dict[tuple[str, str], list[SceneTask]] = {}
    for task in plan.tasks:
        groups.setdefault((task.ref.dataset, task.detector), []).append(task)
    for (dataset, detector), tasks in groups.items():
        for block in tasks[0].blocks:
            parts = [(task, _part_of(task, block)[0]) for task in tasks]
            for spec in plan.defenses:
                cell = Cell(dataset, detector, block.attack, block.m, spec)
                yield make_entry(cell, [_found(task, part, spec, block.m) for task, part in parts])


def _part_of(task: SceneTask, block: Block) -> tuple[Part, Sequence[str]]:
    return read_part(task.parts, key_of(task, block)), [defense_key(d, task, block.m) for d in task.defenses]


def _found(task: SceneTask, part: Part, spec: DefenseSpec, m: int) -> tuple[SceneRef, Done]:
    return task.ref, part.done[defense_key(spec, task, m)]
