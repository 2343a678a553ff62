"""What `robosac calibrate` keeps beside what is new (`--add`), and what it promises of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from robosac.calibration import Calibration, Thresholds
from robosac.registry.detectors import CONTENT
from robosac.types import InputError

CONFIDENCE: Final = 0.95


def added(made: Calibration, path: Path, beside: Path | None) -> Calibration:
    """What the file at `path`, else that beside the weights, holds, with what is new; which command made what is kept.

    Raises:
        InputError: that file is of another detector, or of other weights.
    """
    held_in = next((p for p in (path, beside) if p is not None and p.exists()), None)
    if held_in is None:
        return made
    held = Calibration.load(held_in)
    if held.detector != made.detector or held.source.get(CONTENT) != made.source.get(CONTENT):
        raise InputError(f"expected {held_in} to be a calibration of {made.detector!r} as it is now; make it again")
    new = {name: m for name, m in made.measures.items() if name not in held.measures}
    said = f"added: {', '.join(sorted(new)) or 'nothing'}"
    return Calibration(held.detector, {**held.measures, **new}, {**held.source, said: made.source["command"]})


def guarantee(measure: Thresholds) -> str:
    """What the thresholds promise, and under which condition, in plain words."""
    by_frames: dict[int, list[int]] = {}
    for size, n in measure.frames.items():
        by_frames.setdefault(n, []).append(size)
    bounds = "; ".join(
        f"size {', '.join(map(str, sizes))} ({n} frames): {measure.refusals(sizes[0], confidence=CONFIDENCE):.3f}"
        for n, sizes in by_frames.items()
    )
    held = "on average over calibrations" if measure.confidence is None else f"with {measure.confidence:.0%} confidence"
    return (
        f"A random honest subset of a further frame like these is refused with probability at most {measure.alpha:g} "
        f"({held}; conformal, each size by itself).\nWhat this one calibration may turn out to refuse, at most, with "
        f"{CONFIDENCE:.0%} confidence: {bounds}.\nNothing is promised for other traffic, sensors or weights. "
        "What attackers get accepted is measured for this attack and promised for none."
    )
