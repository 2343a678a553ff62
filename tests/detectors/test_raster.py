from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robosac.boxes import pose_xyz_rpy
from robosac.detectors.bev.raster import BIN_EDGES_M, RASTER, rasterise, unpack
from robosac.types import Array, InputError


def ground(rng: np.random.Generator, count: int = 6000, z: float = -2.0) -> Array:
    return np.asarray(np.c_[rng.uniform(-38, 38, (count, 2)), np.full(count, z), np.zeros(count)], np.float32)


def with_points(points: list[tuple[float, float, float]], z: float = -2.0) -> Array:
    extra = np.array([[*p, 0.0] for p in points], np.float32).reshape(-1, 4)
    return np.concatenate([ground(np.random.default_rng(0), z=z), extra])


@pytest.mark.parametrize("mount_m", [2.0, 5.5])
@pytest.mark.parametrize(
    ("height_m", "bit"),
    [(0.0, 0), (0.25, 0), (0.35, 1), (0.7, 2), (1.0, 3), (1.3, 4), (1.9, 5), (3.0, 6), (3.5, 7), (40.0, 7)],
)
def test_height_bins_are_above_the_ground_whatever_the_mount(mount_m: float, height_m: float, bit: int) -> None:
    xyz = (10.05, -5.05, height_m - mount_m)
    bits = rasterise(with_points([xyz], z=-mount_m)).bits
    row, col = RASTER.cells(np.array([xyz]))
    assert bits[row[0], col[0]] & ~np.uint8(1) == (1 << bit if bit else 0)  # the ground bit may be set beside it


def test_rows_run_along_y_and_columns_along_x() -> None:
    bits = rasterise(with_points([(-38.3, 38.3, 0.0)])).bits  # far left, +y
    assert bits[255, 0] & (1 << 5)
    assert np.count_nonzero(bits & ~np.uint8(1)) == 1


def test_what_is_below_the_ground_off_the_raster_or_not_finite_is_left_out() -> None:
    nan, inf = float("nan"), float("inf")
    odd = [(5.0, 5.0, -4.0), (38.4, 0.0, 0.0), (0.0, -39.0, 0.0), (nan, 0, 0), (1, 1, nan), (2, inf, 0), (3, 3, inf)]
    # one stray return 2 m under the ground lowers the minimum of its coarse cell, but not the ground
    assert np.array_equal(rasterise(with_points(odd)).bits, rasterise(with_points([])).bits)


def test_no_points_give_an_empty_raster() -> None:
    raster = rasterise(np.zeros((0, 4), np.float32))
    assert not raster.bits.any()
    assert np.isfinite(raster.plane).all()
    assert not rasterise(np.full((5, 4), np.nan, np.float32)).bits.any()


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected points to be \(N, >=3\).*got shape \(4,\)"):
        rasterise(np.zeros(4))


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-0.04, 0.04), st.floats(-0.04, 0.04), st.floats(1.5, 6.0), st.integers(0, 2**32 - 1), st.floats(0.0, 0.5)
)
def test_a_tilted_ground_is_found_under_walls(roll: float, pitch: float, mount: float, seed: int, walls: float) -> None:
    """Walls stand on up to half of the coarse cells' worth of points; the plane under them is recovered."""
    rng = np.random.default_rng(seed)
    xy = rng.uniform(-38, 38, (12000, 2))
    coarse = np.floor(xy / 4.8).astype(int)
    occluded = rng.uniform(size=(20, 20))[coarse[:, 0] + 9, coarse[:, 1] + 9] < walls
    z = np.where(occluded, rng.uniform(1, 8, len(xy)), rng.normal(0, 0.02, len(xy)))
    level = np.c_[xy, z - mount]
    points = (level @ pose_xyz_rpy(0, 0, 0, roll, pitch)[:3, :3].T).astype(np.float32)
    raster = rasterise(points)
    normal = pose_xyz_rpy(0, 0, 0, roll, pitch)[:3, 2]
    expected = np.array([-mount / normal[2], -normal[0] / normal[2], -normal[1] / normal[2]])
    assert raster.plane[0] == pytest.approx(expected[0], abs=0.12)
    assert raster.plane[1:] == pytest.approx(expected[1:], abs=0.008)


def test_unpack_inverts_the_packing() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 256, (2, 256, 256), dtype=np.uint8)
    planes = unpack(bits)
    assert planes.shape == (2, len(BIN_EDGES_M) + 1, 256, 256)
    assert np.array_equal((planes * (1 << np.arange(8))[:, None, None]).sum(axis=1), bits)
