"""What items of work share and another machine may lack: files, frames. A parcel is named by its content, so that it
travels once to each machine, however many items ask for it.

An item that has some says so with a method `parcels`: name -> a function that makes the value, where the work is handed
out. Where it is done, `parcel(name)` gives the value, or None where nothing was sent because the item never left.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

Make = Callable[[], Any]
_KEPT: Final = 3  # values that a process keeps for its next item

_fetch: dict[str, Make] = {}  # of the item that this process works on
_values: dict[str, Any] = {}  # the last few


def parcels_of(item: Any) -> Mapping[str, Make]:
    """What an item asks to have sent along; most ask for nothing."""
    own: Callable[[], Mapping[str, Make]] | None = getattr(item, "parcels", None)
    return {} if own is None else own()


@contextmanager
def at_hand(fetch: Mapping[str, Make]) -> Iterator[None]:
    """While inside, these parcels can be had in this process."""
    before = dict(_fetch)
    _fetch.update(fetch)
    try:
        yield
    finally:
        _fetch.clear()
        _fetch.update(before)


def parcel(name: str) -> Any:
    """The value of a parcel, or None where it was not sent."""
    if name in _values:
        return _values[name]
    if name not in _fetch:
        return None
    while len(_values) >= _KEPT:
        del _values[next(iter(_values))]
    _values[name] = _fetch[name]()
    return _values[name]


def file_parcel(name: str, suffix: str) -> Path | None:
    """A file with the bytes of a parcel, or None where it was not sent. It is gone when the process ends."""
    if name not in _fetch and name not in _written:
        return None
    if name not in _written:
        path = Path(_folder().name) / f"{name}{suffix}"
        path.write_bytes(parcel(name))
        _written[name] = path
    return _written[name]


_written: dict[str, Path] = {}


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="robosac-")
