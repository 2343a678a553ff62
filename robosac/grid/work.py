"""One scene of a grid, in whichever process it runs: encoded once, attacked and defended as often as is asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from robosac.calibration import Calibration
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.play import play_staged, region_of
from robosac.grid.data import SceneRef, frames, gate_of
from robosac.grid.data import identity as scene_identity
from robosac.grid.parts import Done, detector_digest, digest, missing, part_key, read_part, write_part
from robosac.grid.reel import Reel
from robosac.grid.settings import NOBODY, AttackSpec, DefenseSpec, Grid
from robosac.registry.detectors import cached_detector, saved_calibration
from robosac.registry.settings import plain
from robosac.types import Detector, InputError, RobosacError

TOO_FEW: Final = "fewer teammates than attackers"


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
    return part_key(
        scene=scene_identity(task.ref, task.grid),
        seed=task.ref.seed,
        detector=identity(task.detector, task.grid.device, task.root),
        attack=NOBODY if block.attack is None else plain(block.attack.value),
        attackers=block.m,
    )


def defense_key(spec: DefenseSpec, task: SceneTask, m: int) -> str:
    """Digest of what decides a defence's part: its settings, and the calibration that it is given."""
    calibration = calibration_of(task.detector, task.grid.device, task.root)
    settings = plain(spec.policy(gate_of(task.ref.dataset)).defense(frozenset(f"{k}" for k in range(m))))
    # the name is part of the key of its random numbers
    return digest([spec.label, settings, plain(calibration)])


@lru_cache(maxsize=8)
def identity(name: str, device: str, root: Path | None) -> dict[str, Any]:
    """What tells one detector from another: its names, what its weights hash to, and where it is judged."""
    detector = cached_detector(name, device, root)
    return {
        "name": name,
        "detector": detector.name,
        "device": device,
        "weights": detector_digest(detector),
        "region": plain(region_of(detector)),
    }


@lru_cache(maxsize=8)
def calibration_of(name: str, device: str, root: Path | None) -> Calibration | None:
    """The thresholds beside a detector's weights."""
    return saved_calibration(cached_detector(name, device, root))


def open_own(name: str, *, device: str, root: Path | None) -> Detector:
    """A detector of the attackers' own."""
    return cached_detector(name, device, root)


def play_scene(task: SceneTask) -> int:
    """Play what is missing of a scene and write a part as soon as it is done. Returns how many blocks there were."""
    detector = cached_detector(task.detector, task.grid.device, task.root)
    scene = _Scene(task, Reel(frames(task.ref, task.grid), detector))
    for block in task.blocks:
        part = read_part(task.parts, key_of(task, block))
        keys = {defense_key(d, task, block.m): d for d in task.defenses}
        if wanted := missing(part, list(keys)):
            part.done |= scene.play(block, {k: keys[k] for k in wanted})
            write_part(task.parts, part)
    return len(task.blocks)


class _Scene:
    """Frames that were encoded once, in the two forms that messages may take."""

    def __init__(self, task: SceneTask, reel: Reel) -> None:
        self._task, self._reel = task, reel
        self._in_ego_frame: Reel | None = None

    def play(self, block: Block, defenses: Mapping[str, DefenseSpec]) -> dict[str, Done]:
        """What each defence did, or why it could not; what one cannot do costs the others nothing."""
        try:
            return self._attempt(block, defenses)
        except RobosacError as error:
            if len(defenses) == 1:
                return {key: Done(cannot=" ".join(str(error).split())) for key in defenses}
        found: dict[str, Done] = {}
        for key, spec in defenses.items():
            found |= self.play(block, {key: spec})
        return found

    def _attempt(self, block: Block, defenses: Mapping[str, DefenseSpec]) -> dict[str, Done]:
        task = self._task
        attack = None if block.attack is None else block.attack.value
        reel = self._form(attack)
        if block.m > len(reel.at(0).frame.others):
            raise InputError(TOO_FEW)
        policies = [spec.policy(gate_of(task.ref.dataset)) for spec in defenses.values()]
        records: dict[str, list[FrameRecord]] = {p.name: [] for p in policies}
        start = time.perf_counter()
        for played in play_staged(
            reel,
            reel.detector,
            attack,
            (block.m,),
            policies,
            seed=task.ref.seed,
            calibration=calibration_of(task.detector, task.grid.device, task.root),
            opener=partial(open_own, device=task.grid.device, root=task.root),
        ):
            records[played.policy].append(played.record)
        seconds = (time.perf_counter() - start) / len(policies)
        return {key: Done(tuple(records[spec.label]), seconds) for key, spec in defenses.items()}

    def _form(self, attack: Any) -> Reel:
        if not getattr(attack, "needs_ego_frame", False):
            return self._reel
        if self._in_ego_frame is None:
            self._in_ego_frame = self._reel.under(_in_ego_frame(self._reel.detector))
        return self._in_ego_frame


def _in_ego_frame(detector: Detector) -> Detector:
    make: Any = getattr(detector, "in_ego_frame", None)
    if make is None:
        raise InputError(
            f"expected a detector that takes messages in the ego's frame, got {detector.name!r}; an attack after "
            "warping can be evaluated on the shipped ones"
        )
    made: Detector = make()
    return made
