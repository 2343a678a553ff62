"""The default defence on toy detectors: who is used, who is accused, what the result is."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robosac.agreement import BoxJaccard, ScoreMapOverlap
from robosac.calibration import Thresholds
from robosac.defenses import Robosac, RobosacAgreement
from robosac.defenses.claimed_poses import ClaimedPoses
from robosac.errors import RobosacWarning
from robosac.evidence.statistics import SoleClaims, WithMembers
from robosac.facade import wrap
from robosac.types import EGO_ALONE, Detections, InputError, Received, Request, Subset, Verdict
from tests.defenses.honest import allowing
from tests.defenses.scripted import BLIND, ByScript, step
from tests.evidence.written import places, result
from tests.toy import ToyDetector, frame, received

SEEN = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0), (20.0, -10.0)]
HIDDEN = {"a": (-30.0, 20.0), "b": (30.0, 20.0), "c": (30.0, -30.0), "d": (0.0, -30.0), "e": (-30.0, -30.0)}
INVENTED = [(x, y) for x in (-35.0, -25.0, -5.0, 5.0, 15.0) for y in (30.0, 35.0, -20.0)]
DEFAULT = Robosac(agreement=ScoreMapOverlap(slack=0.0))
LIMITS = {"agreement": 0.45, "claims": 3, "together": 2, "strain": 1.0}


def scene(attackers: str = "", scenario: str = "toy") -> Any:
    """The ego sees five cars; each honest teammate these and one more; an attacker many that are not there."""
    claims = {i: [*SEEN, HIDDEN[i]] if i not in attackers else INVENTED for i in HIDDEN}
    return frame({"ego": SEEN, **claims}, scenario=scenario)


def defended(defense: Robosac = DEFAULT, detector: Any = None, **options: Any) -> Any:
    return wrap(detector or ToyDetector(), defense, calibration=allowing(defense, **LIMITS), **options)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("attackers", ["", "a", "bd", "ace", "abcd", "abcde"])
def test_the_honest_are_fused_and_the_attackers_are_accused(attackers: str, known: bool) -> None:
    verdict = defended(replace(DEFAULT, attackers=len(attackers)) if known else DEFAULT)(scene(attackers))
    honest = frozenset("abcde") - set(attackers)
    assert verdict.used == honest and verdict.accused == frozenset(attackers)
    assert places(verdict.result) == sorted([*SEEN, *(HIDDEN[i] for i in honest)])
    assert verdict.fell_back == (not honest)


def test_everybody_honest_costs_one_joint_result() -> None:
    detector = ToyDetector()
    verdict = defended(detector=detector)(scene())
    assert verdict.decodes == 1 + 5 + 1 == len(detector.sessions[0].decoded) - 1  # the ego's own is asked for twice
    assert [len(t.subset) for t in verdict.trials] == [1] * 5 + [5]


def test_scores_go_by_who_shows_a_box() -> None:
    verdict = defended()(scene())
    score = {tuple(b[:2]): float(s) for b, s in zip(verdict.result.boxes, verdict.result.scores, strict=True)}
    assert all(score[at] == pytest.approx(0.9) for at in SEEN)
    assert all(score[at] == pytest.approx(0.45) for at in HIDDEN.values())  # each is one teammate's word
    assert (
        f"{len(verdict.used)} of 5 teammates, in 1 of 1 joint results that are what their members show"
        in verdict.reason
    )


def test_attackers_given_bounds_the_subsets() -> None:
    for attackers, most in ((0, 5), (2, 3), (4, 1), (5, 0), (9, 0)):
        verdict = defended(replace(DEFAULT, attackers=attackers))(scene())
        assert max((len(t.subset) for t in verdict.trials[5:]), default=min(most, 1)) == most
        assert len(verdict.used) == (5 if most else 0)  # all equally large ones are pooled
        assert not verdict.accused


@pytest.mark.parametrize(
    ("budget", "joint", "used"), [(0, [], 0), (1, [5], 0), (3, [5, 4, 3], 0), (8, [5, 4, 4, 3, 3, 2, 2], 1)]
)
def test_the_budget_holds(budget: int, joint: list[int], used: int) -> None:
    strict = allowing(DEFAULT, **{**LIMITS, "strain": 0.0, "agreement": 0.45})
    sly = ByScript(lambda s: result(*SEEN) if len(s) < 2 else result())  # no joint result holds
    verdict = step(replace(DEFAULT, budget=budget), sly, "abcde", replace(strict, detector="scripted"))
    assert [len(t.subset) for t in verdict.trials[5:]] == joint
    assert len(verdict.used) == used  # singles are of what is shown, and come last: the eighth
    assert f"of {budget} joint results" in verdict.reason


def scripted(script: Any, ids: str = "abcde", defense: Robosac = DEFAULT, **limits: float) -> Verdict:
    allowed = allowing(defense, detector="scripted", **{**LIMITS, "agreement": 0.3, **limits})
    return step(defense, ByScript(script), ids, allowed, ego=BLIND)  # which proves no ground to be free


def union(subset: Subset) -> list[tuple[float, float]]:
    return [*SEEN, *(HIDDEN[i] for i in sorted(subset))]


def test_an_attacker_with_a_clean_single_is_left_out_by_what_it_makes_of_others() -> None:
    """In every joint result it hides a car that the ego sees; alone it shows what an honest one does."""

    def script(subset: Subset) -> Detections:
        spoiled = "c" in subset and len(subset) > 1
        return result(*(at for at in union(subset) if not (spoiled and at in SEEN[:3])))

    verdict = scripted(script)
    assert verdict.used == frozenset("abde") and not verdict.accused
    assert places(verdict.result) == sorted(union(frozenset("abde")))
    assert all(t.accepted == ("c" not in t.subset) for t in verdict.trials if len(t.subset) > 1)


@pytest.mark.parametrize(("more", "size"), [(1, 3), (2, 3), (3, 3), (4, 3), (5, 1)])
def test_where_no_joint_result_is_within_the_strict_limit_those_within_the_calibrated_one_are_taken(
    more: int, size: int
) -> None:
    """Every joint result has boxes that nobody shows: more than two in one honest frame of five, four in one of 100."""
    allowed = allowing(DEFAULT, detector="scripted", **{**LIMITS, "agreement": 0.3})
    name = DEFAULT.statistics()[3].name
    by_frame = tuple(sorted([-2.0] + [-1.0] * 99))  # of a hundred honest frames; the limit at one in five is 1
    strict = Thresholds(0.01, dict.fromkeys(range(1, 4), -2.0), {}, scores=dict.fromkeys(range(1, 4), by_frame))
    allowed = replace(allowed, measures={**allowed.measures, name: strict})

    def script(subset: Subset) -> Detections:
        return result(*union(subset), *(INVENTED[:more] if len(subset) > 1 else []))

    verdict = step(DEFAULT, ByScript(script), "abc", allowed, ego=BLIND)
    joint = {t.subset for t in verdict.trials if len(t.subset) > 1 and t.accepted}
    assert max(map(len, joint), default=1) == size and verdict.used == frozenset("abc")
    everybody_alone = more == 1  # half of the strict limit; all of it, and the three are one voice beside their pairs
    pairs = () if everybody_alone or size == 1 else ("ab", "ac", "bc")
    assert joint == set(map(frozenset, ("abc", *pairs) if size > 1 else ()))
    assert all(t.scores["strain"] <= 1 for t in verdict.trials if t.subset in joint)


def test_colluders_who_show_the_same_are_never_fused_together() -> None:
    """Nobody's sole claim, and more than two honest ones hold for themselves."""
    invented = INVENTED[:4]

    def script(subset: Subset) -> Detections:
        return result(*union(subset), *(invented if subset & {"d", "e"} else []))

    verdict = scripted(script)
    assert not verdict.accused and verdict.used == frozenset("abcde")
    assert all(t.accepted != ({"d", "e"} <= t.subset) for t in verdict.trials if len(t.subset) > 3)
    score = {tuple(b[:2]): float(s) for b, s in zip(verdict.result.boxes, verdict.result.scores, strict=True)}
    assert all(score[at] < 0.45 for at in invented)  # the word of one, in a part of the results
    assert all(score[at] == pytest.approx(0.9) for at in SEEN)


def test_equal_subsets_are_pooled_and_none_is_chosen() -> None:
    """Two camps of two that do not fit together: what only one shows has half, of its single or of its camp."""

    def script(subset: Subset) -> Detections:
        split = bool(subset & {"a", "b"}) and bool(subset & {"c", "d"})
        return result() if split else result(*union(subset))

    verdict = scripted(script, "abcd", replace(DEFAULT, pool=1))
    assert verdict.used == frozenset("abcd")
    held = [t.subset for t in verdict.trials if t.accepted and len(t.subset) > 1]
    assert set(held) == {frozenset("ab"), frozenset("cd")}
    score = {tuple(b[:2]): float(s) for b, s in zip(verdict.result.boxes, verdict.result.scores, strict=True)}
    assert all(score[HIDDEN[i]] == pytest.approx(0.9 * 0.5) for i in "abcd")  # its camp's is 0.9 / 2 * 0.5
    assert set(verdict.sources) == {frozenset("abcd"), *map(frozenset, "abcd")}


def test_results_that_are_not_numbers() -> None:
    """Of a joint result, of a single, of the ego."""

    def nan_where(bad: Any) -> Any:
        def script(subset: Subset) -> Detections:
            found = result(*union(subset))
            return Detections(found.boxes * np.float32("nan"), found.scores) if bad(subset) else found

        return script

    joint = scripted(nan_where(lambda s: "c" in s and len(s) > 1))
    assert joint.used == frozenset("abde") and joint.result.finite and not joint.accused
    single = scripted(nan_where(lambda s: s == frozenset("c")), agreement=0.5)
    assert single.used == frozenset("abde") and single.accused == frozenset("c")
    ego = scripted(nan_where(lambda s: not s))
    assert ego.used == EGO_ALONE and "the ego's own result is not finite" in ego.reason


def test_same_seed_same_verdict() -> None:
    """Of twenty not all subsets are tried; which ones, the seed says."""
    names = [f"t{i:02d}" for i in range(20)]
    seen = {"ego": SEEN, **{i: SEEN if k else INVENTED for k, i in enumerate(names)}}

    def trials(seed: int) -> Any:
        return defended(replace(DEFAULT, attackers=3, budget=12), seed=seed)(frame(seen)).trials

    assert trials(3) == trials(3) != trials(4)


def test_what_one_frame_draws_moves_no_other_frames_draws() -> None:
    names = [f"t{i:02d}" for i in range(12)]
    busy = frame({"ego": SEEN, **dict.fromkeys(names, SEEN)})
    quiet = frame({"ego": SEEN})
    after = []
    for first in (busy, quiet):
        wrapped = defended(replace(DEFAULT, attackers=3, budget=9))
        wrapped(first)
        after.append(wrapped(busy).trials)
    assert after[0] == after[1]


def test_a_frame_remembers_nothing_of_another() -> None:
    wrapped = defended()
    assert [wrapped(scene(a)).used for a in ("bd", "", "a")] == [frozenset(s) for s in ("ace", "abcde", "bcde")]


def test_a_bad_message_is_reported_and_the_ego_goes_on() -> None:
    detector = ToyDetector()
    f = scene()
    request = Request.of(f.ego)
    inbox = [detector.encode(v, request) for v in f.others.values()]
    inbox[0] = inbox[0].with_payload(centres=np.full((1, 2), np.nan, np.float32))
    inbox.append(inbox[1])
    heard: list[Received] = received(inbox, request)
    verdict = defended(detector=detector).receive(f.ego, heard)
    assert set(verdict.rejected) == {"a", "b"} and verdict.used == frozenset("cde")


def test_nobody_there() -> None:
    verdict = defended()(frame({"ego": SEEN}))
    assert verdict.used == EGO_ALONE and len(verdict.result) == 5 and not verdict.fell_back
    assert verdict.reason == "no teammate in range" and verdict.decodes == 1


@pytest.mark.parametrize("others", [0, 1, 5])
def test_one_warning_without_a_calibration_and_none_with_it(others: int) -> None:
    seen = frame({"ego": SEEN, **dict.fromkeys("abcde"[:others], SEEN)})
    with pytest.warns(RobosacWarning, match="uses its default limits: it is not calibrated") as heard:
        step_of = wrap(ToyDetector(), DEFAULT)
        step_of(seen)
    assert len(heard) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defended()(seen)


def test_it_asks_honest_frames_for_all_that_it_looks_at() -> None:
    agree, one, two, members, *gains = Robosac().statistics()
    assert isinstance(one, SoleClaims) and isinstance(two, SoleClaims) and isinstance(members, WithMembers)
    assert (one.together, two.together) == (1, 2) and len(gains) == 2
    assert all(getattr(s, "disturbed", False) for s in (agree, one, two, members))
    assert len(Robosac(poses=None).statistics()) == 4
    assert len({s.name for s in (agree, one, two, members, *gains)}) == 6
    assert agree.name not in {s.name for s in RobosacAgreement().statistics()}


def test_the_papers_settings_are_where_they_were() -> None:
    assert Robosac.paper(2) == RobosacAgreement.paper(2) and Robosac.paper_probing() == RobosacAgreement.paper_probing()
    assert Robosac.paper(1).agreement == BoxJaccard()


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("attackers", -1, r"attackers >= 0 or None \(unknown\)"),
        ("budget", -1, "budget >= 0"),
        ("pool", 0, "pool >= 1"),
        ("batch", 0, "batch >= 1"),
        ("accuse_beyond", 0.9, "accuse_beyond >= 1"),
        ("accuse_beyond", float("nan"), "accuse_beyond >= 1"),
        ("sure", 1.5, r"sure in \[0, 1\]"),
        ("alpha", 0.0, r"alpha inside \(0, 1\)"),
        ("strain_alpha", 0.0, r"strain_alpha inside \(0, 1\)"),
        ("strain_alpha", 1.0, r"strain_alpha inside \(0, 1\)"),
    ],
)
def test_wrong_settings(setting: str, value: float, said: str) -> None:
    with pytest.raises(InputError, match=f"expected {said}, got {value}"):
        Robosac(**{setting: value})


def test_values_compare() -> None:
    assert Robosac() == Robosac() != Robosac(attackers=1) and Robosac().poses == ClaimedPoses()


def test_a_calibration_without_scores_has_no_limit_at_another_level() -> None:
    allowed = allowing(DEFAULT, strain=2.0)
    old = replace(allowed, measures={name: replace(m, scores={}) for name, m in allowed.measures.items()})
    assert DEFAULT.limits(allowed, "toy").strain(3) == 2.0
    with pytest.warns(RobosacWarning, match="the calibration does not hold them"):
        assert DEFAULT.limits(old, "toy").strain(3) == 0.9
