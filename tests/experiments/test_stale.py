"""No stale figure: whatever decides a figure is overwritten, and its result shards are played again, and no others."""

import dataclasses
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import pytest
import torch

import robosac
from robosac import detectors
from robosac.agreement import SeenScoreMap
from robosac.calibration import Calibration
from robosac.cli import main
from robosac.detectors.bev.weights import load_network, save
from robosac.experiments import axes, opened, provenance
from robosac.experiments.settings import Grid, make_grid
from robosac.registry.attacks import open_attack
from robosac.registry.detectors import cached_detector, calibration_beside
from robosac.simulation import SimConfig, scenario
from tests.data.v2xsim import write_npy
from tests.experiments.toys import played

BASE = {"attackers": (1,), "defense": ("robosac",), "attack": ("noise",), "scenes": 1, "frames": 1}
SHIPPED = Path(detectors.load("mean").path)


def weights(path, by=0.0):
    """The shipped mean fusion as a file, every weight moved a little."""
    network, header = load_network(SHIPPED)
    with torch.no_grad():
        for p in network.parameters():
            p += by
    return save(path, network, header, {})


OWN = """
from tests.toy import ToyDetector
class Mine(ToyDetector):
    pass
def make():
    return Mine(name="mine")
def of_file():
    import numpy as np
    class Holds(Mine):
        pass
    made = Holds(name="mine")
    made.nets = {"backbone": np.load("own.npy")}
    return made
"""


class Case:
    """Something that decides a figure: how it is made, the experiment that it decides, and how it is overwritten."""

    def __init__(self, folder):
        self.folder = folder

    def grid(self):
        return Grid(**BASE)


class OwnWeights(Case):
    name = "{}"

    def __init__(self, folder):
        super().__init__(folder)
        self.path = weights(folder / "w.safetensors")

    def grid(self):
        return Grid(**{**BASE, "detector": (self.name.format(self.path),)})

    def overwrite(self):
        weights(self.path, by=1e-4)


class LateWeights(OwnWeights):
    name = "late:{}"


class EarlyWeights(OwnWeights):
    name = "early:{}"


class CalibrationBeside(OwnWeights):
    def overwrite(self):
        shipped = Calibration.load(calibration_beside(detectors.load("mean")))
        shipped.save(self.path.with_name("bev-mean.calibration.json"))


class OtherCalibrationBeside(CalibrationBeside):
    def __init__(self, folder):
        super().__init__(folder)
        super().overwrite()

    def overwrite(self):
        path = self.path.with_name("bev-mean.calibration.json")
        held = json.loads(path.read_text())
        sizes = held["measures"][SeenScoreMap().name]["thresholds"]
        sizes["3"] += 1e-9
        path.write_text(json.dumps(held))


class TransferSource(Case):
    def __init__(self, folder):
        super().__init__(folder)
        self.path = weights(folder / "theirs.safetensors")

    def grid(self):
        return Grid(**{**BASE, "attack": (f"transfer_from_max:source={self.path}",)})

    def overwrite(self):
        weights(self.path, by=1e-4)


class SourceWithinASchedule(TransferSource):
    """An attack inside an attack, which no preset has."""

    def __init__(self, folder):
        super().__init__(folder)
        inner = open_attack(f"transfer_from_max:source={self.path}")
        self.patched = dataclasses.replace(open_attack("sleeper_pgd"), attack=inner)

    def grid(self):
        return Grid(**{**BASE, "attack": ("sleeper",)})


class OwnModule(Case):
    text = OWN

    def __init__(self, folder):
        super().__init__(folder)
        self.path = folder / "own_detector.py"
        self.path.write_text(self.text)

    def grid(self):
        return Grid(**{**BASE, "detector": ("own_detector:make",)})

    def overwrite(self):
        self.path.write_text(self.text.replace("    pass\n", "    threshold = 1\n", 1))  # as many bytes, or nearly


class HelperOfAnOwnModule(OwnModule):
    """A module that the detector's imports; not a line of the detector's own changes."""

    text = "from own_parts import nets\n" + OWN.replace("    pass", "    least = property(lambda self: nets.least())")

    def __init__(self, folder):
        super().__init__(folder)
        (folder / "own_parts").mkdir()
        (folder / "own_parts" / "__init__.py").touch()
        nets = "from . import numbers\n\n\ndef least():\n    return numbers.LEAST\n"
        (folder / "own_parts" / "nets.py").write_text(nets)
        self.numbers = folder / "own_parts" / "numbers.py"
        self.numbers.write_text("LEAST = 0.1\n")

    def overwrite(self):
        self.numbers.write_text("LEAST = 0.2\n")


class FileOfAnOwnDetector(OwnModule):
    def __init__(self, folder):
        super().__init__(folder)
        self.save(0.0)

    def save(self, value):
        import numpy as np

        np.save(self.folder / "own.npy", np.full(3, value))

    def grid(self):
        return Grid(**{**BASE, "detector": ("own_detector:of_file",)})

    def overwrite(self):
        self.save(1.0)


class Recorded(Case):
    """A data set on disk: its files' sizes and times."""

    def __init__(self, folder):
        super().__init__(folder)
        config = SimConfig(n_vehicles=2, n_frames=1, beams=8, columns=64, max_grade=0.0, sensor_tilt_deg=0.0)
        self.root = write_npy(folder / "data" / "test", {(5, 0): scenario("val", 0, config=config).snapshot(0)})

    def grid(self):
        return Grid(**{**BASE, "dataset": (f"v2xsim:{self.root}",)})

    def overwrite(self):
        file = max(p for p in Path(self.root).rglob("*") if p.is_file())
        data = file.read_bytes()
        file.write_bytes(data)
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


class RecordedCopiedOver(Recorded):
    """Other content of the same size, copied with the time of the old, as `cp -p` and archives do."""

    def overwrite(self):
        file = max(p for p in Path(self.root).rglob("*") if p.is_file())
        data, stat = bytearray(file.read_bytes()), file.stat()
        data[-1] ^= 1
        file.write_bytes(data)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


class RecordedElsewhere(Recorded):
    """The folder's name stays, and another data set is put there."""

    def overwrite(self):
        shutil.rmtree(self.root)
        config = SimConfig(n_vehicles=2, n_frames=1, beams=8, columns=64, max_grade=0.0, sensor_tilt_deg=0.0)
        write_npy(self.root, {(5, 0): scenario("val", 1, config=config).snapshot(0)})


class TransferFromOwnModule(OwnModule):
    """The attackers' own detector is code."""

    def grid(self):
        return Grid(**{**BASE, "attack": ("transfer_from_max:source=own_detector:make",)})


CASES = [
    OwnWeights,
    LateWeights,
    EarlyWeights,
    CalibrationBeside,
    OtherCalibrationBeside,
    TransferSource,
    SourceWithinASchedule,
    TransferFromOwnModule,
    OwnModule,
    HelperOfAnOwnModule,
    FileOfAnOwnDetector,
    Recorded,
    RecordedCopiedOver,
    RecordedElsewhere,
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("own_detector", *(f"own_parts{part}" for part in ("", ".nets", ".numbers"))):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delitem(opened._loaded, name, raising=False)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_what_was_overwritten_is_played_again(case, folder, monkeypatch):
    made, out = case(folder), folder / "out"
    if case is SourceWithinASchedule:
        monkeypatch.setattr(axes, "open_attack", lambda text, budget: made.patched)
    assert played(made.grid(), out) == 1
    assert played(made.grid(), out) == 0
    made.overwrite()
    assert played(made.grid(), out) == 1
    assert played(made.grid(), out) == 0


@pytest.mark.parametrize("package", provenance.versions())
def test_another_version_of_anything_plays_again(package, tmp_path, monkeypatch):
    assert played(Grid(**BASE), tmp_path) == 1 and played(Grid(**BASE), tmp_path) == 0
    newer = provenance.versions() | {package: "another"}
    monkeypatch.setattr(provenance, "versions", lambda: newer)
    assert played(Grid(**BASE), tmp_path) == 1


CHANGES = [
    {"defense": ("robosac-known",)},
    {"attack": ("noise:epsilon=0.3",)},
    {"epsilon": (0.3,)},
    {"attackers": (2,)},
    {"seed": 1},
    {"split": "val"},
    {"frames": 2},
    {"frame_step": 3, "frames": 2},
    {"vehicles": 4},
    {"comm_range_m": 40.0},
    {"pose_noise": (0.2,)},
    {"pose_noise": (0.0, 0.5)},
    {"delay": 1},
    {"detector": ("max",)},
    {"dataset": ("sim:urban",)},
    {"titles": ("mine",)},
    {"trials": (3,)},
    {"save_boxes": True},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_another_setting_plays_again(change, tmp_path):
    """And what was played with the old one is still there."""
    assert played(Grid(**BASE), tmp_path) == 1
    assert played(Grid(**{**BASE, **change}), tmp_path) == 1
    assert played(Grid(**BASE), tmp_path) == 0


def test_another_defence_under_an_old_title_plays_again(tmp_path):
    for name in ("robosac", "robosac-known"):
        assert played(Grid(**{**BASE, "defense": (name,), "titles": ("mine",)}), tmp_path) == 1


def test_all_settings_that_decide_a_figure_are_tried_above():
    """What is missing there does not decide one: how many scenes and seeds there are, and where they are computed."""
    tried = {name for change in CHANGES for name in change}
    of_recordings = {"ego", "classes"}
    assert tried == set(Grid.model_fields) - {"scenes", "seeds", "device", *of_recordings}


def test_other_classes_of_a_recording_play_again(folder):
    grid = Recorded(folder).grid().model_copy(update={"attackers": (0,)})
    assert [played(grid, folder / "out") for _ in range(2)] == [1, 0]
    for classes, again in ((("Car",), 1), (("CAR",), 0), (("car", "truck"), 1), (("Truck", "Car"), 0)):
        assert played(grid.model_copy(update={"classes": classes}), folder / "out") == again


def test_another_ego_of_a_recording_plays_again(folder):
    grid = Recorded(folder).grid().model_copy(update={"attackers": (0,)})
    assert [played(grid, folder / "out") for _ in range(2)] == [1, 0]
    each = grid.model_copy(update={"ego": "each", "scenes": None})
    assert played(each, folder / "out") > 1


def test_what_is_only_moved_is_not_played_again(folder):
    """Weights and recordings elsewhere are the same; a detector's name is what it is called in the tables."""
    recorded = Recorded(folder)
    assert played(recorded.grid(), folder / "out") == 1
    moved = (folder / "data").rename(folder / "moved") / "test"
    assert played(make_grid(None, {**BASE, "dataset": (f"v2xsim:{moved}",)}), folder / "out") == 0


def ap(out, name):
    args = ["evaluate", "--detector", name, "--scenes", "1", "--frames", "1", "--attackers", "0", "--defense", "none"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*args, "--jobs", "1", "--out", str(out), "--json"])
    (entry,) = [json.loads(p.read_text()) for p in (out / "entries").glob("*.json")]
    return entry["ap"]["0.5"]["value"], entry["config"]["detector"]["weights"]


def test_other_weights_under_an_old_name_give_other_figures(tmp_path, capsys):
    """The case of issue 10, from the command line, in one process and one folder."""
    path = weights(tmp_path / "w.safetensors")
    name = f"late:{path}"
    first = ap(tmp_path / "out", name)
    weights(path, by=0.3)  # it finds nothing any more
    second = ap(tmp_path / "out", name)
    assert second[1] != first[1] and second[0] < first[0]
    weights(path)
    assert ap(tmp_path / "out", name) == first


def test_a_cached_detector_is_opened_again_where_its_file_changed(tmp_path):
    path = weights(tmp_path / "w.safetensors")
    first = cached_detector(f"late:{path}", "cpu", None)
    assert cached_detector(f"late:{path}", "cpu", None) is first
    weights(path, by=1e-4)
    assert cached_detector(f"late:{path}", "cpu", None) is not first


def test_an_own_module_that_was_edited_is_loaded_again(folder, monkeypatch):
    """The detector that plays is the one that was looked up."""
    from robosac.experiments.opened import look_up

    monkeypatch.syspath_prepend(str(folder))
    own = OwnModule(folder)
    assert not hasattr(look_up("own_detector:make", "cpu", None).open(), "threshold")
    own.overwrite()
    assert look_up("own_detector:make", "cpu", None).open().threshold == 1


def test_a_helper_that_was_edited_is_loaded_again(folder, monkeypatch):
    from robosac.experiments.opened import look_up

    monkeypatch.syspath_prepend(str(folder))
    own = HelperOfAnOwnModule(folder)
    assert look_up("own_detector:make", "cpu", None).open().least == 0.1
    own.overwrite()
    assert look_up("own_detector:make", "cpu", None).open().least == 0.2


def test_thresholds_of_other_weights_are_told(folder, capsys):
    """Calibrated, trained on, and evaluated: the file beside the weights is that of the old ones."""
    path = weights(folder / "w.safetensors")
    base = ["--detector", str(path), "--jobs", "1"]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["calibrate", *base, "--frames", "3", "--alpha", "0.4", "--json"])
    args = [*base, "--scenes", "1", "--frames", "1", "--attackers", "0", "--defense", "robosac", "--json"]
    said = []
    for by in (0.0, 1e-4, 0.0):
        weights(path, by=by)
        capsys.readouterr()
        with pytest.raises(SystemExit, match=r"^0$"):
            main(["evaluate", "--pictures", "0", *args, "--out", str(folder / "out")])
        said.append(json.loads(capsys.readouterr().out)["notes"])
    assert said[0] == said[2] == [] and "other weights, settings or code of 'bev-mean'" in " ".join(said[1])
    weights(path, by=1e-4)
    with pytest.warns(UserWarning, match="bev-mean.calibration.json were read off other weights"):
        robosac.wrap(str(path))
    moved = path.with_name("bev-mean.calibration.json").rename(folder / "elsewhere.json")
    with pytest.warns(UserWarning, match="elsewhere.json were read off other weights"):
        robosac.wrap(str(path), calibration=moved)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        robosac.wrap("mean", calibration=moved)  # whose weights these were
