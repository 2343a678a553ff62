"""robosac: a lying teammate does no harm. Consensus defence for V2X collaborative 3D detection."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load_detector", "wrap"]


def __getattr__(name: str) -> Any:  # heavy packages open only when they are asked for
    if name in ("wrap", "load_detector"):
        from robosac import facade

        return getattr(facade, name)
    raise AttributeError(f"module 'robosac' has no attribute {name!r}")
