"""The ray-cast LiDAR against closed forms: a plane, a box, occlusion, noise, lost returns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from robosac.boxes import pose_xyz_rpy, transform_points
from robosac.simulation import SimConfig
from robosac.simulation.lidar import Surfaces, build_surfaces, scan
from robosac.simulation.meshes import TEMPLATES, place
from robosac.simulation.terrain import Terrain
from robosac.types import Float32, Float64, Int64, keyed_rng

EXACT = SimConfig(range_sigma_m=0.0, drop_rate=0.0, faint_power=0.0, beams=31)
HEIGHT_M = 2.0


def flat_world(*blocks: tuple[float, float, float, float, float, float]) -> Surfaces:
    """Flat ground and blocks (x, y, yaw, l, w, h); block i is object i."""
    ground = Terrain.draw(keyed_rng(0), 0.0).mesh(np.zeros(2))
    parts, owner = [ground], [np.full(len(ground), -1, np.int64)]
    for i, (x, y, yaw, *size) in enumerate(blocks):
        parts.append(place(TEMPLATES["block"], np.array([size]), pose_xyz_rpy(x, y, 0, yaw_rad=yaw)[None]))
        owner.append(np.full(12, i, np.int64))
    triangles = np.concatenate(parts)
    return build_surfaces(triangles, np.concatenate(owner), np.full(len(triangles), 0.5, np.float32))


def look(
    world: Surfaces, config: SimConfig = EXACT, own: int = -1, pose: Float64 | None = None
) -> tuple[Float32, Int64]:
    return scan(world, pose_xyz_rpy(0, 0, HEIGHT_M) if pose is None else pose, own, keyed_rng(1), config.sensor)


def test_ranges_on_a_plane() -> None:
    points, owner = look(flat_world())
    assert (owner == -1).all()
    np.testing.assert_allclose(points[:, 2], -HEIGHT_M, atol=1e-4)
    # a beam at elevation -e meets the plane at h / sin(e); only those within 70 m return
    beams = np.linspace(-25, 5, 31)
    expected = HEIGHT_M / np.sin(np.radians(-beams[beams < 0]))
    expected = expected[expected < 70]
    ranges = np.linalg.norm(points[:, :3].astype(np.float64), axis=1).reshape(-1, EXACT.columns)
    np.testing.assert_allclose(ranges, np.repeat(expected[:, None], EXACT.columns, axis=1), rtol=1e-4)


def test_columns_are_evenly_spread_in_azimuth() -> None:
    points, _ = look(flat_world())
    azimuth = np.sort(np.arctan2(points[: EXACT.columns, 1], points[: EXACT.columns, 0]))
    np.testing.assert_allclose(np.diff(azimuth), 2 * np.pi / EXACT.columns, atol=1e-4)


def test_a_tilted_sensor_sees_the_same_plane() -> None:
    pose = pose_xyz_rpy(3, -4, HEIGHT_M, 0.02, -0.03, 1.0)
    points, _ = look(flat_world(), pose=pose)
    np.testing.assert_allclose(transform_points(pose, points)[:, 2], 0, atol=2e-4)


def test_a_box_at_a_known_distance() -> None:
    points, owner = look(flat_world((11.0, 0.0, 0.0, 2.0, 6.0, 4.0)))
    front = points[owner == 0]
    np.testing.assert_allclose(front[:, 0], 10.0, atol=1e-4)
    assert np.abs(front[:, 1]).max() <= 3.0 + 1e-4
    assert np.ptp(front[:, 1]) > 5.8
    # columns that meet it: |azimuth| <= atan(3 / 10); beams: its top at z = 4 is above all of them, its foot is at
    # atan(-2 / 10) below the horizon in the middle
    beams = np.linspace(-25, 5, 31)
    column = front[np.abs(front[:, 1]) < 0.05]
    per_column = (np.tan(np.radians(beams)) > -HEIGHT_M / 10).sum()
    assert len(column) % per_column == 0 and len(column) > 0
    azimuths = np.unique(np.round(np.arctan2(front[:, 1], front[:, 0]), 4))
    assert abs(len(azimuths) - 2 * np.arctan(0.3) / (2 * np.pi / EXACT.columns)) <= 1


def test_what_stands_behind_is_not_seen() -> None:
    behind = (20.0, 0.0, 0.3, 4.0, 1.5, 1.5)
    _, alone = look(flat_world((10.0, 40.0, 0.0, 1.0, 12.0, 5.0), behind))
    _, hidden = look(flat_world((10.0, 0.0, 0.0, 1.0, 12.0, 5.0), behind))
    assert (alone == 1).sum() > 50
    assert (hidden == 1).sum() == 0


def test_the_own_body_is_blanked_and_still_blocks() -> None:
    own = (0.0, 0.0, 0.0, 4.5, 1.8, 1.5)
    seen, _ = look(flat_world(own))
    blanked, owner = look(flat_world(own), own=0)
    bare, _ = look(flat_world())
    assert (owner != 0).all()
    assert len(blanked) < len(seen) == len(bare)


def test_range_noise_is_along_the_ray_and_of_the_given_size() -> None:
    world = flat_world()
    clean, _ = look(world)
    noisy, _ = look(world, replace(EXACT, range_sigma_m=0.05))
    assert len(noisy) == len(clean)
    a, b = clean[:, :3].astype(np.float64), noisy[:, :3].astype(np.float64)
    error = np.linalg.norm(b, axis=1) - np.linalg.norm(a, axis=1)
    assert abs(error.mean()) < 0.002 and abs(error.std() - 0.05) < 0.002
    np.testing.assert_allclose(np.cross(a, b) / np.linalg.norm(a, axis=1)[:, None] ** 2, 0, atol=1e-5)


def test_returns_are_lost_at_the_given_rate() -> None:
    world = flat_world()
    n, kept = len(look(world)[0]), len(look(world, replace(EXACT, drop_rate=0.25))[0])
    assert abs(1 - kept / n - 0.25) < 0.02


def test_far_grazing_returns_are_lost_first() -> None:
    world = flat_world()
    faint, clean = look(world, replace(EXACT, faint_power=0.003))[0], look(world)[0]

    def share(low: float, high: float) -> float:
        counts = [((r >= low) & (r < high)).sum() for r in (np.linalg.norm(p[:, :3], axis=1) for p in (faint, clean))]
        return float(counts[0] / counts[1])

    assert share(0, 15) > 0.999 > share(20, 40) > 0.8 > share(50, 70)


def test_intensity_is_in_its_range_and_follows_the_material() -> None:
    world = flat_world((11.0, 0.0, 0.0, 2.0, 6.0, 4.0))
    bright = Surfaces(world.tree, world.owner, np.where(world.owner == 0, 0.9, 0.1).astype(np.float32))
    points, owner = look(bright)
    assert points.dtype == np.float32 and points[:, 3].min() >= 0 and points[:, 3].max() <= 1
    assert points[owner == 0, 3].mean() > 5 * points[owner == -1, 3].mean()


def test_the_same_key_gives_the_same_scan() -> None:
    config = SimConfig()
    first, again = look(flat_world(), config)[0], look(flat_world(), config)[0]
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize("shape", [(1, 8), (4, 1)])
def test_tiny_sensors_work(shape: tuple[int, int]) -> None:
    points, owner = look(flat_world(), replace(EXACT, beams=shape[0], columns=shape[1]))
    assert points.shape == (len(owner), 4) and len(points) > 0
