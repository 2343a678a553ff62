"""What stale messages are for: whose payload, pose and time is sent in which frame, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robosac.attacks import Freeze, Replay, SoldAsFresh
from robosac.attacks.measures import same_array, same_but
from robosac.types import InputError
from tests.attacks.toy_pose import FRAME_NS, posed_air


def run(attack, indices, attackers="a"):
    """(honest, sent) a frame."""
    attacker = attack.start("scene", frozenset(attackers), np.random.default_rng(0))
    out = []
    for index in indices:
        air = posed_air(list(attackers), index=index)
        (sent,) = attacker.send(air)
        out.append((air.honest["a"], sent))
    return out


def came_from(sent, frames, field):
    """Number of the frame whose honest message has what was sent in `field`."""
    if field == "payload":
        found = [k for k, (h, _) in enumerate(frames) if same_array(h.payload["features"], sent.payload["features"])]
    else:
        found = [k for k, (h, _) in enumerate(frames) if np.array_equal(getattr(h, field), getattr(sent, field))]
    assert len(found) == 1
    return found[0]


def table(frames, field):
    return [came_from(sent, frames, field) for _, sent in frames]


def test_a_replay_is_what_was_sent_then_under_the_time_it_was_sensed():
    frames = run(Replay(frames=2), range(6))
    for field in ("payload", "world_T_payload", "sensed_ns"):
        assert table(frames, field) == [0, 1, 0, 1, 2, 3]
    honest, sent = frames[5]
    assert honest.sensed_ns - sent.sensed_ns == 2 * FRAME_NS


def test_sold_as_fresh_is_old_in_all_but_its_time():
    frames = run(SoldAsFresh(frames=2), range(6))
    for field in ("payload", "world_T_payload"):
        assert table(frames, field) == [0, 1, 0, 1, 2, 3]
    assert table(frames, "sensed_ns") == [0, 1, 2, 3, 4, 5]


def test_a_frozen_payload_rides_along_and_is_renewed():
    frames = run(Freeze(frames=2), range(7))
    assert table(frames, "payload") == [0, 0, 0, 3, 3, 3, 6]
    assert table(frames, "world_T_payload") == table(frames, "sensed_ns") == list(range(7))


def test_frames_are_counted_as_they_are_lived():
    frames = run(SoldAsFresh(frames=1), [0, 5, 10])
    assert table(frames, "payload") == [0, 0, 1]


def test_watching_counts_as_living():
    attacker = SoldAsFresh(frames=2).start("scene", frozenset("a"), np.random.default_rng(0))
    for index in range(2):
        attacker.watch(posed_air(["a"], index=index))
    (sent,) = attacker.send(posed_air(["a"], index=2))
    assert same_array(sent.payload["features"], posed_air(["a"], index=0).honest["a"].payload["features"])


def test_each_attacker_and_each_round_has_its_own_past():
    attacker = SoldAsFresh(frames=1).start("scene", frozenset("ab"), np.random.default_rng(0))
    attacker.send(posed_air(["a"], index=0))
    air = posed_air(["a", "b"], index=1)
    a, b = attacker.send(air)
    assert not same_but(air.honest["a"], a) and same_but(air.honest["b"], b)  # b has only just come into range


@pytest.mark.parametrize("attack", [Replay(frames=3), SoldAsFresh(frames=3), Freeze(frames=3)])
def test_spent_is_the_least_it_can_have_been_and_inf_where_more_changed(attack):
    (honest, _), (_, _), (_, _), (now, _) = run(attack, range(4))
    old = attack.blend(now, honest)
    assert attack.perturbation_size(now, [now]) == 0 and attack.perturbation_size(now, [old]) == 1
    for other in (replace(old, sender="x"), replace(old, sensed_ns=now.sensed_ns + 1), replace(old, to="x")):
        assert attack.perturbation_size(now, [other]) == np.inf
    assert attack.perturbation_size(now, []) == attack.perturbation_size(now, [now, now]) == np.inf


def test_settings_are_checked():
    with pytest.raises(InputError, match="expected frames of Replay to be an integer >= 0, got -1"):
        Replay(frames=-1)
