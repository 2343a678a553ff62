"""How far the work on an item is, for whoever waits for it: written where the work is done, read by a bar elsewhere.

One frame may take minutes. So work says which part of it comes (`part`, `parts`), and detectors that may be slow say
each call of their model (`call`). Nothing is sent: a `Board` is memory that a worker process writes to and the process
of the bar reads when it draws, so that nobody waits for anybody. Without a board all of this does nothing.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")
_TEXT: Final = 96  # bytes of what is being done
_OF_THE_REST: Final = 0.1  # how much of what is left of a part a call is taken for, where nobody knows how many come


class Board:
    """The share of each item that is done, and what is being done; `context`: memory for its processes, too."""

    def __init__(self, items: int, context: Any = None) -> None:
        if context is None:
            self.shares, self.text = array("d", bytes(8 * items)), bytearray(_TEXT)
        else:
            self.shares, self.text = context.RawArray("d", items), context.RawArray("c", _TEXT)

    def __len__(self) -> int:
        return len(self.shares)


@dataclass
class _Span:
    """A part of an item: from where to where, and the calls of a model that it is known to have, and had."""

    low: float
    high: float
    calls: int | None
    had: int = 0


@dataclass
class _Item:
    """The item that this process works on."""

    board: Board
    position: int
    spans: list[_Span] = field(default_factory=lambda: [_Span(0.0, 1.0, None)])
    doing: str = ""
    calls: int = 0
    since: float = 0.0

    def at(self, share: float, text: str) -> None:
        self.board.shares[self.position] = max(share, self.board.shares[self.position])
        held = text.encode("ascii", "replace")[: _TEXT - 1]
        self.board.text[:] = held + bytes(_TEXT - len(held))


_item: _Item | None = None
_read: Board | None = None


# ------------------------------------------------------------------------------------------------ where work is done
@contextmanager
def item(board: Board | None, position: int) -> Iterator[None]:
    """While inside, this process works on an item of a board."""
    global _item
    before, _item = _item, None if board is None else _Item(board, position)
    try:
        yield
    finally:
        _item = before


def units(count: float) -> None:
    """The item counts for so many of what the bar counts, and not for one; said before its first part."""
    if _item is not None:
        _item.spans[0].high = count


@contextmanager
def part(k: int, of: int, doing: str = "", *, size: int = 1, calls: int | None = None) -> Iterator[None]:
    """While inside, parts k to k + `size` of equal parts of what is around are done, in so many `calls` of a model."""
    here = _item
    if here is None:
        yield
        return
    around, said = here.spans[-1], here.doing
    width = (around.high - around.low) / max(of, 1)
    here.spans.append(_Span(around.low + k * width, around.low + (k + size) * width, calls))
    here.doing = doing or said
    here.at(here.spans[-1].low, here.doing)
    try:
        yield
    finally:
        here.at(here.spans.pop().high, here.doing)
        here.doing = said


def parts(made: Iterable[T], of: int, doing: str = "") -> Iterator[T]:
    """What is made, each in its part of `of` equal ones."""
    rest, k, nothing = iter(made), 0, object()
    while True:
        with part(min(k, max(of - 1, 0)), of, doing):
            found: Any = next(rest, nothing)
        if found is nothing:
            return
        yield found
        k += 1


def call(what: str) -> None:
    """A model is about to be called for something."""
    here = _item
    if here is None:
        return
    now = time.monotonic()
    if here.calls == 0:
        here.since = now
    took = f", {(now - here.since) / here.calls:.1f} s each" if here.calls else ""
    here.calls += 1
    span = here.spans[-1]
    done = 1 - (1 - _OF_THE_REST) ** span.had if span.calls is None else min(1.0, span.had / max(span.calls, 1))
    span.had += 1
    about = f"{here.doing}: " if here.doing else ""
    here.at(span.low + done * (span.high - span.low), f"{about}{what} (call {here.calls} of the model{took})")


# ------------------------------------------------------------------------------------------------- where it is read
@contextmanager
def read(board: Board) -> Iterator[None]:
    """While inside, `seen` looks at a board."""
    global _read
    before, _read = _read, board
    try:
        yield
    finally:
        _read = before


@contextmanager
def alone(doing: str = "") -> Iterator[None]:
    """While inside, this process works on one item, and `seen` tells how far it is."""
    board = Board(1)
    with read(board), item(board, 0), part(0, 1, doing):
        yield


def seen() -> tuple[float, str]:
    """How much of the items that are being worked on is done, all together, and what was being done last."""
    board = _read
    if board is None:
        return 0.0, ""
    return sum(board.shares), bytes(board.text).split(b"\0", 1)[0].decode("ascii", "replace")
