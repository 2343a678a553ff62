"""OpenCOOD's intermediate-fusion models, defended. Imports the user's own OpenCOOD, and carries none of it.

detector = OpenCOODDetector.from_folder("path/to/model_dir")      # config.yaml and a checkpoint
defended = robosac.wrap(detector)
verdict = defended(frame)                                         # or defended(detector.frame(batch))
"""

from robosac.detectors.adapters.opencood.decode import RawDetections
from robosac.detectors.adapters.opencood.detector import OpenCOODDetector
from robosac.detectors.adapters.opencood.folder import build_dataset, load_folder
from robosac.detectors.adapters.opencood.known import register_spec
from robosac.detectors.adapters.opencood.specs import Skip, Spec
from robosac.detectors.adapters.replay import Tap

__all__ = [
    "OpenCOODDetector",
    "RawDetections",
    "Skip",
    "Spec",
    "Tap",
    "build_dataset",
    "load_folder",
    "register_spec",
]
