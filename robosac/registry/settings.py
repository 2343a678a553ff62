"""Settings as plain data: values become what is written down (`robosac.building` makes values of what was)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from robosac.fingerprint import fingerprint

CONFIGS: Final = Path(__file__).parents[1] / "configs"


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
