"""coperception's fusion models, defended: `CoperceptionDetector.from_checkpoint(path, model="mean")`.

The user's installed coperception or checkout is imported; nothing of it is carried here.
"""

from robosac.detectors.adapters.coperception.decode import DecodeConfig, their_corners, their_predictions
from robosac.detectors.adapters.coperception.detector import CoperceptionDetector
from robosac.detectors.adapters.coperception.layout import Layout, VoxelView
from robosac.detectors.adapters.coperception.session import CoperceptionSession

__all__ = [
    "CoperceptionDetector",
    "CoperceptionSession",
    "DecodeConfig",
    "Layout",
    "VoxelView",
    "their_corners",
    "their_predictions",
]
