"""Open3D as a second opinion: its ray caster, its PCD reader, and that our pictures come out of it."""

import numpy as np
import pytest

from robosac.viz.viewer import open3d

try:
    o3d = open3d()
except Exception as error:
    pytest.skip(f"no Open3D: {error}", allow_module_level=True)

from matplotlib.image import imread

from robosac import pcd
from robosac.boxes import pose_xyz_rpy
from robosac.cli import main
from robosac.data import safe
from robosac.simulation import scenario
from robosac.simulation.lidar import build_surfaces, cast
from robosac.viz.scene3d import scene_of
from robosac.viz.viewer import render
from tests.data.samples import SAMPLES


@pytest.mark.parametrize("seed", range(3))
def test_both_ray_casters_hit_the_same(seed):
    rng = np.random.default_rng(seed)
    triangles = (rng.uniform(-40, 40, (300, 1, 3)) + rng.normal(0, 4, (300, 3, 3))).astype(np.float32)
    directions = rng.normal(size=(20_000, 3))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(np.float32)
    origin = pose_xyz_rpy(1, 2, 3)[:3, 3]
    ours = cast(build_surfaces(triangles, np.zeros(300, np.int64), np.ones(300, np.float32)), origin, directions, 1e3)

    scene = o3d.t.geometry.RaycastingScene()
    vertices = o3d.core.Tensor(triangles.reshape(-1, 3))
    scene.add_triangles(vertices, o3d.core.Tensor(np.arange(900, dtype=np.uint32).reshape(-1, 3)))
    rays = np.concatenate([np.tile(origin.astype(np.float32), (len(directions), 1)), directions], axis=1)
    theirs = scene.cast_rays(o3d.core.Tensor(rays))
    distance = theirs["t_hit"].numpy()

    hit = np.isfinite(distance)
    assert 0.2 < hit.mean() < 1.0
    # a ray along an edge may go either way, by rounding
    assert ((ours["primID"] >= 0) != hit).mean() < 1e-3
    both = hit & (ours["primID"] >= 0)
    assert (np.abs(ours["tfar"][both] - distance[both]) < 1e-3).mean() > 0.999
    same = ours["primID"][both] == theirs["primitive_ids"].numpy()[both].astype(np.int64)
    assert same.mean() > 0.999


@pytest.mark.parametrize("ascii_", [True, False])
@pytest.mark.parametrize("compressed", [True, False])
def test_both_read_what_the_other_writes(tmp_path, ascii_, compressed):
    xyz = np.random.default_rng(0).normal(0, 30, (500, 3)).astype(np.float32)
    colours = np.random.default_rng(1).integers(0, 256, (500, 3)) / 255
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(xyz.astype(np.float64)))
    cloud.colors = o3d.utility.Vector3dVector(colours)
    path = tmp_path / "theirs.pcd"
    assert o3d.io.write_point_cloud(str(path), cloud, write_ascii=ascii_, compressed=compressed)
    got = safe.read_pcd(path, tmp_path).columns
    np.testing.assert_allclose(np.stack([got[c] for c in "xyz"], axis=1), xyz, atol=1e-4)
    np.testing.assert_array_equal(pcd.colour(got["rgb"]), np.round(colours[:, 0] * 255))

    mine = tmp_path / "mine.pcd"
    mine.write_bytes(pcd.encode({"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "rgb": got["rgb"]}))
    back = o3d.io.read_point_cloud(str(mine))
    np.testing.assert_array_equal(np.asarray(back.points), xyz.astype(np.float64))
    np.testing.assert_allclose(np.asarray(back.colors), colours, atol=1e-6)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="no samples")
def test_both_read_the_samples_alike():
    for path in sorted(SAMPLES.rglob("*.pcd"))[::4]:
        ours = safe.read_pcd(path, SAMPLES).columns
        theirs = np.asarray(o3d.io.read_point_cloud(str(path), remove_nan_points=False).points)
        np.testing.assert_allclose(np.stack([ours[c] for c in "xyz"], axis=1), theirs, atol=1e-5, equal_nan=True)


@pytest.fixture(scope="module")
def drawing():
    """Whether Open3D can draw here without a display; where not, the pictures are not asked for."""
    try:
        o3d.visualization.rendering.OffscreenRenderer(64, 64)
    except RuntimeError as error:
        pytest.skip(f"Open3D cannot draw here: {error}")


@pytest.mark.usefixtures("drawing")
def test_a_frame_off_screen(tmp_path):
    frame, truth = scenario("val", 0).snapshot(0).frame()
    path = render(scene_of(frame, truth_boxes=truth.boxes), tmp_path / "a.png", width=640, height=400)
    image = imread(path)[..., :3]
    assert image.shape == (400, 640, 3)
    assert 0.01 < (np.abs(image - image[0, 0]).max(axis=2) > 0.1).mean() < 0.9  # neither empty nor full


@pytest.mark.usefixtures("drawing")
def test_view_writes_a_scenario(tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["view", "--scenario", "--out", str(tmp_path / "v.png")])
    written = sorted(tmp_path.iterdir())
    assert stop.value.code == 0 and len(written) >= 5 and written[0].name == "v_0000.png"
    assert written[0].read_bytes() != written[-1].read_bytes()


@pytest.mark.usefixtures("drawing")
def test_view_writes_a_picture(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["view", "--detector", "mean", "--out", str(tmp_path / "v.png")])
    assert stop.value.code == 0 and (tmp_path / "v.png").stat().st_size > 10_000
    assert "teammates, in" in capsys.readouterr().out
