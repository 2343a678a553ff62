"""Traffic whose places are given: SUMO's positions as ours, the streets it drives on, and the words without the extra.

None of this needs SUMO; `test_sumo.py` does.
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from robosac.boxes import pairs_touch
from robosac.cli import main
from robosac.cli.view import frames_of
from robosac.simulation import SimConfig, scenario, sumo
from robosac.simulation.geometry import flat_boxes
from robosac.simulation.network import CROSSING, FOLDER, crossing
from robosac.simulation.tracks import Tracks
from robosac.types import Array, Float64, InputError

HALF = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("front", "angle_deg", "length_m", "expected"),
    [
        ((0.0, 0.0), 0.0, 4.0, (0.0, -2.0, np.pi / 2)),  # north: the rest of the vehicle is to the south
        ((0.0, 0.0), 90.0, 4.0, (-2.0, 0.0, 0.0)),  # east is +x, our yaw 0
        ((0.0, 0.0), 180.0, 4.0, (0.0, 2.0, -np.pi / 2)),
        ((0.0, 0.0), 270.0, 4.0, (2.0, 0.0, -np.pi)),
        ((1.0, 2.0), 45.0, 2.0, (1 - HALF, 2 - HALF, np.pi / 4)),
        ((10.0, 20.0), np.degrees(np.arctan2(3, 4)), 10.0, (7.0, 16.0, np.arctan2(4, 3))),  # heading (3, 4) / 5
        ((5.0, 5.0), 360.0, 0.0, (5.0, 5.0, np.pi / 2)),
    ],
)
def test_the_centre_is_half_a_length_behind_the_front_bumper(
    front: tuple[float, float], angle_deg: float, length_m: float, expected: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(sumo.centres(np.array(front), angle_deg, length_m), expected, atol=1e-12)


def row(**vehicles: tuple[float, float, float, float]) -> dict[int, tuple[float, float, float, float]]:
    return {int(name[1:]): values for name, values in vehicles.items()}


def test_places_are_collected_by_trip_and_yaw_goes_on_past_half_a_turn() -> None:
    rows = [row(v3=(0.0, 0.0, 269.0, 2.0)), row(v3=(-0.2, 0.0, 271.0, 2.0)), row(v3=(-0.4, 0.0, 273.0, 1.0))]
    found = sumo._collected(rows, np.array([9.0, 9.0, 9.0, 0.0]))
    assert found.trips == (3,)
    np.testing.assert_allclose(np.diff(np.degrees(found.places[:, 0, 2])), -2.0)
    np.testing.assert_allclose(found.places[:, 0, 0], [0.0, -0.2, -0.4])
    assert found.speed_mps[:, 0].tolist() == [2.0, 2.0, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        found.places[0] = 0.0


def test_who_is_not_on_the_network_yet_or_any_more_touches_nobody() -> None:
    """A slow one enters half a second after a fast one, 3 m behind it; the other end likewise."""
    east, fast, slow = 90.0, 14.0, 6.0
    first = {k: (4.5 + fast * sumo.STEP_S * (k - 3), 0.0, east, fast) for k in range(3, 30)}
    second = {k: (-3.0 + slow * sumo.STEP_S * (k - 8), 0.0, east, slow) for k in range(8, 40)}
    rows = [{i: seen[k] for i, seen in enumerate((first, second)) if k in seen} for k in range(60)]
    found = sumo._collected(rows, np.array([4.5, 4.5]))
    a, b = (flat_boxes(found.places[:, v, :2], 4.5, 1.8, found.places[:, v, 2]) for v in (0, 1))
    assert not pairs_touch(a, b).any()
    assert (np.diff(found.places[..., 0], axis=0) > 0).all()


def tracks(places: Array, speed: Array, times: Array) -> Tracks:
    count = np.shape(places)[1]
    names, size = ("sedan",) * count, np.ones((count, 3))
    return Tracks(names, ("moving",) * count, size, np.ones(count), times, np.asarray(places, float), speed)


@pytest.fixture
def two() -> Tracks:
    """One goes along x at 10 m/s and turns, one stands."""
    places = [[[0, 0, 0.0], [5, 5, 1.0]], [[1, 0, 0.2], [5, 5, 1.0]], [[2, 0, 0.4], [5, 5, 1.0]]]
    return tracks(np.array(places), np.array([[10.0, 0], [10, 0], [8, 0]]), np.array([0.0, 0.1, 0.2]))


@pytest.mark.parametrize(
    ("t_s", "x", "yaw"), [(0.0, 0.0, 0.0), (0.05, 0.5, 0.1), (0.1, 1, 0.2), (0.2, 2, 0.4), (9.0, 2, 0.4), (-1, 0, 0)]
)
def test_between_two_times_vehicles_go_straight(two: Tracks, t_s: float, x: float, yaw: float) -> None:
    np.testing.assert_allclose(two.poses(t_s), [[x, 0, yaw], [5, 5, 1]], atol=1e-12)


def test_many_times_are_each_of_them(two: Tracks) -> None:
    times = np.array([0.0, 0.13, 0.2])
    np.testing.assert_array_equal(two.poses(times), np.stack([two.poses(t) for t in times]))
    np.testing.assert_allclose(two.speeds(0.15), [9.0, 0.0])


def test_turned_about_the_origin(two: Tracks) -> None:
    expected = [[0, 2, 0.4 + np.pi / 2], [-5, 5, 1 + np.pi / 2]]
    np.testing.assert_allclose(two.turned(np.pi / 2).poses(0.2), expected, atol=1e-12)


def test_those_that_stand_are_added_behind(two: Tracks) -> None:
    both = two.and_standing(two)
    assert len(both) == 4 and len(both.size) == len(both.paint) == len(both.role) == 4
    np.testing.assert_array_equal(both.poses(0.1)[:2], two.poses(0.1))
    np.testing.assert_array_equal(both.poses(0.1)[2:], two.poses(0.0))
    assert both.speeds(0.0).tolist() == [10.0, 0.0, 0.0, 0.0]


# ------------------------------------------------------------------------------------------------------- the network
def source(name: str, tag: str) -> list[dict[str, str]]:
    return [dict(e.attrib) for e in ElementTree.parse(FOLDER / f"crossing.{name}.xml").getroot().iter(tag)]


def test_the_network_is_made_of_what_is_written_by_hand() -> None:
    streets = [lane for lane in crossing().lanes if not lane.within_junction]
    lanes = {edge["id"]: int(edge["numLanes"]) for edge in source("edg", "edge")}
    assert {name: sum(lane.edge == name for lane in streets) for name in lanes} == lanes
    assert len(streets) == sum(lanes.values())
    signals = crossing().signals
    phases = source("tll", "phase")
    assert signals.states == tuple(p["state"] for p in phases)
    assert signals.durations_s == tuple(float(p["duration"]) for p in phases)
    links = {(c["from"], int(c["fromLane"]), int(c["linkIndex"])) for c in source("tll", "connection")}
    assert {(edge, lane, k) for (edge, lane), places in crossing().links.items() for k in places} == links
    keys = ("from", "to", "fromLane", "toLane")
    made = {tuple(c[k] for k in keys) for c in source("net", "connection") if not c["from"].startswith(":")}
    assert made == {tuple(c[k] for k in keys) for c in source("con", "connection")}


def test_the_network_names_no_path_of_a_machine() -> None:
    assert not [line for line in CROSSING.read_text().splitlines() if 'value="/' in line]


@pytest.mark.parametrize(
    ("t_s", "phase"),
    [(0.0, 0), (29.9, 0), (30.0, 1), (32.9, 1), (33.0, 2), (35.0, 3), (79.9, 8), (80.0, 0), (115.0, 3)],
)
def test_signals_by_time(t_s: float, phase: int) -> None:
    assert crossing().signals.at(t_s) == crossing().signals.states[phase]


def test_streets_that_cross_are_never_green_together_and_yellow_is_between_green_and_red() -> None:
    links, states = crossing().links, crossing().signals.states
    main, side = (
        [k for (edge, _), places in links.items() if edge.split("_")[0] in ends for k in places]
        for ends in (("east", "west"), ("north", "south"))
    )
    assert len(main) + len(side) == len(states[0])
    for now, then in zip(states, (*states[1:], states[0]), strict=True):
        assert not (any(now[k] in "Ggy" for k in main) and any(now[k] in "Ggy" for k in side))
        assert all(b == "y" for a, b in zip(now, then, strict=True) if a in "Gg" and b not in "Gg")


def test_streets_are_as_wide_as_their_lanes() -> None:
    assert crossing().half_width_m("east_in") == pytest.approx(8.0, abs=0.02)  # 1.5 + 2 x 3.25
    assert crossing().half_width_m("north_out") == pytest.approx(4.75, abs=0.02)


def test_lanes_end_where_the_next_begins() -> None:
    ends: Float64 = np.array([lane.line[-1] for lane in crossing().lanes if lane.edge.endswith(("_far", "_in"))])
    begins = np.array([lane.line[0] for lane in crossing().lanes if lane.within_junction])
    apart = np.linalg.norm(ends[:, None] - begins, axis=-1).min(axis=1)
    assert apart.max() < 0.02


# ------------------------------------------------------------------------------------------------- without the extra
def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "libsumo", None)
    sumo.drive.cache_clear()  # what was driven before, with the extra, is still known
    words = r"expected SUMO for the traffic of sim:sumo, got .*libsumo.*; pip install 'robosac\[sumo\]'"
    with pytest.raises(InputError, match=words):
        SimConfig.preset("sumo")
    with pytest.raises(InputError, match=words):
        scenario("test", 0, config=SimConfig(shares=(1.0, 0.0, 0.0), traffic="sumo"))
    with pytest.raises(InputError, match=words):
        next(frames_of("sim:sumo", 0, seed=0, whole=False))
    out = str(tmp_path / "out")
    for command in (
        ["simulate", "--preset", "sumo", "--scenes", "1", "--out", out],
        ["evaluate", "--dataset", "sim:sumo", "--scenes", "1", "--out", out],
        ["demo", "--preset", "sumo", "--out", out],
        ["train", "--data", "sim:sumo", "--out", out],
        ["calibrate", "--data", "sim:sumo", "--out", f"{out}.json"],
    ):
        with pytest.raises(SystemExit) as stop:
            main(command)
        said = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == 2 and len(said) == 1 and "pip install 'robosac[sumo]'" in said[0], command
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"traffic": "bus"}, "traffic to be one of drawn, sumo, got 'bus'"),
        ({"traffic": "sumo"}, r"shares \(1.0, 0.0, 0.0\) and no variety with traffic 'sumo'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(change: dict[str, str], words: str) -> None:
    with pytest.raises(InputError, match=f"expected {words}"):
        SimConfig(**change)  # type: ignore[arg-type]
