"""Late and early fusion, studied on validation scenes. `python -m benchmarks.late_study`

Two tables, of which the first decided something and the second decides nothing:

- *profiles*: by which shape of a box's score map are honest subsets told from attacked ones best? Area under the ROC
  curve of `SeenScoreMap` for each lie and subset size, late fusion of the shipped network. The outcome is
  `robosac.score_maps.rasterise_boxes`; the others are drawn here.
- *defence*: AP@0.5 of late and early fusion: the ego alone, all honest, undefended, defended, and told who lies, under
  the lies of `benchmarks.late_attacks`. Thresholds from calibration scenes, and other scenes than in the first table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Final, TypeAlias

import numpy as np

from benchmarks.late_attacks import BoxLies, PointLies, invented
from robosac.agreement import BoxJaccard, SeenScoreMap, overlap
from robosac.air import Attack
from robosac.boxes import invert_pose, transform_boxes
from robosac.calibration import calibrate
from robosac.detectors.fusion.early import EarlyFusion
from robosac.detectors.fusion.late import LateFusion
from robosac.detectors.fusion.single import single
from robosac.evaluation.ap import average_precision
from robosac.evaluation.metrics import FrameRecord
from robosac.evaluation.play import choose_attackers, play
from robosac.executors import set_threads
from robosac.registry.defenses import policy
from robosac.score_maps import cells_near, rasterise_boxes
from robosac.simulation import scenario
from robosac.types import EGO_ALONE, Array, BevGrid, Detector, Float32, Float64, Message, Request, keyed_rng
from robosac.visibility import seen_cells

Profile: TypeAlias = Callable[[Float32, Float32, BevGrid], Array]
Lie: TypeAlias = Callable[[Message, Float64, np.random.Generator], Message]


# --------------------------------------------------------------------------------------------------------- profiles
def drawn(boxes: Float32, scores: Float32, grid: BevGrid, *, kind: str, width_m: float) -> Array:
    """A score map `(H, W)` by another profile than the one of `rasterise_boxes`."""
    b = np.asarray(boxes, np.float64)
    reach_m = np.hypot(b[:, 3], b[:, 4]) + 3 * width_m
    box, cell, u, v = cells_near(b, grid, reach_m)
    half_l, half_w = b[box, 3] / 2, b[box, 4] / 2
    if kind == "filled":
        shape = ((np.abs(u) <= half_l) & (np.abs(v) <= half_w)).astype(np.float64)
    elif kind == "ramp":
        ramps = [np.clip((half - np.abs(d)) / width_m + 0.5, 0, 1) for half, d in ((half_l, u), (half_w, v))]
        shape = ramps[0] * ramps[1]
    elif kind == "bump":
        shape = np.exp(-(u**2 / (half_l**2 / 4 + width_m**2) + v**2 / (half_w**2 / 4 + width_m**2)) / 2)
    else:
        shape = np.exp(-(u**2 + v**2) / (2 * width_m**2))
    shown = np.zeros(grid.rows * grid.cols)
    np.maximum.at(shown, cell, shape * scores[box])
    return shown.reshape(grid.rows, grid.cols)


PROFILES: Final[dict[str, Profile]] = {
    "filled box": partial(drawn, kind="filled", width_m=0.0),
    "box, edges over 0.6 m": partial(drawn, kind="ramp", width_m=0.6),
    "box, edges over 1.2 m": partial(drawn, kind="ramp", width_m=1.2),
    "bump of the box, blur 0 m": partial(drawn, kind="bump", width_m=0.0),
    "bump of the box, blur 0.4 m": rasterise_boxes,
    "bump of the box, blur 0.8 m": partial(drawn, kind="bump", width_m=0.8),
    "bump of the box, blur 1.2 m": partial(drawn, kind="bump", width_m=1.2),
    "round bump, 0.8 m": partial(drawn, kind="round", width_m=0.8),
    "round bump, 1.2 m": partial(drawn, kind="round", width_m=1.2),
    "round bump, 1.8 m": partial(drawn, kind="round", width_m=1.8),
}


def spoof(m: Message, world_T_ego: Float64, rng: np.random.Generator, *, count: int) -> Message:
    """Its own boxes, and some cars that are not there."""
    cars = transform_boxes(invert_pose(m.world_T_payload) @ world_T_ego, invented(rng, count, 25.0))
    return _sent(m, np.concatenate([cars, m.payload["boxes"]]), np.append(np.ones(count), m.payload["scores"]))


def move(m: Message, world_T_ego: Float64, rng: np.random.Generator, *, by_m: float) -> Message:
    """All of its boxes moved one way, a little surer than they were."""
    angle = rng.uniform(-np.pi, np.pi)
    boxes = m.payload["boxes"] + np.array([by_m * np.cos(angle), by_m * np.sin(angle), 0, 0, 0, 0, 0])
    return _sent(m, boxes, m.payload["scores"] + 0.1)


def distort(m: Message, world_T_ego: Float64, rng: np.random.Generator, *, turn_rad: float, grow: float) -> Message:
    """All of its boxes turned or inflated where they are, a little surer than they were."""
    boxes = m.payload["boxes"] * np.array([1, 1, 1, grow, grow, 1, 1]) + np.array([0, 0, 0, 0, 0, 0, turn_rad])
    return _sent(m, boxes, m.payload["scores"] + 0.1)


def silence(m: Message, world_T_ego: Float64, rng: np.random.Generator) -> Message:
    """No boxes at all: nothing of others' is removed by it, and it cannot be told from an agent that sees nothing."""
    return _sent(m, m.payload["boxes"][:0], m.payload["scores"][:0])


def _sent(m: Message, boxes: Array, scores: Array) -> Message:
    return m.with_payload(boxes=boxes.astype(np.float32), scores=np.clip(scores, 0, 1).astype(np.float32))


LIES: Final[dict[str, Lie]] = {
    "spoof 5": partial(spoof, count=5),
    "spoof 1": partial(spoof, count=1),
    "move 3 m": partial(move, by_m=3.0),
    "move 1.5 m": partial(move, by_m=1.5),
    "turn": partial(distort, turn_rad=np.pi / 2, grow=1.0),
    "inflate": partial(distort, turn_rad=0.0, grow=1.6),
    "silence": silence,
}
COUNTED: Final = tuple(lie for lie in LIES if lie != "silence")  # in the mean: nobody could tell silence


def auc(honest: Sequence[float], attacked: Sequence[float]) -> float:
    """Probability that an honest subset agrees more than an attacked one, ties counting half."""
    ranked = np.sort(honest)
    below, upto = (np.searchsorted(ranked, attacked, side=s) for s in ("left", "right"))
    return float(np.mean(len(ranked) - (below + upto) / 2) / len(ranked))


Found: TypeAlias = dict[tuple[str, str, int], list[float]]  # profile, lie ("" = honest), size -> agreements


def add_agreements(found: Found, detector: LateFusion, grid: BevGrid, index: int, sizes: Sequence[int]) -> None:
    """All subsets of one validation frame, honest and under each lie of one and of two teammates."""
    frame, _ = scenario("val", index).snapshot(0).frame()
    to = Request.of(frame.ego)
    honest = {i: detector.encode(view, to) for i, view in sorted(frame.others.items())}
    subsets = [frozenset(c) for size in sizes for c in combinations(honest, size)]
    measure = SeenScoreMap()
    seen = seen_cells(frame.ego.points, grid)
    weight = seen + measure.unseen_weight * (1 - seen)
    for lie, m in [("", 0), *((lie, m) for lie in LIES for m in (1, 2))]:
        liars = choose_attackers(0, frame.scenario, list(honest), m)
        rng = keyed_rng(0, frame.scenario, lie, m)
        inbox = [LIES[lie](honest[i], to.world_T_ego, rng) if i in liars else honest[i] for i in honest]
        tried = [s for s in subsets if s & liars or not m]
        reference, *results = detector.open(frame.ego, to, inbox).detect([EGO_ALONE, *tried])
        jaccard = BoxJaccard().against(reference)
        for name, profile in PROFILES.items():
            own = profile(reference.boxes, reference.scores, grid)
            for subset, result in zip(tried, results, strict=True):
                shown = profile(result.boxes, result.scores, grid)
                value = overlap(own, shown, weight=weight, floor=measure.floor, slack=measure.slack)
                found.setdefault((name, lie, len(subset)), []).append(value)
        for subset, result in zip(tried, results, strict=True):
            found.setdefault(("box Jaccard", lie, len(subset)), []).append(jaccard(result))


def profiles(scenes: Sequence[int], cell_m: float) -> str:
    alone = single("mean")
    detector = LateFusion(alone, name="late-mean", grid=alone.grid)
    half = int(np.ceil(alone.grid.x_max_m / cell_m))
    grid = BevGrid(-half * cell_m, -half * cell_m, cell_m, 2 * half, 2 * half)
    found: Found = {}
    sizes = (1, 3, 5)
    for index in scenes:
        add_agreements(found, detector, grid, index, sizes)
    lines = [
        f"{len(scenes)} validation scenes, cells of {cell_m:g} m: area under ROC, mean over subset sizes {sizes}",
        f"{'profile':28s}  mean  " + "  ".join(f"{lie:>10s}" for lie in LIES) + "   (mean: without silence)",
    ]
    for name in [*PROFILES, "box Jaccard"]:
        by_lie = {
            lie: float(np.mean([auc(found[name, "", size], found[name, lie, size]) for size in sizes])) for lie in LIES
        }
        mean = np.mean([by_lie[lie] for lie in COUNTED])
        lines.append(f"{name:28s} {mean:.3f}  " + "  ".join(f"{v:10.3f}" for v in by_lie.values()))
    return "\n".join(lines)


# ---------------------------------------------------------------------------------------------------------- defence
POLICIES: Final = ("ego-only", "none", "robosac", "robosac-known", "oracle", "all-honest")


def defence(title: str, detector: Detector, attack: Attack, scenes: Sequence[int], calibrating: int) -> str:
    """AP@0.5 and whether liars were used, a row a policy."""
    honest = (scenario("calibration", i).snapshot(0).frame()[0] for i in range(calibrating))
    calibration = calibrate(detector, honest, [SeenScoreMap()], alpha=0.02, rng=keyed_rng(0, "late study"))
    records: dict[tuple[str, int], list[FrameRecord]] = {}
    policies = [policy(name) for name in POLICIES]
    for index in scenes:
        frames = [scenario("val", index).snapshot(0).frame()]
        for p in play(frames, detector, attack, (0, 1, 2), policies, seed=0, calibration=calibration):
            records.setdefault((p.policy, p.n_attackers), []).append(p.record)
    lines = [f"{title}: {len(scenes)} validation scenes, thresholds from {calibrating} others; AP@0.5 (liars used, %)"]
    lines.append(f"{'policy':16s}" + "".join(f"{f'{m} of 5 lie':>18s}" for m in (0, 1, 2)))
    for name in POLICIES:
        cells = []
        for m in (0, 1, 2):
            ap = average_precision([r.matches for r in records[name, m]])[0.5]
            liars = [len(r.attackers & r.used) / len(r.attackers) for r in records[name, m] if r.attackers]
            used = f" ({100 * np.mean(liars):3.0f})" if liars else "      "
            cells.append(f"{'-' if ap is None else f'{ap:.3f}'}{used}")
        lines.append(f"{name:16s}" + "".join(f"{c:>18s}" for c in cells))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", nargs="+", choices=("profiles", "late", "late-wbf", "early"))
    parser.add_argument("--scenes", type=int, default=40, help="validation scenes a table")
    parser.add_argument("--calibrating", type=int, default=200, help="calibration scenes")
    parser.add_argument("--cells", nargs="+", type=float, default=[1.2, 0.6], help="metres a cell, of the first table")
    args = parser.parse_args()
    set_threads(1)
    tables = args.tables or ("profiles", "late", "late-wbf", "early")
    if "profiles" in tables:
        for cell_m in args.cells:
            print(profiles(range(60, 60 + args.scenes), cell_m) + "\n", flush=True)
    alone = single("mean")
    rows: dict[str, tuple[str, Detector, Attack]] = {
        "late": ("late fusion, NMS", LateFusion(alone, name="late-mean", grid=alone.grid), BoxLies()),
        "late-wbf": (
            "late fusion, weighted boxes",
            LateFusion(alone, name="late-wbf-mean", grid=alone.grid, merge="wbf"),
            BoxLies(),
        ),
        "early": ("early fusion", EarlyFusion(alone, name="early-mean", grid=alone.grid), PointLies(detect=alone)),
    }
    for name, (title, detector, attack) in rows.items():
        if name in tables:
            scenes = range(100, 100 + args.scenes)
            print(defence(title, detector, attack, scenes, args.calibrating) + "\n", flush=True)


if __name__ == "__main__":
    main()
