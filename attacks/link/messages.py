"""How many messages are sent, and in whose name: duplicates, invented senders, silence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from robosac.air import Air, Attacker, Knowledge, attacker_of, invented
from robosac.attacks.base import Budgeted, Measured, Stage, Stateless, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.measures import same_but
from robosac.attacks.pose.claims import moved
from robosac.attacks.registry import register
from robosac.attacks.settings import instance, number
from robosac.types import Id, InputError, Message, Subset, keyed_rng


@register("duplicate")
@dataclass(frozen=True, kw_only=True)
class Duplicate(Stateless):
    """Every attacker sends its honest message several times over, on its one link: who counts messages counts it twice.

    Attributes:
        copies: messages beside the honest one.
    """

    STAGE: ClassVar = Stage.LINK
    BUDGET, UNIT = "copies", "messages more"

    copies: int = number(3, low=0)

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        return [m for m in honest.values() for _ in range(1 + self.copies)]

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return float(len(sent) - 1) if sent and all(same_but(honest, m) for m in sent) else math.inf


@register("sybil")
@dataclass(frozen=True, kw_only=True)
class Sybil(Budgeted):
    """Every attacker invents teammates, each with a link of its own, that send what it sends, from places beside it.

    Their places keep their distance to the attacker for a whole scenario, so that they drive as cars do. The attacker
    itself stays honest: it is the invented majority that is malicious, or that confirms what another attack sends.

    Attributes:
        identities: invented senders an attacker.
        spread_m: how far from the attacker they claim to be, at most.
        carries: the attack whose payload they carry; None: the attacker's own honest payload, wrong by their place.
    """

    STAGE: ClassVar = Stage.LINK
    BUDGET, UNIT = "identities", "identities"

    identities: int = number(3, low=0)
    spread_m: float = number(8.0, low=0.0)
    carries: Measured | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.carries is not None:
            instance(self, "carries", Measured)
            if self.carries.stage in (Stage.LINK, Stage.POSE, Stage.TIME):
                raise InputError(f"expected carries to be an attack on payloads, got one on {self.carries.stage.value}")

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge.NONE if self.carries is None else self.carries.knowledge

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> SybilAttacker:
        colluders = Colluders.gather(attackers, rng)
        return SybilAttacker(
            self, colluders, None if self.carries is None else self.carries.start(scenario, attackers, rng)
        )

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        """Invented identities; `inf` where the attacker's own message or what an invented one may not say changed."""
        own = [m for m in sent if m.sender == honest.sender]
        invented = [m for m in sent if m.sender != honest.sender]
        named = [replace(m, sender=honest.sender) for m in invented]
        once = len({m.sender for m in invented}) == len(invented) and all(
            attacker_of(m.sender) == honest.sender for m in invented
        )
        truly_own = len(own) == 1 and same_but(honest, own[0])
        return float(len(invented)) if truly_own and once and all(self._may(honest, m) for m in named) else math.inf

    def _may(self, honest: Message, said: Message) -> bool:
        if self.carries is None:
            return same_but(honest, said, "world_T_payload")
        home = replace(said, world_T_payload=honest.world_T_payload)
        return self.carries.perturbation_size(honest, [home]) <= plain_budget(self.carries)


@dataclass(frozen=True)
class SybilAttacker:
    """One scenario of `Sybil`; what is remembered is the carried attack's."""

    attack: Sybil
    colluders: Colluders
    carried: Attacker | None

    def send(self, air: Air) -> Sequence[Message]:
        """An attacker's honest message, followed by those of the identities it invents."""
        honest = self.colluders.honest(air)
        if not self.attack.identities:
            return list(honest.values())
        said = dict(honest)
        if self.carried is not None:
            said |= {m.sender: m for m in self.carried.send(air) if m.sender in honest}
        return [m for who in honest for m in (honest[who], *self._invented(who, said[who], air))]

    def _invented(self, who: Id, said: Message, air: Air) -> list[Message]:
        rng = keyed_rng(self.colluders.seed, air.scenario, who, "places")
        angle = rng.uniform(-np.pi, np.pi, self.attack.identities)
        away = self.attack.spread_m * np.sqrt(rng.uniform(0.25, 1.0, self.attack.identities))  # an even ring
        return [
            moved(replace(said, sender=name), (x, y, 0.0))
            for name, x, y in zip(
                (invented(who, k) for k in range(self.attack.identities)),
                (away * np.cos(angle)).tolist(),
                (away * np.sin(angle)).tolist(),
                strict=True,
            )
        ]


@register("drop")
@dataclass(frozen=True, kw_only=True)
class Drop(Stateless):
    """Attackers that fall silent: nothing malicious, and no help either. In a share of frames by `Scheduled`.

    Attributes:
        messages: withheld by each attacker a frame, 0 or its only one.
    """

    STAGE: ClassVar = Stage.LINK
    BUDGET, UNIT = "messages", "messages fewer"

    messages: int = number(1, low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.messages > 1:
            raise InputError(
                f"expected messages of Drop to be 0 or 1, got {self.messages}; nobody has more to withhold"
            )

    def send(self, honest: Mapping[Id, Message], air: Air, colluders: Colluders) -> Sequence[Message]:
        return []

    def perturbation_size(self, honest: Message, sent: Sequence[Message]) -> float:
        return 1.0 - len(sent) if len(sent) < 2 and all(same_but(honest, m) for m in sent) else math.inf
