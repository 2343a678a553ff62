"""Agreement thresholds from honest data.

Split conformal: of `n` honest frames, the threshold for subsets of one size is the k-th smallest agreement,
`k = floor(alpha (n + 1))`. A further honest frame, exchangeable with these, then falls below it with probability at
most alpha, whatever the detector and the measure. Thresholds belong to a detector and a measure together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor
from pathlib import Path

import numpy as np

from robosac.agreement import Agreement
from robosac.files import write_whole
from robosac.subsets import draw
from robosac.types import EGO_ALONE, Array, Detector, Frame, InputError


def conformal_threshold(agreements: Array, alpha: float) -> float:
    """The threshold `(n,)` honest agreements give at level alpha. Below it lies a further one with P <= alpha.

    Needs `n >= 1/alpha - 1`; with fewer no finite threshold keeps the promise, and InputError says so.
    """
    values = np.sort(np.asarray(agreements, dtype=np.float64))
    if not 0 < alpha < 1:
        raise InputError(f"expected alpha inside (0, 1), got {alpha}")
    k = floor(alpha * (len(values) + 1) + 1e-12)
    if k < 1:
        raise InputError(
            f"expected at least {int(np.ceil(1 / alpha - 1))} honest frames for alpha={alpha}, got {len(values)}"
        )
    return float(values[k - 1])


@dataclass(frozen=True)
class Measure:
    """Thresholds of one agreement measure: subset size -> agreement asked for, from `frames` honest frames each."""

    alpha: float
    thresholds: Mapping[int, float]
    frames: Mapping[int, int]

    def threshold(self, size: int) -> float:
        """Threshold for a subset of `size`; sizes never calibrated take the nearest smaller one, else the smallest."""
        smaller = [s for s in self.thresholds if s <= size]
        return self.thresholds[max(smaller) if smaller else min(self.thresholds)]


@dataclass(frozen=True)
class Calibration:
    """What honest data says about one detector, by name of the agreement measure."""

    detector: str
    measures: Mapping[str, Measure]
    source: Mapping[str, str] = field(default_factory=dict)  # how it was made: data, seed, command

    def save(self, path: Path) -> None:
        write_whole(path, (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode())

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read a file `save` wrote. InputError names the file and what is wrong with it."""
        try:
            raw = json.loads(path.read_text())
            measures = {
                name: Measure(
                    alpha=float(m["alpha"]),
                    thresholds={int(k): float(v) for k, v in m["thresholds"].items()},
                    frames={int(k): int(v) for k, v in m["frames"].items()},
                )
                for name, m in raw["measures"].items()
            }
            return Calibration(str(raw["detector"]), measures, {str(k): str(v) for k, v in raw["source"].items()})
        except FileNotFoundError:
            raise InputError(
                f"expected a calibration file at {path}, found none; make one with `robosac calibrate`"
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"expected {path} to be a calibration file, got {type(error).__name__}: {error}") from None


def honest_agreements(
    detector: Detector, frames: Iterable[Frame], measures: Sequence[Agreement], rng: np.random.Generator
) -> dict[str, dict[int, list[float]]]:
    """Agreements `{measure: {size: [one per frame]}}` of random honest subsets, one of each size a frame."""
    found: dict[str, dict[int, list[float]]] = {m.name: {} for m in measures}
    for frame in frames:
        request = detector.request(frame.ego)
        session = detector.open(frame.ego, request, [detector.encode(v, request) for v in frame.others.values()])
        subsets = [draw(session.ids, size, rng) for size in range(1, len(session.ids) + 1)]
        reference, *results = session.detect([EGO_ALONE, *subsets])
        for measure in measures:
            compare = measure.against(reference, frame.ego, detector.grid)
            for subset, result in zip(subsets, results, strict=True):
                found[measure.name].setdefault(len(subset), []).append(compare(result))
    return found


def fit(
    detector: str,
    agreements: Mapping[str, Mapping[int, Sequence[float]]],
    *,
    alpha: float,
    source: Mapping[str, str] | None = None,
) -> Calibration:
    """Thresholds from `{measure: {size: agreements of honest frames}}`; sizes with too few frames are left out."""
    needed = int(np.ceil(1 / alpha - 1))
    fitted: dict[str, Measure] = {}
    for name, by_size in agreements.items():
        enough = {size: values for size, values in sorted(by_size.items()) if len(values) >= needed}
        if not enough:
            most = max((len(v) for v in by_size.values()), default=0)
            raise InputError(f"expected at least {needed} honest frames for alpha={alpha}, got {most}; add frames")
        fitted[name] = Measure(
            alpha=alpha,
            thresholds={size: conformal_threshold(np.array(v), alpha) for size, v in enough.items()},
            frames={size: len(v) for size, v in enough.items()},
        )
    return Calibration(detector, fitted, dict(source or {}))


def calibrate(
    detector: Detector,
    frames: Iterable[Frame],
    measures: Sequence[Agreement],
    *,
    alpha: float,
    rng: np.random.Generator,
    source: Mapping[str, str] | None = None,
) -> Calibration:
    """Thresholds for each measure and subset size from honest frames."""
    return fit(detector.name, honest_agreements(detector, frames, measures, rng), alpha=alpha, source=source)
