"""The steps of a training run, and the choice of its weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from robosac.detectors import WEIGHTS
from robosac.detectors.bev.config import OptimConfig, TrainConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import Network
from robosac.detectors.bev.training.batches import Batch, draw_batch
from robosac.detectors.bev.training.checkpoint import Checkpoint, Log, Progress, copied
from robosac.detectors.bev.training.dataset import CachedFrame
from robosac.detectors.bev.training.targets import loss
from robosac.detectors.bev.training.validation import validate
from robosac.detectors.bev.warp import warp
from robosac.detectors.bev.weights import Header, load_network
from robosac.detectors.device import mixed, usable_device
from robosac.fingerprint import fingerprint
from robosac.types import BevGrid, InputError, keyed_rng

_SAVE_S: Final = 60.0  # between checkpoints


class Run:
    """One training run: network, average, optimiser and schedule.

    The same settings and frames give the same weights at a fixed number of threads, in one sitting or several.
    """

    def __init__(
        self,
        settings: TrainConfig,
        frames: Sequence[CachedFrame],
        validation: Sequence[Sequence[CachedFrame]] = (),
        *,
        device: str = "cpu",
        log: Log = print,
    ) -> None:
        self.settings, self._frames, self._log = settings, frames, log
        self._validation = _spread(validation, settings.optim.val_frames)
        self._device = torch.device(usable_device(device))
        optim = settings.optim
        torch.manual_seed(settings.seed)
        self._net = initial(settings, log).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._averaged = averaging(self._net, optim.ema)
        self._optimiser = torch.optim.AdamW(self._net.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
        self._schedule = _schedule(self._optimiser, optim)
        self._progress = Progress()

    def key(self, data: str) -> str:
        """Names the run: what is trained, on what. A number of steps that decides nothing yet is left out, so that a
        run may go on with another as long as its rate has not begun to fall."""
        plain = self.settings.model_dump()
        if self.settings.optim.decay_steps:
            plain["optim"] = {k: v for k, v in plain["optim"].items() if k not in ("steps", "decay_steps", "patience")}
        return fingerprint(plain, data, len(self._frames), len(self._validation))

    @property
    def parts(self) -> Mapping[str, Any]:
        """What a checkpoint holds of the run."""
        return {
            "net": self._net,
            "averaged": self._averaged,
            "optimiser": self._optimiser,
            "schedule": self._schedule,
        }

    def weights(self) -> Network:
        """The weights to keep: the average's, of the best validation where there was one."""
        net = Network(self.settings.model)
        net.load_state_dict(self._progress.best or copied(self._averaged.module))
        return net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]

    def train(self, checkpoint: Checkpoint | None = None) -> Progress:
        """All steps that are left, up to the last or to where validation stops them."""
        optim = self.settings.optim
        self._progress = progress = checkpoint.load(self._log) if checkpoint else Progress()
        plan, progress.plan = progress.plan or [optim.steps, optim.decay_steps], [optim.steps, optim.decay_steps]
        if plan != progress.plan and progress.step > plan[0] - plan[1]:
            raise InputError(
                f"expected steps {plan[0]} and decay_steps {plan[1]}, by which the rate has begun to fall at step "
                f"{progress.step}; got {progress.plan[0]} and {progress.plan[1]}"
            )
        every = min(50, optim.steps)
        began, saved = time.perf_counter() - progress.seconds, time.perf_counter()
        self._net.train()
        try:
            while progress.step < optim.steps and not self._is_settled():
                row = progress.add(self._step(progress.step), every)
                now = time.perf_counter()
                progress.seconds = now - began
                if row:
                    shown = " ".join(f"{k} {v:g}" for k, v in progress.curve[-1].items() if k != "step")
                    pace = f"{progress.seconds / progress.step:.2f} s a step"
                    self._log(f"step {progress.step}/{optim.steps} {progress.seconds:.0f} s ({pace}) {shown}")
                if optim.validate_every and progress.step % optim.validate_every == 0:
                    self._validate()
                if checkpoint and now - saved > _SAVE_S:
                    checkpoint.save(progress)
                    saved = now
        except KeyboardInterrupt:
            if checkpoint:
                checkpoint.save(progress)
            raise
        if checkpoint:
            checkpoint.save(progress)  # what is left is validation, and may be killed too
        return progress

    def _step(self, step: int) -> dict[str, Tensor]:
        optim, frames = self.settings.optim, self._frames
        rng = keyed_rng(self.settings.seed, "train", step)
        chosen = rng.choice(len(frames), size=min(optim.frames_per_step, len(frames)), replace=False)
        batch = draw_batch([frames[int(i)] for i in chosen], self.settings, rng).to(self._device)
        with mixed(self._device, wanted=optim.bf16):
            output = forward(self._net, batch, self.settings.model.map)
        losses = loss(output, batch.targets, optim.forward_weight)
        self._optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._net.parameters(), 10.0)
        self._optimiser.step()
        self._schedule.step()
        self._averaged.update_parameters(self._net)
        return losses

    def _validate(self) -> None:
        settings, progress = self.settings, self._progress
        net = Network(settings.model)
        net.load_state_dict(copied(self._averaged.module))
        header = Header(name=settings.name, model=settings.model, decode=settings.decode)
        figures = validate(BevDetector(net, header, device=str(self._device)), self._validation, data=settings.data)
        before = max((_score(v) for v in progress.validations), default=-1.0)
        progress.validations.append({"step": progress.step, **figures})
        if _score(figures) > before:
            progress.best = copied(net)
        self._log(f"validation at {progress.step}: {figures}")

    def _is_settled(self) -> bool:
        """Whether the last `patience` validations brought nothing better."""
        patience, scores = self.settings.optim.patience, [_score(v) for v in self._progress.validations]
        return bool(patience) and len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])


def _score(figures: Mapping[str, float]) -> float:
    """What validations are compared by."""
    return figures["ego_ap50"] + figures["all_ap50"] + figures["all_ap70"]


def _spread(scenes: Sequence[Sequence[CachedFrame]], most: int) -> list[list[CachedFrame]]:
    """At most so many frames, each a scene, evenly spread over all."""
    every = [frame for scene in scenes for frame in scene]
    return [[frame] for frame in islice(every, 0, None, max(-(-len(every) // most), 1))]


def _schedule(optimiser: torch.optim.Optimizer, optim: OptimConfig) -> torch.optim.lr_scheduler.LRScheduler:
    if optim.decay_steps:
        return torch.optim.lr_scheduler.LambdaLR(optimiser, optim.share_of_lr)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=optim.lr, total_steps=optim.steps + 1, pct_start=optim.warmup
    )


def averaging(net: Network, ema: float) -> AveragedModel:
    """An exponential moving average of weights and batch-norm statistics; counters are copied.

    The decay of update `n` is `min(ema, n / (n + 9))`: early on the mean follows faster.
    """

    def mean_of(mean: Tensor, now: Tensor, n: Tensor | int) -> Tensor:
        decay = min(ema, int(n) / (int(n) + 9))
        return torch.lerp(mean, now, 1 - decay) if mean.dtype.is_floating_point else now

    averaged = AveragedModel(net, avg_fn=mean_of, use_buffers=True)
    averaged.n_averaged.fill_(1)  # at 0 the first update would overwrite the initial weights instead
    return averaged


def forward(net: Network, batch: Batch, grid: BevGrid) -> Tensor:
    """Outputs `(E, D, H, W)` of every ego sample. `grid` is the map's."""
    output: Tensor = net.head(fused(net, batch, grid).contiguous(memory_format=torch.channels_last))
    return output


def fused(net: Network, batch: Batch, grid: BevGrid) -> Tensor:
    """What the head is given, `(E, 32, H, W)`, for every ego sample: each scan encoded once, each pair warped once."""
    maps = net.encoder(batch.rasters)
    mates = [k for s in batch.samples for k in s.mates]
    warped, valid = warp(maps[mates].float(), torch.cat([s.poses for s in batch.samples]), grid)
    counts = [len(s.mates) for s in batch.samples]
    every_ego = []
    for sample, w, v in zip(batch.samples, torch.split(warped, counts), torch.split(valid, counts), strict=True):
        own = maps[sample.ego : sample.ego + 1].float()
        every = torch.cat([own, w])
        validity = torch.cat([torch.ones_like(v[:1]) if len(v) else torch.ones_like(own[:, :1]), v])
        every_ego.append(net.fusion(every, validity, torch.ones(1, len(every), device=own.device)))
    return torch.cat(every_ego)


def initial(settings: TrainConfig, log: Log) -> Network:
    """The network to begin with: new, or with what fits of the weights that the settings start from.

    Raises:
        InputError: those weights are missing or broken.
    """
    net = Network(settings.model)
    if settings.init_from is None:
        return net
    given = Path(settings.init_from)
    source, _ = load_network(given if given.suffix == ".safetensors" else WEIGHTS / f"{given}.safetensors")
    own = net.state_dict()
    fitting = {n: t for n, t in source.state_dict().items() if n in own and own[n].shape == t.shape}
    net.load_state_dict({**own, **fitting})
    log(f"started from {settings.init_from}: {len(fitting)} of {len(own)} tensors")
    return net
