"""Whatever the results of teammates are: nothing raises, the ego keeps what it surely sees, and verdicts are sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.agreement import ScoreMapOverlap
from robosac.boxes import iou_bev, reaches
from robosac.defenses import Robosac
from robosac.defenses.ranking import Ranking
from robosac.types import EGO_ALONE, Detections, Subset, Trial, Verdict, keyed_rng
from tests.defenses.honest import allowing
from tests.defenses.scripted import ByScript, step

NAMES = "abcdefghijklmnopqrst"
SPOTS = np.array([(x, y) for x in range(-36, 37, 12) for y in (-24, -8, 8, 24)], float)


def anything(rng: np.random.Generator, *, broken: bool) -> Detections:
    """Some boxes at or beside some spots, of any score; now and then nothing, no numbers, boxes without a size."""
    here = SPOTS[rng.random(len(SPOTS)) < rng.choice([0.1, 0.4, 0.8])]
    boxes = np.zeros((len(here), 7), np.float32)
    boxes[:, :2] = here + rng.normal(0, rng.choice([0.1, 0.8, 2.0]), here.shape)
    boxes[:, 3:7] = 4, 2, 1.5, rng.choice([0.0, 0.1, 1.5])
    scores = np.sort(rng.choice([0, 0.1, 0.24, 0.25, 0.5, 0.51, 0.9, 1], len(here)))[::-1].astype(np.float32)
    if broken and len(here):
        kind = rng.integers(5)
        if kind == 0:
            boxes[rng.integers(len(here))] = rng.choice([np.nan, np.inf])
        elif kind == 1:
            scores[rng.integers(len(here))] = np.nan
        elif kind == 2:
            boxes[rng.random(len(here)) < 0.5, 3] = 0
        elif kind == 3:
            boxes *= np.float32(1e6)
    return Detections(boxes, scores)


def hostile(seed: int, *, own_broken: bool = False, near_own: float = 0.5) -> ByScript:
    """Any results; half of those of teammates are the ego's with other boxes beside."""
    own = anything(keyed_rng(seed, "own"), broken=own_broken)

    def script(subset: Subset) -> Detections:
        if not subset:
            return own
        rng = keyed_rng(seed, *sorted(subset))
        found = anything(rng, broken=True)
        if rng.random() > near_own:
            return found
        kept = rng.random(len(own)) < rng.choice([0.5, 0.9, 1.0])
        return Detections(
            np.concatenate([own.boxes[kept], found.boxes]), np.concatenate([own.scores[kept], found.scores])
        )

    return ByScript(script)


LIMITS: dict[str, dict[str, float]] = {
    "everything passes": {},
    "honest ones": {"agreement": 0.1, "claims": 6, "together": 4, "strain": 2.0},
    "no strain at all": {"agreement": 0.1, "claims": 20, "together": 20, "strain": 0.0},
    "nothing passes": {"agreement": 1.0, "claims": 0, "together": 0, "strain": 0.0},
}
DEFENSES = [
    Robosac(agreement=ScoreMapOverlap()),
    Robosac(agreement=ScoreMapOverlap(), attackers=1, pool=1, ranking=Ranking(own_score=0.1)),
    Robosac(agreement=ScoreMapOverlap(), budget=5, pool=3, ranking=Ranking(own_score=0.3, put_back=1.0)),
    Robosac(agreement=ScoreMapOverlap(), ranking=Ranking(drop_free=False, nobody=0.0)),
]


def played(seed: int, n: int, defense: Robosac, limits: str, **script: Any) -> tuple[Verdict, ByScript]:
    detector = hostile(seed, **script)
    calibration = allowing(defense, detector="scripted", **LIMITS[limits])
    return step(defense, detector, NAMES[:n], calibration, seed=seed), detector


def check(verdict: Verdict, detector: ByScript, defense: Robosac, ids: Sequence[str]) -> None:
    """A verdict that says what was done."""
    everybody = frozenset(ids)
    result, decoded = verdict.result, detector.sessions[-1].decoded
    large = len(ids) > defense.alone and defense.attackers is None
    alone = next(k for k in range(len(verdict.trials) + 1) if covers(verdict.trials[:k], ids))
    joint = verdict.trials[alone:]
    assert verdict.used <= everybody and verdict.accused <= everybody - verdict.used
    assert set(verdict.suspicion) == everybody and all(0 <= s <= 1 for s in verdict.suspicion.values())
    assert all(verdict.suspicion[i] == 1 for i in verdict.accused)
    assert len(joint) <= defense.budget and len({t.subset for t in verdict.trials}) == len(verdict.trials)
    if not large:
        assert [t.subset for t in verdict.trials[: len(ids)]] == [frozenset({i}) for i in ids]
    assert all(frozenset({i}) in decoded for i in verdict.accused)
    accepted = EGO_ALONE.union(*(t.subset for t in verdict.trials if t.accepted))
    assert verdict.used <= accepted
    judged = {t.subset for t in verdict.trials} | {EGO_ALONE}
    assert verdict.decodes == len(decoded) and (judged <= set(decoded) if large else judged == set(decoded))
    assert len(verdict.sources) == len(verdict.support) == len(verdict.certificates or ()) == len(result)
    assert verdict.reason and sum(verdict.ms.values()) > 0
    if not verdict.used:
        np.testing.assert_array_equal(result.boxes, decoded[EGO_ALONE].boxes)
        np.testing.assert_array_equal(result.scores, decoded[EGO_ALONE].scores)
    else:
        assert result.finite and (np.diff(result.scores) <= 0).all()
        assert ((result.scores >= 0) & (result.scores <= 1)).all()
    for sources, support in zip(verdict.sources, verdict.support, strict=True):
        assert sources <= verdict.used and all(s <= verdict.used and (large or len(s) <= 1) for s in support)


def covers(trials: Sequence[Trial], ids: Sequence[str]) -> bool:
    """Whether these are of disjoint subsets that make up everybody."""
    return sorted(i for t in trials for i in t.subset) == sorted(ids)


hostile_frames = given(
    st.integers(0, 10**6), st.sampled_from([0, 1, 2, 3, 5, 7]), st.sampled_from(DEFENSES), st.sampled_from(list(LIMITS))
)


@settings(max_examples=60)
@hostile_frames
def test_the_ego_keeps_what_it_surely_sees(seed: int, n: int, defense: Robosac, limits: str) -> None:
    """Each of its boxes of `own_score` and more is there, or one over it."""
    verdict, detector = played(seed, n, defense, limits)
    own = detector.sessions[-1].decoded[EGO_ALONE]
    sure = own.boxes[own.scores >= defense.ranking.own_score]
    there = reaches(iou_bev(sure, verdict.result.boxes), 0.3).any(axis=1)
    there |= (sure[:, None] == verdict.result.boxes[None]).all(axis=2).any(axis=1)
    assert there.all()
    check(verdict, detector, defense, NAMES[:n])


@settings(max_examples=25)
@hostile_frames
def test_a_broken_ego_raises_nothing(seed: int, n: int, defense: Robosac, limits: str) -> None:
    verdict, detector = played(seed, n, defense, limits, own_broken=True)
    check(verdict, detector, defense, NAMES[:n])


@settings(max_examples=25)
@hostile_frames
def test_what_is_used_was_verified(seed: int, n: int, defense: Robosac, limits: str) -> None:
    """Each box rests on a subset that was accepted, each member of it on a single that was."""
    verdict, _ = played(seed, n, defense, limits)
    held = {t.subset for t in verdict.trials if t.accepted}
    assert all(frozenset({i}) in held for i in verdict.used)
    for t in verdict.trials:
        if t.accepted and len(t.subset) > 1:
            assert t.agreement >= t.threshold and t.scores["strain"] <= 1 and not t.scores["together"]


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from([2, 4, 7, 12]), st.sampled_from(list(LIMITS)), st.integers(2, 8))
def test_a_batch_changes_no_verdict(seed: int, n: int, limits: str, batch: int) -> None:
    found = []
    for size in (1, batch):
        defense = Robosac(agreement=ScoreMapOverlap(), budget=16, batch=size)
        found.append(played(seed, n, defense, limits, near_own=0.9)[0])
    one, many = found
    assert one.trials == many.trials and (one.used, one.accused) == (many.used, many.accused)
    np.testing.assert_array_equal(one.result.boxes, many.result.boxes)
    np.testing.assert_array_equal(one.result.scores, many.result.scores)
    assert one.sources == many.sources and one.certificates == many.certificates


@pytest.mark.parametrize("n", [0, 1, 2, 20])
@pytest.mark.parametrize("limits", LIMITS)
def test_teams_of_every_size(n: int, limits: str) -> None:
    for defense in DEFENSES:
        verdict, detector = played(7, n, defense, limits)
        check(verdict, detector, defense, NAMES[:n])


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(list(LIMITS)))
def test_nobody_is_accused_by_what_others_send(seed: int, limits: str) -> None:
    """The same teammate with the same single, among any others and in any joint results."""
    single = hostile(seed).script(frozenset("a"))
    own = hostile(seed).script(EGO_ALONE)
    defense = DEFENSES[0]
    calibration = allowing(defense, detector="scripted", **LIMITS[limits])

    def accused(others: str, world: int) -> frozenset[str]:
        elsewhere = hostile(world).script
        known = {EGO_ALONE: own, frozenset("a"): single}
        detector = ByScript(lambda s: known[s] if s in known else elsewhere(s))
        return step(defense, detector, ["a", *others], calibration).accused & {"a"}

    alone = accused("", 0)
    assert all(accused(others, seed + k) <= alone for k, others in enumerate(("b", "bcd", "bcdefg")))
