"""A defence of a new kind is a class with `start` and a line in DEFENSES: it has no plan, trials or agreement.

`Alike` judges every teammate by itself: fused is whoever sends about as many objects as the ego sees, where "about" is
a conformal p-value of honest frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import robosac
from robosac.calibration import Calibration, calibrate
from robosac.defenses.protocol import Calibrated
from robosac.evaluation.play import play
from robosac.registry import defenses as registry
from robosac.registry.defenses import open_defense, policy, statistics_of
from robosac.types import BevGrid, Detector, Frame, Received, Request, Session, Subset, Truth, Verdict, View
from tests.toy import ToyDetector, frame


@dataclass(frozen=True)
class Count:
    """The statistic: how far the number of a teammate's boxes is from the ego's, 0 where they are as many."""

    name: str = "box-count"

    def scores(
        self, session: Session, ego: View, grid: BevGrid | None, subsets: Sequence[Subset]
    ) -> Sequence[float | None]:
        own, *others = session.detect([frozenset(), *(s if len(s) == 1 else frozenset() for s in subsets)])
        return [-float(abs(len(o) - len(own))) if len(s) == 1 else None for s, o in zip(subsets, others, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Alike:
    """Fuses everybody whose count is not among the `level` most unusual of honest ones."""

    level: float = 0.1

    def statistics(self) -> Sequence[Count]:
        return (Count(),)

    def start(self, scenario: str, calibration: Calibration | None, rng: np.random.Generator) -> Alike.Defender:
        assert calibration is not None
        return Alike.Defender(self, calibration)

    @dataclass
    class Defender:
        defense: Alike
        calibration: Calibration

        def step(self, detector: Detector, ego: View, to: Request, inbox: Sequence[Received]) -> Verdict:
            session = detector.open(ego, to, [r.message for r in inbox])
            each = [frozenset({i}) for i in session.ids]
            scores = Count().scores(session, ego, detector.grid, each)
            measure = self.calibration.measures[Count().name]
            p = {i: measure.p_value(1, s) for i, s in zip(session.ids, scores, strict=True) if s is not None}
            used = frozenset(i for i in session.ids if p[i] > self.defense.level)
            return Verdict(
                result=session.detect([used])[0],
                used=used,
                accused=frozenset(session.ids) - used,
                suspicion={i: 1 - p[i] for i in session.ids},
                trials=(),
                decodes=len(each) + 2,
                ms={"total": 0.0},
                reason="by count",
            )


@pytest.fixture(autouse=True)
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DEFENSES, "alike", Alike)  # the line
    for path in registry.FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "alike.yaml").write_text("kind: alike\nsource: made up for this test\nlevel: 2e-1\n")
    monkeypatch.setattr(registry, "FOLDER", tmp_path)


CARS = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0)]
MANY = [(x, y) for x in (-35.0, -25.0, -5.0, 5.0, 15.0) for y in (30.0, 35.0, -20.0)]


def honest() -> list[Frame]:
    return [frame({"ego": CARS, "a": CARS, "b": [*CARS, (30.0, float(k))]}, scenario=f"toy-{k}") for k in range(19)]


@pytest.fixture
def calibration() -> Calibration:
    return calibrate(ToyDetector(), honest(), statistics_of(["alike"]), alpha=0.1, rng=np.random.default_rng(0))


def test_it_asks_for_its_own_statistic(calibration: Calibration) -> None:
    assert isinstance(open_defense("alike"), Calibrated)
    assert set(calibration.measures) == {"box-count"} and calibration.measures["box-count"].frames == {1: 19}
    both = [s.name for s in statistics_of(["alike", "robosac"])]
    assert both == ["box-count", *(s.name for s in statistics_of(["robosac"]))]
    assert not statistics_of(["none", "ego-only"])


def test_through_wrap(calibration: Calibration) -> None:
    defended = robosac.wrap(ToyDetector(), open_defense("alike"), calibration=calibration)
    verdict = defended(frame({"ego": CARS, "a": CARS, "b": MANY}))
    assert (verdict.used, verdict.accused) == ({"a"}, {"b"}) and len(verdict.result) == len(CARS)
    assert robosac.wrap(ToyDetector(), "alike", calibration=calibration).defense == Alike(level=0.2)


def test_through_evaluation(calibration: Calibration) -> None:
    seen = frame({"ego": CARS, "a": CARS, "b": MANY})
    nothing = np.zeros(0, np.int64)
    agents = ("ego", "a", "b")
    truth = Truth(
        np.zeros((0, 7), np.float32), nothing, dict.fromkeys(agents, nothing), dict.fromkeys(agents, np.eye(4))
    )
    policies = [policy(name) for name in ("alike", "none", "ego-only")]
    found = {
        p.policy: p.verdict.used
        for p in play([(seen, truth)], ToyDetector(), None, (0,), policies, seed=0, calibration=calibration)
    }
    assert found == {"alike": {"a"}, "none": {"a", "b"}, "ego-only": frozenset()}
