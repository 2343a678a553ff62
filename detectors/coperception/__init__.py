"""coperception's fusion models, defended: `CoperceptionDetector.from_checkpoint(path, model="mean")`.

The user's installed coperception or checkout is imported; nothing of it is carried here.
"""

from detectors.coperception.decode import DecodeConfig, their_corners, their_predictions
from detectors.coperception.detector import CoperceptionDetector
from detectors.coperception.layout import Layout, VoxelView
from detectors.coperception.session import CoperceptionSession

__all__ = [
    "CoperceptionDetector",
    "CoperceptionSession",
    "DecodeConfig",
    "Layout",
    "VoxelView",
    "their_corners",
    "their_predictions",
]
