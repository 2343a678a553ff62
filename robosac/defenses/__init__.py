"""Defences under one interface: `Defense` is a value, `Defender` decides about the frames of one scenario."""

from robosac.defenses.baselines import EgoOnly, NoDefense, Oracle
from robosac.defenses.by_agreement import RobosacAgreement
from robosac.defenses.certified import Certified
from robosac.defenses.plans import Known, PaperKnown, PaperUnknown, Unknown
from robosac.defenses.pose_checked import PoseChecked
from robosac.defenses.robosac import Robosac

__all__ = [
    "Certified",
    "EgoOnly",
    "Known",
    "NoDefense",
    "Oracle",
    "PaperKnown",
    "PaperUnknown",
    "PoseChecked",
    "Robosac",
    "RobosacAgreement",
    "Unknown",
]
