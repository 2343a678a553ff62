"""Which values a perturbed array may take: the budget around the honest array, cut with what the codec calls valid.

A message outside the codec's range is refused by any receiver's gate, so an attack that left it would only look strong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from robosac.attacks.measures import floats
from robosac.types import Array, Codec, InputError, Message

Reach: TypeAlias = float | Array  # how far an element may move: one number, or an array that broadcasts
Reaches: TypeAlias = Reach | Mapping[str, Reach]  # for a whole message, or by name of the array


@dataclass(frozen=True, eq=False)
class FeasibleSet:
    """An axis-aligned box of arrays: `lower <= x <= upper`, each of the shape and dtype of the honest array."""

    lower: Array
    upper: Array

    @staticmethod
    def around(clean: Array, epsilon: Reach, *, low: float = -np.inf, high: float = np.inf) -> FeasibleSet:
        """Every array at most `epsilon` from `clean` in each element and within [low, high].

        The bounds are rounded inwards, so that `abs(x - clean) <= epsilon` holds exactly (in float64) for what is sent
        in the message's own float type. Where `clean` itself is outside [low, high] it may stay where it is.

        Raises:
            InputError: `clean` holds NaN or inf, of which no neighbourhood can be taken.
        """
        if not np.isfinite(clean).all():
            raise InputError(
                "expected the honest payload to be finite, got NaN or inf; gate the encoder's output first"
            )
        exact = clean.astype(np.float64)
        lower, upper = (exact - epsilon).astype(clean.dtype), (exact + epsilon).astype(clean.dtype)
        lower = np.where(exact - lower.astype(np.float64) > epsilon, np.nextafter(lower, clean), lower)
        upper = np.where(upper.astype(np.float64) - exact > epsilon, np.nextafter(upper, clean), upper)
        kind = clean.dtype.type
        # a bound is rounded inwards too, although 0 and 1, the usual ones, are exact in any float type
        least = np.nextafter(kind(low), kind(np.inf)) if float(kind(low)) < low else kind(low)
        most = np.nextafter(kind(high), kind(-np.inf)) if float(kind(high)) > high else kind(high)
        return FeasibleSet(np.maximum(lower, np.minimum(least, clean)), np.minimum(upper, np.maximum(most, clean)))

    def clip(self, x: Array) -> Array:
        """The nearest array in the set, in its dtype."""
        return np.asarray(np.clip(x.astype(self.lower.dtype), self.lower, self.upper))


def feasible_sets(message: Message, codec: Codec, epsilon: Reaches) -> Mapping[str, FeasibleSet]:
    """The feasible set of each float array of a message, by name."""
    result = {}
    for name in floats(message):
        _, _, low, high = codec.arrays.get(name, ((), "", -np.inf, np.inf))
        result[name] = FeasibleSet.around(message.payload[name], reach_of(name, epsilon), low=low, high=high)
    return result


def reach_of(name: str, reaches: Reaches) -> Reach:
    """How far the elements of the array of a name may move."""
    return reaches[name] if isinstance(reaches, Mapping) else reaches
