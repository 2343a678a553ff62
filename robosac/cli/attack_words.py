"""What attackers sent, in words: how it differs from what they honestly would have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from robosac.types import Id, Message, Subset


def said_by(honest: Message, sent: Sequence[Message], past: Mapping[int, Message] = MappingProxyType({})) -> str:
    """How what one attacker sent differs from its honest message.

    `past` are its honest messages of earlier frames, so that a stale one is named as such.
    """
    if not sent:
        return "sent nothing"
    own = [m for m in sent if m.sender == honest.sender]
    invented = [m for m in sent if m.sender != honest.sender]
    parts = []
    if own:
        parts.append(_stale(honest, own[0], past) or differs(honest, own[0]) or "honest")
    if len(own) > 1:
        parts.append(f"{len(own)} times over")
    if invented:
        alike = differs(honest, replace(invented[0], sender=honest.sender)) or "the same message"
        parts.append(f"and {len(invented)} invented senders, the first with {alike}")
    return " ".join(parts)


def _stale(honest: Message, sent: Message, past: Mapping[int, Message]) -> str:
    for index, old in past.items():
        if not differs(replace(old, sensed_ns=honest.sensed_ns, world_T_payload=honest.world_T_payload), honest):
            continue  # nothing has moved since: it is as much of now as of then
        if not differs(replace(old, sensed_ns=sent.sensed_ns, world_T_payload=sent.world_T_payload), sent):
            rest = differs(replace(honest, payload=sent.payload), sent)
            return f"the payload of frame {index}" + (f", {rest}" if rest else "")
    return ""


def differs(honest: Message, sent: Message) -> str:
    """What differs, in words; nothing where nothing does."""
    found = []
    a, b = np.asarray(honest.world_T_payload, np.float64), np.asarray(sent.world_T_payload, np.float64)
    if not np.array_equal(a, b) and a.shape == b.shape:
        turn = a[:3, :3].T @ b[:3, :3]
        degrees = math.degrees(math.acos(float(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
        found.append(f"a pose {np.linalg.norm(b[:3, 3] - a[:3, 3]):.2f} m and {degrees:.1f} degrees off")
    if sent.sensed_ns != honest.sensed_ns:
        found.append(f"sensed {(honest.sensed_ns - sent.sensed_ns) / 1e6:.0f} ms earlier")
    for name, array in sent.payload.items():
        was, now = np.asarray(honest.payload.get(name, ())), np.asarray(array)
        if was.shape != now.shape:
            found.append(f"{len(now)} {name} instead of {len(was)}")
        elif was.tobytes() != now.tobytes():
            with np.errstate(all="ignore"):
                moved = np.abs(now.astype(np.float64) - was.astype(np.float64))
            finite = moved[np.isfinite(moved)]
            most = f"by at most {finite.max():.3g}" if len(finite) == moved.size else "some to NaN or inf"
            found.append(f"{(moved > 0).mean() if len(finite) == moved.size else 1:.0%} of {name} moved {most}")
    if sent.sender != honest.sender:
        found.append(f"in the name of {sent.sender}")
    return ", ".join(found)


def acts(honest: Mapping[Id, Message], sent: Sequence[Message], present: Subset) -> bool:
    """Whether the attackers in a frame sent anything but what they honestly would."""
    if {m.sender for m in sent} != set(present) or len(sent) != len(present):
        return True
    return any(differs(honest[m.sender], m) for m in sent)


def wrapped(said: Sequence[str], width: int = 190) -> list[str]:
    """Lines of a footnote, each at most `width` characters, a statement never cut unless it is longer itself."""
    lines: list[str] = []
    for text in said:
        text = text if len(text) <= width else f"{text[: width - 3]}..."
        if lines and len(lines[-1]) + len(text) + 3 <= width:
            lines[-1] += f" · {text}"
        else:
            lines.append(text)
    return lines[:4]
