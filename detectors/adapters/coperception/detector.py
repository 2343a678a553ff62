"""coperception's fusion models behind the protocols of `robosac.types`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robosac import progress
from robosac.capabilities import Outputs
from robosac.detectors.adapters.coperception import bridges, checkpoint
from robosac.detectors.adapters.coperception.decode import DecodeConfig
from robosac.detectors.adapters.coperception.full import forward
from robosac.detectors.adapters.coperception.fusion import EgoForward
from robosac.detectors.adapters.coperception.layout import Layout, bev_of, frame_of, slots
from robosac.detectors.adapters.coperception.models import (
    ALIASES,
    CLASSES,
    FEATURES,
    INFERENCES,
    KEY,
    LONE,
    Encoding,
    Model,
    build,
    no_fusion,
)
from robosac.detectors.adapters.coperception.session import CoperceptionSession, Reading
from robosac.detectors.checkpoints import calibration_named, load_all
from robosac.detectors.device import usable_device
from robosac.detectors.messages import by_sender, check_names, checked, claims_of
from robosac.types import Array, BevGrid, Codec, Frame, InputError, Message, Request, View

_INF = float("inf")


class CoperceptionDetector:
    """A fusion model of coperception. Implements `Detector` and `Verifiable`; its sessions `Differentiable` and more.

    A message carries `features`, the sender's map at the model's layer (256 x 32 x 32 at layer 3; the compressed one
    where the model compresses), in the sender's own sensor frame, and for When2com its `key` beside it.

    Args:
        model: an instance of one of coperception's fusion classes, or in nn.DataParallel, in evaluation mode, on the
            device it shall run on. It is used as it is and not changed. While it is in use here, it is in use.
        layout: raster and anchors, where they are not those of coperception's own Config.
        decode: thresholds of the boxes; the default is coperception's own.
        inference: of When2com: `softmax`, `argmax_test` or `activated`.
        roadside: whether slot 0 of the user's own tensors is the road-side unit; None: if there are 6 slots.
        name: names the detector in results and calibration files.
        path: the checkpoint it came from.
        calibration: the file of its thresholds of agreement, or the folder that it lies in as `NAME.calibration.json`;
            None takes the file beside `path`. A model in memory knows neither.

    Raises:
        InputError: if the model is of a class or has settings that cannot be wrapped, or `calibration` names nothing;
            the message says which.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        layout: Layout | None = None,
        decode: DecodeConfig | None = None,
        inference: str = "activated",
        roadside: bool | None = None,
        name: str | None = None,
        path: Path | None = None,
        calibration: str | Path | None = None,
    ) -> None:
        self.model = Model(model)
        self.layout, self.decode = layout or Layout(), decode or DecodeConfig()
        self.inference, self.path = inference, path
        self.roadside = self.model.agents == 6 if roadside is None else roadside
        self.name = name or f"coperception-{self.model.kind}"
        self._calibration = calibration_named(calibration, f"{self.name}.calibration.json")
        _check(self.model, self.layout, inference)

    def __repr__(self) -> str:
        return f"CoperceptionDetector({type(self.model.module).__name__}, name={self.name!r})"

    @staticmethod
    def from_checkpoint(
        path: str | Path,
        *,
        model: str = "mean",
        root: str | Path | None = None,
        device: str = "cpu",
        agents: int = 6,
        layer: int = 3,
        decode: DecodeConfig | None = None,
        inference: str = "activated",
        roadside: bool | None = None,
        **options: Any,
    ) -> CoperceptionDetector:
        """The model of a checkpoint that coperception's training wrote (`epoch_N.pth`).

        Args:
            model: mean, max, sum, cat, agent, v2v, disco or when2com (who2com: when2com with `argmax_test`); the words
                of `--com` of coperception's tools, and agentwise, v2vnet, disconet. Mean, max and sum have the same
                parameters: only you know which one it was.
            root: a checkout of coperception; None: the installed one.
            agents: slots of the model: 6 with a road-side unit, 5 without.
            options: `gnn_iter_times` for v2v (3), `warp_flag` for when2com (0), as in training.

        Raises:
            InputError: if the file is missing or no checkpoint of this model, or coperception cannot be imported.
        """
        file = Path(path)
        model = ALIASES.get(model, model)
        if model == "who2com":
            model, inference = "when2com", "argmax_test"
        if model in LONE:
            raise InputError(no_fusion(f"{LONE[model]} ({model})"))
        if model not in CLASSES:
            raise InputError(f"expected a model among {', '.join(CLASSES)}, got {model!r}")
        where = usable_device(device)
        state = checkpoint.read(file)
        checkpoint.check_class(state, model, file)
        det, configs = bridges.load(root)
        config = configs.Config("train", binary=True, only_det=True)
        level = checkpoint.compress_level(state)
        module = build(det, config, model, agents=agents, layer=layer, compress_level=level, options=options)
        load_all(module, state, file, "give the layer, agents and options it was trained with")
        module = module.eval().requires_grad_(False).to(where)
        layout = Layout.of(config)
        name = f"coperception-{model}-{file.stem}"
        return CoperceptionDetector(
            module, layout=layout, decode=decode, inference=inference, roadside=roadside, name=name, path=file
        )

    # ----------------------------------------------------------------------------------------------- what it is
    def fingerprint(self) -> list[Any]:
        """The model, its name, and how boxes are read of it, wherever it came from."""
        return [self.name, self.model.fingerprint(), self.layout, self.decode, self.inference]

    @property
    def grid(self) -> BevGrid:
        return self.layout.grid

    @property
    def reporting_threshold(self) -> float:
        return self.decode.score_threshold

    @property
    def calibration_file(self) -> Path | None:
        """The file of its thresholds of agreement: as named, or beside the checkpoint. None where there is neither."""
        if self._calibration is not None:
            return self._calibration
        return None if self.path is None else self.path.with_name(f"{self.name}.calibration.json")

    @cached_property
    def codec(self) -> Codec:
        lower = {FEATURES: 0.0, KEY: -_INF}  # features come out of a rectifier
        shapes = self.model.payload_shapes(self.layout.cells)
        arrays = {name: (shape, "float32", lower[name], _INF) for name, shape in shapes.items()}
        return Codec(self.name, arrays, max_messages=self.model.agents - 1)

    # ----------------------------------------------------------------------------------------------- the protocol
    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends."""
        progress.call(f"encoding {view.id}")
        payload = self.model.encode(bev_of(view, self.layout)).payload
        arrays = {name: array.cpu().numpy() for name, array in payload.items()}
        return Message.of(view, to, self.codec.name, MappingProxyType(arrays))

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> CoperceptionSession:
        """Encode the ego and bring every message to its frame.

        Raises:
            InputError: if a message does not fit the codec, two share a link, one comes over the ego's own link, or
                there are more than the model has slots for.
        """
        check_names(ego.id, [m.sender for m in messages])
        slots([ego.id, *(m.sender for m in messages)], self.model.agents)
        received = by_sender(ego.id, self.codec, messages)
        sent = {i: self._tensors(m.payload) for i, m in received.items()}
        poses = {i: np.asarray(m.world_T_payload, np.float64) for i, m in received.items()}
        progress.call(f"encoding the ego, {ego.id}")
        encoding = self.model.encode(bev_of(ego, self.layout))
        absent = self._absent if self.model.attends else None
        forward = EgoForward(self.model, ego.id, encoding, absent, self.inference)
        return CoperceptionSession(
            self.model,
            forward,
            self._reading(ego),
            to.world_T_ego,
            sent,
            poses,
            claims_of(to, received),
            lambda: self._empty.layers,
        )

    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Raw outputs `loc`, `cls` of the ego in one forward of the model as it is, all other slots empty.

        Agents sit in slots in the order of their names. V2VNet's and AgentWise's own forwards fail on an ego alone;
        see `robosac.detectors.adapters.coperception.full` for what is done there.

        Raises:
            InputError: if there are more agents than slots, or a tampered message is of nobody among them.
        """
        views = {v.id: v for v in (ego, *others)}
        seats = slots(list(views), self.model.agents)
        strangers = sorted({m.sender for m in tampered} - {v.id for v in others})
        if strangers:
            raise InputError(f"expected tampered messages of {sorted(v.id for v in others)}, got {strangers}")
        poses = {i: v.world_T_sensor for i, v in views.items()} | {m.sender: m.world_T_payload for m in tampered}
        poses[ego.id] = to.world_T_ego
        progress.call(f"a full forward for all {self.model.agents} slots")
        outputs = forward(
            self.model,
            [bev_of(views[i], self.layout) for i in seats],
            [np.asarray(poses[i], np.float64) for i in seats],
            seats[ego.id],
            self.inference,
            {seats[m.sender]: self._tensors(checked(self.codec, m)) for m in tampered},
        )
        return {name: array.cpu().numpy() for name, array in outputs.items()}

    # ------------------------------------------------------------------------------------- the user's own tensors
    def frame(
        self,
        bev: Any,
        trans_matrices: Any,
        num_agent: Any,
        *,
        ego: int | str,
        scenario: str = "batch",
        index: int = 0,
        t_ns: int = 0,
    ) -> Frame:
        """A frame from what coperception's own loop feeds its model, batch size 1, torch or numpy.

        Args:
            bev: `(agents, 1, 256, 256, 13)`; slots from `num_agent` on are empty.
            trans_matrices: `(1, agents, agents, 4, 4)`, `[0, i, j]` from j to i. The ego's frame serves as the world.
            num_agent: `(1, agents)`, its first entry counts.
            ego: its slot, or its name: agents are named `agent0`, `agent1`, ... by their slots.

        Raises:
            InputError: if shapes, counts or the ego do not fit.
        """
        return frame_of(
            self.layout,
            bev,
            trans_matrices,
            num_agent,
            ego=ego,
            roadside=self.roadside,
            scenario=scenario,
            index=index,
            t_ns=t_ns,
        )

    # --------------------------------------------------------------------------------------------------- inside
    @cached_property
    def _absent(self) -> Encoding:
        """What an empty slot gives, which When2com listens to as well."""
        return replace(self._empty, layers=(), query=None)

    @cached_property
    def _empty(self) -> Encoding:
        """What a raster without points gives."""
        return self.model.encode(np.zeros(self.layout.shape, np.float32))

    def _reading(self, ego: View) -> Reading:
        return Reading(self.layout, self.decode, self.layout.z_range_of(ego.kind)[0])

    def _tensors(self, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
        return {name: torch.tensor(array, device=self.model.device) for name, array in arrays.items()}


def _check(model: Model, layout: Layout, inference: str) -> None:
    anchors = model.module.anchor_num_per_loc
    if anchors != len(layout.anchors):
        raise InputError(f"expected a model of {len(layout.anchors)} anchors a cell, got {anchors}; give its `layout`")
    if inference not in INFERENCES:
        raise InputError(f"expected inference among {', '.join(INFERENCES)}, got {inference!r}")
    if model.attends and inference == "argmax_test" and model.layer != 3:
        raise InputError(f"expected layer 3 for argmax_test, got {model.layer}: its own forward fails on others")
