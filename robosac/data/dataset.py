"""Frames and truth of a recording: who takes part, what arrives late and with a wrong pose; one place for all layouts.

A frame is an ego at a tick. Its teammates are the other agents with a scan at that tick, no further from the ego than
`comm_range_m` by their recorded poses, the nearest `max_teammates` of them. With `delay_frames` k each sends its scan
and pose of k ticks ago, with that scan's time; one that has no scan so old sends nothing, and the first k ticks of a
scenario make no frames. Truth is that of the tick itself, delayed or not (`robosac.data.truth`), so that results with
and without delay can be compared; poses in it are true, those in the frame carry `pose_noise`, the ego's too.

Noise is keyed by (seed, scenario, tick, agent): frames can be read in any order and process, and with ego "each" an
agent is equally wrong to all. Reading a frame opens its files and no others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, Final, Protocol, TypeVar, runtime_checkable

import numpy as np

from robosac.data.noise import PoseNoise, with_noise
from robosac.data.recording import DataError, Recording
from robosac.data.truth import truth_of
from robosac.types import Float64, Frame, Id, InputError, Truth, View, keyed_rng

COMM_RANGE_M: Final = 70.0  # what OPV2V's benchmark uses
FIRST: Final = "first"
EACH: Final = "each"
_T = TypeVar("_T")


@runtime_checkable
class MovingWorld(Protocol):
    """A recording whose world frame is not the same at every tick; only ticks of one name can be brought together."""

    def world(self, scenario: str, tick: str) -> str:
        """Names the world frame of a tick."""
        ...


@runtime_checkable
class OwnClocks(Protocol):
    """A recording whose agents' clocks are further apart than a gate would let them be."""

    @property
    def clocks_ahead_ms(self) -> float:
        """How far teammates' clocks may run ahead of the ego's."""
        ...


@dataclass(frozen=True)
class FrameRef:
    """Which frame: `position` is that of the tick among all of the scenario's."""

    scenario: str
    tick: str
    position: int
    ego: Id

    def __str__(self) -> str:
        return f"{self.scenario} {self.tick} {self.ego}"


@dataclass(frozen=True, eq=False)
class DataSet(Sequence[tuple[Frame, Truth]]):
    """The frames of a recording with their truth, read when they are asked for.

    Attributes:
        recording: the data set on disk.
        scenarios: names of those to read; all, unless given.
        start, stop, stride: which ticks of each scenario, as in `range`; `Frame.index` stays the tick's position.
        agents: names of those that may take part; all, unless given.
        comm_range_m: who is further from the ego than this, in the plane, is not its teammate.
        ego: "first" (the data set's own: the first of the agents), an agent's name, or "each": every agent in turn,
            each a scenario of its own, named `SCENARIO/EGO`, since what a defence remembers belongs to one ego.
            Where the ego has no scan at a tick there is no frame.
        max_teammates: the nearest so many.
        delay_frames: how many ticks old the teammates' scans and poses are.
        pose_noise: law of the errors of all measured poses, `Gaussian` or `Laplace` of `robosac.data.noise`.
        seed: of the noise.
        skip_bad: in iteration, a frame with a broken or missing file is left out and noted in `skipped`; a scenario
            that cannot be listed likewise. Asked for by its index, it raises as ever.
        left_out: frames that were read with their truth -> records of their labels that cannot be and were left out.

    Raises:
        InputError: if an option is out of range or names what the recording does not hold.
    """

    recording: Recording
    _: KW_ONLY
    scenarios: tuple[str, ...] | None = None
    start: int = 0
    stop: int | None = None
    stride: int = 1
    agents: tuple[Id, ...] | None = None
    comm_range_m: float = COMM_RANGE_M
    ego: str = FIRST
    max_teammates: int | None = None
    delay_frames: int = 0
    pose_noise: PoseNoise | None = None
    seed: int = 0
    skip_bad: bool = False
    skipped: dict[str, DataError] = field(default_factory=dict, init=False, repr=False)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.comm_range_m > 0:
            raise InputError(f"expected comm_range_m to be positive, got {self.comm_range_m}")
        if self.stride < 1 or self.start < 0 or (self.stop is not None and self.stop < 0):
            got = (self.start, self.stop, self.stride)
            raise InputError(f"expected start >= 0, stop >= 0 and stride >= 1, got {got}")
        for name in ("delay_frames", "max_teammates", "seed"):
            if (value := getattr(self, name)) is not None and value < 0:
                raise InputError(f"expected {name} to be >= 0, got {value}")
        if self.agents is not None and self.ego not in (FIRST, EACH, *self.agents):
            raise InputError(f"expected the ego among the agents {_some(self.agents)}, got {self.ego!r}")
        known = list(self.recording.scenarios())
        for name in self.scenarios or ():
            if name not in known:
                raise InputError(f"expected scenarios among {_some(known)} of {self.recording.root}, got {name!r}")

    # ----------------------------------------------------------------------------------------------- what there is
    @cached_property
    def entries(self) -> tuple[FrameRef, ...]:
        """All frames there are, in order: by scenario, by ego, by tick. Opens no scan.

        Raises:
            InputError: `agents` or `ego` are not in the recording.
        """
        found: list[FrameRef] = []
        seen: set[Id] = set()
        for scenario in self.recording.scenarios() if self.scenarios is None else self.scenarios:
            with self._skipping(scenario):
                agents = self.recording.agents(scenario)
                seen |= {a.id for a in agents}
                found += self._entries_of(scenario, [a.id for a in agents])
        asked = {*(self.agents or ()), *(() if self.ego in (FIRST, EACH) else (self.ego,))}
        if missing := sorted(asked - seen):
            raise InputError(
                f"expected agents among {_some(sorted(seen))} of {self.recording.root}, got {missing[0]!r}"
            )
        return tuple(found)

    @property
    def clocks_ahead_ms(self) -> float | None:
        """How far teammates' clocks may run ahead of the ego's; None where the recording says nothing of it."""
        return self.recording.clocks_ahead_ms if isinstance(self.recording, OwnClocks) else None

    def teammates(self, scenario: str) -> tuple[Id, ...]:
        """All agents that are ever in range of the ego in a scenario (as frames name it), in the data set's order."""
        return self.teammates_in([e for e in self.entries if self._name(e) == scenario])

    def teammates_in(self, entries: Sequence[FrameRef]) -> tuple[Id, ...]:
        """All agents that are in range of the ego in any of these frames of one scenario.

        Reads poses and no scans, and no more of them than it takes to find everybody.
        """
        if not entries:
            return ()
        agents = [a.id for a in self.recording.agents(entries[0].scenario)]
        everybody = set(agents) if self.agents is None else set(agents) & set(self.agents)
        found: set[Id] = set()
        for entry in entries:
            with self._skipping(str(entry)):
                found |= set(self._poses(entry)) - {entry.ego}
            if found >= everybody - {entry.ego}:
                break
        return tuple(a for a in agents if a in found)

    def _name(self, entry: FrameRef) -> str:
        return f"{entry.scenario}/{entry.ego}" if self.ego == EACH else entry.scenario

    def _entries_of(self, scenario: str, agents: list[Id]) -> Iterator[FrameRef]:
        chosen = [a for a in agents if self.agents is None or a in self.agents]
        egos = chosen if self.ego == EACH else chosen[:1] if self.ego == FIRST else [a for a in chosen if a == self.ego]
        ticks = self.recording.ticks(scenario)
        positions = range(len(ticks))[self.start : self.stop : self.stride]
        for ego in egos:
            for p in positions:
                if p >= self.delay_frames and ego in self.recording.present(scenario, ticks[p]):
                    yield FrameRef(scenario, ticks[p], p, ego)

    def __len__(self) -> int:
        return len(self.entries)

    # ---------------------------------------------------------------------------------------------------- reading
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.read(self.entries[index])

    def __iter__(self) -> Iterator[tuple[Frame, Truth]]:
        return self._each(self.read)

    def _each(self, read: Callable[[FrameRef], _T]) -> Iterator[_T]:
        for entry in self.entries:
            found: list[_T] = []
            with self._skipping(str(entry)):
                found.append(read(entry))
            yield from found

    @property
    def frames(self) -> Frames:
        """The same frames without truth; labels are not read."""
        return Frames(self)

    def read(self, entry: FrameRef) -> tuple[Frame, Truth]:
        """One frame and its truth.

        Raises:
            DataError: if one of its files is missing or broken; the message names it.
        """
        here = self._poses(entry)
        views = self._views(entry, here)
        now = views if not self.delay_frames else {a: self._view(entry, a, entry.tick) for a in views}
        infos = {a.id: a for a in self.recording.agents(entry.scenario)}
        objects = self.recording.labels(entry.scenario, entry.tick, list(views))
        if objects.told.broken:
            self.left_out[str(entry)] = objects.told.broken
        truth = truth_of(
            objects,
            ego=entry.ego,
            world_T_sensor={a: here[a] for a in views},
            sent_from={a: v.world_T_sensor for a, v in views.items()},
            points={a: v.points for a, v in now.items()},
            body=infos[entry.ego].body,
            roadside=infos[entry.ego].kind == "roadside",
        )
        return self._frame(entry, views), truth

    def read_frame(self, entry: FrameRef) -> Frame:
        """One frame; as `read`, without its labels."""
        return self._frame(entry, self._views(entry, self._poses(entry)))

    def left_out_of(self, entries: Sequence[FrameRef]) -> dict[str, tuple[str, ...]]:
        """`left_out` of these frames, those that were read."""
        return {name: self.left_out[name] for e in entries if (name := str(e)) in self.left_out}

    def _poses(self, entry: FrameRef) -> dict[Id, Float64]:
        """True poses of the ego, first, and of the teammates, in the data set's order."""
        present = set(self.recording.present(entry.scenario, entry.tick))
        allowed = present if self.agents is None else present & set(self.agents)
        names = [a.id for a in self.recording.agents(entry.scenario) if a.id in allowed]
        poses = {a: self.recording.pose(entry.scenario, entry.tick, a) for a in names}
        away = {a: float(np.hypot(*(pose[:2, 3] - poses[entry.ego][:2, 3]))) for a, pose in poses.items()}
        if self.delay_frames:
            older = set(self.recording.present(entry.scenario, self._older(entry)))
            names = [a for a in names if a in older]
        near = [a for a in names if a != entry.ego and away[a] <= self.comm_range_m]
        near = sorted(near, key=lambda a: away[a])[: self.max_teammates]
        return {a: poses[a] for a in [entry.ego, *(n for n in names if n in near)]}

    def _views(self, entry: FrameRef, poses: dict[Id, Float64]) -> dict[Id, View]:
        """What each agent sends, with its true pose; the ego's own scan first."""
        tick = self._older(entry) if self.delay_frames and len(poses) > 1 else entry.tick
        return {a: self._view(entry, a, entry.tick if a == entry.ego else tick) for a in poses}

    def _view(self, entry: FrameRef, agent: Id, tick: str) -> View:
        return self.recording.view(entry.scenario, tick, agent)

    def _older(self, entry: FrameRef) -> str:
        tick = self.recording.ticks(entry.scenario)[entry.position - self.delay_frames]
        if isinstance(self.recording, MovingWorld):
            here, there = (self.recording.world(entry.scenario, t) for t in (entry.tick, tick))
            if here != there:
                raise InputError(
                    f"expected delay_frames=0: {self.recording.root} does not say how the agents moved between "
                    f"{tick} and {entry.tick} of {entry.scenario}"
                )
        return tick

    def _frame(self, entry: FrameRef, views: dict[Id, View]) -> Frame:
        older = self._older(entry) if self.delay_frames and len(views) > 1 else entry.tick
        shown = {
            a: self._measured(v, entry.scenario, entry.tick if a == entry.ego else older) for a, v in views.items()
        }
        return Frame(self._name(entry), entry.position, shown.pop(entry.ego), shown, self.clocks_ahead_ms)

    def _measured(self, view: View, scenario: str, tick: str) -> View:
        if self.pose_noise is None:
            return view
        rng = keyed_rng(self.seed, scenario, tick, "pose", view.id)
        return with_noise(view, self.pose_noise, rng)

    @contextmanager
    def _skipping(self, what: str) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            if not self.skip_bad:
                raise
            self.skipped[what] = error


@dataclass(frozen=True, eq=False)
class Frames(Sequence[Frame]):
    """The frames of a data set without their truth."""

    of: DataSet

    def __len__(self) -> int:
        return len(self.of)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self.of.read_frame(self.of.entries[index])

    def __iter__(self) -> Iterator[Frame]:
        return self.of._each(self.of.read_frame)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" ... ({len(names)})" if len(names) > most else "")
