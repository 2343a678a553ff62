"""The project's errors and warnings, apart from `types` so that a command that needs no arrays loads no numpy."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from types import FrameType


class RobosacError(Exception):
    """Base of every error this project raises on purpose: what was expected, what came, what to do."""


class InputError(RobosacError, ValueError):
    """An argument, a file or a configuration is not what it must be."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: `; did you mean 'pgd'?`, or nothing where none is close."""
    by_small = {k.lower(): k for k in known}
    close = get_close_matches(str(name).lower(), by_small, n=1, cutoff=0.6)
    return f"; did you mean {by_small[close[0]]!r}?" if close else ""


class RobosacWarning(UserWarning):
    """What this project warns of on purpose. The command line prints it as one line."""


def warn(text: str) -> None:
    """Warn of the line of the user's own code that led here: the innermost that is none of this package's."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_back is not None and _is_ours(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, RobosacWarning, stacklevel=level)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] == "robosac"


@contextmanager
def heard() -> Iterator[dict[str, None]]:
    """Collects this project's own warnings while inside, each once, for who says them later or elsewhere; those of
    others go on, after an error too.
    """
    found: dict[str, None] = {}
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RobosacWarning)
            yield found
    finally:
        for one in caught:
            if issubclass(one.category, RobosacWarning):
                found[str(one.message)] = None
            else:
                warnings.showwarning(one.message, one.category, one.filename, one.lineno, one.file, one.line)


@contextmanager
def warnings_in_a_line() -> Iterator[None]:
    """Warnings are a line on standard error, without the place in the code; the same one is said once. Those of others
    are named as such.
    """
    before = warnings.showwarning
    warnings.showwarning = _Lines()
    try:
        yield
    finally:
        warnings.showwarning = before


class _Lines:
    """`warnings.showwarning` that prints one line, once."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def __call__(self, message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        text = " ".join(str(message).split())
        if text not in self.said:
            self.said.add(text)
            kind = "" if issubclass(category, RobosacWarning) else f"{category.__name__}: "
            print(f"robosac: {kind}{text}", file=sys.stderr)


def set_warnings_in_a_line() -> None:
    """The same for the rest of a process."""
    warnings.showwarning = _Lines()
