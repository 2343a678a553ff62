"""Playing a scenario: who attacks, who hears what, and that order and company change nothing."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from robosac.agreement import DEFAULT_GRID, ScoreMapOverlap
from robosac.air import Knowledge, KnowledgeError
from robosac.defenses import EgoOnly, NoDefense, RobosacAgreement
from robosac.evaluation.play import Policy, all_honest, choose_attackers, encode_frames, oracle, play, region_of
from robosac.types import EGO_ALONE, Detections, InputError, Truth
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


ROBOSAC = RobosacAgreement(agreement=ScoreMapOverlap(slack=0.0), threshold=0.4)
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


def test_a_defence_is_asked_for_a_surrogate_only_by_attacks_that_adapt_to_it():
    """`PoseChecked` before a defence that has none stands against every other attack."""

    class Unknown(NoDefense):
        def surrogate(self, calibration, detector):
            raise InputError("expected inner to be a defence that can be adapted to")

    alone = [Policy("unknown", lambda m: Unknown())]
    assert len(played(policies=alone)) == 6
    with pytest.raises(InputError, match="can be adapted to"):
        played(Inventor(knowledge=Knowledge.DEFENSE), policies=alone)


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


# ---------------------------------------------------------------------------------- who appears later, and who leaves
def comings_and_goings(present):
    """A drive in whose frame k the teammates `present[k]` are in range."""
    for teammates, (f, truth) in zip(present, scene(len(present)), strict=True):
        yield replace(f, others={i: v for i, v in f.others.items() if i in teammates}), truth


@pytest.mark.parametrize(("present", "attacked"), [(["", "a", "a"], 2), (["a", "", "a"], 2), (["", "", "a"], 1)])
def test_a_drive_whose_first_frame_shows_nobody_is_attacked_where_somebody_is(present, attacked):
    frames = comings_and_goings(present)
    found = list(play(frames, ToyDetector(), Inventor(), (1,), POLICIES[1:2], seed=0, teammates="a"))
    assert [len(p.truth.attackers) for p in found] == [len(p) for p in present] and attacked == sum(map(len, present))
    boxes = [len(p.verdict.result) for p in found]
    assert all((n > len(INVENTED)) == bool(p) for n, p in zip(boxes, present, strict=True))


def test_attackers_are_drawn_from_all_who_appear():
    """Each as often, whether the first frame shows it or not."""
    counts = dict.fromkeys("abcd", 0)
    for seed in range(60):
        frames = comings_and_goings(["a", "ab", "cd"])
        (*_, last) = play(frames, ToyDetector(), Inventor(), (4,), POLICIES[1:2], seed=seed, teammates="abcd")
        assert last.truth.attackers == frozenset("cd")
        (one,) = choose_attackers(seed, "toy", "abcd", 1)
        counts[one] += 1
        frames = comings_and_goings([one, "abcd"])
        first, _ = play(frames, ToyDetector(), Inventor(), (1,), POLICIES[1:2], seed=seed, teammates="dcba")
        assert first.truth.attackers == {one}
    assert all(5 < n < 26 for n in counts.values())


def test_encoded_frames_are_played_as_they_are():
    encoded = list(encode_frames(scene(), ToyDetector()))
    assert list(encode_frames(encoded, None)) == encoded
    made = [p.record.digest for p in play(encoded, ToyDetector(), Inventor(), (1,), POLICIES, seed=0)]
    assert made == [p.record.digest for p in play(scene(), ToyDetector(), Inventor(), (1,), POLICIES, seed=0)]


# -------------------------------------------------------------------------------------------------------- broken models
@dataclass
class Broken(ToyDetector):
    """What it makes of honest messages, or of any, is not finite in one array."""

    array: str = "boxes"
    bears: int = 0  # so many boxes

    def open(self, ego, to, messages):
        session = super().open(ego, to, messages)
        sound = session.detect

        def detect(subsets):
            return [
                r if len(r) <= self.bears else replace(r, **{self.array: getattr(r, self.array) * np.nan})
                for r in sound(subsets)
            ]

        session.detect = detect
        return session


@pytest.mark.parametrize("array", ["boxes", "scores", "score_map"])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: p.name)
@pytest.mark.parametrize("count", [0, 2])
def test_a_broken_model_is_no_model_that_finds_nothing(array, policy, count):
    with pytest.raises(InputError, match="expected finite results of 'toy', got NaN"):
        list(play(scene(1), Broken(array=array), Inventor(), (count,), [policy], seed=0))


def test_what_an_attack_breaks_is_judged():
    """The boxes that became NaN are mistakes, like any other boxes on nothing."""
    (sound,) = play(scene(1), ToyDetector(), Inventor(), (1,), POLICIES[1:2], seed=0)
    hits = int((sound.record.matches.hits(0.5) == 1).sum())
    assert hits > 0
    for array, found in (("boxes", 0), ("scores", 0), ("score_map", hits)):
        detector = Broken(array=array, bears=9)
        (p,) = play(scene(1), detector, Inventor(), (1,), POLICIES[1:2], seed=0)
        assert len(p.record.matches.scores) == len(p.verdict.result) == len(p.judged) > 9
        assert np.isfinite(p.judged.boxes).all() and np.isfinite(p.judged.scores).all()  # as `--save-boxes` keeps them
        assert (p.record.matches.hits(0.5) == 1).sum() == found
        assert (p.record.matches.hits(0.5) == 0).sum() == len(p.verdict.result) - found


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_honest_message_that_is_not_finite_is_the_models_fault(value):
    class Overflows(ToyDetector):
        def encode(self, view, to):
            sent = super().encode(view, to)
            return sent.with_payload(centres=sent.payload["centres"] + value) if view.id == "c" else sent

    with pytest.raises(InputError, match="'toy' to encode finite messages, got NaN or inf in 'centres' of 'c'"):
        list(play(scene(1), Overflows(), None, (0,), POLICIES[:1], seed=0))


def test_a_model_that_cannot_bear_many_honest_messages_is_broken():
    """The defence would go on with fewer, or with the ego alone, and the figures would not say why."""
    detector = Broken(array="scores", bears=8)
    for policy in POLICIES[1:3]:
        with pytest.raises(InputError, match="expected finite results of 'toy', got NaN"):
            list(play(scene(1), detector, None, (0,), [policy], seed=0))
    (p,) = play(scene(1), detector, None, (0,), POLICIES[:1], seed=0)  # the ego alone is not concerned
    assert len(p.verdict.result) == len(CARS)


def test_a_trial_that_an_attack_breaks_is_a_trial():
    detector = Broken(array="score_map", bears=9)
    (p,) = play(scene(1), detector, Inventor(), (2,), POLICIES[2:3], seed=0)
    assert p.verdict.used == frozenset("abcd") - p.truth.attackers
    assert [t.scores for t in p.verdict.trials if t.subset & p.truth.attackers and t.scores] != []
    assert all(t.agreement == 0 and not t.accepted for t in p.verdict.trials if t.scores)


def test_a_defence_that_shows_nothing_hides_no_broken_model():
    """Of any kind: whether it leaves out what is not finite, and what it tries, is its own business."""

    @dataclass(frozen=True)
    class Silent(NoDefense):
        def start(self, scenario, calibration, rng):
            inner = super().start(scenario, calibration, rng)
            step = inner.step
            inner.step = lambda *a: replace(step(*a), result=Detections.empty(), sources=())
            return inner

    policy = Policy("silent", lambda m: Silent())
    for m in (0, 2):
        with pytest.raises(InputError, match="expected finite results of 'toy'"):
            list(play(scene(1), Broken(array="score_map", bears=5), Inventor(), (m,), [policy], seed=0))
        (p,) = play(scene(1), ToyDetector(), Inventor(), (m,), [policy], seed=0)
        assert p.record.matches.n_gt > 0 and len(p.record.matches.scores) == 0
