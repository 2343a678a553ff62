"""Model folders as training leaves them, with seeded random weights: what a user of docs/frameworks.md has at hand.

    python -m tests.adapters.folders OUT NAME [--root CHECKOUT] [--half METRES] [--pillar METRES]

makes OUT/my_NAME (of coperception OUT/epoch_100.pth) for NAME of opencood, coalign, heal, v2xr or coperception. A
process imports one framework of the name opencood, so each is made in a process of its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from benchmarks import coperception, opencood_models
from robosac.detectors.adapters.coperception import bridges as coperception_bridges
from tests.adapters.forks import CASES, coarser, detector_of, shrunk, simulated

HALF_M: Final = 38.4
PILLAR_M: Final = 1.2  # 64 x 64: coarse, so that it is quick, and wide, so that teammates are seen
OF_FORKS: Final = {"coalign": ("CoAlign", "CoAlign"), "heal": ("HEAL", "HEAL pyramid"), "v2xr": ("V2X-R", "AttFuse")}
ASSIGNED: Final = "kinds.json"  # HEAL: which agent is of which kind


def config_of(name: str, root: Path | None, half_m: float, pillar_m: float) -> dict[str, Any]:
    """The configuration of a model over +-`half_m`: a fork's own file, or OpenCOOD's AttFuse."""
    half = (half_m, half_m)
    if name == "opencood":
        return coarser(opencood_models.config("AttFuse", half), pillar_m)
    if root is None:
        raise SystemExit(f"expected --root, the checkout of {OF_FORKS[name][0]}")
    fork, case = OF_FORKS[name]
    config = shrunk(root, CASES[fork][case], half, pillar_m)
    if "heter" in config:
        config["heter"]["assignment_path"] = ASSIGNED
    return config


def write_folder(out: Path, name: str, root: Path | None, half_m: float, pillar_m: float) -> Path:
    """`out/my_NAME` with config.yaml and net_epoch1.pth."""
    folder = out / f"my_{name}"
    folder.mkdir(parents=True)
    config = config_of(name, root, half_m, pillar_m)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    detector = detector_of(config, root, simulated()[0])
    torch.save(detector.engine.model.state_dict(), folder / "net_epoch1.pth")
    return folder


def write_coperception(out: Path, root: Path | None = None) -> Path:
    """`out/epoch_100.pth` of mean fusion, as coperception's training writes it."""
    det, configs = coperception_bridges.load(root)
    model = coperception.random_model(det, configs, coperception.Variant("mean"), agents=6)
    file = out / "epoch_100.pth"
    torch.save({"epoch": 100, "model_state_dict": model.state_dict()}, file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("name", choices=["opencood", *OF_FORKS, "coperception"])
    parser.add_argument("--root", type=Path, help="a checkout; default: the installed package")
    parser.add_argument("--half", type=float, default=HALF_M, help="half the side of the range, metres")
    parser.add_argument("--pillar", type=float, default=PILLAR_M, help="the side of a pillar, metres")
    args = parser.parse_args()
    torch.set_num_threads(1)
    root = None if args.root is None else args.root.resolve()
    made = write_coperception(args.out, root) if args.name == "coperception" else None
    print(made or write_folder(args.out, args.name, root, args.half, args.pillar))


if __name__ == "__main__":
    main()
