"""Is a wrapped model of a fork still the model? From the fork's own configuration files, with random weights.

    python -m tests.adapters.forks CHECKOUT [CASE ...]
    python -m tests.adapters.forks CHECKOUT --every

prints a line a case: the table of `benchmarks.adapters`, over a range of 12.8 m. A process imports one fork, so the
tests start this module anew for each. `--every` goes through every configuration file of the checkout, without those
that fuse nothing inside, and says of those that cannot be built or wrapped why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import yaml

from benchmarks.adapters import FEW_RAYS, difference, exactness, huddled, nearest
from benchmarks.opencood_models import random_model, settle, tame
from robosac.detectors.adapters.opencood import OpenCOODDetector, bridges
from robosac.detectors.adapters.opencood.folder import build_dataset
from robosac.detectors.adapters.opencood.hypes import load_hypes, read_config
from robosac.detectors.adapters.opencood.session import as_arrays
from robosac.simulation import scenario
from robosac.types import Frame, Id, Request, Truth
from tests.adapters.opv2v import agent_folders, write_split

HALF: Final = (12.8, 12.8)  # half extents in metres along x and y: 64 x 64 pillars
Change = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Case:
    """A configuration file under `opencood/hypes_yaml`.

    Attributes:
        change: alters it, once its ranges are small.
        mixed: whether every other teammate is of the second kind that the model knows.
        batch: whether the fork's own data set and loader are asked as well, on a simulated drive.
        bar: what may differ, as a share of the largest output.
        repaired: text that is no YAML as published, and what it must be.
    """

    file: str
    change: Change | None = None
    mixed: bool = False
    batch: bool = False
    bar: float = 0.0
    repaired: tuple[str, str] = ("", "")


def fused_by(method: str, argument: Any) -> Change:
    """Another fusion method of a model that has several, with its argument."""

    def change(config: dict[str, Any]) -> None:
        config["model"]["args"].update({"fusion_method": method, method: argument})

    return change


def compressed(config: dict[str, Any]) -> None:
    config["model"]["args"]["compression"] = 4


def squeezed(config: dict[str, Any]) -> None:
    """HEAL's compressor in front of the fusion."""
    config["model"]["args"]["compressor"] = {"input_dim": 64, "compress_ratio": 4}


def no_cameras(config: dict[str, Any]) -> None:
    """HEAL's agents with a LiDAR alone, m1 and m3."""
    for part in (config["model"]["args"], config["heter"]["modality_setting"], config["heter"]["mapping_dict"]):
        for kind in ("m2", "m4"):
            part.pop(kind, None)
    config["heter"]["ego_modality"] = config["model"]["args"]["ego_modality"] = "m1"
    config["heter"].pop("lidar_channels_dict", None)  # clouds of 32 beams, which the data set reads from other files
    config["input_source"] = ["lidar"]
    config.pop("add_data_extension", None)  # pictures


def unaligned(config: dict[str, Any]) -> None:
    """Without CoAlign's boxes of a first stage, which its data set reads from files."""
    config.pop("box_align", None)


_COALIGN: Final = "opv2v/lidar_only_with_noise/"
_HEAL: Final = "opv2v/LiDAROnly/lidar_"
_MORE: Final = "opv2v/MoreModality/4_modality_end2end_training/m1m2m3m4_"
_WHEN2COM: Final = {"in_channels": 256, "H": 32, "W": 32, "query_size": 32, "key_size": 256}
CASES: Final[dict[str, dict[str, Case]]] = {
    "CoAlign": {
        "CoAlign": Case(_COALIGN + "coalign/pointpillar_coalign.yaml", unaligned, batch=True),
        "CoAlign, compression 4": Case(_COALIGN + "coalign/pointpillar_coalign.yaml", compressed),
        "maximum, three scales": Case(_COALIGN + "coalign/pointpillar_coalign.yaml", fused_by("max", {})),
        "self-attention": Case(_COALIGN + "pointpillar_selfatt.yaml", batch=True),
        "self-attention, one scale": Case(_COALIGN + "pointpillar_selfatt_singlescale.yaml"),
        "F-Cooper": Case(_COALIGN + "pointpillar_fcooper.yaml"),
        "F-Cooper, compression 4": Case(_COALIGN + "pointpillar_fcooper.yaml", compressed),
        "DiscoNet": Case(_COALIGN + "pointpillar_disconet.yaml"),
        "DiscoNet, untaught": Case(_COALIGN + "pointpillar_fcooper.yaml", fused_by("disconet", {"feat_dim": 256})),
        "When2com": Case(_COALIGN + "pointpillar_fcooper.yaml", fused_by("when2comm", _WHEN2COM)),
        "V2VNet": Case(_COALIGN + "pointpillar_v2vnet.yaml"),
        "V2X-ViT": Case(_COALIGN + "pointpillar_v2xvit.yaml"),
        "MASH": Case(_COALIGN + "pointpillar_mash.yaml"),
        "DAIR-V2X, CoAlign": Case("dairv2x/lidar_only_with_noise/coalign/pointpillar_coalign.yaml", unaligned),
        "V2X-Sim, V2VNet": Case("v2xsim/lidar_only_with_noise/pointpillar_v2vnet.yaml"),
    },
    "HEAL": {
        "HEAL pyramid": Case(_HEAL + "pyramid.yaml", batch=True),
        "HEAL pyramid, compression 4": Case(_HEAL + "pyramid.yaml", squeezed),
        "CoAlign": Case(_HEAL + "coalign.yaml", repaired=(": att\n      feat", ": att\n    att:\n      feat")),
        "attention": Case(_HEAL + "attfuse.yaml"),
        "F-Cooper": Case(_HEAL + "fcooper.yaml"),
        "V2VNet": Case(_HEAL + "v2vnet.yaml"),
        "V2X-ViT": Case(_HEAL + "v2xvit.yaml"),
        "CoBEVT": Case(_HEAL + "cobevt.yaml"),
        "Where2comm": Case(_HEAL + "attfuse.yaml", fused_by("where2comm", 256)),
        "Who2com": Case(_HEAL + "attfuse.yaml", fused_by("who2com", 256)),
        "pyramid, two kinds of LiDAR": Case(_MORE + "pyramid.yaml", no_cameras, mixed=True, batch=True, bar=1e-6),
        "attention, two kinds of LiDAR": Case(_MORE + "attfuse.yaml", no_cameras, mixed=True, bar=1e-6),
    },
    "V2X-R": {
        "AttFuse": Case("V2X-R/LiDAR/V2XR_attfuse.yaml"),
        "CoAlign": Case("V2X-R/LiDAR/V2XR_coalign.yaml"),
        "CoBEVT": Case("V2X-R/LiDAR/V2XR_cobevt.yaml"),
        "Where2comm": Case("V2X-R/LiDAR/V2XR_where2comm.yaml"),
        "V2X-ViT": Case("V2X-R/LiDAR/V2XR_v2xvit.yaml"),
        "V2VNet": Case("opv2v/opv2v_v2vnet.yaml"),
        "F-Cooper": Case("dair-v2x/dair_fcooper.yaml"),
        "DiscoNet": Case("dair-v2x/dair_disconet.yaml"),
        "AdaFusion": Case("V2X-R/LiDAR/V2XR_adafusion.yaml"),
        "When2com": Case("opv2v/opv2v_when2com.yaml"),
    },
}


def shrunk(root: Path, case: Case, half: tuple[float, float] = HALF, pillar_m: float | None = None) -> dict[str, Any]:
    """A case's configuration, with every range in it brought to `half` and the sizes of maps fitted; pillars of another
    size where one is given."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "config.yaml"
        file.write_text((root / "opencood" / "hypes_yaml" / case.file).read_text().replace(*case.repaired))
        config = read_config(file)
    wide = config["cav_lidar_range"] if "cav_lidar_range" in config else config["preprocess"]["cav_lidar_range"]
    small = [-half[0], -half[1], wide[2], half[0], half[1], wide[5]]
    _replace(config, list(wide), small)
    for sized in _sized(config):
        sized["H"], sized["W"] = (round(sized[k] * half[i] / wide[3 + i]) for k, i in (("H", 1), ("W", 0)))
    if case.change is not None:
        case.change(config)
    return config if pillar_m is None else coarser(config, pillar_m)


def coarser(config: dict[str, Any], pillar_m: float) -> dict[str, Any]:
    """The configuration with pillars of another size; for models that name no sizes of maps."""
    voxel = list(config["preprocess"]["args"]["voxel_size"])
    _replace(config, voxel, [pillar_m, pillar_m, *voxel[2:]])
    return config


def _replace(value: Any, old: list[float], new: list[float]) -> None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        if isinstance(inner, list) and inner == old:
            value[key] = list(new)
        else:
            _replace(inner, old, new)


def _sized(value: Any) -> Iterator[dict[str, Any]]:
    """Every part that names the rows and columns of a map."""
    if isinstance(value, dict) and {"H", "W"} <= set(value):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _sized(inner)


def derived(config: Mapping[str, Any], root: Path | None) -> dict[str, Any]:
    """What the adapter makes of such a file: the framework's own parser has run."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "config.yaml"
        file.write_text(yaml.safe_dump(dict(config)))
        return load_hypes(file, root)


def detector_of(
    config: Mapping[str, Any], root: Path | None, frame: Frame, modalities: Mapping[Id, str] | None = None
) -> OpenCOODDetector:
    """A wrapped random model, tamed on what its ego sees."""
    hypes = derived(config, root)
    model = random_model(hypes, root)
    raw = OpenCOODDetector(model, hypes, modalities=modalities)
    to, others = Request.of(frame.ego), [frame.others[i] for i in nearest(frame, 4)]
    settle(model, lambda: raw.full(frame.ego, others, to))
    outputs = raw.full(frame.ego, others, to)
    classes, boxes = raw.spec.heads
    tame(model, outputs[classes], outputs[boxes], hypes["postprocess"]["target_args"]["score_threshold"])
    return OpenCOODDetector(model, hypes, modalities=modalities)


def simulated() -> tuple[Frame, Truth]:
    frame, truth = scenario("val", 0, config=FEW_RAYS).snapshot(0).frame()
    return huddled(frame), truth


def measured(case: Case, name: str, root: Path) -> dict[str, Any]:
    """The row of a case; with what its own batch differs by (`batch`) and its own post-processing (`own`, boxes)."""
    frame, truth = simulated()
    config = shrunk(root, case)
    kinds = dict(zip(frame.others, cycle(["m1", "m3"]), strict=False)) if case.mixed else {}
    detector = detector_of(config, root, frame, kinds)
    row = {"name": name, **asdict(exactness(detector, frame)), "empty": without_points(detector, frame)}
    return {**row, **(from_batch(config, root, detector, frame, truth, kinds) if case.batch else {})}


def without_points(detector: OpenCOODDetector, frame: Frame) -> float:
    """What a subset differs by in which one agent has no point in range, and another has."""
    to, near = Request.of(frame.ego), nearest(frame, 2)
    blind = replace(frame.others[near[0]], points=np.full((3, 4), 900.0, np.float32))
    views = [blind, frame.others[near[1]]]
    session = detector.open(frame.ego, to, [detector.encode(view, to) for view in views])
    return difference(detector.full(frame.ego, views, to), session.outputs(frozenset(near)))


def from_batch(
    config: dict[str, Any], root: Path, detector: OpenCOODDetector, frame: Frame, truth: Truth, kinds: Mapping[Id, str]
) -> dict[str, Any]:
    """A batch of the fork's own loader through its own model, and through ours from messages."""
    with tempfile.TemporaryDirectory() as place:
        split = write_split(Path(place) / "test", [(frame, truth)])
        if "heter" in config:
            folders = agent_folders(frame)
            table = {frame.scenario: {folders[i]: kinds.get(i, "m1") for i in folders}}
            (Path(place) / "kinds.json").write_text(json.dumps(table))
            config["heter"]["assignment_path"] = str(Path(place) / "kinds.json")
        hypes = derived(config, root)
        dataset = build_dataset(hypes, split, root=root)
        batch = dataset.collate_batch_test([dataset[0]])
    model = detector.engine.model
    with torch.no_grad(), bridges.bridged(root):
        theirs = as_arrays(model(batch["ego"]))
    wrapped = OpenCOODDetector(model, detector.hypes, dataset=dataset)
    seen = wrapped.frame(batch)
    to = Request.of(seen.ego)
    session = wrapped.open(seen.ego, to, [wrapped.encode(view, to) for view in seen.others.values()])
    result = session.detect([frozenset(seen.others)])[0]
    boxes, scores, _ = wrapped.own(batch, result)
    found = 0 if boxes is None else len(boxes)
    apart = float("inf") if found != len(result) else 0.0
    if found and found == len(result):
        apart = float(np.abs(np.sort(scores.numpy()) - np.sort(result.scores)).max())
    return {"batch": difference(theirs, session.outputs(frozenset(seen.others))), "own": apart, "own_boxes": found}


def every(root: Path) -> Iterator[dict[str, Any]]:
    """What each configuration file of intermediate fusion gives, or why it gives nothing."""
    folder = root / "opencood" / "hypes_yaml"
    for file in sorted(folder.rglob("*.yaml")):
        fusion = re.search(r"^fusion:\s*\n\s+core_method:\s*['\"]?(\w+)", file.read_text(), re.MULTILINE)
        if fusion is None or "intermediate" not in fusion[1].lower():
            continue
        name = str(file.relative_to(folder))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                row = measured(Case(name, without_cameras), name, root)
        except Exception as error:  # whatever the fork's code raises is what is to be said
            row = {"name": name, "error": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
        yield row


def without_cameras(config: dict[str, Any]) -> None:
    """HEAL's agents with a LiDAR alone, where a configuration has such at all."""
    kinds = (config.get("heter") or {}).get("modality_setting") or {}
    if any(kind["sensor_type"] == "lidar" for kind in kinds.values()):
        for kind in [k for k, it in kinds.items() if it["sensor_type"] != "lidar"]:
            for part in (config["model"]["args"], kinds, config["heter"].get("mapping_dict") or {}):
                part.pop(kind, None)
        config["heter"]["ego_modality"] = config["model"]["args"]["ego_modality"] = next(iter(kinds))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="a checkout of the fork")
    parser.add_argument("cases", nargs="*", help="default: all")
    parser.add_argument("--every", action="store_true", help="every configuration file")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    if args.every:
        for row in every(args.root.resolve()):
            print(json.dumps(row), flush=True)
        return
    cases = CASES[bridges.framework(args.root.resolve())]
    for name in args.cases or cases:
        print(json.dumps(measured(cases[name], name, args.root.resolve())), flush=True)


if __name__ == "__main__":
    main()
