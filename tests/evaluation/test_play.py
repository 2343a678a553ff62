"""Playing a scenario: who attacks, who hears what, and that order and company change nothing."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from robosac.agreement import DEFAULT_GRID, ScoreMapOverlap
from robosac.air import Knowledge, KnowledgeError
from robosac.defenses import EgoOnly, NoDefense, Robosac
from robosac.evaluation.play import Policy, all_honest, choose_attackers, oracle, play, region_of
from robosac.types import EGO_ALONE, InputError, Truth
from tests.toy import ToyDetector, frame

CARS = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0), (20.0, -10.0)]
INVENTED = np.array([(x, y) for x in (-35.0, -25.0, -5.0, 5.0, 15.0) for y in (30.0, 35.0, -20.0)], np.float32)


@dataclass(frozen=True, kw_only=True)
class Inventor:
    """Sends boxes that are not there; reads what `reads` says, whatever it declared."""

    knowledge: Knowledge = Knowledge.NONE
    reads: str = ""

    def start(self, scenario, attackers, rng):
        return self

    def send(self, air):
        if self.reads:
            getattr(air, self.reads)
        return [m.with_payload(centres=INVENTED) for m in air.honest.values()]


def scene(n_frames=2, teammates="abcd"):
    for k in range(n_frames):
        f = frame({"ego": CARS, **{i: [*CARS, (30.0, 10.0 * j)] for j, i in enumerate(teammates)}})
        boxes = np.array(
            [[x, y, 0, 4, 2, 1.5, 0] for x, y in [*CARS, *((30.0, 10.0 * j) for j in range(4))]], np.float32
        )
        hits = {a: np.full(len(boxes), 9) for a in ("ego", *teammates)}
        poses = {a: np.eye(4) for a in hits}
        yield type(f)(f.scenario, k, f.ego, f.others), Truth(boxes, np.arange(len(boxes)), hits, poses)


ROBOSAC = Robosac(agreement=ScoreMapOverlap(slack=0.0), threshold=0.4)
POLICIES = [
    Policy("ego", lambda m: EgoOnly()),
    Policy("none", lambda m: NoDefense()),
    Policy("robosac", lambda m: ROBOSAC),
    oracle(),
    all_honest(),
]


def played(attack=None, counts=(0, 1, 2), policies=POLICIES, seed=0, **kwargs):
    found = play(scene(**kwargs), ToyDetector(), attack or Inventor(), counts, policies, seed=seed)
    return {(p.n_attackers, p.policy, p.frame.index): p for p in found}


def test_every_cell_once_in_every_frame():
    assert len(played()) == 3 * 5 * 2


def test_the_attackers_lie_and_only_they():
    for (m, policy, _), p in played().items():
        assert len(p.truth.attackers) == (0 if policy == "all-honest" else m)
        assert p.record.attackers == p.truth.attackers
    none = played()[2, "none", 0]
    assert len(none.verdict.result) > len(INVENTED)
    assert len(played()[0, "none", 0].verdict.result) == 9


def test_policies_do_what_they_are_named():
    found = played()
    assert found[2, "ego", 0].verdict.used == EGO_ALONE
    assert found[2, "none", 0].verdict.used == frozenset("abcd")
    assert found[2, "all-honest", 0].verdict.used == frozenset("abcd")
    attackers = found[2, "oracle", 0].truth.attackers
    assert found[2, "oracle", 0].verdict.used == frozenset("abcd") - attackers
    assert found[2, "robosac", 1].verdict.used == frozenset("abcd") - attackers


def test_company_changes_no_verdict():
    together = played()
    alone = played(counts=(2,), policies=[POLICIES[2]])
    for key, p in alone.items():
        assert together[key].verdict.trials == p.verdict.trials
        assert together[key].record.used == p.record.used


def test_attackers_are_nested_uniform_and_keyed():
    ids = list("abcde")
    chosen = [choose_attackers(0, "s", ids, m) for m in range(6)]
    assert all(a < b for a, b in pairwise(chosen)) and chosen[5] == frozenset(ids)
    assert choose_attackers(0, "s", ids[::-1], 2) == chosen[2]
    counts = {i: sum(i in choose_attackers(seed, "s", ids, 2) for seed in range(500)) for i in ids}
    assert all(150 < n < 250 for n in counts.values())


def test_more_attackers_than_teammates_is_refused():
    with pytest.raises(InputError, match="at most 4 attackers"):
        played(counts=(5,))


@pytest.mark.parametrize(
    ("reads", "needed"),
    [
        ("detector", Knowledge.MODEL),
        ("others", Knowledge.TEAMMATES),
        ("ego", Knowledge.VICTIM),
        ("defense", Knowledge.DEFENSE),
    ],
)
def test_an_attack_reads_only_what_it_declared(reads, needed):
    with pytest.raises(KnowledgeError, match="declared only"):
        played(Inventor(reads=reads))
    played(Inventor(reads=reads, knowledge=needed))


def test_a_detector_without_a_grid_is_judged_on_the_default_one():
    found = list(play(scene(), ToyDetector(grid=None), None, (0,), POLICIES[1:2], seed=0))
    assert region_of(ToyDetector(grid=None)) == DEFAULT_GRID
    assert found[0].record.matches.n_gt == len(CARS) + 4


@dataclass(frozen=True)
class Counts:
    """Sends as many boxes that are not there as the frame's number says: another message in every frame."""

    knowledge: Knowledge = Knowledge.NONE

    def start(self, scenario, attackers, rng):
        return self

    def send(self, air):
        return [m.with_payload(centres=INVENTED[: 1 + air.index]) for m in air.honest.values()]


def test_attacked_messages_are_those_of_the_frame():
    """And not those of the first frame sent again."""
    found = played(Counts(), counts=(1,), n_frames=3)
    for policy in ("none", "oracle", "all-honest"):
        boxes = [len(found[1, policy, k].verdict.result) for k in range(3)]
        assert np.diff(boxes).tolist() == ([1, 1] if policy == "none" else [0, 0])


def test_everybody_hears_the_same_attack():
    """It is made once a frame, and each policy gets the same messages."""
    calls = []

    class Once(Counts):
        def send(self, air):
            calls.append(air.index)
            return super().send(air)

    played(Once(), counts=(1, 2), n_frames=3)
    assert calls == [0, 0, 1, 1, 2, 2]
