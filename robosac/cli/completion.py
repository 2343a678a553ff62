"""What a shell completes: names, found without loading what they name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_CONFIGS: Final = Path(__file__).parents[1] / "configs"
_KINDS: Final = ("opv2v:", "v2xsim:", "dair:", "data:")


def attacks(incomplete: str) -> list[str]:
    """Presets of attacks, the last of a comma list."""
    return _last(incomplete, _presets("attacks"))


def defenses(incomplete: str) -> list[str]:
    """Presets of defences, the last of a comma list."""
    return _last(incomplete, _presets("defenses"))


def detectors(incomplete: str) -> list[str]:
    """Shipped detectors, the last of a comma list, and files."""
    from robosac.detectors import SHIPPED

    return _last(incomplete, [*SHIPPED, "late:", "early:", "opencood:", "coperception:"]) or _paths("", incomplete)


def data(incomplete: str) -> list[str]:
    """Data sets: the simulation's presets, and kinds with paths."""
    from robosac.simulation.config import PRESETS

    kind, colon, path = incomplete.partition(":")
    if colon and f"{kind}:" in _KINDS:
        return _paths(f"{kind}:", path)
    return _last(incomplete, [*(f"sim:{preset}" for preset in PRESETS), *_KINDS]) or _paths("", incomplete)


def presets(incomplete: str) -> list[str]:
    """Presets of the simulation."""
    from robosac.simulation.config import PRESETS

    return _last(incomplete, PRESETS)


def _presets(kind: str) -> list[str]:
    return sorted(path.stem for path in (_CONFIGS / kind).glob("*.yaml"))


def _last(incomplete: str, known: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in known if name.startswith(last)]


def _paths(before: str, begun: str) -> list[str]:
    """Files and folders that begin so; a folder ends in a slash."""
    folder = Path(begun).expanduser() if begun.endswith("/") else Path(begun).expanduser().parent
    name = "" if begun.endswith("/") else Path(begun).name
    stem = begun[: len(begun) - len(name)]
    try:
        found = sorted(p for p in folder.iterdir() if p.name.startswith(name) and not p.name.startswith("."))
    except OSError:
        return []
    return [f"{before}{stem}{p.name}{'/' if p.is_dir() else ''}" for p in found]
