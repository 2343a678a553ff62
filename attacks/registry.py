"""Attacks and the values they are made of, by name. Each is listed once, by the line `@register("name")` above it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

_Kind = TypeVar("_Kind", bound=type)
_KINDS: dict[str, type[Any]] = {}


def register(name: str) -> Callable[[_Kind], _Kind]:
    """Give a class a name, by which presets and the command line find it.

    Raises:
        ValueError: the name, or the class's own, is that of another class. A class that is defined again (a notebook's
            cell, a reload) takes its own place.
    """

    def add(kind: _Kind) -> _Kind:
        for other, taken in _KINDS.items():
            again = (taken.__module__, taken.__qualname__) == (kind.__module__, kind.__qualname__)
            if (other == name or taken.__name__ == kind.__name__) and not (again and other == name):
                raise ValueError(
                    f"expected a new name for {kind.__module__}.{kind.__qualname__}, got {name!r}; "
                    f"{taken.__module__}.{taken.__qualname__} is registered as {other!r}"
                )
        _KINDS[name] = kind
        return kind

    return add


def kinds() -> Mapping[str, type[Any]]:
    """Every registered class by name: attacks, and the values that settings are made of."""
    _import_all()
    return dict(sorted(_KINDS.items()))


def attack_kinds() -> Mapping[str, type[Any]]:
    """The attacks among them."""
    return {name: kind for name, kind in kinds().items() if hasattr(kind, "start")}


@lru_cache(maxsize=1)
def _import_all() -> None:
    """Import every module of this package, so that each has registered what it holds."""
    here = __name__.rpartition(".")[0]
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], prefix=f"{here}."):
        importlib.import_module(module.name)
