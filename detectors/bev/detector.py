"""The shipped detector: intermediate fusion in bird's-eye view, behind the protocols of `robosac.types`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from robosac.detectors.bev.ego_frame import EgoFrameDetector
from robosac.detectors.bev.model import FEATURES, BevModel
from robosac.detectors.bev.raster import Raster
from robosac.detectors.bev.session import BevSession
from robosac.detectors.bev.warp import planar, planar_batch, warp
from robosac.detectors.bev.weights import load_network
from robosac.detectors.messages import by_sender, claims_of
from robosac.detectors.sharing import Shareable
from robosac.types import Message, Request, View


class BevDetector(BevModel, Shareable[BevSession]):
    """A collaborative detector of vehicles; see `robosac.detectors.load`.

    A message carries `{"features": (32, H, W) float32}`: a map in the sender's own sensor frame, `(32, 64, 64)` with
    1.2 m cells where the detector is one of the small ones.
    """

    @staticmethod
    def from_file(path: Path, *, device: str = "cpu") -> BevDetector:
        """The detector of a weights file written by `robosac train`."""
        return BevDetector(*load_network(path), device=device, path=path)

    @property
    def calibration_file(self) -> Path | None:
        """The file of its thresholds of agreement, beside the weights. None where it did not come from a file."""
        return None if self.path is None else self.path.with_name(f"{self.name}.calibration.json")

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> BevSession:
        """Encode the ego and bring every message to its frame.

        Raises:
            InputError: if a message does not fit the codec, two come from one sender, or one from the ego.
        """

        def opened() -> BevSession:
            raster = self.raster(ego.points)
            return self.open_encoded(raster, self.features(raster), to, messages)

        return self._session(ego, to, messages, opened)

    def open_encoded(self, raster: Raster, own: Tensor, to: Request, messages: Sequence[Message]) -> BevSession:
        """As `open`, of an ego whose raster and map `(1, 32, H, W)` are known already."""
        received = by_sender(to.ego, self.codec, messages)
        sent, claims = {i: m.payload[FEATURES] for i, m in received.items()}, claims_of(to, received)
        poses = planar_batch([planar(c.ego_T_payload) for c in claims.values()])
        return BevSession(self, raster, own, sent, claims, lambda maps: warp(maps, poses, self.grid))

    def in_ego_frame(self) -> EgoFrameDetector:
        """The same detector with the warp on the sender's side, for attacks after warping (see `EgoFrameDetector`)."""
        return EgoFrameDetector(self)
