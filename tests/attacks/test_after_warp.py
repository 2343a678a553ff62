"""The paper's attack after warping: on a form of the detector that is the same where nobody attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robosac import attacks, detectors
from robosac.attacks import AfterWarp, GpsOffset, Pgd, Scheduled, Sleeper
from robosac.attacks.features.objectives import CleanFrame, InvertedBce
from robosac.capabilities import Differentiable
from robosac.detectors.bev.ego_frame import EgoFrameDetector
from robosac.evaluation.play import attacked_air
from robosac.gate import Gate
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, Detector, Frame, InputError, Message, Request, Subset
from tests.attacks.toy_pose import posed_air
from tests.detectors.conftest import untrained
from tests.detectors.synthetic import scene_views
from tests.toy import received


@pytest.fixture(scope="module")
def frame() -> Frame:
    views, _ = scene_views(agents=4)
    return Frame("scene", 0, views[0], {v.id: v for v in views[1:]})


def opened(detector: Detector, frame: Frame) -> tuple[list[Message], Any]:
    to = Request.of(frame.ego)
    sent = [detector.encode(v, to) for v in frame.others.values()]
    return sent, detector.open(frame.ego, to, sent)


@pytest.mark.parametrize("fusion", ["mean", "max", "attention"])
def test_where_nobody_lies_results_are_bit_identical(fusion: Any, frame: Frame) -> None:
    plain = untrained(fusion)
    here = plain.in_ego_frame()
    assert isinstance(here, Detector) and here.name == plain.name and here.grid == plain.grid
    (_, a), (sent, b) = opened(plain, frame), opened(here, frame)
    assert isinstance(b, Differentiable)
    assert any(0 < m.payload["valid"].mean() < 1 for m in sent)  # a warp that does nothing would show nothing
    everybody = frozenset(frame.others)
    subsets: list[Subset] = [EGO_ALONE, everybody, *(frozenset({i}) for i in everybody)]
    assert np.array_equal(a.logits({}, subsets).detach(), b.logits({}, subsets).detach())
    for x, y in zip(a.detect(subsets), b.detect(subsets), strict=True):
        assert x.boxes.tobytes() == y.boxes.tobytes() and x.scores.tobytes() == y.scores.tobytes()
    for i in everybody:
        x, y = a.contribution(i), b.contribution(i)
        assert np.array_equal(x.valid, y.valid) and np.array_equal(x.features["features"], y.features["features"])


def test_its_messages_pass_the_gate_and_no_others_do(frame: Frame) -> None:
    plain = untrained()
    here = plain.in_ego_frame()
    (theirs, _), (ours, _) = opened(plain, frame), opened(here, frame)
    to = Request.of(frame.ego)
    assert not Gate().admit(to, here.codec, received(ours, to)).rejected
    assert set(Gate().admit(to, here.codec, received(theirs, to)).rejected) == set(frame.others)
    with pytest.raises(InputError, match="expected a message of codec 'bev-untrained-mean:ego-frame'"):
        here.open(frame.ego, to, theirs)
    with pytest.raises(InputError, match="in the frame of the ego, got another pose"):
        here.open(frame.ego, to, [replace(ours[0], world_T_payload=frame.others["v1"].world_T_sensor)])


def test_features_beyond_the_senders_map_are_not_read(frame: Frame) -> None:
    here = untrained("max").in_ego_frame()
    sent, session = opened(here, frame)
    beyond = [
        m.with_payload(features=np.where(m.payload["valid"], m.payload["features"], np.float32(1.0))) for m in sent
    ]
    assert any((a.payload["features"] != b.payload["features"]).any() for a, b in zip(sent, beyond, strict=True))
    again = here.open(frame.ego, Request.of(frame.ego), beyond)
    subset = frozenset(frame.others)
    assert np.array_equal(session.logits({}, [subset]).detach(), again.logits({}, [subset]).detach())


def loss(detector: Detector, frame: Frame, attack: Any, attacker: str) -> float:
    """The objective that is left in the full fusion after the attack; lower is stronger."""
    to = Request.of(frame.ego)
    honest = {i: detector.encode(v, to) for i, v in frame.others.items()}
    air = attacked_air(frame, detector, to, honest, frozenset({attacker}), attack.knowledge)
    sent = attack.start("scene", frozenset({attacker}), np.random.default_rng(0)).send(air)
    clean, attacked = (
        detector.open(frame.ego, to, list(inbox.values())).logits({}, [frozenset(honest)]).detach()  # type: ignore[attr-defined]
        for inbox in (honest, {**honest, **{m.sender: m for m in sent}})
    )
    return float(InvertedBce().make_loss(CleanFrame(clean))(attacked))


def test_after_warping_the_same_budget_does_more_harm_on_a_real_scene() -> None:
    detector = detectors.load("mean")
    frame, _ = scenario("val", 0).snapshot(0).frame()
    attacker = sorted(frame.others)[0]
    before = loss(detector, frame, attacks.load("pgd"), attacker)
    after = loss(detector.in_ego_frame(), frame, attacks.load("pgd_after_warp"), attacker)
    assert after <= before


def test_an_ordinary_detector_is_refused_by_what_to_do() -> None:
    air = posed_air(["a", "b"])  # the first is where the ego is
    attacker = AfterWarp(attack=Pgd(steps=1)).start("scene", frozenset("ab"), np.random.default_rng(0))
    with pytest.raises(InputError, match=r"play AfterWarp on `detector.in_ego_frame\(\)`"):
        attacker.send(air)


def test_evaluation_reads_which_form_is_needed_through_wrappers_too() -> None:
    assert AfterWarp().needs_ego_frame
    assert Scheduled(attack=AfterWarp(), when=Sleeper()).needs_ego_frame
    assert not Scheduled(attack=Pgd(), when=Sleeper()).needs_ego_frame
    assert isinstance(untrained().in_ego_frame(), EgoFrameDetector)


def test_only_features_are_warped() -> None:
    with pytest.raises(InputError, match="expected attack of AfterWarp to act on features, got one on pose"):
        AfterWarp(attack=GpsOffset())
