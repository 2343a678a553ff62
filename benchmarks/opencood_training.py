"""Training of an OpenCOOD model with OpenCOOD's own code, small enough for one core, that can be stopped at any step.

Of OpenCOOD are the data set, the labels, the model and the loss; of this file are what is around them: a configuration
with coarse pillars, samples that are made once and kept, their mirror images, the schedule and the checkpoints. A run
that is stopped and started again takes the same steps as one that was not.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any, Final

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from benchmarks.opencood_models import config
from robosac.detectors.adapters.opencood import bridges
from robosac.detectors.adapters.opencood.folder import BridgedDataset, build_dataset, build_model
from robosac.detectors.adapters.opencood.hypes import load_hypes
from robosac.files import write_whole
from robosac.types import InputError, keyed_rng

STATE: Final = "training.pth"  # weights, optimiser and schedule: what goes on where the last run stopped
WEIGHTS: Final = "latest.pth"  # the name by which OpenCOOD and the adapter find them
SHARPEST: Final = 10.0  # gradient norm above which a step is shortened
RARE: Final = -4.6  # logit of a share of 1 %: few anchors hold a vehicle, and the first steps need not learn that


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A training.

    Attributes:
        model: a name of `benchmarks.opencood_models`.
        voxel_m, half_m: side of a pillar, and half the side of the square that is looked at; metres.
        points: of a pillar, at most.
        layers, filters: of the backbone's blocks.
        steps, batch: how many steps, and samples in each.
        peak: highest learning rate of the one cycle of Adam's.
        seed: of weights, order and mirror images.
    """

    model: str = "AttFuse"
    voxel_m: float = 0.75
    half_m: float = 36.0
    points: int = 8
    layers: tuple[int, ...] = (2, 3, 3)
    filters: tuple[int, ...] = (32, 64, 128)
    steps: int = 3600
    batch: int = 2
    peak: float = 3e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.model not in TRAINABLE:
            raise InputError(f"expected a model among {', '.join(TRAINABLE)}, got {self.model!r}")
        if self.steps < 1 or self.batch < 1 or self.peak <= 0:
            raise InputError("expected steps and batch of at least 1 and a positive learning rate")


def hypes_of(plan: Plan) -> dict[str, Any]:
    """The configuration as its YAML file holds it: the published one with a coarser raster and a smaller network."""
    voxel = [plan.voxel_m, plan.voxel_m, 4]
    hypes = config(plan.model, (plan.half_m, plan.half_m))
    hypes["preprocess"]["args"].update(
        voxel_size=voxel, max_points_per_voxel=plan.points, max_voxel_train=16000, max_voxel_test=16000
    )
    # cells of the output are twice a pillar wide, and anchors lie that much further apart: fewer overlap an object well
    hypes["postprocess"]["target_args"].update(pos_threshold=0.4, neg_threshold=0.25)
    hypes["postprocess"]["anchor_args"]["feature_stride"] = 2
    hypes["train_params"]["batch_size"] = plan.batch
    hypes["loss"] = {"core_method": "point_pillar_loss", "args": {"cls_weight": 1.0, "reg": 2.0}}
    model = hypes["model"]["args"]
    model["voxel_size"] = voxel
    model["base_bev_backbone"].update(layer_nums=list(plan.layers), num_filters=list(plan.filters))
    if model.pop("shrink_header", None) is not None:  # of every agent: three quarters of the time
        model["base_bev_backbone"]["num_upsample_filter"] = [64, 96, 96]
    return hypes


TRAINABLE: Final = ("AttFuse", "F-Cooper")


# ---------------------------------------------------------------------------------------------------------- samples
class Samples:
    """Samples of OpenCOOD's own data set, each made once and kept in a folder of its own.

    What decides them (configuration of the raster and the labels, files of the data) names the folder.
    """

    def __init__(self, hypes: dict[str, Any], data: Path, kept: Path) -> None:
        self.dataset: BridgedDataset = build_dataset(hypes, data, train=True)
        self.ny = round(hypes["postprocess"]["anchor_args"]["H"])
        files = sorted(f"{p.relative_to(data)} {p.stat().st_size}" for p in data.glob("*/*/*"))
        decides = {k: hypes[k] for k in ("preprocess", "postprocess", "fusion")}
        told = json.dumps([decides, files], sort_keys=True, default=str)
        self.kept = kept / hashlib.sha256(told.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        path = self.kept / f"{index:06d}.pkl"
        if not path.is_file():
            np.random.seed(index)  # noqa: NPY002 - OpenCOOD shuffles points by numpy's global generator
            with compiled_yaml():
                sample = self.dataset[index]
            sample["ego"].pop("anchor_box", None)  # the same for all
            write_whole(path, pickle.dumps(sample, protocol=5))
        return pickle.loads(path.read_bytes())  # of our own making

    def batch(self, indices: Sequence[int], mirrors: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
        """OpenCOOD's batch of some samples, each mirrored along x, y or both where asked."""
        made = [mirrored(self[i], self.ny, *m) for i, m in zip(indices, mirrors, strict=True)]
        batch: dict[str, Any] = self.dataset.collate_batch_train(made)["ego"]
        return batch


@contextmanager
def compiled_yaml() -> Iterator[None]:
    """While inside, OpenCOOD reads YAML by the compiled twin of its loader: that was three quarters of the time."""
    slow = yaml.Loader
    yaml.Loader = getattr(yaml, "CLoader", slow)  # type: ignore[misc]
    try:
        yield
    finally:
        yaml.Loader = slow  # type: ignore[misc]


def mirrored(sample: dict[str, Any], n: int, in_x: bool, in_y: bool) -> dict[str, Any]:
    """A sample of the world seen in a mirror: `n` pillars along both axes, on a square about the ego.

    Changes the sample. Points and pillars change side, rows of the labels too; of a box's targets the offset and the
    turn change their sign. Anchors stand along x and y, and a box turned by half a turn is the same to OpenCOOD's loss.
    """
    voxels, labels = sample["ego"]["processed_lidar"], sample["ego"]["label_dict"]
    for axis, wanted in ((0, in_x), (1, in_y)):
        if not wanted:
            continue
        for features, coords in zip(voxels["voxel_features"], voxels["voxel_coords"], strict=True):
            features[..., axis] *= -1
            coords[:, 2 - axis] = n - 1 - coords[:, 2 - axis]  # [z y x]
        for name, values in labels.items():
            labels[name] = np.flip(values, axis=1 - axis).copy()
        for sign in (axis, 6):
            labels["targets"][..., sign::7] *= -1
    return sample


# --------------------------------------------------------------------------------------------------------- training
def only_the_ego_asks(model: nn.Module) -> None:
    """Attention over agents for the ego's row alone, the one that OpenCOOD's fusion keeps of all of them.

    The same numbers but for rounding, and instead of tens of thousands of tiny matrices one product.
    """

    def attend(layer: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Place x agents x channels in, the same out, every row the ego's."""
        weights = torch.softmax((query[:, :1] * key).sum(-1) / float(layer.sqrt_dim), -1)
        return (weights[..., None] * value).sum(1, keepdim=True).expand_as(query)

    for module in model.modules():
        if type(module).__name__ == "ScaledDotProductAttention":
            module.forward = MethodType(attend, module)


def order(n: int, plan: Plan, step: int) -> tuple[list[int], list[tuple[bool, bool]]]:
    """Samples of a step and how they are mirrored, by the seed and the step alone. A round takes each sample once."""
    if n < plan.batch:
        raise InputError(f"expected at least {plan.batch} samples for a batch, got {n}; simulate more scenes")
    a_round = n // plan.batch
    epoch, k = divmod(step, a_round)
    shuffled = keyed_rng(plan.seed, "trained_opencood", "order", epoch).permutation(n)
    flips = keyed_rng(plan.seed, "trained_opencood", "mirror", step).random((plan.batch, 2)) < 0.5
    chosen = shuffled[k * plan.batch : (k + 1) * plan.batch]
    return [int(i) for i in chosen], [(bool(a), bool(b)) for a, b in flips]


def rate(plan: Plan, step: int) -> float:
    """Learning rate of a step: up from a tenth over the first 5 %, then down a half cosine to a thousandth."""
    warm = max(1, round(0.05 * plan.steps))
    if step < warm:
        return plan.peak * (0.1 + 0.9 * step / warm)
    turn = math.pi * (step - warm) / max(1, plan.steps - warm)
    return plan.peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(turn)))


@dataclass
class Training:
    """A training at a step: what a checkpoint holds."""

    plan: Plan
    model: nn.Module
    optimiser: torch.optim.Optimizer
    loss: Any
    step: int = 0
    spent_s: float = 0.0
    losses: list[float] = field(default_factory=list)

    @staticmethod
    def begin(plan: Plan, hypes: dict[str, Any]) -> Training:
        torch.manual_seed(plan.seed)
        model = build_model(hypes)
        only_the_ego_asks(model)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a quarter faster on the CPU
        nn.init.constant_(model.get_submodule("cls_head").bias, RARE)  # type: ignore[arg-type]
        losses = bridges.import_module(f"opencood.loss.{hypes['loss']['core_method']}")
        return Training(
            plan,
            model.train(),
            torch.optim.AdamW(model.parameters(), lr=plan.peak, weight_decay=1e-2),
            losses.PointPillarLoss(hypes["loss"]["args"]),
        )

    def take(self, batch: dict[str, Any]) -> float:
        """One step; the loss before it."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate(self.plan, self.step)
        self.optimiser.zero_grad()
        with bridges.bridged():
            with torch.autocast("cpu", torch.bfloat16):  # a quarter faster; weights and loss keep their 32 bits
                outputs = self.model(batch)
            loss = self.loss({name: values.float() for name, values in outputs.items()}, batch["label_dict"])
        if not torch.isfinite(loss):
            raise InputError(f"the loss of step {self.step} is {loss.item()}; a smaller --peak may help")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), SHARPEST)
        self.optimiser.step()
        self.step += 1
        return float(loss.detach())

    def save(self, folder: Path) -> None:
        """The weights as OpenCOOD would leave them, and everything to go on from; each file whole."""
        held = {
            "plan": asdict(self.plan),
            "step": self.step,
            "spent_s": self.spent_s,
            "losses": self.losses,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        for name, content in ((STATE, held), (WEIGHTS, self.model.state_dict())):
            buffer = io.BytesIO()
            torch.save(content, buffer)
            write_whole(folder / name, buffer.getvalue())

    def resume(self, folder: Path) -> bool:
        """Go on from a folder's checkpoint; whether there was one.

        Raises:
            InputError: it is that of another plan.
        """
        path = folder / STATE
        if not path.is_file():
            return False
        held = torch.load(path, map_location="cpu", weights_only=True)
        if held["plan"] != asdict(self.plan):
            other = {k: v for k, v in held["plan"].items() if asdict(self.plan).get(k) != v}
            raise InputError(
                f"expected in {folder} the training that was asked for, found another: {other}; name the same "
                "settings, or another --folder"
            )
        self.model.load_state_dict(held["model"])
        self.optimiser.load_state_dict(held["optimiser"])
        self.step, self.spent_s, self.losses = held["step"], held["spent_s"], held["losses"]
        return True


def train(
    plan: Plan,
    data: Path,
    folder: Path,
    *,
    every: int = 200,
    kept: Path | None = None,
    until: int | None = None,
    tell: Callable[[str], None] = print,
) -> Training:
    """Train until the plan's end (or step `until`), from the folder's checkpoint where there is one.

    Args:
        data: a split of OPV2V-format scenes.
        folder: of `config.yaml`, weights and checkpoint.
        every: steps between checkpoints and lines of the log.
        kept: where samples are kept; by default in `folder`.
    """
    write_whole(folder / "config.yaml", yaml.safe_dump(hypes_of(plan), sort_keys=False).encode())
    hypes = load_hypes(folder / "config.yaml")
    samples = Samples(hypes, data, kept or folder / "samples")
    training = Training.begin(plan, hypes)
    resumed = training.resume(folder)
    end = plan.steps if until is None else min(until, plan.steps)
    tell(f"{plan.model}: {len(samples)} samples, step {training.step} of {plan.steps}{' (resumed)' if resumed else ''}")
    recent: list[float] = []
    since = time.perf_counter()
    while training.step < end:
        recent.append(training.take(samples.batch(*order(len(samples), plan, training.step))))
        if training.step % every == 0 or training.step == end:
            now = time.perf_counter()
            training.spent_s, pace, since = training.spent_s + now - since, (now - since) / len(recent), now
            training.losses.append(float(np.mean(recent)))
            training.save(folder)
            left = (plan.steps - training.step) * pace / 60
            tell(f"step {training.step}: loss {np.mean(recent):.4f}, {pace:.3f} s a step, about {left:.0f} min left")
            recent = []
    return training
