"""Which layout a folder has: found by its files, never by its name.

| layout | what tells it | what may be named |
|---|---|---|
| `dair-v2x-c` | `cooperative/data_info.json` | its root, the folder above, or a split: a JSON file in it |
| `v2xsim-pkl` | `v2xsim_infos_*.pkl` | its root, or one of these files |
| `v2xsim-npy` | `agent1/SCENE_FRAME/0.npy` | the folder of a split, or the one above if it holds one |
| `opv2v` | `SCENARIO/AGENT/TIME.yaml` | an agent, a scenario, the folder of a split, or the one above the splits |

What a name means is the readers' to say; here they are asked. A split of DAIR-V2X-C is a list of the vehicle's ids, or
an object of such lists by name, as the official file is: `FILE:val` names one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias, runtime_checkable

from robosac.data import safe
from robosac.data.dair import PAIRS, DairV2XC, split_of
from robosac.data.labels import spelled
from robosac.data.opv2v import OPV2V, agent_files
from robosac.data.recording import DataError, Recording, printable
from robosac.data.v2xsim_npy import AGENT, V2XSimNpy
from robosac.data.v2xsim_pkl import INFOS, V2XSimPkl, infos_in
from robosac.errors import did_you_mean
from robosac.types import InputError

_Known: TypeAlias = DairV2XC | OPV2V | V2XSimNpy | V2XSimPkl


class UnknownLayoutError(InputError):
    """The folder holds no data set of a known layout."""


@runtime_checkable
class Reports(Protocol):
    """A recording that knows what is missing on disk without opening scans."""

    def problems(self) -> Iterator[DataError]: ...


def recognise(path: Path, classes: Collection[str] | None = None) -> Recording:
    """The recording that a path names, its layout found by its files; `classes` as in `open_recording`.

    Raises:
        UnknownLayoutError: if no layout is found; the message lists what was looked for.
        InputError: if there is nothing, or there are several splits: one of them is to be named.
    """
    path = _existing(path)
    for find in _FINDERS.values():
        if (found := _only(path, find(path))) is not None:
            return _of_classes(found, classes)
    held = ", ".join(printable(name) for name in (safe.names(path) or ())[:6]) or "nothing"
    raise UnknownLayoutError(
        f"expected a data set in {path}: cooperative/data_info.json (DAIR-V2X-C), {INFOS} (V2X-Sim by CoAlign), "
        f"agent1/SCENE_FRAME/0.npy (V2X-Sim, parsed) or SCENARIO/AGENT/TIME.yaml (OPV2V, V2XSet); it holds {held}; "
        "name the folder that holds one of these"
    )


def open_recording(path: Path, layout: str | None = None, classes: Collection[str] | None = None) -> Recording:
    """The recording of a path, its layout named (`opv2v`, `v2xsim-npy`, ...) or recognised.

    Args:
        path: what is named.
        layout: recognised, unless given.
        classes: of the objects that count, as the data set spells them, in any case; vehicles, unless given.

    Raises:
        InputError: as `recognise`, or if the layout is unknown or not the folder's.
    """
    if layout is None:
        return recognise(path, classes)
    if layout not in _FINDERS:
        close = did_you_mean(layout, _FINDERS)
        raise InputError(f"expected a layout among {', '.join(_FINDERS)}, got {layout!r}{close}")
    found = _only(_existing(path), _FINDERS[layout](_existing(path)))
    if found is None:
        raise InputError(f"expected {path} to be laid out as {layout}, got something else; leave the layout out to see")
    return _of_classes(found, classes)


def _of_classes(recording: _Known, classes: Collection[str] | None) -> Recording:
    if classes is None:
        return recording
    if (
        isinstance(classes, str)
        or not classes
        or not all(isinstance(c, str) and spelled(c).strip(".") for c in classes)
    ):
        raise InputError(f"expected names of classes, like ['Car', 'Pedestrian'], got {classes!r:.80}")
    return replace(recording, classes=frozenset(map(spelled, classes)))


# ----------------------------------------------------------------------------------------------------- each layout
def _dair(path: Path) -> Iterator[_Known]:
    file, _, name = (path, "", "") if safe.is_file(path) else _split_named(path)
    if file.suffix == ".json" and safe.is_file(file):
        for root in (file.parent, *list(file.parent.parents)[:2]):  # the official file lies in a folder of its own
            if safe.is_file(root / PAIRS):
                yield DairV2XC(root, split_of(safe.read_json(file, file.parent), name, file))
                return
    for root in _here_or_below(path):
        if safe.is_file(root / PAIRS):
            yield DairV2XC(root)


def _split_named(path: Path) -> tuple[Path, str, str]:
    """`FILE:NAME` as its parts."""
    file, colon, name = path.name.rpartition(":")
    return (path.with_name(file), colon, name) if file else (path, "", "")


def _v2xsim_pkl(path: Path) -> Iterator[_Known]:
    if safe.is_file(path) and path.match(INFOS):
        yield V2XSimPkl(path.parent, (path,))
    elif infos_in(path):
        yield V2XSimPkl(path)


def _v2xsim_npy(path: Path) -> Iterator[_Known]:
    for root in _here_or_below(path):
        agents = [p for p in safe.folders(root) if AGENT.fullmatch(p.name)]
        if any(safe.is_file(agent / tick / "0.npy") for agent in agents for tick in safe.names(agent) or ()):
            yield V2XSimNpy(root)


def _opv2v(path: Path) -> Iterator[_Known]:
    folders = [path]  # an agent, a scenario, a split, or what holds several: the reader tells them apart
    for _ in range(4):
        if any(agent_files(folder) for folder in folders):
            yield OPV2V(path)
            return
        folders = [inner for folder in folders for inner in safe.folders(folder)]


_FINDERS: Final[Mapping[str, Callable[[Path], Iterator[_Known]]]] = MappingProxyType(
    {"dair-v2x-c": _dair, "v2xsim-pkl": _v2xsim_pkl, "v2xsim-npy": _v2xsim_npy, "opv2v": _opv2v}
)


# ------------------------------------------------------------------------------------------------------- folders
def _existing(path: Path) -> Path:
    try:
        there = path.exists() or safe.is_file(_split_named(path)[0])
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(f"expected a data set's folder, got {printable(str(path))}, which does not exist")
    return path


def _here_or_below(path: Path) -> Iterator[Path]:
    yield path
    yield from safe.folders(path)


def _only(path: Path, found: Iterator[_Known]) -> _Known | None:
    several = list(islice(found, 9))
    if len(several) > 1:
        names = ", ".join(sorted(printable(str(r.root)) for r in several))
        raise InputError(f"expected one data set in {printable(str(path))}, got several: name one of {names}")
    return several[0] if several else None
