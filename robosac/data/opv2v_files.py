"""What the YAML files of OPV2V's layout hold: an agent's pose and the vehicles that it sees.

Where `lidar_pose` is `[x y z roll yaw pitch]`, the boxes are in the world (`robosac.data.carla`), named by their keys,
their centres at `location + center`, half their sizes in `extent`. Where it is a matrix `(4, 4)`, as in V2V4Real, boxes
are in the agent's own frame, an agent's name is no object's, and objects are named across agents by `ass_id`; one
without is known by its place. `obj_type`, where a data set writes it (V2V4Real, V2X-Real), is the class.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac import plain_yaml
from robosac.data import carla, safe
from robosac.data.excerpt import excerpt
from robosac.data.labels import MOST_OBJECTS, VEHICLES, class_of, objects_of, sort_out
from robosac.data.recording import DataError, Objects
from robosac.data.rigid import array, numbers, pose_matrix
from robosac.types import Float64, Id

_NEEDED: Final = ("lidar_pose", "vehicles")
_NUMBERS: Final = ("location", "center", "angle", "extent")
_ONLY: Final = {"lidar_pose": None, "vehicles": {"*": dict.fromkeys((*_NUMBERS, "obj_type", "ass_id"))}}
_LONGEST_NAME: Final = 100


@dataclass(frozen=True, eq=False)
class Said:
    """What an agent's YAML file says of a moment."""

    world_T_sensor: Float64
    objects: Objects


def said(path: Path, root: Path, agent: Id, classes: Collection[str] = VEHICLES) -> Said:
    """Pose and objects of an agent's YAML file, those of other classes left out.

    Raises:
        DataError: if the file is missing, or pose or objects are missing or broken.
    """
    return said_in(_parsed(path, root, _ONLY), agent, path, classes)


def is_roadside_unit(path: Path, root: Path) -> bool:
    """Whether a YAML file says `RSU: true`; one that cannot be read does not."""
    with suppress(DataError):
        content = _parsed(path, root, {"RSU": None})
        return isinstance(content, dict) and content.get("RSU") is True
    return False


def _parsed(path: Path, root: Path, only: Mapping[str, Any]) -> Any:
    """A YAML file's content, with what is needed of it at least."""
    cut = excerpt(safe.read_bytes(path, root, limit=plain_yaml.SIZE_LIMIT), only)
    if cut is None:
        return safe.read_yaml(path, root, only)
    with safe.naming(path, "YAML file of plain values"):
        return plain_yaml.parse(cut, only)


def said_in(content: Any, agent: Id, path: Path, classes: Collection[str] = VEHICLES) -> Said:
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
        own = _objects(listed, agent, path, classes, associated=True)
        return Said(world_T_sensor, replace(own, world_T_box=world_T_sensor @ own.world_T_box))
    six = array(pose, (6,), path, "lidar_pose")
    return Said(carla.matrices(six[None, :3], six[None, 3:])[0], _objects(listed, agent, path, classes))


def _name(key: Any) -> str | None:
    """An object's name as text; None where it is neither a number nor a short string."""
    if type(key) is int and abs(key) < 10**18:
        return str(key)
    return key if isinstance(key, str) and len(key) <= _LONGEST_NAME else None


def _objects(
    listed: Mapping[Any, Mapping[str, Any]],
    agent: Id,
    path: Path,
    classes: Collection[str],
    *,
    associated: bool = False,
) -> Objects:
    kept, told = sort_out([class_of(entry.get("obj_type")) for entry in listed.values()], classes)
    chosen = {key: entry for (key, entry), keep in zip(listed.items(), kept.tolist(), strict=True) if keep}
    keys = [_name(key) for key in chosen]
    if None in keys:
        raise DataError(path, "expected vehicles by a number or a short name, got something else")
    columns: dict[str, Float64] = {}
    for column in _NUMBERS:
        for key, entry in chosen.items():
            if column not in entry:
                raise DataError(path, f"expected vehicle {_name(key)} to have {column}, got none; is the file whole?")
        values = [entry[column] for entry in chosen.values()]
        columns[column] = (
            numbers(values, (len(values), 3), path, f"{column} of the vehicles") if values else np.zeros((0, 3))
        )
    poses = carla.matrices(columns["location"] + columns["center"], columns["angle"])
    names: list[str | None] = list(keys)
    if associated:
        names = [_associated(entry.get("ass_id")) for entry in chosen.values()]
    return objects_of(names, [f"{agent}-{key}" for key in keys], poses, 2 * columns["extent"], path, told)


def _associated(name: Any) -> str | None:
    """An object's name across agents, which is no agent's; None where it has none."""
    return None if name == -1 or (found := _name(name)) is None else f"ass-{found}"
