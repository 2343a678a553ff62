"""Settings as plain data and back: what a YAML file says becomes values, values become what is written down."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from robosac.fingerprint import fingerprint
from robosac.types import InputError

CONFIGS: Final = Path(__file__).parents[1] / "configs"


def settings_of(kind: type[Any]) -> list[str]:
    """What can be set of a value of this class."""
    return [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def made(name: str, kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """A value of a class that is called `name`. InputError for settings that it does not have."""
    if unknown := set(settings) - set(settings_of(kind)):
        raise InputError(f"expected settings of {name} among {sorted(settings_of(kind))}, got {sorted(unknown)}")
    return kind(**settings)


def plain(value: Any) -> Any:
    """Settings as plain JSON data, with the class names, to be written beside a result.

    Of what `repr` leaves out, because it is large, the fingerprint is written.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        held = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        large = {f.name for f in dataclasses.fields(value) if not f.repr}
        fields = {k: fingerprint(v) if k in large else plain(v) for k, v in held.items()}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, BaseModel):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (frozenset, set)):
        return sorted(plain(v) for v in value)
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
