"""What labels list, the same for all layouts: which classes count, which records can be, which of them are one object.

- **Classes.** A detector of vehicles is judged by vehicles: `VEHICLES`, whatever the case and punctuation of a name
  (`Semi-Truck`, `semi_truck`), the dotted names of nuScenes and V2X-Sim included (`vehicle.bus.rigid`). Other classes
  are left out and counted; a reader's `classes` names others. A record without a class is a vehicle, as in OPV2V, which
  has no others: it counts where a class of vehicles does.
- **Records.** One whose size is not between 0 and 100 m, or whose place is not finite and on earth, is left out and
  told, and the frame stays: published data sets hold such (two-wheelers of no width in CARLA and V2X-Sim).
- **Names.** The same name is the same object. Boxes that all but cover each other are one, whatever their names: two
  vehicles are never at one place. So are boxes of two agents that overlap, where one has no name; it takes the other's.
  A name that stands twice in one list is none the second time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.boxes import pairs_exceeding
from robosac.data.recording import DataError, Objects, Told
from robosac.types import Array, Bool, Float64, Int64

LONGEST_M: Final = 100.0  # a road vehicle is shorter; what says more is broken and would cost time to count in
MOST_OBJECTS: Final = 10_000
LARGEST: Final = 1e9  # of a coordinate, metres: the earth's circumference is 4e7
_SAME_IOU: Final = 0.3  # two agents see one object differently
_TWICE_IOU: Final = 0.7  # boxes that all but cover each other; in one list, neighbours that touch are two
_CLOSE_M: Final = 1.0  # of heights: outlines that lie over one another on a bridge are two
_KNOWN: Final = (
    "ambulance", "bus", "car", "concretetruck", "construction", "emergency", "firetruck", "longvehicle", "minivan",
    "pickup", "pickuptruck", "policecar", "schoolbus", "sedan", "semitruck", "suv", "taxi", "trailer", "truck", "van",
)  # fmt: skip
VEHICLES: Final = frozenset({"vehicle", *_KNOWN, *(f"vehicle.{name}" for name in _KNOWN)})


def wanted(name: str, classes: Collection[str]) -> bool:
    """Whether a class, as a data set spells it, is among `classes`, as `spelled` spells them."""
    parts = spelled(name).split(".")
    return any(".".join(parts[:k]) in classes for k in range(min(2, len(parts)), len(parts) + 1))


def spelled(name: str) -> str:
    """A class's name without case, spaces and punctuation but for dots."""
    return re.sub(r"[^\w.]|_", "", name.casefold())


def class_of(value: Any) -> str | None:
    """The class that a file gives: "" where it gives none, None where what it gives is no class."""
    if value is None:
        return ""
    return str(value) if isinstance(value, str) and len(value) <= 100 else None


def sort_out(kinds: Sequence[str | None], classes: Collection[str]) -> tuple[Bool, Told]:
    """Which records `(G,)` count by their class (see `class_of`), and what is to be told of all."""
    nameless = not VEHICLES.isdisjoint(classes)
    kept: Bool = np.array([k is not None and (wanted(k, classes) if k else nameless) for k in kinds], np.bool_)
    found: dict[str, int] = {}
    others: dict[str, int] = {}
    for kind, keep in zip(kinds, kept.tolist(), strict=True):
        if kind is not None:
            counts = found if keep else others
            counts[kind] = counts.get(kind, 0) + 1
    broken = [f"record {k} has a class that is no name" for k, kind in enumerate(kinds) if kind is None]
    return kept, Told(found, others, tuple(broken))


def objects_of(
    names: Sequence[str | None],
    otherwise: Sequence[str],
    world_T_box: Float64,
    size: Array,
    path: Path,
    told: Told | None = None,
) -> Objects:
    """Labelled objects of one list. Records that cannot be are left out and told.

    Args:
        names: the data set's name of each object, None where it has none.
        otherwise: how each that has no name is called; all different, and no object's name.
        world_T_box, size: `(G, 4, 4)` and `(G, 3)`; may hold anything.
        path: of the file, for errors.
        told: of the records before these were chosen.

    Raises:
        DataError: if there are too many objects.
    """
    if len(names) > MOST_OBJECTS:
        raise DataError(path, f"expected at most {MOST_OBJECTS} objects, got {len(names)}")
    size = np.asarray(size, np.float64).reshape(-1, 3)
    with np.errstate(invalid="ignore"):
        sized = np.asarray((np.isfinite(size) & (size > 0) & (size <= LONGEST_M)).all(axis=1))
        placed = np.asarray((np.abs(world_T_box) <= LARGEST).all(axis=(1, 2)))  # NaN compares false
    broken = []
    for k in np.flatnonzero(~(sized & placed)).tolist():
        what = "has no place: NaN, inf or beyond the earth"
        if not sized[k]:
            what = f"is {' x '.join(f'{v:g}' for v in size[k])}, not between 0 and {LONGEST_M:g} m"
        broken.append(f"object {otherwise[k] if names[k] is None else names[k]} {what}")
    kept = np.flatnonzero(sized & placed).tolist()
    ids: dict[str, int] = {}
    unnamed = set()
    for k in kept:
        name = names[k]
        if name is None or name in ids:
            if name is not None:
                broken.append(f"object {name} stands twice")
            name = otherwise[k]
            unnamed.add(name)
        ids[name] = k
    rows, told = list(ids.values()), (told or Told()) + Told(broken=tuple(broken))
    return union([Objects(tuple(ids), world_T_box[rows], size[rows].astype(np.float32), frozenset(unnamed), told)])


def union(lists: Sequence[Objects]) -> Objects:
    """The objects of several lists, each once, as the first lists it: by name, and by place where one has none."""
    told = sum((objects.told for objects in lists), start=Told())
    unnamed = frozenset[str]().union(*(objects.unnamed for objects in lists))
    ids = [name for objects in lists for name in objects.ids]
    if not ids:
        return replace(Objects.none(), told=told)
    poses = np.concatenate([objects.world_T_box for objects in lists])
    size = np.concatenate([objects.size for objects in lists])
    of = np.repeat(np.arange(len(lists)), [len(objects) for objects in lists])
    there = _overlapping(poses, size, of)
    kept: dict[int, str] = {}
    known: set[str] = set()
    for k, name in enumerate(ids):
        if name in known:
            continue
        loose = name in unnamed
        same = [i for i, twice in there.get(k, ()) if i in kept and (twice or loose or kept[i] in unnamed)]
        if not same:
            kept[k] = name
        elif not loose and kept[same[0]] in unnamed:
            kept[same[0]] = name
        known.add(name)
    rows = list(kept)
    return Objects(tuple(kept.values()), poses[rows], size[rows], unnamed & set(kept.values()), told)


def _overlapping(poses: Float64, size: Array, of: Int64) -> Mapping[int, Sequence[tuple[int, bool]]]:
    """Index of an object -> earlier ones that lie where it does, best first, and whether they all but cover each other.

    `of (G,)` says which list an object is on.
    """
    yaw = np.arctan2(poses[:, 1, 0], poses[:, 0, 0])
    i, j, iou = pairs_exceeding(np.concatenate([poses[:, :3, 3], size, yaw[:, None]], axis=1), _SAME_IOU)
    apart = np.abs(poses[i, 2, 3] - poses[j, 2, 3]) - (size[i, 2] + size[j, 2]) / 2
    found: dict[int, list[tuple[int, bool]]] = {}
    for k in np.argsort(-iou, kind="stable"):
        twice = bool(iou[k] > _TWICE_IOU)
        if apart[k] < _CLOSE_M and (twice or of[i[k]] != of[j[k]]):
            found.setdefault(int(j[k]), []).append((int(i[k]), twice))
    return found
