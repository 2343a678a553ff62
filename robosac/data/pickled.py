"""Pickles of plain values, read by a machine of our own: nothing of `pickle` runs, so nothing in a file can.

The standard library only takes a pickle apart (`pickletools.genops`, which builds nothing); what its instructions
make is made here: numbers, strings, bytes, lists, tuples, sets, dictionaries, and numpy arrays of these. All else is
refused, and so are
- keys and members that are no single numbers or strings: hashing a tuple of tuples that share their parts takes longer
  than anybody waits, from a file of a hundred bytes, and equal hashes are easily found for the rest;
- values that hold themselves, or the same part so often that one who walks through them would never come to an end;
- calls that make far more than the file holds.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from robosac.types import Array

OPERATIONS_LIMIT: Final = 20_000_000
ROOM_LIMIT: Final = 512 << 20  # bytes of containers, without what they hold
VALUES_LIMIT: Final = 50_000_000  # to one who walks through what was read, those that are shared counted again
DEPTH_LIMIT: Final = 100
_MARKS_LIMIT: Final = 1000  # lists begun and not ended
_INTEGER_BITS: Final = 64
_ROOM: Final = 64  # bytes of a small list or tuple
_TABLE_ROOM: Final = 256  # of a small dictionary or set
_MADE_PER_BYTE: Final = 16  # bytes that calls may make of one of the file


def unpickled(data: bytes) -> Any:
    """The plain value of a pickle.

    Raises:
        ValueError, TypeError, LookupError: if it is broken, or holds or does anything else.
    """
    machine = _Machine(_MADE_PER_BYTE * len(data) + (1 << 20))
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        step = _STEPS.get(opcode.name)
        if step is None or count > OPERATIONS_LIMIT:
            raise ValueError(f"pickles with {opcode.name} at operation {count} are not read")
        step(machine, argument)
    value = machine.stack.pop()
    if machine.stack or machine.marks:
        raise ValueError("more than one value")
    _check_walk(value)
    return value


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
        raise ValueError(f"{shape!r:.80} is no shape")
    count = 1
    for n in shape:
        count *= n
    return count


# --------------------------------------------------------------------------------------------------------- the machine
class _Named:
    """A function or class that a pickle names, known by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class _Unfinished:
    """A numpy array (`dtype` None) or dtype whose state comes next; `notes` are those under which it was noted."""

    __slots__ = ("dtype", "notes")

    def __init__(self, dtype: Any = None) -> None:
        self.dtype = dtype
        self.notes: list[int] = []


class _Machine:
    """The stack of values, the places in it where lists begin, and the notes."""

    def __init__(self, allowance: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.notes: dict[int, Any] = {}
        self.allowance = allowance  # bytes that calls may still make
        self.room = ROOM_LIMIT

    # ---- values, notes
    def push(self, value: Any) -> None:
        self.stack.append(value)

    def integer(self, value: int) -> None:
        if value.bit_length() > _INTEGER_BITS:
            raise ValueError(f"an integer of more than {_INTEGER_BITS} bits")
        self.stack.append(value)

    def note(self, at: Any) -> None:
        value = self.stack[-1]
        at = len(self.notes) if at is None else at
        if type(value) is _Unfinished:
            value.notes.append(at)
        self.notes[at] = value

    def noted(self, at: Any) -> None:
        value = self.notes[at]
        if type(value) is _Unfinished:  # else it could be taken for the finished one
            raise ValueError("an array is used before it is made")
        self.stack.append(value)

    # ---- containers
    def mark(self, _: Any) -> None:
        if len(self.marks) >= _MARKS_LIMIT:
            raise ValueError(f"nested deeper than {_MARKS_LIMIT}")
        self.marks.append(len(self.stack))

    def since_mark(self) -> list[Any]:
        at = self.marks.pop()
        if at > len(self.stack):
            raise ValueError("a list ends before it begins")
        found = self.stack[at:]
        del self.stack[at:]
        return found

    def pop(self, _: Any) -> None:
        self.stack.pop()

    def pop_mark(self, _: Any) -> None:
        self.since_mark()

    def container(self, value: Any) -> None:
        self.room -= _TABLE_ROOM if isinstance(value, (dict, set, frozenset)) else _ROOM
        if self.room < 0:
            raise ValueError("more lists and dictionaries than fit into memory")
        self.stack.append(value)

    def tuple_of(self, length: int) -> None:
        if length > len(self.stack):
            raise ValueError("a tuple of more than there is")
        at = len(self.stack) - length
        found = tuple(self.stack[at:])
        del self.stack[at:]
        self.container(found)

    def append(self, _: Any) -> None:
        value = self.stack.pop()
        self.top(list).append(value)

    def appends(self, _: Any) -> None:
        found = self.since_mark()
        self.top(list).extend(found)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.top(dict).update(_dictionary([key, value]))

    def set_items(self, _: Any) -> None:
        found = self.since_mark()
        self.top(dict).update(_dictionary(found))

    def add_items(self, _: Any) -> None:
        found = self.since_mark()
        self.top(set).update(_keys(found))

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if type(value) is not kind:
            raise ValueError(f"something is put into a {type(value).__name__} as if it were a {kind.__name__}")
        return value

    # ---- calls
    def named(self, module: Any, name: Any) -> None:
        kind = _NAMES.get((module, name))
        if kind is None:
            raise ValueError(f"{module!s:.40}.{name!s:.40} is refused")
        self.stack.append(_Named(kind))

    def stack_named(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("a name that is no string")
        self.named(module, name)

    def call(self, _: Any) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Named or type(arguments) is not tuple:
            raise ValueError("a call of something that is no function, or without arguments")
        self.spend(*arguments)
        self.container(_CALLS[function.name](*arguments))

    def build(self, _: Any) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if type(value) is not _Unfinished or type(state) is not tuple:
            raise ValueError("something that is no array is given a state")
        self.spend(*state)
        made = _with_state(*state) if value.dtype is None else _with_order(value.dtype, state[1])
        self.stack[-1] = made
        for at in value.notes:
            if self.notes.get(at) is value:
                self.notes[at] = made

    def spend(self, *arguments: Any) -> None:
        for a in arguments:
            if isinstance(a, (str, bytes, bytearray)):
                self.allowance -= len(a)
            elif isinstance(a, (list, tuple, set, dict)):
                self.allowance -= 8 * len(a)
        if self.allowance < 0:
            raise ValueError("calls make far more than the file holds")


def _keys(values: list[Any]) -> list[Any]:
    for value in values:
        if not (value is None or type(value) in _SINGLE or isinstance(value, np.generic)):
            raise ValueError(f"a key or member that is a {type(value).__name__}")
    return values


def _dictionary(found: list[Any]) -> dict[Any, Any]:
    if len(found) % 2:
        raise ValueError("a key without its value")
    return dict(zip(_keys(found[::2]), found[1::2], strict=True))


# ------------------------------------------------------------------------------------- the calls of plain pickles
def _dtype(code: Any, *_: Any) -> _Unfinished:
    if not isinstance(code, str) or len(code) > 16:
        raise ValueError("a dtype that is not named by a short string")
    return _Unfinished(np.dtype(code))


def _with_order(dtype: Any, order: Any) -> Any:
    if order not in ("<", ">", "|", "="):
        raise ValueError(f"byte order {order!r:.20}")
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _reconstruct(*_: Any) -> _Unfinished:
    return _Unfinished()


def _with_state(_: Any, shape: Any, dtype: Any, fortran: Any, raw: Any) -> Array:
    if not isinstance(dtype, np.dtype):
        raise ValueError("an array without its dtype")
    if dtype.kind != "O":
        return array_of(_raw(raw), dtype, shape, fortran=bool(fortran))
    if type(raw) is not list or len(raw) != _count(shape):
        raise ValueError(f"objects that do not fill the shape {shape!r:.80}")
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
    return _dictionary([part for key, value in pairs for part in (key, value)])


def _set(members: Any = ()) -> set[Any]:
    return set(_keys(list(members)))


def _frozenset(members: Any = ()) -> frozenset[Any]:
    return frozenset(_keys(list(members)))


def _class(*_: Any) -> Any:
    raise ValueError("an array made without its state")


_CALLS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
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
_NAMES: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
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

# ------------------------------------------------------------------------------------------------ the instructions
_SINGLE: Final = frozenset({str, bytes, int, float, bool})


def _names(machine: _Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.named(module, name)


def _same(names: str, step: Callable[[_Machine, Any], None]) -> dict[str, Callable[[_Machine, Any], None]]:
    return dict.fromkeys(names.split(), step)


# protocols 0 to 5 but for instances of classes, extensions, persistent ids and memory from outside of the file
_STEPS: Final[Mapping[str, Callable[[_Machine, Any], None]]] = MappingProxyType(
    {
        **_same("PROTO FRAME STOP", lambda m, a: None),
        **_same("INT BININT BININT1 BININT2 LONG LONG1 LONG4", _Machine.integer),
        **_same("FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE", _Machine.push),
        **_same("BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8", _Machine.push),
        "NONE": lambda m, a: m.push(None),
        "NEWTRUE": lambda m, a: m.push(True),
        "NEWFALSE": lambda m, a: m.push(False),
        **_same("PUT BINPUT LONG_BINPUT MEMOIZE", _Machine.note),
        **_same("GET BINGET LONG_BINGET", _Machine.noted),
        "MARK": _Machine.mark,
        "POP": _Machine.pop,
        "POP_MARK": _Machine.pop_mark,
        "EMPTY_LIST": lambda m, a: m.container([]),
        "EMPTY_DICT": lambda m, a: m.container({}),
        "EMPTY_SET": lambda m, a: m.container(set()),
        "EMPTY_TUPLE": lambda m, a: m.container(()),
        "TUPLE1": lambda m, a: m.tuple_of(1),
        "TUPLE2": lambda m, a: m.tuple_of(2),
        "TUPLE3": lambda m, a: m.tuple_of(3),
        "TUPLE": lambda m, a: m.container(tuple(m.since_mark())),
        "LIST": lambda m, a: m.container(m.since_mark()),
        "DICT": lambda m, a: m.container(_dictionary(m.since_mark())),
        "FROZENSET": lambda m, a: m.container(frozenset(_keys(m.since_mark()))),
        "APPEND": _Machine.append,
        "APPENDS": _Machine.appends,
        "SETITEM": _Machine.set_item,
        "SETITEMS": _Machine.set_items,
        "ADDITEMS": _Machine.add_items,
        "GLOBAL": _names,
        "STACK_GLOBAL": _Machine.stack_named,
        "REDUCE": _Machine.call,
        "BUILD": _Machine.build,
    }
)


# ------------------------------------------------------------------------------------------------ what came of it
def _check_walk(value: Any) -> None:
    """Whether all of it is plain, and how far one who walks through it would go, and how deep; linear in the file."""
    _walk(value, 0, {})


def _walk(value: Any, depth: int, done: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Values and levels below and with `value`."""
    if type(value) in _SINGLE or value is None or isinstance(value, (bytearray, np.generic, np.dtype)):
        return 1, 0
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}")
    if id(value) not in done:
        count, levels = 1, 0
        for part in _parts(value):
            if type(part) in _SINGLE:
                count += 1
                continue
            below, further = _walk(part, depth + 1, done)
            count, levels = count + below, max(levels, further + 1)
        if count > VALUES_LIMIT:
            raise ValueError(f"more than {VALUES_LIMIT} values to walk through")
        done[id(value)] = count, levels
    count, levels = done[id(value)]
    if depth + levels > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}")
    return count, levels


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return value.ravel().tolist() if value.dtype == object else ()
    if isinstance(value, dict):
        return value.values()  # keys are single
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, (set, frozenset)):
        return ()  # members are single
    what = "an array without its content" if isinstance(value, _Unfinished) else "a function or class"
    raise ValueError(f"{what} is no plain value")
