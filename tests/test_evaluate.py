"""`robosac evaluate`: the same entries whatever the processes, interruptions and company; what cannot be says so."""

import csv
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from benchmarks.grid import entries
from robosac import detectors
from robosac.attacks.features.objectives import NO_OBJECT
from robosac.cli import main
from robosac.detectors.bev.detector import BevDetector
from robosac.evaluation.metrics import FrameRecord
from robosac.experiments import frame_cache, scenes, work
from robosac.experiments.axes import attack_specs, defense_specs
from robosac.experiments.frame_cache import FrameCache
from robosac.experiments.settings import make_grid, names_of
from robosac.lock import alone_in
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError
from tests.data.samples import DAIR, OPV2V, TWO_CARS, needs
from tests.data.v2xsim import write_npy, write_pkl
from tests.toy import ToyDetector

SMALL = (
    *("--scenes", "2", "--frames", "1", "--attack", "noise,pgd:steps=1", "--attackers", "0,1,9"),
    *("--defense", "none,robosac"),
)


class Sparse(ToyDetector):
    """A detector of everybody's first three points: no logits, and a forward takes no time."""

    def encode(self, view, to):
        return super().encode(replace(view, points=view.points[:3]), to)

    def open(self, ego, to, messages):
        return super().open(replace(ego, points=ego.points[:3]), to, messages)


def evaluate(out, *args, code=0):
    try:
        main(["evaluate", "--pictures", "0", "--out", str(out), "--jobs", "1", *args])
    except SystemExit as stop:
        assert (stop.code or 0) == code
    else:
        assert code == 0
    return Path(out)


def read(out):
    """Every entry by (attack, attackers, defence)."""
    found = [json.loads(p.read_text()) for p in (Path(out) / "entries").glob("*.json")]
    return {(e["cell"]["attack"], e["cell"]["attackers"], e["cell"]["defense"]): e for e in found}


def shards(out):
    return {p.name: p.read_bytes() for p in (Path(out) / "shards").glob("*.json")}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return evaluate(tmp_path_factory.mktemp("grid"), *SMALL)


# ----------------------------------------------------------------------------------------------- the same entries
def test_every_cell_has_an_entry_with_all_that_is_promised(done):
    found = read(done)
    pairs = [("nobody", 0), *((a, m) for a in ("noise", "pgd:steps=1") for m in (1, 9))]
    assert set(found) == {(a, m, d) for a, m in pairs for d in ("none", "robosac")}
    e = found["pgd:steps=1", 1, "robosac"]
    assert e["config"]["attack"]["steps"] == 1 and e["config"]["attack"]["kind"] == "Pgd"
    assert e["config"]["data"]["simulation"]["kind"] == "SimConfig" and e["config"]["detector"]["weights"]
    assert e["config"]["calibration"]["detector"] == "bev-mean" and e["cell"]["unit"]
    assert e["scenes"] == 2 and e["frames"] == 2 and e["seeds"] == [0] and "torch" in e["versions"]
    for t in ("0.3", "0.5", "0.7"):
        assert e["ap"][t]["low"] <= e["ap"][t]["value"] <= e["ap"][t]["high"]
    for name in ("tpr_excluded", "fpr_excluded", "tpr_accused", "fpr_accused", "attacker_free", "boxes", "decodes"):
        assert e[name]["value"] >= 0
    assert e["bytes_received"]["value"] == sum(r["bytes_received"] for r in e["per_frame"]) / 2 > 1e6
    assert 0 <= e["roc"]["auc"] <= 1 and e["roc"]["tpr"][-1] == 1
    assert set(e["ap50_by_range_m"]) == {"0-15", "15-30", "30+"}
    assert [len(r["attackers"]) for r in e["per_frame"]] == [1, 1]
    assert e["timings"]["ms"]["total"]["mean"] > 0 and e["timings"]["seconds"] > 0 and e["timings"]["jobs"] == 1
    assert all("ms" not in r for r in e["per_frame"])


def test_two_processes_write_the_same(done, tmp_path):
    part = ("--scenes", "2", "--frames", "1", "--attack", "noise", "--attackers", "0,1", "--defense", "none,robosac")
    evaluate(tmp_path, *part, "--jobs", "2")
    assert len(entries(tmp_path)) == 4 and entries(tmp_path).items() <= entries(done).items()
    assert len(entries(done)) == 10


def test_what_is_done_is_not_done_again(done, tmp_path, monkeypatch):
    """A folder that lost some shards, one of them to an editor: only these are played, and nothing differs."""
    (tmp_path / "shards").mkdir()
    kept = shards(done)
    lost, broken, *whole = sorted(kept)
    for name in whole:
        (tmp_path / "shards" / name).write_bytes(kept[name])
    (tmp_path / "shards" / broken).write_bytes(kept[broken][:99])
    (tmp_path / "shards" / f".{lost}.x1y2").write_text("half")
    calls = count_plays(monkeypatch)
    evaluate(tmp_path, *SMALL)
    assert len(calls) <= 2 and entries(tmp_path) == entries(done)
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == sorted(kept)


def test_a_grid_that_grows_plays_what_is_new(tmp_path, monkeypatch):
    calls = count_plays(monkeypatch)
    args = ("--detector", "tests.test_evaluate:Sparse", "--frames", "1", "--attack", "gps_offset")
    evaluate(tmp_path, *args, "--scenes", "1", "--attackers", "1", "--defense", "none")
    first = entries(tmp_path)
    assert calls == [["none"]]
    evaluate(tmp_path, *args, "--scenes", "1", "--attackers", "1,2", "--defense", "none,oracle")
    assert calls[1:] == [["oracle"], ["none", "oracle"]]
    assert {name: entries(tmp_path)[name] for name in first} == first and len(entries(tmp_path)) == 4
    evaluate(tmp_path, *args, "--scenes", "2", "--attackers", "1,2", "--defense", "none,oracle")
    assert calls[3:] == [["none", "oracle"]] * 2  # the second scene


def count_plays(monkeypatch):
    """The policies of every call of `play` from now on."""
    calls, real = [], work.play

    def counting(staged, detector, attack, counts, policies, **more):
        calls.append([p.name for p in policies])
        return real(staged, detector, attack, counts, policies, **more)

    monkeypatch.setattr(work, "play", counting)
    return calls


def test_stopped_by_ctrl_c(tmp_path, monkeypatch, capsys):
    """What was done before stays, and a line says how to go on."""
    args = ("--detector", "tests.test_evaluate:Sparse", "--scenes", "1", "--frames", "1", "--attack", "gps_offset")
    args = (*args, "--attackers", "0,1", "--defense", "none")
    real = work.play

    def stopping(staged, detector, attack, *more, **settings):
        if attack is not None:
            raise KeyboardInterrupt
        return real(staged, detector, attack, *more, **settings)

    monkeypatch.setattr(work, "play", stopping)
    evaluate(tmp_path, *args, code=130)
    assert "the same command goes on from there" in capsys.readouterr().err and len(shards(tmp_path)) == 1
    monkeypatch.setattr(work, "play", real)
    evaluate(tmp_path, *args)
    assert len(shards(tmp_path)) == len(read(tmp_path)) == 2


def test_one_run_at_a_time(tmp_path):
    with alone_in(tmp_path), pytest.raises(InputError, match="another run is at work"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass


# -------------------------------------------------------------------------------------------- what is shown and skipped
def test_cells_that_cannot_be_say_why(done):
    for (_, m, _), e in read(done).items():
        assert e["skipped"] == ("fewer teammates than attackers" if m == 9 else None)
        assert ("per_frame" in e) == (m != 9)
    assert (done / "table.md").read_text().count("skipped: fewer teammates than attackers") == 4


def test_a_detector_without_gradients_skips_what_needs_them(tmp_path, capsys):
    args = ("--detector", "tests.test_evaluate:Sparse", "--scenes", "1", "--frames", "1")
    evaluate(tmp_path, *args, "--attack", "pgd,gps_offset", "--attackers", "1", "--defense", "none,oracle", "--json")
    skipped = {(attack, d): e["skipped"] for (attack, _, d), e in read(tmp_path).items()}
    assert skipped["gps_offset", "none"] is None and skipped["gps_offset", "oracle"] is None
    assert "expected" in skipped["pgd", "none"] and skipped["pgd", "none"] == skipped["pgd", "oracle"]
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [r["skipped"] is None for r in rows] == [False, False, True, True]


def test_tables_and_pictures(done):
    with (done / "table.csv").open() as file:
        heading, *rows = list(csv.reader(file))
    assert len(rows) == 10 and {"AP@0.5", "budget", "ms a frame", "received kB a frame", "attackers left out %"} <= set(
        heading
    )
    assert (done / "report.html").read_text().count("<img") == 2
    for name in ("ap-over-attackers", "ap-over-range"):
        assert (done / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert make_grid(done / "grid.yaml", {}) == make_grid(None, options(SMALL))


def options(args):
    named = {k.removeprefix("--").replace("-", "_"): v for k, v in zip(args[::2], args[1::2], strict=True)}
    return {k: int(v) if k in ("scenes", "frames") else [v] for k, v in named.items()}


def test_axes_of_budgets_and_trials(tmp_path):
    args = ("--scenes", "1", "--frames", "1", "--attack", "noise", "--attackers", "2", "--defense", "robosac,none")
    evaluate(tmp_path, *args, "--epsilon", "0.1,0.5", "--trials", "1,4")
    found = read(tmp_path)
    assert {d for _, _, d in found} == {"robosac@1 trials", "robosac@4 trials", "none"}
    for (attack, _, defense), e in found.items():
        assert e["cell"]["budget"] == e["config"]["attack"]["epsilon"] == float(attack.split("@")[1])
        if defense != "none":
            # every teammate alone, and so many joint results at most
            assert all(r["trials"] <= len(r["teammates"]) + e["cell"]["trials"] for r in e["per_frame"])
    assert {p.stem for p in tmp_path.glob("*.png")} == {"ap-over-epsilon", "ap-over-trials", "ap-over-range"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--dataset", "kitti:x"], "expected a data set like sim:PRESET"),
        (["--dataset", "sim:moon"], "expected a preset among mixed"),
        (["--dataset", "opv2v:/nowhere"], "/nowhere"),
        (["--detector", "nope"], "expected a shipped detector"),
        (["--attack", "nope"], "expected an attack preset"),
        (["--attack", "pgd:steps"], "expected an attack like pgd"),
        (["--attack", "pgd:stripes=3"], "expected settings of"),
        (["--defense", "nope"], "expected a defence, one of agreement-poses, all-honest"),
        (["--attackers", "one"], "expected --attackers to be whole numbers"),
        (["--attackers", "1,1"], "expected each value once"),
        (["--attackers", "-1"], "expected finite values >= 0"),
        (["--epsilon", "nan"], "expected finite values >= 0"),
        (["--trials", "1.5"], "expected --trials to be whole numbers"),
        (["--comm-range-m", "-3"], "comm_range_m"),
    ],
)
def test_wrong_arguments_are_one_line_and_exit_code_2(args, message, tmp_path, capsys):
    evaluate(tmp_path / "out", *args, code=2)
    said = capsys.readouterr().err.strip()
    assert message in said and said.count("\n") == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attacks: pgd", "settings are dataset, detector"),
        ("attackers: [one]", "attackers"),
        ("seeds: '3'", "seeds"),
        ("- pgd", "expected .* to hold settings"),
        ("a: [", "to be YAML"),
    ],
)
def test_a_file_is_read_strictly(text, message, tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        make_grid(path, {})


def test_the_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("attack: noise\nattackers: [0, 2]\nepsilon: 1\nscenes: 7\n")
    grid = make_grid(path, {"attackers": ["1"], "scenes": None})
    assert (grid.attack, grid.attackers, grid.epsilon, grid.scenes) == (("noise",), (1,), (1.0,), 7)
    assert attack_specs(grid)[0].value.epsilon == 1.0


def test_names_hold_settings_of_their_own():
    assert names_of(["pgd:steps=5,epsilon=0.1,noise", "bim"]) == ("pgd:steps=5,epsilon=0.1", "noise", "bim")
    specs = attack_specs(make_grid(None, {"attack": ["pgd:steps=5,epsilon=0.1"]}))
    assert (specs[0].value.steps, specs[0].value.epsilon) == (5, 0.1)
    labels = [s.label for s in defense_specs(make_grid(None, {"trials": ["2"], "defense": ["oracle,paper-probing"]}))]
    assert labels == ["oracle", "paper-probing@2 trials"]


# ------------------------------------------------------------------------------------------------------- other data
@needs(DAIR)
def test_one_teammate(tmp_path):
    """The road-side scan of DAIR comes up to 28 ms later, so a gate for its clocks stands before each defence."""
    args = ("--dataset", f"dair:{DAIR}", "--frames", "2", "--attack", "noise", "--attackers", "0,1,2")
    evaluate(tmp_path, *args, "--defense", "none,robosac")
    found = read(tmp_path)
    assert found["noise", 2, "none"]["skipped"] == "fewer teammates than attackers"
    for m, attack in ((0, "nobody"), (1, "noise")):
        rows = found[attack, m, "none"]["per_frame"]
        assert len(rows) >= 2 and all(r["rejected"] == {} and len(r["used"]) == 1 for r in rows)
    assert found["noise", 1, "robosac"]["config"]["defense"]["gate"]["max_ahead_ms"] == 50.0


@needs(OPV2V)
@needs(TWO_CARS)
def test_a_scenario_with_too_few_teammates_is_left_out_and_counted(tmp_path):
    args = ("--dataset", f"opv2v:{OPV2V}", "--dataset", f"opv2v:{TWO_CARS}", "--frames", "1", "--attack", "noise")
    evaluate(tmp_path, *args, "--attackers", "2", "--defense", "none")
    by_data = {
        json.loads(p.read_text())["cell"]["dataset"]: json.loads(p.read_text()) for p in tmp_path.glob("entries/*")
    }
    assert by_data[f"opv2v:{OPV2V}"]["skipped"] is None
    two = by_data[f"opv2v:{TWO_CARS}"]
    assert two["skipped"] == "fewer teammates than attackers" and len(two["left_out"][two["skipped"]]) == 1


@pytest.mark.parametrize("write", [write_npy, write_pkl])
def test_v2x_sim(write, tmp_path):
    config = SimConfig(n_vehicles=2, n_frames=2, beams=16, columns=512, max_grade=0.0, sensor_tilt_deg=0.0)
    made = scenario("val", 0, config=config)
    folder = write(tmp_path / "data" / "test", {(5, 0): made.snapshot(0), (5, 1): made.snapshot(1)})
    args = ("--dataset", f"v2xsim:{folder}", "--attack", "noise", "--attackers", "1", "--defense", "none")
    evaluate(tmp_path / "out", *args)
    assert read(tmp_path / "out")["noise", 1, "none"]["frames"] == 2


def test_another_kind_of_data_is_refused(tmp_path, capsys):
    made = scenario("val", 0, config=SimConfig(n_vehicles=2, n_frames=1, beams=16, columns=256))
    folder = write_npy(tmp_path / "data" / "test", {(5, 0): made.snapshot(0)})
    evaluate(tmp_path / "out", "--dataset", f"dair:{folder}", code=2)
    assert "to hold a data set of kind dair" in capsys.readouterr().err


def test_twenty_teammates(tmp_path):
    args = ("--detector", "tests.test_evaluate:Sparse", "--scenes", "1", "--frames", "1", "--vehicles", "20")
    evaluate(tmp_path, *args, "--attack", "gps_offset", "--attackers", "1,19,20", "--defense", "robosac,oracle")
    found = read(tmp_path)
    for m in (1, 19, 20):
        row = found["gps_offset", m, "robosac"]["per_frame"][0]
        assert len(row["teammates"]) == 20 and len(row["attackers"]) == m and row["trials"] <= 20 + 32


# ---------------------------------------------------------------------------------------------------------- a scene
def test_frames_are_made_once_while_they_fit(monkeypatch):
    made = scenario("val", 0, config=SimConfig(n_vehicles=2, n_frames=3, beams=8, columns=128))
    calls = []

    def maker(k):
        return lambda: (calls.append(k), made.snapshot(k).frame())[1]

    frames = FrameCache([maker(k) for k in range(3)], Sparse())
    twice = [[s.frame.index for s in frames] for _ in range(2)]
    assert twice == [[0, 1, 2]] * 2 and calls == [0, 1, 2]
    other = frames.under(Sparse(name="other"))
    assert other.at(1).frame is frames.at(1).frame and other.at(1).honest != frames.at(1).honest and calls == [0, 1, 2]
    monkeypatch.setattr(frame_cache, "KEPT_BYTES", 0)
    tight = FrameCache([maker(k) for k in range(3)], Sparse())
    assert [s.frame.index for s in tight] == [s.frame.index for s in tight] and len(calls) == 9


def test_records_say_how_far_and_how_much(done):
    rows = read(done)["noise", 1, "robosac"]["per_frame"]
    for row in rows:
        record = FrameRecord.from_dict({**row, "ms": {}})
        assert {**record.to_dict(), "seed": 0, "ms": None} == {**row, "ms": None, "saved": None}
        assert sum(band.n_gt for band in record.bands) == record.matches.n_gt > 0
        assert record.boxes == len(record.matches.scores) and set(record.suspicion) == record.teammates
    curve = read(done)["noise", 1, "robosac"]["roc"]
    assert all(a <= b for a, b in pairwise(curve["fpr"])) and np.isclose(curve["fpr"][-1], 1)


# ------------------------------------------------------------------------------------- multiples of the features' sd
IN_SD = ("--scenes", "1", "--frames", "1", "--attackers", "1", "--defense", "none", "--detector", "mean-unbounded")


def test_a_budget_in_sd_is_the_number_that_is_printed(tmp_path, monkeypatch, capsys):
    """One number for all scenes and processes, in the table, the CSV, the entry and the key of its shards."""
    monkeypatch.setattr(scenes, "SCALE_FRAMES", 2)
    multiple = evaluate(tmp_path / "sd", *IN_SD, "--attack", "noise:epsilon=2sd")
    (entry,), said = read(multiple).values(), " ".join(capsys.readouterr().out.split())
    std, budget = entry["cell"]["feature_std"], entry["cell"]["budget"]
    assert entry["cell"]["multiple"] == "2sd" and budget == 2 * std > 0
    assert f"(2sd = {budget:g}, 1sd = {std:g})" in said
    assert entry["config"]["attack"]["multiples"] == ["2sd"] and entry["config"]["attack"]["epsilon"] == budget
    (row,) = csv.DictReader((multiple / "table.csv").read_text().splitlines())
    assert row["budget as a multiple"] == "2sd" and float(row["1sd, of the features"]) == std
    assert f"(2sd = {budget:g}, 1sd = {std:g})" in (multiple / "table.md").read_text()
    plain = evaluate(tmp_path / "plain", *IN_SD, "--attack", f"noise:epsilon={budget}")
    assert [r["digest"] for r in entry["per_frame"]] == [
        r["digest"] for e in read(plain).values() for r in e["per_frame"]
    ]
    assert not set(shards(plain)) & set(shards(multiple))


def test_its_scale_does_not_depend_on_how_much_is_played(monkeypatch):
    monkeypatch.setattr(scenes, "SCALE_FRAMES", 3)
    grids = [make_grid(None, {"scenes": n, "frames": k, "seeds": s}) for n, k, s in ((1, 1, 1), (5, 2, 3))]
    few, many = ([f.scenario for f in scenes.scale_frames(g, "sim:mixed")] for g in grids)
    assert few == many and len(set(few)) == 3


@pytest.mark.parametrize("wrong", ["2xd", "-1sd", "nansd", "0sd"])
@pytest.mark.parametrize("option", ["--attack=pgd:epsilon={}", "--epsilon={}"])
def test_what_is_no_multiple_ends_with_2(option, wrong, tmp_path, capsys):
    evaluate(tmp_path, option.format(wrong), code=2)
    assert capsys.readouterr().err.startswith("robosac: expected") and not list(tmp_path.iterdir())


def test_multiples_are_an_axis(tmp_path):
    grid = make_grid(None, {"epsilon": ["0.1", "1sd,2.0sd"], "attack": ["pgd"]})
    assert grid.epsilon == (0.1, "1sd", "2sd")
    assert [spec.label for spec in attack_specs(grid)] == ["pgd@0.1", "pgd@1sd", "pgd@2sd"]
    (tmp_path / "g.yaml").write_text("epsilon: [0.1, 1sd, 2 sd]\n")
    assert make_grid(tmp_path / "g.yaml", {}).epsilon == grid.epsilon
    with pytest.raises(InputError, match="expected epsilon to be a budget of gps_offset"):
        attack_specs(make_grid(None, {"epsilon": ["1sd"], "attack": ["gps_offset"]}))


# ------------------------------------------------------------------------------------------ what came to nothing
def unsure():
    """The shipped mean fusion, that takes nothing for an object: an attack finds nothing to hide."""

    class Unsure(BevDetector):
        label_score = 0.99999  # type: ignore[assignment]

    made = detectors.load("mean")
    made.__class__ = Unsure
    return made


def test_an_attack_with_nothing_to_hide_is_counted_and_said_once(tmp_path, capsys):
    few = ("--scenes", "2", "--frames", "1", "--attackers", "0,1,2", "--detector", "tests.test_evaluate:unsure")
    out = evaluate(tmp_path, *few, "--attack", "fgsm,noise", "--defense", "none,ego-only")
    said = capsys.readouterr()
    (line,) = [s for s in said.err.splitlines() if s.startswith("robosac: ") and "nothing to hide" in s]
    assert "fgsm, 1 attackers, tests.test_evaluate:unsure, sim:mixed: in 2 of 2 frames; fgsm, 2 attackers" in line
    assert "noise" not in line and " ".join(said.out.split()).count("nothing to hide") == 1
    for (attack, m, _), entry in read(out).items():
        assert entry["notes"] == ({NO_OBJECT: 2} if attack == "fgsm" and m else {})
    noted = {r["attack"]: r["of the attack"] for r in csv.DictReader((out / "table.csv").read_text().splitlines())}
    assert noted["fgsm"] == f"{NO_OBJECT} (2 of 2 frames)" and noted["noise"] == noted["nobody"] == ""
    assert f"{NO_OBJECT} (fgsm, 1 attackers" in (out / "table.md").read_text()


def test_a_detector_without_thresholds_is_one_line_a_run(tmp_path, capsys):
    few = ("--scenes", "1", "--frames", "1", "--attackers", "0", "--defense", "robosac")
    evaluate(tmp_path, *few, "--detector", "tests.test_evaluate:Sparse")
    (line,) = [s for s in capsys.readouterr().err.splitlines() if "default limits" in s]
    assert line.startswith("robosac: ") and "it is not calibrated" in line


# ------------------------------------------------------------------------------------------------- other thresholds
def test_thresholds_of_a_file_stand_in_place_of_those_beside_the_weights(tmp_path, capsys):
    beside = json.loads((detectors.WEIGHTS / "bev-mean.calibration.json").read_text())
    for measure in beside["measures"].values():
        measure["thresholds"] = dict.fromkeys(measure["thresholds"], 1.0)  # nobody agrees so much
        measure["scores"] = {size: [1.0] * len(scores) for size, scores in measure["scores"].items()}
    file = tmp_path / "strict.json"
    file.write_text(json.dumps(beside))
    args = ("--scenes", "1", "--frames", "1", "--attackers", "0", "--defense", "robosac")
    own = read(evaluate(tmp_path / "r", *args))["nobody", 0, "robosac"]
    other = read(evaluate(tmp_path / "r", *args, "--calibration", str(file)))["nobody", 0, "robosac"]
    assert own["fell_back"]["value"] == 0 and other["fell_back"]["value"] == 1
    assert set(other["config"]["calibration"]["measures"]) == set(own["config"]["calibration"]["measures"])
    capsys.readouterr()
    evaluate(tmp_path / "x", *args, "--detector", "max", "--calibration", str(file), code=2)
    assert "expected thresholds of 'bev-max' in" in capsys.readouterr().err
    evaluate(tmp_path / "x", *args, "--detector", "max,mean", "--calibration", str(file), code=2)
    assert "expected one --detector beside --calibration, got max, mean" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
