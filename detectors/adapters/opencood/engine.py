"""Runs the user's model: one agent's part up to what it sends, any subset from there on, or all of it, unwrapped."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.batch import (
    Cells,
    Data,
    Geometry,
    Hypes,
    assemble,
    cells_of,
    preprocess_of,
    unplaced,
)
from robosac.detectors.adapters.opencood.kernels import as_in_a_batch, contiguous_attention
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.adapters.replay import (
    Act,
    Call,
    chained,
    filling,
    first_argument,
    giving,
    intercepted,
    record,
    replacing,
)
from robosac.types import InputError

Rows: TypeAlias = dict[str, Tensor]  # tap -> (agents, ...)


@dataclass(frozen=True)
class Layout:
    """One agent's share.

    Attributes:
        canvas: shape of its canvas, empty where there is none.
        shapes: shapes of what it sends.
        pairs: whether small maps make its encoding differ in the last bit from what it is among others.
    """

    canvas: tuple[int, ...]
    shapes: Mapping[str, tuple[int, ...]]
    pairs: bool


class Engine:
    """A model, its `Spec` and the device it is on. Patches sit on the one model, so one forward runs at a time."""

    def __init__(self, model: nn.Module, spec: Spec, hypes: Hypes, device: torch.device, max_cav: int) -> None:
        self.model, self.spec, self.device, self.max_cav = model, spec, device, max_cav
        self._hypes = hypes
        self._layouts: dict[str, Layout] = {}
        self._lock = threading.RLock()

    @property
    def pairs(self) -> bool:
        """Whether an agent's encoding differs in the last bit from what it is among others."""
        return any(self.layout_of(modality).pairs for modality in self.spec.modalities or ("",))

    @property
    def layout(self) -> Layout:
        """That of an agent of the first kind; what is sent is alike for all."""
        return self.layout_of(self.spec.modalities[0] if self.spec.modalities else "")

    def layout_of(self, modality: str) -> Layout:
        """What is found by encoding a cloud of two points in the middle of the range."""
        if modality not in self._layouts:
            self._layouts[modality] = self._measured(modality)
        return self._layouts[modality]

    def _measured(self, modality: str) -> Layout:
        low, high = np.split(np.asarray(preprocess_of(self._hypes, modality)["cav_lidar_range"], np.float64), 2)
        middle = np.concatenate([(low + high) / 2 + 0.01, [0.5]])
        points = np.array([middle, middle + np.array([1.0, 1.0, 0.0, 0.0])], np.float32)
        data = self._data([cells_of(points, self._hypes, self.spec.cells, modality)], unplaced(1))
        shapes: list[tuple[int, ...]] = []

        def look(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            shapes.append(tuple(output[key].shape[1:]))
            return output

        spec = self.spec.of(modality)
        site, key = ("", "") if spec.canvas is None else (spec.canvas.site, spec.canvas.fill)
        with as_in_a_batch(self.model, self.device) as paired:
            taken = self._record(data, {(site, 0): look} if key else {}, spec)
        sent = {name: tuple(t.shape[1:]) for name, t in taken.items()}
        return Layout(shapes[0] if shapes else (), sent, bool(paired))

    def encode(self, cells: Cells) -> Rows:
        """The sent taps `(1, ...)` of one agent, as it encodes among others.

        The forward stops once the last of them is there.
        """
        with as_in_a_batch(self.model, self.device):
            return self.encode_alone(cells)

    def encode_alone(self, cells: Cells) -> Rows:
        """The same of an ego without teammates: apart from the last bit of small maps, nothing else."""
        return self._record(self._data([cells], unplaced(1)), self._rescue([cells]), self.spec.of(cells.modality))

    def derive(self, rows: Rows, geometry: Geometry) -> Rows:
        """What the ego makes of the sent rows before it fuses: the derived taps, of all agents in one pass."""
        taps = self.spec.derived_taps
        if not taps:
            return {}
        acts = {**self._skips(len(geometry.prior)), **giving(self.spec.sent_taps, rows)}
        data = self._data(None, geometry)
        with self._alone(), torch.no_grad():
            return record(self.model, taps, lambda: self.model(data), acts=acts, replaying=True)

    def replay(self, rows: Rows, geometry: Geometry) -> Mapping[str, Any]:
        """The model's output from rows of the taps: of all of them, or of the sent ones alone."""
        given = giving([tap for tap in self.spec.taps if tap.name in rows], rows)
        data = self._data(None, geometry)
        skips = self._skips(len(geometry.prior))
        with self._alone(), contiguous_attention(self.model, self.device), intercepted(self.model, {**skips, **given}):
            output: Mapping[str, Any] = self.model(data)
            return output

    def full(self, cells: Sequence[Cells], geometry: Geometry, tampered: Mapping[int, Rows]) -> Mapping[str, Any]:
        """The model's output by its own forward, with what the agents in `tampered` (row -> sent taps) send replaced.

        Only an agent without any point in range is helped to its row.
        """
        acts = self._rescue(cells)
        for row, values in tampered.items():
            kind = cells[row].modality
            alike = sum(c.modality == kind for c in cells[:row])  # its row among those of its kind
            for tap in self.spec.of(kind).sent_taps:
                apart = bool(kind) and tap.site.endswith(f"_{kind}")
                acts = chained(acts, replacing([tap], alike if apart else row, values))
        data = self._data(cells, geometry)
        with self._alone(), torch.no_grad(), intercepted(self.model, acts):
            output: Mapping[str, Any] = self.model(data)
            return output

    # ------------------------------------------------------------------------------------------------------ parts
    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread runs the model, and what its forward looks up in libraries of its time is there.

        Raises:
            InputError: the forward asks for more than points and poses, or for a GPU.
        """
        with ExitStack() as stack:
            stack.enter_context(self._lock)
            if bridges.PACKAGE in sys.modules:
                stack.enter_context(bridges.bridged())
            try:
                yield
            except KeyError as error:
                raise InputError(
                    f"expected {type(self.model).__name__} to need points and poses alone, its forward asked for "
                    f"{error}; cameras and radars are not read here"
                ) from error
            except AssertionError as error:
                if "CUDA" not in str(error):
                    raise
                raise InputError(f"expected {type(self.model).__name__} to run on {self.device}: {error}") from error

    def _data(self, cells: Sequence[Cells] | None, geometry: Geometry) -> Data:
        padded_to = self.max_cav if self.spec.padded else None
        bev, modalities = self.spec.cells == "bev", self.spec.modalities
        return assemble(cells, geometry, self.device, padded_to=padded_to, bev=bev, modalities=modalities)

    def _record(self, data: Data, acts: Mapping[Call, Act], spec: Spec) -> Rows:
        with self._alone(), torch.no_grad():  # not inference_mode: attacks differentiate through what is made here
            return record(self.model, spec.sent_taps, lambda: self.model(data), acts=acts)

    def _skips(self, count: int) -> dict[Call, Act]:
        canvas = torch.zeros(1, device=self.device).expand(count, *self.layout.canvas) if self.spec.canvas else None
        return {
            (s.site, s.call): first_argument if s.fill is None else filling(s.fill, canvas) for s in self.spec.skips
        }

    def _rescue(self, cells: Sequence[Cells]) -> dict[Call, Act]:
        """Acts that give an agent without voxels its all-zero canvas; none where every agent has some.

        Upstream takes the number of rows from the highest agent index among the voxels: without this the row of an
        empty last agent would be missing, and the features of the others would be dealt out wrongly.
        """
        acts: dict[Call, Act] = {}
        for kind in sorted({c.modality for c in cells}):
            acts.update(self._rescue_kind([c for c in cells if c.modality == kind], kind))
        return acts

    def _rescue_kind(self, cells: Sequence[Cells], kind: str) -> dict[Call, Act]:
        spec = self.spec.of(kind)
        canvas = spec.canvas
        if canvas is None or canvas.fill is None or not any(c.empty for c in cells):
            return {}
        key, count = canvas.fill, len(cells)
        if all(c.empty for c in cells):  # upstream has no rows to begin with
            zeros = torch.zeros(count, *self.layout_of(kind).canvas, device=self.device)
            before = spec.skips[: spec.skips.index(canvas)]
            return {**{(s.site, 0): first_argument for s in before}, (canvas.site, 0): filling(key, zeros)}

        def pad(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            output = original(*args, **kwargs)
            rows = output[key]
            return {**output, key: torch.cat([rows, rows.new_zeros(count - len(rows), *rows.shape[1:])])}

        return {(canvas.site, 0): pad}
