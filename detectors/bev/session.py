"""One ego, one frame of the shipped detector: maps are in the ego's frame, subsets are fused and decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from robosac.boxes import pose_xyz_rpy
from robosac.capabilities import Claim, Contribution
from robosac.detectors.bev.decode import box_maps, decode
from robosac.detectors.bev.model import FEATURES, BevModel
from robosac.detectors.bev.network import HEAT
from robosac.detectors.bev.raster import Raster
from robosac.detectors.bev.warp import planar, planar_batch, warp
from robosac.detectors.messages import check_known
from robosac.detectors.session import SubsetSession
from robosac.detectors.solo import brought
from robosac.types import Array, Detections, Id, InputError, Subset

Bring: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Sent maps `(A, 32, H, W)` -> those maps in the ego's frame, and their validity `(A, 1, H, W)` of 0 and 1."""
_HUGE = np.float32(1e6)
_ODD = 0.2  # radians between the axes of two frames, modulo a quarter


class BevSession(SubsetSession):
    """Implements `robosac.capabilities.BoxDifferentiable`, `Contributing` and `Solo`; see `BevDetector.open`."""

    def __init__(
        self,
        model: BevModel,
        raster: Raster,
        own: Tensor,
        sent: Mapping[Id, Array],
        claims: Mapping[Id, Claim],
        bring: Bring,
    ) -> None:
        """
        Args:
            raster: the ego's.
            own: the ego's map `(1, 32, H, W)`.
            sent: teammate -> its map `(32, H, W)` float32, as it was sent. Values beyond +-1e6, which no encoder
                makes, are clipped: subsets share products, and an overflow in one would reach subsets that the sender
                is not in.
            claims: what their messages claim.
            bring: how maps come to the ego's frame.
        """
        super().__init__(claims)
        self._model, self._raster, self._own, self._bring = model, raster, own, bring
        maps = [torch.from_numpy(np.clip(m, -_HUGE, _HUGE)) for m in sent.values()]
        self._sent = (torch.stack(maps) if maps else torch.zeros(0, *model.shape)).to(model.device)
        with torch.no_grad():
            self._maps, self._valid = self._in_ego_frame(self._sent)

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Class logits `(S, H, W)`, on the CPU; differentiable with respect to the payloads.

        Args:
            payloads: teammate -> `{"features": (32, H, W) tensor}`, in place of what they sent; others stay.
            subsets: teammates fused with the ego, a row each.

        Raises:
            InputError: if a teammate is unknown or a payload misshapen.
        """
        return self._output(payloads, subsets)[:, HEAT].cpu()

    def logits_and_boxes(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> tuple[Tensor, Tensor]:
        """As `logits`, with the box `(S, H, W, 7)` in the ego frame that each cell would give."""
        output = self._output(payloads, subsets)
        return output[:, HEAT].cpu(), box_maps(output, self._model.grid, self._raster.plane).cpu()

    def solo_logits_and_boxes(self, payloads: Mapping[Id, Any], teammates: Sequence[Id]) -> tuple[Tensor, Tensor]:
        """What `solo` decodes, densely: class logits `(T, H, W)` and boxes `(T, H, W, 7)`, in the frame that each is
        decoded in and not in the ego's; differentiable with respect to the payloads.

        Raises:
            InputError: as `logits`.
        """
        check_known(self.ids, [frozenset(teammates)])
        rows = [self.ids.index(i) + 1 for i in teammates]
        sent = self._with(payloads)
        output, _ = self._alone(torch.stack([sent[r - 1] for r in rows]), rows)
        return output[:, HEAT].cpu(), box_maps(output, self._model.grid, np.zeros(3)).cpu()

    def _output(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Head outputs `(S, D, H, W)`, differentiable with respect to the payloads."""
        check_known(self.ids, subsets)
        sent = self._with(payloads)
        return self._heads(self._in_ego_frame(torch.stack(sent))[0] if payloads else self._maps, subsets)

    def _with(self, payloads: Mapping[Id, Any]) -> list[Tensor]:
        """The maps sent, these in place of their own."""
        check_known(self.ids, [frozenset(payloads)])
        sent = list(self._sent)
        for teammate, payload in payloads.items():
            features = payload[FEATURES]
            if tuple(features.shape) != self._model.shape:
                shape = self._model.shape
                raise InputError(f"expected the payload of {teammate!r} to be {shape}, got {tuple(features.shape)}")
            sent[self.ids.index(teammate)] = features.to(self._model.device)
        return sent

    def _in_ego_frame(self, sent: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `(A + 1, 32, H, W)`, the ego's first, and their validity `(A + 1, 1, H, W)`."""
        warped, valid = self._bring(sent)
        return torch.cat([self._own, warped]), torch.cat([valid.new_ones(1, 1, *self._own.shape[2:]), valid])

    def _heads(self, maps: Tensor, subsets: Sequence[Subset]) -> Tensor:
        """Head outputs `(S, D, H, W)` of subsets of `maps (A + 1, 32, H, W)`."""
        rows = [[True, *(i in subset for i in self.ids)] for subset in subsets]
        members = torch.tensor(rows, dtype=torch.float32).reshape(len(subsets), len(self.ids) + 1)
        fused = self._model.network.fusion(maps, self._valid, members.to(self._model.device))
        output: Tensor = self._model.network.head(fused.contiguous(memory_format=torch.channels_last))
        return output

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        with torch.inference_mode():
            output = self._heads(self._maps, subsets)
            return decode(output, self._model.grid, self._raster.plane, self._model.header.decode)

    def _contribution(self, row: int) -> Contribution:
        features, valid = self._maps[row].cpu().numpy().copy(), self._valid[row, 0].cpu().numpy() > 0
        return Contribution(features={FEATURES: features}, valid=valid)

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        """Each map fused with nothing and decoded at its sender's place.

        Its axes are the sender's own, unless these are at an odd angle to the ego's, as a road-side unit's are: then
        they are turned to the ego's by the least turn. The head knows egos that drive along their roads, and in other
        frames it takes headings for those of the frame (`python -m benchmarks.solo`). Where the sender's ground is, no
        message tells: boxes stand on the ego's, as they do when maps are fused.
        """
        with torch.inference_mode():
            output, poses = self._alone(self._sent[[r - 1 for r in rows]], rows)
            found = decode(output, self._model.grid, np.zeros(3), self._model.header.decode)
        return [self._on_ground(d, p) for d, p in zip(found, poses.tolist(), strict=True)]

    def _alone(self, sent: Tensor, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Head outputs `(R, D, H, W)` of maps `(R, 32, H, W)` of these rows, and the poses `(R, 3)` of their frames."""
        poses = planar_batch([planar(self.claim(self.ids[r - 1]).ego_T_payload) for r in rows])
        odd = torch.remainder(poses[:, 2] + torch.pi / 4, torch.pi / 2) - torch.pi / 4
        odd = torch.where(odd.abs() > _ODD, odd, 0.0)
        grid = self._model.grid
        everywhere, one = self._own.new_ones(1, 1, grid.rows, grid.cols), self._own.new_ones(1, 1)
        turns = torch.stack([torch.zeros_like(odd), torch.zeros_like(odd), odd], dim=1)
        turned, _ = warp(sent, turns, grid)
        fused = [self._model.network.fusion(m[None], everywhere, one) for m in turned]
        output: Tensor = self._model.network.head(torch.cat(fused).contiguous(memory_format=torch.channels_last))
        return output, poses - turns

    def _on_ground(self, found: Detections, pose: list[float]) -> Detections:
        x, y, yaw = pose
        moved = brought(found, pose_xyz_rpy(x, y, 0.0, yaw_rad=yaw), self._model.grid)
        boxes = moved.boxes.copy()
        a, b, c = self._raster.plane
        boxes[:, 2] += a + b * boxes[:, 0] + c * boxes[:, 1]
        return replace(moved, boxes=boxes)
