"""How often malicious messages pass calibrated thresholds: what is measured, by hand."""

import numpy as np

from robosac.agreement import BoxJaccard
from robosac.calibration import attacked_scores, fit, foreign, honest_scores
from robosac.types import Request
from tests.toy import ToyDetector, frame


def test_foreign_messages_by_hand():
    here = frame({"ego": [(0, 0)], "a": [(0, 0)]})
    elsewhere = frame({"ego": [], "z": [(20, 20), (-20, 20), (20, -20)]})
    measure = BoxJaccard()
    malicious = foreign(ToyDetector(), elsewhere)
    found = attacked_scores(ToyDetector(), [here], [measure], malicious, np.random.default_rng(0))
    assert found == {measure.name: {1: [0.25]}}  # one box agrees, three are invented
    made = fit("toy", {measure.name: {1: [0.2] * 20}}, alpha=0.1, attacked={measure.name: {1: [0.1, 0.2, 0.25, 0.9]}})
    assert made.measures[measure.name].lies_accepted == {1: 0.75}


def test_frames_without_teammates_say_nothing_of_attacks():
    alone, both = frame({"ego": [(0, 0)]}), frame({"ego": [(0, 0)], "a": []})
    measure = BoxJaccard()
    for here, elsewhere in ((alone, both), (both, alone)):
        malicious = foreign(ToyDetector(), elsewhere)
        found = attacked_scores(ToyDetector(), [here], [measure], malicious, np.random.default_rng(0))
        assert found == {measure.name: {}}


def test_one_malicious_message_is_in_every_subset_measured():
    # everybody sees the same car but the attacker, a random teammate that invents another
    here = frame({"ego": [(0, 0)], "a": [(0, 0)], "b": [(0, 0)], "c": [(0, 0)]})
    alone, silent = frame({"ego": [(0, 0)]}), frame({"ego": [(0, 0)], "d": []})
    attacked = []

    def malicious(frame, request, honest, attacker, rng):
        if frame is silent:
            return []
        attacked.append(attacker)
        assert frame is here and set(honest) == {"a", "b", "c"} and request.ego == "ego"
        return [honest[attacker].with_payload(centres=np.array([[20, 20]], np.float32))]

    measure = BoxJaccard()
    found = attacked_scores(
        ToyDetector(), [alone, silent] + [here] * 20, [measure], malicious, np.random.default_rng(0)
    )
    assert found == {measure.name: {1: [0.5] * 20, 2: [0.5] * 20, 3: [0.5] * 20}}
    assert set(attacked) == {"a", "b", "c"}


def test_sessions_are_opened_for_what_the_ego_asked():
    here, asked = frame({"ego": [(0, 0)], "a": [(0, 0)], "b": [(1, 1)]}), []

    class Asked(ToyDetector):
        def encode(self, view, to):
            asked.append((view.id, to))
            return super().encode(view, to)

        def open(self, ego, to, messages):
            asked.append((ego.id, to))
            return super().open(ego, to, messages)

    rng = np.random.default_rng(0)
    honest_scores(Asked(), [here], [BoxJaccard()], rng)
    attacked_scores(Asked(), [here], [BoxJaccard()], lambda frame, to, honest, who, rng: [honest[who]], rng)
    assert [(name, to.ego, to.t_ns) for name, to in asked] == [
        (name, "ego", here.ego.t_ns) for name in ["a", "b", "ego", "a", "b", "ego"]
    ]
    assert all((to.world_T_ego == here.ego.world_T_sensor).all() for _, to in asked)


def test_foreign_messages_keep_name_pose_and_time():
    here, elsewhere = frame({"ego": [], "a": [(1, 1)]}), frame({"ego": [], "y": [(5, 6)], "z": [(7, 8)]})
    detector, request = ToyDetector(), Request.of(here.ego)
    honest = {"a": detector.encode(here.others["a"], request)}
    seen = set()
    for seed in range(9):
        (sent,) = foreign(detector, elsewhere)(here, request, honest, "a", np.random.default_rng(seed))
        seen.add(tuple(sent.payload["centres"][0]))
        assert {**vars(sent), "payload": None} == {**vars(honest["a"]), "payload": None}
    assert seen == {(5, 6), (7, 8)}
