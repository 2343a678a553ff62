"""The weights of a shipped detector, and what they make of one scan: all that an agent needs to send its map."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from robosac.detectors.bev.network import CHANNELS, Network
from robosac.detectors.bev.raster import Raster, rasterise, unpack
from robosac.detectors.bev.weights import Header
from robosac.detectors.device import usable_device
from robosac.types import Array, BevGrid, Codec, Message, Request, View

FEATURES: Final = "features"
LABEL_SCORE: Final = 0.5


class BevModel:
    """Stateless but for its weights. A map `(32, H, W)` is in the frame of the sensor it came from."""

    def __init__(self, network: Network, header: Header, *, device: str = "cpu", path: Path | None = None) -> None:
        self.header, self.device, self.path = header, usable_device(device), path
        copy = network.inference_copy().to(self.device)
        self.network = copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, fusion={self.header.model.fusion!r})"

    def fingerprint(self) -> list[Any]:
        """Name, settings and weights; the file they came from may have changed since, or moved."""
        return [type(self).__name__, self.header.model_dump(), self.network.state_dict()]

    @property
    def name(self) -> str:
        return f"bev-{self.header.name}"

    @property
    def grid(self) -> BevGrid:
        return self.header.model.map

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(32, H, W)` of what is sent."""
        return (CHANNELS, self.grid.rows, self.grid.cols)

    @property
    def reporting_threshold(self) -> float:
        """Low, so that a curve of precision over recall is whole: most boxes of such a score are no objects."""
        return self.header.decode.score_threshold

    @property
    def label_score(self) -> float:
        """Where it is as likely as not that there is an object."""
        return max(LABEL_SCORE, self.reporting_threshold)

    @property
    def codec(self) -> Codec:
        upper = 1.0 if self.header.model.bounded else float("inf")
        return Codec(self.name, {FEATURES: (self.shape, "float32", 0.0, upper)})

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        features = self.features(self.raster(view.points))
        return Message.of(view, to, self.codec.name, MappingProxyType({FEATURES: features[0].cpu().numpy()}))

    def raster(self, points: Array) -> Raster:
        """The raster of points `(N, >=3)` in their sensor's frame."""
        return rasterise(points, self.header.model.raster)

    def features(self, raster: Raster) -> Tensor:
        """The map `(1, 32, H, W)` of a raster, in its sensor's frame."""
        with torch.no_grad():  # not inference_mode: attacks differentiate through what is made here
            features: Tensor = self.network.encoder(torch.from_numpy(unpack(raster.bits)[None]).to(self.device))
            return features.contiguous(memory_format=torch.contiguous_format)
