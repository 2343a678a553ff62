"""Milliseconds a stage of a defended frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Stages:
    """Adds up wall time by the name of a stage; stages do not nest."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._start = time.perf_counter()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Counts the time of a `with` block under `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.ms[stage] = self.ms.get(stage, 0.0) + 1e3 * (time.perf_counter() - start)

    def timed(self, stage: str, function: Callable[P, T]) -> Callable[P, T]:
        """`function`, its time counted under `stage`."""

        @wraps(function)
        def measured(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.measure(stage):
                return function(*args, **kwargs)

        return measured

    def done(self) -> dict[str, float]:
        """Milliseconds a stage; `other` is what no stage claimed, so that the stages add up to the whole frame."""
        whole = 1e3 * (time.perf_counter() - self._start)
        return {**self.ms, "other": max(0.0, whole - sum(self.ms.values()))}
