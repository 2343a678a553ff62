"""The few functions that a pickle of plain values calls, written here: arrays, their types, bytes, sets.

What they make is bounded by what they are handed; they raise ValueError or TypeError where that is anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from robosac.types import Array

SINGLE: Final = frozenset({str, bytes, int, float, bool})


def array_of(raw: bytes, dtype: Any, shape: Sequence[int], *, fortran: bool = False) -> Array:
    """An array of plain numbers or texts, from exactly as many bytes as it takes; ValueError where it does not."""
    if dtype.kind not in "biufcSU" or dtype.itemsize == 0:
        raise ValueError(f"arrays of {dtype} are not read")
    needed = dtype.itemsize * _count(shape)
    if len(raw) != needed:
        raise ValueError(f"expected {needed} bytes for shape {shape} of {dtype}, got {len(raw)}")
    array: Array = np.frombuffer(raw, dtype).reshape(tuple(shape), order="F" if fortran else "C").copy()
    return array


def _count(shape: Sequence[int]) -> int:
    if not isinstance(shape, tuple) or len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("a shape that is no tuple of at most 32 lengths")  # not shown: to print it may take for ever
    count = 1
    for n in shape:
        count *= n
    return count


class Unfinished:
    """A numpy array (`dtype` None) or dtype whose state comes next; `notes` are those under which it was noted."""

    __slots__ = ("dtype", "notes")

    def __init__(self, dtype: Any = None) -> None:
        self.dtype = dtype
        self.notes: list[int] = []


def keys(values: list[Any]) -> list[Any]:
    """The same values, if each may be a key: single, so that hashing it takes no time that a file could choose."""
    for value in values:
        if not (value is None or type(value) in SINGLE or isinstance(value, np.generic)):
            raise ValueError(f"a key or member that is a {type(value).__name__}")
    return values


def dictionary(found: list[Any]) -> dict[Any, Any]:
    """Of keys and values in turn."""
    if len(found) % 2:
        raise ValueError("a key without its value")
    return dict(zip(keys(found[::2]), found[1::2], strict=True))


def _dtype(code: Any, *_: Any) -> Unfinished:
    if not isinstance(code, str) or len(code) > 16:
        raise ValueError("a dtype that is not named by a short string")
    return Unfinished(np.dtype(code))


def with_order(dtype: Any, order: Any) -> Any:
    if order not in ("<", ">", "|", "="):
        raise ValueError("a byte order that is none")
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _reconstruct(*_: Any) -> Unfinished:
    return Unfinished()


def with_state(_: Any, shape: Any, dtype: Any, fortran: Any, raw: Any) -> Array:
    if not isinstance(dtype, np.dtype):
        raise ValueError("an array without its dtype")
    if dtype.kind != "O":
        return array_of(_raw(raw), dtype, shape, fortran=bool(fortran))
    if type(raw) is not list or len(raw) != _count(shape):
        raise ValueError("objects that do not fill their shape")
    filled: Array = np.empty(len(raw), dtype=object)
    for k, value in enumerate(raw):
        filled[k] = value
    return np.asarray(filled.reshape(shape, order="F" if fortran else "C"))


def _scalar(dtype: Any, raw: Any) -> Any:
    if not isinstance(dtype, np.dtype):
        raise ValueError("a number without its dtype")
    return array_of(_raw(raw), dtype, ())[()]


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> Array:
    if not isinstance(dtype, np.dtype):
        raise ValueError("an array without its dtype")
    return array_of(_raw(raw), dtype, shape, fortran=order == "F")


def _raw(value: Any) -> bytes:
    """Bytes; Python 2 and protocol 0 write them as text."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, (bytes, bytearray)):
        raise ValueError("an array without its bytes")
    return bytes(value)


def _encode(text: Any, codec: Any) -> bytes:
    """How protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or codec != "latin1":
        raise ValueError("bytes in an unknown encoding")
    return text.encode("latin1")


def _bytes(*arguments: Any) -> bytes:
    if arguments:
        raise ValueError("bytes made of something")
    return b""


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return dictionary([part for key, value in _listed(pairs) for part in (key, value)])


def _set(members: Any = ()) -> set[Any]:
    return set(keys(_listed(members)))


def _frozenset(members: Any = ()) -> frozenset[Any]:
    return frozenset(keys(_listed(members)))


def _listed(value: Any) -> list[Any]:
    if type(value) not in (list, tuple):
        raise ValueError(f"a set or dictionary made of a {type(value).__name__}")
    return list(value)


def _class(*_: Any) -> Any:
    raise ValueError("an array made without its state")


CALLS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "reconstruct": _reconstruct,
        "scalar": _scalar,
        "from_buffer": _from_buffer,
        "ndarray": _class,
        "dtype": _dtype,
        "encode": _encode,
        "bytes": _bytes,
        "ordered": _ordered,
        "set": _set,
        "frozenset": _frozenset,
    }
)
NAMES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
        **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
        **{(f"numpy.{core}.numeric", "_frombuffer"): "from_buffer" for core in ("core", "_core")},
        ("numpy", "ndarray"): "ndarray",
        ("numpy", "dtype"): "dtype",
        ("_codecs", "encode"): "encode",
        ("collections", "OrderedDict"): "ordered",
        **{(builtins, "bytes"): "bytes" for builtins in ("builtins", "__builtin__")},
        **{(builtins, "set"): "set" for builtins in ("builtins", "__builtin__")},
        **{(builtins, "frozenset"): "frozenset" for builtins in ("builtins", "__builtin__")},
    }
)
