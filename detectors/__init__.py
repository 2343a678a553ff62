"""Detectors. `load("mean")` gives a shipped one; importing this package does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from robosac.errors import did_you_mean
from robosac.types import InputError

if TYPE_CHECKING:
    from robosac.detectors.bev.detector import BevDetector
    from robosac.detectors.fusion.early import EarlyFusion as EarlyFusion
    from robosac.detectors.fusion.late import LateFusion as LateFusion

__all__ = ["SHIPPED", "WEIGHTS", "EarlyFusion", "LateFusion", "load"]

WEIGHTS: Final = Path(__file__).parent / "weights"
SHIPPED: Final = {
    "mean": "mean fusion, features in [0, 1): the default",
    "max": "max fusion, features in [0, 1)",
    "attention": "attention fusion, features in [0, 1)",
    "mean-unbounded": "mean fusion, features in [0, inf)",
    "max-unbounded": "max fusion, features in [0, inf)",
    "attention-unbounded": "attention fusion, features in [0, inf)",
    "road-mean": "mean fusion, features in [0, 1), +-76.8 x +-38.4 m: for recordings",
    "road-max": "max fusion, as road-mean",
    "road-attention": "attention fusion, as road-mean",
}


def load(name_or_path: str | Path, *, device: str = "cpu") -> BevDetector:
    """A shipped detector by name, or one from the file that `robosac train` wrote, on `cpu` or `cuda`.

    Raises:
        InputError: if it is neither a shipped name nor a weights file, or there is no such device.
    """
    from robosac.detectors.bev.detector import BevDetector

    path = Path(name_or_path).expanduser()
    if str(name_or_path) in SHIPPED:
        path = WEIGHTS / f"{name_or_path}.safetensors"
    elif path.suffix != ".safetensors":
        raise InputError(
            f"expected a shipped detector ({', '.join(SHIPPED)}) or a path to .safetensors, got {str(name_or_path)!r}"
            f"{did_you_mean(name_or_path, SHIPPED)}"
        )
    return BevDetector.from_file(path, device=device)


def __getattr__(name: str) -> Any:
    if name in ("LateFusion", "EarlyFusion"):
        from importlib import import_module

        return getattr(import_module(f"robosac.detectors.fusion.{name.removesuffix('Fusion').lower()}"), name)
    raise AttributeError(f"module 'robosac.detectors' has no attribute {name!r}")
