"""An experiment: what is asked for is checked, what is missing is played, what is complete becomes entries.

Tasks go out to an executor and results come back; this process alone reads and writes the result shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from robosac.data.dataset import EACH
from robosac.data.saved import write_boxes
from robosac.defenses import Robosac, RobosacAgreement
from robosac.errors import warn
from robosac.executors import Executor
from robosac.experiments import provenance, scenes, work
from robosac.experiments.axes import NOBODY, AttackSpec, DefenseSpec, attack_specs, defense_specs
from robosac.experiments.entries import Cell, Entry, entry_json, make_entry
from robosac.experiments.notes import of_attacks, warnings_of
from robosac.experiments.opened import DetectorRef, Opener, look_up, sources_of
from robosac.experiments.scenes import SceneRef
from robosac.experiments.settings import Grid
from robosac.experiments.store import Done, Store, defense_key, shard_key
from robosac.experiments.work import A_TASK, Block, SceneTask, Wanted
from robosac.feature_scale import FeatureScale
from robosac.files import check_writable, write_whole
from robosac.fingerprint import Reader, fingerprint
from robosac.gate import for_clocks
from robosac.lock import alone_in
from robosac.registry.defenses import OwnDefense, named_defense
from robosac.registry.settings import plain
from robosac.types import InputError

Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Experiment:
    """A grid whose names have been looked up: everything that can be wrong with them has been said."""

    grid: Grid
    out: Path
    defenses: tuple[DefenseSpec, ...]
    blocks: tuple[Block, ...]
    scenes: Mapping[str, Sequence[SceneRef]]  # of each data set
    detectors: Mapping[str, DetectorRef]
    opener: Opener
    scales: Mapping[tuple[str, str], FeatureScale]  # of a detector on a data set, where attacks ask for it
    untimed: bool = False  # see `SceneTask`
    _frames: dict[SceneRef, dict[str, Any]] = field(default_factory=dict)
    _defenses: dict[tuple[DefenseSpec, str, str, int], str] = field(default_factory=dict)
    _reader: Reader = field(default_factory=Reader)
    _calibrations: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return Store(self.out / "shards")

    @property
    def total(self) -> int:
        """How many blocks there are to play: each of every scene under every detector."""
        return len(self.blocks) * sum(len(self.scenes[dataset]) for _, dataset in self.combinations)

    @property
    def combinations(self) -> Iterator[tuple[DetectorRef, str]]:
        """Detectors and data sets, in the grid's order."""
        return product(self.detectors.values(), self.scenes)

    def blocks_of(self, detector: DetectorRef, dataset: str) -> tuple[Block, ...]:
        """The blocks, budgets given as multiples of the features' standard deviation in numbers."""
        scale = self.scales.get((detector.name, dataset))
        return self.blocks if scale is None else tuple(b.fitted(scale.unit()) for b in self.blocks)

    def key(self, ref: SceneRef, detector: DetectorRef, block: Block) -> dict[str, Any]:
        """What decides a result shard."""
        attack = None if block.attack is None else block.attack.value
        own = {r.name: r.identity() for r in self.opener.known if r.name in set(sources_of(attack))}
        spelled = {"settings": plain(attack), "detectors": own, **scale_of(block.attack)}
        return shard_key(
            scene=self.frames(ref),
            seed=ref.seed,
            detector=detector.identity(),
            attack=NOBODY if attack is None else spelled,
            attackers=block.m,
            **({"saved": True} if self.grid.save_boxes else {}),
        )

    def frames(self, ref: SceneRef) -> dict[str, Any]:
        """What decides the frames of a scene."""
        if ref not in self._frames:
            self._frames[ref] = scenes.identity(ref, self.grid)
        return self._frames[ref]

    def defense_key(self, spec: DefenseSpec, dataset: str, detector: DetectorRef, m: int) -> str:
        """What decides a defence in a shard: its settings, and the calibration that it is given."""
        asked = (spec, dataset, detector.name, m)
        if asked not in self._defenses:
            if detector.name not in self._calibrations:  # thousands of scores: read once
                self._calibrations[detector.name] = plain(detector.calibration)
            settings = settings_of(spec, dataset, m, self.grid)
            found = defense_key(spec.label, settings, self._calibrations[detector.name], self._reader)
            self._defenses[asked] = found
        return self._defenses[asked]

    def todo(self) -> Iterator[tuple[SceneTask, list[dict[str, Any]]]]:
        """Tasks of what is missing and nothing but that, with the key of each of their blocks."""
        for detector, dataset in self.combinations:
            for ref in self.scenes[dataset]:
                blocks = self.blocks_of(detector, dataset)
                lacking = [found for b in blocks if (found := self._lacking(ref, detector, b)) is not None]
                for k in range(0, len(lacking), A_TASK):
                    keys, wanted = zip(*lacking[k : k + A_TASK], strict=True)
                    content = fingerprint(self.frames(ref))
                    yield SceneTask(self.grid, ref, content, detector, wanted, self.opener, self.untimed), list(keys)

    def _lacking(self, ref: SceneRef, detector: DetectorRef, block: Block) -> tuple[dict[str, Any], Wanted] | None:
        key = self.key(ref, detector, block)
        done = self.store.read(key).done
        missing = [d for d in self.defenses if self.defense_key(d, ref.dataset, detector, block.m) not in done]
        return (key, Wanted(block, tuple(missing))) if missing else None


def scale_of(attack: AttackSpec | None) -> dict[str, Any]:
    """The multiples of an attack and what they are multiples of, as plain data; nothing where it has none."""
    return {} if attack is None or attack.std is None else {"multiples": attack.multiples, "feature_std": attack.std}


def settings_of(spec: DefenseSpec, dataset: str, m: int, grid: Grid) -> Any:
    """A defence's settings against m attackers on a data set, as plain data."""
    preset = named_defense(spec.name)
    if isinstance(preset, OwnDefense):
        return {"kind": spec.name, "content": preset.content()}
    defense = spec.policy().defense(frozenset(map(str, range(m))))
    return plain(for_clocks(defense, scenes.clocks_ahead_ms(dataset, grid)))


def open_experiment(
    grid: Grid, out: Path, *, root: Path | None = None, calibration: Path | None = None, untimed: bool = False
) -> Experiment:
    """Look up every name of a grid, as it is now. Nothing is written yet.

    Args:
        grid: what is to be played.
        out: where results go.
        root: a checkout of the detectors' framework.
        calibration: a file of thresholds for the grid's one detector.
        untimed: under attack, defences share what they do alike; only where nobody attacks can they be timed.

    Raises:
        InputError: one of them means nothing, or `out` cannot be written to; says what would do.
    """
    check_writable(out)
    if calibration is not None and len(grid.detector) > 1:
        raise InputError(
            f"expected one --detector beside --calibration, got {', '.join(grid.detector)}; thresholds belong to one"
        )
    scenes.forget()
    attacks, defenses = attack_specs(grid), defense_specs(grid)
    for spec in defenses:
        spec.policy().make(max(grid.attackers))
    refs = {dataset: scenes.scenes(grid, dataset) for dataset in grid.dataset}
    detectors = {name: look_up(name, grid.device, root, calibration=calibration) for name in grid.detector}
    own = dict.fromkeys(name for spec in attacks for name in sources_of(spec.value))
    opener = Opener(tuple(detectors.get(name) or look_up(name, grid.device, root) for name in own))
    scales = {}
    if any(spec.multiples for spec in attacks) and max(grid.attackers):
        for ref, dataset in product(detectors.values(), refs):
            scales[ref.name, dataset] = FeatureScale.measured(ref.open(), scenes.scale_frames(grid, dataset))
            scales[ref.name, dataset].unit()  # features that are all alike are an error now
    return Experiment(
        grid, out, tuple(defenses), work.blocks(grid.attackers, attacks), refs, detectors, opener, scales, untimed
    )


def run_experiment(experiment: Experiment, executor: Executor, *, tell: Tell = lambda done, total: None) -> list[Entry]:
    """Play what is missing and make the entries. `tell` hears how many blocks are done, and of how many."""
    experiment.store.folder.mkdir(parents=True, exist_ok=True)
    _warn_of_defaults(experiment)
    with alone_in(experiment.out):
        experiment.store.sweep()
        write_whole(experiment.out / "grid.yaml", experiment.grid.to_yaml().encode())
        _play(experiment, executor, tell)
        entries = list(make_entries(experiment))
    if nothing := of_attacks(entries):
        warn("; ".join(nothing))
    for text in warnings_of(entries):
        warn(text)
    return entries


def _warn_of_defaults(experiment: Experiment) -> None:
    """Once a run, of detectors that are not calibrated, or on other weights; other processes keep silent."""
    for text in (text for detector in experiment.detectors.values() for text in detector.warned):
        warn(text)
    for detector, spec in product(experiment.detectors.values(), experiment.defenses):
        defense = spec.policy().defense(frozenset("a"))
        if isinstance(defense, RobosacAgreement):
            defense.required(detector.calibration, detector.called, 1)
        elif isinstance(defense, Robosac):
            defense.limits(detector.calibration, detector.called)


def _play(experiment: Experiment, executor: Executor, tell: Tell) -> None:
    todo = list(experiment.todo())
    total = experiment.total
    done = total - sum(len(task.wanted) for task, _ in todo)
    tell(done, total)
    try:
        for position, found in executor.run(work.play_scene, [task for task, _ in todo]):
            task, keys = todo[position]
            for key, wanted, results in zip(keys, task.wanted, found.blocks, strict=False):
                named = {experiment.defense_key(s, task.ref.dataset, task.detector, wanted.block.m): s for s in results}
                experiment.store.add(key, {name: results[spec] for name, spec in named.items()})
            if found.stopped:
                raise KeyboardInterrupt
            done += len(keys)
            tell(done, total)
    finally:
        work.forget()


def make_entries(experiment: Experiment) -> Iterator[Entry]:
    """The entries of an experiment whose shards are all there, in the order of the grid's names."""
    for detector, dataset in experiment.combinations:
        for block in experiment.blocks_of(detector, dataset):
            shards = [
                (ref, experiment.store.read(experiment.key(ref, detector, block)).done)
                for ref in experiment.scenes[dataset]
            ]
            for spec in experiment.defenses:
                name = experiment.defense_key(spec, dataset, detector, block.m)
                found: list[tuple[SceneRef, Done]] = [(ref, done[name]) for ref, done in shards]
                cell, grid = Cell(dataset, detector.name, block.attack, block.m, spec), experiment.grid
                yield make_entry(cell, found, seed=grid.seed, every_ego=grid.ego == EACH)


def write_entries(experiment: Experiment, entries: Sequence[Entry], *, jobs: int, threads: int) -> list[Path]:
    """One JSON file each, in the folder `entries`, with everything that its names stand for."""
    folder = experiment.out / "entries"
    Store(folder).sweep()
    run = provenance.environment(jobs, threads)
    versions, paths = run.pop("versions"), []
    for entry in entries:
        cell, detector = entry.cell, experiment.detectors[entry.cell.detector]
        config = {
            "data": scenes.described(cell.dataset, experiment.grid),
            "detector": detector.identity(),
            "calibration": plain(detector.calibration),
            "attack": None if cell.attack is None else {**plain(cell.attack.value), **scale_of(cell.attack)},
            "defense": settings_of(cell.defense, cell.dataset, cell.m, experiment.grid),
        }
        paths.append(folder / cell.file_name(experiment.grid))
        write_whole(paths[-1], entry_json(entry, experiment.grid, config=config, versions=versions, run=run).encode())
    return paths


def write_saved(experiment: Experiment, entries: Sequence[Entry]) -> list[Path]:
    """The boxes of each entry in the folder `boxes`, as `robosac ap` reads them."""
    paths = []
    for entry in entries:
        if saved := [r.saved for r in entry.records if r.saved is not None]:
            paths.append(experiment.out / "boxes" / entry.cell.file_name(experiment.grid))
            write_boxes(paths[-1], saved)
    return paths
