"""How large the features of a detector's messages are, and amounts given as multiples of it: `2sd`.

The same perturbation of 0.5 is half of the range of features in [0, 1) and next to nothing for features that reach 12.
So an amount may be a number in the units of the features, or a text such as `2sd`: twice the standard deviation of the
features as honest agents send them, taken over all float arrays of their messages together, zeros included. It is
measured once for a detector and a data set and is one number from then on: see `FeatureScale.measured`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from robosac.types import Array, Detector, Frame, InputError, Message, Request

Amount: TypeAlias = float | str
"""A number, or a multiple of the standard deviation of the features: `2sd`."""
UNIT: Final = "sd"
DIGITS: Final = 4  # of a measured deviation: what is printed is what is used, and the last bits of a sum do not matter
_NO_FEATURES: Final = frozenset({"boxes", "points"})  # as `robosac.detectors.fusion` calls what it sends
_MULTIPLE: Final = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*sd\s*")


def multiple(text: str) -> float:
    """The 2.0 of `2sd`.

    Raises:
        InputError: it is no finite multiple above 0.
    """
    found = _MULTIPLE.fullmatch(text)
    times = float(found[1]) if found is not None else math.nan
    if not (math.isfinite(times) and times > 0):
        raise InputError(
            f"expected a finite multiple above 0 of the features' standard deviation like 2sd or 0.5sd, got {text!r}"
        )
    return times


def in_words(amount: Amount) -> str:
    """An amount as it is written: `0.5`, `2sd`."""
    return as_multiple(amount) if isinstance(amount, str) else f"{amount:g}"


def as_multiple(text: str) -> str:
    """One spelling for equal multiples: `2sd` of `2.0 sd`. InputError as `multiple`."""
    return f"{multiple(text)!r}".removesuffix(".0") + UNIT


def sends_features(detector: Detector) -> bool:
    """Whether messages hold features, and not the boxes of late or the points of early fusion: metres and scores have
    no common deviation."""
    return not _NO_FEATURES & set(detector.codec.arrays)


@dataclass(frozen=True)
class FeatureScale:
    """What honest features look like.

    Attributes:
        std: standard deviation over all features, to `DIGITS` digits.
        low, high: the least and the largest feature.
        zeros: share of features that are exactly 0.
        features: how many were looked at.
        arrays: the same by name of the array, where a message holds several.
    """

    std: float
    low: float
    high: float
    zeros: float
    features: int
    arrays: Mapping[str, FeatureScale] = field(default_factory=dict)

    @staticmethod
    def of(messages: Iterable[Message]) -> FeatureScale:
        """The scale of the float arrays of messages.

        Raises:
            InputError: there are none, or they hold NaN or inf.
        """
        held: dict[str, list[_Part]] = {}
        for message in messages:
            for name, array in message.payload.items():
                if np.issubdtype(np.asarray(array).dtype, np.floating) and np.size(array):
                    held.setdefault(name, []).append(_Part.of(np.asarray(array), f"{name!r} of {message.sender!r}"))
        if not held:
            raise InputError("expected messages with float arrays to measure the features of, got none")
        arrays = {name: _scale(parts) for name, parts in sorted(held.items())}
        return _scale([part for parts in held.values() for part in parts], arrays if len(arrays) > 1 else {})

    @staticmethod
    def measured(detector: Detector, frames: Iterable[Frame]) -> FeatureScale:
        """The scale of what the teammates of these frames honestly send.

        Raises:
            InputError: boxes or points are sent, nobody sends a float array, or one holds NaN or inf.
        """
        if not sends_features(detector):
            raise InputError(
                f"expected features to measure budgets in {UNIT}, got {detector.name!r}, which sends "
                f"{' and '.join(detector.codec.arrays)}; give the budget as a number"
            )
        return FeatureScale.of(
            detector.encode(view, Request.of(frame.ego)) for frame in frames for view in frame.others.values()
        )

    def unit(self) -> float:
        """What 1sd is.

        Raises:
            InputError: all features are alike: no multiple of their deviation is a perturbation.
        """
        if not self.std > 0:
            raise InputError(
                f"expected features that vary, to measure budgets in {UNIT}, got {self.features} that all are "
                f"{self.low:g}; give the budget as a number"
            )
        return self.std

    def __str__(self) -> str:
        return f"std {self.std:g}, {self.low:.4g} to {self.high:.4g}, {100 * self.zeros:.0f} % zeros"


@dataclass(frozen=True)
class _Part:
    """One array: what pools with others."""

    count: int
    mean: float
    squares: float  # summed squares of what differs from the mean
    low: float
    high: float
    zeros: int

    @staticmethod
    def of(array: Array, what: str) -> _Part:
        exact = array.astype(np.float64)
        if not np.isfinite(exact).all():
            raise InputError(f"expected finite features, got NaN or inf in {what}; look at the model's weights")
        mean = float(exact.mean())
        spread = float(np.square(exact - mean).sum())
        return _Part(exact.size, mean, spread, float(exact.min()), float(exact.max()), int((exact == 0).sum()))


def _scale(parts: Sequence[_Part], arrays: Mapping[str, FeatureScale] | None = None) -> FeatureScale:
    count = sum(p.count for p in parts)
    mean = math.fsum(p.count * p.mean for p in parts) / count
    squares = math.fsum(p.squares + p.count * (p.mean - mean) ** 2 for p in parts)
    return FeatureScale(
        std=float(f"{math.sqrt(squares / count):.{DIGITS}g}"),
        low=min(p.low for p in parts),
        high=max(p.high for p in parts),
        zeros=sum(p.zeros for p in parts) / count,
        features=count,
        arrays=arrays or {},
    )
