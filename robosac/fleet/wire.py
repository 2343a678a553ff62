"""Adapters as bytes, and what a server lets in.

A message is a safetensors file: `LAYER.lora_A.weight` `(r, n)` and `LAYER.lora_B.weight` `(m, r)` in float32, and who
sent it in which round in its header. Its length is what a run counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from robosac.fleet.adapters import ALPHA, Adapter, Shapes, layer_rank
from robosac.fleet.lowrank import LowRankUpdate

A, B = ".lora_A.weight", ".lora_B.weight"
_HEAD: Final = "robosac"
Tensors: TypeAlias = Mapping[str, NDArray[Any]]


class RefusedError(Exception):
    """A message is not what was agreed; the words say why."""


@dataclass(frozen=True)
class Agreed:
    """What a client and the server agreed on when it joined: nothing of this is read from a message.

    Attributes:
        rank: of its factors.
        samples: that it trains on, by which it is weighted.
        shapes: of the layers.
        alpha: its scale is alpha / rank.
    """

    rank: int
    samples: int
    shapes: Shapes
    alpha: float = ALPHA


def pack(adapter: Adapter, *, sender: str, round: int) -> bytes:
    """The message that carries an adapter."""
    return bytes(save(dict(tensors_of(adapter)), metadata={_HEAD: json.dumps({"sender": sender, "round": round})}))


def tensors_of(adapter: Adapter) -> Tensors:
    """The factors of an adapter, by the names that they travel under."""
    tensors = {}
    for layer, update in adapter.items():
        tensors[layer + A] = np.ascontiguousarray(update.a, np.float32)
        tensors[layer + B] = np.ascontiguousarray(update.b, np.float32)
    return tensors


def unpack(data: bytes, agreed: Agreed, *, sender: str, round: int) -> dict[str, LowRankUpdate]:
    """The adapter of a message.

    Raises:
        RefusedError: it is broken, of another round or sender, lacks a layer, has another rank, or holds NaN or inf.
    """
    try:
        tensors = load(data)
        size = int.from_bytes(data[:8], "little")
        head = json.loads(json.loads(data[8 : 8 + size]).get("__metadata__", {}).get(_HEAD, "{}"))
    except (SafetensorError, ValueError, KeyError, OverflowError, AttributeError, RecursionError) as error:
        raise RefusedError(f"not a message: {type(error).__name__}") from error
    if not isinstance(head, dict) or head.get("sender") != sender or head.get("round") != round:
        raise RefusedError(f"expected a message of {sender} in round {round}, got {head}")
    return checked(tensors, agreed)


def checked(tensors: Tensors, agreed: Agreed) -> dict[str, LowRankUpdate]:
    """The adapter of factors that came from a client.

    Raises:
        RefusedError: it lacks a layer, has another rank, or holds NaN or inf.
    """
    expected = {layer + part for layer in agreed.shapes for part in (A, B)}
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[:3]
        raise RefusedError(f"expected the layers agreed on, got others or fewer: {', '.join(odd)}")
    adapter = {}
    for layer, (m, n) in agreed.shapes.items():
        a, b = tensors[layer + A], tensors[layer + B]
        r = layer_rank(agreed.rank, (m, n))
        if a.shape != (r, n) or b.shape != (m, r):
            raise RefusedError(
                f"expected {layer} of rank {r} as ({m}, {r}) and ({r}, {n}), got {b.shape} and {a.shape}"
            )
        if a.dtype != np.float32 or b.dtype != np.float32:
            raise RefusedError(f"expected float32 in {layer}, got {b.dtype} and {a.dtype}")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise RefusedError(f"NaN or inf in {layer}")
        adapter[layer] = LowRankUpdate(b, a, agreed.alpha / agreed.rank, agreed.samples)
    return adapter
