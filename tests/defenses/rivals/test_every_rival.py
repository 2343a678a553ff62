"""Laws that every published defence keeps, on a detector that fuses the union of the boxes that are sent."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from robosac.boxes import load_kernels
from robosac.calibration import calibrate
from robosac.capabilities import Contribution
from robosac.defenses.protocol import Adaptable, Calibrated, Defender, Defense
from robosac.registry.defenses import RIVALS, defense_preset, open_defense, rival_names, statistics_of
from robosac.types import Detections, InputError, Message, Received, Request, Verdict
from tests.toy import CODEC, ToyDetector, ToySession, detections, frame, received

CARS = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0), (20.0, -8.0)]
GHOSTS = [(float(x), float(y)) for x in (-30, -14, 2, 18) for y in (-30, -24, 22, 30)]
NAMES = rival_names()
FUSES_ALL = {"pose-guard", "residual-classifier", "made-reconstruction"}  # of boxes there is no residual
BLIND = {"gcp", "occupancy"}  # the toy's rays prove no ground
ROBUST = {"median", "trimmed-mean", "geometric-median"}


class Shows(ToySession):
    """A toy that tells what each message shows: boxes in the ego's frame."""

    def contribution(self, teammate: str | None) -> Contribution:
        centres = self.ego.points[:, :2] if teammate is None else self.messages[teammate].payload["centres"]
        return Contribution(detections=detections(centres))

    def solo(self, teammates: list[str]) -> list[Detections]:
        return [self.contribution(i).detections or Detections.empty() for i in teammates]

    def claim(self, teammate: str) -> object:
        raise InputError("not told")


class Showing(ToyDetector):
    def open(self, ego, to, messages):
        return Shows(ego, {m.sender: m for m in messages})


@pytest.fixture(scope="module", autouse=True)
def kernels() -> None:
    load_kernels()


@pytest.fixture(scope="module")
def calibration():
    seen = [{"ego": CARS[: 3 + k % 3], "a": CARS, "b": [*CARS, (30.0, float(k % 9))]} for k in range(100)]
    honest = [frame(s, scenario=f"h{k}") for k, s in enumerate(seen)]
    asked = statistics_of(NAMES)
    return calibrate(Showing(), honest, asked, alpha=0.02, rng=np.random.default_rng(0))


def played(name, seen, calibration=None, *, frames=1, attackers=1, seed=0):
    """The verdicts of some equal frames in a row, 100 ms apart."""
    detector, shown = Showing(), frame(seen)
    defender = open_defense(name, attackers=attackers).start("s", calibration, np.random.default_rng(seed))
    verdicts = []
    for k in range(frames):
        ego = replace(shown.ego, t_ns=k * 10**8)
        to = Request.of(ego)
        sent = [replace(detector.encode(v, to), sensed_ns=to.t_ns) for v in shown.others.values()]
        verdicts.append(defender.step(detector, ego, to, received(sent, to)))
    return verdicts


def test_every_kind_has_a_preset_and_a_source():
    assert {defense_preset(n).kind for n in NAMES} == set(RIVALS)
    assert all(isinstance(open_defense(n, attackers=1), Defense) for n in NAMES)
    assert all(kind.__module__.startswith("robosac.defenses.rivals.") for kind in RIVALS.values())
    assert all(
        "ource: " in (__import__(k.__module__, fromlist=["x"]).__doc__ or "").replace("Sources", "Source")
        for k in RIVALS.values()
    )


@pytest.mark.parametrize("name", NAMES)
def test_honest_teammates_are_fused_and_nobody_is_accused(name, calibration):
    seen = {"ego": CARS[:4], "a": CARS, "b": CARS}
    verdict = played(name, seen, calibration, frames=2, attackers=0)[-1]
    assert not verdict.accused
    if name in ROBUST:
        assert "no maps" in verdict.reason and not verdict.used
    else:
        assert verdict.used == {"a", "b"} and len(verdict.result) == len(CARS)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in FUSES_ALL | ROBUST | BLIND])
def test_who_sends_sixteen_ghosts_is_left_out(name, calibration):
    seen = {"ego": CARS, "a": CARS, "b": CARS, "c": [*CARS, *GHOSTS]}
    for verdict in played(name, seen, calibration, frames=2)[-1:]:
        assert "c" not in frozenset().union(*verdict.sources, frozenset()) or name == "late-votes"
        assert len(verdict.result) == len(CARS)


@pytest.mark.parametrize("name", NAMES)
def test_nobody_there_and_nothing_seen(name, calibration):
    alone = played(name, {"ego": CARS}, calibration)[0]
    assert not alone.used and len(alone.result) == len(CARS)
    blind = played(name, {"ego": [], "a": [], "b": CARS}, calibration)[0]
    assert isinstance(blind, Verdict)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_verdict_and_a_copy_leaves_the_defender_as_it_was(name, calibration):
    detector, shown = Showing(), frame({"ego": CARS, "a": CARS, "b": CARS, "c": GHOSTS})
    to = Request.of(shown.ego)
    inbox = received([detector.encode(v, to) for v in shown.others.values()], to)

    def run(rehearsals: int) -> list[tuple[object, ...]]:
        defender: Defender = open_defense(name, attackers=1).start("s", calibration, np.random.default_rng(3))
        found = []
        for _ in range(3):
            for _ in range(rehearsals):
                copy.deepcopy(defender).step(detector, shown.ego, to, inbox[1:])
            v = defender.step(detector, shown.ego, to, inbox)
            found.append((v.used, v.accused, tuple(t.subset for t in v.trials), v.result.boxes.tobytes()))
        return found

    assert run(0) == run(0) == run(2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("centres", [[(np.nan, 0.0)], [(199.0, 199.0)] * 3, [], [(1e-30, -1e-30)] * 50])
def test_nothing_that_is_sent_raises(name, centres, calibration):
    detector, shown = Showing(), frame({"ego": CARS, "a": CARS})
    to = Request.of(shown.ego)
    payload = {"centres": np.array(centres, np.float32).reshape(-1, 2)}
    odd = Message("x", "ego", 0, np.eye(4), CODEC.name, payload)
    inbox = [*received([detector.encode(shown.others["a"], to)], to), Received("x", 0, odd)]
    verdict = (
        open_defense(name, attackers=1)
        .start("s", calibration, np.random.default_rng(0))
        .step(detector, shown.ego, to, inbox)
    )
    assert np.isfinite(verdict.result.boxes).all()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_calibration_it_decides_by_stated_limits(name, recwarn):
    verdict = played(name, {"ego": CARS, "a": CARS, "b": CARS}, attackers=0)[0]
    assert len(verdict.result) == len(CARS)
    asks = isinstance(open_defense(name, attackers=0), Calibrated) and statistics_of([name])
    assert any("--add --defense" in str(w.message) for w in recwarn) == bool(asks)


def test_a_measure_on_results_offers_a_surrogate(calibration):
    adaptable = {n for n in NAMES if isinstance(open_defense(n, attackers=1), Adaptable)}
    assert adaptable == {
        "cp-uniguard", "gcp", "made", "made-match", "made-reconstruction", "paper-fixed", "paper-temporal", "pasac",
        "prbi", "single-check",
    }  # fmt: skip
    for name in sorted(adaptable):
        defense = open_defense(name, attackers=1)
        surrogate = defense.surrogate(calibration, "toy")
        drawn = surrogate.draw(["a", "b", "c"], 4, np.random.default_rng(0))
        assert drawn and all(s <= {"a", "b", "c"} for s in drawn) and surrogate.threshold(1) <= 1


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("made", {"level": 1.5}, "level of Made in"),
        ("made", {"tests": ["matsch"]}, "tests of Made among match, reconstruction"),
        ("adaptive-halving", {"window": 0}, "window of AdaptiveHalving to be at least 1"),
        ("late-votes", {"votes": 0}, "votes of LateVotes"),
        ("robust-features", {"how": "mode"}, "median, trimmed or geometric"),
        ("robust-features", {"trim": 0.5}, "trim of RobustFeatures"),
    ],
)
def test_wrong_settings_say_what_was_expected(kind, settings, said):
    with pytest.raises(InputError, match=said):
        RIVALS[kind](**settings)
