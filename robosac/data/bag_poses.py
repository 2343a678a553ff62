"""Poses of a ROS bag over time: of a topic, or along the tree of /tf and /tf_static; interpolated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.errors import InputError
from robosac.types import Float64

ODOMETRY: Final[Mapping[str, Callable[[Any], Any]]] = {  # type of message -> its position and orientation
    "nav_msgs/msg/Odometry": lambda m: (m.pose.pose.position, m.pose.pose.orientation),
    "geometry_msgs/msg/PoseWithCovarianceStamped": lambda m: (m.pose.pose.position, m.pose.pose.orientation),
    "geometry_msgs/msg/PoseStamped": lambda m: (m.pose.position, m.pose.orientation),
    "geometry_msgs/msg/TransformStamped": lambda m: (m.transform.translation, m.transform.rotation),
}
APART_NS: Final = 500_000_000  # a pose further from the scan than this is none
_DEEP: Final = 100


@dataclass(eq=False)
class Track:
    """A pose over time."""

    about: str
    stamps: list[int] = field(default_factory=list)
    rows: list[tuple[float, ...]] = field(default_factory=list)  # x y z, then the quaternion x y z w
    fixed: bool = False

    def add(self, stamp: int, at: Any, turn: Any) -> None:
        """Another moment; one that is not after the last is left out."""
        if not self.stamps or stamp > self.stamps[-1]:
            self.stamps.append(stamp)
            self.rows.append((at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w))

    def at(self, stamp: int) -> Float64:
        """The pose at a moment, between its neighbours.

        Raises:
            InputError: there is none within half a second.
        """
        from scipy.spatial.transform import Rotation, Slerp

        stamps, rows = np.array(self.stamps, np.int64), np.array(self.rows, np.float64)
        later = int(np.searchsorted(stamps, stamp))
        near = [k for k in (later - 1, later) if 0 <= k < len(stamps)]
        if self.fixed:
            near = near[-1:]
        elif not near or min(abs(int(stamps[k]) - stamp) for k in near) > APART_NS:
            raise InputError(f"expected a pose of {self.about} within 0.5 s of the scan at {stamp} ns, got none")
        if not np.isfinite(rows[near]).all() or (np.linalg.norm(rows[near, 3:], axis=1) < 0.5).any():
            raise InputError(f"expected finite poses of {self.about} with a quaternion of length 1, got {rows[near]}")
        pose = np.eye(4)
        turns = Rotation.from_quat(rows[near, 3:])
        if len(near) == 1 or stamps[near[0]] == stamp:
            pose[:3, :3], pose[:3, 3] = turns[0].as_matrix(), rows[near[0], :3]
            return pose
        times = (stamps[near] - stamps[near[0]]).astype(np.float64)
        share = float(stamp - int(stamps[near[0]]))
        pose[:3, :3] = Slerp(times, turns)(share).as_matrix()
        pose[:3, 3] = rows[near[0], :3] + share / times[1] * (rows[near[1], :3] - rows[near[0], :3])
        return pose


@dataclass(frozen=True, eq=False)
class Poses:
    """`world_T_sensor` over time: tracks from the world to the sensor, and what is fixed on the last."""

    tracks: Sequence[Track]
    last: Float64

    def at(self, stamp: int) -> Float64:
        """The pose at a moment."""
        pose = np.eye(4)
        for track in self.tracks:
            pose = pose @ track.at(stamp)
        made: Float64 = pose @ self.last
        return made


class Tracks:
    """All poses of a bag."""

    def __init__(self) -> None:
        self._topics: dict[str, Track] = {}
        self._tree: dict[str, tuple[str, Track]] = {}  # child -> its parent and parent_T_child

    def add_pose(self, topic: str, message: Any) -> None:
        """A message of one of `ODOMETRY`."""
        track = self._topics.setdefault(topic, Track(topic))
        track.add(_ns(message.header.stamp), *ODOMETRY[message.__msgtype__](message))

    def add_transforms(self, message: Any, *, fixed: bool) -> None:
        """A message of /tf, or of /tf_static: `fixed`."""
        for one in message.transforms:
            parent, child = (str(n).lstrip("/") for n in (one.header.frame_id, one.child_frame_id))
            if child not in self._tree or self._tree[child][0] != parent:
                self._tree[child] = (parent, Track(f"{child} in {parent}", fixed=fixed))
            self._tree[child][1].add(_ns(one.header.stamp), one.transform.translation, one.transform.rotation)

    def of_topic(self, topic: str, mount: Float64) -> Poses:
        """Of a topic, with the sensor mounted on it."""
        return Poses([self._topics.setdefault(topic, Track(topic))], mount)

    def of_frame(self, frame: str, world: str, bag: Path) -> Poses:
        """Along the tree, from the world down to a frame.

        Raises:
            InputError: the tree does not lead there.
        """
        tracks: list[Track] = []
        at, goal = frame.lstrip("/"), world.lstrip("/")
        while at != goal:
            if at not in self._tree or len(tracks) > _DEEP:
                known = ", ".join(sorted({*self._tree, *(parent for parent, _ in self._tree.values())})) or "no frame"
                raise InputError(
                    f"expected /tf in {bag} to lead from {world!r} to {frame!r}, got {known}; name world:, an agent's "
                    "frame:, or its pose: topic"
                )
            at, track = self._tree[at]
            tracks.append(track)
        return Poses(tracks[::-1], np.eye(4))


def mounted(mount: Sequence[float]) -> Float64:
    """`base_T_sensor` of x, y, z in metres and roll, pitch, yaw in degrees."""
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.from_euler("xyz", mount[3:], degrees=True).as_matrix(), mount[:3]
    return pose


def _ns(stamp: Any) -> int:
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
