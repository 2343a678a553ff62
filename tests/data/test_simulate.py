"""`robosac simulate`: goes on where it stopped, leaves whole frames only, and writes the same bytes on any cores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robosac.cli import main
from robosac.cli import simulate as room
from robosac.cli.simulate import PROTOCOL, UNFINISHED, Simulate, Task, agent_names, object_names, write
from robosac.data.layout import recognise
from robosac.data.opv2v import OPV2V
from robosac.executors import Processes
from robosac.simulation import SimConfig, scenario
from robosac.types import InputError, RobosacError

CONFIG = SimConfig(n_vehicles=2, n_frames=3, beams=8, columns=256)


SMALL = {"split": "val", "vehicles": 2, "frames": 3, "beams": 8, "columns": 256, "jobs": 1}


def settings(out: Path, scenes: int = 2, **changes: object) -> Simulate:
    return Simulate(**{"out": out, "scenes": scenes, **SMALL, **changes})  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """All bytes of a run that nothing disturbed, on one core."""
    out = tmp_path_factory.mktemp("whole")
    found = write(settings(out))
    assert (found["frames"], found["written"]) == (6, 6)
    return files(out)


def test_what_is_written(whole: dict[str, bytes], tmp_path: Path) -> None:
    made = scenario("val", 1, config=CONFIG)
    assert settings(tmp_path).name(1) == made.name
    names = [
        f"val/{made.name}/{a}/{k:06d}.{s}" for a in ("-1", "1000", "1001") for k in range(3) for s in ("pcd", "yaml")
    ]
    assert {f for f in whole if made.name in f} == {*names, f"val/{made.name}/{PROTOCOL}"}
    assert len(whole) == 2 * (1 + len(names))
    assert agent_names(made) == {"car-1": "1000", "car-2": "1001", "rsu-1": "-1"}
    assert [object_names(made)[a.vehicle] for a in made.agents[:2]] == ["1000", "1001"]
    assert len(set(object_names(made))) == len(made.traffic)


def test_two_processes_write_the_same_bytes(whole: dict[str, bytes], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write(settings(tmp_path, jobs=2), lambda done, total: told.append((done, total)))
    assert files(tmp_path) == whole
    assert told == [(k, 6) for k in range(7)]


@pytest.mark.parametrize("frames", range(1, 6))
def test_stopped_after_any_frame_it_goes_on(whole: dict[str, bytes], frames: int, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == frames:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(settings(tmp_path), stop)
    placed = {f: data for f, data in files(tmp_path).items() if not f.startswith(UNFINISHED)}
    assert placed == {f: data for f, data in whole.items() if f in placed}
    assert len(placed) == (len(whole) // 2 if frames >= 3 else 0)  # scenarios that are there are whole
    found = write(settings(tmp_path))
    assert found["written"] == 6 - frames
    assert files(tmp_path) == whole


def test_a_kill_in_the_middle_leaves_whole_frames_only(whole: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--scenes", "2", "--split", "val", "--frames", "3", "--vehicles", "2"]
    arguments += ["--beams", "8", "--columns", "256", "--jobs", "2"]
    command = [sys.executable, "-m", "robosac", "simulate", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not _has_scans(out) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)  # its workers are left to notice
    process.wait()
    while _alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _alive(process.pid), "workers outlive the process that they work for"
    before = files(out)
    for name, data in before.items():
        at = name.removeprefix(f"{UNFINISHED}/")
        assert Path(name).name.startswith(".") or data == whole[at]  # nothing is half-written under its own name
    assert not (out / "val").exists() or all(
        len(list(s.rglob("*.yaml"))) == 10 for s in (out / "val").iterdir()
    )  # 3 agents, 3 frames, the protocol
    with pytest.raises(SystemExit) as stop:
        main(["simulate", *arguments])
    assert stop.value.code == 0
    assert files(out) == whole


def _has_scans(folder: Path) -> bool:
    """Whether a scan is there yet; folders come and move while one looks."""
    try:
        return any(folder.rglob("*.pcd"))
    except FileNotFoundError:
        return False


def _alive(session: int) -> bool:
    """Whether any process of a session runs still."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            return True
    return False


def test_what_a_kill_leaves_half_written_is_swept_away(whole: dict[str, bytes], tmp_path: Path) -> None:
    left = settings(tmp_path).workplace(0) / "1000" / ".000001.pcd.abc"
    room._is_there(settings(tmp_path), 0)
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    write(settings(tmp_path))
    assert files(tmp_path) == whole


def test_more_scenes_are_added_to_those_that_are_there(whole: dict[str, bytes], tmp_path: Path) -> None:
    assert write(settings(tmp_path, 1))["written"] == 3
    assert write(settings(tmp_path, 2))["written"] == 3
    assert write(settings(tmp_path, 2))["written"] == 0
    assert files(tmp_path) == whole


def test_unfinished_work_of_other_settings_is_not_gone_on_with(whole: dict[str, bytes], tmp_path: Path) -> None:
    other = settings(tmp_path, beams=4, columns=64)
    room._is_there(other, 0)
    room.write_task(Task(other, 0, 0))
    assert write(settings(tmp_path))["written"] == 6
    assert files(tmp_path) == whole


def test_scenarios_of_other_settings_are_refused(tmp_path: Path) -> None:
    write(settings(tmp_path, 1))
    for other in (settings(tmp_path, frames=4),):
        with pytest.raises(InputError, match=r"val-s0-00000 to be made by this version with these settings.*another"):
            write(other)
    write(settings(tmp_path, 1, seed=1))  # another seed has names of its own
    assert len(OPV2V(tmp_path / "val").scenarios()) == 2


def test_half_a_run_is_no_second_data_set(tmp_path: Path) -> None:
    write(settings(tmp_path, 1))
    room._is_there(settings(tmp_path, 2), 1)
    room.write_task(Task(settings(tmp_path, 2), 1, 0))
    found = recognise(tmp_path)
    assert (found.layout, list(found.scenarios())) == ("opv2v", ["val/val-s0-00000"])


def _killed(task: Task) -> bool:
    os.kill(os.getpid(), signal.SIGKILL)
    return True


def test_a_killed_process_is_told_in_a_line(tmp_path: Path) -> None:
    tasks = [Task(settings(tmp_path), 0, k) for k in range(2)]
    with pytest.raises(RobosacError, match=r"a process was killed.*what was done is kept.*run again"):
        list(Processes(jobs=2).run(_killed, tasks))


WRONG = [
    ({"preset": "road", "beams": 64}, "no --beams or --columns with 'road', which draws its sensors"),
    ({"scenes": 0}, "scenes >= 1"),
    ({"seed": -1}, "seed >= 0"),
    ({"split": "tset"}, "a split among train, val, calibration, test, got 'tset'"),
    ({"beams": 10_000, "columns": 10_000}, r"beams x columns of at most 10,000,000, .* got 10000 x 10000"),
    ({"format": "kitti"}, "a format among opv2v, got 'kitti'"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_settings(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        Simulate(**{"out": tmp_path, "scenes": 1, **changes})  # type: ignore[arg-type]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--scenes",
        "1",
        "--frames",
        "1",
        "--vehicles",
        "1",
        "--no-roadside",
        "--beams",
        "4",
        "--columns",
        "64",
    ]
    for written in (1, 0):
        with pytest.raises(SystemExit) as stop:
            main(["simulate", "--out", str(tmp_path / "data"), *arguments, "--jobs", "1", "--json"])
        assert stop.value.code == 0
        found = json.loads(capsys.readouterr().out)
        assert found["written"] == written and found["scenarios"] == ["test-s0-00000"]
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--out", str(tmp_path / "data"), *arguments, "--jobs", "1"])
    assert "1 scenarios of 1 frames" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--out", str(tmp_path / "data"), *arguments, "--format", "kitti"])
    assert stop.value.code == 2
    assert "expected a format among opv2v" in capsys.readouterr().err


def test_frames_further_apart_say_when_they_were(tmp_path: Path) -> None:
    write(settings(tmp_path, scenes=1, frame_step=5))
    made = scenario("val", 0, config=replace(CONFIG, rate_hz=2.0))
    read = OPV2V(tmp_path / "val")
    ticks = read.ticks(made.name)
    assert [read.view(made.name, tick, "1000").t_ns for tick in ticks] == [0, 500_000_000, 1_000_000_000]
    true = made.snapshot(2).world_T_sensor["car-1"]
    np.testing.assert_allclose(read.pose(made.name, ticks[2], "1000"), true, atol=1e-5)


@pytest.mark.parametrize("step", ["0", "-1", "101", "0.5", "nan", "half"])
def test_a_step_that_is_none_is_refused(step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--out", str(tmp_path / "out"), "--scenes", "1", "--frame-step", step])
    assert stop.value.code == 2 and "--frame-step" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_other_steps_are_other_settings(tmp_path: Path) -> None:
    write(settings(tmp_path, scenes=1))
    with pytest.raises(InputError, match="these settings"):
        write(settings(tmp_path, scenes=1, frame_step=2))
