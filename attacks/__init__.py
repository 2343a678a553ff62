"""Attacks on a collaborative detector. An attack is a value: settings, `repr`, equality; `load` makes one by name."""

from attacks.adaptive import AdaptivePgd, DrawnSubsets, Informed, KeepsAgreement
from attacks.aims import RandomSubsets, Subsets
from attacks.apgd import Apgd
from attacks.blind import BlindArea, PretendBenign
from attacks.boxes import BoxConfidence, BoxFlood, BoxRemove, BoxResize, BoxShift, BoxSpoof
from attacks.carlini import CwL2
from attacks.flooding import Flood
from attacks.framing import FrameUp
from attacks.geometry import FeatureErase, FeatureFlip, FeatureMix, FeatureRotate, FeatureShift
from attacks.goals import Hide, Spoof, Tu
from attacks.gradient import Bim, CwMargin, Fgsm, MiFgsm, Pgd
from attacks.link import Drop, Duplicate, Sybil
from attacks.noise import Dropout, GaussianNoise, NonFinite, Saturation, UniformNoise
from attacks.norms import L2, Linf
from attacks.objectives import BalancedInvertedBce, InvertedBce, Margin, Peaks, Threshold, WeightedSum
from attacks.points import RemoveCar, SpoofCar
from attacks.pose import Drift, GpsOffset, HeadingBias
from attacks.pose_gradient import PoseGradient
from attacks.posepert import PosePert
from attacks.presets import load, names
from attacks.problem import FullFusion
from attacks.rehearsed import KnowsSeed
from attacks.schedules import Always, Bursts, EveryKth, RandomFrames, Rotating, Scheduled, Sleeper
from attacks.staleness import Freeze, Replay, SoldAsFresh
from attacks.targeted import FakeOne, HideOne
from attacks.transfer import Transfer
from attacks.warped import AfterWarp

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
