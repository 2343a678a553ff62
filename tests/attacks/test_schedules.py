"""Who acts when, frame by frame; who is silent is honest, and the rest know it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from robosac.air import Air, Knowledge
from robosac.attacks import (
    Always,
    Bursts,
    Drift,
    EveryKth,
    GaussianNoise,
    Pgd,
    RandomFrames,
    Rotating,
    Scheduled,
    Sleeper,
    SoldAsFresh,
)
from robosac.attacks.base import Measured
from robosac.attacks.measures import same_array, same_but
from robosac.attacks.pose.claims import offset_size
from robosac.types import InputError
from tests.attacks.toy import make_air
from tests.attacks.toy_pose import posed_air

NOISE = GaussianNoise()


def acting(when, frames, attackers="ab", seed=0):
    """Who changed something, a string a frame."""
    attacker = Scheduled(attack=NOISE, when=when).start("scene", frozenset(attackers), np.random.default_rng(seed))
    out = []
    for index in frames:
        air = make_air(list(attackers), index=index)
        out.append("".join(m.sender for m in attacker.send(air) if not same_but(air.honest[m.sender], m)))
    return out


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (Always(), ["ab"] * 6),
        (EveryKth(k=3, phase=1), ["", "ab", "", "", "ab", ""]),
        (Sleeper(until=4), ["", "", "", "", "ab", "ab"]),
        (Rotating(period=2, active=1), ["a", "a", "b", "b", "a", "a"]),
        (Rotating(period=1, active=2), ["ab"] * 6),
        (RandomFrames(probability=0.0), [""] * 6),
        (RandomFrames(probability=1.0), ["ab"] * 6),
    ],
    ids=repr,
)
def test_schedules_by_hand(when, expected):
    assert acting(when, range(6)) == expected
    assert acting(when, range(5, -1, -1)) == expected[::-1]  # a frame does not depend on those before it


def test_turns_go_round_all_attackers():
    assert acting(Rotating(period=1, active=2), range(5), "abc") == ["ab", "ac", "bc", "ab", "ac"]


@pytest.mark.parametrize("when", [RandomFrames(probability=0.3), Bursts(length=3.0, gap=7.0)], ids=repr)
def test_chance_acts_in_its_share_of_frames_in_any_order(when):
    shares, lengths = [], []
    for seed in range(8):
        acts = [bool(x) for x in acting(when, range(300), "a", seed)]
        shares.append(np.mean(acts))
        edges = np.flatnonzero(np.diff([0, *acts, 0]))
        lengths += list(edges[1::2] - edges[::2])
        some = [299, 7, 150]
        assert [bool(x) for x in acting(when, some, "a", seed)] == [acts[k] for k in some]
    assert 0.25 < np.mean(shares) < 0.35
    assert len(set(np.round(shares, 3))) > 1  # another seed, other frames
    expected = 3.0 if isinstance(when, Bursts) else 1 / 0.7
    assert np.mean(lengths) == pytest.approx(expected, rel=0.15)


@dataclass(frozen=True)
class Spy:
    """An inner attack that says what it was shown."""

    shown: list[Air]
    knowledge = Knowledge.NONE
    stage, unit, budget = NOISE.stage, NOISE.unit, 1.0

    def with_budget(self, budget):
        return self

    def perturbation_size(self, honest, sent):
        return 0.0

    def start(self, scenario, attackers, rng):
        return self

    def send(self, air):
        self.shown.append(air)
        return list(air.honest.values())


def test_the_silent_are_honest_teammates_to_those_who_act():
    spy = Spy([])
    assert isinstance(spy, Measured)
    attacker = Scheduled(attack=spy, when=Rotating(period=1)).start("scene", frozenset("ab"), np.random.default_rng(0))
    sent = attacker.send(make_air(["a", "b"], ["x"], index=1))
    (shown,) = spy.shown
    assert set(shown.own) == set(shown.honest) == {"b"} and set(shown._others) == {"a", "x"}
    assert [m.sender for m in sent] == ["a", "b"]


def test_in_a_frame_where_nobody_acts_the_inner_attack_is_not_asked():
    spy = Spy([])
    attacker = Scheduled(attack=spy, when=Sleeper(until=9)).start("scene", frozenset("a"), np.random.default_rng(0))
    assert len(attacker.send(make_air(["a"]))) == 1 and spy.shown == []


def test_always_is_the_attack_itself():
    air = make_air(["a", "b"])
    wrapped = Scheduled(attack=Pgd(steps=3), when=Always())
    assert (wrapped.budget, wrapped.unit, wrapped.stage, wrapped.knowledge) == (
        Pgd().budget, Pgd().unit, Pgd().stage, Pgd().knowledge
    )  # fmt: skip
    assert wrapped.with_budget(0.1) == Scheduled(attack=Pgd(steps=3, epsilon=0.1))
    rng = np.random.default_rng(3)
    rng.integers(2**62)  # the wrapper's own
    alone = Pgd(steps=3).start("scene", frozenset("ab"), rng).send(air)
    for a, b in zip(alone, wrapped.start("scene", frozenset("ab"), np.random.default_rng(3)).send(air), strict=True):
        assert same_but(a, b)


def test_memory_outlives_silent_frames():
    stale = Scheduled(attack=SoldAsFresh(frames=2), when=Sleeper(until=4))
    attacker = stale.start("scene", frozenset("a"), np.random.default_rng(0))
    for index in range(5):
        (sent,) = attacker.send(posed_air(["a"], index=index))
    old = posed_air(["a"], index=2).honest["a"]
    assert same_array(sent.payload["features"], old.payload["features"])

    drifting = Scheduled(attack=Drift(metres_per_second=1.0), when=EveryKth(k=4))
    attacker, off = drifting.start("scene", frozenset("a"), np.random.default_rng(0)), []
    for index in range(9):
        air = posed_air(["a"], index=index)
        off.append(offset_size(air.honest["a"], attacker.send(air)))
    assert off == pytest.approx([0, 0, 0, 0, 0.4, 0, 0, 0, 0.8])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomFrames(probability=1.1), r"probability of RandomFrames to be a finite number in \[0, 1\]"),
        (lambda: Bursts(length=0.5), "length of Bursts to be a finite number >= 1"),
        (lambda: EveryKth(k=2, phase=2), "phase of EveryKth to be below k, 2, got 2"),
        (lambda: Rotating(active=0), "active of Rotating to be an integer >= 1"),
        (lambda: Scheduled(attack=Pgd), "attack of Scheduled to be a Measured value"),
        (lambda: Scheduled(attack=Pgd(), when=3), "when of Scheduled to be a When value"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()
