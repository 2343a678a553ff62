"""Attacks computed on one detector and used against another: what is possible without the victim's model.

The attackers have a detector of their own, `source`, and encode their own scans with it. What an inner attack adds to
those messages is added to the messages that the victim's detector expects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.base import Stage, plain_budget
from robosac.attacks.colluders import Colluders
from robosac.attacks.features.projection import feasible_sets
from robosac.attacks.measures import floats
from robosac.attacks.registry import register
from robosac.attacks.settings import part
from robosac.attacks.wrappers.base import Wrapping
from robosac.fingerprint import code_files
from robosac.types import Array, Detector, Id, InputError, Message, Subset

_SHIPPED: Final = Path(__file__).parents[2] / "detectors" / "weights"  # of detectors that have a name


@register("transfer")
@dataclass(frozen=True, kw_only=True)
class Transfer(Wrapping):
    """An attack on features that is computed on `source` instead of the victim's detector.

    It needs what the inner attack does less the victim's model. Other teammates speak the victim's format: unless the
    source can read it, the inner attack takes the ego and the attackers for all there are, and needs nobody's messages.

    Attributes:
        source: the name of the attackers' detector, which evaluation opens for them (see `Air.opened`).
        reads_others: whether the source can make sense of what the others send, as a fusion can that was trained on the
            same encoder. Then the arrays must have the same shapes, and other teammates' messages are needed.
    """

    source: str
    reads_others: bool = part(bool, bool)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.source, str) or not self.source:
            raise InputError(f"expected source of Transfer to be the name of a detector, got {self.source!r}")
        if self.attack.stage is not Stage.FEATURES:
            raise InputError(
                f"expected attack of Transfer to act on features, got one on {self.attack.stage.value}; what acts "
                "elsewhere does not depend on the victim's encoder, use it as it is"
            )
        if Knowledge.SEED in self.attack.knowledge:
            raise InputError("expected attack of Transfer not to need the defence's random numbers, got one that does")

    @property
    def knowledge(self) -> Knowledge:
        foreign = Knowledge.MODEL if self.reads_others else Knowledge.MODEL | Knowledge.TEAMMATES
        return self.attack.knowledge & ~foreign

    def fingerprint(self) -> list[Any]:
        """What decides its messages (see `robosac.fingerprint`): the settings, and the files that `source` names, be it
        weights, a model's folder or code.
        """
        names = dict.fromkeys([self.source, *self.source.split(":"), *self.source.partition(":")[2].split("@")])
        files = [Path(name) for name in names if name] + [_SHIPPED / f"{name}.safetensors" for name in names]
        code = code_files(self.source.partition(":")[0]) if ":" in self.source else ()
        return [self.attack, self.reads_others, self.source, *(path for path in files if path.exists()), *code]

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> TransferAttacker:
        return TransferAttacker(self, Colluders.gather(attackers, rng), self.attack.start(scenario, attackers, rng))


@dataclass(frozen=True)
class TransferAttacker:
    """One scenario of a `Transfer` attack."""

    attack: Transfer
    colluders: Colluders
    inner: Attacker

    def send(self, air: Air) -> Sequence[Message]:
        """One message an attacker that is present, honest but for its float arrays.

        Raises:
            InputError: the source's arrays have other names or shapes than the victim's, or cannot be differentiated.
        """
        honest = self.colluders.honest(air)
        if not honest or self.attack.budget == 0:
            return list(honest.values())
        source = air.opened(self.attack.source)
        at_home = self._at_home(air, source, honest)
        sent = {m.sender: m for m in self.inner.send(at_home)}
        return [self._carried(m, at_home.honest[i], sent[i], air) for i, m in honest.items()]

    def _at_home(self, air: Air, source: Detector, honest: Mapping[Id, Message]) -> Air:
        """The frame as it would be if the victim ran the source."""
        inner = self.attack.attack.knowledge
        others = {}
        if self.attack.reads_others:
            others = {i: self._read(m, source) for i, m in air.others.items()}
        return replace(
            air,
            own={i: air.own[i] for i in honest},
            honest={i: source.encode(air.own[i], air.to) for i in honest},
            # the source is theirs to look into, and so is the list of others, which may be empty
            knowledge=(air.knowledge & self.attack.knowledge) | (inner & (Knowledge.MODEL | Knowledge.TEAMMATES)),
            _detector=source,
            _others=others,
        )

    def _read(self, message: Message, source: Detector) -> Message:
        wanted = source.codec.arrays
        for name, array in message.payload.items():
            if name not in wanted or not _fits(np.shape(array), wanted[name][0]):
                raise self._mismatch(name, np.shape(array), wanted[name][0] if name in wanted else None)
        return replace(message, codec=source.codec.name)

    def _carried(self, honest: Message, clean: Message, sent: Message, air: Air) -> Message:
        """The victim's honest message plus what the inner attack added to the source's; within budget and range."""
        attack = self.attack
        added = {}
        for name in floats(clean):
            a, b = np.asarray(clean.payload[name]), np.asarray(sent.payload[name])
            if name not in honest.payload or honest.payload[name].shape != a.shape or b.shape != a.shape:
                target = honest.payload[name].shape if name in honest.payload else None
                raise self._mismatch(name, target, a.shape)
            added[name] = b.astype(np.float64) - a.astype(np.float64)
        allowed = {n: s for n, s in feasible_sets(honest, air.codec, plain_budget(attack)).items() if n in added}

        def scaled(share: float) -> Message:
            arrays: dict[str, Array] = {n: r.clip(honest.payload[n] + share * added[n]) for n, r in allowed.items()}
            return honest.with_payload(**arrays)

        share, less = 1.0, 1e-7  # a norm over all elements may exceed its budget by rounding, or by the clean arrays
        while not attack.perturbation_size(honest, [scaled(share)]) <= plain_budget(attack) and share > 0:
            share, less = max(share - less, 0.0), 2 * less
        return scaled(share) if share > 0 else honest

    def _mismatch(self, name: str, target: tuple[int, ...] | None, source: tuple[Any, ...] | None) -> InputError:
        return InputError(
            f"expected the source {self.attack.source!r} and the victim's detector to send {name!r} in one shape, got "
            f"{source} and {target}; transfer between detectors of one format, or set reads_others to false"
        )


def _fits(shape: tuple[int, ...], wanted: tuple[int | str | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(w == n for n, w in zip(shape, wanted, strict=True) if isinstance(w, int))
