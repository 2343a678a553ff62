"""Which layout a folder has: found by its files, never by its name.

| layout | what tells it | what may be named |
|---|---|---|
| `dair-v2x-c` | `cooperative/data_info.json` | its root, the folder above, or a JSON list of vehicle ids in it |
| `v2xsim-pkl` | `v2xsim_infos_*.pkl` | its root, or one of these files |
| `v2xsim-npy` | `agent1/SCENE_FRAME/0.npy` | the folder of a split, or the one above if it holds one |
| `opv2v` | `SCENARIO/AGENT/TIME.yaml` | a scenario, the folder of a split, or the one above the splits |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from robosac.data import safe
from robosac.data.dair import PAIRS, DairV2XC
from robosac.data.opv2v import OPV2V
from robosac.data.recording import DataError, Recording
from robosac.data.v2xsim_npy import V2XSimNpy
from robosac.data.v2xsim_pkl import INFOS, V2XSimPkl
from robosac.types import InputError

_LOOKED_AT: Final = 1000  # entries of a folder that are tried before it is called something else
_PARSED: Final = re.compile(r"agent\d{1,3}")
_STAMP: Final = re.compile(r"\d+\.yaml")


class UnknownLayoutError(InputError):
    """The folder holds no data set of a known layout."""


@runtime_checkable
class Reports(Protocol):
    """A recording that knows what is missing on disk without opening scans."""

    def problems(self) -> Iterator[DataError]: ...


def recognise(path: Path) -> Recording:
    """The recording that a path names, its layout found by its files.

    Raises:
        UnknownLayoutError: if no layout is found; the message lists what was looked for.
        InputError: if there is nothing, or there are several splits: one of them is to be named.
    """
    path = _existing(path)
    for find in _FINDERS.values():
        if (found := _only(path, find(path))) is not None:
            return found
    held = ", ".join(sorted(p.name for p in _entries(path))[:6]) or "nothing"
    raise UnknownLayoutError(
        f"expected a data set in {path}: cooperative/data_info.json (DAIR-V2X-C), {INFOS} (V2X-Sim by CoAlign), "
        f"agent1/SCENE_FRAME/0.npy (V2X-Sim, parsed) or SCENARIO/AGENT/TIME.yaml (OPV2V, V2XSet); it holds {held}; "
        "name the folder that holds one of these"
    )


def open_recording(path: Path, layout: str | None = None) -> Recording:
    """The recording of a path, its layout named (`opv2v`, `v2xsim-npy`, ...) or recognised.

    Raises:
        InputError: as `recognise`, or if the layout is unknown or not the folder's.
    """
    if layout is None:
        return recognise(path)
    if layout not in _FINDERS:
        raise InputError(f"expected a layout among {', '.join(_FINDERS)}, got {layout!r}")
    found = _only(_existing(path), _FINDERS[layout](_existing(path)))
    if found is None:
        raise InputError(f"expected {path} to be laid out as {layout}, got something else; leave the layout out to see")
    return found


# ----------------------------------------------------------------------------------------------------- each layout
def _dair(path: Path) -> Iterator[Recording]:
    if path.suffix == ".json" and (path.parent / PAIRS).is_file():
        ids = safe.read_json(path, path.parent)
        if not isinstance(ids, list) or not ids or not all(isinstance(i, str) for i in ids):
            raise DataError(path, "expected a list of ids of the vehicle's scans, got something else")
        yield DairV2XC(path.parent, frozenset(ids))
    for root in _here_or_below(path):
        if (root / PAIRS).is_file():
            yield DairV2XC(root)


def _v2xsim_pkl(path: Path) -> Iterator[Recording]:
    if path.is_file() and path.match(INFOS):
        yield V2XSimPkl(path.parent, (path,))
    elif any(path.glob(INFOS)):
        yield V2XSimPkl(path)


def _v2xsim_npy(path: Path) -> Iterator[Recording]:
    for root in _here_or_below(path):
        agents = [p for p in _entries(root) if _PARSED.fullmatch(p.name) and p.is_dir()]
        if any((tick / "0.npy").is_file() for agent in agents for tick in _entries(agent)):
            yield V2XSimNpy(root)


def _opv2v(path: Path) -> Iterator[Recording]:
    folders = [path]  # a scenario, a split, or what holds several: the reader tells them apart
    for _ in range(3):
        folders = [inner for folder in folders for inner in _entries(folder) if inner.is_dir()][:_LOOKED_AT]
        if any(_agent_folder(agent) for agent in folders):
            yield OPV2V(path)
            return


def _agent_folder(path: Path) -> bool:
    return any(_STAMP.fullmatch(p.name) for p in _entries(path))


_FINDERS: Final[Mapping[str, Callable[[Path], Iterator[Recording]]]] = MappingProxyType(
    {"dair-v2x-c": _dair, "v2xsim-pkl": _v2xsim_pkl, "v2xsim-npy": _v2xsim_npy, "opv2v": _opv2v}
)


# ------------------------------------------------------------------------------------------------------- folders
def _existing(path: Path) -> Path:
    if not path.exists():
        raise InputError(f"expected a data set's folder, got {path}, which does not exist")
    return path


def _entries(folder: Path) -> list[Path]:
    """The first entries of a folder, by name; none of a file, or of a folder that cannot be read."""
    try:
        return sorted(islice(folder.iterdir(), _LOOKED_AT)) if folder.is_dir() else []
    except OSError:
        return []


def _here_or_below(path: Path) -> Iterator[Path]:
    yield path
    yield from (p for p in _entries(path) if p.is_dir())


def _only(path: Path, found: Iterator[Recording]) -> Recording | None:
    several = list(islice(found, 9))
    if len(several) > 1:
        names = ", ".join(sorted(str(r.root) for r in several))
        raise InputError(f"expected one data set in {path}, got several: name one of {names}")
    return several[0] if several else None
