"""One ego, one frame: the rows of all agents are there, subsets are fused and decoded from them by the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from robosac import progress
from robosac.capabilities import Claim, Contribution, Outputs
from robosac.detectors.adapters.opencood.batch import Geometry
from robosac.detectors.adapters.opencood.contribution import in_ego_frame
from robosac.detectors.adapters.opencood.decode import Decoder, RawDetections
from robosac.detectors.adapters.opencood.engine import Engine, Rows
from robosac.detectors.adapters.opencood.messages import PRIOR, safe_prior
from robosac.detectors.messages import check_known
from robosac.detectors.session import SubsetSession
from robosac.detectors.solo import brought
from robosac.types import Array, Detections, Id, InputError, Subset


class OpenCOODSession(SubsetSession):
    """Implements `robosac.capabilities.Differentiable`, `RawSession`, `Contributing` and `Solo`.

    Agents are fused in the order of their ids. Results are `RawDetections`.
    """

    def __init__(
        self,
        engine: Engine,
        decoder: Decoder,
        claims: Mapping[Id, Claim],
        rows: Rows,
        geometry: Geometry,
        alone: Rows,
    ) -> None:
        """`rows` are those of the sent taps, the ego's and then one each of `claims`; `alone` the ego's by itself."""
        super().__init__(claims)
        self._engine, self._decoder = engine, decoder
        self._geometry = geometry
        self._sent = rows
        self._rows = {**rows, **engine.derive(rows, geometry)}
        self._alone = {**alone, **engine.derive(alone, geometry.of([0]))}
        self._formats = {name: memory_format(tensor) for name, tensor in self._rows.items()}

    def outputs(self, subset: Subset) -> Outputs:
        """The model's raw outputs of a subset, by the model's own names."""
        found = self.detect([subset])[0]
        assert isinstance(found, RawDetections)
        return found.outputs

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Tensor:
        """Class logits `(S, H, W)`, the best anchor of a cell; differentiable with respect to the payloads.

        What the ego derives from a message is derived anew, inside of the graph.

        Args:
            payloads: teammate -> {array name: tensor}, in place of what they sent; arrays not named stay.
            subsets: teammates fused with the ego, a row each.

        Raises:
            InputError: if a teammate or an array is unknown or a payload misshapen.
        """
        check_known(self.ids, [*subsets, frozenset(payloads)])
        rows, geometry = self._sent, self._geometry
        for teammate, payload in payloads.items():
            rows, geometry = self._with(rows, geometry, 1 + self.ids.index(teammate), payload)
        outputs = [self._run(rows, geometry, subset) for subset in subsets]
        return torch.stack([self._decoder.map_of(output[self._decoder.names[0]]) for output in outputs])

    def _with(self, rows: Rows, geometry: Geometry, row: int, payload: Mapping[str, Any]) -> tuple[Rows, Geometry]:
        """The rows and the geometry with one teammate's payload in place of its message's."""
        known = {*rows, *([PRIOR] if self._engine.spec.prior else [])}
        if set(payload) - known:
            raise InputError(f"expected payloads of {sorted(known)}, got {sorted(set(payload) - known)}")
        changed = dict(rows)
        for name, value in payload.items():
            if name == PRIOR:
                prior = geometry.prior.copy()
                prior[row] = safe_prior(value.detach().cpu().numpy())
                geometry = Geometry(geometry.pairwise, prior, geometry.correction)
                continue
            if tuple(value.shape) != tuple(rows[name].shape[1:]):
                raise InputError(
                    f"expected {name!r} of {self.ids[row - 1]!r} to be {tuple(rows[name].shape[1:])}, "
                    f"got {tuple(value.shape)}"
                )
            stack = list(changed[name])
            stack[row] = value.to(rows[name])
            changed[name] = torch.stack(stack)
        return changed, geometry

    def _decode(self, subsets: Sequence[Subset]) -> Sequence[Detections]:
        with torch.no_grad():
            outputs = [as_arrays(self._run(self._rows, self._geometry, subset)) for subset in subsets]
        return [self._decoder.decode(raw) for raw in outputs]

    def _contribution(self, row: int) -> Contribution:
        maps = {name: tensor[row] for name, tensor in self._rows.items()}
        return in_ego_frame(maps, self._geometry.pairwise[row, 0], self._engine.spec, self._decoder.grid)

    def _solo(self, rows: Sequence[int]) -> Sequence[Detections]:
        """The model run with one message's rows as if they were the ego's, in the frame of its payload."""
        with torch.no_grad():
            outputs = [as_arrays(self._run_alone(row)) for row in rows]
        poses = [self._geometry.pairwise[row, 0] for row in rows]
        return [brought(self._decoder.decode(o), p, self._decoder.grid) for o, p in zip(outputs, poses, strict=True)]

    def _run_alone(self, row: int) -> Mapping[str, Any]:
        sent = {
            name: tensor[row : row + 1].contiguous(memory_format=self._formats[name])
            for name, tensor in self._sent.items()
        }
        geometry = self._geometry.of([row])
        return self._engine.replay({**sent, **self._engine.derive(sent, geometry)}, geometry)

    def _run(self, rows: Rows, geometry: Geometry, subset: Subset) -> Mapping[str, Any]:
        """The model's output for the ego and the agents of a subset, in the order of `ids`, from their rows."""
        progress.call(f"fusing {len(subset)} teammates")
        members = [0, *(1 + i for i, name in enumerate(self.ids) if name in subset)]
        if len(members) == 1:
            rows = {name: self._alone[name] for name in rows}
        index = torch.as_tensor(members, device=self._engine.device)
        chosen = {
            name: tensor.index_select(0, index).contiguous(memory_format=self._formats[name])
            for name, tensor in rows.items()
        }
        return self._engine.replay(chosen, geometry.of(members))


def memory_format(tensor: Tensor) -> torch.memory_format:
    """The memory format of a tensor. Convolutions have a kernel for each way, and the two round differently."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last and not tensor.is_contiguous() else torch.contiguous_format


def as_arrays(output: Mapping[str, Any]) -> dict[str, Array]:
    """A model's tensors as numpy on the CPU. What is none is left out, like numbers that count what was sent."""
    return {name: value.detach().cpu().numpy() for name, value in output.items() if torch.is_tensor(value)}
