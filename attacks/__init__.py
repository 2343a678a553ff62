"""Attacks on a collaborative detector. An attack is a value: settings, `repr`, equality; `load` makes one by name."""

from robosac.attacks.adaptive.agreement import AdaptivePgd, DrawnSubsets, Informed, KeepsAgreement
from robosac.attacks.adaptive.blind import BlindArea, PretendBenign
from robosac.attacks.adaptive.framing import FrameUp
from robosac.attacks.adaptive.knows_seed import KnowsSeed
from robosac.attacks.boxes.edits import BoxConfidence, BoxFlood, BoxRemove, BoxResize, BoxShift, BoxSpoof
from robosac.attacks.features.apgd import Apgd
from robosac.attacks.features.carlini import CwL2
from robosac.attacks.features.flood import Flood
from robosac.attacks.features.geometry import FeatureErase, FeatureFlip, FeatureMix, FeatureRotate, FeatureShift
from robosac.attacks.features.goals import Hide, Spoof, Tu
from robosac.attacks.features.gradient import Bim, CwMargin, Fgsm, MiFgsm, Pgd
from robosac.attacks.features.noise import Dropout, GaussianNoise, NonFinite, Saturation, UniformNoise
from robosac.attacks.features.norms import L2, Linf
from robosac.attacks.features.objectives import BalancedInvertedBce, InvertedBce, Margin, Peaks, Threshold, WeightedSum
from robosac.attacks.features.problem import FullFusion
from robosac.attacks.features.target_subsets import RandomSubsets, Subsets
from robosac.attacks.features.targeted import FakeOne, HideOne
from robosac.attacks.link.messages import Drop, Duplicate, Sybil
from robosac.attacks.link.staleness import Freeze, Replay, SoldAsFresh
from robosac.attacks.points.cars import RemoveCar, SpoofCar
from robosac.attacks.pose.offsets import Drift, GpsOffset, HeadingBias
from robosac.attacks.pose.pose_gradient import PoseGradient
from robosac.attacks.pose.posepert import PosePert
from robosac.attacks.presets import load, names
from robosac.attacks.wrappers.after_warp import AfterWarp
from robosac.attacks.wrappers.schedules import Always, Bursts, EveryKth, RandomFrames, Rotating, Scheduled, Sleeper
from robosac.attacks.wrappers.transfer import Transfer

__all__ = [
    "L2",
    "AdaptivePgd",
    "AfterWarp",
    "Always",
    "Apgd",
    "BalancedInvertedBce",
    "Bim",
    "BlindArea",
    "BoxConfidence",
    "BoxFlood",
    "BoxRemove",
    "BoxResize",
    "BoxShift",
    "BoxSpoof",
    "Bursts",
    "CwL2",
    "CwMargin",
    "DrawnSubsets",
    "Drift",
    "Drop",
    "Dropout",
    "Duplicate",
    "EveryKth",
    "FakeOne",
    "FeatureErase",
    "FeatureFlip",
    "FeatureMix",
    "FeatureRotate",
    "FeatureShift",
    "Fgsm",
    "Flood",
    "FrameUp",
    "Freeze",
    "FullFusion",
    "GaussianNoise",
    "GpsOffset",
    "HeadingBias",
    "Hide",
    "HideOne",
    "Informed",
    "InvertedBce",
    "KeepsAgreement",
    "KnowsSeed",
    "Linf",
    "Margin",
    "MiFgsm",
    "NonFinite",
    "Peaks",
    "Pgd",
    "PoseGradient",
    "PosePert",
    "PretendBenign",
    "RandomFrames",
    "RandomSubsets",
    "RemoveCar",
    "Replay",
    "Rotating",
    "Saturation",
    "Scheduled",
    "Sleeper",
    "SoldAsFresh",
    "Spoof",
    "SpoofCar",
    "Subsets",
    "Sybil",
    "Threshold",
    "Transfer",
    "Tu",
    "UniformNoise",
    "WeightedSum",
    "load",
    "names",
]
