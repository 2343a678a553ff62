"""What a user wrote, named MODULE:NAME."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from robosac.types import InputError


def imported(name: str) -> Any:
    """The object of MODULE:NAME; MODULE may lie where the command runs. InputError where there is none."""
    module, _, attribute = name.partition(":")
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


def called(made_by: Any, name: str) -> Any:
    """What it makes, where it is a function; InputError where it takes arguments."""
    if not callable(made_by):
        return made_by
    try:
        return made_by()
    except TypeError as error:
        raise InputError(f"expected {name} to be callable without arguments, got {error}") from error
