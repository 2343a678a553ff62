"""The containers and protocols that pass between the rooms.

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

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robosac.errors import InputError as InputError
from robosac.errors import RobosacError as RobosacError

if TYPE_CHECKING:
    from robosac.air import Surrogate, World
    from robosac.calibration import Calibration

Id: TypeAlias = str
Subset: TypeAlias = frozenset[Id]
Array: TypeAlias = NDArray[Any]
Float32: TypeAlias = NDArray[np.float32]
Float64: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]
Int64: TypeAlias = NDArray[np.int64]
Outputs: TypeAlias = Mapping[str, Array]  # a model's raw outputs by name

EGO_ALONE: Subset = frozenset()


def _expect(ok: bool, what: str, expected: str, got: object) -> None:
    if not ok:
        raise InputError(f"expected {what} to be {expected}, got {got}")


def _pose(what: str, pose: Float64) -> None:
    _expect(pose.shape == (4, 4), what, "a (4, 4) matrix", f"shape {pose.shape}")
    _expect(bool(np.isfinite(pose).all()), what, "finite", "NaN or inf")


@dataclass(frozen=True)
class BevGrid:
    """The bird's-eye-view raster of a detector's score map, in the ego frame.

    Cell `(row, col)` covers `x_min_m + col * cell_m` and `y_min_m + row * cell_m` onwards.
    """

    x_min_m: float
    y_min_m: float
    cell_m: float
    rows: int
    cols: int

    @property
    def x_max_m(self) -> float:
        return self.x_min_m + self.cols * self.cell_m

    @property
    def y_max_m(self) -> float:
        return self.y_min_m + self.rows * self.cell_m

    def contains(self, xy: Array) -> Bool:
        """Which points `(N, >=2)` in the ego frame lie on the grid. Returns `(N,)` bool."""
        x, y = xy[:, 0], xy[:, 1]
        inside = (x >= self.x_min_m) & (x < self.x_max_m) & (y >= self.y_min_m) & (y < self.y_max_m)
        return np.asarray(inside, dtype=np.bool_)

    def cells(self, xy: Array) -> tuple[Int64, Int64]:
        """Row and column `(N,)` of points `(N, >=2)` that lie on the grid (see `contains`)."""
        col = np.floor((xy[:, 0] - self.x_min_m) / self.cell_m).astype(np.int64)
        row = np.floor((xy[:, 1] - self.y_min_m) / self.cell_m).astype(np.int64)
        return row, col


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
        _pose("world_T_sensor", self.world_T_sensor)


@dataclass(frozen=True, eq=False)
class Frame:
    """The ego and the others within communication range at one moment of a scenario."""

    scenario: str
    index: int
    ego: View
    others: Mapping[Id, View]

    def __post_init__(self) -> None:
        _expect(self.ego.id not in self.others, "others", "the ego's teammates only", f"the ego {self.ego.id!r} itself")


@dataclass(frozen=True, eq=False)
class Truth:
    """What evaluation alone may know. Boxes are in the ego's true sensor frame; the ego's own body is left out."""

    boxes: Float32  # (G, 7)
    track_ids: Int64  # (G,)
    hits: Mapping[Id, Int64]  # agent -> (G,) points on each object; the ego is among the agents
    world_T_sensor: Mapping[Id, Float64]  # agent -> true pose (4, 4)
    attackers: Subset = EGO_ALONE
    world: World | None = None  # where rays can be cast again; None on recorded data

    def visible(self, agents: Iterable[Id] | None = None, *, min_points: int = 5) -> Bool:
        """Which objects `(G,)` at least `min_points` points fell on, summed over `agents` (default: all)."""
        names = list(self.hits) if agents is None else [a for a in agents if a in self.hits]
        total = np.zeros(len(self.boxes), dtype=np.int64)
        for name in names:
            total += self.hits[name]
        return total >= min_points


@dataclass(frozen=True, eq=False)
class Request:
    """What the ego asks its teammates for."""

    ego: Id
    t_ns: int
    world_T_ego: Float64  # (4, 4) measured
    round: int = 0
    payload: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Message:
    """What one teammate sends. Everything but `link` and `received_ns` is only claimed by the sender."""

    sender: Id  # claimed
    link: Id  # authenticated by the receiver
    to: Id
    sensed_ns: int  # claimed
    received_ns: int
    world_T_payload: Float64  # (4, 4), claimed: the frame the payload is in
    codec: str
    payload: Mapping[str, Array]

    def with_payload(self, **arrays: Array) -> Message:
        """A copy that carries other arrays under the given names."""
        return replace(self, payload={**self.payload, **arrays})

    @property
    def bytes(self) -> int:
        """Size of the payload in bytes."""
        return int(sum(np.asarray(a).nbytes for a in self.payload.values()))


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

    @staticmethod
    def empty() -> Detections:
        """No boxes and no score map."""
        return Detections(np.zeros((0, 7), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Trial:
    """One subset that was drawn, how well it agreed with the reference, and whether it was accepted."""

    subset: Subset
    agreement: float
    accepted: bool
    threshold: float


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a defence decided about one frame. Not used is not accused."""

    result: Detections
    used: Subset
    accused: Subset
    suspicion: Mapping[Id, float]  # probability-like, in [0, 1]
    trials: tuple[Trial, ...]
    decodes: int  # fuse + decode passes, the ego's own included
    ms: Mapping[str, float]  # milliseconds a stage
    reason: str
    rejected: Mapping[Id, str] = field(default_factory=dict)  # link -> why the gate let nothing in
    support: tuple[tuple[Subset, ...], ...] = ()  # per box: other subsets that show it too; () = nobody corroborates it

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

    def cost_ms(self, subset: Subset) -> float:
        """Expected milliseconds of one fuse and decode of this subset."""
        ...


@runtime_checkable
class Differentiable(Session, Protocol):
    """A session whose logits can be differentiated with respect to the messages' payloads."""

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Any:
        """Class logits `(S, H, W)` as torch; gradients flow to the torch tensors in `payloads`, which replace
        the messages' own. The encoder is not in the loop."""
        ...


@runtime_checkable
class BoxDifferentiable(Differentiable, Protocol):
    """A session whose boxes can be differentiated, too, before anything is thresholded or suppressed."""

    def logits_and_boxes(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> tuple[Any, Any]:
        """Class logits `(S, H, W)` and the box that each cell would give, `(S, H, W, 7)` in the ego frame, as torch;
        gradients flow as in `logits`."""
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

    def request(self, ego: View, round: int = 0, heard: Sequence[Message] = ()) -> Request: ...

    def encode(self, view: View, to: Request) -> Message: ...

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> Session: ...


@runtime_checkable
class Verifiable(Detector, Protocol):
    """A detector that can also run as if it were not wrapped, so that what is cached can be checked against it."""

    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Raw outputs of one unwrapped forward with the ego and these agents only, from their points.

        Nothing cached is used. Each message in `tampered` takes the place of what the agent of its link sends.
        """
        ...


@runtime_checkable
class RawSession(Session, Protocol):
    """A session that shows the model's raw outputs beside its boxes."""

    def outputs(self, subset: Subset) -> Outputs:
        """Raw outputs of a subset, from what the session computed once; the names are those of `Verifiable.full`."""
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


# -------------------------------------------------------------------------------------------------- defences
@runtime_checkable
class Defense(Protocol):
    """A value: settings, repr, equality."""

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Defender: ...


@runtime_checkable
class Adaptable(Defense, Protocol):
    """A defence that adaptive attacks can be held against."""

    def surrogate(self, calibration: Calibration | None, detector: str) -> Surrogate:
        """What an attacker who knows these settings knows of the defence of the named detector."""
        ...


@runtime_checkable
class Defender(Protocol):
    """Gate, session, search, memory: lives within one scenario."""

    def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Message]) -> Verdict: ...


def keyed_rng(*key: Hashable) -> np.random.Generator:
    """A generator keyed by (seed, scenario, frame, role, ...): the same key gives the same stream in any order,
    process or machine. Key parts are int or str.
    """
    words: list[int] = []
    for part in key:
        if isinstance(part, (bool, int, np.integer)):
            value = int(part)
            _expect(value >= 0, "an integer key part", ">= 0", value)
            words += [1, value & 0xFFFFFFFF, value >> 32]
        elif isinstance(part, str):
            data = part.encode()
            padded = data + b"\0" * (-len(data) % 4)
            words += [2, len(data), *np.frombuffer(padded, dtype="<u4").tolist()]
        else:
            raise InputError(f"expected key parts to be int or str, got {type(part).__name__}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
