"""Three lines from a detector and a frame to a verdict.

detector = robosac.load_detector("mean")
defended = robosac.wrap(detector)
verdict = defended(frame)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from robosac.boxes import load_kernels
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.defenses.protocol import Defender, Defense
from robosac.gate import for_clocks
from robosac.registry.defenses import open_defense
from robosac.registry.detectors import loaded_calibration, open_detector, saved_calibration
from robosac.types import Detections, Detector, Frame, InputError, Received, Request, Verdict, View, keyed_rng


@runtime_checkable
class TakesBatches(Protocol):
    """A detector of a framework whose own batches it takes for frames and whose own results it gives back."""

    def frame(self, batch: Any, *, scenario: str = "batch", index: int = 0) -> Frame:
        """The frame that one of the framework's batches holds."""
        ...

    def own(self, batch: Any, result: Detections) -> Any:
        """A result in the framework's own form."""
        ...


def load_detector(name: str = "mean", *, device: str = "cpu", root: Path | str | None = None) -> Detector:
    """A detector by name: shipped (`mean`, `max`, `attention`, `mean-unbounded`), a file of weights, the folder of an
    OpenCOOD model, a coperception checkpoint, or your own; `robosac.registry.detectors` has the whole list.

    `root` is a checkout of the framework, where it is not installed; `device` is `cpu`, `cuda` or `cuda:1`.
    """
    return open_detector(name, device=device, root=None if root is None else Path(root))


class Defended:
    """A detector behind a defence. One object serves one ego; memory starts anew with every scenario."""

    def __init__(self, detector: Detector, defense: Defense, calibration: Calibration | None, seed: int) -> None:
        self.detector, self.defense, self.calibration, self.seed = detector, defense, calibration, seed
        self.last: Verdict | None = None
        self._serves: tuple[str, float | None] | None = None  # scenario, and how far clocks run ahead
        self._defender: Defender | None = None

    def __call__(self, frame: Frame | Any, *, scenario: str | None = None) -> Verdict:
        """Decide about a frame whose teammates' views are at hand: each is encoded as its owner would send it.

        A detector of a framework takes that framework's own batch as well. `scenario` overrides the frame's: another
        name starts the memory anew. The gate bears the clocks of the frame's recording (`Frame.clocks_ahead_ms`).
        """
        if not isinstance(frame, Frame):
            frame = self._framework("takes no batches").frame(frame, scenario=scenario or "batch")
        request = Request.of(frame.ego)
        inbox = [Received.honest(self.detector.encode(v, request), request) for v in frame.others.values()]
        return self._decide(frame.ego, inbox, request, scenario or frame.scenario, frame.clocks_ahead_ms)

    def own(self, batch: Any, *, scenario: str = "batch") -> Any:
        """Decide about a framework's own batch and answer in its own form: for OpenCOOD, what its inference functions
        return, `(pred_box_tensor, pred_score, gt_box_tensor)`. The verdict behind it is `last`.
        """
        framework = self._framework("has no results of its own form")
        self.last = self(batch, scenario=scenario)
        return framework.own(batch, self.last.result)

    def _framework(self, why: str) -> TakesBatches:
        if not isinstance(self.detector, TakesBatches):
            raise InputError(f"expected a robosac.types.Frame: {self.detector.name!r} {why}")
        return self.detector

    def receive(
        self, ego: View, inbox: Sequence[Received], *, to: Request | None = None, scenario: str = "live"
    ) -> Verdict:
        """Decide about the messages that came in over the air, whoever sent them: each with the link it came in on."""
        return self._decide(ego, inbox, to or Request.of(ego), scenario, None)

    def _decide(
        self, ego: View, inbox: Sequence[Received], to: Request, scenario: str, clocks_ahead_ms: float | None
    ) -> Verdict:
        if self._defender is None or self._serves != (scenario, clocks_ahead_ms):
            rng = keyed_rng(self.seed, scenario, "defense")
            defense = for_clocks(self.defense, clocks_ahead_ms)
            self._defender, self._serves = defense.start(scenario, self.calibration, rng), (scenario, clocks_ahead_ms)
        return self._defender.step(self.detector, ego, to, inbox)


def wrap(
    detector: Detector | str,
    defense: Defense | str | None = None,
    *,
    calibration: Calibration | str | Path | None = None,
    seed: int = 0,
) -> Defended:
    """Put a defence (default: `Robosac()`, number of attackers unknown) around a detector; either may be a name.

    `calibration` is a `Calibration`, a file of one, or None for the one beside the detector's weights; a detector
    without any works with the measure's stated default threshold and a warning.
    """
    if isinstance(detector, str):
        detector = open_detector(detector)
    if isinstance(defense, str):
        defense = open_defense(defense)
    if isinstance(calibration, (str, Path)):
        calibration = loaded_calibration(Path(calibration), detector)
    elif calibration is None:
        calibration = saved_calibration(detector)
    load_kernels()
    return Defended(detector, Robosac() if defense is None else defense, calibration, seed)
