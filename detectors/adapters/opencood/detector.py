"""Any intermediate-fusion model of OpenCOOD behind the protocols of `robosac.types`, by record and replay."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from warnings import warn

import numpy as np
import torch
from torch import Tensor, nn

from robosac import progress
from robosac.boxes import invert_pose, transform_points
from robosac.capabilities import Outputs
from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.assignment import Assignment, read_assignment
from robosac.detectors.adapters.opencood.batch import Cells, Geometry, Hypes, cells_of, pairwise_of, without_body
from robosac.detectors.adapters.opencood.data import DatasetFrames
from robosac.detectors.adapters.opencood.decode import Decoder, RawDetections, check_classes, decoder_of
from robosac.detectors.adapters.opencood.engine import Engine
from robosac.detectors.adapters.opencood.folder import (
    CALIBRATION,
    OF_OTHERS,
    build_dataset,
    load_folder,
    thresholds_of,
)
from robosac.detectors.adapters.opencood.forks import checked_modalities
from robosac.detectors.adapters.opencood.known import spec_of
from robosac.detectors.adapters.opencood.messages import PRIOR, PRIOR_HIGH, check_agents, prior_of, safe_prior
from robosac.detectors.adapters.opencood.session import OpenCOODSession, as_arrays, memory_format
from robosac.detectors.adapters.opencood.specs import Spec
from robosac.detectors.adapters.opencood.views import BatchView, frame_of
from robosac.detectors.device import usable_device
from robosac.detectors.messages import by_sender, checked, claims_of
from robosac.errors import RobosacWarning
from robosac.fingerprint import code_files
from robosac.types import (
    Array,
    BevGrid,
    Codec,
    Detections,
    Float32,
    Float64,
    Frame,
    Id,
    InputError,
    Message,
    Request,
    View,
)


class OpenCOODDetector:
    """A model of the user's own OpenCOOD, wrapped; nothing of it is carried here and nothing of it is changed.

    A message carries what the sender's part of the model computed last (the model's `Spec` says which arrays) and, for
    models that use it, `prior (3,)`: speed / 30 km/h, delay in frames, 1 for a roadside unit. Where the configuration
    projects points to the ego first (`proj_first`, the default) the payload is in the ego's frame.

    An agent whose points are all out of range sends what the model makes of an all-zero canvas; `full` does the same.
    Upstream would lose such an agent's row, or take another's for it. Agents are fused in the order of their ids.
    """

    def __init__(
        self,
        model: nn.Module,
        hypes: Hypes,
        *,
        device: str = "cpu",
        dataset: Any = None,
        name: str | None = None,
        calibration: str | Path | None = None,
        modalities: Mapping[Id, str] | None = None,
    ) -> None:
        """Wrap a model; it is put into evaluation mode and moved to `device`.

        Args:
            model: an instance of a class that has a `Spec`.
            hypes: its configuration as the project's own `load_yaml` returns it.
            dataset: the user's dataset, needed for `own` alone.
            name: stands in results and calibrations; by default the class and a hash of weights and settings.
            calibration: the file of its thresholds of agreement, or the model folder or the checkpoint that they belong
                to. A model in memory does not know its folder.
            modalities: HEAL: the kind (m1, ...) of agents by id; others are of the ego's kind, a batch says its own.

        Raises:
            InputError: if the model or its configuration cannot be wrapped, or `calibration` names neither.
        """
        check_classes(hypes.get("postprocess") or {})
        self.spec: Spec = spec_of(model)
        fusion = hypes.get("fusion") or {}
        method = str(fusion.get("core_method", "IntermediateFusionDataset"))
        if not method.lower().startswith("intermediate"):  # CoAlign: intermediate; HEAL: intermediateheter
            raise InputError(
                f"expected a configuration of intermediate fusion, got {method}; wrap late fusion with "
                "robosac.detectors.LateFusion and early fusion with robosac.detectors.EarlyFusion"
            )
        args = fusion.get("args")
        self.projects_first = bool(args.get("proj_first", True)) if isinstance(args, Mapping) else True
        self.max_cav = int(getattr(model, "max_cav", (hypes.get("train_params") or {}).get("max_cav", 7)))
        self.decoder: Decoder = decoder_of(hypes, self.spec)
        self.hypes, self.dataset = hypes, dataset
        # the file of its thresholds of agreement, beside the weights; None where none was named
        self.calibration_file = thresholds_of(calibration)
        self._modalities = checked_modalities(hypes, self.spec, modalities or {})
        self._assigned = Assignment()
        self.root: str | Path | None = None
        self._given_name = name
        place = usable_device(device)
        self.engine = Engine(model.eval().to(place), self.spec, hypes, place, self.max_cav)

    def __repr__(self) -> str:
        return f"OpenCOODDetector({self.name!r}, device={str(self.engine.device)!r})"

    @staticmethod
    def from_folder(
        folder: str | Path,
        *,
        root: str | Path | None = None,
        checkpoint: str | Path | None = None,
        device: str = "cpu",
        dataset: Any = None,
        modalities: Mapping[Id, str] | None = None,
    ) -> OpenCOODDetector:
        """The model of a folder with `config.yaml` and a checkpoint, as OpenCOOD's training leaves it.

        Args:
            folder: that folder, or a checkpoint in it.
            root: a checkout of OpenCOOD or a fork; None takes the installed one.
            checkpoint: a file of weights; None takes the one that OpenCOOD would take.
            dataset: the user's dataset, needed for `own` alone.
            modalities: as for the constructor; others as HEAL's assignment file says, where the configuration names it.

        Raises:
            InputError: if something is missing or does not fit; the message says what.
        """
        loaded = load_folder(folder, root=root, checkpoint=checkpoint, device=device)
        # those of the weights that the folder stands for, or of weights that were named beside them
        thresholds = CALIBRATION if loaded.usual else f"{loaded.checkpoint.stem}{OF_OTHERS}"
        detector = OpenCOODDetector(loaded.model, loaded.hypes, device=device, dataset=dataset, modalities=modalities)
        detector.root, detector.calibration_file = root, loaded.folder / thresholds
        places = [Path.cwd(), *([] if root is None else [Path(root)]), loaded.folder]
        assigned = read_assignment(loaded.hypes, detector.spec.modalities, places)
        if assigned is not None:
            detector._assigned, detector._modalities = assigned, {**assigned.kinds, **detector._modalities}
        elif len(detector.spec.modalities) > 1 and not modalities:
            warn(
                f"agents are taken for {detector._modalities['']}: the file of heter.assignment_path, which says of "
                f"which kind each is ({', '.join(detector.spec.modalities)}), is not there",
                RobosacWarning,
                stacklevel=2,
            )
        return detector

    # ------------------------------------------------------------------------------------------ what it is
    def fingerprint(self) -> list[Any]:
        """The model's class, code and weights and the settings that shape its results, wherever they come from."""
        shaping = {key: self.hypes.get(key) for key in ("model", "fusion", "preprocess", "postprocess", "heter")}
        model, kinds = self.engine.model, self._modalities
        code = code_files(type(model).__module__)
        return [self.name, type(model).__name__, shaping, self.decoder, self.max_cav, kinds, model.state_dict(), code]

    @cached_property
    def name(self) -> str:
        """The name given, or the class and a hash of the weights and of the settings that shape its results."""
        if self._given_name is not None:
            return self._given_name
        model, digest = self.engine.model, hashlib.sha256()
        for key, value in sorted(model.state_dict().items()):
            digest.update(key.encode())
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
        shaping = {key: self.hypes.get(key) for key in ("fusion", "preprocess", "postprocess")}
        digest.update(json.dumps(shaping, sort_keys=True, default=str).encode())
        return f"opencood-{type(model).__name__}-{digest.hexdigest()[:8]}"

    @property
    def grid(self) -> BevGrid:
        return self.decoder.grid

    @property
    def reporting_threshold(self) -> float:
        """That of the configuration: `postprocess.target_args.score_threshold`."""
        return self.decoder.score_threshold

    @cached_property
    def codec(self) -> Codec:
        arrays: dict[str, tuple[tuple[int | str | None, ...], str, float, float]] = {
            name: (shape, "float32", self.spec.low(name), float("inf"))
            for name, shape in self.engine.layout.shapes.items()
        }
        if self.spec.prior:
            arrays[PRIOR] = ((3,), "float32", 0.0, float(PRIOR_HIGH.max()))
        return Codec(self.name, arrays, max_messages=self._most)

    @property
    def _most(self) -> int | None:
        return self.max_cav - 1 if self.spec.padded else None

    # ------------------------------------------------------------------------------------ robosac.types.Detector
    def encode(self, view: View, to: Request) -> Message:
        """What the agent of `view` honestly sends. The model's forward stops where the sender's part ends."""
        progress.call(f"encoding {view.id}")
        payload: dict[str, Array] = {
            name: rows[0].cpu().numpy() for name, rows in self.engine.encode(self._cells(view, to)).items()
        }
        if self.spec.prior:
            payload[PRIOR] = prior_of(view)
        pose = self._pose(view, to)
        return Message.of(view, to, self.codec.name, MappingProxyType(payload), world_T_payload=pose)

    def open(self, ego: View, to: Request, messages: Sequence[Message]) -> OpenCOODSession:
        """Encode the ego and stack every message's rows under its own.

        Raises:
            InputError: if a message does not fit the codec, two share a link, one comes over the ego's own link, or
                there are more than the model takes.
        """
        check_agents(ego.id, [m.sender for m in messages], self._most)
        received = by_sender(ego.id, self.codec, messages)
        sent = [m.payload for m in received.values()]
        progress.call(f"encoding the ego, {ego.id}")
        rows, cells = {}, self._cells(ego, to)
        alone = self.engine.encode_alone(cells)
        for name, own in (self.engine.encode(cells) if self.engine.pairs else alone).items():
            others = [torch.from_numpy(arrays[name])[None].to(own.device) for arrays in sent]
            rows[name] = torch.cat([own, *others]).contiguous(memory_format=memory_format(own))
        poses = [to.world_T_ego, *(m.world_T_payload for m in received.values())]
        priors = [prior_of(ego), *(safe_prior(arrays.get(PRIOR, np.zeros(3))) for arrays in sent)]
        geometry = self._geometry(ego, list(received), poses, priors)
        return OpenCOODSession(self.engine, self.decoder, claims_of(to, received), rows, geometry, alone)

    # ---------------------------------------------------------------------------------- robosac.capabilities.Verifiable
    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Raw outputs of one unwrapped forward with these agents only, from their points; nothing cached is used.

        Only a tampered message's arrays are put in place of what its agent computes, and only an agent without any
        point in range is helped to its row.

        Raises:
            InputError: as `open`, and if a tampered message belongs to none of `others`.
        """
        views = sorted(others, key=lambda view: view.id)
        ids = [view.id for view in views]
        check_agents(ego.id, ids, self._most)
        poses = [to.world_T_ego, *(self._pose(view, to) for view in views)]
        priors = [prior_of(view) for view in (ego, *views)]
        instead = {}
        for message in tampered:
            if message.sender not in ids:
                raise InputError(f"expected tampered messages of {ids}, got one of {message.sender!r}")
            row, arrays = 1 + ids.index(message.sender), checked(self.codec, message)
            poses[row] = message.world_T_payload
            priors[row] = safe_prior(arrays.get(PRIOR, priors[row]))
            instead[row] = {name: torch.from_numpy(arrays[name]).to(self.engine.device) for name in self.spec.sent}
        progress.call(f"a full forward of {1 + len(views)} agents")
        cells = [self._cells(view, to) for view in (ego, *views)]
        return as_arrays(self.engine.full(cells, self._geometry(ego, ids, poses, priors), instead))

    # -------------------------------------------------------------------------------- a user's own inference loop
    def frame(self, batch: Mapping[str, Any], *, scenario: str = "batch", index: int = 0) -> Frame:
        """A user's own collated test batch as a frame, so that everything which takes a frame takes a batch.

        The teammates are named `agent01`, `agent02`, ... in the order of the batch.

        Raises:
            InputError: if it is not a collated batch of one frame.
        """
        return frame_of(batch, self.hypes, self.spec, scenario, index, moved=self.projects_first)

    def frames(self, folder: str | Path) -> DatasetFrames:
        """The frames of a data set, `folder/<scenario>/<agent>/<time>.{yaml,pcd}`, as OpenCOOD's own dataset reads it.

        Raises:
            InputError: if the folder holds no such data.
        """
        path = Path(folder).expanduser()
        return DatasetFrames(self.frame, build_dataset(self.hypes, path, root=self.root), path.name)

    def own(self, batch: Mapping[str, Any], result: Any) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """`(pred_box_tensor, pred_score, gt_box_tensor)`, as the user's own post-processing returns them.

        `result` is a session's or a verdict's, `batch` the batch it came from. One decode as it is (`RawDetections`) is
        post-processed by the user's own; what a defence composed or ranked gives its boxes, None if there are none.

        Raises:
            InputError: if the detector was made without a dataset, or the result is none.
        """
        if self.dataset is None:
            raise InputError("expected a dataset for its post_process, got none; OpenCOODDetector(..., dataset=yours)")
        if not isinstance(result, Detections):
            raise InputError(f"expected detections, got {type(result).__name__}; hand over verdict.result")
        device = batch["ego"]["record_len"].device
        with bridges.bridged() if bridges.PACKAGE in sys.modules else nullcontext():
            if isinstance(result, RawDetections):
                outputs = {name: torch.as_tensor(value).to(device) for name, value in result.outputs.items()}
                boxes, scores, truth = self.dataset.post_process(batch, {"ego": outputs})
                return boxes, scores, truth
            truth = self.dataset.post_processor.generate_gt_bbx(batch)
        if not len(result):
            return None, None, truth
        corners = torch.from_numpy(self.decoder.corners(result.boxes)).to(device)
        return corners, torch.from_numpy(result.scores).to(device), truth

    # ------------------------------------------------------------------------------------------------ inner parts
    def _pose(self, view: View, to: Request) -> Float64:
        """The frame that an honest payload of `view` is in."""
        return to.world_T_ego if self.projects_first else view.world_T_sensor

    def _cells(self, view: View, to: Request) -> Cells:
        """What the model reads of a view's points."""
        kind = self._modalities.get(view.id, self._modalities[""])
        if not isinstance(view, BatchView):
            if view.id not in self._modalities:
                self._assigned.check(view.id)
            points = without_body(view.points)
        else:
            ready = view.slice_for(to)
            if ready is not None:
                return ready
            points = view.points  # the sensor's own vehicle is out of them already
            kind = view.source.cells[view.row].modality
        if self.projects_first:
            points = transform_points(invert_pose(to.world_T_ego) @ view.world_T_sensor, points)
        return cells_of(points, self.hypes, self.spec.cells, kind)

    def _geometry(self, ego: View, ids: Sequence[str], poses: Sequence[Float64], priors: Sequence[Float32]) -> Geometry:
        """Matrices of the ego and `ids`. What a batch says of agents that keep its poses is taken over."""
        count = len(poses)
        pairwise = np.tile(np.eye(4), (count, count, 1, 1)) if self.projects_first else pairwise_of(poses)
        correction = np.tile(np.eye(4), (count, 1, 1))
        if isinstance(ego, BatchView):
            source, names = ego.source, [ego.id, *ids]
            at = {name: row for row, name in enumerate(source.ids)}
            known = [k for k, n in enumerate(names) if n in at and np.array_equal(poses[k], source.poses[at[n]])]
            kept = source.geometry.of([at[names[k]] for k in known])
            pairwise[np.ix_(known, known)], correction[known] = kept.pairwise, kept.correction
        return Geometry(pairwise, np.stack(priors), correction)
