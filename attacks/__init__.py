"""Attacks on a collaborative detector. An attack is a value: settings, `repr`, equality; `load` makes one by name."""

from attacks.adaptive import AdaptivePgd, DrawnSubsets, KeepsAgreement
from attacks.blind import BlindArea, PretendBenign
from attacks.framing import FrameUp
from attacks.gradient import Bim, CwMargin, Pgd
from attacks.link import Drop, Duplicate, Sybil
from attacks.noise import GaussianNoise, UniformNoise
from attacks.objectives import BalancedInvertedBce, InvertedBce, Margin, Peaks, Threshold, WeightedSum
from attacks.pose import Drift, GpsOffset, HeadingBias
from attacks.pose_gradient import PoseGradient
from attacks.posepert import PosePert
from attacks.presets import load, names
from attacks.problem import FullFusion
from attacks.rehearsed import KnowsSeed
from attacks.schedules import Always, Bursts, EveryKth, RandomFrames, Rotating, Scheduled, Sleeper
from attacks.staleness import Freeze, Replay, SoldAsFresh
from attacks.transfer import Transfer

__all__ = [
    "AdaptivePgd",
    "Always",
    "BalancedInvertedBce",
    "Bim",
    "BlindArea",
    "Bursts",
    "CwMargin",
    "DrawnSubsets",
    "Drift",
    "Drop",
    "Duplicate",
    "EveryKth",
    "FrameUp",
    "Freeze",
    "FullFusion",
    "GaussianNoise",
    "GpsOffset",
    "HeadingBias",
    "InvertedBce",
    "KeepsAgreement",
    "KnowsSeed",
    "Margin",
    "Peaks",
    "Pgd",
    "PoseGradient",
    "PosePert",
    "PretendBenign",
    "RandomFrames",
    "Replay",
    "Rotating",
    "Scheduled",
    "Sleeper",
    "SoldAsFresh",
    "Sybil",
    "Threshold",
    "Transfer",
    "UniformNoise",
    "WeightedSum",
    "load",
    "names",
]
