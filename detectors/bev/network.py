"""The network: an encoder of rasters, a fusion, and a centre-point head with context.

The encoder runs once an agent and makes the map that is sent: `(32, H, W)`, in the sender's own frame, `(32, 64, 64)`
with 1.2 m cells in the small models, whose encoders have about 80k parameters and heads about 180k. The head runs once
a subset. Objects are found as peaks of a heat map (Zhou et al., Objects as Points, 2019), each with its box regressed
at the peak.
"""

from __future__ import annotations

from copy import deepcopy
from types import MappingProxyType
from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from robosac.detectors.bev.config import STRIDE, ModelConfig
from robosac.detectors.bev.fusion import make_fusion
from robosac.detectors.bev.raster import BINS

CHANNELS: Final = 32  # of the map that is sent
# Channels of the head's output: heat logit; offset of the centre from the cell's (x, y, in cells); logs of l, w, h
# over the mean car's; z over the ego's ground in metres; sine and cosine of twice the yaw; then, by `heading`, the
# logit of "points to +x", or a vector whose product with either direction along the axis is that direction's logit.
HEAT, OFFSET, LOG_SIZE, HEIGHT, AXIS, FORWARD = 0, slice(1, 3), slice(3, 6), 6, slice(7, 9), 9
HEADING: Final = slice(9, 11)
OUTPUTS: Final = MappingProxyType({"side": 10, "vector": 11})
MEAN_SIZE_M: Final = (4.5, 1.9, 1.6)
_RANGE_M: Final = 50.0  # where the range that an encoder is told is 1
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


class FineEncoder(nn.Module):
    """As `Encoder`, by way of half the raster's resolution, and told how far away each cell is; a coarser level lets
    it look further about. Rasters `(B, 8, 4 H, 4 W)` to maps `(B, 32, H, W)`.
    """

    def __init__(self, fine: int, width: int, context: int, cell_m: float, *, bounded: bool) -> None:
        super().__init__()
        self.bounded, self.cell_m = bounded, cell_m
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), ConvBnRelu(BINS * 4, fine), ConvBnRelu(fine, fine))
        self.down = ConvBnRelu(fine + 1, width, stride=2)
        self.layers = nn.Sequential(ConvBnRelu(width, width), ConvBnRelu(width, width))
        self.wide = nn.Sequential(ConvBnRelu(width, context, stride=2), ConvBnRelu(context, context))
        self.up = nn.Conv2d(context, width, 1)
        self.last = nn.Sequential(ConvBnRelu(width, width), ConvBnRelu(width, CHANNELS, kernel=1))

    def forward(self, raster: Tensor) -> Tensor:
        fine = self.fine(raster)
        here = self.layers(self.down(torch.cat([fine, self._range(fine)], dim=1)))
        here = here + _grow(self.up(self.wide(here)), here)
        r: Tensor = self.last(here)
        return r / (1 + r) if self.bounded else r

    def _range(self, fine: Tensor) -> Tensor:
        """`(B, 1, 2 H, 2 W)`: the distance of each cell from the middle, where the sensor is."""
        rows, cols = fine.shape[-2:]
        y, x = (torch.arange(n, device=fine.device) - (n - 1) / 2 for n in (rows, cols))
        away = torch.hypot(x[None, :], y[:, None]) * (2 * self.cell_m / _RANGE_M)
        return away.to(fine.dtype).expand(len(fine), 1, rows, cols)


class Head(nn.Module):
    """Fused maps `(B, 32, H, W)` to outputs `(B, D, H, W)`, through two or three coarser levels for context."""

    def __init__(self, width: int, context: int, outputs: int, levels: int = 2) -> None:
        super().__init__()
        self.stem = ConvBnRelu(CHANNELS, width)
        self.down = nn.Sequential(ConvBnRelu(width, context, stride=2), ConvBnRelu(context, context))
        self.deep = nn.Sequential(ConvBnRelu(context, context, stride=2), ConvBnRelu(context, context))
        self.up_deep = nn.Conv2d(context, context, 1)
        if levels == 3:
            self.deepest = nn.Sequential(ConvBnRelu(context, context, stride=2), ConvBnRelu(context, context))
            self.up_deepest = nn.Conv2d(context, context, 1)
        self.levels = levels
        self.up = nn.Conv2d(context, width, 1)
        self.last = ConvBnRelu(width, width)
        self.out = nn.Conv2d(width, outputs, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        with torch.no_grad():
            cast(Tensor, self.out.bias)[HEAT] = torch.logit(torch.tensor(_PRIOR))

    def forward(self, fused: Tensor) -> Tensor:
        fine = self.stem(fused)
        middle = self.down(fine)
        deep = self.deep(middle)
        if self.levels == 3:
            deep = deep + _grow(self.up_deepest(self.deepest(deep)), deep)
        middle = middle + _grow(self.up_deep(deep), middle)
        fine = fine + _grow(self.up(middle), fine)
        return cast(Tensor, self.out(self.last(fine)))


def _grow(coarse: Tensor, like: Tensor) -> Tensor:
    """A coarser level at the size of a finer one."""
    return functional.interpolate(coarse, size=like.shape[-2:], mode="nearest")


class Network(nn.Module):
    """Encoder, fusion and head; the pieces are called one by one, since each runs a different number of times."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.encoder: Encoder | FineEncoder
        if config.fine_width:
            self.encoder = FineEncoder(
                config.fine_width, width, config.encoder_context or width, config.cell_m, bounded=config.bounded
            )
        else:
            self.encoder = Encoder(width, bounded=config.bounded)
        self.fusion = make_fusion(config.fusion, CHANNELS)
        self.head = Head(config.head_width, config.context_width, OUTPUTS[config.heading], config.levels)

    def inference_copy(self) -> Network:
        """A frozen copy for inference: batch norms folded, no parameter asks for a gradient."""
        net = deepcopy(self).eval()
        for module in net.modules():
            if isinstance(module, ConvBnRelu):
                module.fold()
        return net.requires_grad_(False)
