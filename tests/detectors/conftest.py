from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import nn

from robosac.detectors.bev.config import DecodeConfig, FusionName, ModelConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import HEAT, Network
from robosac.detectors.bev.raster import rasterise, unpack
from robosac.detectors.bev.session import BevSession
from robosac.detectors.bev.weights import Header
from robosac.types import Request
from tests.detectors.synthetic import scene_views

OpenSession = Callable[[FusionName], BevSession]


@cache
def untrained(fusion: FusionName = "mean", *, bounded: bool = True, seed: int = 0) -> BevDetector:
    """A detector of random weights, normalised on one scan, whose heat is spread about 0.5: it finds something."""
    torch.manual_seed(seed)
    model = ModelConfig(fusion=fusion, bounded=bounded)
    net = Network(model)
    with torch.no_grad():
        net.head.out.weight *= 20
        assert net.head.out.bias is not None
        net.head.out.bias[HEAT] = 0.0
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        raster = rasterise(scene_views(agents=1)[0][0].points)
        net.head(net.encoder(torch.from_numpy(unpack(raster.bits)[None])))
    return BevDetector(net, Header(name=f"untrained-{fusion}", model=model, decode=DecodeConfig()))


def session_of(detector: BevDetector, *, agents: int = 4, without: tuple[str, ...] = ()) -> BevSession:
    """A session of the tiny world: ego v0, teammates v1, v2, ..."""
    views, _ = scene_views(agents=agents)
    to = Request.of(views[0])
    return detector.open(views[0], to, [detector.encode(v, to) for v in views[1:] if v.id not in without])


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
