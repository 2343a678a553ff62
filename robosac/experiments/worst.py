"""Which frames of an experiment are drawn: the worst first, and a typical one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from robosac.evaluation.ap import average_precision
from robosac.executors import Executor
from robosac.experiments.axes import DefenseSpec
from robosac.experiments.opened import DetectorRef
from robosac.experiments.pictures import PictureTask, Shot, draw_frames
from robosac.experiments.runner import Experiment
from robosac.experiments.scenes import SceneRef
from robosac.experiments.work import Block, SceneTask, Wanted
from robosac.fingerprint import fingerprint

IOU: Final = 0.5
DEFAULT: Final = "robosac"
WEAK: Final = ("none", "ego-only", "oracle", "all-honest")  # not what is judged, but what it is judged by


@dataclass(frozen=True)
class Ranked:
    """A frame of an experiment: whose, under which attack, at which place of its scene, and its own AP@0.5."""

    ap: float
    ref: SceneRef
    detector: DetectorRef
    block: Block
    position: int

    @property
    def group(self) -> tuple[str, SceneRef, Block]:
        """What one replay of a scene draws."""
        return self.detector.name, self.ref, self.block


def judged(defenses: Sequence[DefenseSpec]) -> DefenseSpec:
    """The defence whose worst frames are shown: the default where it is played, else the first that defends."""
    able = [d for d in defenses if d.name not in WEAK] or list(defenses)
    return next((d for d in able if d.name == DEFAULT), able[0])


def ranked(experiment: Experiment) -> list[Ranked]:
    """Every frame under the attacks by the most attackers, the judged defence's worst first."""
    found = sorted(_frames(experiment), key=lambda r: (r.ap, r.detector.name, str(r.ref), r.block.title, r.position))
    return [r for r in found if r.block.m == max(x.block.m for x in found)]


def chosen(frames: Sequence[Ranked], most: int) -> list[tuple[str, Ranked]]:
    """At most so many of ranked frames, each with what it is: the worst, of a scene each while there are others, and
    the median one last."""
    if not frames or not most:
        return []
    middle = frames[len(frames) // 2]
    if len(frames) == 1:
        return [("The only frame", middle)]
    first = {f.group: f for f in reversed(frames)}  # of each scene its worst
    several = [f for f in frames if first[f.group] is f]
    several += [f for f in frames if first[f.group] is not f]
    worst = sorted([f for f in several if f is not middle][: max(1, most - 1)], key=lambda f: f.ap)
    of = f"of {len(frames)} frames"
    ranks = {id(f): k for k, f in enumerate(frames)}
    named = [(f"Number {k + 1} from below {of}" if (k := ranks[id(f)]) else f"The worst {of}", f) for f in worst]
    return [*named, (f"A typical one: the median {of}", middle)][:most]


def draw(experiment: Experiment, executor: Executor, most: int) -> list[Shot]:
    """Pictures of the frames that are chosen, in their order. Their scenes are played again up to them."""
    shown = chosen(ranked(experiment), most)
    spec = judged(experiment.defenses)
    wanted: dict[tuple[str, SceneRef, Block], list[int]] = {}
    for rank, (_, frame) in enumerate(shown):
        wanted.setdefault(frame.group, []).append(rank)
    tasks = []
    for ranks in wanted.values():
        f = shown[ranks[0]][1]
        content = fingerprint(experiment.frames(f.ref))
        block = (Wanted(f.block, experiment.defenses),)
        task = SceneTask(experiment.grid, f.ref, content, f.detector, block, experiment.opener)
        why = {shown[r][1].position: f"{shown[r][0]}, by {spec.label}" for r in ranks}
        tasks.append(PictureTask(task, why))
    done = dict(executor.run(draw_frames, tasks))
    found = {(group, at): shot for k, group in enumerate(wanted) for at, shot in done[k].items()}
    return [found[f.group, f.position] for _, f in shown]


def _frames(experiment: Experiment) -> Iterator[Ranked]:
    spec = judged(experiment.defenses)
    for detector, dataset in experiment.combinations:
        for block in experiment.blocks_of(detector, dataset):
            name = experiment.defense_key(spec, dataset, detector, block.m)
            for ref in experiment.scenes[dataset]:
                done = experiment.store.read(experiment.key(ref, detector, block)).done.get(name)
                for position, record in enumerate(done.records if done is not None else ()):
                    if (ap := average_precision([record.matches])[IOU]) is not None:
                        yield Ranked(ap, ref, detector, block, position)
