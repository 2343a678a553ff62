from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.boxes import pose_xyz_rpy
from robosac.detectors.adapters.coperception import Layout, VoxelView
from robosac.detectors.adapters.coperception.layout import bev_of, frame_of, slots
from robosac.types import InputError

LAYOUT = Layout()


def points(*xyz: tuple[float, float, float]) -> np.ndarray:
    return np.array([[*p, 1.0] for p in xyz], np.float32).reshape(-1, 4)


def occupied(kind: str, *xyz: tuple[float, float, float]) -> list[tuple[int, ...]]:
    return [tuple(map(int, i)) for i in np.argwhere(LAYOUT.voxelise(points(*xyz), kind))]


ONE_POINT = [  # rows along +y, columns along -x; 0.25 m; heights of 0.4 m from -3.2 m (vehicle) or -8 m (roadside)
    ("vehicle", (10.1, 0.1, 0.1), [(128, 87, 8)]),
    ("vehicle", (-10.1, 0.1, 0.1), [(128, 168, 8)]),
    ("vehicle", (10.1, -31.9, 1.9), [(0, 87, 12)]),
    ("vehicle", (31.99, 31.99, -2.99), [(255, 0, 0)]),
    ("vehicle", (10.1, 0.1, -3.0), []),  # the range is open
    ("vehicle", (32.0, 0.0, 0.0), []),
    ("vehicle", (0.9, -0.9, 0.0), []),  # its own roof
    ("vehicle", (0.9, -1.1, 0.0), [(123, 124, 8)]),
    ("roadside", (10.1, 0.1, -7.9), [(128, 87, 0)]),
    ("roadside", (10.1, 0.1, -3.1), [(128, 87, 12)]),
    ("roadside", (10.1, 0.1, 0.0), []),
]


@pytest.mark.parametrize(("kind", "xyz", "expected"), ONE_POINT)
def test_a_point_falls_into_its_voxel(kind: str, xyz: tuple[float, float, float], expected: list[tuple[int]]) -> None:
    assert occupied(kind, xyz) == expected


def test_the_raster_is_that_of_the_format() -> None:
    assert LAYOUT.shape == (256, 256, 13) and LAYOUT.voxelise(points()).sum() == 0
    grid = LAYOUT.grid
    assert (grid.x_min_m, grid.y_max_m, grid.cell_m, grid.rows) == (-32.0, 32.0, 0.25, 256)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["vehicle", "roadside"]))
def test_voxels_and_the_points_that_stand_for_them_are_the_same(seed: int, kind: str) -> None:
    bev = (np.random.default_rng(seed).random(LAYOUT.shape) < 0.001).astype(np.float32)
    bev[120:136, 120:136] = 0  # what is on its own roof is dropped
    np.testing.assert_array_equal(LAYOUT.voxelise(LAYOUT.centres(bev, kind), kind), bev)


def test_a_layout_is_read_from_a_config() -> None:
    config = SimpleNamespace(
        area_extents=np.array([[-48.0, 48.0], [-48.0, 48.0], [-3.0, 2.0]]),
        voxel_size=(0.375, 0.375, 0.4),
        anchor_size=np.array([[2.0, 4.0, 0.0], [2.0, 4.0, np.pi / 2]]),
    )
    layout = Layout.of(config)
    assert layout.shape == (256, 256, 13) and layout.anchors == ((2.0, 4.0, 0.0), (2.0, 4.0, np.pi / 2))
    config.area_extents[1, 1] = 40.0
    with pytest.raises(InputError, match="square raster about the sensor"):
        Layout.of(config)


# --------------------------------------------------------------------------------------------------- their tensors
def batch(count: int = 3, slots: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bev = np.zeros((slots, 1, *LAYOUT.shape), np.float32)
    bev[:count, 0, 30, 40, 5] = 1
    poses = [pose_xyz_rpy(3.0 * i, i, 0.5 * i, yaw_rad=0.3 * i) for i in range(count)]
    trans = np.zeros((1, slots, slots, 4, 4))
    for i, a in enumerate(poses):
        for j, b in enumerate(poses):
            trans[0, i, j] = np.linalg.inv(a) @ b
    return bev, trans, np.full((1, slots), count)


def test_views_carry_rasters_and_poses_in_the_egos_frame() -> None:
    bev, trans, count = batch()
    frame = frame_of(LAYOUT, bev, trans, count, ego=1, roadside=True)
    assert frame.ego.id == "agent1" and sorted(frame.others) == ["agent0", "agent2"]
    assert frame.others["agent0"].kind == "roadside" and frame.ego.kind == "vehicle"
    np.testing.assert_array_equal(frame.ego.world_T_sensor, np.eye(4))
    np.testing.assert_allclose(frame.others["agent2"].world_T_sensor, trans[0, 1, 2], atol=1e-12)
    for view in (frame.ego, *frame.others.values()):
        assert isinstance(view, VoxelView) and len(view.points) == 1
        np.testing.assert_array_equal(bev_of(view, LAYOUT), bev[0, 0])


WRONG = [
    ({"bev": np.zeros((4, 256, 256, 13))}, r"expected bev \(agents, 1, 256, 256, 13\).*got shape \(4, 256, 256, 13\)"),
    ({"num_agent": np.array([[5]])}, "at least num_agent = 5"),
    ({"trans_matrices": np.zeros((2, 3, 3, 4, 4))}, "trans_matrices"),
    ({"trans_matrices": np.zeros((1, 3, 3, 4, 4))}, r"trans_matrices\[0, 1\] to be a rigid"),
    ({"ego": 3}, "ego to be one of agent0, agent1, agent2 or its number, got 3"),
    ({"ego": "car"}, "got 'car'"),
]


@pytest.mark.parametrize(("change", "why"), WRONG)
def test_tensors_that_do_not_fit_are_refused(change: dict[str, object], why: str) -> None:
    bev, trans, count = batch()
    given_ = {"bev": bev, "trans_matrices": trans, "num_agent": count, "ego": 1, **change}
    with pytest.raises(InputError, match=why):
        frame_of(LAYOUT, roadside=False, **given_)  # type: ignore[arg-type]


def test_slots_are_taken_in_the_order_of_names() -> None:
    assert slots(["c", "a"], 4) == {"a": 0, "c": 1}
    with pytest.raises(InputError, match=r"at most 2 agents \(the ego and 1 teammates\), got 3"):
        slots("abc", 2)
