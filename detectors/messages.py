"""What every detector asks of messages before it opens a session: teammates only, and one of each."""

from __future__ import annotations

from collections.abc import Sequence

from robosac.types import Id, InputError, Message


def one_each(ego: Id, messages: Sequence[Message]) -> dict[Id, Message]:
    """Messages by their sender, in the order of names.

    Raises:
        InputError: two come from one sender, or one from the ego. Behind a defence the gate has refused these already.
    """
    check_names(ego, [m.sender for m in messages])
    return {m.sender: m for m in sorted(messages, key=lambda m: m.sender)}


def check_names(ego: Id, senders: Sequence[Id]) -> None:
    """InputError unless the senders differ and none is the ego."""
    doubled = sorted({name for name in senders if senders.count(name) > 1})
    if doubled:
        raise InputError(f"expected one message of each teammate, got several from {doubled}; choose one of each first")
    if ego in senders:
        raise InputError(f"expected messages of teammates only, got one of the ego {ego!r}")
