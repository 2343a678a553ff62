"""The containers and protocols that pass between the packages.

A collaborative detector is a function of the ego and a *subset* of its teammates' messages; everything here is
built on that sentence. A teammate is named by an `Id`, never indexed, and the ego is never part of a subset.

Conventions, for the whole project:

- boxes `(N, 7)` float32 `[x y z l w h yaw]`: box centre, metres, radians counter-clockwise from +x;
- scores `(N,)` float32 in [0, 1];
- poses `dst_T_src` `(4, 4)` float64 map src coordinates to dst; frames of reference are `world`, `ego` (the ego's
  LiDAR) and `sensor` (an agent's own LiDAR);
- points `(N, 4)` float32 `[x y z intensity]` in the sensor frame;
- score maps `(H, W)`: rows run along +y, columns along +x, on the detector's `BevGrid`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robosac.arrays import checked_points, checked_pose
from robosac.bev_grid import BevGrid as BevGrid
from robosac.errors import InputError as InputError
from robosac.errors import RobosacError as RobosacError
from robosac.randomness import keyed_rng as keyed_rng

Id: TypeAlias = str
Subset: TypeAlias = frozenset[Id]
Array: TypeAlias = NDArray[Any]
Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]
Int64: TypeAlias = NDArray[np.int64]

EGO_ALONE: Subset = frozenset()


def _expect(ok: bool, what: str, expected: str, got: object) -> None:
    if not ok:
        raise InputError(f"expected {what} to be {expected}, got {got}")


@dataclass(frozen=True, eq=False)
class View:
    """One agent's sensor at one moment. `world_T_sensor` is the MEASURED pose, which may carry noise."""

    id: Id
    kind: str  # "vehicle" or "roadside"
    t_ns: int
    points: Float32  # (N, 4) [x y z intensity], sensor frame
    world_T_sensor: Float64  # (4, 4)

    def __post_init__(self) -> None:
        _expect(self.points.ndim == 2 and self.points.shape[1] == 4, "points", "(N, 4)", f"shape {self.points.shape}")
        pose = self.world_T_sensor
        _expect(pose.shape == (4, 4), "world_T_sensor", "a (4, 4) matrix", f"shape {pose.shape}")
        _expect(bool(np.isfinite(pose).all()), "world_T_sensor", "finite", "NaN or inf")


@dataclass(frozen=True, eq=False)
class Frame:
    """The ego and the others within communication range at one moment of a scenario. A recording's own clocks may run
    further ahead of the ego's than the gate would let them: `clocks_ahead_ms`, None where they do not."""

    scenario: str
    index: int
    ego: View
    others: Mapping[Id, View]
    clocks_ahead_ms: float | None = None

    def __post_init__(self) -> None:
        _expect(self.ego.id not in self.others, "others", "the ego's teammates only", f"the ego {self.ego.id!r} itself")

    @staticmethod
    def from_arrays(
        points: Mapping[Id, Any],
        poses: Mapping[Id, Any],
        *,
        ego: Id | None = None,
        scenario: str = "mine",
        index: int = 0,
        t_ns: Mapping[Id, int] | int = 0,
        roadside: Iterable[Id] = (),
    ) -> Frame:
        """A frame of one's own arrays: points `(N, 3)` or `(N, 4)` in each sensor's own frame, poses `world_T_sensor`
        `(4, 4)`. `ego` is the first, unless named; `t_ns` when each scan was taken, or all.

        Raises:
            InputError: something is not as this project has it: shape, unit, handedness; says what to do.
        """
        names = [str(name) for name in points]
        _expect(bool(names) and set(names) == {str(n) for n in poses}, "poses", f"one for each of {names}", list(poses))
        chosen = names[0] if ego is None else str(ego)
        _expect(chosen in names, "ego", f"one of {', '.join(names)}", repr(chosen))
        times = t_ns if isinstance(t_ns, Mapping) else dict.fromkeys(points, t_ns)
        stands = set(map(str, roadside))
        _expect(stands <= set(names), "roadside", f"names of {names}", sorted(stands))
        whole = all(isinstance(times.get(name), (int, np.integer)) for name in points)
        _expect(whole, "t_ns", "whole nanoseconds of every agent", repr(t_ns))
        views = {}
        for name in points:
            i, kind = str(name), "roadside" if str(name) in stands else "vehicle"
            scan, pose = checked_points(i, points[name]), checked_pose(i, poses[name])
            views[i] = View(i, kind, int(times[name]), scan, pose)
        return Frame(scenario, index, views.pop(chosen), views)


@dataclass(frozen=True, eq=False)
class Truth:
    """What evaluation alone may know. Boxes are in the ego's true sensor frame; the ego's own body is left out."""

    boxes: Float32  # (G, 7)
    track_ids: Int64  # (G,)
    hits: Mapping[Id, Int64]  # agent -> (G,) points on each object; the ego is among the agents
    world_T_sensor: Mapping[Id, Float64]  # agent -> true pose (4, 4)
    attackers: Subset = EGO_ALONE

    def visible(self, agents: Iterable[Id] | None = None, *, min_points: int = 5) -> Bool:
        """Which objects `(G,)` at least `min_points` points fell on, summed over `agents` (default: all)."""
        counts = [self.hits[a] for a in (self.hits if agents is None else agents) if a in self.hits]
        return np.asarray(sum(counts, np.zeros(len(self.boxes), np.int64)) >= min_points)


@dataclass(frozen=True, eq=False)
class Request:
    """What the ego tells its teammates when it asks for their messages."""

    ego: Id
    t_ns: int
    world_T_ego: Float64  # (4, 4) measured

    @staticmethod
    def of(ego: View) -> Request:
        """From the ego's own view."""
        return Request(ego.id, ego.t_ns, ego.world_T_sensor)


@dataclass(frozen=True, eq=False)
class Message:
    """What one teammate sends. All of it is only claimed by the sender."""

    sender: Id
    to: Id
    sensed_ns: int
    world_T_payload: Float64  # (4, 4): the frame the payload is in
    codec: str
    payload: Mapping[str, Array]

    @staticmethod
    def of(
        view: View, to: Request, codec: str, payload: Mapping[str, Array], *, world_T_payload: Float64 | None = None
    ) -> Message:
        """What the agent of `view` honestly sends; the payload is in its sensor frame where no other is named."""
        pose = view.world_T_sensor if world_T_payload is None else world_T_payload
        return Message(view.id, to.ego, view.t_ns, pose, codec, payload)

    def with_payload(self, **arrays: Array) -> Message:
        """A copy that carries other arrays under the given names."""
        return replace(self, payload={**self.payload, **arrays})

    @property
    def bytes(self) -> int:
        """Size of the payload in bytes."""
        return int(sum(np.asarray(a).nbytes for a in self.payload.values()))


@dataclass(frozen=True, eq=False)
class Received:
    """A message as it arrived. The link and the time are the receiver's own knowledge, no claim of the sender."""

    link: Id  # authenticated by the receiver
    received_ns: int
    message: Message

    @staticmethod
    def honest(message: Message, to: Request) -> Received:
        """On the sender's own link, at the time of the request."""
        return Received(message.sender, to.t_ns, message)


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes in the ego frame, best first, and the dense score map they were read from."""

    boxes: Float32  # (N, 7)
    scores: Float32  # (N,)
    score_map: Float32 | None = None  # (H, W) in [0, 1]

    def __post_init__(self) -> None:
        _expect(self.boxes.ndim == 2 and self.boxes.shape[1] == 7, "boxes", "(N, 7)", f"shape {self.boxes.shape}")
        _expect(self.scores.shape == (len(self.boxes),), "scores", f"({len(self.boxes)},)", f"{self.scores.shape}")

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def finite(self) -> bool:
        """Whether all numbers are: no NaN or inf in boxes, scores or score map."""
        return all(np.isfinite(a).all() for a in (self.boxes, self.scores, self.score_map) if a is not None)

    @staticmethod
    def empty() -> Detections:
        """No boxes and no score map."""
        return Detections(np.zeros((0, 7), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Trial:
    """One subset that was drawn, how well it agreed with the reference, and whether it was accepted.

    `scores` holds further numbers by name, for defences that verify a subset by more than its agreement.
    """

    subset: Subset
    agreement: float
    accepted: bool
    threshold: float
    scores: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def judged(subset: Subset, agreement: float, threshold: float) -> Trial:
        """Accepted where the agreement reaches the threshold."""
        return Trial(subset, agreement, agreement >= threshold, threshold)


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a defence decided about one frame. Not used is not accused.

    A result may be composed of several decodes. So each box says which teammates' messages it rests on (`sources`)
    and which other decodes show it too (`support`); `used` are the teammates that were used anywhere in the result.

    Attributes:
        result: the boxes.
        used: teammates whose messages the result rests on.
        accused: teammates that the evidence speaks against.
        suspicion: teammate -> probability-like, in [0, 1].
        trials: the subsets that were judged.
        decodes: fuse + decode passes, the ego's own included.
        ms: milliseconds a stage.
        reason: why, in words.
        rejected: link -> why the gate let nothing in.
        sources: a subset of `used` for each box; the ego alone where a box rests on no teammate. Left out, every box
            rests on all of `used`.
        support: for each box, other subsets that show it too; () = nobody corroborates it.
        certificates: for each box, how many attackers it takes at least to invent it: with fewer, an attacker-free
            subset shows it; None in place of a number: none suffices, the ego alone shows it. Left out, nothing is
            certified (`robosac.certificates`).

    Raises:
        InputError: sources, support or certificates are not as many as the boxes, or a source is not used.
    """

    result: Detections
    used: Subset
    accused: Subset
    suspicion: Mapping[Id, float]
    trials: tuple[Trial, ...]
    decodes: int
    ms: Mapping[str, float]
    reason: str
    rejected: Mapping[Id, str] = field(default_factory=dict)
    sources: tuple[Subset, ...] = ()
    support: tuple[tuple[Subset, ...], ...] = ()
    certificates: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        boxes = len(self.result)
        if not self.sources:
            object.__setattr__(self, "sources", (self.used,) * boxes)
        _expect(len(self.sources) == boxes, "sources", f"one for each of {boxes} boxes", len(self.sources))
        _expect(len(self.support) in (0, boxes), "support", f"one for each of {boxes} boxes", len(self.support))
        if self.certificates is not None:
            told = len(self.certificates)
            _expect(told == boxes, "certificates", f"one for each of {boxes} boxes", told)
        unused = frozenset().union(*self.sources) - self.used
        _expect(not unused, "sources", f"among the teammates used {sorted(self.used)}", sorted(unused))

    @property
    def corroborated(self) -> Bool:
        """`(N,)`: which boxes the ego alone shows, or at least two other results without a teammate in common, by
        `support`. A planner can treat the others with care: one teammate may have made them up."""
        apart = (EGO_ALONE in s or any(not a & b for k, a in enumerate(s) for b in s[:k]) for s in self.support)
        return np.fromiter(apart, np.bool_, len(self.support)) if self.support else np.zeros(len(self.result), np.bool_)

    @property
    def fell_back(self) -> bool:
        """Whether the ego's own result stands although teammates had sent something."""
        return not self.used and bool(self.suspicion or self.rejected)


# ------------------------------------------------------------------------------------------------- detectors
@runtime_checkable
class Session(Protocol):
    """One ego, one frame; owns what was computed once (encodings, warps, decoded subsets)."""

    @property
    def ids(self) -> Sequence[Id]:
        """The teammates whose messages are at hand, in a fixed order."""
        ...

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        """Fuse and decode a batch of subsets; each subset is decoded at most once in a session."""
        ...


@runtime_checkable
class Detector(Protocol):
    """Stateless: a function of the ego and a subset of its teammates' messages."""

    @property
    def name(self) -> str:
        """Names the detector in results and calibration files."""
        ...

    @property
    def grid(self) -> BevGrid | None:
        """The grid of its score maps, or None where it has none."""
        ...

    @property
    def codec(self) -> Codec:
        """What a valid message of this detector looks like."""
        ...

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        ...

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Session:
        """A session of messages whose senders are known to be who they claim, one of each (see `robosac.gate`)."""
        ...


@dataclass(frozen=True)
class Codec:
    """The shape of a valid payload: array name -> (shape, dtype, lower bound, upper bound).

    A `None` in a shape admits any length; a name admits one length for all arrays that use it, at most `longest[name]`.
    An infinite bound admits any finite value. `max_messages` is how many a session takes, None where it does not care.
    """

    name: str
    arrays: Mapping[str, tuple[tuple[int | str | None, ...], str, float, float]]
    longest: Mapping[str, int] = field(default_factory=dict)
    max_messages: int | None = None
