"""Fingerprints of content: a short name of everything that decides a figure. Equal content, equal name.

Settings, arrays, weights and files are read to the bottom: a network inside a late fusion, in a dict or behind a plain
class changes the name of what holds it when one of its weights changes. A file is named by its bytes and not by its
path, so that other weights under an old name are noticed, and the same weights elsewhere are the same.

An object is its attributes and the code of its class, inherited methods of the same package included; a function is its
code, its defaults and what it closes over. Values of module-level names that a function reads are not part of it: who
opens code by name adds the file (`file_fingerprint`). What knows better says so with a method `fingerprint()`, whose
plain answer takes the place of its attributes. Names are the same in every process and on every GPU.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import hashlib
import importlib.util
import json
import logging
import math
import os
import re
import types
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

_CHUNK: Final = 1 << 20
_END: Final = 1 << 12  # of a file in a folder, so many bytes at either end are read
_ADDRESS: Final = re.compile(r" at 0x[0-9a-f]+")
_CALLABLE: Final = ("func", "args", "keywords", "__self__", "__func__", "__name__")  # partial, bound, built in


def fingerprint(*values: Any) -> str:
    """20 hexadecimal digits of anything: plain data, dataclasses, arrays, tensors, modules, functions, objects.

    A path is named by what it leads to.

    Raises:
        OSError: a file among the values cannot be read.
    """
    return Reader().fingerprint(*values)


def file_fingerprint(path: Path) -> str:
    """20 hexadecimal digits of a file's bytes, or of the names, sizes, times and ends of all files of a folder.

    Folders of recordings are too large to be read whole, so their files are named by size, time of last change, and
    their first and last kilobytes: other content that was copied with the time of the old is noticed, too.
    """
    return _file(path).hex()[:20]


def code_files(module: str) -> tuple[Path, ...]:
    """The sources of a module, in the working folder or installed, and of all that it imports of what lies beside it:
    helpers of its own, packages next to it, nothing else that is installed. Nothing is imported; what cannot be found
    is left out.
    """
    top = module.partition(".")[0]
    root = _root_of(top)
    if root is None:
        return ()
    found, todo = dict[Path, None](), [module]
    beside = not {"site-packages", "dist-packages"} & set(root.parts)
    while todo:
        name = todo.pop()
        first, *_ = parts = name.split(".")
        if first != top and (not beside or first == __package__):  # our own code has a version of its own
            continue
        for k in range(1, len(parts) + 1):
            here = root.joinpath(*parts[:k])
            for path in (here.with_name(f"{here.name}.py"), here / "__init__.py"):
                if path not in found and path.is_file():
                    found[path] = None
                    todo += _imports(path, ".".join(parts[:k]), package=path.name == "__init__.py")
    return tuple(sorted(found))


def _root_of(top: str) -> Path | None:
    """The folder that a module or package lies in; None where it has no source."""
    here = Path.cwd()
    if (here / f"{top}.py").is_file() or (here / top / "__init__.py").is_file():
        return here
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    place = None if spec is None else next(iter(spec.submodule_search_locations or ()), spec.origin)
    return Path(place).parent if place is not None and Path(place).exists() else None


def _imports(path: Path, module: str, *, package: bool) -> Iterator[str]:
    """Names of what a source imports, wherever in it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # whoever runs it will say so
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: len(module.split(".")) - node.level + package] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


class Reader:
    """Names values one by one; what was named once is not read again, however often it is referred to. So nothing that
    it has seen may change afterwards, and it keeps all of it.
    """

    def __init__(self) -> None:
        self._named: dict[int, tuple[Any, bytes]] = {}  # the object is kept, so that its id stays its own

    def fingerprint(self, *values: Any) -> str:
        """As the function of this name."""
        return self.name(list(values), ()).hex()[:20]

    def name(self, value: Any, above: tuple[int, ...]) -> bytes:
        """The digest of one value; `above` are the objects that are being read already."""
        if (found := self._named.get(id(value))) is not None:
            return found[1]
        if id(value) in above:
            return b"an object that holds itself"
        digest = hashlib.sha256(f"<{type(value).__qualname__}>".encode())  # 1, True and "1" differ
        for part in self._parts(value, (*above, id(value))):
            digest.update(part)
        if not isinstance(value, (bool, int, float, str, bytes, type(None))):
            self._named[id(value)] = value, digest.digest()
        return digest.digest()

    def _parts(self, value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
        if value is None or isinstance(value, (bool, int, str)):
            yield repr(value).encode()
        elif isinstance(value, bytes):
            yield value
        elif isinstance(value, float):
            yield (float.hex(value) if math.isfinite(value) else repr(float(value))).encode()
        elif isinstance(value, enum.Enum):
            yield f"{value.name} {value.value!r}".encode()
        elif isinstance(value, Path):
            yield _file(value)
        elif isinstance(value, Mapping):
            for key in sorted(value, key=lambda k: (str(k), type(k).__qualname__)):
                yield self.name(key, above)
                yield self.name(value[key], above)
        elif isinstance(value, (list, tuple)):
            yield from (self.name(v, above) for v in value)
        elif isinstance(value, (set, frozenset)):
            yield from sorted(self.name(v, above) for v in value)
        elif callable(own := getattr(value, "fingerprint", None)) and not isinstance(value, type):
            yield self.name(own(), above)
        elif hasattr(value, "__array__") and not isinstance(value, type):
            array = _array(value)
            yield f"{array.dtype} {array.shape}".encode()
            plain = array.dtype == object
            yield json.dumps(array.tolist(), default=repr).encode() if plain else array.tobytes()
        elif isinstance(value, (types.ModuleType, logging.Logger)):
            yield value.__name__.encode() if isinstance(value, types.ModuleType) else value.name.encode()
        elif type(value).__module__ == "torch" and type(value).__name__ == "device":
            yield value.type.encode()  # which of the GPUs computes decides nothing
        elif isinstance(value, type):
            yield self.name(list(_code_of_class(value)), above)
        elif isinstance(value, types.FunctionType):
            closed = [c.cell_contents for c in (value.__closure__ or ()) if _filled(c)]
            yield self.name([value.__qualname__, value.__defaults__, value.__kwdefaults__, closed], above)
            yield _code(value.__code__)
        else:
            yield from self._object(value, above)

    def _object(self, value: Any, above: tuple[int, ...]) -> Iterator[bytes]:
        """An object of any class: what it holds and what its methods do."""
        yield self.name(type(value), above)
        held = _held(value)
        if not held:  # nothing that can be looked into, like a dtype or a compiled pattern
            yield _ADDRESS.sub("", repr(value)).encode()
        yield self.name(held, above)
        if hasattr(value, "_c") and callable(state := getattr(value, "state_dict", None)):
            yield self.name(dict(state()), above)  # TorchScript keeps its weights out of sight


def _held(value: Any) -> dict[str, Any]:
    """An object's attributes, without those that were only computed from others or that do not make it another."""
    aside = {f.name for f in dataclasses.fields(value) if not f.compare} if dataclasses.is_dataclass(value) else set()
    aside |= {k for k in getattr(value, "__dict__", {}) if isinstance(getattr(type(value), k, None), cached_property)}
    held = {k: v for k, v in getattr(value, "__dict__", {}).items() if k not in aside}
    for name in (n for c in type(value).__mro__ for n in _listed(getattr(c, "__slots__", ()))):
        if name not in aside and hasattr(value, name):
            held[name] = getattr(value, name)
    return held | {n: getattr(value, n) for n in _CALLABLE if n not in held and hasattr(value, n)}


def _listed(slots: Any) -> list[str]:
    names = [slots] if isinstance(slots, str) else list(slots)
    return [n for n in names if n not in ("__dict__", "__weakref__")]


def _array(value: Any) -> Any:
    """A numpy array of an array or tensor, whatever device it is on."""
    import numpy as np

    if hasattr(value, "detach"):
        plain = value.detach().cpu()
        value = plain.float() if str(plain.dtype) == "torch.bfloat16" else plain
    return np.ascontiguousarray(np.asarray(value))


def _code_of_class(kind: type) -> Iterator[Any]:
    """The names, methods and plain constants of a class and of its bases in the same package."""
    package = kind.__module__.partition(".")[0]
    for base in kind.__mro__:
        yield f"{base.__module__}.{base.__qualname__}"
        if base.__module__.partition(".")[0] != package or package == "builtins":
            continue
        for name, held in sorted(vars(base).items()):
            parts = (held, *(getattr(held, a, None) for a in ("__func__", "fget", "func")))  # properties and the like
            yield from ((name, _code(p.__code__)) for p in parts if hasattr(p, "__code__"))
            if isinstance(held, (bool, int, float, str, bytes)) and not name.startswith("__"):
                yield name, held


def _code(code: types.CodeType) -> bytes:
    """Byte code without line numbers and file names; sets among its constants in an order of their own."""
    digest = hashlib.sha256(repr((code.co_names, code.co_varnames, code.co_freevars)).encode() + code.co_code)
    for held in code.co_consts:
        if isinstance(held, types.CodeType):
            digest.update(_code(held))
        else:
            digest.update(repr(sorted(map(repr, held)) if isinstance(held, frozenset) else held).encode())
    return digest.digest()


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises when it is read
    except ValueError:
        return False
    return True


def _file(path: Path) -> bytes:
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(_files_in(path)):
            stat = file.stat()
            digest.update(f"{file.relative_to(path)} {stat.st_size} {stat.st_mtime_ns}\n".encode(errors="replace"))
            digest.update(_ends(file, stat.st_size))
    elif not path.exists():
        digest.update(b"absent")
    else:
        with path.open("rb") as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    return digest.digest()


def _ends(file: Path, size: int) -> bytes:
    """The first and last bytes of a file; none of one that may not be read, which its reader will say."""
    try:
        with file.open("rb") as opened:
            first = opened.read(_END)
            opened.seek(max(size - _END, 0))
            return first + opened.read(_END)
    except OSError:
        return b"unread"


def _files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder; links to folders are followed, each folder once."""
    seen: set[str] = set()
    for here, inside, names in os.walk(folder, followlinks=True):
        seen.add(os.path.realpath(here))
        inside[:] = [name for name in inside if os.path.realpath(Path(here) / name) not in seen]
        yield from (Path(here) / name for name in names if (Path(here) / name).is_file())
