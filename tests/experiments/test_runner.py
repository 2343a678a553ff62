"""Who executes changes nothing; one run at a time; errors of poses and late teammates are options."""

import json
import os
import random
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

from robosac import lock
from robosac.cli import main
from robosac.data.noise import Gaussian
from robosac.executors import EXECUTORS, Serial
from robosac.experiments.entries import without_timings
from robosac.experiments.opened import look_up
from robosac.experiments.runner import open_experiment, run_experiment
from robosac.experiments.scenes import SceneRef, scene
from robosac.experiments.settings import Grid, make_grid
from robosac.experiments.work import A_TASK
from robosac.lock import alone_in
from robosac.types import InputError
from tests.data.v2xsim import write_npy
from tests.experiments.toys import Counting

OWN = ("--detector", "tests.test_evaluate:Sparse", "--frames", "1", "--attack", "gps_offset,drop", "--scenes", "2")


# ------------------------------------------------------------------------------------------------------ executors
@dataclass(frozen=True)
class Threads:
    """A toy: threads of this process, in any order. All that a new executor is."""

    jobs: int

    def run(self, work, items):
        order = random.Random(3).sample(range(len(items)), len(items))
        with ThreadPoolExecutor(1) as pool:
            futures = [(k, pool.submit(work, items[k])) for k in order]
            yield from ((k, future.result()) for k, future in futures)


def evaluate(out, *args, code=0):
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "evaluate",
                "--pictures",
                "0",
                "--out",
                str(out),
                *OWN,
                "--attackers",
                "0,1,2",
                "--defense",
                "none,robosac",
                *args,
            ]
        )
    assert (stop.value.code or 0) == code
    return {p.name: without_timings(p.read_text()) for p in (out / "entries").glob("*.json")}


def test_an_executor_is_a_class_and_a_line(tmp_path, monkeypatch):
    monkeypatch.setitem(EXECUTORS, "threads", lambda wanted: Threads(wanted.jobs_here))
    found = evaluate(tmp_path / "threads", "--executor", "threads")
    assert len(found) == 10 and found == evaluate(tmp_path / "serial", "--executor", "serial")


def test_an_unknown_executor_names_the_others(tmp_path, capsys):
    assert evaluate(tmp_path, "--executor", "cloud", code=2) == {}
    assert "expected an executor, one of serial, processes" in capsys.readouterr().err


def test_tasks_are_small_and_hold_only_what_is_missing(tmp_path):
    grid = Grid(attack=("noise", "drop", "pgd"), attackers=(0, 1, 2), defense=("none", "oracle"), scenes=2, frames=1)
    first, second = Counting(), Counting()
    run_experiment(open_experiment(grid, tmp_path), first)
    assert [len(task.wanted) for task in first.tasks] == [A_TASK, 3] * 2  # seven blocks of two scenes
    more = grid.model_copy(update={"defense": ("none", "oracle", "ego-only"), "scenes": 3})
    run_experiment(open_experiment(more, tmp_path), second)
    asked = [sorted({spec.name for w in task.wanted for spec in w.defenses}) for task in second.tasks]
    assert asked == [["ego-only"]] * 4 + [["ego-only", "none", "oracle"]] * 2


class Stops(Serial):
    def run(self, work, items):
        for k, (position, result) in enumerate(super().run(work, items)):
            if k == 1:
                raise KeyboardInterrupt
            yield position, result


def test_what_came_back_before_ctrl_c_is_kept(tmp_path):
    grid = make_grid(None, {"detector": ["tests.test_evaluate:Sparse"], "attack": ["drop"], "scenes": 3, "frames": 1})
    plan = open_experiment(grid, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(plan, Stops())
    kept = {p.name for p in (tmp_path / "shards").iterdir()}
    assert len(kept) == 3 and len(list(plan.todo())) == 2
    assert len(run_experiment(plan, Serial())) == 9 and kept < {p.name for p in (tmp_path / "shards").iterdir()}


def test_gpus_are_dealt_out_to_workers(monkeypatch):
    """Each process opens detectors on the device that is its own; the fingerprint is the same on all."""
    asked = []
    monkeypatch.setattr("robosac.detectors.device.device_of_process", lambda name: asked.append(name) or "cpu")
    ref = look_up("mean", "cuda", None)
    assert (
        asked == ["cuda"] and ref.identity()["device"] == "cuda" == look_up("mean", "cuda:1", None).identity()["device"]
    )


# ----------------------------------------------------------------------------------------------------------- lock
def test_one_run_at_a_time(tmp_path):
    said = f"another run is at work there (process {os.getpid()} on {socket.gethostname()})"
    with alone_in(tmp_path):
        with pytest.raises(InputError) as refused, alone_in(tmp_path):
            pass
        assert said in str(refused.value) and f"remove {tmp_path / '.lock'}" in str(refused.value)
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_whole_or_not_there(tmp_path, monkeypatch):
    """Whoever is killed while taking it leaves nothing that others have to wait for."""

    def killed(*names):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", killed)
        with pytest.raises(KeyboardInterrupt), alone_in(tmp_path):
            pass
    assert not (tmp_path / ".lock").exists()
    with alone_in(tmp_path):
        assert (tmp_path / ".lock").stat().st_mode & 0o777 == 0o644


def test_a_file_system_without_hard_links_has_locks_too(tmp_path, monkeypatch):
    def refused(*names):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refused)
    with alone_in(tmp_path), pytest.raises(InputError, match=f"process {os.getpid()} on"), alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def left_over(folder, *, age_s=0.0, **holder):
    path = folder / ".lock"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), **holder}))
    now = time.time()
    os.utime(path, (now - age_s, now - age_s))


def dead():
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


TAKEN = {
    "its process is gone": lambda f: left_over(f, pid=dead()),
    "another host let it be for a minute": lambda f: left_over(f, host="elsewhere", age_s=lock.DEAD_S + 5),
    "its number is ours now, after a restart": lambda f: left_over(f),
    "it was never written to the end": lambda f: [(f / ".lock").write_text(""), os.utime(f / ".lock", (0, 0))],
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_lock_that_was_left_over_is_taken(case, tmp_path):
    TAKEN[case](tmp_path)
    with alone_in(tmp_path):
        assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


HELD = {
    "another host": lambda f: left_over(f, host="elsewhere", age_s=lock.DEAD_S - 20),
    "another process": lambda f: left_over(f, pid=os.getppid()),
    "it is just being written": lambda f: (f / ".lock").write_text(""),
}


@pytest.mark.parametrize("case", HELD)
def test_a_lock_that_is_held_is_left_alone(case, tmp_path):
    HELD[case](tmp_path)
    before = (tmp_path / ".lock").read_text()
    with pytest.raises(InputError, match="another run is at work"), alone_in(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == before and len(list(tmp_path.iterdir())) == 1


def test_a_run_that_works_touches_its_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "TOUCH_S", 0.01)
    with alone_in(tmp_path):
        os.utime(tmp_path / ".lock", (0, 0))
        until = time.time() + 10
        while (tmp_path / ".lock").stat().st_mtime < 1 and time.time() < until:
            time.sleep(0.01)
        assert time.time() - (tmp_path / ".lock").stat().st_mtime < 10


# ------------------------------------------------------------------------------------------- wrong poses, late scans
REF = SceneRef("sim:mixed", 0, "0")


def frames(**settings):
    return [maker()[0] for maker in scene(REF, Grid(frames=2, **settings)).makers]


def test_errors_of_poses_and_nothing_else():
    exact, noisy = frames(), frames(pose_noise=(0.5, 2.0))
    for a, b in zip(exact, noisy, strict=True):
        assert a.index == b.index and set(a.others) == set(b.others)
        for x, y in [(a.ego, b.ego), *((a.others[i], b.others[i]) for i in a.others)]:
            moved = y.world_T_sensor[:2, 3] - x.world_T_sensor[:2, 3]
            assert 0 < np.abs(moved).max() < 3 and np.array_equal(x.points, y.points)
    turned = frames(pose_noise=(0.0, 2.0))[0].ego.world_T_sensor
    assert np.array_equal(turned[:3, 3], exact[0].ego.world_T_sensor[:3, 3])
    assert not np.array_equal(turned[:3, :3], exact[0].ego.world_T_sensor[:3, :3])


def test_teammates_are_late_and_the_ego_is_not():
    for late in frames(delay=2):
        assert {v.t_ns for v in late.others.values()} == {late.ego.t_ns - 200_000_000}
    assert [f.index for f in frames(delay=2)] == [2, 7]


def test_attackers_cast_their_rays_where_they_measured():
    """The world of a late frame is that of the scans which are sent."""
    (now, *_) = scene(REF, Grid(frames=1)).makers
    (late, *_) = scene(REF, Grid(frames=1, delay=1)).makers
    nothing = np.zeros((0, 7), np.float32)
    for made in (now(), late()):
        view = next(iter(made.frame.others.values()))
        assert np.array_equal(made.world.seen(view, added=nothing, removed=nothing), view.points)
        ahead = np.array([[8.0, 0.0, -1.0, 4.5, 1.9, 1.6, 0.0]], np.float32)
        assert len(made.world.seen(view, added=ahead, removed=nothing)) != len(view.points) or not np.array_equal(
            made.world.seen(view, added=ahead, removed=nothing), view.points
        )


def test_recordings_take_the_same_options(tmp_path):
    from robosac.experiments.scenes import recorded, scenes
    from robosac.simulation import SimConfig, scenario

    config = SimConfig(n_vehicles=2, n_frames=3, beams=8, columns=64, max_grade=0.0, sensor_tilt_deg=0.0)
    made = scenario("val", 0, config=config)
    root = write_npy(tmp_path / "data" / "test", {(5, k): made.snapshot(k) for k in range(3)})
    grid = Grid(dataset=(f"v2xsim:{root}",), pose_noise=(0.3, 1.0), seed=4, seeds=2)
    data = recorded(grid.dataset[0], grid, 4)
    assert data.pose_noise == Gaussian(sigma_m=0.3, sigma_deg=1.0) and data.seed == 4 and data.delay_frames == 0
    assert recorded(grid.dataset[0], Grid(dataset=grid.dataset, delay=1), 0).delay_frames == 1
    assert [ref.seed for ref in scenes(grid, grid.dataset[0])] == [4, 5]


def test_the_command_line_takes_them(tmp_path):
    found = evaluate(tmp_path, "--pose-noise", "0.2,1", "--delay", "1", "--jobs", "1")
    (data,) = {json.dumps(json.loads(text)["config"]["data"]) for text in found.values()}
    assert json.loads(data)["pose_noise"] == {"kind": "Gaussian", "sigma_m": 0.2, "sigma_deg": 1.0}
    assert json.loads(data)["delay_frames"] == 1
    assert make_grid(tmp_path / "grid.yaml", {}).pose_noise == (0.2, 1.0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--pose-noise", "far"], "expected --pose-noise to be numbers"),
        (["--pose-noise", "-1"], "expected finite sizes >= 0"),
        (["--pose-noise", "1,2,3"], "at most 2 items"),
    ],
)
def test_wrong_errors_of_poses_are_one_line(args, message, tmp_path, capsys):
    evaluate(tmp_path, *args, code=2)
    assert message in capsys.readouterr().err
