"""Three lines from a detector and a frame to a verdict.

detector = robosac.load_detector("mean")
defended = robosac.wrap(detector)
verdict = defended(frame)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from robosac.air import Knowledge, received
from robosac.boxes import load_kernels
from robosac.calibration import Calibration
from robosac.defenses import Robosac
from robosac.defenses.protocol import Defender, Defense
from robosac.evaluation.play import attacked_air, choose_attackers
from robosac.gate import for_clocks
from robosac.registry.attacks import fitted, open_attack
from robosac.registry.data import is_simulated, open_recording, split_name
from robosac.registry.defenses import is_told, open_defense
from robosac.registry.detectors import loaded_calibration, open_detector, saved_calibration
from robosac.registry.frames import whose
from robosac.types import (
    Detections,
    Detector,
    Frame,
    Id,
    InputError,
    Received,
    Request,
    Subset,
    Truth,
    Verdict,
    View,
    keyed_rng,
)
from robosac.verdicts import ShownVerdict


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


@dataclass(frozen=True, eq=False)
class Attacked:
    """A frame as the ego receives it when some of its teammates attack. A defended detector takes it for a frame."""

    frame: Frame
    inbox: Sequence[Received]
    attackers: Subset


def attack(
    frame: Frame,
    detector: Detector | str,
    name: str | Any = "pgd",
    *,
    attackers: int | Iterable[Id] = 1,
    seed: int = 0,
) -> Attacked:
    """One frame attacked by a preset, like `pgd` or `pgd:steps=5`, or by an attack of one's own: how many teammates
    attack, drawn by `seed`, or who.

    Raises:
        InputError: an unknown attack, more attackers than teammates, or an attack that needs more than one frame holds.
    """
    opened = open_detector(detector) if isinstance(detector, str) else detector
    asked: Any = fitted(open_attack(name) if isinstance(name, str) else name, opened, lambda: [frame])
    if Knowledge.DEFENSE in asked.knowledge or getattr(asked, "needs_ego_frame", False):
        raise InputError(f"expected an attack that one frame is enough for, got {name}; robosac.evaluate plays it")
    others = list(frame.others)
    if isinstance(attackers, int):
        chosen = choose_attackers(seed, frame.scenario, others, attackers)
    else:
        chosen = frozenset(attackers)
        if strangers := sorted(chosen - set(others)):
            raise InputError(f"expected attackers among {', '.join(others)}, got {', '.join(strangers)}")
    request = Request.of(frame.ego)
    honest = {i: opened.encode(v, request) for i, v in frame.others.items()}
    air = attacked_air(frame, opened, request, honest, chosen, asked.knowledge)
    sent = asked.start(frame.scenario, chosen, keyed_rng(seed, frame.scenario, "attack", len(chosen))).send(air)
    return Attacked(frame, received(air, sent), chosen)


class SimulatedData(Sequence[tuple[Frame, Truth]]):
    """Frames of simulated scenes with their truth, made when they are asked for."""

    def __init__(self, preset: str, *, scenes: int, frames: int, split: str, seed: int) -> None:
        from robosac.simulation import SimConfig

        self.config, self.of = SimConfig.preset(preset), (split, seed)
        self.numbers = [(scene, k) for scene in range(scenes) for k in range(min(frames, self.config.n_frames))]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> Any:
        from robosac.simulation import scenario

        if isinstance(index, slice):
            return [self[k] for k in range(*index.indices(len(self)))]
        scene, k = self.numbers[index]
        return scenario(self.of[0], scene, seed=self.of[1], config=self.config).snapshot(k).frame()


def load_data(
    name: str = "sim:mixed",
    *,
    ego: str = "first",
    classes: Collection[str] | None = None,
    scenes: int = 20,
    frames: int = 2,
    split: str = "test",
    seed: int = 0,
) -> Sequence[tuple[Frame, Truth]]:
    """The frames of a data set with their truth, read when they are asked for: `for frame, truth in load_data(...)`.

    `name` is `sim:PRESET`, `opv2v:PATH`, `v2xsim:PATH`, `dair:PATH` or `data:PATH`. `ego` and `classes` are a
    recording's, as in `robosac.data.dataset.DataSet`; `scenes`, `frames` (of each), `split` and `seed` a simulation's.

    Raises:
        InputError: the name means nothing, or there are no scenes or frames to make.
    """
    if is_simulated(name):
        if scenes < 1 or frames < 1:
            raise InputError(f"expected scenes and frames >= 1, got {scenes} and {frames}")
        return SimulatedData(split_name(name)[1], scenes=scenes, frames=frames, split=split, seed=seed)
    from robosac.data.dataset import DataSet

    return DataSet(open_recording(name, classes), ego=whose(ego))


class Defended:
    """A detector behind a defence. One object serves one ego; memory starts anew with every scenario."""

    def __init__(self, detector: Detector, defense: Defense, calibration: Calibration | None, seed: int) -> None:
        self.detector, self.defense, self.calibration, self.seed = detector, defense, calibration, seed
        self.last: Verdict | None = None
        self._serves: tuple[str, float | None] | None = None  # scenario, and how far clocks run ahead
        self._defender: Defender | None = None

    def __call__(self, frame: Frame | Attacked | Any, *, scenario: str | None = None) -> ShownVerdict:
        """Decide about a frame whose teammates' views are at hand: each is encoded as its owner would send it.

        A frame that was attacked (`attack`) is taken as it was received; a detector of a framework takes that one's own
        batch as well. `scenario` overrides the frame's: another name starts the memory anew. The gate bears the clocks
        of the frame's recording (`Frame.clocks_ahead_ms`).
        """
        if isinstance(frame, Attacked):
            known = frame.frame
            to = Request.of(known.ego)
            return self._decide(known, frame.inbox, to, scenario or known.scenario, known.clocks_ahead_ms)
        if not isinstance(frame, Frame):
            frame = self._framework("takes no batches").frame(frame, scenario=scenario or "batch")
        request = Request.of(frame.ego)
        inbox = [Received.honest(self.detector.encode(v, request), request) for v in frame.others.values()]
        return self._decide(frame, inbox, request, scenario or frame.scenario, frame.clocks_ahead_ms)

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
    ) -> ShownVerdict:
        """Decide about the messages that came in over the air, whoever sent them: each with the link it came in on."""
        return self._decide(Frame(scenario, 0, ego, {}), inbox, to or Request.of(ego), scenario, None)

    def _decide(
        self, frame: Frame, inbox: Sequence[Received], to: Request, scenario: str, clocks_ahead_ms: float | None
    ) -> ShownVerdict:
        if self._defender is None or self._serves != (scenario, clocks_ahead_ms):
            rng = keyed_rng(self.seed, scenario, "defense")
            defense = for_clocks(self.defense, clocks_ahead_ms)
            self._defender, self._serves = defense.start(scenario, self.calibration, rng), (scenario, clocks_ahead_ms)
        verdict = self._defender.step(self.detector, frame.ego, to, inbox)
        return ShownVerdict.of(verdict, frame, self.detector.grid)


def wrap(
    detector: Detector | str,
    defense: Defense | str | None = None,
    *,
    attackers: int | None = None,
    calibration: Calibration | str | Path | None = None,
    seed: int = 0,
) -> Defended:
    """Put a defence (default: `Robosac()`, number of attackers unknown) around a detector; either may be a name.
    `attackers` goes to a defence that is told how many there are, like `paper`.

    `calibration` is a `Calibration`, a file of one, or None for the one beside the detector's weights; a detector
    without any works with the measure's stated default threshold and a warning.

    Raises:
        InputError: a name means nothing, this is no detector or no defence, `attackers` are given to one that is not
            told, or thresholds are of another detector.
    """
    if isinstance(detector, str):
        detector = open_detector(detector)
    if attackers is not None and (isinstance(attackers, bool) or not isinstance(attackers, int) or attackers < 0):
        raise InputError(f"expected a number of attackers, 0 or more, got {attackers!r}")
    if isinstance(defense, str):
        named, defense = defense, open_defense(defense, attackers=attackers)
        if attackers is not None and not is_told(named):
            raise InputError(
                f"expected a defence that is told how many attack, like paper, got {named}, which is not; leave "
                f"attackers out, or wrap with Robosac(attackers={attackers}), which is"
            )
    elif attackers is not None:
        raise InputError(f"expected the name of a defence that is told the attackers, got attackers={attackers} alone")
    if not (callable(getattr(detector, "encode", None)) and callable(getattr(detector, "open", None))):
        raise InputError(f"expected a detector (docs/own_detector.md) or the name of one, got {detector!r}")
    if not (defense is None or callable(getattr(defense, "start", None))):
        raise InputError(f"expected a defence (anything with start) or the name of one, got {defense!r}")
    if isinstance(calibration, (str, Path)):
        calibration = loaded_calibration(Path(calibration), detector)
    elif calibration is None:
        calibration = saved_calibration(detector)
    load_kernels()
    return Defended(detector, Robosac() if defense is None else defense, calibration, seed)
