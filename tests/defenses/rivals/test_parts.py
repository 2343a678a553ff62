"""What rivals compute, by hand: matching, halving, windows, Benjamini-Hochberg, Bayes, votes, robust maps."""

from __future__ import annotations

import numpy as np
import pytest

from robosac.agreement import ScoreMapOverlap
from robosac.boxes import pose_xyz_rpy
from robosac.defenses.rivals import AdaptiveHalving, CriticalObject, LateVotes, TwoGroups
from robosac.defenses.rivals.before import Before
from robosac.defenses.rivals.concordance import Concordance, Flow, confidence, flow_loss
from robosac.defenses.rivals.critical_object import CriticalObject as Critical
from robosac.defenses.rivals.feature_similarity import likeness
from robosac.defenses.rivals.frame import Look, Shared
from robosac.defenses.rivals.halving import Windows, halved
from robosac.defenses.rivals.late_votes import middle
from robosac.defenses.rivals.learned import Network, described, patches
from robosac.defenses.rivals.made import reconstruction, refused_by
from robosac.defenses.rivals.matching import match_loss
from robosac.defenses.rivals.occupancy import Conflicts, points_inside
from robosac.defenses.rivals.robust_features import aggregated
from robosac.defenses.rivals.two_groups import Posterior
from robosac.types import BevGrid, Detections, Request, Trial, View
from tests.toy import GRID, ToyDetector, frame

SEEN = View("ego", "vehicle", 0, np.zeros((0, 4), np.float32), np.eye(4))


def boxes(*centres: tuple[float, float], score: float = 0.8) -> Detections:
    made = np.zeros((len(centres), 7), np.float32)
    made[:, :2], made[:, 3:6] = np.array(centres, np.float32).reshape(-1, 2), (4.0, 2.0, 1.5)
    return Detections(made, np.full(len(centres), score, np.float32))


def look(seen, t_ns: int = 0, pose=None) -> Look:
    detector, shown = ToyDetector(), frame(seen)
    ego = View("ego", "vehicle", t_ns, shown.ego.points, np.eye(4) if pose is None else pose)
    to = Request.of(ego)
    sent = [detector.encode(v, to) for v in shown.others.values()]
    return Look(detector.open(ego, to, sent), ego, to, detector)


def ring(*gaps: tuple[float, float]) -> View:
    """Rays that end on the ground all around out to 30 m, but for places where they end on a car."""
    x, y = (g.ravel() for g in np.meshgrid(np.arange(-30, 30, 0.35), np.arange(-30, 30, 0.35)))
    points = np.stack([x, y, np.full(x.size, -2.0), np.ones(x.size)], axis=1)
    for at in gaps:
        near = (np.abs(points[:, 0] - at[0]) < 2.0) & (np.abs(points[:, 1] - at[1]) < 1.0)
        points[near, 2] = -1.0
    return View("ego", "vehicle", 0, points.astype(np.float32), np.eye(4))


def test_match_loss_by_hand():
    a = boxes((0.0, 0.0), (20.0, 0.0))
    assert match_loss(a, a) == pytest.approx(0.0) and match_loss(boxes(), boxes()) == 0.0
    assert match_loss(a, boxes((0.0, 0.0))) == pytest.approx(1 - 2 * 0.8 / 2.4)
    assert match_loss(a, boxes((0.0, 0.0), (22.0, 0.0))) == pytest.approx(1 - 2 * 0.8 * (1 + 1 / 3) / 3.2, abs=1e-4)
    assert match_loss(a, boxes((50.0, 0.0))) == 1.0 == match_loss(a, boxes())
    alone = match_loss(a, boxes((0.0, 0.0)), weight_a=np.array([1.0, 0.0]))
    assert alone == pytest.approx(0.0)  # what does not count cannot be missed


@pytest.mark.parametrize(
    ("p", "level", "refused"),
    [
        ({"a": 0.01, "b": 0.02, "c": 0.9}, 0.05, "ab"),
        ({"a": 0.02, "b": 0.03, "c": 0.9}, 0.05, "ab"),  # .03 <= 2/3 of .05 carries .02 > 1/3 of .05 with it
        ({"a": 0.02, "b": 0.5, "c": 0.9}, 0.05, ""),
        ({}, 0.05, ""),
        ({"a": 0.05}, 0.05, "a"),
    ],
)
def test_benjamini_hochberg(p, level, refused):
    assert refused_by(p, level) == frozenset(refused)


def test_benjamini_hochberg_agrees_with_scipy_of_many():
    from scipy.stats import false_discovery_control

    rng = np.random.default_rng(0)
    for _ in range(50):
        p = {f"t{k}": float(v) for k, v in enumerate(rng.beta(0.5, 1.0, 7))}
        adjusted = false_discovery_control(list(p.values()))
        assert refused_by(p, 0.2) == {i for i, q in zip(p, adjusted, strict=True) if q <= 0.2}


def test_halving_accepts_whole_groups_and_finds_the_one_that_does_not_agree():
    cars, ghosts = [(0.0, 10.0), (10.0, 0.0)], [(float(x), -30.0) for x in range(-30, 31, 10)]
    honest = look({"ego": cars, **dict.fromkeys("abcdefgh", cars)})
    found = halved(honest, ScoreMapOverlap(), lambda size: 0.5, np.random.default_rng(0))
    assert found.used == set("abcdefgh") and len(found.trials) == 1
    attacked = look({"ego": cars, **dict.fromkeys("abcdefg", cars), "h": ghosts})
    found = halved(attacked, ScoreMapOverlap(), lambda size: 0.5, np.random.default_rng(0))
    assert found.used == set("abcdefg") and found.accused == {"h"}
    assert len(found.trials) == 1 + 2 * 3  # two halves on each of three levels


def test_windows_move_by_at_most_gamma_and_settle_between():
    windows = Windows(0.3, alpha=0.2, gamma=0.02, window=30)
    trials = [Trial(frozenset("a"), 0.9, True, 0.7), Trial(frozenset("b"), 0.1, False, 0.7)]
    before = windows.threshold
    for _ in range(60):
        windows.learn(trials)
        assert abs(windows.threshold - before) <= 0.02 + 1e-12
        before = windows.threshold
    assert windows.threshold == pytest.approx(0.5, abs=0.01)  # the middle of .1 and .9
    assert AdaptiveHalving(start_loss=0.3).surrogate(None, "toy").threshold(3) == pytest.approx(0.7)


def test_bayes_by_hand():
    belief = Posterior(TwoGroups(attack_rate=0.2, false_accept=0.1, false_reject=0.1))
    belief.learn(Trial(frozenset("a"), 0.0, False, 0.3))
    assert belief.suspicion("ab") == pytest.approx({"a": 0.2 * 0.9 / (0.2 * 0.9 + 0.8 * 0.1), "b": 0.2})
    belief.learn(Trial(frozenset("b"), 1.0, True, 0.3))
    assert belief.suspicion("b")["b"] == pytest.approx(0.2 * 0.1 / (0.2 * 0.1 + 0.8 * 0.9))
    held = belief.suspicion("a")["a"]
    belief.fade()
    assert 0.2 < belief.suspicion("a")["a"] < held


def test_what_was_seen_before_moves_with_the_ego_and_grows_old():
    before, then = Before(), look({"ego": []})
    before.keep(then, boxes((10.0, 0.0)))
    ahead = pose_xyz_rpy(4.0, 0.0, 0.0, yaw_rad=np.pi / 2)
    now = before.seen_now(look({"ego": []}, t_ns=10**8, pose=ahead))
    assert now is not None and now.boxes[0, :2] == pytest.approx([0.0, -6.0], abs=1e-5)
    assert before.seen_now(look({"ego": []}, t_ns=2 * 10**9)) is None


def test_flow_predicts_a_car_that_drives_on_and_counts_what_comes_from_nowhere():
    flow, cars = Flow(), [(0.0, 0.0), (2.0, 0.0), (4.0, 0.0)]
    for k, at in enumerate(cars[:2]):
        flow.learn(look({"ego": []}, t_ns=k * 10**8), boxes(at))
    now = look({"ego": []}, t_ns=2 * 10**8)
    predicted = flow.predicted(now)
    assert predicted is not None and predicted.boxes[0, :2] == pytest.approx(cars[2])
    assert flow_loss(now, predicted, boxes(), boxes(cars[2]), 0.3) == 0.0
    assert flow_loss(now, predicted, boxes(), boxes((0.0, 15.0)), 0.3) == pytest.approx(0.8)
    assert flow_loss(now, predicted, boxes(), boxes((0.0, 37.0)), 0.3) == 0.0  # it may just have come into range


def test_confidence_and_concordance_look_where_the_rays_were():
    grid = BevGrid(-40.0, -40.0, 1.0, 80, 80)
    sure = confidence(ring(), grid, boxes((10.0, 0.0), (36.0, 36.0)).boxes)
    assert sure[0] == 1.0 and sure[1] == 0.0
    own, more = boxes((10.0, 0.0)), boxes((10.0, 0.0), (36.0, 36.0))
    assert Concordance().of(ring(), grid, own, [more, boxes((10.0, 0.0), (0.0, 10.0))]) == pytest.approx(
        [0.0, -(1 - 1.6 / 2.4)]
    )


def test_boxes_on_free_ground_and_surfaces_without_a_box_are_conflicts():
    ego, car = ring((10.0, 0.0)), (10.0, 0.0)
    own = boxes(car)
    own.boxes[:, 2] = -1.2  # it stands on the ground, 2 m below the sensor
    assert points_inside(ego.points, own.boxes)[0] >= 8
    assert Conflicts().of(ego, own, [boxes(car), boxes(), boxes(car, (-10.0, 5.0))]) == pytest.approx([0.0, 0.8, 0.8])


def test_features_alike_and_not():
    rng = np.random.default_rng(0)
    maps, valid = rng.random((4, 8, 8)).astype(np.float32) ** 4, np.ones((8, 8), np.bool_)
    own = Shared(maps, valid)
    assert likeness(own, own) == pytest.approx((1.0, 1.0))
    cosine, overlap = likeness(own, Shared(maps[:, ::-1], valid))
    assert cosine < 0.9 and overlap < 0.6
    assert likeness(own, Shared(maps, ~valid)) == (0.0, 0.0)
    assert likeness(own, Shared(maps[:, :4], valid[:4])) == (0.0, 0.0)


def test_patches_and_descriptions_of_a_residual():
    own = Shared(np.zeros((2, 8, 8), np.float32), np.ones((8, 8), np.bool_))
    valid = np.zeros((8, 8), np.bool_)
    valid[:4] = True
    sent = Shared(np.full((2, 8, 8), 0.5, np.float32), valid)
    found = patches(own, sent)
    assert found.shape == (2, 32) and (found == 0.5).all()
    said = described(own, sent)
    assert said is not None and said.tolist() == [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.5, 0.5]
    assert described(own, Shared(sent.features, ~own.valid)) is None


def test_a_network_comes_back_from_its_arrays_and_scores_what_it_knows():
    eye, none = np.eye(32, dtype=np.float32), np.zeros(32, np.float32)
    network = Network(((eye, none),), none, np.ones(32, np.float32))
    again = Network.of(network.arrays("x"), "x")
    assert again is not None and Network.of({}, "x") is None
    own = Shared(np.zeros((2, 4, 4), np.float32), np.ones((4, 4), np.bool_))
    sent = Shared(np.ones((2, 4, 4), np.float32), own.valid)
    assert reconstruction(again, own, sent) == pytest.approx(0.0)
    half = Network(((eye / 2, none),), none, np.ones(32, np.float32))
    assert reconstruction(half, own, sent) == pytest.approx(0.25)
    assert reconstruction(half, own, Shared(sent.features, ~own.valid)) is None


def test_two_votes_make_a_box_and_the_ego_needs_none():
    seen = look({"ego": [(0.0, 0.0)], "a": [(0.0, 0.0), (20.0, 0.0), (0.0, 30.0)], "b": [(20.0, 0.0)]})
    found = LateVotes().decide(seen)
    assert found.result is not None
    assert {tuple(b[:2]) for b in found.result.boxes.tolist()} == {(0.0, 0.0), (20.0, 0.0)}
    three = np.array([[0, 0, 0, 4, 2, 1, 0.1], [1, 0, 0, 4, 2, 1, 0.2], [9, 0, 0, 4, 2, 1, 0.3]], np.float32)
    made = middle(three, np.array([1, 2, 3]), np.array([0.5, 0.9, 0.7]))
    assert made[0] == 1.0 and made[6] == pytest.approx(0.2)  # one of three does not move it


@pytest.mark.parametrize("how", ["median", "trimmed", "geometric"])
def test_one_of_five_does_not_move_a_robust_map(how):
    maps = np.stack([np.full((2, 4, 4), v, np.float32) for v in (1.0, 1.0, 1.0, 1.0, 100.0)])
    valid = np.ones((5, 4, 4), np.bool_)
    assert aggregated(maps, valid, how) == pytest.approx(np.ones((2, 4, 4)), abs=0.02)
    valid[1:4, 0] = False  # in the first row one honest and one malicious value are left
    assert np.isfinite(aggregated(maps, valid, how)).all()
    same = np.stack([maps[0]] * 5)
    assert aggregated(same, valid, how) == pytest.approx(maps[0])


def test_the_critical_object_is_the_egos():
    ahead, aside = (12.0, 0.0), (12.0, 20.0)
    seen = look({"ego": [ahead], "a": [aside]})
    kept = CriticalObject().decide(seen)
    assert kept.used == {"a"} and kept.result is not None and len(kept.result) == 2 and not kept.sources
    assert Critical().nearest(boxes((30.0, 0.0), ahead, (5.0, 9.0), (-3.0, 0.0))) == 1
    assert Critical().nearest(boxes(aside)) is None


def test_the_toy_grid_is_the_one_that_is_looked_at():
    assert look({"ego": []}).grid == GRID
