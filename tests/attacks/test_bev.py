"""The attacks on the project's own detector, with random weights: gradients pass the warp into the sender's frame."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from robosac import attacks
from robosac.air import Air
from robosac.boxes import transform_points
from robosac.detectors.bev.config import DecodeConfig, ModelConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.weights import Header
from robosac.types import Request, View, keyed_rng


@pytest.fixture(scope="module")
def detector():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = ModelConfig()
        return BevDetector(Network(model), Header(name="random", model=model, decode=DecodeConfig()))


def at(name, x_m, yaw):
    points = keyed_rng(0, name).uniform([-35, -35, -2, 0], [35, 35, 2, 1], (3000, 4)).astype(np.float32)
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[0, 3] = x_m
    return View(name, "vehicle", 0, points, pose)


@pytest.fixture(scope="module")
def air(detector):
    ego, views = at("e", 0.0, 0.3), {"a": at("a", 25.0, 1.2), "b": at("b", -10.0, -2.0), "c": at("c", 5.0, 0.0)}
    to = Request.of(ego)
    sent = {name: detector.encode(v, to) for name, v in views.items()}
    own = {name: views[name] for name in "ab"}
    return Air("s", 0, to, own, {n: sent[n] for n in own}, attacks.Pgd().knowledge, detector, {"c": sent["c"]}, ego)


def full(air, messages):
    session = air.detector.open(air.ego, air.to, [*air.others.values(), *messages])
    return session.logits({}, [frozenset("abc")])


def test_bim_raises_the_background_and_touches_only_what_the_ego_can_see(air):
    sent = attacks.Bim().start("s", frozenset("ab"), np.random.default_rng(0)).send(air)
    assert full(air, sent).mean() > full(air, air.honest.values()).mean()
    grid = air.detector.grid
    row, col = np.mgrid[: grid.rows, : grid.cols]
    centres = np.stack(
        [grid.x_min_m + (col + 0.5) * grid.cell_m, grid.y_min_m + (row + 0.5) * grid.cell_m, 0 * row], -1
    ).reshape(-1, 3)
    for message in sent:
        ego_T_sender = np.linalg.inv(air.to.world_T_ego) @ message.world_T_payload
        xy = transform_points(ego_T_sender, centres)[:, :2]
        beyond = (np.abs(xy) > -grid.x_min_m + 2 * grid.cell_m).any(axis=1).reshape(grid.rows, grid.cols)
        well_inside = (np.abs(xy) < -grid.x_min_m - 2 * grid.cell_m).all(axis=1).reshape(grid.rows, grid.cols)
        changed = (message.payload["features"] != air.honest[message.sender].payload["features"]).any(axis=0)
        assert beyond.sum() > 100 and not changed[beyond].any()
        assert changed[well_inside].mean() > 0.99


@pytest.mark.parametrize("name", ["bim", "cw", "noise", "pgd", "pgd_balanced"])
def test_what_is_sent_is_a_valid_message(air, name):
    attack = attacks.load(name, epsilon=0.3)
    for message in attack.start("s", frozenset("ab"), np.random.default_rng(0)).send(air):
        shape, dtype, low, high = air.codec.arrays["features"]
        features = message.payload["features"]
        assert features.shape == shape and features.dtype == dtype
        assert low <= features.min() and features.max() <= high
        clean = air.honest[message.sender].payload["features"].astype(np.float64)
        assert np.abs(features.astype(np.float64) - clean).max() <= 0.3
