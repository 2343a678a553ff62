"""Pickles of plain values, read by a stack machine of our own: nothing of `pickle` runs, so nothing in a file can.

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
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from robosac.data.pickled_calls import CALLS, NAMES, SINGLE, Unfinished, dictionary, keys, with_order, with_state

OPERATIONS_LIMIT: Final = 20_000_000
ROOM_LIMIT: Final = 512 << 20  # bytes of containers, without what they hold
_VALUES_PER_BYTE: Final = 4  # to one who walks through what was read, those that are shared counted again
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
    _walk(value, 0, {}, _VALUES_PER_BYTE * len(data) + 100_000)
    return value


# --------------------------------------------------------------------------------------------------------- the machine
class _Named:
    """A function or class that a pickle names, known by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


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
        if type(value) is Unfinished:
            value.notes.append(at)
        self.notes[at] = value

    def noted(self, at: Any) -> None:
        self.stack.append(self.notes[at])

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
        self.top(dict).update(dictionary([key, value]))

    def set_items(self, _: Any) -> None:
        found = self.since_mark()
        self.top(dict).update(dictionary(found))

    def add_items(self, _: Any) -> None:
        found = self.since_mark()
        self.top(set).update(keys(found))

    def top(self, kind: type) -> Any:
        value = self.stack[-1]
        if type(value) is not kind:
            raise ValueError(f"something is put into a {type(value).__name__} as if it were a {kind.__name__}")
        return value

    # ---- calls
    def named(self, module: Any, name: Any) -> None:
        kind = NAMES.get((module, name))
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
        self.container(CALLS[function.name](*arguments))

    def build(self, _: Any) -> None:
        state, value = self.stack.pop(), self.stack[-1]
        if type(value) is not Unfinished or type(state) is not tuple:
            raise ValueError("something that is no array is given a state")
        self.spend(*state)
        made = with_state(*state) if value.dtype is None else with_order(value.dtype, state[1])
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


# ------------------------------------------------------------------------------------------------ the instructions
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
        "DICT": lambda m, a: m.container(dictionary(m.since_mark())),
        "FROZENSET": lambda m, a: m.container(frozenset(keys(m.since_mark()))),
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


# ------------------------------------------------------------------------------------------- the value that was read
def _walk(value: Any, depth: int, done: dict[int, tuple[int, int]], most: int) -> tuple[int, int]:
    """How many values, and how deep, one who walks through `value` would find; its own time is linear in the file.

    Raises:
        ValueError: if it is more than `most`, too deep, or not all of it plain.
    """
    if type(value) in SINGLE or value is None or isinstance(value, (bytearray, np.generic, np.dtype)):
        return 1, 0
    if depth > DEPTH_LIMIT:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}")
    if id(value) not in done:
        count, levels = 1, 0
        for part in _parts(value):
            if type(part) in SINGLE:
                count += 1
                continue
            below, further = _walk(part, depth + 1, done, most)
            count, levels = count + below, max(levels, further + 1)
        if count > most:
            raise ValueError(f"more than {most} values to walk through")
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
    what = "an array without its content" if isinstance(value, Unfinished) else "a function or class"
    raise ValueError(f"{what} is no plain value")
