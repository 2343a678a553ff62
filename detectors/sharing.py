"""Several defences on one frame: the ego is encoded and messages are brought to its frame once for all of them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar, cast

from robosac.detectors.session import SubsetSession
from robosac.types import Detector, Message, Request, View

KEPT: Final = 16  # sessions of a frame: messages as they came, and some whose poses a defence mended
S = TypeVar("S", bound=SubsetSession)
Self = TypeVar("Self", bound="Shareable")  # type: ignore[type-arg]


class OneFrame(Generic[S]):
    """The sessions that were opened on the last frame. The same objects stand for the same content: nobody writes into
    a view, a request or a message.
    """

    def __init__(self) -> None:
        self._of: tuple[View, Request] | None = None
        self._kept: OrderedDict[tuple[int, ...], tuple[S, tuple[Message, ...]]] = OrderedDict()

    def session(self, ego: View, to: Request, messages: Sequence[Message], make: Callable[[], S]) -> S:
        """A session of its own for who asks, made from one that another opened on the same messages where there is
        one, else from what `make` opens.
        """
        if self._of is None or self._of[0] is not ego or self._of[1] is not to:
            self._of = ego, to
            self._kept.clear()
        key = tuple(map(id, messages))
        if key not in self._kept:
            self._kept[key] = make(), tuple(messages)  # messages are kept, so that their ids stay theirs
            if len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key][0].again()


class Shareable(Generic[S]):
    """A detector whose sessions can be shared: its `open` goes through `_session`."""

    _last: OneFrame[S] | None = None

    def shared(self: Self) -> Self:
        """See the function of this name."""
        made = copy.copy(self)
        made._last = OneFrame()
        return made

    def _session(self, ego: View, to: Request, messages: Sequence[Message], make: Callable[[], S]) -> S:
        return make() if self._last is None else self._last.session(ego, to, messages, make)


def shared(detector: Detector) -> Detector:
    """The detector, for several defences on one frame: same results, bit by bit, in less time all together. So what
    one defence takes can no longer be timed. What is not `Shareable` comes back as it is.
    """
    return cast(Detector, detector.shared()) if isinstance(detector, Shareable) else detector
