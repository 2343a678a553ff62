"""Files of a data set are data: read whole, bounded, and never executed.

Whatever a file holds, these functions return plain values (numbers, strings, lists, dictionaries, arrays) or raise
`DataError`, which names the file. Sizes are looked at before anything is allocated; YAML builds no objects; a pickle
(and a pickled `.npy`) is checked opcode by opcode and then built by our own stand-ins for the few numpy functions
that an array needs, all else is refused. A path that leads out of the data set is refused, symbolic links included:
name the folder that they lead to as the data set.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import stat
import struct
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from robosac.data.recording import DataError
from robosac.types import Array

MIB: Final = 1 << 20
FILE_LIMIT: Final = 256 * MIB
TEXT_LIMIT: Final = 32 * MIB
VALUES_LIMIT: Final = 5_000_000  # values in one YAML or pickle file, those that are referred to again counted again
OPERATIONS_LIMIT: Final = 20_000_000  # of a pickle
DEPTH_LIMIT: Final = 100
_SHALLOW: Final = 1000  # lists opened and characters in a line up to which YAML cannot be nested dangerously deep
_WRONG: Final = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,  # numpy reads its headers as Python literals, old ones by their tokens
    pickle.UnpicklingError,
    yaml.YAMLError,
)
try:
    _YamlLoader: Any = yaml.CSafeLoader
except AttributeError:  # PyYAML without libyaml
    _YamlLoader = yaml.SafeLoader


# -------------------------------------------------------------------------------------------------------- paths, bytes
def inside(root: Path, relative: str | Path) -> Path:
    """The path of a file of a data set that is named relative to its root.

    Raises:
        DataError: if the name is absolute or leads out of the root.
    """
    name = str(relative)
    if "\0" in name or Path(name).is_absolute() or name.startswith(("\\", "~")) or ".." in Path(name).parts:
        raise DataError(root, f"expected a file name within the data set, got {name!r}")
    return _within(root / name, root)


def _within(path: Path, root: Path) -> Path:
    try:
        real, home = path.resolve(), root.resolve()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links, before Python 3.13
        raise DataError(path, f"cannot be followed ({error})") from None
    if not real.is_relative_to(home):
        raise DataError(path, f"leads out of the data set {root}, to {real}; name that folder as the data set instead")
    return path


def read_bytes(path: Path, root: Path, *, limit: int = FILE_LIMIT) -> bytes:
    """A whole file of at most `limit` bytes.

    Raises:
        DataError: if it is missing, no ordinary file, too large, cannot be read, or lies outside of `root`.
    """
    _within(path, root)
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise DataError(path, "expected an ordinary file")
        if about.st_size > limit:
            raise DataError(path, f"expected at most {limit} bytes, got {about.st_size}")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror or type(error).__name__})") from None
    if len(data) > limit:
        raise DataError(path, f"expected at most {limit} bytes, got more")
    return data


@contextmanager
def naming(path: Path, what: str) -> Iterator[None]:
    """Whatever goes wrong inside because of what a file holds becomes a `DataError` that names the file."""
    try:
        yield
    except DataError:
        raise
    except _WRONG as error:
        said = " ".join(str(error).split())[:200]
        raise DataError(path, f"is no valid {what} ({type(error).__name__}{': ' if said else ''}{said})") from None


# ------------------------------------------------------------------------------------------------------- JSON and YAML
def read_json(path: Path, root: Path) -> Any:
    """A JSON file; NaN and infinity, which JSON does not have, are refused."""
    data = read_bytes(path, root, limit=TEXT_LIMIT)

    def constant(name: str) -> Any:
        raise ValueError(f"{name} is no JSON")

    with naming(path, "JSON file"):
        return json.loads(data.decode(), parse_constant=constant)


def read_yaml(path: Path, root: Path) -> Any:
    """A YAML file of plain values; tags that would build objects are refused."""
    data = read_bytes(path, root, limit=TEXT_LIMIT)
    with naming(path, "YAML file of plain values"):
        if not _shallow(data):
            _check_depth(data)
        if b"<<" in data:  # merged keys multiply while they are being read
            raise ValueError("merge keys (<<) are not read")
        loaded = yaml.load(data, Loader=_YamlLoader)
        if b"&" in data:  # the same value may be referred to many times
            _check_size(loaded)
        return loaded


def _shallow(data: bytes) -> bool:
    """Whether nesting is bounded by what can be counted quickly: brackets, and columns for nested blocks."""
    opened = data.count(b"[") + data.count(b"{")
    return opened <= _SHALLOW and max(map(len, data.splitlines()), default=0) <= _SHALLOW


def _check_depth(data: bytes) -> None:
    """Nesting by libyaml's events, which need no recursion; what builds the values recurses in C."""
    depth = 0
    for event in yaml.parse(data, Loader=_YamlLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEPTH_LIMIT:
            raise ValueError(f"nested deeper than {DEPTH_LIMIT}")


def _check_size(value: Any) -> None:
    """Count values as one who walks through them would; a value within itself never ends."""
    left, stack = VALUES_LIMIT, [value]
    while stack:
        found = stack.pop()
        left -= 1
        if isinstance(found, dict):
            stack += found.values()
        elif isinstance(found, (list, tuple)):
            stack += found
        if left < len(stack):
            raise ValueError(f"holds more than {VALUES_LIMIT} values")


# ----------------------------------------------------------------------------------------------------- npy and pickle
def read_npy(path: Path, root: Path) -> Any:
    """An array of a `.npy` file. One of objects, as `np.save(path, dict)` makes it, gives the plain value it holds.

    The value of a 0-dimensional array of objects is the object; of any other, nested lists of them.
    """
    data = read_bytes(path, root)
    with naming(path, ".npy file"):
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=10_000)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=10_000)
        else:
            raise ValueError(f"version {version} is not read")
        rest = data[stream.tell() :]
        if dtype.hasobject:
            array = _unpickled(rest)
            return array.item() if isinstance(array, np.ndarray) and array.shape == () else _listed(array)
        return _array_of(rest, _plain(dtype), shape, fortran=fortran)


def read_pickle(path: Path, root: Path) -> Any:
    """A pickle of numbers, strings, bytes, lists, tuples, sets, dictionaries, and numpy arrays of these."""
    data = read_bytes(path, root)
    with naming(path, "pickle of plain values"):
        return _unpickled(data)


def _plain(dtype: Any) -> Any:
    if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
        raise ValueError(f"arrays of {dtype} are not read")
    return dtype


def _array_of(raw: bytes, dtype: Any, shape: tuple[int, ...], *, fortran: bool = False) -> Array:
    """An array from exactly as many bytes as it takes."""
    if len(shape) > 32 or any(not isinstance(n, int) or n < 0 for n in shape):
        raise ValueError(f"{shape} is no shape")
    needed = dtype.itemsize
    for n in shape:
        needed *= n
    if len(raw) != needed:
        raise ValueError(f"expected {needed} bytes for shape {shape} of {dtype}, got {len(raw)}")
    array: Array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C").copy()
    return array


_OPCODES: Final = {o.name for o in pickletools.opcodes if o.proto <= 5} - {
    *("INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"),  # objects of any class
    *("NEXT_BUFFER", "READONLY_BUFFER"),  # memory from outside of the file
}


def _unpickled(data: bytes) -> Any:
    for done, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if opcode.name not in _OPCODES or done > OPERATIONS_LIMIT:
            raise ValueError(f"pickles with {opcode.name} at operation {done} are not read")
        if isinstance(argument, int):
            if opcode.name in ("PUT", "LONG_BINPUT") and argument > done:  # would make room for that many
                raise ValueError(f"note {argument} at operation {done}")
            if abs(argument) >= 1 << 64:
                raise ValueError("an integer of more than 64 bits")
    return _Converted().of(_Restricted(data).load())


class _Allowance:
    """How much a pickle may still make out of what it holds: a value may be used again and again."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, *arguments: Any) -> None:
        self.left -= 64 + sum(
            len(a) for a in arguments if isinstance(a, (str, bytes, bytearray, list, tuple, dict, set))
        )
        if self.left < 0:
            raise ValueError("makes far more than it holds")


class _Maker:
    """Stands for a function that a pickle calls. It can be called and nothing else: no state, no attributes."""

    __slots__ = ("_allowance", "_make")

    def __init__(self, make: Callable[..., Any], allowance: _Allowance) -> None:
        self._make, self._allowance = make, allowance

    def __call__(self, *arguments: Any) -> Any:
        self._allowance.spend(*arguments)
        made = self._make(*arguments)
        if isinstance(made, _Array):
            made.allowance = self._allowance
        return made

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function with a state")


class _DType:
    """Stands for a numpy.dtype while a pickle is read: its constructor's first argument, then its byte order."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or len(code) > 16:
            raise ValueError("a dtype that is not named by a short string")
        self.dtype = np.dtype(code)
        if self.dtype.kind != "O":
            _plain(self.dtype)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {order!r}")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for a numpy.ndarray while a pickle is read."""

    def __init__(self, *_: Any) -> None:
        self.array: Any = np.zeros(0)
        self.items: list[Any] | None = None
        self.shape: tuple[int, ...] = (0,)
        self.allowance = _Allowance(0)

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.allowance.spend(raw)
        if not isinstance(dtype, _DType) or not isinstance(shape, tuple):
            raise ValueError("an array without dtype or shape")
        self.shape = shape
        if dtype.dtype.kind == "O":
            if not isinstance(raw, list) or any(not isinstance(n, int) or n < 0 for n in shape):
                raise ValueError("an array of objects without its objects")
            count = 1
            for n in shape:
                count *= n
            if count != len(raw):
                raise ValueError(f"{len(raw)} objects for shape {shape}")
            self.items = raw
        else:
            raw = raw.encode("latin1") if isinstance(raw, str) else raw
            self.array = _array_of(bytes(raw), dtype.dtype, shape, fortran=bool(fortran))


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, _DType) or dtype.dtype.kind == "O":
        raise ValueError("a number without its dtype")
    raw = raw.encode("latin1") if isinstance(raw, str) else raw
    return _array_of(raw, dtype.dtype, ())[()]


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, _DType) or not isinstance(raw, (bytes, bytearray)) or dtype.dtype.kind == "O":
        raise ValueError("an array without its bytes")
    return _array_of(bytes(raw), dtype.dtype, shape, fortran=order == "F")


def _encode(text: Any, codec: Any) -> bytes:
    """How protocol 2 writes bytes."""
    if not isinstance(text, str) or codec != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    return b""


_ALLOWED: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _empty_bytes,
    ("__builtin__", "bytes"): _empty_bytes,
    ("collections", "OrderedDict"): dict,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("builtins", "frozenset"): frozenset,
}


class _Restricted(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._allowance = _Allowance(64 * len(data) + MIB)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"refused to load {module[:40]}.{name[:40]}")
        return _Maker(_ALLOWED[module, name], self._allowance)


class _Converted:
    """Plain values in place of the stand-ins. What is shared stays shared, so that the work is linear in the file."""

    def __init__(self) -> None:
        self._done: dict[int, Any] = {}
        self._left = VALUES_LIMIT
        self._kept: list[Any] = []  # ids are only those of objects that are alive

    def of(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(
            value, (bool, int, float, complex, str, bytes, bytearray, np.generic, np.ndarray)
        ):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        self._left -= 1
        if depth > DEPTH_LIMIT or self._left < 0:
            raise ValueError(f"nested deeper than {DEPTH_LIMIT}, or more than {VALUES_LIMIT} containers")
        made = self._made(value, depth + 1)
        self._done[id(value)] = made
        self._kept.append(value)
        return made

    def _made(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            if value.items is None:
                return value.array
            filled = np.empty(len(value.items), dtype=object)
            for i, item in enumerate(value.items):
                filled[i] = self.of(item, depth)
            return filled.reshape(value.shape)
        if isinstance(value, _DType):
            return value.dtype
        if isinstance(value, dict):
            return {self.of(k, depth): self.of(v, depth) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return type(value)(self.of(v, depth) for v in value)
        raise ValueError(f"a {type(value).__name__} is not read")


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value
