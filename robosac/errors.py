"""The project's errors, apart from `types` so that a command that needs no arrays loads no numpy."""

from __future__ import annotations


class RobosacError(Exception):
    """Base of every error this project raises on purpose: what was expected, what came, what to do."""


class InputError(RobosacError, ValueError):
    """An argument, a file or a configuration is not what it must be."""
