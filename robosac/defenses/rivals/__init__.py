"""Published defences as peers, one a module: its source, and what was chosen where a paper leaves something open."""

from robosac.defenses.rivals.concordance import SpatialTemporal
from robosac.defenses.rivals.critical_object import CriticalObject
from robosac.defenses.rivals.feature_similarity import FeatureSimilarity
from robosac.defenses.rivals.halving import AdaptiveHalving, Halving
from robosac.defenses.rivals.late_votes import LateVotes
from robosac.defenses.rivals.made import Made
from robosac.defenses.rivals.occupancy import Occupancy
from robosac.defenses.rivals.residual_classifier import ResidualClassifier
from robosac.defenses.rivals.robust_features import RobustFeatures
from robosac.defenses.rivals.sequences import FixedAttackers, TemporalReference
from robosac.defenses.rivals.single_check import SingleCheck
from robosac.defenses.rivals.two_groups import TwoGroups

__all__ = [
    "AdaptiveHalving",
    "CriticalObject",
    "FeatureSimilarity",
    "FixedAttackers",
    "Halving",
    "LateVotes",
    "Made",
    "Occupancy",
    "ResidualClassifier",
    "RobustFeatures",
    "SingleCheck",
    "SpatialTemporal",
    "TemporalReference",
    "TwoGroups",
]
