"""What late and early fusion ask of messages before they open a session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robosac.types import Array, Codec, Id, InputError, Message, Request, Subset, View


def plain_request(ego: View, round: int) -> Request:
    """Ask for what everybody sends; nothing about the ego but its time and measured pose is needed."""
    return Request(ego.id, ego.t_ns, ego.world_T_sensor, round)


def from_sensor(view: View, to: Request, codec: Codec, payload: Mapping[str, Array]) -> Message:
    """A message whose payload lies in the sender's own sensor frame."""
    return Message(
        sender=view.id,
        link=view.id,
        to=to.ego,
        sensed_ns=view.t_ns,
        received_ns=to.t_ns,
        world_T_payload=view.world_T_sensor,
        codec=codec.name,
        payload=payload,
    )


def by_link(ego: Id, codec: Codec, messages: Sequence[Message]) -> dict[Id, Message]:
    """Messages by their link, in its order.

    Raises:
        InputError: if one does not fit the codec, two share a link, or one comes over the ego's own link. Behind a
            defence the gate has refused these already.
    """
    links = [m.link for m in messages]
    doubled = sorted({link for link in links if links.count(link) > 1})
    if doubled:
        raise InputError(f"expected one message a link, got several from {doubled}; choose one of each first")
    if ego in links:
        raise InputError(f"expected messages of teammates only, got one over the link of the ego {ego!r}")
    if codec.max_messages is not None and len(messages) > codec.max_messages:
        raise InputError(f"expected at most {codec.max_messages} messages, got {len(messages)}; raise max_messages")
    for message in messages:
        _check_payload(codec, message)
    return {m.link: m for m in sorted(messages, key=lambda m: m.link)}


def _check_payload(codec: Codec, m: Message) -> None:
    if m.codec != codec.name or set(m.payload) != set(codec.arrays):
        wanted = f"a message of {codec.name!r} with {sorted(codec.arrays)}"
        raise InputError(f"expected {wanted}, got {m.codec!r} with {sorted(m.payload)}")
    for name, (shape, _, _, _) in codec.arrays.items():
        array = np.asarray(m.payload[name])
        if array.ndim != len(shape) or array.shape[1:] != shape[1:]:
            raise InputError(f"expected {name!r} from {m.link!r} to be {shape}, got {array.shape}")
        if not (np.isfinite(array).all() and np.isfinite(m.world_T_payload).all()):
            raise InputError(f"expected finite {name!r} and pose from {m.link!r}, got NaN or inf")
    lengths = {len(m.payload[name]) for name in codec.arrays}
    longest = min(codec.longest.values())
    if len(lengths) > 1 or max(lengths) > longest:
        raise InputError(f"expected one length of at most {longest} from {m.link!r}, got {sorted(lengths)}")


def check_known(ids: Sequence[Id], subsets: Sequence[Subset]) -> None:
    """InputError if a subset names a teammate without a message."""
    unknown = sorted(frozenset().union(*subsets) - set(ids))
    if unknown:
        raise InputError(f"expected subsets of {sorted(ids)}, got {unknown}")
