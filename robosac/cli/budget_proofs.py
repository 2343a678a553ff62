"""What `robosac budget --certify` and `--audit` answer, as rows of plain data."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from math import comb
from typing import Any

from robosac import budget as laws
from robosac.budget import AuditLaw
from robosac.errors import InputError

Row = dict[str, Any]


def votes(teammates: int, attackers: int, subset: int, sampled: int | None, p: Fraction) -> Row:
    """What a certificate by subsets of one size takes; a sample is of all there are where these are fewer."""
    n = None if sampled is None else min(sampled, comb(teammates, subset))
    needed = laws.votes_needed(teammates, attackers, subset, n, p)
    return {"attackers": attackers, "subset": subset, **asdict(needed)}


def audits(teammates: int, attackers: int, rate: str, p: Fraction) -> list[Row]:
    """Frames until one of the attackers is checked, and until a given one is, under each law."""
    if attackers == 0:
        raise InputError("expected --attackers M >= 1 with --audit, got 0: there is nobody to check")
    return [
        {
            "law": law.value,
            "attackers": m,
            "pass_frames": laws.pass_frames(rate),
            **asdict(laws.audit_frames(teammates, m, rate, p, law=law)),
        }
        for m in sorted({1, attackers})
        for law in AuditLaw
    ]
