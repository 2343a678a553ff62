"""Are coperception's models wrapped exactly, and how much cheaper is a trial than a forward?

    python -m benchmarks.coperception                     # needs coperception; random weights, seeded
    python -m benchmarks.coperception --root CHECKOUT --models mean,v2v --agents 4
    python -m benchmarks.coperception --only speed

Two tables, in one run:

- largest absolute difference of raw outputs, cached subset against one forward of the unwrapped model in which only
  these agents take part: for six subsets of one ego, for tampered messages, for every other ego, and the model called
  by hand with the user's own tensors;
- milliseconds of a new subset in an open session (fuse, decode, boxes, suppression) against a forward of the model
  alone, and against the usual trial, which decodes and suppresses the boxes of all agents too.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.adapters import Exactness, compared
from benchmarks.machine import Option, Spread, describe, machine, ms, options, verdict
from robosac.boxes import invert_pose, pose_xyz_rpy
from robosac.detectors.adapters.coperception import CoperceptionDetector, bridges
from robosac.detectors.adapters.coperception.models import build
from robosac.evaluation.differing import difference, tamper
from robosac.types import EGO_ALONE, Float64, Frame, Request, Subset, keyed_rng

BAR: Final = 9.0
LISTED: Final = 200  # boxes an agent that the random weights are made to find, before suppression


@dataclass(frozen=True)
class Variant:
    """A model as it may be trained. `inference` is When2com's."""

    word: str
    layer: int = 3
    compress_level: int = 0
    options: tuple[tuple[str, int], ...] = ()
    inference: str = "activated"

    @property
    def title(self) -> str:
        extra = [f"{k}={v}" for k, v in self.options]
        extra += [f"layer={self.layer}"] * (self.layer != 3)
        extra += [f"compress={self.compress_level}"] * (self.compress_level > 0)
        extra += [self.inference] * (self.word == "when2com")
        return " ".join([self.word, *extra])


VARIANTS: Final = (
    Variant("mean"),
    Variant("mean", compress_level=2),
    Variant("mean", layer=2),
    Variant("max"),
    Variant("sum"),
    Variant("cat"),
    Variant("agent"),
    Variant("disco"),
    Variant("v2v"),
    *(Variant("when2com", options=(("warp_flag", 0),), inference=i) for i in ("activated", "softmax", "argmax_test")),
    Variant("when2com", options=(("warp_flag", 1),)),
)


@dataclass(frozen=True, eq=False)
class Batch:
    """What coperception's own loop feeds its model."""

    bev: Tensor  # (agents, 1, 256, 256, 13)
    trans_matrices: Tensor  # (1, agents, agents, 4, 4)
    num_agent: Tensor  # (1, agents)


def random_batch(agents: int, seed: int, present: int | None = None) -> Batch:
    """Rasters with 2 % of the voxels occupied, agents within 15 m of each other, any headings."""
    rng = keyed_rng(seed, "coperception", "batch")
    count = agents if present is None else present
    bev = torch.zeros(agents, 1, 256, 256, 13)
    bev[:count] = torch.from_numpy((rng.random((count, 1, 256, 256, 13)) < 0.02).astype(np.float32))
    places = rng.uniform([-15, -15, -np.pi], [15, 15, np.pi], (count, 3))
    poses = [pose_xyz_rpy(x, y, 0.0, yaw_rad=yaw) for x, y, yaw in places]
    return Batch(bev, _relative(poses, agents), torch.full((1, agents), count, dtype=torch.int64))


def _relative(poses: Sequence[Float64], agents: int) -> Tensor:
    trans = torch.zeros(1, agents, agents, 4, 4, dtype=torch.float64)
    for i, to in enumerate(poses):
        for j, source in enumerate(poses):
            trans[0, i, j] = torch.from_numpy(invert_pose(to) @ source)
    return trans


def random_model(det: ModuleType, configs: ModuleType, variant: Variant, *, agents: int, seed: int = 0) -> nn.Module:
    """A model of random weights whose features are of usual size and whose scores are spread, so that it finds boxes.

    One batch sets the normalisation, then the classification head is scaled so that its best anchors pass 0.7.
    """
    torch.manual_seed(seed)
    config = configs.Config("train", binary=True, only_det=True)
    model: Any = build(
        det,
        config,
        variant.word,
        agents=agents,
        layer=variant.layer,
        compress_level=variant.compress_level,
        options=dict(variant.options),
    )
    batch = random_batch(agents, seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm3d)):
            module.momentum = 1.0
    with torch.no_grad():
        cls = plain_forward(model.train(), batch)["cls"]
        model.eval()
        margin = cls[..., 1] - cls[..., 0]
        head = model.classification.conv2
        scale = 2 / margin.std()
        head.weight *= scale
        head.bias *= scale
        least = (scale * margin).flatten().topk(LISTED * agents).values[-1]
        head.bias[0::2] += least - float(np.log(0.7 / 0.3))
        if variant.word == "when2com":  # or it listens to nobody, or to all alike
            model.attention_net.linear.weight *= 8
            model.attention_net.linear.bias *= 8
    frozen: nn.Module = model.requires_grad_(False)
    return frozen


def plain_forward(model: Any, batch: Batch, **options: Any) -> dict[str, Tensor]:
    """The model called by hand, as coperception's own loop does."""
    with torch.no_grad(), redirect_stdout(io.StringIO()), bridges.old_names():
        result = model(batch.bev, batch.trans_matrices, batch.num_agent, batch_size=1, **options)
    return result if isinstance(result, dict) else result[0]


# ------------------------------------------------------------------------------------------------------- exactness
class Row(NamedTuple):
    """Largest absolute differences of raw outputs for one model."""

    title: str
    subsets: Exactness
    egos: float
    by_hand: float

    @property
    def worst(self) -> float:
        return max(self.subsets.honest, self.subsets.tampered, self.egos, self.by_hand)


def some_subsets(ids: Sequence[str]) -> list[Subset]:
    """The ego alone, all, and up to four in between."""
    found = [
        EGO_ALONE,
        frozenset(ids),
        frozenset(ids[:1]),
        frozenset(ids[-1:]),
        frozenset(ids[::2]),
        frozenset(ids[1:]),
    ]
    return list(dict.fromkeys(found))


def exactness(model: nn.Module, variant: Variant, batch: Batch, *, thorough: bool = True) -> Row:
    """All comparisons for one model. The ego is agent 1, then every other agent in turn.

    Less than `thorough`: no other egos, and all teammates together are compared with the call by hand alone.
    """
    detector = CoperceptionDetector(model, inference=variant.inference)
    frame = _frame(detector, batch, 1)
    to = Request.of(frame.ego)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    session = detector.open(frame.ego, to, messages)
    every = frozenset(session.ids)
    malicious = tamper(messages[0], detector.codec, keyed_rng(0, "lie"))
    holding = [frozenset({malicious.sender}), every] if thorough else [every]
    subsets = [s for s in some_subsets(session.ids) if thorough or s != every]
    others = [i for i in range(int(batch.num_agent[0, 0])) if i != 1] if thorough else []
    options = {"training": False, "inference": variant.inference} if variant.word == "when2com" else {}
    by_hand = {k: v[1].numpy() for k, v in plain_forward(model, batch, **options).items()}
    return Row(
        variant.title,
        compared(detector, frame, malicious, subsets, holding),
        max((_other_ego(detector, batch, i) for i in others), default=0.0),
        difference(session.outputs(every), by_hand),
    )


def _frame(detector: CoperceptionDetector, batch: Batch, ego: int) -> Frame:
    return detector.frame(batch.bev, batch.trans_matrices, batch.num_agent, ego=ego)


def _other_ego(detector: CoperceptionDetector, batch: Batch, ego: int) -> float:
    """The difference for a subset of this ego's teammates, all but one of them."""
    frame = _frame(detector, batch, ego)
    to = Request.of(frame.ego)
    others = [frame.others[i] for i in sorted(frame.others)][1:]
    session = detector.open(frame.ego, to, [detector.encode(v, to) for v in others])
    return difference(session.outputs(frozenset(session.ids)), detector.full(frame.ego, others, to))


def print_exactness(rows: Iterable[Row], agents: int) -> None:
    """The table, line by line as it comes: every line is a score of forwards."""
    print(f"\nmax |difference| of raw outputs, cached subset against full forward, {agents} slots")
    print(
        f"{'model':32} {'subsets':>9} {'tampered':>9} {'egos':>9} {'by hand':>9}   tampering moves outputs by",
        flush=True,
    )
    worst = 0.0
    for r in rows:
        worst = max(worst, r.worst)
        figures = f"{r.subsets.honest:9.1g} {r.subsets.tampered:9.1g} {r.egos:9.1g} {r.by_hand:9.1g}"
        print(f"{r.title:32} {figures}   {r.subsets.effect:.2g}", flush=True)
    print(f"exact (all 0.0): {verdict(worst == 0)}")


# ----------------------------------------------------------------------------------------------------------- speed
def speed(model: Any, util: ModuleType, config: Any, batch: Batch, repeats: int) -> dict[str, Spread]:
    """Milliseconds and ratios, both sides of a ratio taken in turn."""
    detector = CoperceptionDetector(model)
    frame = _frame(detector, batch, 1)
    to = Request.of(frame.ego)
    messages = [detector.encode(v, to) for v in frame.others.values()]
    (obj_util,) = bridges.load(None, ["utils.obj_util"])
    extents, voxel, code, size = config.area_extents, config.voxel_size, config.box_code_size, config.anchor_size
    anchors = torch.from_numpy(obj_util.init_anchors_no_check(extents, voxel, code, size)).float()[None]

    def usual() -> None:
        result = plain_forward(model, batch)
        with redirect_stdout(io.StringIO()):
            for k in range(len(batch.bev)):
                util.apply_nms_det(result["loc"][k : k + 1], result["cls"][k : k + 1], anchors, "faf", config)

    rows = []
    for _ in range(repeats):
        session = detector.open(frame.ego, to, messages)
        session.detect([EGO_ALONE])
        trials = [ms(partial(session.detect, [s])) for s in some_subsets(session.ids)[1:]]
        rows.append((float(np.median(trials)), ms(lambda: plain_forward(model, batch)), ms(usual)))
    trial, forward, whole = np.array(rows).T
    values = {
        "trial, ms": trial,
        "forward, ms": forward,
        "usual trial, ms": whole,
        "forward / trial": forward / trial,
        "usual trial / trial": whole / trial,
    }
    return {name: Spread.of(list(v)) for name, v in values.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = options(
        __doc__,
        arguments,
        root=Option(None, "a checkout of coperception; the installed one without it"),
        agents=6,
        models=Option(None, "words, comma-separated; all without it"),
        threads=1,
        repeats=5,
        only=Option(None, "one of the two tables", choices=["exact", "speed"]),
    )
    warnings.filterwarnings("ignore", message="Default grid_sample")  # coperception's, at every warp
    torch.set_num_threads(chosen.threads)
    det, configs, util = bridges.load(chosen.root, ["models.det", "configs", "utils.detection_util"])
    print(describe(machine(chosen.threads)))
    print(f"coperception from {det.__file__}")
    batch = random_batch(chosen.agents, seed=7)
    if chosen.only != "speed":
        words = set(chosen.models.split(",") if chosen.models else [v.word for v in VARIANTS])
        variants = [v for v in VARIANTS if v.word in words]
        models = ((v, random_model(det, configs, v, agents=chosen.agents)) for v in variants)
        print_exactness((exactness(model, v, batch) for v, model in models), chosen.agents)
    if chosen.only == "exact":
        return
    config = configs.Config("train", binary=True, only_det=True)
    found = speed(
        random_model(det, configs, Variant("mean"), agents=chosen.agents), util, config, batch, chosen.repeats
    )
    print(f"\nmean fusion, {chosen.agents} agents, median [quartiles] of {chosen.repeats}")
    for name, spread in found.items():
        print(f"{name:24} {spread.show('.1f')}")
    print(f"forward / trial at least {BAR:g}: {verdict(found['forward / trial'].median >= BAR)}")


if __name__ == "__main__":
    main()
