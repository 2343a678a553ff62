"""What attacks on the link are for: how many messages, in whose name, from where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robosac.attacks import Bim, Drop, Duplicate, GpsOffset, RandomFrames, Scheduled, Sybil
from robosac.attacks.measures import by_attacker, same_array, same_but
from robosac.attacks.pose.claims import offset_size
from robosac.types import InputError
from tests.attacks.toy_pose import posed_air


def send(attack, air, seed=0, attackers="ab"):
    return list(attack.start("scene", frozenset(attackers), np.random.default_rng(seed)).send(air))


def test_duplicates_are_the_honest_message_over_and_over():
    air = posed_air(["a", "b"])
    sent = send(Duplicate(copies=2), air)
    assert [m.sender for m in sent] == list("aaabbb")
    assert all(same_but(air.honest[m.sender], m) for m in sent)
    assert Duplicate().perturbation_size(air.honest["a"], by_attacker("a", sent)) == 2
    assert Duplicate().perturbation_size(air.honest["a"], [sent[0], replace(sent[0], sensed_ns=1)]) == np.inf


def test_silence_and_silence_in_some_frames():
    assert send(Drop(), posed_air(["a", "b"])) == []
    attacker = Scheduled(attack=Drop(), when=RandomFrames(probability=0.3)).start(
        "scene", frozenset("a"), np.random.default_rng(0)
    )
    silent = sum(not attacker.send(posed_air(["a"], index=i)) for i in range(200))
    assert 40 <= silent <= 80


def test_invented_senders_keep_their_places_beside_the_attacker():
    attack = Sybil(identities=2, spread_m=6.0)
    attacker = attack.start("scene", frozenset("a"), np.random.default_rng(0))
    places = []
    for index in range(3):
        air = posed_air(["a"], index=index)
        own, *invented = attacker.send(air)
        assert same_but(air.honest["a"], own)
        assert [(m.sender, m.sender) for m in invented] == [("a#0", "a#0"), ("a#1", "a#1")]
        named = [replace(m, sender="a") for m in invented]
        assert all(3.0 <= offset_size(own, [m]) <= 6.0 for m in named)
        assert all(same_array(m.payload["features"], own.payload["features"]) for m in invented)
        places.append([m.world_T_payload[:2, 3] - own.world_T_payload[:2, 3] for m in invented])
    np.testing.assert_allclose(places[0], places[2], atol=1e-9)
    assert not np.allclose(places[0][0], places[0][1])


def test_invented_senders_carry_another_attack_while_the_attacker_stays_honest():
    air = posed_air(["a"])
    attack = Sybil(identities=3, spread_m=0.0, carries=Bim(epsilon=0.2, steps=4))
    own, *invented = send(attack, air)
    assert same_but(air.honest["a"], own) and attack.knowledge == Bim().knowledge
    named = [replace(m, sender="a") for m in invented]
    assert all(0.1 < Bim().perturbation_size(own, [m]) <= 0.2 for m in named)
    assert attack.perturbation_size(own, [own, *invented]) == 3
    too_much = invented[0].with_payload(features=invented[0].payload["features"] + np.float32(0.3))
    assert attack.perturbation_size(own, [own, too_much]) == np.inf


def test_what_sybils_may_not_do_is_measured_as_such():
    air = posed_air(["a"])
    own, *invented = send(Sybil(), air)
    size = Sybil().perturbation_size
    assert size(own, [own]) == 0
    for sent in (invented, [*invented, replace(own, sensed_ns=0)], [own, invented[0], invented[0]]):
        assert size(own, sent) == np.inf
    assert size(own, [own, replace(invented[0], sender="x")]) == np.inf
    assert size(own, [own, replace(invented[0], to="x")]) == np.inf


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Drop(messages=2), "messages of Drop to be 0 or 1"),
        (lambda: Duplicate(copies=-1), "copies of Duplicate to be an integer >= 0"),
        (lambda: Sybil(carries=GpsOffset()), "carries to be an attack on payloads, got one on pose"),
        (lambda: Sybil(carries="pgd"), "carries of Sybil to be a Measured value"),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(InputError, match=message):
        make()
