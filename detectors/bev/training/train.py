"""Training, as `robosac train --config configs/detectors/<name>.yaml` runs it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from robosac.detectors import WEIGHTS
from robosac.detectors.bev.config import TrainConfig
from robosac.detectors.bev.detector import BevDetector
from robosac.detectors.bev.network import MAP, Network
from robosac.detectors.bev.training.batches import Batch, draw_batch
from robosac.detectors.bev.training.dataset import CachedFrame, load_split
from robosac.detectors.bev.training.targets import loss
from robosac.detectors.bev.training.validation import validate
from robosac.detectors.bev.warp import warp
from robosac.detectors.bev.weights import Header, load_network, save
from robosac.files import check_writable_file
from robosac.types import keyed_rng

Log = Callable[[str], None]


@dataclass
class Curve:
    """Means of the losses over stretches of steps."""

    every: int
    rows: list[dict[str, float]] = field(default_factory=list)
    _sums: dict[str, float] = field(default_factory=dict)

    def add(self, step: int, losses: dict[str, Tensor]) -> bool:
        """Count one step; True when a row was completed."""
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach())
        if (step + 1) % self.every:
            return False
        self.rows.append({"step": step + 1, **{n: round(v / self.every, 4) for n, v in self._sums.items()}})
        self._sums = {}
        return True


def train_from_config(
    config: Path, *, out: Path | None = None, seed: int | None = None, jobs: int | None = None, progress: bool = True
) -> Path:
    """Train as a YAML file says on simulated scenes, validate, and write weights and record.

    Args:
        config: YAML file of a `TrainConfig`.
        out: folder for `<name>.safetensors` and its record `<name>.json`, or a path ending in .safetensors with the
            record beside it; default `detectors/weights`, where `load` looks.
        seed: in place of the file's.
        jobs: processes that simulate, in place of the file's; changes no figure.
        progress: print the losses as they fall.

    Returns:
        Path of the weights; the record is the .json beside it.

    Raises:
        InputError: if the file or the weights to start from are missing or wrong, or `out` cannot be written to;
            the latter before anything is simulated or trained.
    """
    settings = TrainConfig.read(config)
    if seed is not None:
        settings = settings.model_copy(update={"seed": seed})
    log: Log = (lambda line: print(line, flush=True)) if progress else (lambda line: None)
    path = weights_path(settings.name, out)
    check_writable_file(path)
    check_writable_file(path.with_suffix(".json"))
    torch.set_num_threads(settings.optim.threads)
    scenes = load_split("train", settings.data, jobs=jobs, log=log)
    validation = load_split("val", settings.data, jobs=jobs, log=log)
    command = f"robosac train --config {shlex.quote(config.as_posix())}" + ("" if seed is None else f" --seed {seed}")
    return train_on(settings, scenes, validation, path, command=command, log=log)


def train_on(
    settings: TrainConfig,
    scenes: Sequence[Sequence[CachedFrame]],
    validation: Sequence[Sequence[CachedFrame]],
    path: Path,
    *,
    command: str,
    log: Log = print,
) -> Path:
    """Train on the frames of any scenes, validate on others, and write weights and record. Returns `path`."""
    start = time.perf_counter()
    net, curve = train(settings, [frame for scene in scenes for frame in scene], log=log)
    minutes = (time.perf_counter() - start) / 60
    header = Header(name=settings.name, model=settings.model, decode=settings.decode)
    figures = validate(BevDetector(net, header), validation, min_hits=settings.data.min_hits)
    log(f"validation: {figures}")
    record = {
        "config": settings.model_dump(),
        "command": command,
        "torch": torch.__version__,
        "train_minutes": round(minutes, 2),
        "validation": figures,
        "curve": curve.rows,
    }
    return save(path, net, header, record)


def weights_path(name: str, out: Path | None = None) -> Path:
    """The weights file that `out` means: a path ending in .safetensors itself, else a file in that folder."""
    if out is not None and out.suffix == ".safetensors" and not out.is_dir():
        return out
    return (WEIGHTS if out is None else out) / f"{name}.safetensors"


def train(settings: TrainConfig, frames: Sequence[CachedFrame], *, log: Log = print) -> tuple[Network, Curve]:
    """Train a network on cached frames. Returns the averaged weights and the loss curve.

    The same settings and frames give the same weights at a fixed number of threads.
    """
    optim = settings.optim
    torch.manual_seed(settings.seed)
    net = _initial(settings, log).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = averaging(net, optim.ema)
    optimiser = torch.optim.AdamW(net.parameters(), lr=optim.lr, weight_decay=optim.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=optim.lr, total_steps=optim.steps + 1, pct_start=optim.warmup
    )
    curve = Curve(every=min(50, optim.steps))
    start = time.perf_counter()
    net.train()
    for step in range(optim.steps):
        rng = keyed_rng(settings.seed, "train", step)
        chosen = rng.choice(len(frames), size=min(optim.frames_per_step, len(frames)), replace=False)
        batch = draw_batch([frames[int(i)] for i in chosen], optim, rng, min_hits=settings.data.min_hits)
        with torch.autocast("cpu", torch.bfloat16, enabled=optim.bf16):
            output = forward(net, batch)
        losses = loss(output, batch.targets)
        optimiser.zero_grad(set_to_none=True)
        losses["total"].backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimiser.step()
        schedule.step()
        averaged.update_parameters(net)
        if curve.add(step, losses):
            log(f"step {step + 1}/{optim.steps} {time.perf_counter() - start:.0f} s {curve.rows[-1]}")
    return averaged.module.to(memory_format=torch.contiguous_format), curve  # type: ignore[call-overload]


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


def forward(net: Network, batch: Batch) -> Tensor:
    """Outputs `(E, 10, 64, 64)` of every ego sample; each scan is encoded once, each pair warped once."""
    maps = net.encoder(batch.rasters)
    mates = [k for s in batch.samples for k in s.mates]
    warped, valid = warp(maps[mates].float(), torch.cat([s.poses for s in batch.samples]), MAP)
    counts = [len(s.mates) for s in batch.samples]
    fused = []
    for sample, w, v in zip(batch.samples, torch.split(warped, counts), torch.split(valid, counts), strict=True):
        own = maps[sample.ego : sample.ego + 1].float()
        every = torch.cat([own, w])
        validity = torch.cat([torch.ones_like(v[:1]) if len(v) else torch.ones_like(own[:, :1]), v])
        fused.append(net.fusion(every, validity, torch.ones(1, len(every))))
    output: Tensor = net.head(torch.cat(fused).contiguous(memory_format=torch.channels_last))
    return output


def _initial(settings: TrainConfig, log: Log) -> Network:
    net = Network(settings.model)
    if settings.init_from is None:
        return net
    source, _ = load_network(WEIGHTS / f"{settings.init_from}.safetensors")
    given, own = source.state_dict(), net.state_dict()
    fitting = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
    net.load_state_dict({**own, **fitting})
    log(f"started from {settings.init_from}: {len(fitting)} of {len(own)} tensors")
    return net
