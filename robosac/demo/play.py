"""One held-out scene of a demo, in whichever process it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from robosac.air import Attack
from robosac.calibration import Calibration
from robosac.demo.pictures import Shot, shoot
from robosac.demo.settings import DemoSettings
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.play import Played, play
from robosac.registry.attacks import open_attack
from robosac.registry.defenses import policy
from robosac.registry.detectors import open_detector, saved_calibration
from robosac.types import Detector, Frame, Truth


@dataclass(frozen=True)
class SceneJob:
    """One scene to play. Plain data, so that it can go to another process."""

    settings: DemoSettings
    index: int
    picture: bool


@dataclass(frozen=True, eq=False)
class SceneDone:
    """What came of a scene: records by (number of attackers, policy), pictures, milliseconds of simulation a frame."""

    kind: str
    records: dict[tuple[int, str], list[FrameRecord]]
    simulate_ms: float
    shots: list[Shot] = field(default_factory=list)


@lru_cache(maxsize=1)
def tools(detector: str, attack: str, epsilon: float | None) -> tuple[Detector, Calibration | None, Attack]:
    """A detector, its calibration and an attack by name, loaded once a process. InputError for a wrong name."""
    loaded = open_detector(detector)
    return loaded, saved_calibration(loaded), open_attack(attack, budget=epsilon)


def play_scene(job: SceneJob) -> SceneDone:
    """Simulate, detect, attack and defend one scene."""
    import time

    from robosac.simulation import SimConfig, scenario

    settings = job.settings
    detector, calibration, attack = tools(settings.detector, settings.attack, settings.epsilon)
    start = time.perf_counter()
    scene = scenario("test", job.index, seed=settings.seed, config=SimConfig.preset(settings.preset))
    spent = time.perf_counter() - start

    def frames() -> Iterator[tuple[Frame, Truth]]:
        nonlocal spent
        for k in range(settings.frames):
            start = time.perf_counter()
            made = scene.snapshot(k * settings.frame_step).frame()
            spent += time.perf_counter() - start
            yield made

    policies = [policy(name, title=title) for title, name in settings.policies.items()]
    records: dict[tuple[int, str], list[FrameRecord]] = {}
    drawn: list[Played] = []
    for played in play(
        frames(), detector, attack, settings.attackers, policies, seed=settings.seed, calibration=calibration
    ):
        records.setdefault((played.n_attackers, played.policy), []).append(played.record)
        if job.picture and played.n_attackers == max(settings.attackers) and played.frame.index == 0:
            drawn.append(played)
    shots = [shoot(drawn, detector.grid, scene.kind)] if drawn else []
    return SceneDone(scene.kind, records, 1e3 * spent / settings.frames, shots)
