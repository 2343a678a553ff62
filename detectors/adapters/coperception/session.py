"""One ego, one frame of a coperception model: encoded once, fused and decoded for each subset that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robosac import progress
from robosac.capabilities import Claim, Contribution, Outputs
from robosac.detectors.adapters.coperception.decode import DecodeConfig, class_logits, decode
from robosac.detectors.adapters.coperception.fusion import EgoForward, Ready
from robosac.detectors.adapters.coperception.layout import Layout, relative
from robosac.detectors.adapters.coperception.models import FEATURES, Model
from robosac.detectors.adapters.coperception.patches import frozen
from robosac.detectors.messages import check_known
from robosac.detectors.session import SubsetSession
from robosac.detectors.solo import brought
from robosac.types import Detections, Float32, Float64, Id, InputError, Subset

_WHOLE = 0.999  # what is left of a map of ones where all that was read is on the sender's map


@dataclass(frozen=True, eq=False)
class Reading:
    """How a session reads boxes: the layout, the settings, and the lower end of the ego's raster."""

    layout: Layout
    config: DecodeConfig
    floor_m: float

    def detections(self, outputs: Mapping[str, Tensor]) -> Detections:
        return decode(outputs["loc"], outputs["cls"], self.layout, self.config, self.floor_m)


class CoperceptionSession(SubsetSession):
    """Implements `robosac.capabilities.Differentiable`, `RawSession`, `Contributing` and `Solo`.

    Made by `CoperceptionDetector.open`.
    """

    def __init__(
        self,
        model: Model,
        forward: EgoForward,
        reading: Reading,
        world_T_ego: Float64,
        sent: Mapping[Id, Mapping[str, Tensor]],
        poses: Mapping[Id, Float64],
        claims: Mapping[Id, Claim],
        empty: Callable[[], Sequence[Tensor]],
    ) -> None:
        """`sent`, `poses`, `world_T_sender (4, 4)` as claimed, and `claims` by teammate in the order of names; `empty`
        gives the layers of a scan without points.
        """
        super().__init__(claims)
        self._model, self._forward, self._reading = model, forward, reading
        self._sent, self._empty = sent, empty
        self._poses = {i: (relative(poses[i], world_T_ego), relative(world_T_ego, poses[i])) for i in sent}
        with torch.no_grad():
            self._received = {i: self._ready(i, sent[i]) for i in self.ids}

    def _ready(self, teammate: Id, payload: Mapping[str, Tensor]) -> Ready:
        return self._forward.ready(payload, *self._poses[teammate])

    def outputs(self, subset: Subset) -> Outputs:
        """The model's raw outputs for the ego: `loc (256, 256, anchors, 1, 6)` and `cls (256 * 256 * anchors, 2)`.

        Raises:
            InputError: if the subset names a teammate without a message.
        """
        check_known(self.ids, [subset])
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
        check_known(self.ids, [*subsets, frozenset(payloads)])
        received = dict(self._received)
        with frozen(self._model.module):
            for teammate, payload in payloads.items():
                received[teammate] = self._ready(teammate, self._instead(teammate, payload))
            rows = [self._outputs(received, s)["cls"] for s in subsets]
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
            return self._outputs(self._received, subset)

    def _outputs(self, received: Mapping[Id, Ready], subset: Subset) -> dict[str, Tensor]:
        progress.call(f"fusing {len(subset)} teammates")
        return self._forward.outputs({i: received[i] for i in subset})

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        return [self._reading.detections(self._raw(subset)) for subset in subsets]

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        """The model run on one message as if it were the ego's.

        A message holds one layer of five, and the decoder reads all: finer layers are those of an empty scan, coarser
        ones are made of the one sent.
        """
        found = []
        for teammate in (self.ids[row - 1] for row in rows):
            with torch.no_grad():
                outputs = self._forward.alone(self._sent[teammate][FEATURES], self._empty)
            ego_T_sender = self._poses[teammate][1]
            found.append(brought(self._reading.detections(outputs), ego_T_sender, self._reading.layout.grid))
        return found

    def _contribution(self, row: int) -> Contribution:
        """Maps of the layer that is fused, turned from the model's mirrored plane to ours."""
        if row == 0:
            return Contribution(features={FEATURES: _turned(self._forward.own)})
        teammate = self.ids[row - 1]
        if self._model.attends:
            raise InputError(
                "expected a model that brings teammates' maps to the ego's frame, got When2com: without warp_flag it "
                "weighs maps that are in their senders' frames, with it the ego's own map moved to their places"
            )
        warped = self._received[teammate].warped
        with torch.no_grad():
            full = self._model.warped(torch.ones_like(warped[:2]), self._poses[teammate][0])
        return Contribution(features={FEATURES: _turned(warped)}, valid=_turned(full)[0] > _WHOLE)


def _turned(features: Tensor) -> Float32:
    """A map `(C, H, W)` as it is fused, rows along -y and columns along -x, as rows along +y and columns along +x."""
    turned: Float32 = features.detach().flip(1, 2).cpu().numpy().copy()
    return turned
