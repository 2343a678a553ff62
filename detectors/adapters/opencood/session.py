"""One ego, one frame: the rows of all agents lie ready, subsets are fused and decoded from them by the model itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from robosac.detectors.adapters.opencood.batch import Geometry
from robosac.detectors.adapters.opencood.decode import RawDetections
from robosac.detectors.adapters.opencood.engine import Rows
from robosac.detectors.adapters.opencood.messages import PRIOR, safe_prior
from robosac.types import Array, Detections, Id, InputError, Outputs, Subset

if TYPE_CHECKING:
    from robosac.detectors.adapters.opencood.detector import OpenCOODDetector


class OpenCOODSession:
    """Implements `robosac.capabilities.Differentiable` and `RawSession`. Agents are fused in the order of their ids."""

    def __init__(
        self, detector: OpenCOODDetector, ids: Sequence[Id], rows: Rows, geometry: Geometry, alone: Rows
    ) -> None:
        """`rows` are those of the sent taps, the ego's and then one of each of `ids`; `alone` the ego's by itself."""
        self._detector = detector
        self._ids = tuple(ids)
        self._geometry = geometry
        self._sent = rows
        self._rows = {**rows, **detector.engine.derive(rows, geometry)}
        self._alone = {**alone, **detector.engine.derive(alone, geometry.of([0]))}
        self._formats = {name: memory_format(tensor) for name, tensor in self._rows.items()}
        self._done: dict[Subset, RawDetections] = {}

    @property
    def ids(self) -> Sequence[Id]:
        return self._ids

    def detect(self, subsets: Sequence[Subset]) -> list[Detections]:
        """Fuse and decode subsets, those that are new once each. The results are `RawDetections`.

        Raises:
            InputError: if a subset names a teammate without a message.
        """
        for subset in subsets:
            self._decoded(subset)
        return [self._done[subset] for subset in subsets]

    def outputs(self, subset: Subset) -> Outputs:
        """The model's raw outputs of a subset, by the model's own names."""
        return self._decoded(subset).outputs

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Class logits `(S, H, W)`, the best anchor of a cell; differentiable with respect to the payloads.

        What the ego derives from a message is derived anew, inside of the graph.

        Args:
            payloads: teammate -> {array name: tensor}, in place of what they sent; arrays not named stay.
            subsets: teammates fused with the ego, a row each.

        Raises:
            InputError: if a teammate or an array is unknown or a payload misshapen.
        """
        self._members(frozenset(payloads))
        rows, geometry = self._sent, self._geometry
        for teammate, payload in payloads.items():
            rows, geometry = self._with(rows, geometry, 1 + self._ids.index(teammate), payload)
        chosen = [self._members(subset) for subset in subsets]
        decoder = self._detector.decoder
        outputs = [self._run(rows, geometry, members) for members in chosen]
        return torch.stack([decoder.map_of(output[decoder.names[0]]) for output in outputs])

    def _with(self, rows: Rows, geometry: Geometry, row: int, payload: Mapping[str, Any]) -> tuple[Rows, Geometry]:
        """The rows and the geometry with one teammate's payload in place of its message's."""
        unknown = sorted(set(payload) - set(self._detector.codec.arrays))
        if unknown:
            raise InputError(f"expected payloads of {sorted(self._detector.codec.arrays)}, got {unknown}")
        changed = dict(rows)
        for name, value in payload.items():
            if name == PRIOR:
                prior = geometry.prior.copy()
                prior[row] = safe_prior(value.detach().cpu().numpy())
                geometry = Geometry(geometry.pairwise, prior, geometry.correction)
                continue
            if tuple(value.shape) != tuple(rows[name].shape[1:]):
                raise InputError(
                    f"expected {name!r} of {self._ids[row - 1]!r} to be {tuple(rows[name].shape[1:])}, "
                    f"got {tuple(value.shape)}"
                )
            stack = list(changed[name])
            stack[row] = value.to(rows[name])
            changed[name] = torch.stack(stack)
        return changed, geometry

    def _decoded(self, subset: Subset) -> RawDetections:
        if subset not in self._done:
            members = self._members(subset)
            start = time.perf_counter()
            with torch.no_grad():
                output = self._run(self._rows, self._geometry, members)
            raw = as_arrays(output)
            self._done[subset] = self._detector.decoder.decode(raw)
            self._detector.took(len(subset), 1e3 * (time.perf_counter() - start))
        return self._done[subset]

    def _run(self, rows: Rows, geometry: Geometry, members: Sequence[int]) -> Mapping[str, Any]:
        """The model's output for the agents in `members`, the ego first, from their rows."""
        if len(members) == 1:
            rows = {name: self._alone[name] for name in rows}
        index = torch.as_tensor(members, device=self._detector.engine.device)
        chosen = {
            name: tensor.index_select(0, index).contiguous(memory_format=self._formats[name])
            for name, tensor in rows.items()
        }
        return self._detector.engine.replay(chosen, geometry.of(members))

    def _members(self, subset: Subset) -> list[int]:
        """Rows of the ego and of a subset, in order."""
        unknown = sorted(subset - set(self._ids))
        if unknown:
            raise InputError(f"expected subsets of {sorted(self._ids)}, got {unknown}")
        return [0, *(1 + i for i, name in enumerate(self._ids) if name in subset)]


def memory_format(tensor: Tensor) -> torch.memory_format:
    """How a tensor lies in memory. Convolutions have a kernel for each way, and the two round differently."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not tensor.is_contiguous() else torch.contiguous_format


def as_arrays(output: Mapping[str, Any]) -> dict[str, Array]:
    """A model's output as numpy on the CPU; what is no tensor and no number is left out."""
    return {
        name: value.detach().cpu().numpy() if torch.is_tensor(value) else np.asarray(value)
        for name, value in output.items()
        if torch.is_tensor(value) or isinstance(value, (int, float))
    }
