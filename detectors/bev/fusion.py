"""Three ways to make one map of the ego's and its teammates': mean, max and attention.

One interface: `fuse(maps (K, C, H, W), valid (K, 1, H, W), members (B, K)) -> (B, C, H, W)`. Map 0 is the ego's; it
is valid everywhere and a member of every subset, so that no cell is ever without a value. `members` is 1 where a map
belongs to a subset. Any number of teammates is fused, in any order. A map changes nothing outside its validity, nor
in a subset that it does not belong to.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from robosac.detectors.bev.config import FusionName
from robosac.types import InputError

_LOGIT_RANGE = 15.0  # a weight of at most e^15 over the ego's: no overflow, and no subset can be starved


class MeanFusion(nn.Module):
    """Mean over the valid maps of a subset; all subsets at once as `(S (w V)) / (S w)`."""

    def forward(self, maps: Tensor, valid: Tensor, members: Tensor) -> Tensor:
        return _weighted_mean(maps, valid, members)


class MaxFusion(nn.Module):
    """Largest value over the valid maps of a subset."""

    def forward(self, maps: Tensor, valid: Tensor, members: Tensor) -> Tensor:
        masked = maps.masked_fill(valid == 0, -torch.inf)
        fused = [masked[row.bool()].amax(dim=0) for row in members]
        return torch.stack(fused)


class AttentionFusion(nn.Module):
    """Per cell, scaled dot-product attention of the ego's query to every valid map of a subset.

    The logits are taken relative to the ego's own, so that a weight does not depend on who else is in the subset and
    all subsets share one pass.
    """

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.query = nn.Conv2d(channels, width, 1)
        self.key = nn.Conv2d(channels, width, 1)
        self.scale = width**-0.5

    def forward(self, maps: Tensor, valid: Tensor, members: Tensor) -> Tensor:
        logit = (self.query(maps[:1]) * self.key(maps)).sum(dim=1, keepdim=True) * self.scale
        weight = torch.exp((logit - logit[:1]).clamp(-_LOGIT_RANGE, _LOGIT_RANGE)) * valid
        return _weighted_mean(maps, weight, members)


def _weighted_mean(maps: Tensor, weight: Tensor, members: Tensor) -> Tensor:
    k, c, h, w = maps.shape
    s = members.to(maps.dtype)
    total = (s @ (maps * weight).reshape(k, -1)).view(len(s), c, h, w)
    return total / (s @ weight.reshape(k, -1)).view(len(s), 1, h, w)


def make_fusion(name: FusionName, channels: int) -> nn.Module:
    """The fusion of the given name for maps of `channels` channels."""
    if name == "mean":
        return MeanFusion()
    if name == "max":
        return MaxFusion()
    if name == "attention":
        return AttentionFusion(channels)
    raise InputError(f"expected a fusion of mean, max or attention, got {name!r}")
