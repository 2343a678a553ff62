"""What `robosac simulate` writes, read by OpenCOOD's own loader and by ours: one ground truth, one set of points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from robosac.boxes import corners_bev, invert_pose, wrap_angle
from robosac.cli.simulate import Simulate, write
from robosac.data.dataset import DataSet
from robosac.data.opv2v import OPV2V
from robosac.data.truth import boxes_in
from robosac.detectors.adapters.opencood import bridges, folder
from robosac.detectors.adapters.opencood.hypes import load_hypes
from robosac.simulation import SimConfig
from robosac.types import Float64
from tests.adapters.hypes import point_pillar
from tests.adapters.test_opencood_folder import ROOT, legacy, pytestmark

__all__ = ["pytestmark"]  # skips where there is no OpenCOOD
RANGE = [-140.8, -40.0, -3.0, 140.8, 40.0, 1.0]  # the published one; the test's filter is +-140 x +-40
LEVEL = SimConfig(n_vehicles=3, n_frames=2, beams=24, columns=512, max_grade=0.0, sensor_tilt_deg=0.0)
# A tilted sensor: that loader lays boxes flat by their corners, ours by their axes, and both are right
WORLDS = {"level": (LEVEL, 1e-4, 1e-5), "sloped": (replace(LEVEL, max_grade=0.03, sensor_tilt_deg=1.0), 0.05, 0.005)}


@dataclass(frozen=True, kw_only=True)
class Worlds(Simulate):
    """Scenes with settings that the command has no options for."""

    world: SimConfig

    @property
    def config(self) -> SimConfig:  # type: ignore[override]
        return self.world


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, float, float]:
    """A split, and how near boxes must be: metres, radians."""
    config, near_m, near_rad = WORLDS[request.param]
    config = replace(config, roadside=not legacy())  # of mid-2022 it takes a road-side unit for the ego
    write(Worlds(out=tmp_path, scenes=2, split="val", frames=config.n_frames, jobs=1, world=config))
    return tmp_path / "val", near_m, near_rad


def theirs(split: Path, place: Path) -> Any:
    """OpenCOOD's dataset of a split."""
    (place / "config.yaml").write_text(yaml.safe_dump(point_pillar("point_pillar_fcooper", lidar_range=RANGE)))
    return folder.build_dataset(load_hypes(place / "config.yaml", ROOT), split, root=ROOT)


def within(boxes: Float64, half_m: tuple[float, float]) -> Any:
    """Boxes `(G,)` with all corners in a rectangle, seen from above, and from 3 m below the ego's LiDAR to 1 above."""
    high = np.abs(boxes[:, 2] + 1) + boxes[:, 5] / 2
    return (np.abs(corners_bev(boxes)) < half_m).all(axis=(1, 2)) & (high < 2)


def test_the_ground_truth_is_the_same(world: tuple[Path, float, float], tmp_path: Path) -> None:
    split, near_m, near_rad = world
    dataset, ours = theirs(split, tmp_path), DataSet(OPV2V(split))
    assert len(dataset) == len(ours) == 4
    for k, (frame, truth) in enumerate(ours):
        sample = dataset[k]["ego"]
        assert sample["cav_num"] == 1 + len(frame.others)
        found = sample["object_bbx_center"][sample["object_bbx_mask"] == 1].astype(np.float64)
        read = dict(zip(map(int, sample["object_ids"]), found[:, [0, 1, 2, 5, 4, 3, 6]], strict=True))
        mine = dict(zip(truth.track_ids.tolist(), truth.boxes.astype(np.float64), strict=True))
        own = int(frame.ego.id)  # that loader leaves the ego's own body in, where others list it
        assert own not in mine
        assert set(read) - {own} <= set(mine)
        inner = within(truth.boxes.astype(np.float64), (139.0, 39.0))
        assert {int(t) for t in truth.track_ids[inner]} <= set(read)
        assert len(read) >= 15
        for name in set(read) - {own}:
            np.testing.assert_allclose(read[name][:6], mine[name][:6], atol=near_m)
            turn = wrap_angle(read[name][6] - mine[name][6])
            assert abs(turn) < near_rad, (name, turn)


def test_the_ego_s_own_body_is_under_its_name(world: tuple[Path, float, float], tmp_path: Path) -> None:
    split, near_m, _ = world
    dataset, reader = theirs(split, tmp_path), OPV2V(split)
    seen = 0
    for k, (frame, truth) in enumerate(DataSet(reader)):
        sample = dataset[k]["ego"]
        names = [int(i) for i in sample["object_ids"]]
        objects = reader.labels(frame.scenario, reader.ticks(frame.scenario)[frame.index], list(truth.world_T_sensor))
        assert (frame.ego.id in objects.ids) == (int(frame.ego.id) in names)
        if frame.ego.id in objects.ids:
            box = boxes_in(objects, invert_pose(frame.ego.world_T_sensor))[objects.ids.index(frame.ego.id)]
            assert np.hypot(box[0], box[1]) < 1.0 and box[2] < 0  # the LiDAR stands on it
            found = sample["object_bbx_center"][names.index(int(frame.ego.id))]
            np.testing.assert_allclose(found[:3], box[:3], atol=near_m)
            seen += 1
    assert seen


def test_points_and_poses_are_the_same(world: tuple[Path, float, float], tmp_path: Path) -> None:
    split, _, _ = world
    dataset, ours = theirs(split, tmp_path), DataSet(OPV2V(split))
    transformation = bridges.import_module("opencood.utils.transformation_utils", ROOT)
    for k in (0, 3):
        frame, _ = ours[k]
        with bridges.bridged(ROOT):
            base = dataset.retrieve_base_data(k)
        views = {frame.ego.id: frame.ego, **frame.others}
        assert [a for a, content in base.items() if content["ego"]] == [frame.ego.id]
        assert set(views) <= set(base)
        for name, view in views.items():
            np.testing.assert_allclose(base[name]["lidar_np"], view.points, atol=1e-6)
            pose = transformation.x_to_world(base[name]["params"]["lidar_pose"])
            np.testing.assert_allclose(pose, view.world_T_sensor, atol=1e-12)
