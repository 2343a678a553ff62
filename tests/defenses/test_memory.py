"""What is remembered of teammates: trust falls at once, recovers, and never decides by itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from robosac.defenses.claimed_poses import PosesSoFar
from robosac.defenses.memory import KEPT, MOST, NAMES, Memory
from robosac.poses import PoseVerdict
from robosac.types import Detections, Subset, Trial, keyed_rng
from tests.defenses.honest import allowing
from tests.defenses.scripted import BLIND, TO, ByScript, sent
from tests.defenses.test_audit import AUDITED, honest, play, union
from tests.evidence.written import places, result

WHOLE = replace(AUDITED, audit=1.0)
EVERYBODY = frozenset("abc")


def trial(members: str, accepted: bool = True) -> Trial:
    return Trial(frozenset(members), float(accepted), accepted, 0.5)


def frame(memory: Memory, *, bad: str = "", spoils: str = "") -> int:
    """A frame of three: `bad` are not fine alone, with `spoils` no joint result is. Returns how many were tried."""
    fine = sorted(EVERYBODY - set(bad))
    tried = 0
    trials = []
    for subset in [*memory.first(fine), frozenset(fine), *(frozenset(fine) - {i} for i in fine)]:
        trials.append(Trial(subset, 1, not subset & set(spoils), 0.5))
        tried += 1
        if trials[-1].accepted:
            break
    memory.learn(EVERYBODY, fine, trials)
    return tried


def test_a_single_wrong_refusal_costs_its_own_frame_only() -> None:
    memory = Memory()
    frame(memory, bad="a")
    assert memory.left_out(EVERYBODY) == {"a"} and memory.settled and not memory.waiting(EVERYBODY)
    frame(memory)
    assert not memory.left_out(EVERYBODY) and memory.steady("abc") and not memory.steady("abcd")


@pytest.mark.parametrize("how", ["bad", "spoils"])
def test_who_was_left_out_is_back_within_sixteen_frames_however_often_it_was(how: str) -> None:
    memory = Memory()
    for _ in range(60):
        frame(memory, **{how: "a"})
    frames = 0
    while memory.left_out(EVERYBODY):
        frame(memory)
        frames += 1
    assert 0 < frames <= MOST < 20


def test_what_is_asked_doubles_and_is_forgiven() -> None:
    memory, waits = Memory(), []
    for _ in range(7):
        frame(memory, bad="a")
        waits.append(0)
        while memory.left_out(EVERYBODY):
            frame(memory)
            waits[-1] += 1
    assert waits == [1, 2, 4, 8, 16, 16, 16]
    for _ in range(5 * KEPT):
        frame(memory)
    frame(memory, bad="a")
    assert not memory.waiting(EVERYBODY)


def test_an_attacker_that_is_clean_alone_costs_a_search_less_and_less_often() -> None:
    memory = Memory()
    tried = [frame(memory, spoils="a") for _ in range(40)]
    searches = [k for k, n in enumerate(tried) if n > 1]
    assert searches == [0, 1, 3, 7, 15, 31]
    assert all(n == 1 for k, n in enumerate(tried) if k not in searches)


def test_a_frame_that_accepts_nothing_teaches_nothing_and_is_not_settled() -> None:
    memory = Memory()
    frame(memory)
    memory.learn(EVERYBODY, sorted(EVERYBODY), [trial("abc", False), trial("ab", False)])
    assert not memory.left_out(EVERYBODY) and not memory.settled


def test_names_that_come_and_go_fill_no_memory() -> None:
    memory = Memory()
    for k in range(1300):
        memory.learn({"a", f"x{k}"}, ["a"], [trial("a")])
    assert len(memory._of) <= NAMES + 1 and "a" in memory._of and "x1299" in memory._of
    poses = PosesSoFar()
    for k in range(1300):
        poses.ask(["a", f"x{k}"], ["a", f"x{k}"], lambda ids: {i: PoseVerdict("fine", 0, "") for i in ids})
    assert len(poses.said) == len(poses.fine) <= NAMES + 1 and {"a", "x1299"} <= poses.fine


def test_who_was_not_tried_is_not_left_out() -> None:
    memory = Memory()
    memory.learn(EVERYBODY, sorted(EVERYBODY), [trial("ab")])
    assert not memory.left_out(EVERYBODY)
    memory.learn(EVERYBODY, sorted(EVERYBODY), [trial("abc", False), trial("ab")])
    assert memory.left_out(EVERYBODY) == {"c"}


# ---------------------------------------------------------------------------------------------------- in the defence
def sly(frame: int, subset: Subset) -> Detections:
    """From frame 3 to 9 `c` hides what only others show in every joint result, and is clean alone."""
    spoiled = 3 <= frame < 10 and "c" in subset and len(subset) > 1
    return result(*(union(frozenset("c")) if spoiled else union(subset)))


def test_a_sleeper_is_left_out_in_the_frame_it_wakes_in_and_is_back_within_twenty() -> None:
    verdicts = play(sly, 30, defense=WHOLE)
    used = [k for k, v in enumerate(verdicts) if "c" in v.used]
    assert used[:3] == [0, 1, 2] and not set(used) & set(range(3, 10))
    assert min(k for k in used if k >= 10) < 30 and used[-1] == 29
    assert not any(v.accused for v in verdicts) and all(v.used >= frozenset("abde") for v in verdicts)


def test_whom_memory_leaves_out_wrongly_is_searched_for_when_the_rest_does_not_hold() -> None:
    """`a` is left out; then `d` and `e` spoil what they are in. The search is over all who are fine alone."""

    def script(frame: int, subset: Subset) -> Detections:
        bad = {"a"} if frame in (1, 2, 3) else {"d", "e"} if frame == 4 else set()
        return result(*(union(frozenset()) if subset & bad and len(subset) > 1 else union(subset)))

    verdicts = play(script, 5, defense=WHOLE)
    assert "a" not in verdicts[3].used and {"a", "b", "c"} <= verdicts[4].used


@pytest.mark.parametrize("audit", [1.0, 0.2])
def test_two_who_hide_what_one_shows_keep_that_one_out_for_a_few_frames_at_most(audit: float) -> None:
    """`d` and `e` hide all that only `c` shows, so that nothing large holds with `c` in it and all others hold without.
    In frame 1 honest ones alone are refused by chance, and `c` is left out."""
    seen_by_c = [(30.0, 0.0), (30.0, 10.0), (-30.0, -5.0), (-30.0, 5.0), (0.0, 30.0)]

    def script(frame: int, subset: Subset) -> Detections:
        if frame == 1 and subset == frozenset("abc"):
            return result(*union(frozenset()))
        hidden = "c" not in subset or (len(subset) > 1 and subset & set("de"))
        return result(*union(subset), *([] if hidden else seen_by_c))

    verdicts = play(script, 30, defense=replace(AUDITED, audit=audit), claims=8)
    used = ["c" in v.used for v in verdicts]
    assert used[0] and not used[1] and sum(used) >= 26
    assert all(set(seen_by_c) <= set(places(v.result)) for v in verdicts[5:])


def test_the_cost_of_an_attacker_that_stays_falls() -> None:
    def script(frame: int, subset: Subset) -> Detections:
        return result(*(union(frozenset()) if "c" in subset and len(subset) > 1 else union(subset)))

    decodes = [v.decodes for v in play(script, 20, defense=WHOLE)]
    cheap = [k for k, n in enumerate(decodes) if n == 7]
    assert len(cheap) >= 15 and max(len(list(g)) for same, g in groupby(decodes) if same == 7) >= 7
    assert all(v.decodes == 7 for v in play(honest, 3, defense=WHOLE))


def test_whom_two_spoil_every_joint_result_for_is_out_no_more_often_than_chance_has_it() -> None:
    """`d` and `e` hide what only `c` shows; the three honest ones are refused in a fifth of the frames, narrowly."""
    seen_by_c = [(30.0, 0.0), (30.0, 10.0), (-30.0, -5.0), (-30.0, 5.0), (0.0, 30.0)]
    refused = keyed_rng(1).random(60) < 0.2

    def script(frame: int, subset: Subset) -> Detections:
        hidden = "c" not in subset or (len(subset) > 1 and subset & set("de"))
        narrowly = subset == frozenset("abc") and refused[frame]
        return result(*union(subset), *([] if hidden else seen_by_c[2:] if narrowly else seen_by_c))

    allowed = allowing(WHOLE, detector="scripted", agreement=0.3, claims=8, together=2, strain=0.6)
    lax = {
        k: replace(m, thresholds=dict.fromkeys(m.thresholds, -1.5))
        for k, m in allowed.measures.items()
        if "consist" in k
    }
    defender = WHOLE.start("s", replace(allowed, measures={**allowed.measures, **lax}), keyed_rng(0))
    out = []
    for k in range(60):
        detector = ByScript(lambda s, k=k: script(k, s))  # type: ignore[misc]
        out.append("c" not in defender.step(detector, BLIND, TO, sent("abcde")).used)
    assert 0 < sum(out) <= refused.sum() + 1
