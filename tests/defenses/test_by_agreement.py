"""The defence around a toy detector whose fusion is the union of what agents claim to see."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

from robosac.agreement import BoxJaccard, ScoreMapOverlap
from robosac.calibration import Calibration, Thresholds
from robosac.defenses import EgoOnly, Known, NoDefense, Oracle, RobosacAgreement, Unknown
from robosac.facade import wrap
from robosac.types import EGO_ALONE, Detections, InputError, Request
from tests.toy import ToyDetector, frame, received

SEEN = [(-20.0, 0.0), (-10.0, 5.0), (0.0, 10.0), (10.0, 0.0), (20.0, -10.0)]
HIDDEN = {"a": (-30.0, 20.0), "b": (30.0, 20.0), "c": (30.0, -30.0), "d": (0.0, -30.0), "e": (-30.0, -30.0)}
INVENTED = [(x, y) for x in (-35.0, -25.0, -5.0, 5.0, 15.0) for y in (30.0, 35.0, -20.0)]


def scene(attackers=(), scenario="toy"):
    """The ego sees five cars; each honest teammate these and one more; an attacker many that are not there."""
    claims = {i: [*SEEN, HIDDEN[i]] if i not in attackers else INVENTED for i in HIDDEN}
    return frame({"ego": SEEN, **claims}, scenario=scenario)


def defended(defense, **kwargs):
    return wrap(ToyDetector(), defense, **kwargs)


DEFAULT = RobosacAgreement(agreement=ScoreMapOverlap(slack=0.0), threshold=0.45)
KNOWN = [replace(DEFAULT, plan=Known(attackers=m)) for m in range(6)]


@pytest.mark.parametrize("attackers", ["", "a", "bd", "ace", "abcd"])
@pytest.mark.parametrize("kind", ["unknown", "known", "ratio", "paper"])
def test_the_honest_are_fused_and_the_attackers_are_not(attackers, kind):
    m = len(attackers)
    defense = {
        "unknown": DEFAULT,
        "known": KNOWN[m],
        "ratio": replace(DEFAULT, plan=Known(ratio=m / 5)),
        "paper": replace(RobosacAgreement.paper(m), threshold=0.45),
    }[kind]
    verdict = defended(defense)(scene(attackers))
    honest = frozenset("abcde") - set(attackers)
    if kind == "paper" and verdict.fell_back:  # its draws repeat: it may miss the clean subset, never take another
        assert honest not in {t.subset for t in verdict.trials}
        return
    assert verdict.used == honest
    assert len(verdict.result) == 5 + 5 - m
    assert not verdict.fell_back
    assert verdict.accused <= frozenset(attackers)
    if kind == "unknown":
        assert verdict.accused == frozenset(attackers)  # every larger subset was refused


def test_not_used_is_not_accused():
    verdict = defended(replace(DEFAULT, threshold=1.1))(scene())
    assert verdict.used == EGO_ALONE and verdict.accused == EGO_ALONE and verdict.fell_back
    assert "no subset agreed" in verdict.reason


def test_all_teammates_attack():
    verdict = defended(DEFAULT)(scene("abcde"))
    assert verdict.used == EGO_ALONE and len(verdict.result) == 5
    assert len(verdict.trials) == 31 and verdict.decodes == 32


@pytest.mark.parametrize("budget", [1, 3, 8])
def test_the_budget_holds(budget):
    for defense in (
        replace(DEFAULT, plan=Unknown(budget=budget)),
        replace(DEFAULT, plan=Known(attackers=2, budget=budget)),
        RobosacAgreement.paper(2, budget=budget),
        RobosacAgreement.paper_probing(budget=budget),
    ):
        verdict = defended(replace(defense, threshold=1.1))(scene("bd"))
        assert len(verdict.trials) == budget


def test_the_papers_preset_is_the_papers():
    preset = RobosacAgreement.paper(2)
    assert (preset.agreement, preset.threshold) == (BoxJaccard(iou=0.5, min_score=0.3), 0.3)
    verdict = defended(replace(preset, threshold=1.1))(scene("bd"))
    assert len(verdict.trials) == 19 and {len(t.subset) for t in verdict.trials} == {3}
    assert len({t.subset for t in verdict.trials}) < 19  # drawn with repeats


def test_memory_lives_within_a_scenario():
    wrapped = defended(DEFAULT)
    trials = [len(wrapped(scene("bd")).trials) for _ in range(3)]
    assert trials[1:] == [2, 2]
    assert len(wrapped(scene("bd", scenario="next")).trials) > 2


def test_every_subset_is_decoded_once_and_the_ego_once():
    detector = ToyDetector()
    verdict = wrap(detector, DEFAULT)(scene("bd"))
    decoded = detector.sessions[0].decoded
    assert len(decoded) == len(set(decoded)) == verdict.decodes


def test_same_seed_same_verdict():
    runs = [wrap(ToyDetector(), DEFAULT, seed=seed)(scene("ac")) for seed in (3, 3, 4)]
    assert runs[0].trials == runs[1].trials
    assert runs[0].trials != runs[2].trials


def test_support_says_who_else_shows_a_box():
    verdict = defended(replace(DEFAULT, plan=Known(attackers=1)))(scene("a"))
    shown = {tuple(np.round(b[:2])): s for b, s in zip(verdict.result.boxes, verdict.support, strict=True)}
    assert all(EGO_ALONE in shown[c] for c in SEEN)
    only_b = shown[HIDDEN["b"]]
    assert EGO_ALONE not in only_b and all("b" in s for s in only_b)


def test_a_bad_message_is_reported_and_the_ego_goes_on():
    detector = ToyDetector()
    wrapped = wrap(detector, DEFAULT)
    f = scene()
    request = Request.of(f.ego)
    inbox = [detector.encode(v, request) for v in f.others.values()]
    inbox[0] = inbox[0].with_payload(centres=np.full((1, 2), np.nan, np.float32))
    inbox.append(inbox[1])
    verdict = wrapped.receive(f.ego, received(inbox, request))
    assert set(verdict.rejected) == {"a", "b"} and verdict.used == frozenset("cde")


def test_nobody_there():
    verdict = defended(DEFAULT)(frame({"ego": SEEN}))
    assert verdict.used == EGO_ALONE and len(verdict.result) == 5 and not verdict.fell_back


def test_baselines():
    f = scene("bd")
    assert defended(EgoOnly())(f).used == EGO_ALONE and len(defended(EgoOnly())(f).result) == 5
    assert defended(NoDefense())(f).used == frozenset("abcde")
    oracle = defended(Oracle(attackers=frozenset("bd")))(f)
    assert oracle.used == frozenset("ace") and oracle.accused == frozenset("bd") and oracle.decodes == 1


def calibration(detector="toy"):
    name = DEFAULT.agreement.name
    return Calibration(detector, {name: Thresholds(0.05, {1: 0.9, 3: 0.5, 5: 0.45}, {1: 99, 3: 99, 5: 99})})


def test_calibrated_thresholds_are_used_by_size():
    verdict = defended(replace(DEFAULT, threshold=None), calibration=calibration())(scene("bd"))
    assert {len(t.subset): t.threshold for t in verdict.trials} == {5: 0.45, 4: 0.5, 3: 0.5}


@pytest.mark.parametrize("given", [None, calibration("another")], ids=["none", "another detector's"])
def test_without_calibration_a_default_and_a_warning(given):
    with pytest.warns(UserWarning, match="robosac calibrate"):
        verdict = defended(replace(DEFAULT, threshold=None), calibration=given)(scene())
    assert verdict.trials[0].threshold == DEFAULT.agreement.default_threshold


def test_a_given_threshold_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        defended(DEFAULT)(scene())


def test_stages_add_up():
    ms = defended(DEFAULT)(scene("a")).ms
    assert set(ms) == {"gate", "encode", "decode", "agree", "report", "other"}
    assert all(value >= 0 for value in ms.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attackers": 1, "ratio": 0.2}, "either attackers or ratio"),
        ({}, "either attackers or ratio"),
        ({"attackers": -1}, "attackers to be a whole number >= 0"),
        ({"attackers": 1.5}, "attackers to be a whole number >= 0"),
        ({"attackers": 1, "budget": -1}, "budget to be a whole number"),
        ({"ratio": 1.5}, r"ratio in \[0, 1\]"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=message):
        Known(**settings)


def test_a_ratio_is_rounded_up_without_float_dust():
    assert Known(ratio=0.4).largest(5) == 3 and Known(ratio=0.2).largest(5) == 4 and Known(ratio=0.5).largest(5) == 2
    assert Known(ratio=0.6).largest(5) == 2 and Known(ratio=0.1).largest(30) == 27


def test_values_compare_and_print():
    assert RobosacAgreement() == RobosacAgreement() and RobosacAgreement.paper(1) != RobosacAgreement.paper(2)
    assert "Known(attackers=2" in repr(KNOWN[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threshold": float("nan")}, "threshold to be a finite"),
        ({"accuse_above": 7.0}, "accuse_above in"),
        ({"batch": 0}, "batch >= 1"),
    ],
)
def test_wrong_settings_of_the_defence(settings, message):
    with pytest.raises(InputError, match=message):
        RobosacAgreement(**settings)


def test_batches_change_no_decision_in_any_frame():
    runs = []
    for batch in (1, 4):
        wrapped = defended(replace(RobosacAgreement.paper(2), threshold=0.45, batch=batch))
        runs.append([wrapped(scene(attackers)).trials for attackers in ("bd", "ac", "bd", "de")])
    assert runs[0] == runs[1]


def test_an_honest_frame_with_a_known_bound_accuses_nobody():
    assert defended(KNOWN[2])(scene()).accused == EGO_ALONE


def test_the_papers_budget_is_bounded_in_a_large_team():
    seen = {"ego": SEEN, **{f"t{i:02d}": SEEN for i in range(30)}}
    verdict = defended(replace(RobosacAgreement.paper(14), threshold=1.1))(frame(seen))
    assert len(verdict.trials) == 200


class BoxesOnly(ToyDetector):
    """The toy without score maps."""

    def open(self, ego, to, messages):
        session = super().open(ego, to, messages)
        whole = session.detect
        session.detect = lambda subsets: [Detections(d.boxes, d.scores) for d in whole(subsets)]
        return session


def test_a_detector_of_boxes_needs_neither_maps_nor_a_grid():
    verdict = wrap(BoxesOnly(grid=None), replace(DEFAULT, agreement=ScoreMapOverlap()))(scene("bd"))
    assert verdict.used == frozenset("ace")


def test_score_maps_that_lie_nowhere_are_told():
    with pytest.raises(InputError, match="detector's grid; use ScoreMapOverlap"):
        wrap(ToyDetector(grid=None))(scene())


@pytest.mark.parametrize(
    ("defense", "reason"),
    [(DEFAULT, None), (NoDefense(), None), (Oracle(attackers=frozenset("b")), None), (EgoOnly(), "fixed choice")],
    ids=repr,
)
def test_a_reason_says_that_nobody_was_there(defense, reason):
    """And tells it from teammates whose messages did not pass the gate."""
    alone, late = frame({"ego": SEEN}), frame({"ego": SEEN, "a": SEEN})
    late = replace(late, ego=replace(late.ego, t_ns=10**12))
    for f, said in ((alone, "no teammate in range"), (late, "no teammate's message passed the gate")):
        assert wrap(ToyDetector(), defense)(f).reason.startswith(reason or said)


def test_a_reason_says_that_the_model_is_broken():
    class Broken(ToyDetector):
        def open(self, ego, to, messages):
            session = super().open(ego, to, messages)
            sound = session.detect
            session.detect = lambda subsets: [replace(r, boxes=r.boxes * np.nan) for r in sound(subsets)]
            return session

    verdict = wrap(Broken(), DEFAULT)(scene("bd"))
    assert not verdict.used and verdict.reason.startswith("the ego's own result is not finite")
