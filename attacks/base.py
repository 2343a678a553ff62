"""What every attack says of itself beside its settings: where it acts, what its budget is, how much of it was spent.

An attack is a frozen dataclass that derives from `Budgeted` and names one of its settings as its budget. At budget 0 it
sends what its agents honestly would, bit by bit; `spent` reads from the messages how much of the budget went into them,
in the budget's own unit.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from robosac.air import Attack, attacker_of
from robosac.types import Array, Id, Message

if TYPE_CHECKING:
    from typing_extensions import Self


class Stage(enum.Enum):
    """Where on its way from a sensor to the ego an attack takes hold. A detector may not have all of them."""

    POINTS = "points"  # the attacker's own scan, before it is encoded: any detector
    FEATURES = "features"  # float arrays as sent
    BOXES = "boxes"  # boxes and scores as sent: late fusion
    POSE = "pose"  # the claimed pose: any detector
    TIME = "time"  # what was sensed when: any detector
    LINK = "link"  # how many messages are sent, and in whose name: any detector


@runtime_checkable
class Measured(Attack, Protocol):
    """An attack of which tests and tables can say how strong it is."""

    @property
    def stage(self) -> Stage: ...

    @property
    def unit(self) -> str:
        """What the budget counts, in words: "L-inf a feature", "m", "boxes"."""
        ...

    @property
    def budget(self) -> float: ...

    def with_budget(self, budget: float) -> Self: ...

    def spent(self, honest: Message, sent: Sequence[Message]) -> float:
        """How much of the budget one attacker used: `sent` are its messages (sybils included), `honest` its honest one.

        Exactly 0 for the honest message alone; `inf` where something moved that no budget of this attack allows.
        """
        ...


@dataclass(frozen=True)
class Budgeted:
    """A base for attacks: `BUDGET` is the name of the setting that is the budget, `UNIT` what it counts."""

    STAGE: ClassVar[Stage]
    BUDGET: ClassVar[str]
    UNIT: ClassVar[str]

    @property
    def stage(self) -> Stage:
        return self.STAGE

    @property
    def unit(self) -> str:
        return self.UNIT

    @property
    def budget(self) -> float:
        return float(getattr(self, self.BUDGET))

    def with_budget(self, budget: float) -> Self:
        """The same attack with another budget; a budget that is counted is rounded down."""
        kind = type(getattr(self, self.BUDGET))
        return dataclasses.replace(self, **{self.BUDGET: math.floor(budget) if kind is int else float(budget)})


# ---------------------------------------------------------------------------------------------- measuring messages
def by_attacker(who: Id, messages: Iterable[Message]) -> list[Message]:
    """What one attacker sent, under its own name and under invented ones."""
    return [m for m in messages if attacker_of(m.sender) == who]


def same_array(a: Any, b: Any) -> bool:
    """Bit-identical: shape, dtype and every byte, so that -0.0 is not 0.0 and a NaN is itself."""
    a, b = np.asarray(a), np.asarray(b)
    return bool(a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def same_but(honest: Message, sent: Message, *allowed: str) -> bool:
    """Whether two messages are bit-identical but for the fields and payload arrays named in `allowed`."""
    fields = [f.name for f in dataclasses.fields(Message) if f.name not in ("payload", "world_T_payload", *allowed)]
    if any(getattr(honest, name) != getattr(sent, name) for name in fields):
        return False
    if "world_T_payload" not in allowed and not same_array(honest.world_T_payload, sent.world_T_payload):
        return False
    if "payload" in allowed:
        return True
    if set(honest.payload) != set(sent.payload):
        return False
    return all(n in allowed or same_array(honest.payload[n], sent.payload[n]) for n in honest.payload)


def floats(message: Message) -> list[str]:
    """Names of the float arrays of a payload: what can be perturbed. Indices and masks are nobody's to perturb."""
    return [n for n, a in message.payload.items() if np.issubdtype(np.asarray(a).dtype, np.floating)]


def difference(honest: Message, sent: Message) -> list[Array] | None:
    """Sent minus honest in float64, a float array each; None where anything else differs, or a shape or dtype."""
    names = floats(honest)
    if not same_but(honest, sent, *names):
        return None
    pairs = [(np.asarray(honest.payload[n]), np.asarray(sent.payload[n])) for n in names]
    if any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
        return None
    return [b.astype(np.float64) - a.astype(np.float64) for a, b in pairs]


def linf_spent(honest: Message, sent: Sequence[Message]) -> float:
    """Largest change of a feature; `inf` where it is not one message whose float arrays alone differ."""
    moved = difference(honest, sent[0]) if len(sent) == 1 else None
    return math.inf if moved is None else max((float(np.abs(d).max(initial=0.0)) for d in moved), default=0.0)
