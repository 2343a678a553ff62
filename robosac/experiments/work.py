"""One scene of an experiment, in whichever process it runs: encoded once, attacked and defended as often as is asked.

A task is plain data and so is what comes back: results, which the process that runs the experiment writes down. No
disk is shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from itertools import islice
from typing import Any, Final

from robosac import progress
from robosac.data.saved import SavedFrame
from robosac.detectors.sharing import shared
from robosac.errors import heard
from robosac.evaluation.ap import Region, counted
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.play import Played, play, region_of
from robosac.executors.parcels import parcel
from robosac.experiments.axes import AttackSpec, DefenseSpec
from robosac.experiments.frame_cache import FrameCache
from robosac.experiments.opened import DetectorRef, Opener
from robosac.experiments.scenes import Packed, Scene, SceneRef, packed, scene
from robosac.experiments.settings import Grid
from robosac.experiments.store import Done
from robosac.registry.data import is_simulated
from robosac.types import Detector, Id, InputError, RobosacError

TOO_FEW: Final = "fewer teammates than attackers"
A_TASK: Final = 4  # blocks of a task at most: what a killed process has to do again


@dataclass(frozen=True)
class Block:
    """One attack by one number of attackers on one scene: what a result shard is made of."""

    attack: AttackSpec | None
    m: int

    @property
    def title(self) -> str:
        """For who waits for it."""
        return "no attack" if self.attack is None else f"{self.attack.label} by {self.m}"

    def fitted(self, std: float) -> Block:
        """With numbers in place of multiples of the features' standard deviation."""
        return self if self.attack is None else replace(self, attack=self.attack.fitted(std))


@dataclass(frozen=True)
class Wanted:
    """A block and the defences that it is to be played against."""

    block: Block
    defenses: tuple[DefenseSpec, ...]


@dataclass(frozen=True)
class SceneTask:
    """A scene, a detector, and what is to be played; plain data, so that it can go to another process."""

    grid: Grid
    ref: SceneRef
    content: str  # fingerprint of the scene's frames
    detector: DetectorRef
    wanted: tuple[Wanted, ...]
    opener: Opener  # of the attackers' detectors
    untimed: bool = False  # under attack, defences share what they do alike, and none is timed

    def parcels(self) -> dict[str, Callable[[], Any]]:
        """What another machine may lack: weights, and the frames of a recording."""
        found: dict[str, Callable[[], Any]] = {}
        for ref in (self.detector, *self.opener.known):
            found |= ref.parcels()
        if self.content and not is_simulated(self.ref.dataset):
            found[f"frames-{self.content}"] = partial(packed, self.ref, self.grid)
        return found


@dataclass(frozen=True)
class SceneDone:
    """What each defence did, block by block as in the task; `stopped` by Ctrl-C before the last."""

    blocks: tuple[dict[DefenseSpec, Done], ...]
    stopped: bool = False


def blocks(attackers: Sequence[int], attacks: Sequence[AttackSpec]) -> tuple[Block, ...]:
    """Every attack by every number of attackers; nobody attacking is one block, whatever the attacks."""
    nobody = [Block(None, 0)] if 0 in attackers else []
    return (*nobody, *(Block(a, m) for a in attacks for m in attackers if m))


def play_scene(task: SceneTask) -> SceneDone:
    """Play what is wanted of a scene."""
    made, done = _frames(task.grid, task.ref, task.content, task.detector), list[dict[DefenseSpec, Done]]()
    try:
        progress.units(len(task.wanted))
        for k, wanted in enumerate(task.wanted):
            with progress.part(k, len(task.wanted), wanted.block.title):
                done.append(_play(task, made, wanted.block, wanted.defenses))
    except KeyboardInterrupt:  # in the process that runs the experiment: what is done must reach it
        return SceneDone(tuple(done), stopped=True)
    return SceneDone(tuple(done))


def play_frames(task: SceneTask, positions: Collection[int]) -> dict[int, list[Played]]:
    """Frames of a scene under the task's one block, by their place in it, with all that a picture needs. Those before
    are played, too, since a defence remembers."""
    (wanted,) = task.wanted
    made = _frames(task.grid, task.ref, task.content, task.detector)
    found: dict[int, list[Played]] = {at: [] for at in positions}
    count = len(wanted.defenses)
    for k, played in enumerate(
        islice(_played(task, made, wanted.block, wanted.defenses), (1 + max(positions)) * count)
    ):
        if k // count in found:
            found[k // count].append(played)
    return found


def forget() -> None:
    """Let go of the last scene's frames."""
    _frames.cache_clear()


class _Frames:
    """The frames of a scene in the two forms that messages may take."""

    def __init__(self, made: Scene, detector: Detector) -> None:
        self.scene, self.cache = made, FrameCache(made.makers, detector)
        self._in_ego_frame: FrameCache | None = None

    @cached_property
    def teammates(self) -> Sequence[Id]:
        """Those that appear in any of the frames: attackers are drawn from them."""
        return list(self.cache.at(0).frame.others) if self.scene.appearing is None else self.scene.appearing()

    def form(self, attack: Any) -> FrameCache:
        """As the attack asks for them."""
        if not getattr(attack, "needs_ego_frame", False):
            return self.cache
        if self._in_ego_frame is None:
            self._in_ego_frame = self.cache.under(_in_ego_frame(self.cache.detector))
        return self._in_ego_frame


@lru_cache(maxsize=1)
def _frames(grid: Grid, ref: SceneRef, content: str, detector: DetectorRef) -> _Frames:
    """Kept for the next task, which is often of the same scene."""
    sent: Packed | None = parcel(f"frames-{content}")
    return _Frames(scene(ref, grid) if sent is None else sent.scene(), detector.open())


def _play(task: SceneTask, made: _Frames, block: Block, defenses: Sequence[DefenseSpec]) -> dict[DefenseSpec, Done]:
    """What each defence did, or why it could not; what one cannot do costs the others nothing."""
    try:
        return _attempt(task, made, block, defenses)
    except RobosacError as error:
        if len(defenses) == 1:
            return {spec: Done(cannot=" ".join(str(error).split())) for spec in defenses}
    found: dict[DefenseSpec, Done] = {}
    for spec in defenses:
        found |= _play(task, made, block, [spec])
    return found


def _attempt(task: SceneTask, made: _Frames, block: Block, defenses: Sequence[DefenseSpec]) -> dict[DefenseSpec, Done]:
    records: dict[str, list[FrameRecord]] = {spec.label: [] for spec in defenses}
    start, cpu_s = time.perf_counter(), dict.fromkeys(records, 0.0)
    of = len(made.cache) * len(defenses)
    with heard() as warned:
        warned |= dict.fromkeys(task.detector.warned)
        before = time.process_time()
        for played in progress.parts(_played(task, made, block, defenses), of):
            record = with_boxes(played, region_of(made.cache.detector)) if task.grid.save_boxes else played.record
            records[played.policy].append(record)
            now = time.process_time()
            cpu_s[played.policy], before = cpu_s[played.policy] + now - before, now
    seconds = (time.perf_counter() - start) / len(defenses)
    of_scene: dict[str, Any] = {"kind": made.scene.kind, "making_ms": made.cache.making_ms}
    of_scene["labels_left_out"] = {frame: tuple(said) for frame, said in made.scene.labels_left_out().items()}
    of_scene["warned"] = tuple(warned)
    return {
        spec: Done(records=tuple(records[spec.label]), seconds=seconds, cpu_s=cpu_s[spec.label], **of_scene)
        for spec in defenses
    }


def with_boxes(played: Played, region: Region) -> FrameRecord:
    """The record of a frame with what `robosac ap` scores again."""
    truth, frame = played.truth, played.frame
    seen = counted(truth, region, agents=(frame.ego.id, *frame.others))
    saved = SavedFrame(f"{frame.scenario}/{frame.index}", played.judged, truth.boxes[seen], truth.boxes[~seen])
    return replace(played.record, saved=saved.to_dict())


def _played(task: SceneTask, made: _Frames, block: Block, defenses: Sequence[DefenseSpec]) -> Iterator[Played]:
    attack = None if block.attack is None else block.attack.value
    cache = made.form(attack)
    if block.m > len(made.teammates):
        raise InputError(TOO_FEW)
    return play(
        cache,
        shared(cache.detector) if task.untimed and attack is not None else cache.detector,
        attack,
        (block.m,),
        [spec.policy() for spec in defenses],
        seed=task.ref.seed,
        teammates=made.teammates,
        calibration=task.detector.calibration,
        opener=task.opener,
    )


def _in_ego_frame(detector: Detector) -> Detector:
    make: Any = getattr(detector, "in_ego_frame", None)
    if make is None:
        raise InputError(
            f"expected a detector that takes messages in the ego's frame, got {detector.name!r}; an attack after "
            "warping can be evaluated on the shipped ones"
        )
    made: Detector = make()
    return made
