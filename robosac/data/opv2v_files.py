"""What the YAML files of OPV2V's layout hold: an agent's pose and the vehicles that it sees.

Where `lidar_pose` is `[x y z roll yaw pitch]`, the boxes are in the world (`robosac.data.carla`), their centres at
`location + center`, half their sizes in `extent`. Where it is a matrix `(4, 4)`, as in V2V4Real, boxes are in the
agent's own frame, named across agents by `ass_id`, and an agent's name is no object's; pedestrians are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from robosac import plain_yaml
from robosac.data import carla, safe
from robosac.data.excerpt import excerpt
from robosac.data.recording import DataError, Objects
from robosac.data.rigid import MOST_OBJECTS, array, objects_of, pose_matrix
from robosac.types import Float64, Id

_NEEDED: Final = ("lidar_pose", "vehicles")
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, eq=False)
class Said:
    """What an agent's YAML file says of a moment."""

    world_T_sensor: Float64
    objects: Objects


def said(path: Path, root: Path, agent: Id) -> Said:
    """Pose and objects of an agent's YAML file.

    Raises:
        DataError: if the file is missing, or one of them is missing or broken.
    """
    return said_in(_needed(path, root), agent, path)


def _needed(path: Path, root: Path) -> Any:
    """A YAML file's content, with what is needed of it at least."""
    cut = excerpt(safe.read_bytes(path, root, limit=plain_yaml.SIZE_LIMIT), _NEEDED)
    if cut is None:
        return safe.read_yaml(path, root)
    with safe.naming(path, "YAML file of plain values"):
        return plain_yaml.parse(cut)


def said_in(content: Any, agent: Id, path: Path) -> Said:
    """Pose and objects of a YAML file's content.

    Raises:
        DataError: if one of them is missing or broken.
    """
    if not isinstance(content, dict):
        raise DataError(path, f"expected lidar_pose and vehicles, got {type(content).__name__}")
    if missing := [key for key in _NEEDED if key not in content]:
        raise DataError(path, f"expected lidar_pose and vehicles, got no {missing[0]}; is the file whole?")
    pose, listed = content["lidar_pose"], content["vehicles"]
    if not isinstance(listed, dict) or not all(isinstance(entry, dict) for entry in listed.values()):
        raise DataError(path, "expected vehicles to be entries by their ids, got something else")
    if len(listed) > MOST_OBJECTS:
        raise DataError(path, f"expected at most {MOST_OBJECTS} vehicles, got {len(listed)}")
    if isinstance(pose, list) and len(pose) == 4:
        world_T_sensor = pose_matrix(pose, path, "lidar_pose")
        vehicles = {_associated(k, e, agent): e for k, e in listed.items() if e.get("obj_type") != "Pedestrian"}
        own = _objects(vehicles, path)
        return Said(world_T_sensor, Objects(own.ids, world_T_sensor @ own.world_T_box, own.size))
    six = array(pose, (6,), path, "lidar_pose")
    return Said(carla.matrices(six[None, :3], six[None, 3:])[0], _objects(listed, path))


def _associated(key: Any, entry: Mapping[str, Any], agent: Id) -> str:
    """An object's name across agents, which is no agent's, or one that no other agent's object has."""
    name = entry.get("ass_id", -1)
    return f"{agent}-{_name(key)}" if name == -1 or _name(name) is None else f"ass-{name}"


def _name(key: Any) -> str | None:
    """An object's name as text; None where it is neither a number nor a short string."""
    if isinstance(key, int) and abs(key) < 10**18:
        return str(key)
    return key if isinstance(key, str) and len(key) <= _LONGEST_NAME else None


def _objects(listed: Mapping[Any, Mapping[str, Any]], path: Path) -> Objects:
    if not listed:
        return Objects.none()
    names = [_name(key) for key in listed]
    if None in names:
        raise DataError(path, "expected vehicles by a number or a short name, got something else")
    columns: dict[str, Float64] = {}
    for name in ("location", "center", "angle", "extent"):
        for key, entry in listed.items():
            if name not in entry:
                raise DataError(path, f"expected vehicle {_name(key)} to have {name}, got none; is the file whole?")
        values = [entry[name] for entry in listed.values()]
        columns[name] = array(values, (len(values), 3), path, f"{name} of the vehicles")
    poses = carla.matrices(columns["location"] + columns["center"], columns["angle"])
    return objects_of([str(name) for name in names], poses, 2 * columns["extent"], path)
