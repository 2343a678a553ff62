"""Values from names and settings: what presets and the command line say becomes objects of the classes they name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from robosac.errors import InputError, did_you_mean


def settings_of(kind: type[Any]) -> list[str]:
    """What can be set of a value of this class."""
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def pick(what: str, known: Mapping[str, type[Any]], name: object) -> type[Any]:
    """The class of a name.

    Raises:
        InputError: there is none: "expected `what` one of ..., got ...".
    """
    if not isinstance(name, str) or name not in known:
        raise InputError(f"expected {what} one of {', '.join(known)}; got {name!r}{did_you_mean(name, known)}")
    return known[name]


def made(name: str, kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """A value of a class that is called `name`.

    Raises:
        InputError: it does not have one of these settings, lacks one that it cannot do without, or refuses a value.
    """
    known = settings_of(kind)
    if unknown := sorted(set(settings) - set(known)):
        close = did_you_mean(unknown[0], known)
        raise InputError(f"expected settings of {name} among {', '.join(known)}; got {', '.join(unknown)}{close}")
    fields = dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else ()
    needed = [f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING]
    if missing := [n for n in needed if n not in settings]:
        raise InputError(f"expected {name} to be given {', '.join(missing)}, got {', '.join(settings) or 'nothing'}")
    return kind(**settings)
