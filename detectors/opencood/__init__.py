"""OpenCOOD's intermediate-fusion models, defended. Imports the user's own OpenCOOD, and carries none of it.

detector = OpenCOODDetector.from_folder("path/to/model_dir")      # config.yaml and a checkpoint
defended = robosac.wrap(detector)
verdict = defended(frame)                                         # or defended(detector.frame(batch))
"""

from detectors.opencood.decode import RawDetections
from detectors.opencood.detector import OpenCOODDetector
from detectors.opencood.specs import Skip, Spec, register_spec
from detectors.replay import Tap

__all__ = ["OpenCOODDetector", "RawDetections", "Skip", "Spec", "Tap", "register_spec"]
