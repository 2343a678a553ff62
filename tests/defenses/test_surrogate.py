"""What an adaptive attacker knows of ROBOSAC is what ROBOSAC does, on real results; and it moves nothing of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from robosac import detectors
from robosac.agreement import BoxJaccard, ScoreMapOverlap, SeenScoreMap
from robosac.calibration import Calibration, Thresholds
from robosac.defenses import Known, PaperKnown, PaperUnknown, RobosacAgreement, Unknown
from robosac.defenses.protocol import Adaptable
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.session import BevSession
from robosac.registry.detectors import saved_calibration
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, BevGrid, Detections, Frame, InputError, Request, View, keyed_rng
from tests.toy import received

MEASURES = [ScoreMapOverlap(), SeenScoreMap(), SeenScoreMap(unseen_weight=0.0, slack=0.0), ScoreMapOverlap(floor=0.0)]


@pytest.fixture(scope="module", params=["mean", "attention"])
def real(request: pytest.FixtureRequest) -> tuple[BevDetector, Frame, BevSession]:
    detector = detectors.load(request.param)
    frame, _ = scenario("val", 0).snapshot(0).frame()
    to = Request.of(frame.ego)
    return detector, frame, detector.open(frame.ego, to, [detector.encode(v, to) for v in frame.others.values()])


def blind(frame: Frame) -> View:
    return dataclasses.replace(frame.ego, points=np.zeros((0, 4), np.float32))


@pytest.mark.parametrize("measure", MEASURES, ids=repr)
def test_it_measures_as_the_defence_does_on_real_results(measure, real) -> None:  # type: ignore[no-untyped-def]
    detector, frame, session = real
    ids = sorted(session.ids)
    subsets = [frozenset(ids[:n]) for n in range(len(ids) + 1)] + [frozenset({i}) for i in ids]
    for ego in (frame.ego, blind(frame)):
        wanted = measure.against(session.detect([EGO_ALONE])[0], ego, detector.grid)
        with torch.no_grad():
            alone = session.logits({}, [EGO_ALONE])[0]
            got = RobosacAgreement(agreement=measure).surrogate(None, detector.name).against(alone, ego, detector.grid)
            agreements = got(session.logits({}, subsets)).numpy()
        expected = [wanted(found) for found in session.detect(subsets)]
        assert agreements == pytest.approx(expected, abs=1e-5)
        assert agreements.dtype == np.float32
        if ego is frame.ego:
            assert np.ptp(agreements) > 0.1  # not the same number for all


def test_boxes_have_a_stand_in_that_falls_with_them() -> None:
    """Of the box Jaccard no gradient can be had; the overlap of the score maps stands in for it."""
    logits, grid = torch.full((4, 4), -8.0), BevGrid(-2.0, -2.0, 1.0, 4, 4)
    logits[1, 1] = 8.0
    ego = View("e", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))
    agree = RobosacAgreement.paper(1).surrogate(None, "any").against(logits, ego, grid)
    more = logits.clone()
    more[3, 3] = 8.0
    gone = torch.full((4, 4), -8.0)
    same, ghost, hidden = agree(torch.stack([logits, more, gone])).tolist()
    assert same == 1.0
    assert ghost == pytest.approx(2 / 3, abs=1e-3)  # one cell of slack: (1 + 1) / (2 + 1)
    assert hidden == pytest.approx(1 / 2, abs=1e-3)  # (0 + 1) / (1 + 1)


def test_two_empty_maps_agree_fully_without_slack() -> None:
    agree = RobosacAgreement(agreement=ScoreMapOverlap(slack=0.0)).surrogate(None, "any")
    ego = View("e", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))
    empty = torch.full((1, 4, 4), -9.0)
    assert agree.against(empty[0], ego, None)(empty).tolist() == [1.0]


def test_agreement_can_be_differentiated_and_gradients_point_to_more_of_it(real) -> None:  # type: ignore[no-untyped-def]
    detector, frame, session = real
    with torch.no_grad():
        alone, full = session.logits({}, [EGO_ALONE, frozenset(session.ids)])
    agree = RobosacAgreement().surrogate(None, detector.name).against(alone, frame.ego, detector.grid)
    logits = full[None].clone().requires_grad_()
    before = agree(logits)
    (slope,) = torch.autograd.grad(before.sum(), logits)
    assert slope.isfinite().all() and slope.abs().max() > 0
    after = agree(full[None] + 0.5 * slope / slope.abs().max())
    assert after.item() > before.item()


def test_seen_cells_need_a_grid_of_the_same_shape() -> None:
    ego = View("e", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"expected the grid of class logits .*; use ScoreMapOverlap"):
        RobosacAgreement().surrogate(None, "any").against(torch.zeros(4, 4), ego, None)


def test_it_asks_for_what_the_defence_asks_for() -> None:
    calibration = saved_calibration(detectors.load("mean"))
    assert calibration is not None
    told = RobosacAgreement().surrogate(calibration, "bev-mean")
    assert [told.threshold(s) for s in range(1, 6)] == [
        RobosacAgreement().required(calibration, "bev-mean", s) for s in range(1, 6)
    ]
    assert RobosacAgreement(threshold=0.7).surrogate(None, "any").threshold(3) == 0.7
    measured = Calibration("toy", {"m": Thresholds(0.1, {1: 0.2}, {1: 9})})
    with pytest.warns(UserWarning, match="uses its default threshold"):
        assert RobosacAgreement().surrogate(measured, "toy").threshold(1) == SeenScoreMap().default_threshold


@pytest.mark.parametrize(
    ("plan", "sizes"),
    [
        (Unknown(), [5, 4, 4, 4, 4, 4, 3]),  # one of everybody, all of one less, and so on
        (Known(attackers=2), [3] * 7),
        (PaperKnown(attackers=1), [4] * 7),
        (PaperUnknown(budget=2), [5, 4, 5, 4, 5, 4, 5]),  # a frame is over after its budget; then another one
        (Unknown(budget=0), []),
    ],
    ids=repr,
)
def test_it_draws_as_the_plan_draws(plan, sizes) -> None:  # type: ignore[no-untyped-def]
    told = RobosacAgreement(plan=plan).surrogate(None, "any")
    drawn = told.draw(list("abcde"), 7, keyed_rng(1))
    assert [len(s) for s in drawn] == sizes and all(s <= frozenset("abcde") for s in drawn)
    assert drawn == told.draw(list("abcde"), 7, keyed_rng(1))
    assert told.draw([], 3, keyed_rng(1)) == []
    if sizes:
        others = {tuple(told.draw(list("abcde"), 7, keyed_rng(seed))) for seed in range(5)}
        assert len(others) > 1  # the random numbers are the attacker's


def test_drawing_moves_nothing_of_the_defender(real) -> None:  # type: ignore[no-untyped-def]
    detector, frame, _ = real
    to = Request.of(frame.ego)
    inbox = [detector.encode(v, to) for v in frame.others.values()]
    defense = RobosacAgreement(threshold=0.99, plan=PaperKnown(attackers=2))

    def trials(draws: int) -> list[frozenset[str]]:
        defender = defense.start("s", None, keyed_rng(4))
        told, found = defense.surrogate(None, detector.name), []
        for _ in range(2):
            told.draw(sorted(frame.others), draws, keyed_rng(9))
            found += [t.subset for t in defender.step(detector, frame.ego, to, received(inbox, to)).trials]
        return found

    assert trials(0) == trials(50)


def test_robosac_is_adaptable_and_a_fixed_choice_is_not() -> None:
    from robosac.defenses import NoDefense

    assert isinstance(RobosacAgreement(), Adaptable) and isinstance(RobosacAgreement.paper(1), Adaptable)
    assert not isinstance(NoDefense(), Adaptable)
    assert isinstance(BoxJaccard().against(Detections.empty())(Detections.empty()), float)
