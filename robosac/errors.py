"""The project's errors, apart from `types` so that a command that needs no arrays loads no numpy."""

from __future__ import annotations

import warnings


class RobosacError(Exception):
    """Base of every error this project raises on purpose: what was expected, what came, what to do."""


class InputError(RobosacError, ValueError):
    """An argument, a file or a configuration is not what it must be."""


class RobosacWarning(UserWarning):
    """What a user should know of how a result came to be. It is one line, wherever it is shown."""


_told: dict[object, object] = {}  # what was said already, as `warnings` keeps it for a module


def warn(message: str) -> None:
    """Warn in one line, once: where the code stands that found it helps nobody."""
    warnings.warn_explicit(message, RobosacWarning, "robosac", 1, registry=_told)  # type: ignore[arg-type]
