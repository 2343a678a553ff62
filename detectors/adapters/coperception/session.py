"""One ego, one frame of a coperception model: encoded once, fused and decoded for each subset that is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robosac.detectors.adapters.coperception.decode import DecodeConfig, class_logits, decode
from robosac.detectors.adapters.coperception.fusion import EgoForward, Heard
from robosac.detectors.adapters.coperception.layout import Layout, relative
from robosac.detectors.adapters.coperception.models import Model, frozen
from robosac.types import Detections, Float64, Id, InputError, Outputs, Subset


@dataclass(frozen=True, eq=False)
class Reading:
    """How a session reads boxes: the layout, the settings, and the lower end of the ego's raster."""

    layout: Layout
    config: DecodeConfig
    floor_m: float

    def detections(self, outputs: Mapping[str, Tensor]) -> Detections:
        return decode(outputs["loc"], outputs["cls"], self.layout, self.config, self.floor_m)


class CoperceptionSession:
    """Implements `robosac.capabilities.Differentiable` and `RawSession`. Made by `CoperceptionDetector.open`."""

    def __init__(
        self,
        model: Model,
        forward: EgoForward,
        reading: Reading,
        world_T_ego: Float64,
        sent: Mapping[Id, Mapping[str, Tensor]],
        poses: Mapping[Id, Float64],
    ) -> None:
        self._model, self._forward, self._reading = model, forward, reading
        self._ids = tuple(sorted(sent))
        self._sent = sent
        self._poses = {i: (relative(poses[i], world_T_ego), relative(world_T_ego, poses[i])) for i in sent}
        self._done: dict[Subset, Detections] = {}
        with torch.no_grad():
            self._heard = {i: self._hear(i, sent[i]) for i in self._ids}

    def _hear(self, teammate: Id, payload: Mapping[str, Tensor]) -> Heard:
        return self._forward.hear(payload, *self._poses[teammate])

    @property
    def ids(self) -> Sequence[Id]:
        return self._ids

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        """Fuse and decode a batch of subsets, those that are new once each.

        Raises:
            InputError: if a subset names a teammate without a message.
        """
        self._check(subsets)
        for subset in subsets:
            if subset not in self._done:
                self._done[subset] = self._fresh(subset)
        return [self._done[s] for s in subsets]

    def outputs(self, subset: Subset) -> Outputs:
        """The model's raw outputs for the ego: `loc (256, 256, anchors, 1, 6)` and `cls (256 * 256 * anchors, 2)`.

        Raises:
            InputError: if the subset names a teammate without a message.
        """
        self._check([subset])
        return {name: array.cpu().numpy() for name, array in self._raw(subset).items()}

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Class logits `(S, 256, 256)`, on the CPU; differentiable with respect to the payloads.

        A cell's logit is the highest of its anchors'; `sigmoid` of it is the score map.

        Args:
            payloads: teammate -> arrays by name as torch tensors, in place of what they sent; others stay.
            subsets: teammates fused with the ego, a row each.

        Raises:
            InputError: if a teammate is unknown or a payload misshapen.
        """
        self._check([*subsets, frozenset(payloads)])
        heard = dict(self._heard)
        with frozen(self._model.module):
            for teammate, payload in payloads.items():
                heard[teammate] = self._hear(teammate, self._instead(teammate, payload))
            rows = [self._forward.outputs({i: heard[i] for i in s})["cls"] for s in subsets]
        return torch.stack([class_logits(cls, self._reading.layout) for cls in rows]).cpu()

    def _instead(self, teammate: Id, payload: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sent = self._sent[teammate]
        wrong = {k: tuple(v.shape) for k, v in payload.items() if k not in sent or v.shape != sent[k].shape}
        if wrong:
            wanted = {k: tuple(v.shape) for k, v in sent.items()}
            raise InputError(f"expected the payload of {teammate!r} to hold {wanted}, got {wrong}")
        return {**sent, **{k: v.to(self._model.device) for k, v in payload.items()}}

    def _raw(self, subset: Subset) -> dict[str, Tensor]:
        with torch.no_grad():
            return self._forward.outputs({i: self._heard[i] for i in subset})

    def _fresh(self, subset: Subset) -> Detections:
        return self._reading.detections(self._raw(subset))

    def _check(self, subsets: Sequence[Subset]) -> None:
        unknown = sorted(set().union(*subsets) - set(self._ids))
        if unknown:
            raise InputError(f"expected subsets of {sorted(self._ids)}, got {unknown}")
