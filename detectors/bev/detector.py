"""The shipped detector: intermediate fusion in bird's-eye view, behind the protocols of `robosac.types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.bev.config import DecodeConfig
from robosac.detectors.bev.decode import box_maps, decode
from robosac.detectors.bev.network import CHANNELS, HEAT, MAP, Network
from robosac.detectors.bev.raster import Raster, rasterise, unpack
from robosac.detectors.bev.warp import planar_batch, relative_planar, warp
from robosac.detectors.bev.weights import Header, load_network
from robosac.detectors.device import usable_device
from robosac.detectors.messages import one_each
from robosac.types import (
    Array,
    BevGrid,
    Codec,
    Detections,
    Float64,
    Id,
    InputError,
    Message,
    Request,
    Subset,
    View,
)

if TYPE_CHECKING:
    from robosac.detectors.bev.ego_frame import EgoFrameDetector

FEATURES: Final = "features"
_SHAPE: Final = (CHANNELS, MAP.rows, MAP.cols)
_HUGE: Final = np.float32(1e6)


class BevDetector:
    """A collaborative detector of vehicles. Stateless but for its weights; see `robosac.detectors.load`.

    A message carries `{"features": (32, 64, 64) float32}`: a map of 1.2 m cells in the sender's own sensor frame.
    """

    def __init__(self, network: Network, header: Header, *, device: str = "cpu", path: Path | None = None) -> None:
        self.header, self.device, self.path = header, usable_device(device), path
        copy = network.inference_copy().to(self.device)
        self.network = copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __repr__(self) -> str:
        return f"BevDetector({self.name!r}, fusion={self.header.model.fusion!r})"

    @staticmethod
    def from_file(path: Path, *, device: str = "cpu") -> BevDetector:
        """The detector of a weights file written by `robosac train`."""
        return BevDetector(*load_network(path), device=device, path=path)

    @property
    def name(self) -> str:
        return f"bev-{self.header.name}"

    @property
    def grid(self) -> BevGrid:
        return MAP

    @property
    def calibration_file(self) -> Path | None:
        """Where its thresholds of agreement lie: beside the weights. None where it did not come from a file."""
        return None if self.path is None else self.path.with_name(f"{self.name}.calibration.json")

    @property
    def codec(self) -> Codec:
        upper = 1.0 if self.header.model.bounded else float("inf")
        return Codec(self.name, {FEATURES: (_SHAPE, "float32", 0.0, upper)})

    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        features = self.features(rasterise(view.points))
        return Message.of(view, to, self.codec.name, MappingProxyType({FEATURES: features[0].cpu().numpy()}))

    def features(self, raster: Raster) -> Tensor:
        """The map `(1, 32, 64, 64)` of a raster, in its sensor's frame."""
        with torch.no_grad():  # not inference_mode: attacks differentiate through what is made here
            features: Tensor = self.network.encoder(torch.from_numpy(unpack(raster.bits)[None]).to(self.device))
            return features.contiguous(memory_format=torch.contiguous_format)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> BevSession:
        """Encode the ego and bring every message to its frame.

        Raises:
            InputError: if a message does not fit the codec, two share a link, or one comes over the ego's own link.
        """
        heard = one_each(ego.id, messages)
        raster = rasterise(ego.points)
        return BevSession(self, self.features(raster), raster, to.world_T_ego, heard)

    def in_ego_frame(self) -> EgoFrameDetector:
        """The same detector with the warp on the sender's side, for attacks after warping (see `EgoFrameDetector`)."""
        from robosac.detectors.bev.ego_frame import EgoFrameDetector

        return EgoFrameDetector(self)

    def checked(self, message: Message) -> Array:
        """The map `(32, 64, 64)` float32 of a message that fits the codec; InputError otherwise.

        Values beyond +-1e6, which no encoder makes, are clipped: subsets share products, and an overflow in one
        would reach subsets that the sender is not in.
        """
        if message.codec != self.codec.name:
            raise InputError(f"expected a message of codec {self.codec.name!r}, got {message.codec!r}")
        if set(message.payload) != {FEATURES}:
            raise InputError(f"expected the payload to hold {FEATURES!r} alone, got {sorted(message.payload)}")
        features = np.asarray(message.payload[FEATURES])
        if features.shape != _SHAPE or features.dtype.kind != "f":
            raise InputError(
                f"expected {FEATURES!r} from {message.sender!r} to be {_SHAPE} float32, "
                f"got {features.shape} {features.dtype}"
            )
        features = features.astype(np.float32, copy=False)
        # A NaN would reach subsets that the sender is not in: 0 * NaN is NaN.
        if not (np.isfinite(features).all() and np.isfinite(message.world_T_payload).all()):
            raise InputError(f"expected finite {FEATURES!r} and pose from {message.sender!r}, got NaN or inf")
        return np.asarray(np.clip(features, -_HUGE, _HUGE))


class BevSession:
    """One ego, one frame. Implements `robosac.capabilities.BoxDifferentiable`.

    The ego's and the teammates' maps lie ready in the ego's frame; subsets are fused and decoded on demand, each once.
    """

    def __init__(
        self,
        detector: BevDetector,
        ego_features: Tensor,
        raster: Raster,
        world_T_ego: Float64,
        messages: Mapping[Id, Message],
    ) -> None:
        self._detector = detector
        self._ids = tuple(messages)
        self._raster = raster
        self._done: dict[Subset, Detections] = {}
        self._ego = ego_features
        sent = [torch.from_numpy(detector.checked(m)) for m in messages.values()]
        self._sent = (torch.stack(sent) if sent else torch.zeros(0, *_SHAPE)).to(detector.device)
        self._poses = planar_batch([relative_planar(world_T_ego, m.world_T_payload) for m in messages.values()])
        with torch.no_grad():
            self._maps, self._valid = self._in_ego_frame(self._sent)

    def _in_ego_frame(self, sent: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `(A + 1, 32, 64, 64)`, the ego's first, and their validity `(A + 1, 1, 64, 64)`."""
        warped, valid = warp(sent, self._poses, MAP)
        return torch.cat([self._ego, warped]), torch.cat([valid.new_ones(1, 1, MAP.rows, MAP.cols), valid])

    @property
    def ids(self) -> Sequence[Id]:
        return self._ids

    def coverage(self, teammate: Id) -> float:
        """Share of the ego's map, in [0, 1], that a teammate's map covers by its claimed pose."""
        self._members([frozenset({teammate})])
        return float(self._valid[1 + self._ids.index(teammate)].mean())

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        """Fuse and decode a batch of subsets, those that are new once each.

        Raises:
            InputError: if a subset names a teammate without a message.
        """
        members = self._members(subsets)
        new = {s: i for i, s in enumerate(subsets) if s not in self._done}
        if new:
            with torch.inference_mode():
                output = self._decode_maps(self._maps, members[list(new.values())])
                found = decode(output, self._raster.plane, self._config)
            self._done.update(zip(new, found, strict=True))
        return [self._done[s] for s in subsets]

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Class logits `(S, 64, 64)`, on the CPU; differentiable with respect to the payloads.

        Args:
            payloads: teammate -> `{"features": (32, 64, 64) tensor}`, in place of what they sent; others stay.
            subsets: teammates fused with the ego, a row each.

        Raises:
            InputError: if a teammate is unknown or a payload misshapen.
        """
        return self._output(payloads, subsets)[:, HEAT].cpu()

    def logits_and_boxes(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> tuple[Tensor, Tensor]:
        """As `logits`, with the box `(S, 64, 64, 7)` in the ego frame that each cell would give."""
        output = self._output(payloads, subsets)
        return output[:, HEAT].cpu(), box_maps(output, self._raster.plane).cpu()

    def _output(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Head outputs `(S, 10, 64, 64)`, differentiable with respect to the payloads."""
        members = self._members([*subsets, frozenset(payloads)])[:-1]
        sent = list(self._sent)
        for teammate, payload in payloads.items():
            features = payload[FEATURES]
            if tuple(features.shape) != _SHAPE:
                raise InputError(f"expected the payload of {teammate!r} to be {_SHAPE}, got {tuple(features.shape)}")
            sent[self._ids.index(teammate)] = features.to(self._detector.device)
        maps, _ = self._in_ego_frame(torch.stack(sent)) if payloads else (self._maps, None)
        return self._decode_maps(maps, members)

    @property
    def _config(self) -> DecodeConfig:
        return self._detector.header.decode

    def _decode_maps(self, maps: Tensor, members: Tensor) -> Tensor:
        """Head outputs `(B, 10, 64, 64)` of subsets `members (B, A + 1)`."""
        network = self._detector.network
        fused = network.fusion(maps, self._valid, members)
        output: Tensor = network.head(fused.contiguous(memory_format=torch.channels_last))
        return output

    def _members(self, subsets: Sequence[Subset]) -> Tensor:
        """Membership `(B, A + 1)` of 0 and 1, the ego's column first and all 1."""
        unknown = sorted(set().union(*subsets) - set(self._ids))
        if unknown:
            raise InputError(f"expected subsets of {sorted(self._ids)}, got {unknown}")
        rows = [[True, *(i in subset for i in self._ids)] for subset in subsets]
        members = torch.tensor(rows, dtype=torch.float32).reshape(len(subsets), len(self._ids) + 1)
        return members.to(self._detector.device)
