"""Rates, costs and their intervals on records whose answers are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from robosac.evaluation.ap import FP, TP, FrameMatches
from robosac.evaluation.bootstrap import Replicated, difference, ratio, recovered_share, scene_weights
from robosac.evaluation.metrics import FrameRecord, Milliseconds, by_scene, paired_ap, stage_times, summarise
from robosac.types import Detections, InputError, Trial, Verdict

TEAM = frozenset("abcde")


def matches(outcome: tuple[int, ...] = (TP,), n_gt: int = 1) -> FrameMatches:
    scores = np.linspace(0.9, 0.5, len(outcome), dtype=np.float32)
    return FrameMatches((0.5,), scores, np.array([outcome], np.int8), n_gt)


def record(scenario: str = "s", index: int = 0, **changes: object) -> FrameRecord:
    values: dict[str, object] = {
        "attackers": frozenset("de"),
        "teammates": TEAM,
        "used": frozenset("abc"),
        "accused": frozenset("de"),
        "decodes": 4,
        "trials": 3,
        "ms": {"encode": 10.0, "search": 20.0},
        "fell_back": False,
        "rejected": {},
        "matches": matches(),
    }
    return FrameRecord(scenario, index, **{**values, **changes})  # type: ignore[arg-type]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rates_by_hand() -> None:
    """Frame 1: perfect. Frame 2: attacker d used, honest a kept out, honest b accused, e kept out unaccused."""
    wrong = record(index=1, used=frozenset("bcd"), accused=frozenset("b"))
    row = summarise("p", [record(), wrong], rng())
    assert row.tpr_excluded.value == 3 / 4
    assert row.fpr_excluded.value == 1 / 6
    assert row.tpr_accused.value == 2 / 4
    assert row.fpr_accused.value == 1 / 6
    assert row.attacker_free.value == 1 / 2
    assert (row.frames, row.scenes) == (2, 1)


def test_not_used_is_not_accused_and_ego_alone_is_attacker_free() -> None:
    row = summarise("ego only", [record(used=frozenset(), accused=frozenset(), fell_back=True)], rng())
    assert (row.tpr_excluded.value, row.fpr_excluded.value) == (1.0, 1.0)
    assert (row.tpr_accused.value, row.fpr_accused.value) == (0.0, 0.0)
    assert (row.attacker_free.value, row.fell_back.value) == (1.0, 1.0)


def test_rates_without_attackers_or_teammates_are_none() -> None:
    quiet = summarise("p", [record(attackers=frozenset(), used=TEAM, accused=frozenset())], rng())
    assert quiet.tpr_excluded is None and quiet.tpr_accused is None
    assert quiet.fpr_excluded.value == 0.0
    nobody = record(attackers=frozenset(), teammates=frozenset(), used=frozenset(), accused=frozenset())
    assert summarise("p", [nobody], rng()).fpr_excluded is None


def test_an_invented_identity_is_not_attacker_free() -> None:
    assert not record(used=frozenset({"a", "ghost"})).attacker_free
    assert record(used=frozenset({"a"})).attacker_free


def test_costs_by_hand() -> None:
    records = [record(decodes=4, trials=3), record(index=1, decodes=8, trials=7, fell_back=True)]
    row = summarise("p", records, rng())
    assert (row.decodes.value, row.trials.value, row.fell_back.value) == (6.0, 5.0, 0.5)


def test_milliseconds_a_stage_counts_missing_stages_as_zero() -> None:
    times = stage_times([record(ms={"encode": 10.0, "total": 99.0}), record(ms={"search": 4.0, "encode": 20.0})])
    assert list(times) == ["encode", "search", "total"]
    assert times["encode"] == Milliseconds(15.0, 15.0, 19.5)
    assert times["search"].mean == 2.0
    assert times["total"].mean == 17.0
    assert stage_times([]) == {}


def test_record_from_a_verdict() -> None:
    trials = (Trial(frozenset("a"), 0.8, True, 0.3),) * 2
    verdict = Verdict(
        Detections.empty(), frozenset(), frozenset("d"), {"d": 0.9}, trials, 3, {"search": 1.0}, "none", {"e": "stale"}
    )
    made = FrameRecord.of("s", 7, frozenset("abd"), frozenset("de"), verdict, matches())
    assert made.attackers == frozenset("d")  # e is not in the frame
    assert (made.trials, made.decodes, made.fell_back) == (2, 3, True)
    assert made.rejected == {"e": "stale"}


def test_boxes_are_counted_by_what_they_rest_on() -> None:
    """A result of several subsets: one box of the ego's own, one of an honest teammate, two with an attacker in it."""
    sources = (frozenset(), frozenset("a"), frozenset("ad"), frozenset("d"))
    support = ((), (frozenset("b"),), (frozenset("ab"), frozenset("b")), ())
    found = Detections(np.zeros((4, 7), np.float32), np.ones(4, np.float32))
    verdict = Verdict(found, frozenset("ad"), frozenset(), {}, (), 3, {}, "", sources=sources, support=support)
    made = FrameRecord.of("s", 0, TEAM, frozenset("de"), verdict, matches())
    assert (made.boxes, made.attacked_boxes, made.supported_boxes) == (4, 2, 2)
    assert made.used == frozenset("ad") and not made.attacker_free
    nothing = record(index=1, boxes=0)
    assert summarise("p", [made, nothing], rng()).attacked_boxes.value == 2 / 4
    assert summarise("p", [nothing], rng()).attacked_boxes is None
    assert FrameRecord.from_dict(made.to_dict()).to_dict() == made.to_dict()


def test_json_round_trip() -> None:
    original = record("scene 3", 8, rejected={"d": "stale by 900 ms"}, matches=matches((TP, FP), 4))
    back = FrameRecord.from_dict(json.loads(json.dumps(original.to_dict())))
    assert back.to_dict() == original.to_dict()
    assert back.used == original.used and isinstance(back.used, frozenset)


def test_summary_is_plain_json() -> None:
    plain = json.loads(json.dumps(summarise("p", [record(), record("t")], rng()).to_dict()))
    assert plain["ap"]["0.5"]["value"] == 1.0
    assert plain["ms"]["total"]["median"] == 30.0
    assert plain["tpr_excluded"]["low"] == 1.0


def test_scenes_are_grouped_and_sorted_by_name() -> None:
    groups = by_scene([record("b", 0), record("a", 0), record("b", 1)])
    assert [(name, len(rows)) for name, rows in groups.items()] == [("a", 1), ("b", 2)]


# ---------------------------------------------------------------------------------------------- bootstrap
def test_weights_draw_scenes_with_replacement() -> None:
    weights = scene_weights(7, rng(), 500)
    assert weights.shape == (500, 7) and (weights.sum(axis=1) == 7).all()
    assert abs((weights == 0).mean() - (6 / 7) ** 7) < 0.02


def test_intervals_come_from_scenes_not_frames() -> None:
    """100 equal frames in 2 scenes, one right and one wrong: the interval must span everything."""
    right = [record("a", k) for k in range(50)]
    wrong = [record("b", k, used=frozenset("de")) for k in range(50)]
    estimate = summarise("p", right + wrong, rng()).attacker_free
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0.0, 1.0)


def test_interval_covers_the_true_rate_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(11)
    inside = 0
    for _ in range(200):
        frames = draw.integers(1, 4, 60)
        estimate = ratio(draw.binomial(frames, 0.4), frames, scene_weights(60, draw, 300)).estimate()
        inside += estimate.low <= 0.4 <= estimate.high
    assert 0.89 <= inside / 200 <= 0.99


def test_ratio_leaves_out_resamples_that_count_nothing() -> None:
    weights = np.array([[2, 0, 0], [1, 1, 0], [0, 1, 1]])
    replicated = ratio(np.array([0, 2, 2]), np.array([0, 4, 4]), weights)
    assert replicated.defined.tolist() == [False, True, True]
    assert replicated.replicates.tolist() == [0.0, 0.5, 0.5]
    assert replicated.estimate().low == 0.5
    alone = ratio(np.array([0, 2, 0]), np.array([0, 4, 0]), weights)  # one scene has something to count
    assert (alone.estimate().value, alone.estimate().low) == (0.5, None)
    assert ratio(np.zeros(2), np.zeros(2), np.ones((3, 2), np.int64)) is None


def replicated(value: float, *replicates: float) -> Replicated:
    return Replicated(value, np.array(replicates), np.ones(len(replicates), np.bool_))


def test_difference_and_recovered_share_by_hand() -> None:
    ego, policy, oracle = replicated(0.5, 0.4, 0.6), replicated(0.8, 0.7, 0.6), replicated(0.9, 0.8, 0.6)
    assert difference(policy, ego).value == pytest.approx(0.3)
    assert difference(policy, ego).replicates == pytest.approx([0.3, 0.0])
    share = recovered_share(policy, ego, oracle)
    assert share.value == pytest.approx(0.75)
    assert share.replicates[0] == pytest.approx(0.75)
    assert share.defined.tolist() == [True, False]  # the second resample has no gap
    assert recovered_share(policy, oracle, ego) is None
    assert recovered_share(None, ego, oracle) is None and difference(policy, None) is None


def test_pairing_cancels_what_scenes_share() -> None:
    """Scenes differ a lot, the policies by one missed object in each: the paired difference is far narrower."""

    def run(extra_miss: int) -> list[FrameRecord]:
        return [record(f"s{k:02}", matches=matches((TP,) * (k + 1 - extra_miss), 21)) for k in range(1, 20)]

    pairs = paired_ap({"full": run(0), "less": run(1)}, rng(), replicates=400)
    full, less = pairs["full"][0.5], pairs["less"][0.5]
    gap = difference(full, less)
    assert gap.value == pytest.approx(1 / 21)
    assert np.ptp(gap.replicates) < 1e-12 < 0.05 < np.ptp(full.replicates)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: record(attackers=frozenset("z")), "attackers to be among the teammates"),
        (lambda: paired_ap({"p": [record()], "q": [record(index=1)]}, rng()), "every policy on the same frames"),
        (lambda: replicated(0.5, 0.5).estimate(1.0), r"level to be in \(0, 1\)"),
        (lambda: difference(replicated(0.5, 0.5), replicated(0.5, 0.5, 0.5)), "same resamples"),
        (lambda: ratio(np.ones(2), np.ones(2), np.ones((4, 3), np.int64)), "weights of 2 scenes"),
        (lambda: summarise("p", [], rng()), "at least one scene"),
    ],
)
def test_errors_say_what_was_expected(call, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_the_egos_of_one_drive_are_one_draw() -> None:
    egos = [record(f"split/drive/{ego}", 0) for ego in "abc"]
    apart, one = (summarise("p", egos, np.random.default_rng(0), every_ego=each) for each in (False, True))
    assert (apart.scenes, one.scenes) == (3, 1)
    assert apart.ap[0.5] is not None and one.ap[0.5] is not None
    assert apart.ap[0.5].low is not None and one.ap[0.5].low is None and one.ap[0.5].value == apart.ap[0.5].value
