"""What all layouts share: who takes part, delay, noise, truth, and what is skipped."""

import numpy as np
import pytest

from robosac.boxes import yaw_of
from robosac.data.dataset import DataSet
from robosac.data.noise import Gaussian, Laplace
from robosac.data.recording import AgentInfo, DataError, Recording
from robosac.simulation import SimConfig
from robosac.types import InputError
from tests.data.memory import Memory, Simulated, at, cars

INFOS = (
    AgentInfo("a", "vehicle", "1"),
    AgentInfo("b", "vehicle", "2"),
    AgentInfo("c", "vehicle", "3"),
    AgentInfo("r", "roadside"),
)


def drive(ticks=6):
    """a stands still, b is 20 m ahead and drives away 1 m a tick, c is 60 m behind and missing at tick 2, r at 40 m."""
    out = {}
    for k in range(ticks):
        poses = {"a": at(0), "b": at(20 + k), "c": at(-60), "r": at(0, 40)}
        out[f"{k:03d}"] = {n: p for n, p in poses.items() if (n, k) != ("c", 2)}
    return out


def recording(**changes):
    listed = {"a": cars(n2=(20, 0), n9=(8, 3)), "b": cars(n1=(0, 0), n9=(8, 3), n8=(30, 3)), "c": cars(n1=(0, 0))}
    return Memory(**{"infos": INFOS, "poses": {"s1": drive(), "s2": drive(3)}, "lists": listed, **changes})


def test_it_is_a_sequence_that_opens_nothing_before_it_is_asked():
    memory = recording()
    assert isinstance(memory, Recording)
    data = DataSet(memory)
    assert len(data) == 9 and memory.opened == []
    frame, truth = data[0]
    assert set(memory.opened) == {("s1", "000", n) for n in "abcr"} and len(memory.opened) == 4
    assert (frame.scenario, frame.index, frame.ego.id) == ("s1", 0, "a")
    assert list(frame.others) == ["b", "c", "r"] and set(truth.hits) == set("abcr")
    assert [f.index for f, _ in data[1:3]] == [1, 2] and data[-1][0].scenario == "s2"
    assert len(list(data)) == 9


def test_frames_alone_read_no_labels():
    memory = recording()
    memory.labels = None
    frames = DataSet(memory).frames
    assert len(frames) == 9 and frames[3].index == 3 and len(frames[:2]) == 2 and len(list(frames)) == 9


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"scenarios": ("s2",)}, [("s2", 0), ("s2", 1), ("s2", 2)]),
        ({"scenarios": ("s1",), "start": 1, "stop": 6, "stride": 2}, [("s1", 1), ("s1", 3), ("s1", 5)]),
        ({"ego": "c", "scenarios": ("s2",)}, [("s2", 0), ("s2", 1)]),  # absent at tick 2: no frame
        ({"agents": ("b", "c"), "scenarios": ("s2",)}, [("s2", 0), ("s2", 1), ("s2", 2)]),
        ({"ego": "each", "scenarios": ("s2",), "stop": 1}, [(f"s2/{n}", 0) for n in "abcr"]),
        ({"delay_frames": 4}, [("s1", 4), ("s1", 5)]),
    ],
)
def test_which_frames(options, expected):
    assert [(f.scenario, f.index) for f in DataSet(recording(), **options).frames] == expected


@pytest.mark.parametrize(
    ("options", "ego", "others"),
    [
        ({"comm_range_m": 59.9}, "a", ["b", "r"]),
        ({"comm_range_m": 60}, "a", ["b", "c", "r"]),
        ({"max_teammates": 1}, "a", ["b"]),
        ({"max_teammates": 2}, "a", ["b", "r"]),  # the nearest, in the data set's order
        ({"max_teammates": 0}, "a", []),
        ({"agents": ("c", "r", "b")}, "b", ["r"]),  # 80 m to c
        ({"ego": "r"}, "r", ["a", "b"]),
    ],
)
def test_who_takes_part(options, ego, others):
    frame = DataSet(recording(), **options).frames[0]
    assert frame.ego.id == ego and list(frame.others) == others


def test_truth_is_the_union_of_who_takes_part_without_the_egos_body():
    def ids(**options):
        return sorted(DataSet(recording(), **options)[0][1].track_ids.tolist())

    assert ids() == [2, 8, 9]
    assert ids(agents=("a", "r")) == [2, 9]  # what only b lists is not known
    assert ids(ego="b") == [1, 8, 9]
    assert ids(ego="r") == [1, 2, 8, 9]


def test_delayed_teammates_send_what_they_saw_then():
    data = DataSet(recording(), delay_frames=2, scenarios=("s1",))
    frame, truth = data[1]  # tick 3; c has no scan of tick 1? it has: absent at 2 only
    assert frame.index == 3 and frame.ego.t_ns == 300_000_000
    assert {n: v.t_ns for n, v in frame.others.items()} == dict.fromkeys("bcr", 100_000_000)
    assert frame.others["b"].points[0, 3] == pytest.approx(0.01) and frame.ego.points[0, 3] == pytest.approx(0.03)
    assert frame.others["b"].world_T_sensor[0, 3] == 21 and truth.world_T_sensor["b"][0, 3] == 21
    assert list(data[2][0].others) == ["b", "r"]  # tick 4: c had no scan at tick 2, and none is made up


def test_truth_does_not_depend_on_delay():
    scans = {"b": np.array([[-12, 3, -1, 0]], np.float32)}  # hits car 9 at (8, 3) while b is at x = 20, tick 0 only
    sharp, late = (DataSet(recording(scans=scans), delay_frames=k, scenarios=("s1",)) for k in (0, 1))
    for now, then in zip(sharp[1:], late[:], strict=True):
        np.testing.assert_array_equal(now[1].boxes, then[1].boxes)
        assert {n: h.tolist() for n, h in now[1].hits.items() if n in then[1].hits} == {
            n: h.tolist() for n, h in then[1].hits.items()
        }


def test_noise_is_the_same_in_any_order_and_in_no_truth():
    data = DataSet(recording(), pose_noise=Gaussian(sigma_m=0.5, sigma_deg=2.0), scenarios=("s1",))
    forth = [data[i] for i in range(6)]
    back = [data[i] for i in reversed(range(6))][::-1]
    for (f, t), (g, _) in zip(forth, back, strict=True):
        for name, view in {f.ego.id: f.ego, **f.others}.items():
            other = g.ego if name == g.ego.id else g.others[name]
            np.testing.assert_array_equal(view.world_T_sensor, other.world_T_sensor)
            true = data.recording.pose("s1", f"{f.index:03d}", name)
            np.testing.assert_array_equal(t.world_T_sensor[name], true)
            assert np.abs(view.world_T_sensor - true).max() > 1e-4
    exact = DataSet(recording(), scenarios=("s1",))
    np.testing.assert_array_equal(exact[0][1].boxes, forth[0][1].boxes)
    other_ego = DataSet(recording(), pose_noise=data.pose_noise, ego="b", scenarios=("s1",)).frames[0]
    np.testing.assert_array_equal(other_ego.others["a"].world_T_sensor, forth[0][0].ego.world_T_sensor)
    assert DataSet(recording(), pose_noise=data.pose_noise, seed=1)[0][0].ego.world_T_sensor[0, 3] != pytest.approx(
        forth[0][0].ego.world_T_sensor[0, 3]
    )


@pytest.mark.parametrize(
    ("noise", "deviation_m", "deviation_deg", "beyond"),
    [
        (Gaussian(sigma_m=0.5, sigma_deg=2.0), 0.5, 2.0, 0.0027),  # outside of 3 sigma
        (Laplace(scale_m=0.5, scale_deg=2.0), 0.5 * 2**0.5, 2.0 * 2**0.5, 0.0144),
    ],
)
def test_noise_follows_its_law(noise, deviation_m, deviation_deg, beyond):
    poses = {"s": {f"{k:04d}": {"a": at(5, 7, 30)} for k in range(1200)}}
    memory = Memory(INFOS, poses)
    found = np.array([v.ego.world_T_sensor for v in DataSet(memory, pose_noise=noise, comm_range_m=1e9).frames])
    moved = np.concatenate([found[:, 0, 3] - 5, found[:, 1, 3] - 7])
    turned = np.degrees([yaw_of(p) for p in found]) - 30
    assert moved.std() == pytest.approx(deviation_m, rel=0.08) and turned.std() == pytest.approx(deviation_deg, rel=0.1)
    assert (np.abs(moved) > 3 * deviation_m).mean() == pytest.approx(beyond, abs=0.006)
    assert (found[:, 2, 3] == 2).all() and np.allclose(found[:, :3, :3] @ found[:, :3, :3].swapaxes(1, 2), np.eye(3))


def test_no_noise_leaves_poses_as_they_are_recorded():
    frame, truth = DataSet(recording(), pose_noise=None)[0]
    for name, view in {"a": frame.ego, **frame.others}.items():
        np.testing.assert_array_equal(view.world_T_sensor, truth.world_T_sensor[name])


def test_a_broken_file_is_told_or_skipped_and_listed():
    broken = {("s1", "001", "b"), ("s2", "002", "a")}
    with pytest.raises(DataError, match=r"s1/b/001\.pcd: expected points"):
        list(DataSet(recording(broken=broken)))
    data = DataSet(recording(broken=broken), skip_bad=True)
    kept = [(f.scenario, f.index) for f, _ in data]
    assert len(kept) == 7 and ("s1", 1) not in kept and ("s2", 2) not in kept
    assert sorted(data.skipped) == ["s1 001 a", "s2 002 a"] and data.skipped["s1 001 a"].path.name == "001.pcd"
    with pytest.raises(DataError):
        data[1]


def test_a_scenario_that_cannot_be_listed_is_skipped_too():
    memory = recording()
    ticks = memory.ticks

    def broken(scenario):
        if scenario == "s1":
            raise DataError(memory.root / "s1", "expected agents, got none")
        return ticks(scenario)

    memory.ticks = broken
    with pytest.raises(DataError):
        len(DataSet(memory))
    data = DataSet(memory, skip_bad=True)
    assert len(data) == 3 and list(data.skipped) == ["s1"]


class Parsed(Memory):
    """The world is another one at each tick."""

    def world(self, scenario, tick):
        return tick


def test_delay_needs_a_world_that_stays():
    memory = Parsed(INFOS, {"s": drive()})
    assert len(list(DataSet(memory))) == 6
    with pytest.raises(InputError, match="expected delay_frames=0"):
        DataSet(memory, delay_frames=1)[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scenarios": ("s3",)}, "scenarios among s1, s2 of memory, got 's3'"),
        ({"ego": "z"}, "agents among a, b, c, r of memory, got 'z'"),
        ({"agents": ("a", "z")}, "got 'z'"),
        ({"agents": ("b", "c"), "ego": "a"}, "the ego among the agents b, c"),
        ({"comm_range_m": 0}, "comm_range_m to be positive"),
        ({"comm_range_m": float("nan")}, "comm_range_m to be positive"),
        ({"stride": 0}, "stride >= 1"),
        ({"start": -1}, "start >= 0"),
        ({"delay_frames": -1}, "delay_frames to be >= 0"),
        ({"max_teammates": -1}, "max_teammates to be >= 0"),
        ({"seed": -1}, "seed to be >= 0"),
    ],
)
def test_wrong_options_are_told(options, said):
    with pytest.raises(InputError, match=said):
        len(DataSet(recording(), **options))


@pytest.mark.parametrize("wrong", [{"sigma_m": -1.0}, {"sigma_deg": float("nan")}])
def test_wrong_noise_is_told(wrong):
    with pytest.raises(InputError, match="to be >= 0 and finite"):
        Gaussian(**wrong)


def test_the_simulators_frames_and_truth_come_back():
    config = SimConfig(n_vehicles=3, n_frames=2, beams=16, columns=512, range_sigma_m=0.0)
    simulated = Simulated(2, config)
    data = DataSet(simulated, comm_range_m=config.comm_range_m)
    assert len(data) == 4
    for (frame, truth), entry in zip(data, data.entries, strict=True):
        snapshot = simulated.snapshot(entry.scenario, entry.tick)
        theirs, expected = snapshot.frame()
        assert frame.ego.id == theirs.ego.id and set(frame.others) == set(theirs.others)
        ours = {int(i): k for k, i in enumerate(truth.track_ids)}
        at_ours = [ours[int(i)] for i in expected.track_ids]  # ours holds those further away, too
        np.testing.assert_allclose(truth.boxes[at_ours], expected.boxes, atol=1e-4)
        carrier = next(a.vehicle for a in snapshot.scenario.agents if a.id == frame.ego.id)
        assert carrier not in ours and len(truth.boxes) == len(snapshot.boxes) - 1
        for name, exact in expected.hits.items():
            counted = truth.hits[name][at_ours]
            # the simulator knows whose each point is: without noise of the range all of them are in the box, and
            # with them a little of the ground that the box stands on
            assert (counted >= exact - 1).all() and counted.sum() <= 1.2 * exact.sum() + 5, name
