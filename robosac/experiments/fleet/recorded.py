"""Recordings in place of simulated worlds: `FOLDER/DOMAIN/` is a data set of any layout that `robosac.data` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robosac.experiments.fleet.domains import Drives
from robosac.types import BevGrid, InputError

if TYPE_CHECKING:
    from robosac.detectors.bev.training.dataset import CachedFrame

_SHARES = (0.6, 0.15)  # of all frames in their order: to learn from, and for the verifier; the rest is reported on
Tell = Callable[[int, int], None]


def recorded_domains(folder: Path) -> tuple[str, ...]:
    """Names of the data sets in a folder.

    Raises:
        InputError: it holds none.
    """
    found = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir())) if folder.is_dir() else ()
    if not found:
        raise InputError(f"expected a folder of data sets, each in a folder named by its domain, got {folder}")
    return found


def recorded_drives(
    folder: Path, vehicles: Sequence[tuple[str, str]], grid: BevGrid, counts: tuple[int, int, int], *, tell: Tell
) -> dict[str, Drives]:
    """Frames of each vehicle (name and domain); those of one domain share its frames to learn from.

    Frames are taken in their order, so that what is reported on was driven after what was learnt from, and at most so
    many of each part, evenly spread. What a vehicle learns from differs from that of others, what it is judged on does
    not.

    Raises:
        InputError: a domain is missing, holds no data set, or has too few frames.
    """
    known, names = recorded_domains(folder), [domain for _, domain in vehicles]
    found: dict[str, Drives] = {}
    parts: dict[str, list[list[Any]]] = {}
    for k, (vehicle, domain) in enumerate(vehicles):
        if domain not in known:
            raise InputError(f"expected domains among {', '.join(known)} of {folder}, got {domain!r}")
        if domain not in parts:
            parts[domain] = _read(folder / domain, grid, counts, names.count(domain))
        train, verify, test = parts[domain]
        own = train[names[:k].count(domain) :: names.count(domain)]
        found[vehicle] = Drives(own, verify, test)
        tell(k + 1, 2 * len(vehicles))
    return found


def divided(total: int, counts: tuple[int, int, int], sharers: int) -> list[list[int]]:
    """Positions of frames to learn from, for the verifier, and reported on.

    Raises:
        InputError: there are too few.
    """
    least = sharers + 2
    if total < least:
        raise InputError(f"expected at least {least} frames, got {total}")
    first = min(max(sharers, round(_SHARES[0] * total)), total - 2)
    second = min(max(first + 1, round((_SHARES[0] + _SHARES[1]) * total)), total - 1)
    blocks = [range(first), range(first, second), range(second, total)]
    most = (counts[0] * sharers, *counts[1:])
    return [_spread(block, count) for block, count in zip(blocks, most, strict=True)]


def _spread(block: range, count: int) -> list[int]:
    places = np.linspace(0, len(block) - 1, min(count, len(block)))
    return [block[round(float(p))] for p in places]


def _read(folder: Path, grid: BevGrid, counts: tuple[int, int, int], sharers: int) -> list[list[CachedFrame]]:
    from robosac.data.dataset import DataSet
    from robosac.detectors.bev.training.recorded import cache_recorded
    from robosac.registry.data import open_recording

    data = DataSet(open_recording(f"data:{folder}"))
    try:
        parts = divided(len(data), counts, sharers)
    except InputError as error:
        raise InputError(f"{error} in {folder}; a vehicle learns from one or more, and two are held out") from None
    moments = [[data[i] for i in part] for part in parts]
    return [[cache_recorded(frame, truth, grid) for frame, truth in part] for part in moments]
