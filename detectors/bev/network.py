"""The network: an encoder of rasters, a fusion, and a centre-point head with context.

The encoder (about 80k parameters) runs once an agent and makes the map that is sent: `(32, 64, 64)`, 1.2 m cells, in
the sender's own frame. The head (about 180k parameters) runs once a subset. Objects are found as peaks of a heat map
(Zhou et al., Objects as Points, 2019), each with its box regressed at the peak.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robosac.detectors.bev.config import ModelConfig
from robosac.detectors.bev.fusion import make_fusion
from robosac.detectors.bev.raster import BINS, RASTER
from robosac.types import BevGrid

STRIDE: Final = 4  # raster cells a map cell
CHANNELS: Final = 32  # of the map that is sent
MAP: Final = BevGrid(
    x_min_m=RASTER.x_min_m,
    y_min_m=RASTER.y_min_m,
    cell_m=RASTER.cell_m * STRIDE,
    rows=RASTER.rows // STRIDE,
    cols=RASTER.cols // STRIDE,
)
# Channels of the head's output: heat logit; offset of the centre from the cell's (x, y, in cells); logs of l, w, h
# over the mean car's; z over the ego's ground in metres; sine and cosine of twice the yaw; logit of "points to +x".
HEAT, OFFSET, LOG_SIZE, HEIGHT, AXIS, FORWARD = 0, slice(1, 3), slice(3, 6), 6, slice(7, 9), 9
OUTPUTS: Final = 10
MEAN_SIZE_M: Final = (4.5, 1.9, 1.6)
_PRIOR: Final = 0.01  # share of cells that hold a centre: where the heat starts


class ConvBnRelu(nn.Module):
    """Convolution, batch norm, ReLU; `fold` merges the first two for inference."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.norm(self.conv(x)))

    def fold(self) -> None:
        """Merge the batch norm into the convolution. Inference only."""
        self.conv = fuse_conv_bn_eval(self.conv, cast(nn.BatchNorm2d, self.norm))
        self.norm = nn.Identity()


class Encoder(nn.Module):
    """Rasters `(B, 8, 256, 256)` to maps `(B, 32, 64, 64)`, in [0, 1) where bounded, else in [0, inf)."""

    def __init__(self, width: int, *, bounded: bool) -> None:
        super().__init__()
        self.bounded = bounded
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(STRIDE),
            ConvBnRelu(BINS * STRIDE**2, width, kernel=1),
            ConvBnRelu(width, width),
            ConvBnRelu(width, CHANNELS + 16),
            ConvBnRelu(CHANNELS + 16, CHANNELS, kernel=1),
        )

    def forward(self, raster: Tensor) -> Tensor:
        r: Tensor = self.layers(raster)
        return r / (1 + r) if self.bounded else r


class Head(nn.Module):
    """Fused maps `(B, 32, 64, 64)` to outputs `(B, 10, 64, 64)`, through two coarser levels for context."""

    def __init__(self, width: int, context: int) -> None:
        super().__init__()
        self.stem = ConvBnRelu(CHANNELS, width)
        self.down = nn.Sequential(ConvBnRelu(width, context, stride=2), ConvBnRelu(context, context))
        self.deep = nn.Sequential(ConvBnRelu(context, context, stride=2), ConvBnRelu(context, context))
        self.up_deep = nn.Conv2d(context, context, 1)
        self.up = nn.Conv2d(context, width, 1)
        self.last = ConvBnRelu(width, width)
        self.out = nn.Conv2d(width, OUTPUTS, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            cast(Tensor, self.out.bias)[HEAT] = torch.logit(torch.tensor(_PRIOR))

    def forward(self, fused: Tensor) -> Tensor:
        fine = self.stem(fused)
        middle = self.down(fine)
        deep = self.up_deep(self.deep(middle))
        middle = middle + functional.interpolate(deep, scale_factor=2.0, mode="nearest")
        fine = fine + functional.interpolate(self.up(middle), scale_factor=2.0, mode="nearest")
        return cast(Tensor, self.out(self.last(fine)))


class Network(nn.Module):
    """Encoder, fusion and head; the pieces are called one by one, since each runs a different number of times."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder_width, bounded=config.bounded)
        self.fusion = make_fusion(config.fusion, CHANNELS)
        self.head = Head(config.head_width, config.context_width)

    def inference_copy(self) -> Network:
        """A frozen copy for inference: batch norms folded, no parameter asks for a gradient."""
        net = deepcopy(self).eval()
        for module in net.modules():
            if isinstance(module, ConvBnRelu):
                module.fold()
        return net.requires_grad_(False)
