"""What is in the air when the attackers send: the containers and protocols between attacks and evaluation.

An attack declares what it needs to know, `Knowledge`; `Air` hands that out and raises on anything else. Evaluation
alone makes an `Air`: detectors and defences never see one.
"""

from __future__ import annotations

import copy
import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np

from robosac.defenses.protocol import Defender, Surrogate
from robosac.errors import RobosacError, warn
from robosac.types import Codec, Detector, Float32, Id, InputError, Message, Received, Request, Subset, Verdict, View


class KnowledgeError(RobosacError):
    """An attack read something that its declared knowledge excludes."""


class Knowledge(enum.Flag):
    """What an attack may read beyond its own agents' data."""

    NONE = 0
    MODEL = enum.auto()  # the detector's weights
    TEAMMATES = enum.auto()  # the other teammates' messages
    VICTIM = enum.auto()  # the ego's own view
    DEFENSE = enum.auto()  # a surrogate of the defence, with its own randomness
    SEED = enum.auto()  # the random numbers that the defence will draw


class World(Protocol):
    """The place itself, where rays can be cast again."""

    def seen(self, view: View, *, added: Float32, removed: Float32) -> Float32:
        """Points `(N, 4)` that the sensor of `view` would have measured with other traffic, in its frame.

        Args:
            view: what it measured.
            added: boxes `(M, 7)`, sensor frame: there are vehicles in these as well.
            removed: boxes `(K, 7)`, sensor frame: the vehicles in these are gone.

        A ray that meets neither returns what it did; one that met a vehicle now gone returns what is behind it.
        """
        ...


@dataclass(frozen=True, eq=False)
class Air:
    """A frame seen from the attackers' side.

    `own` are the attackers' views, `honest` what each of them would honestly send. What an agent that takes part in
    good faith has, every attacker has: the codec, the encoder as a black box, the place around it. The rest is handed
    out by properties, and only to an attack that declared it.
    """

    scenario: str
    index: int
    to: Request
    own: Mapping[Id, View]
    honest: Mapping[Id, Message]
    knowledge: Knowledge
    _detector: Detector
    _others: Mapping[Id, Message]
    _ego: View
    _defense: Surrogate | None = None
    _defender: Defender | None = None
    _world: World | None = None
    _open: Callable[[str], Detector] | None = None
    _note: Callable[[str], None] | None = None

    def _require(self, needed: Knowledge, what: str) -> None:
        if needed not in self.knowledge:
            raise KnowledgeError(
                f"the attack read {what} but declared only {self.knowledge}; add {needed} to its `knowledge`"
            )

    def note(self, text: str) -> None:
        """Say that something of the attack came to nothing in this frame, in words that are the same in every frame.

        Evaluation counts it; without one that does it is a warning.
        """
        if self._note is None:
            warn(text)
        else:
            self._note(text)

    @property
    def codec(self) -> Codec:
        """The wire format. Public: whoever sends a message at all speaks it."""
        return self._detector.codec

    def encode(self, view: View) -> Message:
        """What an attacker's own encoder makes of a scan, an edited one included. Needs no knowledge of its insides.

        Raises:
            InputError: the view belongs to no attacker.
        """
        if view.id not in self.own:
            raise InputError(f"expected a view of an attacker, one of {sorted(self.own)}, got one of {view.id!r}")
        return self._detector.encode(view, self.to)

    @property
    def world(self) -> World | None:
        """Where rays can be cast again; None on recorded data. Public: the attackers are there."""
        return self._world

    @property
    def detector(self) -> Detector:
        """The victim's detector."""
        self._require(Knowledge.MODEL, "the detector")
        return self._detector

    def opened(self, name: str) -> Detector:
        """A detector of the attackers' own, by name. Public: what they have at home is not knowledge of the victim.

        Raises:
            InputError: evaluation hands out none, or none of this name.
        """
        if self._open is None:
            raise InputError(
                f"expected an evaluation that opens detectors for attackers, got none to open {name!r} with; "
                "give `attacked_air` what makes a detector of a name (robosac.registry.detectors.open_detector)"
            )
        return self._open(name)

    @property
    def others(self) -> Mapping[Id, Message]:
        """The honest teammates' messages."""
        self._require(Knowledge.TEAMMATES, "other teammates' messages")
        return self._others

    @property
    def ego(self) -> View:
        """The victim's own scan and measured pose."""
        self._require(Knowledge.VICTIM, "the victim's view")
        return self._ego

    @property
    def defense(self) -> Surrogate | None:
        """A surrogate of the defence; None where there is no defence, or none that measures anything."""
        self._require(Knowledge.DEFENSE, "the defence")
        return self._defense

    def simulate_defense(self, messages: Sequence[Message]) -> Verdict | None:
        """The verdict that the defence will reach if the attackers send these messages; None without a defence.

        Its random numbers are those that it will draw. It runs on a copy: the defence itself notices nothing.
        """
        self._require(Knowledge.DEFENSE, "the defence")
        self._require(Knowledge.SEED, "the defence's random numbers")
        self._require(Knowledge.VICTIM, "the victim's view")
        if self._defender is None:
            return None
        return copy.deepcopy(self._defender).step(self._detector, self._ego, self.to, received(self, messages))


_MARK: Final = "#"


def invented(attacker: Id, k: int) -> Id:
    """The name of the k-th identity that an attacker invents."""
    return f"{attacker}{_MARK}{k}"


def attacker_of(sender: Id) -> Id:
    """Who is behind a name: the agent itself, or the attacker that invented it."""
    return sender.partition(_MARK)[0]


def received(air: Air, malicious: Sequence[Message]) -> list[Received]:
    """What the ego receives in a frame: the honest teammates' messages, then the attackers', each on a link.

    A link is authenticated: nobody sends on somebody else's. A message that claims to come from one of the attackers,
    or from an identity that one of them invented (`invented`), arrives on the link of that name; one that claims
    another's name arrives on the link of the first attacker.
    """
    honest = [Received.honest(m, air.to) for m in air._others.values()]
    first = min(air.own, default="")
    links = [m.sender if attacker_of(m.sender) in air.own else first for m in malicious]
    return [*honest, *(Received(link, air.to.t_ns, m) for link, m in zip(links, malicious, strict=True))]


@runtime_checkable
class Attack(Protocol):
    """A value: settings, repr, equality."""

    @property
    def knowledge(self) -> Knowledge:
        """What it must know beside its own agents' data."""
        ...

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        """What lives for one scenario. `attackers` are the agents that it controls."""
        ...


@runtime_checkable
class Attacker(Protocol):
    """What an attack remembers within a scenario lives here."""

    def send(self, air: Air) -> Sequence[Message]:
        """The attackers' messages of one frame; 0 messages = drop, 2 or more from one = sybil."""
        ...
