"""Fingerprints of content: a short name of everything that decides a figure. Equal content, equal name.

Settings, arrays, weights and files are read to the bottom: a network inside a late fusion, in a dict or behind a plain
class changes the name of what holds it when one of its weights changes. A file is named by its bytes and not by its
path, so that other weights under an old name are noticed, and the same weights elsewhere are the same.

What knows better says so with a method `fingerprint()`, whose plain answer takes the place of its attributes.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

_CHUNK: Final = 1 << 20
_CODE: Final = ("co_code", "co_consts", "co_names", "co_varnames", "co_freevars")


def fingerprint(*values: Any) -> str:
    """20 hexadecimal digits of anything: plain data, dataclasses, arrays, tensors, modules, functions, objects.

    A path is named by what it leads to.

    Raises:
        OSError: a file among the values cannot be read.
    """
    digest = hashlib.sha256()
    _add(digest, list(values), [])
    return digest.hexdigest()[:20]


def file_fingerprint(path: Path) -> str:
    """20 hexadecimal digits of a file's bytes, or of the names, sizes and times of all files of a folder.

    Folders of recordings are too large to be read whole, so their files are named by size and time of last change.
    """
    digest = hashlib.sha256()
    _add_path(digest, path)
    return digest.hexdigest()[:20]


def _add(digest: Any, value: Any, above: list[int]) -> None:
    """Feed one value, its type first, so that 1, True and "1" differ. `above` holds what is being read already."""
    digest.update(f"<{type(value).__qualname__}>".encode())
    if value is None or isinstance(value, (bool, int, str, bytes)):
        digest.update(value if isinstance(value, bytes) else repr(value).encode())
    elif isinstance(value, float):
        digest.update((value.hex() if math.isfinite(value) else repr(value)).encode())
    elif isinstance(value, enum.Enum):
        digest.update(value.name.encode())
    elif isinstance(value, Path):
        _add_path(digest, value)
    elif id(value) in above:
        digest.update(b"again")  # an object that holds itself
    else:
        _add_parts(digest, value, [*above, id(value)])
    digest.update(b";")


def _add_parts(digest: Any, value: Any, above: list[int]) -> None:
    if isinstance(value, Mapping):
        for key in sorted(value, key=str):
            _add(digest, key, above)
            _add(digest, value[key], above)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _add(digest, part, above)
    elif isinstance(value, (set, frozenset)):
        for part in sorted(fingerprint(v) for v in value):
            digest.update(part.encode())
    elif callable(own := getattr(value, "fingerprint", None)) and not isinstance(value, type):
        _add(digest, own(), above)
    elif hasattr(value, "state_dict") and not isinstance(value, type):  # a network: what it learnt, and what it is
        _add(digest, {k: _array(v) for k, v in value.state_dict().items()}, above)
        _add(digest, _code_of(type(value)), above)
    elif hasattr(value, "__array__"):
        array = _array(value)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes() if array.dtype != object else json.dumps(array.tolist(), default=repr).encode())
    elif isinstance(value, type) or hasattr(value, "__code__"):
        _add(digest, _code_of(value), above)
    elif dataclasses.is_dataclass(value):
        _add(digest, {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.compare}, above)
    else:
        _add_object(digest, value, above)


def _add_object(digest: Any, value: Any, above: list[int]) -> None:
    """An object of any class: what it holds and what its methods do."""
    _add(digest, _code_of(type(value)), above)
    held = {k: v for k, v in getattr(value, "__dict__", {}).items() if not _cached(type(value), k)}
    for name in (n for c in type(value).__mro__ for n in getattr(c, "__slots__", ())):
        if isinstance(name, str) and hasattr(value, name):
            held[name] = getattr(value, name)
    for name in ("func", "args", "keywords", "__self__", "__func__"):  # functools.partial and bound methods
        if name not in held and hasattr(value, name):
            held[name] = getattr(value, name)
    _add(digest, held, above)


def _cached(kind: type, name: str) -> bool:
    """Whether an attribute was only computed from the others."""
    return isinstance(getattr(kind, name, None), cached_property)


def _array(value: Any) -> Any:
    """A numpy array of an array or tensor, whatever device it is on."""
    import numpy as np

    if hasattr(value, "detach"):
        plain = value.detach().cpu()
        value = plain.float() if str(plain.dtype) == "torch.bfloat16" else plain
    return np.ascontiguousarray(np.asarray(value))


def _code_of(thing: Any) -> list[Any]:
    """The name and code of a function with its defaults and what it closes over, or of a class's own methods."""
    if not isinstance(thing, type):
        closed = [c.cell_contents for c in (getattr(thing, "__closure__", None) or ()) if _filled(c)]
        return [thing.__qualname__, _plain_code(thing.__code__), thing.__defaults__, thing.__kwdefaults__, closed]
    methods = {k: _plain_code(v.__code__) for k, v in vars(thing).items() if hasattr(v, "__code__")}
    return [f"{thing.__module__}.{thing.__qualname__}", methods]


def _plain_code(code: Any) -> list[Any]:
    """Byte code without line numbers and file names."""
    parts: list[Any] = [getattr(code, name) for name in _CODE]
    parts[1] = [_plain_code(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return parts


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises when it is read
    except ValueError:
        return False
    return True


def _add_path(digest: Any, path: Path) -> None:
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            stat = file.stat()
            digest.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="replace"))
        return
    if not path.exists():
        digest.update(b"absent")
        return
    with path.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
