"""Traffic by SUMO on the shipped crossing: laws of roads, and the same numbers in any process. Needs the extra sumo."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import shapely

from robosac.boxes import corners_bev, pairs_touch
from robosac.cli.simulate import Simulate, _protocol
from robosac.experiments.scenes import SceneRef, identity
from robosac.experiments.settings import Grid
from robosac.simulation import Scenario, SimConfig, scenario, sumo
from robosac.simulation.crossing import draw_trips
from robosac.simulation.layout import touching
from robosac.simulation.network import CROSSING, crossing
from robosac.simulation.traffic import ever_at
from robosac.types import Bool, Float64, InputError

libsumo = pytest.importorskip("libsumo", reason="the extra sumo is not installed")
ROOT = Path(__file__).parents[2]
SCENES = range(8)
TIMES = np.arange(10) / 10


@lru_cache(maxsize=len(SCENES))
def world(index: int) -> Scenario:
    return scenario("test", index, config=SimConfig.preset("sumo"))


@lru_cache(maxsize=1)
def minutes() -> tuple[sumo.Drive, Float64, Float64]:
    """Nearly three minutes of traffic: the drive, front bumpers `(K, V, 2)`, lengths `(V,)`."""
    trips, _, _ = draw_trips(170.0, np.random.default_rng(5))
    found = sumo.drive(CROSSING, trips, seed=7, start_s=0.0, steps=1700)
    length = np.array([trips[i].length_m for i in found.trips])
    heading = np.stack([np.cos(found.places[..., 2]), np.sin(found.places[..., 2])], axis=-1)
    return found, found.places[..., :2] + length[:, None] / 2 * heading, length


def on_the_network(front: Float64) -> Bool:
    """The streets reach 260 m; a lorry's front enters them 16 m further in."""
    return np.asarray((np.abs(front) < 240).all(axis=-1))


# --------------------------------------------------------------------------------------------------- laws of the road
@pytest.mark.parametrize("index", SCENES)
def test_no_two_vehicles_touch(index: int) -> None:
    count = len(world(index).traffic)
    i, j = np.triu_indices(count, 1)
    boxes = ever_at(world(index).traffic, TIMES).reshape(len(TIMES), count, 7)
    assert not any(pairs_touch(now[i], now[j]).any() for now in boxes)


def test_no_two_vehicles_touch_in_minutes() -> None:
    found, _, length = minutes()
    i, j = np.triu_indices(len(length), 1)
    for now in found.places[::20]:
        boxes = np.zeros((len(length), 7))
        boxes[:, :2], boxes[:, 3], boxes[:, 4], boxes[:, 5], boxes[:, 6] = now[:, :2], length, 1.8, 1.0, now[:, 2]
        assert not pairs_touch(boxes[i], boxes[j]).any()


def test_vehicles_keep_to_lanes() -> None:
    _, front, _ = minutes()
    lanes = shapely.unary_union([shapely.LineString(lane.line) for lane in crossing().lanes])
    seen = front[::5][on_the_network(front[::5])]
    assert len(seen) > 5000
    assert shapely.distance(lanes, shapely.points(seen)).max() < 0.3


def test_bodies_stay_on_the_street() -> None:
    for index in SCENES:
        made = world(index)
        streets = shapely.unary_union(shapely.polygons(corners_bev(made.layout.roads)))
        moving = np.array(made.traffic.role) == "moving"
        near = np.hypot(*made.traffic.poses(0.0)[:, :2].T) < 100
        boxes = ever_at(made.traffic, TIMES).reshape(len(TIMES), -1, 7)[:, moving & near].reshape(-1, 7)
        bodies = shapely.polygons(corners_bev(boxes))
        off = shapely.area(shapely.difference(bodies, streets)) / shapely.area(bodies)
        assert np.mean(off > 0.02) < 0.03 and off.max() < 0.4  # long ones cut corners


def test_nobody_passes_a_red_signal_and_queues_form_before_it() -> None:
    found, front, _ = minutes()
    signals = crossing().signals
    lanes = {(lane.edge, lane.index): lane for lane in crossing().lanes}
    passed = queued = 0
    for key, links in crossing().links.items():
        line = lanes[key].line
        along = (line[-1] - line[-2]) / np.hypot(*(line[-1] - line[-2]))
        ahead = (front - line[-1]) @ along  # negative before the stop line
        here = np.abs((front - line[-1]) @ [-along[1], along[0]]) < 0.3
        for k, _ in np.argwhere((ahead[:-1] < 0) & (ahead[1:] >= 0) & here[:-1]):
            passed += 1
            now = {signals.at((k + 0.5) * sumo.STEP_S)[link] for link in links}
            assert now & set("Ggy"), (key, k)
        for k in range(0, len(front), 50):
            stopped = here[k] & (found.speed_mps[k] < 0.1) & (ahead[k] < 0) & (ahead[k] > -60)
            if stopped.sum() >= 3:
                queued += 1
                assert ahead[k][stopped].max() > -25  # the queue begins near the line
    assert passed > 30 and queued > 5


def test_speeds_are_those_of_a_town_and_agree_with_the_ways_driven() -> None:
    found, front, _ = minutes()
    inside = on_the_network(front[1:]) & on_the_network(front[:-1])
    speed = found.speed_mps
    assert speed[1:][inside].max() < 1.4 * 13.89 and speed[1:][inside].min() >= 0
    assert 0.1 < np.mean(speed[1:][inside] < 0.1) < 0.7
    driven = np.linalg.norm(np.diff(front, axis=0), axis=-1) / sumo.STEP_S
    assert np.abs(driven - speed[1:])[inside].max() < 1.2  # across the kinks of a lane's line
    assert np.quantile(np.abs(driven - speed[1:])[inside], 0.95) < 0.02
    change = np.diff(speed, axis=0)[inside] / sumo.STEP_S
    assert change.max() < 2.7 and change.min() > -9.1


def test_everybody_gets_through() -> None:
    _, front, _ = minutes()
    entered = on_the_network(front).any(axis=0)
    early = entered & (np.argmax(on_the_network(front), axis=0) < 300)
    assert early.sum() > 5 and (np.abs(front[-1][early]) > 240).any(axis=-1).all()


def test_long_vehicles_go_straight_on() -> None:
    trips, _, _ = draw_trips(2000.0, np.random.default_rng(0))
    opposite = {"east": "west", "west": "east", "north": "south", "south": "north"}
    ways = [(trip.length_m, trip.edges[0].split("_")[0], trip.edges[-1].split("_")[0]) for trip in trips]
    assert all(opposite[came] == gone for length, came, gone in ways if length > 9)
    turned = np.mean([opposite[came] != gone for _, came, gone in ways])
    assert 0.15 < turned < 0.3 and all(came != gone for _, came, gone in ways)


# ------------------------------------------------------------------------------------------------------ the place
@pytest.mark.parametrize("index", SCENES)
def test_nothing_stands_on_the_street_or_where_vehicles_come(index: int) -> None:
    made = world(index)
    assert made.kind == "intersection" and sum(map(len, made.layout.solids.values())) > 80
    swept = ever_at(made.traffic, TIMES)
    for rows in made.layout.solids.values():
        assert not touching(rows, made.layout.roads).any()
        assert not (touching(rows, swept) & (rows[:, 6] <= 3.0)).any()
    mast = np.array([[*made.layout.roadside_xy, 0.0, 0.3, 0.3, 5.0, 0.0, 0.5]])
    assert not touching(mast, made.layout.roads).any()
    assert np.hypot(*made.layout.roadside_xy) < 25


def test_agents_are_in_range_and_frames_show_traffic() -> None:
    made = world(0)
    frame, truth = made.snapshot(4).frame()
    assert list(frame.others) == ["car-2", "car-3", "car-4", "car-5", "rsu-1"]
    assert all(made.traffic.role[a.vehicle] == "moving" for a in made.agents if a.vehicle >= 0)
    assert len(truth.boxes) > 15 and (sum(truth.hits.values()) >= 5).sum() > 10
    at = made.snapshot(4).world_T_object[:, :2, 3]
    np.testing.assert_allclose(at, made.traffic.poses(0.4)[:, :2])


# ---------------------------------------------------------------------------------------------- the same every time
def digest(index: int) -> str:
    made = scenario("val", index, seed=3, config=SimConfig.preset("sumo"))
    view = made.snapshot(2).view("car-1")
    arrays = (made.traffic.poses(TIMES), made.traffic.size, made.layout.solids["block"], view.points)
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_fresh_processes_give_the_same_scenes_in_any_order() -> None:
    code = "import sys; from tests.simulation.test_sumo import digest; [print(digest(int(i))) for i in sys.argv[1:]]"
    told = [
        subprocess.run([sys.executable, "-c", code, *order], capture_output=True, text=True, check=True, cwd=ROOT)
        for order in ("01", "10")
    ]
    first, second = (done.stdout.split() for done in told)
    assert first == second[::-1] == [digest(0), digest(1)]
    assert first[0] != first[1]


def test_scenes_differ_by_split_seed_and_number() -> None:
    config = SimConfig.preset("sumo")
    asked = [("test", 0, 0), ("test", 1, 0), ("test", 0, 1), ("val", 0, 0)]
    places = [scenario(split, k, seed=seed, config=config).traffic.poses(0.0)[:5] for split, k, seed in asked]
    assert len({p.tobytes() for p in places}) == len(asked)


def test_a_scene_asked_for_again_does_not_run_sumo_again() -> None:
    config = SimConfig.preset("sumo")
    first = scenario("test", 3, config=config)
    before = sumo.drive.cache_info().misses
    again = scenario("test", 3, config=config)
    again.snapshot(5)
    assert sumo.drive.cache_info().misses == before
    np.testing.assert_array_equal(first.traffic.poses(TIMES), again.traffic.poses(TIMES))


def test_frames_further_apart_are_later_moments_of_the_same_drive() -> None:
    config = SimConfig(shares=(1.0, 0.0, 0.0), traffic="sumo", rate_hz=2.0, n_frames=3, n_vehicles=2)
    made = scenario("test", 0, config=config)
    far = np.linalg.norm(made.traffic.poses(1.0) - made.traffic.poses(0.0), axis=-1)
    assert made.snapshot(2).t_ns == 10**9
    moving = np.array(made.traffic.role) == "moving"
    assert far[moving].max() > 5 and far[~moving].max(initial=0.0) == 0


def test_another_simulation_of_this_process_is_left_alone() -> None:
    libsumo.start(["sumo", "--net-file", str(CROSSING), "--no-step-log", "true"])
    try:
        with pytest.raises(InputError, match=r"expected no SUMO simulation in this process.*libsumo\.close\(\)"):
            scenario("test", 987, config=SimConfig.preset("sumo"))
        assert libsumo.isLoaded()
    finally:
        libsumo.close()
    assert len(scenario("test", 987, config=SimConfig.preset("sumo")).traffic) > 0


def test_results_and_written_scenes_say_by_which_sumo(tmp_path: Path) -> None:
    grid = Grid(dataset=("sim:sumo",), detector=("mean",), attack=("pgd",))
    assert identity(SceneRef("sim:sumo", 0, "0"), grid)["libsumo"] == version("libsumo")
    assert "libsumo" not in identity(SceneRef("sim:mixed", 0, "0"), grid)
    written = _protocol(Simulate(out=tmp_path, scenes=1, preset="sumo"), 0).decode()
    assert f"libsumo: {version('libsumo')}" in written and "traffic: sumo" in written
