"""Messages that differ from honest ones, and by how much results differ: for checks and benchmarks of adapters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from robosac.capabilities import Outputs
from robosac.types import Array, Codec, Detections, Message


def tamper(message: Message, codec: Codec, rng: np.random.Generator) -> Message:
    """The message with noise on every array of floats, within the codec's bounds; so it passes the gate."""
    payload = dict(message.payload)
    for name, (_, _, low, high) in codec.arrays.items():
        array = payload[name]
        if array.dtype.kind == "f":
            spread = max(float(array.std()), 0.1) if array.size else 0.0
            payload[name] = np.clip(array + rng.normal(0, spread, array.shape), low, high).astype(array.dtype)
    return replace(message, payload=payload)


def difference(a: Outputs, b: Outputs) -> float:
    """Largest absolute difference of two sets of outputs; infinite where names or shapes differ or a NaN is alone."""
    if set(a) != set(b):
        return float("inf")
    return max((_difference(np.asarray(a[name]), np.asarray(b[name])) for name in a), default=0.0)


def _difference(a: Array, b: Array) -> float:
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    exact = a.astype(np.float64)
    apart = np.abs(np.subtract(exact, b, out=np.zeros_like(exact), where=a != b))  # equal infinities are equal
    return float(np.nanmax(apart)) if a.size and not np.isnan(a).all() else 0.0


def as_outputs(found: Detections) -> Outputs:
    maps = {} if found.score_map is None else {"score_map": found.score_map}
    return {"boxes": found.boxes, "scores": found.scores, **maps}
