"""How messages differ: what was sent, held against what would honestly have been sent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from robosac.air import attacker_of
from robosac.types import Array, Id, Message


def by_attacker(who: Id, messages: Iterable[Message]) -> list[Message]:
    """What one attacker sent, under its own name and under invented ones."""
    return [m for m in messages if attacker_of(m.sender) == who]


def same_array(a: Any, b: Any) -> bool:
    """Bit-identical: shape, dtype and every byte, so that -0.0 is not 0.0 and a NaN is itself."""
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def same_but(honest: Message, sent: Message, *allowed: str) -> bool:
    """Whether two messages are bit-identical but for the fields and payload arrays named in `allowed`."""
    fields = [f.name for f in dataclasses.fields(Message) if f.name not in ("payload", "world_T_payload", *allowed)]
    if any(getattr(honest, name) != getattr(sent, name) for name in fields):
        return False
    if "world_T_payload" not in allowed and not same_array(honest.world_T_payload, sent.world_T_payload):
        return False
    if "payload" in allowed:
        return True
    if set(honest.payload) != set(sent.payload):
        return False
    return all(n in allowed or same_array(honest.payload[n], sent.payload[n]) for n in honest.payload)


def floats(message: Message) -> list[str]:
    """Names of the float arrays of a payload: what can be perturbed. Indices and masks stay as they are."""
    return [n for n, a in message.payload.items() if np.issubdtype(np.asarray(a).dtype, np.floating)]


def pairs(honest: Message, sent: Sequence[Message], names: Sequence[str]) -> list[tuple[Array, Array]] | None:
    """The arrays `names` of both; None where anything else differs, a shape or dtype does, or not one was sent."""
    if len(sent) != 1 or not same_but(honest, sent[0], *names):
        return None
    both = [(np.asarray(honest.payload[n]), np.asarray(sent[0].payload[n])) for n in names]
    return both if all(a.shape == b.shape and a.dtype == b.dtype for a, b in both) else None


def difference(honest: Message, sent: Sequence[Message]) -> list[Array] | None:
    """Sent minus honest in float64, a float array each; None where it is not one message that differs there alone."""
    both = pairs(honest, sent, floats(honest))
    return None if both is None else [b.astype(np.float64) - a.astype(np.float64) for a, b in both]


def linf_size(honest: Message, sent: Sequence[Message]) -> float:
    """Largest change of a feature; `inf` where it is not one message whose float arrays alone differ."""
    moved = difference(honest, sent)
    return math.inf if moved is None else max((float(np.abs(d).max(initial=0.0)) for d in moved), default=0.0)
