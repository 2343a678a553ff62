"""One scene of a grid, in whichever process it runs: encoded once, attacked and defended as often as is asked for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from robosac.calibration import Calibration
from robosac.config import plain
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.run import Policy, Staged, choose_attackers, play_staged, stage
from robosac.facade import saved_calibration
from robosac.grid.data import SceneRef, frames, gate_of
from robosac.grid.parts import Done, Part, digest, missing, part_key, read_part, write_part
from robosac.grid.settings import NOBODY, AttackSpec, DefenseSpec, Grid
from robosac.sources import cached_detector
from robosac.types import Detector, InputError

KEPT_FRAMES: Final = 40  # a scene of more is read and encoded anew for each attack: it would not fit into memory


@dataclass(frozen=True)
class Block:
    """One attack by one number of attackers on one scene: what a part is made of."""

    attack: AttackSpec | None
    m: int


@dataclass(frozen=True)
class SceneTask:
    """A scene, a detector, and the blocks that somebody wants; plain data, so that it can go to another process."""

    grid: Grid
    ref: SceneRef
    detector: str
    root: Path | None
    blocks: tuple[Block, ...]
    defenses: tuple[DefenseSpec, ...]
    parts: Path


def blocks(attackers: Sequence[int], attacks: Sequence[AttackSpec]) -> tuple[Block, ...]:
    """Every attack by every number of attackers; nobody attacking is one block, whatever the attacks."""
    nobody = [Block(None, 0)] if 0 in attackers else []
    return (*nobody, *(Block(a, m) for a in attacks for m in attackers if m))


def key_of(task: SceneTask, block: Block) -> dict[str, Any]:
    """What decides a part of a task."""
    g = task.grid
    return part_key(
        dataset=task.ref.dataset,
        scene=task.ref.scene,
        seed=task.ref.seed,
        data=[g.frames, g.frame_step, g.vehicles, g.comm_range_m],
        detector=identity(task.detector, g.device, task.root),
        attack=NOBODY if block.attack is None else plain(block.attack.value),
        attackers=block.m,
    )


def defense_key(spec: DefenseSpec, task: SceneTask, m: int) -> str:
    """Digest of what decides a defence's part: its settings, and the calibration that it is given."""
    calibration = _calibration(task.detector, task.grid.device, task.root)
    settings = plain(spec.policy(gate_of(task.ref.dataset)).defense(frozenset(f"{k}" for k in range(m))))
    # the name is part of the key of its random numbers
    return digest([spec.label, settings, plain(calibration)])


@lru_cache(maxsize=8)
def identity(name: str, device: str, root: Path | None) -> dict[str, Any]:
    """What tells one detector from another: its name, settings of its own, and what its weights hash to."""
    detector = cached_detector(name, device, root)
    weights = next((w for w in (getattr(detector, "path", None), Path(name)) if w is not None and w.exists()), None)
    files = [] if weights is None else [weights] if weights.is_file() else sorted(weights.glob("*"))
    hashes = {f.name: hashlib.sha256(f.read_bytes()).hexdigest()[:16] for f in files if f.is_file()}
    return {"name": name, "detector": detector.name, "shown": repr(detector), "device": device, "weights": hashes}


@lru_cache(maxsize=8)
def _calibration(name: str, device: str, root: Path | None) -> Calibration | None:
    return saved_calibration(cached_detector(name, device, root))


def open_own(name: str, *, device: str, root: Path | None) -> Detector:
    """A detector of the attackers' own."""
    return cached_detector(name, device, root)


def play_scene(task: SceneTask) -> int:
    """Play what is missing of a scene and write a part as soon as it is done. Returns how many blocks there were."""
    detector = cached_detector(task.detector, task.grid.device, task.root)
    scene = _Scene(task, detector)
    for block in task.blocks:
        part = read_part(task.parts, key_of(task, block))
        keys = {defense_key(d, task, block.m): d for d in task.defenses}
        wanted = missing(part, list(keys))
        if not wanted:
            continue
        try:
            scene.play(block, part, {k: keys[k] for k in wanted})
        except InputError as error:  # a stage or gradients that it has not, too few agents
            part.cannot, part.done = str(error), {}
        write_part(task.parts, part)
    return len(task.blocks)


class _Scene:
    def __init__(self, task: SceneTask, detector: Detector) -> None:
        self._task, self._detector = task, detector
        self._kept: dict[str, list[Staged]] = {}  # by the form that messages take

    def play(self, block: Block, part: Part, defenses: dict[str, DefenseSpec]) -> None:
        task = self._task
        attack = None if block.attack is None else block.attack.value
        form, detector = "as sent", self._detector
        if getattr(attack, "needs_ego_frame", False):
            form, detector = "in the ego's frame", _in_ego_frame(detector)
        staged = self._staged(form, detector)
        if isinstance(staged, list) and staged:  # asked before anything is played: this says it in its own words
            choose_attackers(task.ref.seed, task.ref.scene, list(staged[0].frame.others), block.m)
        gate = gate_of(task.ref.dataset)
        policies: list[Policy] = [spec.policy(gate) for spec in defenses.values()]
        records: dict[str, list[FrameRecord]] = {p.name: [] for p in policies}
        start = time.perf_counter()
        for played in play_staged(
            staged,
            detector,
            attack,
            (block.m,),
            policies,
            seed=task.ref.seed,
            calibration=_calibration(task.detector, task.grid.device, task.root),
            opener=partial(open_own, device=task.grid.device, root=task.root),
        ):
            records[played.policy].append(played.record)
        seconds = (time.perf_counter() - start) / max(1, len(policies))
        for key, spec in defenses.items():
            part.done[key] = Done(tuple(records[spec.label]), seconds)

    def _staged(self, form: str, detector: Detector) -> Iterable[Staged]:
        task = self._task
        if task.grid.frames > KEPT_FRAMES:
            return stage(frames(task.ref, task.grid), detector)
        if form not in self._kept:
            self._kept[form] = list(stage(frames(task.ref, task.grid), detector))
        return self._kept[form]


def _in_ego_frame(detector: Detector) -> Detector:
    make: Any = getattr(detector, "in_ego_frame", None)
    if make is None:
        raise InputError(
            f"expected a detector that takes messages in the ego's frame, got {detector.name!r}; an attack after "
            "warping can be evaluated on the shipped ones"
        )
    made: Detector = make()
    return made
