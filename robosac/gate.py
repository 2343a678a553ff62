"""What may enter at all: finite, shaped, fresh, from a plausible place, one message a link.

A bad message is never an error. It is left out, the reason is reported under the link it came in on, and the ego goes
on with the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import TypeVar

import numpy as np

from robosac.types import Codec, Id, Message, Received, Request

_MS = 1_000_000
T = TypeVar("T")


@dataclass(frozen=True)
class Inbox:
    """The messages that passed, in order of their link, and why the others did not."""

    messages: tuple[Message, ...]
    rejected: dict[Id, str]

    @property
    def nobody(self) -> str | None:
        """Why there is nobody to fuse with, in words; None where there is somebody."""
        if self.messages:
            return None
        return "no teammate's message passed the gate" if self.rejected else "no teammate in range"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limits on a message.

    Attributes:
        max_age_ms: between sensing (as claimed) and the ego's frame, and between the ego's frame and arrival.
        max_ahead_ms: how far a sender's clock may run ahead.
        max_distance_m: between the payload's claimed origin and the ego's measured position.
        max_tilt_deg: of the claimed frame's z axis against the world's.
        max_messages: links beyond this many are refused.
    """

    max_age_ms: float = 250.0
    max_ahead_ms: float = 20.0
    max_distance_m: float = 150.0
    max_tilt_deg: float = 45.0
    max_messages: int = 64

    def admit(self, to: Request, codec: Codec, inbox: Sequence[Received]) -> Inbox:
        """Sort the inbox of one frame into what may enter and what not, with a reason for each link refused.

        Of the messages that pass, the claimed sender is the link that they came in on.
        """
        by_link: dict[Id, list[Received]] = {}
        rejected: dict[Id, str] = {}
        for position, received in enumerate(inbox):
            link = getattr(received, "link", None)
            if isinstance(received, Received) and isinstance(link, str):
                by_link.setdefault(link, []).append(received)
            else:
                rejected[f"inbox[{position}]"] = f"not a received message ({type(received).__name__})"
        passed: list[Message] = []
        most = self.max_messages if codec.max_messages is None else min(self.max_messages, codec.max_messages)
        for link in sorted(by_link):
            group = by_link[link]
            if len(group) > 1:
                rejected[link] = f"{len(group)} messages on one link in one frame"
                continue
            one = _as_usual(group[0])
            why = self.refusal(to, codec, one)
            if why is None and len(passed) >= most:
                why = f"more than {most} teammates"
            if why is None:
                passed.append(one.message)
            else:
                rejected[link] = why
        return Inbox(tuple(passed), rejected)

    def refusal(self, to: Request, codec: Codec, received: Received) -> str | None:
        """Why one message may not enter; None where it may. Never raises, whatever the message holds."""
        try:
            return self._refusal(to, codec, received)
        except Exception as error:  # untrusted objects can fail in any way; the ego goes on
            return f"malformed message ({type(error).__name__})"

    def _refusal(self, to: Request, codec: Codec, received: Received) -> str | None:
        m = received.message
        for what, of in ((m, Message), (m.sensed_ns, Real)):  # whatever is on the air need not be what it is said to be
            if not isinstance(what, of):
                return f"malformed message ({type(what).__name__} in place of {of.__name__})"
        if received.link == to.ego:
            return "claims the ego's own link"
        if m.sender != received.link:
            return f"claims to be {m.sender!r}"
        if m.to != to.ego:
            return f"addressed to {m.to!r}"
        if m.codec != codec.name:
            return f"codec {m.codec!r}, expected {codec.name!r}"
        age_ms = (to.t_ns - m.sensed_ns) / _MS
        if not -self.max_ahead_ms <= age_ms <= self.max_age_ms:
            return f"sensed {age_ms:.0f} ms ago, allowed {-self.max_ahead_ms:.0f} to {self.max_age_ms:.0f}"
        late_ms = (received.received_ns - to.t_ns) / _MS
        if late_ms > self.max_age_ms:
            return f"came {late_ms:.0f} ms late, allowed {self.max_age_ms:.0f}"
        return self._pose_refusal(to, m) or _payload_refusal(codec, m)

    def _pose_refusal(self, to: Request, m: Message) -> str | None:
        if np.iscomplexobj(m.world_T_payload):
            return "pose is not real"
        pose = np.asarray(m.world_T_payload, dtype=np.float64)
        if pose.shape != (4, 4) or not np.isfinite(pose).all():
            return "pose is not a finite (4, 4) matrix"
        rotation = pose[:3, :3]
        rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
        if not (rigid and np.allclose(pose[3], [0, 0, 0, 1])):
            return "pose is not rigid"
        if pose[2, 2] < np.cos(np.radians(self.max_tilt_deg)):
            return f"pose is tilted by more than {self.max_tilt_deg:.0f} degrees"
        distance = float(np.linalg.norm(pose[:3, 3] - to.world_T_ego[:3, 3]))
        if distance > self.max_distance_m:
            return f"claims to be {distance:.0f} m away, allowed {self.max_distance_m:.0f}"
        return None


def for_clocks(defense: T, ahead_ms: float | None) -> T:
    """A defence whose gate bears clocks that run so far ahead (`Frame.clocks_ahead_ms`); itself where it does already,
    or has no gate of its own.
    """
    gate = getattr(defense, "gate", None)
    if ahead_ms is None or not isinstance(gate, Gate) or ahead_ms <= gate.max_ahead_ms:
        return defense
    other: T = replace(defense, gate=replace(gate, max_ahead_ms=ahead_ms))  # type: ignore[type-var]
    return other


def _as_usual(received: Received) -> Received:
    """The same with the claimed pose as an array of its own, float64: what was checked is what goes on.

    Anything that numpy can make numbers of passes for a pose; what comes after the gate may count on an array. What
    can be none is left to be refused.
    """
    m = received.message
    try:
        if type(m.world_T_payload) is np.ndarray and m.world_T_payload.dtype == np.float64:
            return received
        if np.iscomplexobj(m.world_T_payload):
            return received
        return replace(received, message=replace(m, world_T_payload=np.array(m.world_T_payload, np.float64)))
    except Exception:  # untrusted objects can fail in any way
        return received


def _payload_refusal(codec: Codec, m: Message) -> str | None:
    if set(m.payload) != set(codec.arrays):
        return f"payload holds {sorted(map(str, m.payload))}, expected {sorted(codec.arrays)}"
    lengths: dict[str, int] = {}
    for name, (shape, dtype, low, high) in codec.arrays.items():
        array = m.payload[name]
        if type(array) is not np.ndarray or str(array.dtype) != dtype:  # no masked arrays and other subclasses
            return f"{name} is not an array of {dtype}"
        if not _fits(array.shape, shape, lengths):
            return f"{name} has shape {array.shape}, expected {shape}" + (f" with {lengths}" if lengths else "")
        if array.size and not (np.isfinite(array).all() and array.min() >= low and array.max() <= high):
            return f"{name} holds values outside [{low:g}, {high:g}] or not finite"
    long = {dim: n for dim, n in lengths.items() if n > codec.longest.get(dim, n)}
    if long:
        return f"payload is longer than {dict(codec.longest)}, got {long}"
    return None


def _fits(got: tuple[int, ...], wanted: tuple[int | str | None, ...], lengths: dict[str, int]) -> bool:
    """Whether a shape is the wanted one; lengths of named dimensions are noted where first seen and must then agree."""
    return len(got) == len(wanted) and all(
        w is None or n == (lengths.setdefault(w, n) if isinstance(w, str) else w)
        for n, w in zip(got, wanted, strict=True)
    )
