"""Frames of ROS 2 bags, SQLite or MCAP: PointCloud2 and poses, by agent. Needs the extra rosbag.

What stands for what is a YAML file, named `bag:FILE.yaml` wherever frames suffice:

    bag: drive/                 a folder of rosbag2, or a file of one; relative to this file
    world: map                  the frame in which all poses are (for /tf)
    ego: car1
    agents:
      car1: {points: /car1/points, pose: /car1/odometry}
      car2: {points: /car2/points, frame: car2/lidar}       its pose by /tf and /tf_static
      pole: {points: /pole/points, roadside: true, bag: pole.mcap, intensity_max: 255}

A frame is a scan of the ego and, of each teammate, the last one before it. Poses are interpolated at each scan's own
stamp. Files are untrusted: messages are read by the definitions of ROS 2 Humble, never by those in the bag.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from robosac import plain_yaml
from robosac.data.bag_poses import ODOMETRY, Poses, Tracks, mounted
from robosac.data.recording import DataError
from robosac.errors import InputError, RobosacError, did_you_mean
from robosac.types import Float32, Frame, Id

CLOUD: Final = "sensor_msgs/msg/PointCloud2"
TF: Final = "tf2_msgs/msg/TFMessage"
MOST_POINTS: Final = 4_000_000
_TYPES: Final = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # of sensor_msgs/PointField


class Source(BaseModel):
    """An agent: its topics, and where its sensor sits.

    Attributes:
        points: the topic of its scans.
        pose: the topic of its pose in the world: Odometry, PoseStamped, PoseWithCovarianceStamped or TransformStamped.
        frame: without `pose`: its sensor's frame in /tf; left out, the one that its scans name.
        mount: of the sensor on what `pose` is of: x, y, z in metres and roll, pitch, yaw in degrees.
        roadside: whether it is no vehicle.
        bag: a bag of its own.
        intensity_max: what a full return has; left out, that of the field's type, 1 for decimals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    points: str
    pose: str | None = None
    frame: str | None = None
    mount: tuple[float, float, float, float, float, float] = (0, 0, 0, 0, 0, 0)
    roadside: bool = False
    bag: str | None = None
    intensity_max: float | None = Field(default=None, gt=0)


class BagSettings(BaseModel):
    """The file. `every_ms` is from one frame to the next at least, `range_m` how far teammates are at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bag: str | None = None
    ego: str
    agents: dict[str, Source] = Field(min_length=1)
    world: str = "map"
    every_ms: float = Field(default=100, ge=0)
    oldest_ms: float = Field(default=500, gt=0)
    range_m: float = Field(default=70, gt=0)


class BagFrames(Sequence[Frame]):
    """The frames of a settings file, each read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path, self.settings = path, settings_of(path)
        self._stamps: dict[Id, list[tuple[int, int]]] = {}  # of each agent's scans: in the header, in the bag
        self._poses: dict[Id, Poses] = {}
        by_bag: dict[Path, dict[Id, Source]] = {}
        for name, source in self.settings.agents.items():
            by_bag.setdefault(self._bag(source), {})[name] = source
        for bag, sources in by_bag.items():
            self._index(bag, sources)
        self._frames = list(self._spaced(self._stamps[self.settings.ego]))
        if not self._frames:
            raise InputError(f"expected scans of {self.settings.ego!r} in {path}, got none; look at its topic")

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        now, logged = self._frames[index]
        ego, agents = self.settings.ego, self.settings.agents
        scans: dict[Id, tuple[int, int]] = {ego: (now, logged)}
        for name in agents:
            stamps = self._stamps[name]
            last = bisect_right(stamps, (now, 1 << 62)) - 1
            if name != ego and last >= 0 and now - stamps[last][0] <= self.settings.oldest_ms * 1e6:
                scans[name] = stamps[last]
        poses = {name: self._poses[name].at(stamp) for name, (stamp, _) in scans.items()}
        near = [n for n in scans if math.dist(poses[n][:2, 3], poses[ego][:2, 3]) <= self.settings.range_m]
        points = {name: self._read(agents[name], *scans[name]) for name in near}
        return Frame.from_arrays(
            points,
            {name: poses[name] for name in near},
            ego=ego,
            scenario=self.path.stem,
            index=range(len(self))[index],
            t_ns={name: scans[name][0] for name in near},
            roadside=[name for name in near if agents[name].roadside],
        )

    def _bag(self, source: Source) -> Path:
        named = source.bag or self.settings.bag
        if named is None:
            raise InputError(f"expected bag: FOLDER in {self.path}, for all agents or for each, got none")
        return self.path.parent / Path(named).expanduser()

    def _spaced(self, stamps: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        due = -math.inf
        for stamp in stamps:
            if stamp[0] >= due:
                yield stamp
                due = stamp[0] + self.settings.every_ms * 1e6

    def _index(self, bag: Path, sources: dict[Id, Source]) -> None:
        """When the scans of a bag were taken, and its poses; points are not looked at."""
        with opened(bag) as reader:
            topics = {c.topic: c for c in reader.connections}
            by_topic = {_topic(topics, s.points, (CLOUD,), bag).topic: name for name, s in sources.items()}
            poses = {s.pose: name for name, s in sources.items() if s.pose is not None}
            for topic in poses:
                _topic(topics, topic, tuple(ODOMETRY), bag)
            tracks = Tracks()
            frames: dict[Id, str] = {}
            wanted = [c for c in reader.connections if c.topic in {*by_topic, *poses} or c.msgtype == TF]
            for connection, logged, raw in reader.messages(connections=wanted):
                if (name := by_topic.get(connection.topic)) is not None:
                    self._stamps.setdefault(name, []).append((stamp_of(raw), logged))
                    if name not in frames:
                        frames[name] = str(_message(raw, CLOUD).header.frame_id)
                if connection.topic in poses:
                    tracks.add_pose(connection.topic, _message(raw, connection.msgtype))
                elif connection.msgtype == TF:
                    tracks.add_transforms(_message(raw, TF), fixed=connection.topic.endswith("tf_static"))
        for name, source in sources.items():
            self._stamps[name] = sorted(self._stamps.get(name, ()))
            if source.pose is not None:
                self._poses[name] = tracks.of_topic(source.pose, mounted(source.mount))
            else:
                self._poses[name] = tracks.of_frame(source.frame or frames.get(name, ""), self.settings.world, bag)

    def _read(self, source: Source, stamp: int, logged: int) -> Float32:
        bag = self._bag(source)
        with opened(bag) as reader:
            topics = {c.topic: c for c in reader.connections}
            for _, _, raw in reader.messages(connections=[topics[source.points]], start=logged, stop=logged + 1):
                if stamp_of(raw) == stamp:
                    try:
                        return points_of(_message(raw, CLOUD), source.intensity_max)
                    except InputError as error:
                        raise DataError(bag, f"{source.points}: {error}") from error
        raise DataError(bag, f"expected the scan of {stamp} ns, which was there; has the bag changed?")


def settings_of(path: Path) -> BagSettings:
    """The settings of a YAML file.

    Raises:
        InputError: it does not exist, or holds something else.
    """
    if not path.is_file():
        raise InputError(f"expected bag:FILE.yaml that says which topics are whose, got {path}, which is no file")
    try:
        found = BagSettings.model_validate(plain_yaml.read(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"expected {path} to be settings of a bag; {where}: {first['msg']}") from error
    if found.ego not in found.agents:
        raise InputError(f"expected ego in {path} to be one of {', '.join(found.agents)}, got {found.ego!r}")
    return found


def points_of(cloud: Any, intensity_max: float | None = None) -> Float32:
    """Points `(N, 4)` [x y z intensity in 0 to 1] of a `sensor_msgs/PointCloud2`; those that are not finite are left
    out. `intensity_max` is what a full return has; left out, the largest of its type, 1 for decimals.

    Raises:
        InputError: its fields are not inside its points, x, y or z are missing, or its bytes are too few.
    """
    count, step = int(cloud.width) * int(cloud.height), int(cloud.point_step)
    data = np.frombuffer(bytes(cloud.data), np.uint8)
    row = int(cloud.row_step) or int(cloud.width) * step
    if not 0 <= count <= MOST_POINTS or row < int(cloud.width) * step or len(data) < row * int(cloud.height):
        raise InputError(f"expected {count} points of {step} bytes in a PointCloud2, got {len(data)} bytes")
    order = ">" if cloud.is_bigendian else "<"
    fields = {str(f.name): (int(f.offset), _TYPES.get(int(f.datatype), "")) for f in cloud.fields}
    named = {**{k: fields.get(k) for k in "xyz"}, "intensity": fields.get("intensity") or fields.get("i")}
    if missing := [k for k in "xyz" if named[k] is None]:
        raise InputError(f"expected fields x, y and z in a PointCloud2, got {', '.join(fields)}: no {missing[0]}")
    rows = data[: row * int(cloud.height)].reshape(int(cloud.height), row)[:, : int(cloud.width) * step]
    table = np.ascontiguousarray(rows).reshape(count, step)
    made = np.zeros((count, 4), np.float64)
    for k, held in enumerate(named.values()):
        if held is None:
            continue
        offset, kind = held
        size = np.dtype(kind).itemsize if kind else 0
        if not size or offset < 0 or offset + size > step:
            raise InputError(f"expected a field inside {step} bytes of a PointCloud2's point, got one at {offset}")
        column = np.ascontiguousarray(table[:, offset : offset + size]).view(f"{order}{kind}")[:, 0]
        full = intensity_max or (float(np.iinfo(column.dtype).max) if column.dtype.kind in "iu" else 1.0)
        made[:, k] = column / full if k == 3 else column
    with np.errstate(over="ignore"):  # what float32 cannot hold is left out, too
        points = made.astype(np.float32)
    return points[np.isfinite(points).all(axis=1)]


def stamp_of(raw: Any) -> int:
    """Nanoseconds since the epoch of a message that begins with a header, as its sender stamped it."""
    seconds, nanoseconds = struct.unpack_from("<iI" if bytes(raw[1:2]) == b"\x01" else ">iI", raw, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


@contextmanager
def opened(bag: Path) -> Iterator[Any]:
    """A reader of a bag. InputError where there is none, or it cannot be read."""
    from rosbags.rosbag2 import Reader

    if not bag.exists():
        raise InputError(f"expected a ROS 2 bag, a folder or a file, got {bag}, which does not exist")
    try:
        with Reader(bag) as reader:
            yield reader
    except RobosacError:
        raise
    except Exception as error:  # of whatever kind a parser raises that is given any bytes
        what = f"{type(error).__name__}: {error}"
        raise DataError(bag, f"expected a ROS 2 bag (SQLite or MCAP) that can be read; {what}") from error


_store: list[Any] = []


def _message(raw: Any, kind: str) -> Any:
    if not _store:
        from rosbags.typesys import Stores, get_typestore

        _store.append(get_typestore(Stores.ROS2_HUMBLE))
    return _store[0].deserialize_cdr(raw, kind)


def _topic(topics: dict[str, Any], name: str, kinds: tuple[str, ...], bag: Path) -> Any:
    if name not in topics:
        close = did_you_mean(name, list(topics))
        raise InputError(f"expected a topic of {bag}, one of {', '.join(sorted(topics))}, got {name!r}{close}")
    if topics[name].msgtype not in kinds:
        raise InputError(f"expected {name} to hold {' or '.join(kinds)}, got {topics[name].msgtype}")
    return topics[name]
