"""What teammates show, each alone with the ego, and whether a joint result is what its members show."""

from robosac.evidence.consistency import Consistency, Strain
from robosac.evidence.pooling import Pooled, pooled
from robosac.evidence.shown import Showing, Shown
from robosac.evidence.statistics import SoleClaims, WithMembers
from robosac.evidence.votes import Votes

__all__ = [
    "Consistency",
    "Pooled",
    "Showing",
    "Shown",
    "SoleClaims",
    "Strain",
    "Votes",
    "WithMembers",
    "pooled",
]
