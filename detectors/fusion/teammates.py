"""What late and early fusion ask of messages before they open a session."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robosac.detectors.messages import one_each
from robosac.types import Codec, Id, InputError, Message, Subset


def by_sender(ego: Id, codec: Codec, messages: Sequence[Message]) -> dict[Id, Message]:
    """Messages by their sender, in the order of names.

    Raises:
        InputError: if one does not fit the codec, two come from one sender, or one from the ego. Behind a
            defence the gate has refused these already.
    """
    found = one_each(ego, messages)
    if codec.max_messages is not None and len(messages) > codec.max_messages:
        raise InputError(f"expected at most {codec.max_messages} messages, got {len(messages)}; raise max_messages")
    for message in messages:
        _check_payload(codec, message)
    return found


def _check_payload(codec: Codec, m: Message) -> None:
    if m.codec != codec.name or set(m.payload) != set(codec.arrays):
        wanted = f"a message of {codec.name!r} with {sorted(codec.arrays)}"
        raise InputError(f"expected {wanted}, got {m.codec!r} with {sorted(m.payload)}")
    for name, (shape, _, _, _) in codec.arrays.items():
        array = np.asarray(m.payload[name])
        if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise InputError(f"expected {name!r} from {m.sender!r} to be {shape}, got {array.shape}")
        if not (np.isfinite(array).all() and np.isfinite(m.world_T_payload).all()):
            raise InputError(f"expected finite {name!r} and pose from {m.sender!r}, got NaN or inf")
    lengths = {len(m.payload[name]) for name in codec.arrays}
    longest = min(codec.longest.values())
    if len(lengths) > 1 or max(lengths) > longest:
        raise InputError(f"expected one length of at most {longest} from {m.sender!r}, got {sorted(lengths)}")


def check_known(ids: Sequence[Id], subsets: Sequence[Subset]) -> None:
    """InputError if a subset names a teammate without a message."""
    unknown = sorted(frozenset().union(*subsets) - set(ids))
    if unknown:
        raise InputError(f"expected subsets of {sorted(ids)}, got {unknown}")
