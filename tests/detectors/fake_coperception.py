"""A small model with the public surface of coperception's fusion classes: rasters of 32 x 32 x 13, no training.

It is written from what the adapter asks of a model, so that the adapter's laws are tested where no framework is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from robosac.boxes import pose_xyz_rpy
from robosac.detectors.adapters.coperception import Layout
from robosac.types import Frame, View, keyed_rng

LAYOUT = Layout(extent_m=4.0)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.compress_level = 0
        self.conv_pre_1 = nn.Conv2d(13, 512, 3, padding=1)

    def forward(self, bevs: Tensor) -> list[Tensor]:
        x = torch.relu(self.conv_pre_1(bevs[:, 0]))
        return [functional.avg_pool2d(x[:, :c], 2**i) for i, c in enumerate((32, 64, 128, 256, 512))]


class FusionBase(nn.Module):
    """The base class by name; a subclass of one's own is wrapped by this name."""

    def __init__(self, agents: int = 4) -> None:
        super().__init__()
        self.agent_num, self.layer, self.num_agent = agents, 3, 0
        self.p_com_outage, self.only_v2i, self.motion_state = 0.0, False, False
        self.category_num, self.out_seq_len, self.anchor_num_per_loc = 2, 1, 6
        self.neighbor_feat_list: list[Tensor] = []
        self.tg_agent: Any = None
        self.u_encoder = Encoder()
        self.head = nn.Conv2d(256 + 32, 6 * (2 + 6), 1)

    def fusion(self) -> Tensor:
        raise NotImplementedError

    @staticmethod
    def feature_transformation(
        b: int, j: int, agent_idx: int, maps: Tensor, all_warp: Tensor, device: Any, size: Any, trans: Tensor
    ) -> Tensor:
        matrix = trans[b, j, agent_idx].float()
        theta = torch.cat([matrix[:2, :2], -matrix[:2, 3:] / 4.0], dim=1)[None]
        grid = functional.affine_grid(theta, list(size), align_corners=False)
        return functional.grid_sample(maps[b, j][None], grid, align_corners=False)[0]

    def get_decoded_layers(self, layers: list[Tensor], fused: Tensor, batch_size: int) -> list[Tensor]:
        layers[self.layer] = fused
        return [torch.cat([layers[0], functional.interpolate(fused, scale_factor=8)], dim=1)]

    def get_cls_loc_result(self, x: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        y = self.head(x).permute(0, 2, 3, 1)
        cls = y[..., :12].reshape(len(x), -1, 2)
        loc = y[..., 12:].reshape(len(x), *y.shape[1:3], 6, 1, 6)
        return cls, loc, {"loc": loc, "cls": cls}

    def forward(self, bevs: Tensor, trans: Tensor, count: Tensor, batch_size: int = 1) -> dict[str, Tensor]:
        layers = self.u_encoder(bevs.permute(0, 1, 4, 2, 3))
        maps = torch.flip(layers[3], (2,))[None]
        fused = maps.clone()
        self.num_agent = int(count[0, 0])
        for i in range(self.num_agent):
            self.tg_agent = maps[0, i]
            others = [j for j in range(self.num_agent) if j != i]
            warped = [self.feature_transformation(0, j, i, maps, trans, None, (1, 256, 4, 4), trans) for j in others]
            self.neighbor_feat_list = [self.tg_agent, *warped]
            fused[0, i] = self.fusion()
        x = self.get_decoded_layers(layers, torch.flip(fused[0], (2,)), 1)[0]
        return self.get_cls_loc_result(x)[2]


class MeanFusion(FusionBase):
    def fusion(self) -> Tensor:
        return torch.mean(torch.stack(self.neighbor_feat_list), dim=0)


class AgentWiseWeightedFusion(FusionBase):
    """Fails on a single agent, as coperception's does."""

    def fusion(self) -> Tensor:
        if self.num_agent == 1:
            raise IndexError("invalid index of a 0-dim tensor")
        return sum(self.neighbor_feat_list) / self.num_agent  # type: ignore[return-value]


class HalfFusion(FusionBase):
    """Somebody's own."""

    def fusion(self) -> Tensor:
        return self.tg_agent / 2 + torch.stack(self.neighbor_feat_list).amax(dim=0) / 2  # type: ignore[no-any-return]


class FaFNet(nn.Module):
    """Sees one scan and fuses nothing."""


def model(kind: type[FusionBase] = MeanFusion, *, agents: int = 4, seed: int = 0) -> FusionBase:
    """A model of random weights, in evaluation mode, whose scores are spread about 0.5."""
    torch.manual_seed(seed)
    made = kind(agents).eval()
    with torch.no_grad():
        made.head.weight *= 20
    return made


def view(name: str, *, kind: str = "vehicle", points: int = 300) -> View:
    """An agent near the origin of the world, any heading, with random points about it."""
    rng = keyed_rng(3, name)
    xyz = rng.uniform([-4, -4, -3], [4, 4, 2], (points, 3)) - [0, 0, 5.0 if kind == "roadside" else 0.0]
    pose = pose_xyz_rpy(*rng.uniform(-2, 2, 2), 1.0, yaw_rad=float(rng.uniform(-3, 3)))
    return View(name, kind, 0, np.c_[xyz, np.ones(points)].astype(np.float32), pose)


def frame(names: str = "abcd", ego: str = "b") -> Frame:
    """A frame of agents named by letters; `r` is a road-side unit."""
    views = {n: view(n, kind="roadside" if n == "r" else "vehicle") for n in names}
    return Frame("fake", 0, views.pop(ego), views)
