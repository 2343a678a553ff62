"""What every detector asks of messages before it opens a session, read off its codec.

A defended frame never fails here: the gate leaves out what does not fit and reports why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from robosac.boxes import invert_pose
from robosac.capabilities import Claim
from robosac.types import Array, Codec, Id, InputError, Message, Request, Subset


def by_sender(ego: Id, codec: Codec, messages: Sequence[Message]) -> dict[Id, Message]:
    """Checked messages by their sender, in the order of names.

    Raises:
        InputError: one does not fit the codec, two come from one sender, one from the ego, or there are too many.
    """
    check_names(ego, [m.sender for m in messages])
    if codec.max_messages is not None and len(messages) > codec.max_messages:
        raise InputError(f"expected at most {codec.max_messages} messages, got {len(messages)}; raise max_messages")
    return {m.sender: replace(m, payload=checked(codec, m)) for m in sorted(messages, key=lambda m: m.sender)}


def check_names(ego: Id, senders: Sequence[Id]) -> None:
    """InputError unless the senders differ and none is the ego."""
    doubled = sorted({name for name in senders if senders.count(name) > 1})
    if doubled:
        raise InputError(f"expected one message of each teammate, got several from {doubled}; choose one of each first")
    if ego in senders:
        raise InputError(f"expected messages of teammates only, got one of the ego {ego!r}")


def claims_of(to: Request, received: Mapping[Id, Message]) -> dict[Id, Claim]:
    """What messages claim beside their payloads."""
    ego_T_world = invert_pose(to.world_T_ego)
    return {
        i: Claim(ego_T_world @ np.asarray(m.world_T_payload, np.float64), (to.t_ns - m.sensed_ns) / 1e9)
        for i, m in received.items()
    }


def check_known(ids: Sequence[Id], subsets: Iterable[Subset]) -> None:
    """InputError if a subset names a teammate without a message."""
    unknown = sorted(frozenset().union(*subsets) - set(ids))
    if unknown:
        raise InputError(f"expected subsets of {sorted(ids)}, got {unknown}")


def checked(codec: Codec, message: Message) -> dict[str, Array]:
    """The arrays of a message, contiguous and of the codec's types.

    Bounds of floating point numbers are the gate's matter; here they only have to be finite. A NaN would reach
    subsets that the sender is not in, since 0 * NaN is NaN.

    Raises:
        InputError: the message does not fit the codec, or its pose is not a finite (4, 4) matrix.
    """
    sender = message.sender
    if message.codec != codec.name:
        raise InputError(f"expected a message of codec {codec.name!r} from {sender!r}, got {message.codec!r}")
    if set(message.payload) != set(codec.arrays):
        raise InputError(f"expected a payload of {sorted(codec.arrays)} from {sender!r}, got {sorted(message.payload)}")
    pose = np.asarray(message.world_T_payload)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError(f"expected a finite pose (4, 4) from {sender!r}, got NaN, inf or shape {pose.shape}")
    arrays = {name: np.asarray(message.payload[name]) for name in codec.arrays}
    for name, (shape, dtype, low, high) in codec.arrays.items():
        array, kind = arrays[name], np.dtype(dtype).kind
        if not _fits(array.shape, shape) or array.dtype.kind != kind:
            got = f"{array.shape} {array.dtype}"
            raise InputError(f"expected {name!r} from {sender!r} to be {shape} {dtype}, got {got}")
        if not np.isfinite(array).all():
            raise InputError(f"expected finite {name!r} from {sender!r}, got NaN or inf")
        if kind in "iu" and not ((array >= low) & (array <= high)).all():
            raise InputError(f"expected {name!r} from {sender!r} in [{low:g}, {high:g}], got {np.unique(array)[:8]}")
    for axis, longest in codec.longest.items():
        lengths = {
            array.shape[k] for name, array in arrays.items() for k, n in enumerate(codec.arrays[name][0]) if n == axis
        }
        if len(lengths) > 1 or max(lengths) > longest:
            raise InputError(f"expected one length of at most {longest} from {sender!r}, got {sorted(lengths)}")
    return {name: np.ascontiguousarray(array, codec.arrays[name][1]) for name, array in arrays.items()}


def _fits(got: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    """Whether the dimensions that are numbers are these numbers."""
    return len(got) == len(wanted) and all(w == n or not isinstance(w, int) for n, w in zip(got, wanted, strict=True))
