"""`Certified`: what it gives holds whoever attacks and whatever subsets with an attacker show."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robosac
from robosac.boxes import iou_bev
from robosac.certificates import Nearby, Witnesses, withstands
from robosac.defenses import Certified
from robosac.defenses.certified import certified_result, subsets_of
from robosac.defenses.protocol import Adaptable
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.play import play
from robosac.registry.defenses import open_defense, policy
from robosac.types import EGO_ALONE, Detections, InputError, Subset, Truth, Verdict, keyed_rng
from tests.toy import ToyDetector, detections, frame

NAMES = "abcde"
EVERY = [frozenset(c) for k in range(6) for c in combinations(NAMES, k)]
SPOTS = np.array([(x, y) for x in range(-30, 31, 12) for y in (-20, 0, 20)], float)


def shown(rng: np.random.Generator, spots: np.ndarray, scatter_m: float) -> Detections:
    """Some of the spots, a little beside them, with random scores."""
    boxes = np.zeros((len(spots), 7), np.float32)
    boxes[:, :2] = spots + rng.uniform(-scatter_m, scatter_m, (len(spots), 2))
    boxes[:, 3:7] = 4, 2, 1.5, 0.1
    return Detections(boxes, rng.uniform(0.1, 1, len(spots)).astype(np.float32))


def honest_world(rng: np.random.Generator) -> dict[Subset, Detections]:
    """Each agent sees some of the spots; a subset shows what one of its members sees, mostly."""
    sees = {name: rng.random(len(SPOTS)) < 0.45 for name in ("ego", *NAMES)}
    world = {}
    for subset in EVERY:
        there = np.any([sees[i] for i in ("ego", *subset)], axis=0) & (rng.random(len(SPOTS)) < 0.95)
        world[subset] = shown(rng, SPOTS[there], 0.3)
    return world


def hostile(rng: np.random.Generator) -> Detections:
    """Nothing, ghosts, moved cars with full scores, or numbers that are none."""
    kind = rng.integers(4)
    if kind == 0:
        return Detections.empty()
    there = SPOTS[rng.random(len(SPOTS)) < 0.7] + (rng.uniform(-2.5, 2.5, 2) if kind == 1 else 6.0 * (kind == 2))
    found = shown(rng, there, 0.2)
    found.boxes[rng.random(len(there)) < 0.5 * (kind == 3)] = np.nan
    return Detections(found.boxes, np.ones(len(there), np.float32))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 2), st.sampled_from([Nearby(metres=1.5), Certified().tolerance]), st.integers(0, 10**6))
def test_whatever_m_attackers_make_of_their_subsets(m: int, tolerance: object, seed: int) -> None:
    rng = keyed_rng(seed, "hostile world")
    honest = honest_world(rng)
    attackers = frozenset(rng.permutation(list(NAMES))[:m])
    free = {s: d for s, d in honest.items() if not s & attackers}
    attacked = {s: free[s] if s in free else hostile(rng) for s in EVERY}
    defense = Certified(attackers=m, tolerance=tolerance)
    result, found = certified_result(attacked, NAMES, defense)
    # nothing is invented: an attacker-free subset shows each box, with at least the score that is given
    by_honest = Witnesses.of(result.boxes, free, NAMES, defense.tolerance).scores.max(axis=1)
    assert (result.scores <= by_honest).all()
    assert np.isfinite(result.boxes).all()
    assert (np.diff(result.scores) <= 0).all()
    assert found.certified_scores(m).astype(np.float32).tolist() == result.scores.tolist()
    # nothing is lost that the ego shows, and nothing that 2m + 1 were needed to invent
    over = iou_bev(honest[EGO_ALONE].boxes, result.boxes) >= defense.overlap - 1e-4
    best = np.where(over, result.scores, 0).max(axis=1, initial=0)
    assert (best >= honest[EGO_ALONE].scores).all()
    everybody = honest[frozenset(NAMES)].boxes
    fewest = Witnesses.of(everybody, honest, NAMES, defense.tolerance).inventors()
    near = np.linalg.norm(everybody[:, None, :2] - result.boxes[None, :, :2], axis=2).min(axis=1, initial=np.inf)
    assert (near[withstands(fewest, 2 * m)] < 4).all()
    # and no two boxes are of one object
    iou = iou_bev(result.boxes, result.boxes)
    assert (iou[~np.eye(len(iou), dtype=bool)] <= defense.overlap + 1e-4).all()


def test_a_box_is_put_where_the_median_rule_says() -> None:
    """Of two cars one is seen by the ego, the other by three teammates, who put it on their median."""
    sees = {"ego": [(0.0, 0.0)], "a": [(0.4, 0.0), (20.0, 0.0)], "b": [(20.3, 0.0)], "c": [(21.2, 0.0)]}
    decodes = {
        s: detections(np.array([c for i in ("ego", *sorted(s)) for c in sees[i]]))
        for s in (frozenset(c) for k in (0, 1) for c in combinations("abc", k))
    }
    result, found = certified_result(decodes, "abc", Certified())
    assert result.boxes[:, 0].tolist() == pytest.approx([0.0, 20.3])
    assert found.inventors() == (None, 3)


def at(x: float, y: float, score: float) -> Detections:
    return Detections(np.array([[x, y, 0, 4, 2, 1.5, 0]], np.float32), np.array([score], np.float32))


def test_the_egos_box_stands_before_a_better_one_that_overlaps_it() -> None:
    decodes = {EGO_ALONE: at(0, 0, 0.4)} | {frozenset(name): at(2.6, 0, 0.9) for name in "abc"}
    result, _ = certified_result(decodes, "abc", Certified())
    assert result.boxes[:, 0].tolist() == [0.0]
    assert result.scores.tolist() == pytest.approx([0.4])


def test_a_box_stays_where_the_median_would_leave_it() -> None:
    """The middle is 4 m from the ego's box; and further than a metre from who gives the other its second best score."""
    row = {"a": 8, "b": 8, "c": 16, "d": 16}
    decodes = {EGO_ALONE: at(0, 0, 0.5)} | {frozenset(name): at(x, 0, 0.9) for name, x in row.items()}
    result, _ = certified_result(decodes, "abcd", Certified(tolerance=Nearby(metres=8.5)))
    assert sorted(result.boxes[:, 0].tolist()) == [0.0, 8.0, 12.0]
    around = {"a": at(0, 0, 0.8), "b": at(1, 0, 0.9), "c": at(-0.5, 0.85, 0.3), "d": at(-0.5, -0.85, 0.3)}
    decodes = {EGO_ALONE: Detections.empty()} | {frozenset(name): d for name, d in around.items()}
    result, _ = certified_result(decodes, "abcd", Certified(tolerance=Nearby(metres=1.0)))
    assert result.boxes[0, :2].tolist() == [0.0, 0.0]
    assert result.scores[0] == pytest.approx(0.8)


def test_a_verdict_through_the_facade() -> None:
    world = frame({"ego": [(0, 0)], "a": [(0, 0), (10, 0)], "b": [(10, 0), (20, 0)], "c": [(10, 0)]})
    verdict = robosac.wrap(ToyDetector(), Certified(attackers=1))(world)
    assert verdict.certificates == (None, 3)  # the third car is one that b alone shows
    assert verdict.decodes == 8
    assert (verdict.used, verdict.accused) == (frozenset("abc"), frozenset())
    assert EGO_ALONE in verdict.support[0]
    assert EGO_ALONE not in verdict.support[1]
    assert verdict.reason == "2 of 2 boxes are shown whichever 1 of 3 attack"
    assert robosac.wrap(ToyDetector(), Certified(attackers=2))(world).certificates == (None, 3)
    assert robosac.wrap(ToyDetector(), Certified(attackers=3))(world).certificates == (None,)
    alone = robosac.wrap(ToyDetector(), Certified())(frame({"ego": [(0, 0)]}))
    assert (alone.certificates, alone.decodes) == ((None,), 1)
    assert robosac.wrap(ToyDetector(), Certified())(frame({"ego": [], "a": []})).certificates == ()


def test_larger_teams_are_sampled_in_disjoint_groups() -> None:
    ids = [f"v{k}" for k in range(12)]
    chosen = subsets_of(ids, 64, 1, keyed_rng(0, "sample"))
    assert len(chosen) == len(set(chosen)) == 64
    assert chosen[0] == EGO_ALONE
    assert {s for s in chosen if len(s) == 1} == {frozenset([i]) for i in ids}
    assert max(map(len, chosen)) == 6
    pairs = chosen[13:19]
    assert frozenset().union(*pairs) == set(ids)
    assert sum(map(len, pairs)) == 12
    assert subsets_of(ids[:6], 64, 1, keyed_rng(0)) == [
        frozenset(c) for k in range(7) for c in combinations(ids[:6], k)
    ]
    few = subsets_of(ids, 5, 2, keyed_rng(0, "few"))
    assert [len(s) for s in few] == [0, 1, 1, 1, 1]
    assert len(subsets_of(ids[:7], 500, 9, keyed_rng(0, "all singles"))) == 128
    assert len(subsets_of(ids[:7], 100, 9, keyed_rng(0, "no groups"))) == 8


def test_a_sampled_team_is_defended() -> None:
    cars = {f"v{k}": [(10.0, 0.0)] for k in range(3)} | {f"v{k}": [(0.0, 10.0)] for k in range(3, 20)}
    verdict = robosac.wrap(ToyDetector(), Certified(attackers=2))(frame({"ego": [], **cars}))
    assert verdict.decodes == 64
    told = dict(zip(verdict.result.boxes[:, 1].tolist(), verdict.certificates or (), strict=True))
    assert told[0.0] == 3
    assert told[10.0] >= 3  # a bound: not more than the 17 there are
    assert told[10.0] <= 17


def test_presets_and_settings() -> None:
    assert open_defense("certified-2") == Certified(attackers=2)
    assert policy("certified-1").make(5) == Certified(attackers=1)  # against whom is certified, not how many attack
    with pytest.raises(InputError, match="expected attackers >= 0, got -1"):
        Certified(attackers=-1)
    with pytest.raises(InputError, match=r"expected overlap in \[0, 1\], got 2"):
        Certified(overlap=2)


def test_verdicts_say_as_many_certificates_as_boxes() -> None:
    with pytest.raises(InputError, match="certificates to be one for each of 0 boxes, got 1"):
        Verdict(
            Detections.empty(), EGO_ALONE, EGO_ALONE, {}, (), 1, {}, "", certificates=(1,)
        )  # fmt: skip


def test_certified_recall_of_a_frame() -> None:
    """One car is shown by the ego, one by three, one by b alone: nobody is told of it. At -20 there is none."""
    seen = {"ego": [(0, 0), (-20, 0)], "a": [(0, 0), (10, 0)], "b": [(10, 0), (20, 0)], "c": [(10, 0)]}
    made = frame(seen)
    cars = detections(np.array([(0.0, 0.0), (10.0, 0.0), (20.0, 0.0)])).boxes
    points = {i: np.full(3, 9) for i in seen}
    poses = {i: np.eye(4) for i in seen}
    truth = Truth(cars, ("x", "y", "z"), points, poses, frozenset())
    records = {}
    for p in play([(made, truth)], ToyDetector(), None, (0,), [policy("none"), policy("certified-2")], seed=0):
        records[p.policy] = p.record
    assert records["none"].certified == ()
    assert records["certified-2"].certified == (2, 2)
    assert records["certified-2"].matches.n_gt == 3
    assert FrameRecord.from_dict(records["certified-2"].to_dict()).certified == (2, 2)


def test_what_an_attacker_who_knows_it_is_told() -> None:
    defense = Certified(attackers=1)
    assert isinstance(defense, Adaptable)
    told = defense.surrogate(None, "toy")
    drawn = told.draw(NAMES, 31, keyed_rng(0, "draw"))
    assert set(drawn) == set(EVERY) - {EGO_ALONE}
    assert len(told.draw(NAMES, 4, keyed_rng(0, "draw"))) == 4
    assert told.draw((), 4, keyed_rng(0, "draw")) == []
    agreed = told.against(None, frame({"ego": []}).ego, None)(Logits())
    assert agreed == told.threshold(3) + 1


class Logits:
    """All that the surrogate asks of a tensor."""

    def sum(self, dim: tuple[int, int]) -> float:
        assert dim == (-2, -1)
        return 7.0
