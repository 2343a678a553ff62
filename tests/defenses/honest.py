"""Calibrations written down: what honest frames of a toy detector are said to allow."""

from __future__ import annotations

from robosac.calibration import Calibration, Thresholds
from robosac.defenses import Robosac

SIZES = range(1, 21)


def allowing(
    defense: Robosac | None = None,
    *,
    detector: str = "toy",
    agreement: float = 0.0,
    claims: float = 1e3,
    together: float = 1e3,
    strain: float = 1e3,
) -> Calibration:
    """Limits of every size; as they are given, everything that is finite is honest."""
    agree, alone, two, members, *gains = (defense or Robosac()).statistics()
    limits = {agree.name: agreement, alone.name: -claims, two.name: -together, members.name: -strain}
    limits |= {gain.name: -1e3 for gain in gains}
    return Calibration(
        detector,
        {
            name: Thresholds(
                0.02, dict.fromkeys(SIZES, v), dict.fromkeys(SIZES, 99), scores=dict.fromkeys(SIZES, (v,) * 99)
            )
            for name, v in limits.items()
        },
    )
