"""Honest messages that the gate let not in: they cost recall, and the figures alone do not say why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from robosac.evaluation.metrics import FrameRecord

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Refused:
    """Honest messages that the gate let not in.

    Attributes:
        messages, of: how many of how many.
        reasons: reason -> how many; those that differ in numbers only are one, in the words of the first.
    """

    messages: int
    of: int
    reasons: Mapping[str, int]

    @staticmethod
    def count(records: Sequence[FrameRecord]) -> Refused:
        """Over the frames of a cell."""
        why = [reason for r in records for link, reason in r.rejected.items() if link in r.honest]
        alike: dict[str, str] = {}
        counts = Counter(alike.setdefault(_NUMBER.sub("#", reason), reason) for reason in why)
        return Refused(len(why), sum(len(r.honest) for r in records), dict(counts.most_common()))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"messages": self.messages, "of": self.of, "reasons": dict(self.reasons)}
