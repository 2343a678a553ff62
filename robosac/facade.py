"""Three lines from a detector and a frame to a verdict.

detector = robosac.load_detector("mean")
defended = robosac.wrap(detector)
verdict = defended(frame)
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from robosac.agreement import SeenScoreMap
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.types import Defender, Defense, Detector, Frame, InputError, Message, Request, Verdict, View, keyed_rng

if TYPE_CHECKING:
    from types import ModuleType


def _detectors() -> ModuleType:
    try:
        return importlib.import_module("detectors")
    except ImportError as error:
        raise InputError(f"expected PyTorch for the built-in detectors, got {error}; pip install torch") from error


def load_detector(name: str = "mean") -> Detector:
    """A shipped detector by name (`mean`, `max`, `attention`, `mean-unbounded`) or a path to saved weights."""
    return cast(Detector, _detectors().load(name))


def shipped_calibration(detector: Detector) -> Calibration | None:
    """The calibration that is shipped for this detector, None where there is none."""
    import detectors

    path = Path(detectors.__file__).parent / "weights" / f"{detector.name}.calibration.json"
    return Calibration.load(path) if path.exists() else None


class Defended:
    """A detector behind a defence. One object serves one ego; memory starts anew with every scenario."""

    def __init__(self, detector: Detector, defense: Defense, calibration: Calibration | None, seed: int) -> None:
        self.detector, self.defense, self.calibration, self.seed = detector, defense, calibration, seed
        self._scenario: str | None = None
        self._defender: Defender | None = None

    def __call__(self, frame: Frame) -> Verdict:
        """Decide about a frame whose teammates' views are at hand: each is encoded as its owner would send it."""
        request = self.detector.request(frame.ego)
        inbox = [self.detector.encode(view, request) for view in frame.others.values()]
        return self.receive(frame.ego, inbox, to=request, scenario=frame.scenario)

    def receive(
        self, ego: View, inbox: Sequence[Message], *, to: Request | None = None, scenario: str = "live"
    ) -> Verdict:
        """Decide about the messages that came in over the air, whoever sent them."""
        if self._defender is None or scenario != self._scenario:
            rng = keyed_rng(self.seed, scenario, "defense")
            self._defender, self._scenario = self.defense.start(scenario, self.calibration, rng), scenario
        return self._defender.step(self.detector, ego, to or self.detector.request(ego), inbox)


def wrap(
    detector: Detector | str,
    defense: Defense | None = None,
    *,
    calibration: Calibration | str | Path | None = None,
    seed: int = 0,
) -> Defended:
    """Put a defence (default: `Robosac()`, number of attackers unknown) around a detector, or one named.

    `calibration` is a `Calibration`, a file of one, or None for the one shipped with the detector; a detector
    without any works with the measure's stated default threshold and a warning.
    """
    if isinstance(detector, str):
        detector = load_detector(detector)
    chosen = defense if defense is not None else Robosac()
    if isinstance(chosen, Robosac) and isinstance(chosen.agreement, SeenScoreMap) and detector.grid is None:
        raise InputError(
            f"expected a detector with score maps on a grid, got {detector.name!r} without; "
            "use robosac.wrap(detector, Robosac(agreement=BoxJaccard()))"
        )
    if isinstance(calibration, (str, Path)):
        calibration = Calibration.load(Path(calibration))
    elif calibration is None:
        calibration = shipped_calibration(detector)
    return Defended(detector, chosen, calibration, seed)
