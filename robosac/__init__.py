"""robosac: consensus defence for V2X collaborative 3D detection, around any detector.

detector = robosac.load_detector("mean")
for frame, truth in robosac.load_data("sim:mixed"):
    attacked = robosac.attack(frame, detector, "pgd", attackers=2)
    print(robosac.wrap(detector)(attacked))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from robosac.experiments.api import evaluate as evaluate
    from robosac.facade import attack as attack
    from robosac.facade import load_data as load_data
    from robosac.facade import load_detector as load_detector
    from robosac.facade import wrap as wrap
    from robosac.types import Frame as Frame
    from robosac.verdicts import check_frame as check_frame

__version__ = "0.1.0"
_PLACES: Final = {  # heavy packages open only when they are asked for
    "wrap": "facade",
    "load_detector": "facade",
    "load_data": "facade",
    "attack": "facade",
    "evaluate": "experiments.api",
    "Frame": "types",
    "check_frame": "verdicts",
}
__all__ = ["Frame", "__version__", "attack", "check_frame", "evaluate", "load_data", "load_detector", "wrap"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"robosac.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'robosac' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
