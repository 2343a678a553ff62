"""Conformal thresholds: by hand, by simulation, and the file round trip."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from robosac.agreement import BoxJaccard, ScoreMapOverlap
from robosac.calibration import (
    Calibration,
    Thresholds,
    WithEgo,
    calibrate,
    fit,
    honest_scores,
    merged,
)
from robosac.conformal import conformal_threshold, frames_needed, refusal_bound
from robosac.detectors import WEIGHTS
from robosac.registry.defenses import statistics_of
from robosac.types import InputError
from tests.toy import GRID, ToyDetector, ToySession, frame


def test_threshold_by_hand():
    values = np.arange(1, 20) / 20  # n = 19, alpha = .1 -> k = 2
    assert conformal_threshold(values[::-1], 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("n", "alpha"), [(8, 0.1), (0, 0.5), (18, 0.05)])
def test_too_few_frames_promise_nothing(n, alpha):
    with pytest.raises(InputError, match=f"at least {round(1 / alpha) - 1} honest frames"):
        conformal_threshold(np.ones(n), alpha)


@given(st.lists(st.floats(0, 1), min_size=20, max_size=60), st.floats(0.06, 0.5))
def test_at_most_alpha_of_the_calibration_frames_fall_below(values, alpha):
    threshold = conformal_threshold(np.array(values), alpha)
    assert (np.array(values) < threshold).sum() < alpha * (len(values) + 1)


def test_the_promise_holds_on_new_frames():
    rng, alpha, n = np.random.default_rng(0), 0.1, 50
    refused = [rng.beta(5, 2) < conformal_threshold(rng.beta(5, 2, n), alpha) for _ in range(4000)]
    assert np.mean(refused) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / 4000)
    assert np.mean(refused) >= alpha - 2 / n - 3 * np.sqrt(alpha * (1 - alpha) / 4000)  # and is not vacuous


def honest_frames(n):
    rng = np.random.default_rng(1)
    for _ in range(n):
        cars = rng.uniform(-30, 30, (12, 2))
        yield frame({name: cars[rng.random(12) < 0.7] for name in ("ego", "a", "b")})


def test_calibrate_gives_every_measure_a_threshold_a_size():
    measures = (BoxJaccard(), ScoreMapOverlap())
    rng, source = np.random.default_rng(0), {"data": "toys"}
    made = calibrate(ToyDetector(), honest_frames(40), measures, alpha=0.1, rng=rng, source=source)
    assert made.detector == "toy" and set(made.measures) == {m.name for m in measures} and made.source == source
    for measure in made.measures.values():
        assert measure.frames == {1: 40, 2: 40}
        assert measure.thresholds[1] >= measure.thresholds[2]  # more teammates, more that the ego did not see


def test_the_nearest_smaller_size_stands_in():
    measure = Thresholds(0.1, {2: 0.5, 4: 0.3}, {2: 9, 4: 9})
    assert [measure.threshold(s) for s in (1, 2, 3, 4, 9)] == [0.5, 0.5, 0.5, 0.3, 0.3]


def test_thresholds_are_fitted_by_hand():
    """At alpha 1/2 and confidence 3/4 at least 2 frames are needed, and of 4 the smallest is asked for: the second
    is below the median of Beta(2, 3) with too small a chance. What equals the threshold passes."""
    agreements = {"m": {2: [0.6, 0.4], 1: [0.5, 0.2, 0.9, 0.3], 3: [0.7]}, "other": {1: [0.1, 0.8]}}
    malicious = {"m": {1: [0.1, 0.2, 0.2, 0.9], 3: [0.0]}}
    fitted = fit("toy", agreements, alpha=0.5, source={"a": "b"}, attacked=malicious, attack="x", confidence=0.75)
    sizes = {1: (0.2, 0.3, 0.5, 0.9), 2: (0.4, 0.6), 3: (0.7,)}  # the scores are kept, sorted
    assert fitted == Calibration(
        "toy",
        {
            "m": Thresholds(0.5, {1: 0.2, 2: 0.4}, {1: 4, 2: 2}, {1: 0.75}, "x", 0.75, {1: sizes[1], 2: sizes[2]}),
            "other": Thresholds(0.5, {1: 0.1}, {1: 2}, {}, "", 0.75, {1: (0.1, 0.8)}),
        },
        {"a": "b"},
    )
    unnamed = fit("toy", agreements, alpha=0.5, attacked=malicious).measures["m"]
    assert unnamed.lie == "" and unnamed.lies_accepted == {1: 0.25, 3: 0.0}
    plain = fit("toy", agreements, alpha=0.5).measures["m"]
    assert plain == Thresholds(0.5, {1: 0.3, 2: 0.4, 3: 0.7}, {1: 4, 2: 2, 3: 1}, scores=sizes)


@pytest.mark.parametrize(("by_size", "most"), [({}, 0), ({1: [0.5] * 3, 2: [0.5] * 5, 3: []}, 5)])
def test_a_fit_to_too_few_frames_says_how_many_there_are(by_size, most):
    with pytest.raises(InputError, match=f"at least 9 honest frames for alpha=0.1, got {most}"):
        fit("toy", {"m": by_size}, alpha=0.1)


def test_what_no_statistic_speaks_of_is_no_calibration():
    for few in ({}, {1: [0.5] * 8}):
        for scores in ({"m": few, "n": {1: [0.5] * 9}}, {"n": {1: [0.5] * 9}, "m": few}):
            assert list(fit("toy", scores, alpha=0.1).measures) == ["n"]
    with pytest.raises(InputError, match="at least 9 honest frames"):
        fit("toy", {"m": {}, "n": {}}, alpha=0.1)


def test_the_default_confidence_about_refusals():
    assert Thresholds(0.01, {2: 0.5}, {2: 99}).refusals(2) == refusal_bound(99, 0.01)
    sure = Thresholds(0.1, {2: 0.5}, {2: 60}, confidence=0.9)
    assert sure.refusals(2) == refusal_bound(60, 0.1, promised=0.9) < refusal_bound(60, 0.1)


def test_round_trip(tmp_path):
    measures = {
        "m": Thresholds(0.1, {1: 0.25, 2: 1 / 3}, {1: 40, 2: 40}),
        "told": Thresholds(0.1, {2: 0.5, 1: 0.25}, {2: 40, 1: 40}, {2: 0.125, 1: 0.5}, "noise", 0.9),
    }
    made = Calibration("toy", measures, {"seed": "0"})
    made.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == made
    text = (tmp_path / "c.json").read_text()  # the same calibration is the same bytes, a line a figure
    assert text == json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n"


def test_a_file_without_figures_of_attacks_or_confidence_is_read(tmp_path):
    plain = {"detector": "toy", "measures": {"m": {"alpha": 0.1, "thresholds": {"1": 0.5}, "frames": {"1": 9}}}}
    (tmp_path / "c.json").write_text(json.dumps({**plain, "source": {}}))
    assert Calibration.load(tmp_path / "c.json") == Calibration("toy", {"m": Thresholds(0.1, {1: 0.5}, {1: 9})})


@dataclass(frozen=True)
class Asked:
    """A measure and a detector that check what they are asked with."""

    name: str = "asked"
    default_threshold: float = 0.5

    def against(self, reference, ego=None, grid=None):
        assert ego.id == "ego" and grid is GRID
        return lambda other: len(reference) / len(other)


class Careful(ToyDetector):
    def open(self, ego, to, messages):
        assert to.ego == ego.id and to.world_T_ego is ego.world_T_sensor
        return super().open(ego, to, messages)


def test_every_size_is_measured_once_a_frame_against_the_ego_alone():
    frames = [frame({"ego": [(0, 0)], "a": [(9, 9)], "b": [(-9, 9)]}), frame({"ego": [(0, 0)], "a": [(0, 0)]})]
    got = honest_scores(Careful(), frames, [WithEgo(Asked())], np.random.default_rng(0))
    assert got == {"asked": {1: [1 / 2, 1.0], 2: [1 / 3]}}


def test_scores_of_frames_merged_are_those_of_all_frames():
    frames, rng = list(honest_frames(3)), np.random.default_rng
    each = [honest_scores(ToyDetector(), [f], [BoxJaccard(), ScoreMapOverlap()], rng(0)) for f in frames]
    whole = merged(each)
    assert whole == {m: {s: [e[m][s][0] for e in each] for s in (1, 2)} for m in each[0]} and len(whole) == 2
    assert merged([]) == {} and merged([{"m": {1: [0.5]}}, {"m": {2: [0.25]}, "n": {}}]) == {
        "m": {1: [0.5], 2: [0.25]},
        "n": {},
    }


def test_a_detector_that_gives_too_few_results_is_noticed(monkeypatch):
    whole = ToySession.detect
    monkeypatch.setattr(ToySession, "detect", lambda self, subsets: whole(self, subsets)[:-1])
    with pytest.raises(ValueError, match="shorter"):
        honest_scores(Careful(), honest_frames(1), [WithEgo(Asked())], np.random.default_rng(0))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"detector": "x"}', json.dumps({"detector": "x", "measures": {"m": 1}, "source": {}})]
)
def test_a_broken_file_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"broken\.json to be a calibration file"):
        Calibration.load(path)


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="robosac calibrate"):
        Calibration.load(tmp_path / "none.json")


# ------------------------------------------------------------------------------------ a promise with a confidence
def test_the_rank_with_a_confidence_by_hand():
    # the smallest of n is below the alpha-quantile but for (1 - alpha)^n of all calibrations
    assert frames_needed(0.02, 0.95) == 149 and 0.98**149 < 0.05 < 0.98**148
    assert frames_needed(0.02) == 49 and frames_needed(0.1) == 9
    values = np.arange(1, 201) / 200
    assert conformal_threshold(values, 0.02, confidence=0.95) == 1 / 200
    assert conformal_threshold(values, 0.02) == 4 / 200
    with pytest.raises(InputError, match="at least 149 honest frames"):
        conformal_threshold(values[:148], 0.02, confidence=0.95)
    for wrong in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="confidence inside"):
            conformal_threshold(values, 0.02, confidence=wrong)
        with pytest.raises(InputError, match="alpha inside"):
            conformal_threshold(values, wrong)


@pytest.mark.parametrize(
    ("n", "alpha", "confidence"),
    [(149, 0.02, 0.95), (300, 0.05, 0.9), (1000, 0.1, 0.99), (1000, 0.02, 0.5), (99, 0.1, 0.1), (1, 0.5, 0.5)],
)
def test_the_rank_with_a_confidence_is_the_largest_that_keeps_the_promise(n, alpha, confidence):
    held = [k for k in range(1, int(alpha * (n + 1)) + 1) if beta.ppf(confidence, k, n + 1 - k) <= alpha]
    values = np.arange(1, n + 1)
    assert conformal_threshold(values, alpha, confidence=confidence) == held[-1] == len(held)


@pytest.mark.parametrize(("n", "alpha"), [(60, 0.1), (200, 0.05), (400, 0.02)])
def test_the_promise_with_a_confidence_holds_for_that_share_of_calibrations(n, alpha):
    rng = np.random.default_rng(0)
    broken = np.mean([conformal_threshold(rng.random(n), alpha, confidence=0.9) > alpha for _ in range(3000)])
    assert broken <= 0.1 + 3 * np.sqrt(0.09 / 3000)
    assert broken > 0.01  # and is not vacuous
    assert refusal_bound(n, alpha, confidence=0.9, promised=0.9) <= alpha < refusal_bound(n, alpha, confidence=0.9)


def test_a_confidence_is_kept_in_the_file(tmp_path):
    frames = list(honest_frames(40))
    sure, plain = (
        calibrate(ToyDetector(), frames, [BoxJaccard()], alpha=0.1, rng=np.random.default_rng(0), confidence=c)
        for c in (0.9, None)
    )
    sure.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == sure
    (a,), (b,) = sure.measures.values(), plain.measures.values()
    assert a.confidence == 0.9 and b.confidence is None
    assert all(a.thresholds[s] <= b.thresholds[s] for s in (1, 2)) and a.refusals(1, confidence=0.9) <= 0.1
    assert all((a.thresholds[s], b.thresholds[s]) == (a.scores[s][1], b.scores[s][3]) for s in (1, 2))  # ranks 2 and 4


# ------------------------------------------------------------------------------------------ scores and p-values
def test_p_values_by_hand():
    measure = Thresholds(0.1, {1: 0.2, 3: 0.5}, {1: 4, 3: 4}, scores={1: (0.2, 0.4, 0.4, 0.9), 3: (0.5, 0.6, 0.7, 0.8)})
    assert [measure.p_value(1, s) for s in (0.1, 0.2, 0.3, 0.4, 0.95)] == [0.2, 0.4, 0.4, 0.8, 1.0]
    assert measure.p_value(2, 0.55) == measure.p_value(1, 0.55)  # the nearest smaller size
    assert measure.p_value(9, 0.55) == 0.4


@given(st.lists(st.integers(0, 30), min_size=20, max_size=60), st.floats(0.06, 0.5), st.integers(-1, 31))
def test_a_score_below_the_threshold_has_a_p_value_of_at_most_alpha(values, alpha, score):
    made = fit("toy", {"m": {1: values}}, alpha=alpha).measures["m"]
    assert (score < made.threshold(1)) == (made.p_value(1, score) <= alpha + 1e-12)


def test_p_values_of_honest_frames_are_as_rare_as_they_say():
    rng, n = np.random.default_rng(0), 19
    drawn = []
    for _ in range(2000):
        honest = tuple(sorted(rng.random(n)))
        drawn.append(Thresholds(0.1, {1: 0.0}, {1: n}, scores={1: honest}).p_value(1, rng.random()))
    for p in (0.05, 0.1, 0.5):
        assert abs(np.mean(np.array(drawn) <= p) - p) < 4 * np.sqrt(p * (1 - p) / 2000)


def test_scores_are_kept_to_the_last_bit_and_each_list_in_a_line(tmp_path):
    made = calibrate(ToyDetector(), honest_frames(40), [BoxJaccard()], alpha=0.1, rng=np.random.default_rng(0))
    made.save(tmp_path / "c.json")
    text = (tmp_path / "c.json").read_text()
    assert Calibration.load(tmp_path / "c.json") == made and text.count("[") == 2 and len(text.splitlines()) < 40
    (measure,) = made.measures.values()
    assert [len(s) for s in measure.scores.values()] == [40, 40]
    assert all(list(s) == sorted(s) and measure.thresholds[k] in s for k, s in measure.scores.items())


def test_a_file_without_scores_still_gives_thresholds(tmp_path):
    old = {"alpha": 0.1, "thresholds": {"1": 0.25}, "frames": {"1": 40}, "lies_accepted": {}, "lie": "foreign"}
    (tmp_path / "old.json").write_text(json.dumps({"detector": "x", "measures": {"m": old}, "source": {"seed": "0"}}))
    found = Calibration.load(tmp_path / "old.json").measures["m"]
    assert found.threshold(1) == 0.25 and found.confidence is None
    with pytest.raises(InputError, match="make it again with `robosac calibrate`"):
        found.p_value(1, 0.5)


class Nearest:
    """A statistic about single teammates: how many objects it sent."""

    name = "objects"

    def scores(self, session, ego, grid, subsets):
        return [
            float(len(session.messages[next(iter(s))].payload["centres"])) if len(s) == 1 else None for s in subsets
        ]


def test_a_statistic_of_ones_own_stands_beside_the_agreement():
    frames, both = list(honest_frames(12)), (Nearest(), BoxJaccard())
    found = honest_scores(ToyDetector(), frames, both, np.random.default_rng(0))
    assert set(found["objects"]) == {1} and len(found["objects"][1]) == 12
    sent = [{float(len(v.points)) for v in f.others.values()} for f in frames]
    assert all(score in counts for score, counts in zip(found["objects"][1], sent, strict=True))
    alone = honest_scores(ToyDetector(), frames, (WithEgo(BoxJaccard()),), np.random.default_rng(0))
    assert found[BoxJaccard().name] == alone[BoxJaccard().name]  # the same subsets, whatever else is asked


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.calibration.json")), ids=lambda p: p.name.partition(".")[0])
def test_the_shipped_thresholds_are_read_off_the_scores_beside_them(path):
    measures = Calibration.load(path).measures
    asked = {s.name for s in statistics_of(["robosac-agreement", "paper"] if "unbounded" in path.name else [])}
    assert asked <= set(measures) and path.stat().st_size < 200_000
    for m in measures.values():
        assert {size: len(s) for size, s in m.scores.items()} == m.frames
        assert {size: conformal_threshold(np.array(s), m.alpha) for size, s in m.scores.items()} == m.thresholds


def test_the_bound_on_refusals_by_hand_and_by_simulation():
    assert refusal_bound(99, 0.01) == pytest.approx(1 - 0.05 ** (1 / 99))  # k = 1: the smallest of 99
    assert refusal_bound(3, 0.5, confidence=0.5) == pytest.approx(0.5)  # k = 2: the middle one of three
    rng, n, alpha = np.random.default_rng(0), 60, 0.1
    realised = [beta.cdf(conformal_threshold(rng.beta(5, 2, n), alpha), 5, 2) for _ in range(4000)]
    above = np.mean(np.array(realised) > refusal_bound(n, alpha))
    assert abs(above - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)


@dataclass
class Broken(ToyDetector):
    """Its boxes are NaN for teammates of this many."""

    of: int = 0

    def open(self, ego, to, messages):
        session = super().open(ego, to, messages)
        sound = session.detect

        def detect(subsets):
            found = sound(subsets)
            return [
                replace(r, scores=r.scores * np.nan) if len(s) == self.of else r
                for s, r in zip(subsets, found, strict=True)
            ]

        session.detect = detect
        return session


@pytest.mark.parametrize("of", [0, 1, 2])
def test_no_threshold_is_read_off_a_broken_model(of):
    """It would agree with nothing, so that its threshold were 0 and everything passed."""
    with pytest.raises(InputError, match="expected finite results of 'toy' on honest frames, got NaN"):
        honest_scores(Broken(of=of), honest_frames(1), [BoxJaccard()], np.random.default_rng(0))
