"""Which cells of feature maps an attack may touch and did touch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from robosac.attacks.measures import floats, pairs
from robosac.types import Array, Bool, Codec, InputError, Message


def maps_of(message: Message, codec: Codec) -> Mapping[str, Array]:
    """The float arrays of a message that are maps, `(..., H, W)`, by name.

    Raises:
        InputError: there are none, so that nothing can be turned or moved.
    """
    found = {n: message.payload[n] for n in floats(message) if message.payload[n].ndim >= 3}
    if not found:
        raise InputError(
            f"expected maps (C, H, W) of features, got codec {codec.name!r} with {', '.join(codec.arrays)}; "
            "attack it on points, boxes or pose"
        )
    return found


def nothing(codec: Codec, name: str) -> float:
    """What a cell holds where nothing was seen: 0, or what of the codec's range is nearest to it."""
    _, _, low, high = codec.arrays.get(name, ((), "", -np.inf, np.inf))
    return float(min(max(0.0, low), high))


def changed(a: Array, b: Array) -> Bool:
    """Which elements of two arrays of one shape and float type differ in any bit."""
    bits = f"u{a.dtype.itemsize}"
    return np.asarray(np.ascontiguousarray(a).view(bits) != np.ascontiguousarray(b).view(bits))


def map_pairs(honest: Message, sent: Sequence[Message]) -> list[tuple[Array, Array]] | None:
    """The maps of both, one by one; None where anything else differs, or a shape or dtype."""
    return pairs(honest, sent, [n for n in floats(honest) if honest.payload[n].ndim >= 3])


def share_of_cells(honest: Message, sent: Sequence[Message]) -> float:
    """Largest share of a map's cells in which a feature changed; `inf` where anything but maps changed."""
    both = map_pairs(honest, sent)
    if both is None:
        return math.inf
    shares = [changed(a, b).reshape(-1, *a.shape[-2:]).any(axis=0).mean() for a, b in both if a.size]
    return float(max(shares, default=0.0))


def share_of_features(honest: Message, sent: Sequence[Message]) -> float:
    """Largest share of an array's features that changed; `inf` where anything else did."""
    both = pairs(honest, sent, floats(honest))
    if both is None:
        return math.inf
    return float(max((changed(a, b).mean() for a, b in both if a.size), default=0.0))
