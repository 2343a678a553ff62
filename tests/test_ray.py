"""Ray as an executor: the same results as one process whatever dies, and clear words before any work.

The cluster is of this machine, `ray.cluster_utils.Cluster`: a head without cores and two nodes of one core each. It is
skipped where the extra `ray` is not installed; what needs no Ray is tested everywhere.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robosac.cli import main
from robosac.cli.simulate import Simulate, Task, _received, frame_files, write_task
from robosac.executors import OnRay, make_executor
from robosac.executors.on_ray import differing
from robosac.executors.parcels import at_hand, file_parcel, parcel
from robosac.experiments.entries import without_timings
from robosac.experiments.opened import look_up, weights_file
from robosac.experiments.runner import open_experiment, run_experiment, write_entries
from robosac.experiments.scenes import SceneRef, packed, scene, scenes
from robosac.experiments.settings import Grid
from robosac.types import InputError

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="no ray: pip install 'robosac[ray]'")
os.environ.update({"RAY_worker_niceness": "0"})  # else workers stand back behind everything else on this machine
SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "opv2v_two_cars"


# ------------------------------------------------------------------------------------------------- without a cluster
def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"found none; install it: pip install 'robosac\[ray\]'"):
        make_executor(name="ray")


def test_an_address_belongs_to_ray() -> None:
    with pytest.raises(InputError, match="expected --executor ray beside --address, got serial"):
        make_executor(name="serial", address="auto")


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"missing": "No module named 'robosac'"}, r"node-7 \(10.0.0.7\) has none: No module.*install robosac there"),
        ({"robosac": "1", "source": "b"}, r"has source b and not a; figures would not be"),
        ({"robosac": "1"}, "has source none and not a"),
    ],
)
def test_a_node_that_differs_is_refused_by_name(found: dict[str, str], says: str) -> None:
    here = {"robosac": "1", "source": "a"}
    differing(here, {**here, "host": "same"}, "10.0.0.6")
    with pytest.raises(InputError, match=says):
        differing(here, {"host": "node-7", **found}, "10.0.0.7")


def test_parcels_are_fetched_once_and_only_while_they_are_at_hand() -> None:
    fetched: list[str] = []

    def make() -> bytes:
        fetched.append("x")
        return b"content"

    assert parcel("of a test") is None and file_parcel("of a test", ".bin") is None
    with at_hand({"of a test": make}):
        assert parcel("of a test") == parcel("of a test") == b"content"
        path = file_parcel("of a test", ".bin")
        assert path is not None and path.read_bytes() == b"content"
    assert fetched == ["x"]


@pytest.mark.parametrize("kind", ["", "late:"])
def test_weights_that_are_not_here_are_those_that_were_sent(kind: str, tmp_path: Path) -> None:
    shipped = weights_file("mean")
    assert shipped is not None
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(shipped.read_bytes())
    ref = look_up(f"{kind}{mine}", "cpu", None)
    contents = {name: make() for name, make in ref.parcels().items()}
    sent = {name: partial(contents.get, name) for name in contents}
    mine.unlink()
    from robosac.experiments import opened

    opened._open.clear()
    with at_hand(sent):
        assert ref.open().name == ref.called
    opened._open.clear()


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="no sample of OPV2V")
def test_a_packed_recording_is_the_recording() -> None:
    grid = Grid(dataset=(f"opv2v:{SAMPLE}",), frames=1)
    (ref, *_) = scenes(grid, grid.dataset[0])
    once, again = scene(ref, grid), packed(ref, grid).scene()
    (frame, truth, *_), (other, same, *_) = once.makers[0](), again.makers[0]()
    assert np.array_equal(frame.ego.points, other.ego.points) and np.array_equal(truth.boxes, same.boxes)
    assert once.appearing is not None and again.appearing is not None
    assert tuple(once.appearing()) == tuple(again.appearing())


def test_frames_that_come_as_bytes_are_those_that_are_written(tmp_path: Path) -> None:
    made = [Simulate(out=tmp_path / name, scenes=1, frames=1, beams=4, columns=64) for name in ("here", "sent")]
    write_task(Task(made[0], 0, 0))
    task = Task(made[1], 0, 0)
    _received(task, frame_files(task))
    files = [{str(p.relative_to(s.out)): p.read_bytes() for p in s.out.rglob("*") if p.is_file()} for s in made]
    assert len(files[0]) > 4 and files[0] == files[1]


# ---------------------------------------------------------------------------------------------------- with a cluster
@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


class KillAfter:
    """Kills a node once so many results are there."""

    def __init__(self, inner: OnRay, kill: Callable[[], None], after: int) -> None:
        self.inner, self.kill, self.after = inner, kill, after

    def run(self, work: Any, items: Any) -> Iterator[Any]:
        for done, found in enumerate(self.inner.run(work, items), start=1):
            yield found
            if done == self.after:
                self.kill()


GRID = Grid(
    detector=("tests.test_evaluate:Sparse",), attack=("gps_offset", "drop"), attackers=(0, 1, 2),
    defense=("none", "paper"), scenes=6, frames=1,
)  # fmt: skip


def entries(out: Path, executor: Any) -> dict[str, str]:
    experiment = open_experiment(GRID, out)
    files = write_entries(experiment, run_experiment(experiment, executor), jobs=1, threads=1)
    return {f.name: without_timings(f.read_text()) for f in files}


@needs_ray
def test_a_node_killed_in_the_middle_changes_no_byte(cluster: Any, tmp_path: Path) -> None:
    alone = entries(tmp_path / "alone", make_executor(name="serial", threads=1))
    dies = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    killed = []

    def kill() -> None:
        killed.append(dies)
        cluster.remove_node(dies, allow_graceful=False)

    on_two = entries(tmp_path / "ray", KillAfter(OnRay(address=cluster.address, threads=1), kill, 3))
    assert killed == [dies] and len(on_two) == 10
    assert on_two == alone


@needs_ray
def test_a_node_without_room_is_said(cluster: Any) -> None:
    with pytest.raises(InputError, match=r"expected a cluster with 1 cores and 1 GPU for an item, got \d+ CPU, 0 GPU"):
        list(OnRay(address=cluster.address, gpus=1.0).run(abs, [1]))


@needs_ray
def test_other_versions_are_refused_before_any_work(cluster: Any) -> None:
    executor = OnRay(address=cluster.address, versions="tests.test_ray:changing")
    with pytest.raises(InputError, match=r"expected the same versions on every node, .* has process \d+ and not \d+"):
        list(executor.run(abs, [1]))


def changing() -> dict[str, str]:
    """Versions that no two processes share."""
    import os

    return {"process": str(os.getpid())}


@needs_ray
def test_an_address_that_does_not_answer_ends_in_time(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens here
        start = time.monotonic()
        with pytest.raises(InputError, match=r"to answer within 2 s, got ConnectionRefusedError.*is it up"):
            list(OnRay(address=f"127.0.0.1:{taken.getsockname()[1]}", timeout_s=2.0).run(abs, [1]))
        assert time.monotonic() - start < 10
    with pytest.raises(InputError, match="expected --address to be auto, HOST:PORT or ray://HOST:PORT, got 'here'"):
        list(OnRay(address="here").run(abs, [1]))
    with pytest.raises(SystemExit):
        main(["evaluate", "--executor", "ray", "--address", "here", "--scenes", "1", "--out", str(tmp_path)])
    assert "expected --address" in capsys.readouterr().err


def test_simulated_scenes_send_no_frames() -> None:
    experiment = open_experiment(GRID, Path("runs/never"))
    task, _ = next(experiment.todo())
    assert isinstance(task.ref, SceneRef) and task.parcels() == {}


@needs_ray
def test_a_ray_of_its_own_lasts_as_long_as_the_work() -> None:
    """What Ray starts must not end with a thread of ours that started it."""
    found = []
    for position, result in OnRay(jobs=1, threads=1).run(abs, [-1, -2, -3]):
        found.append((position, result))
        time.sleep(1.0)
    assert sorted(found) == [(0, 1), (1, 2), (2, 3)]
