"""What a table does not show is said beside it: refused honest messages, labels and scenes left out, no interval."""

import csv
import json
from dataclasses import dataclass

import numpy as np
import pytest

from robosac.cli import main
from robosac.evaluation.ap import FrameMatches
from robosac.evaluation.metrics import FrameRecord
from robosac.experiments.refused import Refused
from robosac.simulation import SimConfig, scenario
from tests.data.dair import write_dair
from tests.test_evaluate import Sparse, read

ARGS = ("--attack", "gps_offset", "--defense", "none", "--jobs", "1")


def evaluate(out, *args, code=0):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--pictures", "0", *args, *ARGS, "--out", str(out)])
        raise SystemExit(0)
    assert (stop.value.code or 0) == code
    return read(out)


def rewrite(path, change):
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Four pairs: the first lacks its road-side scan, the second's is 80 ms ahead, the third lists a car of no size."""
    config = SimConfig(n_vehicles=2, n_frames=4, beams=8, columns=64)
    made = scenario("val", 0, config=config)
    root = write_dair(tmp_path_factory.mktemp("drive") / "data", [made.snapshot(k) for k in range(4)])
    (root / "infrastructure-side/velodyne/000016.pcd").unlink()

    def ahead(scans):
        scans[1]["pointcloud_timestamp"] = str(int(scans[1]["pointcloud_timestamp"]) + 52_000)
        return scans

    def flat(objects):
        objects[0]["world_8_points"] = [objects[0]["world_8_points"][0]] * 8
        return objects

    rewrite(root / "infrastructure-side/data_info.json", ahead)
    rewrite(sorted((root / "cooperative/label_world").glob("*.json"))[2], flat)
    return root


@pytest.fixture(scope="module")
def done(drive, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    args = ("--dataset", f"dair:{drive}", "--detector", "tests.test_evaluate:Sparse", "--attackers", "0,1,2")
    return out, evaluate(out, *args)


def test_a_drive_whose_first_pair_lacks_a_partner_is_played(done):
    entry = done[1]["gps_offset", 1, "none"]
    assert [len(f["attackers"]) for f in entry["per_frame"]] == [0, 1, 1, 1] and entry["skipped"] is None
    assert done[1]["gps_offset", 2, "none"]["skipped"] == "fewer teammates than attackers"


def test_refused_honest_messages_are_counted_and_said(done):
    out, found = done
    assert found["nobody", 0, "none"]["honest_refused"] == {
        "messages": 1, "of": 3, "reasons": {"sensed -80 ms ago, allowed -50 to 250": 1},
    }  # fmt: skip
    assert found["gps_offset", 1, "none"]["honest_refused"]["messages"] == 0  # who attacks is not honest
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [r["honest messages refused"] for r in rows] == ["1", "0", ""]
    for page in ("table.md", "report.html"):
        told = (out / page).read_text()  # once of a defence, whatever the attack
        assert told.count("the gate refused 1 of 3 honest messages: sensed -80 ms ago") == 1


def test_labels_that_were_left_out_are_said_once(done):
    out, found = done
    for entry in found.values():
        if entry["skipped"] is None:
            ((frame, (said,)),) = entry["labels_left_out"].items()
            assert frame.endswith("vehicle") and "0 x 0 x 0, not between 0 and 100 m" in said
    assert (out / "table.md").read_text().count("records of labels left out of dair:") == 1


def test_frames_without_the_attacker_are_said(done):
    assert "fewer than 1 of the attackers are in range in 1 of 4 frames" in (done[0] / "table.md").read_text()


def test_one_drive_has_no_interval_anywhere(done):
    out, found = done
    entry = found["nobody", 0, "none"]
    figures = [*entry["ap"].values(), *entry["ap50_by_range_m"].values(), entry["boxes"], entry["decodes"]]
    assert all(f is None or (f["low"], f["high"]) == (None, None) for f in figures) and entry["ap"]["0.5"]["value"] >= 0
    with (out / "table.csv").open() as file:
        first, *_ = csv.DictReader(file)
    assert first["AP@0.5"] and first["AP@0.5 low (95 %)"] == first["AP@0.5 high (95 %)"] == ""
    row = next(r for r in (out / "table.md").read_text().splitlines() if r.startswith("| 0 | none"))
    assert "(" not in row


def test_the_terminal_and_json_say_it_too(drive, done, capsys):
    """A run that resumes says what the first one said."""
    out, _ = done
    args = ("--dataset", f"dair:{drive}", "--detector", "tests.test_evaluate:Sparse", "--attackers", "0,1,2")
    evaluate(out, *args)
    said = " ".join(capsys.readouterr().out.split())
    for note in ("refused 1 of 3 honest messages", "records of labels left out of dair:", "in range in 1 of 4 frames"):
        assert note in said
    evaluate(out, *args, "--json")
    found = json.loads(capsys.readouterr().out)
    assert len(found["notes"]) == 3 and [r["refused"] for r in found["rows"]] == [1, 0, None]


def test_other_classes_are_other_truth_and_played_again(drive, tmp_path, capsys):
    """None of the labels is a bicycle: that is said, and no AP of nothing printed."""
    args = ("--dataset", f"dair:{drive}", "--detector", "tests.test_evaluate:Sparse", "--attackers", "0")
    vehicles = evaluate(tmp_path, *args)["nobody", 0, "none"]
    counts = {}
    for classes in ("car", "Car,VAN,Truck,Bus", "pedestrian", "bicycle"):
        evaluate(tmp_path, *args, "--classes", classes)
        found = [json.loads(p.read_text()) for p in (tmp_path / "entries").glob("*.json")]
        wanted = sorted(c.lower() for c in classes.split(","))
        (entry,) = [e for e in found if e["config"]["data"].get("classes") == wanted]
        counts[classes] = sum(f["matches"]["n_gt"] for f in entry["per_frame"])
    everything = sum(f["matches"]["n_gt"] for f in vehicles["per_frame"])
    assert counts["Car,VAN,Truck,Bus"] == everything > counts["car"] > 0 == counts["bicycle"]
    assert "no object counts as truth, so that AP is undefined" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--classes", ","], "expected names of classes like Car,Truck, got none"),
        (["--classes", "..."], "expected names of classes, like ['Car', 'Pedestrian']"),
        (["--ego", "4711"], "expected agents among infrastructure, vehicle of"),
        (["--dataset", "sim:mixed", "--ego", "car-2"], "expected --ego of a recording, got car-2 and sim:mixed"),
        (["--dataset", "sim:mixed", "--classes", "car"], "expected --classes of a recording"),
    ],
)
def test_what_no_recording_has_is_refused(args, message, drive, tmp_path, capsys):
    evaluate(tmp_path / "out", *(() if "--dataset" in args else ("--dataset", f"dair:{drive}")), *args, code=2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("ego", ["first", "all", "each", "infrastructure"])
def test_egos_by_name(ego, drive, tmp_path):
    args = ("--dataset", f"dair:{drive}", "--detector", "tests.test_evaluate:Sparse", "--attackers", "0")
    found = evaluate(tmp_path, *args, "--ego", ego)["nobody", 0, "none"]
    scenes = {f["scenario"].partition("/")[2] for f in found["per_frame"]}
    assert scenes == ({"vehicle", "infrastructure"} if ego in ("all", "each") else {""})
    assert found["frames"] == {"first": 4, "infrastructure": 3}.get(ego, 7)
    teammates = {t for f in found["per_frame"] for t in f["teammates"]}
    assert teammates == {"first": {"infrastructure"}, "infrastructure": {"vehicle"}}.get(ego, set(ALL))


ALL = ("infrastructure", "vehicle")


# -------------------------------------------------------------------------------------------------------- broken models
@dataclass
class NotFinite(Sparse):
    """A user's own class: `array` of its results is not finite."""

    array: str = "boxes"

    def open(self, ego, to, messages):
        session = super().open(ego, to, messages)
        sound = session.detect

        def detect(subsets):
            found = sound(subsets)
            for r in found:
                getattr(r, self.array)[:1] = np.nan
            return found

        session.detect = detect
        return session


def nan_boxes():
    return NotFinite(array="boxes")


def nan_scores():
    return NotFinite(array="scores")


def nan_map():
    return NotFinite(array="score_map")


@pytest.mark.parametrize("make", ["nan_boxes", "nan_scores", "nan_map"])
def test_a_broken_model_is_named_and_no_figure(make, tmp_path, capsys):
    args = ("--detector", f"tests.experiments.test_notes:{make}", "--scenes", "1", "--frames", "1")
    found = evaluate(tmp_path, *args, "--attackers", "0,1", code=1)
    assert all("expected finite results of 'toy'" in e["skipped"] and "ap" not in e for e in found.values())
    assert "expected a cell that can be played, got none: expected finite results" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ by hand
def test_reasons_that_differ_in_numbers_are_one():
    def record(rejected, attackers=()):
        nothing = FrameMatches((0.5,), np.zeros(0, np.float32), np.zeros((1, 0), np.int8), 0)
        return FrameRecord(
            "s", 0, frozenset(attackers), frozenset("abc"), frozenset(), frozenset(), 1, 0, {}, False, rejected, nothing
        )  # fmt: skip

    old = {"a": "sensed 300 ms ago, allowed -20 to 250", "b": "sensed 400.5 ms ago, allowed -20 to 250"}
    found = Refused.count([record(old), record({"a": "pose is not rigid", "c": "anything"}, "c"), record({})])
    assert (found.messages, found.of) == (3, 8)
    assert found.reasons == {old["a"]: 2, "pose is not rigid": 1}
