"""What a user wrote, named MODULE:NAME; MODULE may be a file where the command runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robosac.types import InputError


def own(name: str, fits: Callable[[Any], bool]) -> Any:
    """The object of a name where it fits, else what it makes when it is called without arguments, fitting or not.

    Raises:
        InputError: there is none, or it takes arguments.
    """
    found = _imported(name)
    if fits(found) or not callable(found):
        return found
    try:
        return found()
    except TypeError as error:
        raise InputError(f"expected {name} to be callable without arguments, got {error}") from error


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    if module.startswith("."):
        raise InputError(f"expected MODULE:NAME with the module's whole name, got {name!r}")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:  # as `python -m` does
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"expected MODULE:NAME that can be imported, got {name!r}: {error}") from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    return found
