"""coperception's own loader on the parsed layout that our tests write: voxels, boxes and poses as our reader's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robosac.boxes import wrap_angle
from robosac.data.v2xsim_npy import V2XSimNpy, decode
from robosac.simulation import SimConfig, scenario
from tests.adapters.coperception_case import needed, part
from tests.data.v2xsim import write_npy

pytestmark = needed


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    simulated = scenario("val", 0, config=SimConfig(n_vehicles=2, n_frames=2, beams=16, columns=512))
    snapshots = {(5, k): simulated.snapshot(k) for k in range(2)}
    return write_npy(tmp_path_factory.mktemp("parsed") / "test", snapshots)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_their_loader_and_ours_say_the_same(number: int, root: Path) -> None:
    configs, datasets, boxes = part("configs"), part("datasets"), part("utils.obj_util")
    config = configs.Config("test", binary=True, only_det=True)
    whole = configs.ConfigGlobal("test", binary=True, only_det=True)
    theirs = datasets.V2XSimDet(
        dataset_roots=[str(root / f"agent{k}") for k in range(6)], config=config, config_global=whole, split="test",
        val=True, bound="lowerbound", rsu=True,
    )  # fmt: skip
    assert len(theirs) == 2
    sample, ours, tick = theirs[1][number], V2XSimNpy(root), "5_1"
    bev, target, anchors, named, trans = sample[0], sample[3], sample[5], sample[7][0]["gt_box"], sample[11]

    occupied = np.argwhere(np.rot90(bev[0], 1))  # back from the turn that their loader makes
    low = (-128, -128, -20 if number == 0 else -8)
    centres = (occupied + np.array(low) + 0.5) * [0.25, 0.25, 0.4]
    found = ours.view("scene_5", tick, f"agent{number}").points[:, :3]
    np.testing.assert_allclose(found[np.lexsort(found.T)], centres[np.lexsort(centres.T)], atol=1e-5)

    expected = []
    codes = []
    for i, j, k, _ in named:
        x, y, w, length, sin, cos = boxes.bev_box_decode_np(target[i, j, k, 0], anchors[i, j, k])
        expected.append([x, y, length, w, np.pi / 2 - np.arctan2(sin, cos)])
        codes.append(target[i, j, k, 0])
    decoded = decode(np.asarray(named)[:, :3], np.asarray(codes, np.float64))[:, [0, 1, 3, 4, 6]]
    np.testing.assert_allclose(decoded[:, :4], np.array(expected)[:, :4], atol=1e-4)
    assert np.abs(wrap_angle(decoded[:, 4] - np.array(expected)[:, 4])).max() < 1e-4
    listed, _ = ours._boxes(tick, f"agent{number}")
    assert len(listed) == len(expected) > 0

    for other in (1, 2):  # trans[j] brings j into this agent's frame
        here, there = (ours.pose("scene_5", tick, f"agent{k}") for k in (number, other))
        np.testing.assert_allclose(np.linalg.inv(here) @ there, trans[other], atol=1e-6)
