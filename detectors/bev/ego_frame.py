"""A shipped detector whose messages are in the ego's frame already: each teammate warps its own map before it sends.

The reference implementation of ROBOSAC (arXiv 2303.09495) perturbs maps after they were warped. That is no message an
attacker can send to the ordinary detector, which warps what it receives; here it is one. Where nobody attacks, results
are bit-identical to the ordinary detector's, so that its name and its calibration hold. For evaluation only: a teammate
has to know the ego's pose before it sends, and its map is cut to the ego's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.bev.model import FEATURES, BevModel
from robosac.detectors.bev.session import BevSession
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.detectors.messages import by_sender, claims_of
from robosac.detectors.sharing import Shareable
from robosac.types import BevGrid, Codec, InputError, Message, Request, View

VALID: Final = "valid"


class EgoFrameDetector(Shareable[BevSession]):
    """`inner` with the warp on the sender's side; see `BevDetector.in_ego_frame`.

    A message carries `{"features": (32, H, W) float32, "valid": (1, H, W) uint8}` in the ego's frame: where `valid`
    is 0 the sender's map does not reach, and its features there are 0 and not read.
    """

    def __init__(self, inner: BevModel) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{self.inner!r}.in_ego_frame()"

    def fingerprint(self) -> list[Any]:
        """The inner detector's, marked."""
        return ["ego-frame", self.inner.fingerprint()]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def grid(self) -> BevGrid:
        return self.inner.grid

    @property
    def reporting_threshold(self) -> float:
        return self.inner.reporting_threshold

    @property
    def label_score(self) -> float:
        return self.inner.label_score

    @property
    def _where(self) -> tuple[int, int, int]:
        return (1, self.grid.rows, self.grid.cols)

    @property
    def codec(self) -> Codec:
        inner = self.inner.codec
        return Codec(f"{inner.name}:ego-frame", {**inner.arrays, VALID: (self._where, "uint8", 0.0, 1.0)})

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends: its map as the ego would have warped it, in the ego's frame."""
        message = self.inner.encode(view, to)
        poses = planar_batch([relative_planar(to.world_T_ego, message.world_T_payload)])
        with torch.no_grad():
            warped, valid = warp(torch.from_numpy(message.payload[FEATURES][None]), poses, self.grid)
        payload = {FEATURES: warped[0].numpy(), VALID: valid[0].numpy().astype(np.uint8)}
        return replace(message, codec=self.codec.name, world_T_payload=to.world_T_ego, payload=payload)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> BevSession:
        """Encode the ego; the messages are ready.

        Raises:
            InputError: as `BevDetector.open`, or if a message is not in the ego's frame.
        """
        return self._session(ego, to, messages, lambda: self._opened(ego, to, messages))

    def _opened(self, ego: View, to: Request, messages: Sequence[Message]) -> BevSession:
        received = by_sender(ego.id, self.codec, messages)
        for name, message in received.items():
            if not np.array_equal(message.world_T_payload, to.world_T_ego):
                raise InputError(f"expected the payload of {name!r} in the frame of the ego, got another pose")
        stacked = [torch.from_numpy(m.payload[VALID].astype(np.float32)) for m in received.values()]
        valid = (torch.stack(stacked) if stacked else torch.zeros(0, *self._where)).to(self.inner.device)

        def bring(sent: Tensor) -> tuple[Tensor, Tensor]:
            return sent * valid, valid

        raster = self.inner.raster(ego.points)
        sent = {i: m.payload[FEATURES] * m.payload[VALID] for i, m in received.items()}
        return BevSession(self.inner, raster, self.inner.features(raster), sent, claims_of(to, received), bring)
