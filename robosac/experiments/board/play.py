"""Playing the board: rows of one detector together, slice by slice, each slice written as valid entries.

Attacks that know no defence are made once for all rows, so rows are played together and scenes come in slices: after
each the entries are written with the number of scenes that stand behind them. What was played is kept as result shards
and goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from robosac.executors import Executor
from robosac.experiments import provenance
from robosac.experiments.axes import DefenseSpec
from robosac.experiments.board.cells import Alone, CellResult, cell_of
from robosac.experiments.board.entry import BoardEntry, merged, read_entry, write_entry
from robosac.experiments.board.protocol import EGO_ONLY, KINDS, Kind, Protocol
from robosac.experiments.entries import Entry
from robosac.experiments.opened import DetectorRef
from robosac.experiments.runner import Experiment, open_experiment, run_experiment, settings_of
from robosac.experiments.settings import Grid
from robosac.fingerprint import fingerprint
from robosac.registry.defenses import named_defense
from robosac.registry.settings import plain
from robosac.types import InputError

Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What of a protocol is played.

    Attributes:
        protocol: of which.
        defenses: rows; None: all that the protocol names. The obligatory ones are played beside them.
        detectors, attacks, attackers: None: all.
        scenes: the first so many; None: all. Of adaptive attacks never more than the protocol has.
    """

    protocol: Protocol
    defenses: tuple[str, ...] | None = None
    detectors: tuple[str, ...] | None = None
    attacks: tuple[str, ...] | None = None
    attackers: tuple[int, ...] | None = None
    scenes: int | None = None

    def __post_init__(self) -> None:
        p = self.protocol
        known: tuple[tuple[str, Any, Sequence[Any]], ...] = (
            ("detectors", self.detectors, p.detectors),
            ("attacks", self.attacks, (*p.ignorant, *p.adaptive)),
            ("numbers of attackers", self.attackers, p.attackers),
        )
        for what, asked, there in known:
            if strangers := [a for a in asked or () if a not in there]:
                raise InputError(
                    f"expected {what} of the protocol, {', '.join(map(str, there))}; got "
                    f"{', '.join(map(str, strangers))}"
                )
        for name in self.rows:
            named_defense(name)  # an unknown name is reported before the work

    @property
    def rows(self) -> tuple[str, ...]:
        """Every row that is played: the reference first."""
        return self.protocol.rows(self.defenses)

    def grid(self, kind: Kind, detector: str) -> Grid | None:
        """The experiment of one kind of attacks; None where nothing of it is asked for."""
        p = self.protocol
        own = p.ignorant if kind == "ignorant" else p.adaptive
        wanted = [a for a in own if self.attacks is None or a in self.attacks]
        counts = [m for m in (p.attackers if self.attackers is None else self.attackers) if m]
        if kind == "adaptive" and not (wanted and counts and p.adaptive_scenes):
            return None
        rows = [r for r in self.rows if p.meets(r, kind)]
        ms = (0, *counts) if kind == "ignorant" else tuple(counts)
        ms = ms if wanted else (0,)
        return p.grid(kind, detector, rows, scenes=self.scenes, attacks=wanted, attackers=ms)

    def upto(self, scenes: int) -> Slice:
        """The same on the first so many scenes."""
        return Slice(**{**vars(self), "scenes": scenes})


def play_slices(
    wanted: Slice,
    out: Path,
    results: Path,
    executor: Executor,
    *,
    step: int = 10,
    command: Callable[[str], str] = lambda defense: "",
    run: dict[str, Any] | None = None,
    root: Path | None = None,
    tell: Tell = lambda done, total: None,
    wrote: Callable[[Path, BoardEntry], None] = lambda path, entry: None,
) -> None:
    """Play a slice of the protocol, `step` scenes more each time, and write the entries after each.

    Args:
        wanted: what.
        out: where result shards are kept.
        results: where entries go.
        executor: where work is done.
        step: scenes between two writings.
        command: what to type for the entry of a defence.
        run: about the machine, written beside times.
        root: a checkout of the detectors' framework.
        tell: hears how many blocks of the present step are done, and of how many.
        wrote: hears of each entry that was written.
    """
    most = wanted.protocol.scenes if wanted.scenes is None else min(wanted.scenes, wanted.protocol.scenes)
    for scenes in (*range(step, most, step), most):
        part = wanted.upto(scenes)
        for detector, kinds in product(wanted.detectors or wanted.protocol.detectors, (KINDS[:1], KINDS)):
            if part.grid(kinds[-1], detector) is None:
                continue
            # adaptive attacks take hours: what knows no defence is written before
            for entry in play_rows(part, detector, out, executor, command, run or {}, root, tell, kinds=kinds):
                path = results / entry.file_name
                old = read_entry(path) if path.is_file() else None
                entry = merged(entry, old, wanted.protocol.cells())
                wrote(write_entry(results, entry), entry)


def play_rows(
    wanted: Slice,
    detector: str,
    out: Path,
    executor: Executor,
    command: Callable[[str], str] = lambda defense: "",
    run: dict[str, Any] | None = None,
    root: Path | None = None,
    tell: Tell = lambda done, total: None,
    *,
    kinds: Sequence[Kind] = KINDS,
) -> Iterator[BoardEntry]:
    """The entries of one detector's rows, as far as they are asked for."""
    found: dict[str, list[CellResult]] = {name: [] for name in wanted.rows}
    alone: Alone = {}
    experiments: list[Experiment] = []
    source = provenance.versions()["source"]
    for kind in kinds:
        if (grid := wanted.grid(kind, detector)) is None:
            continue
        experiment = open_experiment(grid, out / kind, root=root, untimed=True)
        experiments.append(experiment)
        entries = run_experiment(experiment, executor, tell=tell)
        if not alone:
            alone = {(r.scenario, r.index): r for e in entries if _is(e, EGO_ONLY) for r in e.records}
        for e in entries:
            found[e.cell.defense.name].append(cell_of(e, kind, alone, source, wanted.protocol.seed))
    (ref,) = experiments[0].detectors.values()
    calibration = None if ref.calibration is None else fingerprint(plain(ref.calibration))
    for name, cells in found.items():
        identity = {**ref.identity(), "calibration": calibration}
        yield _entry(wanted.protocol, name, ref, identity, cells, experiments[0].grid, command(name), run or {})


def _is(entry: Entry, name: str) -> bool:
    return entry.cell.m == 0 and entry.cell.defense.name == name


def _entry(
    p: Protocol,
    name: str,
    ref: DetectorRef,
    identity: dict[str, Any],
    cells: Sequence[CellResult],
    grid: Grid,
    command: str,
    run: dict[str, Any],
) -> BoardEntry:
    rank = {key: k for k, key in enumerate(p.cells())}
    return BoardEntry(
        protocol={"name": p.name, "version": p.version, "hash": p.hash},
        defense=name,
        detector=ref.name,
        reference=name in p.reference,
        settings=settings_of(DefenseSpec(name, name), p.dataset, 1, grid),
        source=" ".join(named_defense(name).source.split()),
        identity=identity,
        command=command,
        versions=provenance.versions(),
        machine=run,
        cells=tuple(sorted(cells, key=lambda c: rank[c.key])),
    )
