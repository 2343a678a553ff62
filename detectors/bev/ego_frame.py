"""A shipped detector whose messages lie in the ego's frame already: each teammate warps its own map before it sends.

The reference implementation of ROBOSAC (arXiv 2303.09495) perturbs maps after they were warped. That is no message an
attacker can send to the ordinary detector, which warps what it receives; here it is one. Where nobody lies, results are
bit-identical to the ordinary detector's, so that its name and its calibration hold. For evaluation only: a teammate has
to know the ego's pose before it sends, and its map is cut to the ego's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.bev.detector import FEATURES, BevDetector, BevSession
from robosac.detectors.bev.network import MAP
from robosac.detectors.bev.raster import Raster, rasterise
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.detectors.messages import one_each
from robosac.types import Array, BevGrid, Codec, Id, InputError, Message, Request, View

VALID: Final = "valid"
_SHAPE: Final = (1, MAP.rows, MAP.cols)


class EgoFrameDetector:
    """`inner` with the warp on the sender's side; see `BevDetector.in_ego_frame`.

    A message carries `{"features": (32, 64, 64) float32, "valid": (1, 64, 64) uint8}` in the ego's frame: where `valid`
    is 0 the sender's map does not reach, and its features there are 0 and not read.
    """

    def __init__(self, inner: BevDetector) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{self.inner!r}.in_ego_frame()"

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def grid(self) -> BevGrid:
        return self.inner.grid

    @property
    def codec(self) -> Codec:
        inner = self.inner.codec
        return Codec(f"{inner.name}:ego-frame", {**inner.arrays, VALID: (_SHAPE, "uint8", 0.0, 1.0)})

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends: its map as the ego would have warped it, in the ego's frame."""
        message = self.inner.encode(view, to)
        poses = planar_batch([relative_planar(to.world_T_ego, message.world_T_payload)])
        with torch.no_grad():
            warped, valid = warp(torch.from_numpy(message.payload[FEATURES][None]), poses, MAP)
        payload = {FEATURES: warped[0].numpy(), VALID: valid[0].numpy().astype(np.uint8)}
        return replace(message, codec=self.codec.name, world_T_payload=to.world_T_ego, payload=payload)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> EgoFrameSession:
        """Encode the ego; messages lie ready.

        Raises:
            InputError: as `BevDetector.open`, or if a message is not in the ego's frame.
        """
        heard = one_each(ego.id, messages)
        valid = [torch.from_numpy(self._valid(m, to).astype(np.float32)) for m in heard.values()]
        plain = {i: self._plain(m) for i, m in heard.items()}
        carried = torch.stack(valid) if valid else torch.zeros(0, *_SHAPE)
        raster = rasterise(ego.points)
        return EgoFrameSession(self.inner, self.inner.features(raster), raster, to, plain, carried)

    def _valid(self, message: Message, to: Request) -> Array:
        """The validity `(1, 64, 64)` that a message carries, 0 or 1."""
        valid = np.asarray(message.payload.get(VALID))
        if message.codec != self.codec.name or valid.shape != _SHAPE or not np.isin(valid, (0, 1)).all():
            raise InputError(
                f"expected a message of codec {self.codec.name!r} with {VALID!r} {_SHAPE} of 0 and 1, got "
                f"{message.codec!r} with {valid.shape}; encode it with this detector"
            )
        if not np.array_equal(message.world_T_payload, to.world_T_ego):
            raise InputError(f"expected the payload of {message.sender!r} in the frame of the ego, got another pose")
        return valid

    def _plain(self, message: Message) -> Message:
        features = {n: a for n, a in message.payload.items() if n != VALID}
        return replace(message, codec=self.inner.codec.name, payload=features)


class EgoFrameSession(BevSession):
    """A session that does not warp. Features are read where their sender's `valid (A, 1, 64, 64)` says so."""

    def __init__(
        self,
        detector: BevDetector,
        ego_features: Tensor,
        raster: Raster,
        to: Request,
        messages: Mapping[Id, Message],
        valid: Tensor,
    ) -> None:
        self._carried = valid.to(detector.device)
        super().__init__(detector, ego_features, raster, to.world_T_ego, messages)

    def _in_ego_frame(self, sent: Tensor) -> tuple[Tensor, Tensor]:
        valid = self._carried
        return torch.cat([self._ego, sent * valid]), torch.cat([valid.new_ones(1, *_SHAPE), valid])
