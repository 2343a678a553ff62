"""Claimed poses against what is seen in common: how far one is off, how sure that is, and a message with it mended."""

from robosac.poses.check import PoseCheck, PoseVerdict
from robosac.poses.fitting import PoseEstimate, estimate
from robosac.poses.free import FreeGround
from robosac.poses.hypotheses import Limits
from robosac.poses.joint import JointCheck
from robosac.poses.objects import Objects
from robosac.poses.offset import Offset, mended
from robosac.poses.statistics import PoseGain

__all__ = [
    "FreeGround",
    "JointCheck",
    "Limits",
    "Objects",
    "Offset",
    "PoseCheck",
    "PoseEstimate",
    "PoseGain",
    "PoseVerdict",
    "estimate",
    "mended",
]
