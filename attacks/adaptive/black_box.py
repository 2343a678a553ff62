"""A score-based search on the defended result: it works with any defence, whether or not that offers a surrogate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from robosac.air import Air, Attacker, Knowledge
from robosac.attacks.colluders import Colluders
from robosac.attacks.registry import register
from robosac.attacks.settings import number
from robosac.attacks.wrappers.base import Wrapping
from robosac.boxes import iou_bev
from robosac.types import Array, Detections, Float32, Message, Subset, Verdict

QUERIED: Final = Knowledge.DEFENSE | Knowledge.SEED | Knowledge.VICTIM
STRENGTHS: Final = (1.0, 0.5, 0.25, 0.12, 0.06)  # shares of the inner perturbation that are tried
_FAINT: Final = 0.1


def harm(clean: Detections, found: Detections) -> float:
    """How far a defended result is from the one without an attack, in [0, 1]: no truth is needed.

    One less the score-weighted overlap of both: what was there and is gone, moved or fainter counts, and so does what
    was made up. A thousandth of it is how far the score maps are apart, so that a search sees where it is going
    before a box falls.
    """
    if clean.score_map is None or found.score_map is None or clean.score_map.shape != found.score_map.shape:
        return _of_boxes(clean, found)
    high = float(np.maximum(clean.score_map, found.score_map).sum())
    apart = float(np.abs(clean.score_map - found.score_map).sum()) / high if high > 0 else 0.0
    return 0.999 * _of_boxes(clean, found) + 0.001 * apart


def _of_boxes(clean: Detections, found: Detections) -> float:
    a, b = (d.scores * (d.scores >= _FAINT) for d in (clean, found))
    total = float(a.sum() + b.sum())
    if total <= 0:
        return 0.0
    worth = iou_bev(clean.boxes, found.boxes) * np.minimum(a[:, None], b[None])
    return 1.0 - float(worth.max(axis=1, initial=0.0).sum() + worth.max(axis=0, initial=0.0).sum()) / total


@register("black_box")
@dataclass(frozen=True, kw_only=True)
class BlackBox(Wrapping):
    """Another attack's messages, mixed with the honest ones where a copy of the defence lets the most harm through.

    The search knows nothing of how a defence decides. It asks a copy of it for the verdict on what would be sent, and
    takes the harm to the *defended* result as its score: first the inner attack's messages at full strength and at
    lower ones, from every attacker and from one alone; then, as Square Attack does (Andriushchenko et al., arXiv
    1912.00049), random squares of the maps whose share of the inner perturbation is drawn anew, smaller ones as
    queries are used up. A change is kept where it stays in use and does not lower the harm. What is not maps of one
    shape (lists of boxes) is mixed by whole messages. Mixtures are within the budget, since both ends are.

    The copy has the defence's memory and its next random numbers: it is the worst case, as `knows_seed` is. Without a
    defence the inner attack's messages are sent.

    Attributes:
        queries: verdicts asked for in a frame, that without an attack included; each costs what the defence costs.
        square: side of the first squares, as a share of the map's.
    """

    queries: int = number(40, low=2)
    square: float = number(0.5, low=0.0, high=1.0)

    @property
    def knowledge(self) -> Knowledge:
        return self.attack.knowledge | QUERIED

    def start(self, scenario: str, attackers: Subset, rng: np.random.Generator) -> Attacker:
        return _Searching(self, self.attack.start(scenario, attackers, rng), Colluders.gather(attackers, rng))


@dataclass(frozen=True)
class _Searching:
    """One scenario."""

    of: BlackBox
    inner: Attacker
    colluders: Colluders

    def send(self, air: Air) -> Sequence[Message]:
        sent = list(self.inner.send(air))
        honest = [air.honest[i] for i in sorted(air.honest)]
        clean = air.simulate_defense(honest)
        if clean is None or not sent or self.of.budget == 0:
            return sent
        return _Search(self.of, air, clean.result, sent, self.colluders.rng(air, "black box")).best()


class _Search:
    """One frame: mixtures, and the most harmful that was asked for."""

    def __init__(
        self, of: BlackBox, air: Air, clean: Detections, sent: list[Message], rng: np.random.Generator
    ) -> None:
        self._of, self._air, self._clean, self._rng = of, air, clean, rng
        self._sent, self._asked = sent, 1
        self._worst: list[Message] = []
        self._most = 0.0
        self._alike = [m for m in sent if m.sender in air.honest and _mixable(air.honest[m.sender], m)]

    def best(self) -> list[Message]:
        """The most harmful messages that were asked for; the honest ones where none did any."""
        full = {k: np.float32(1.0) for k in range(len(self._sent))}
        starts: list[Mapping[int, Any]] = [{k: np.float32(strength) for k in full} for strength in STRENGTHS]
        starts += [{j: np.float32(j == k) for j in full} for k in full if len(full) > 1]
        kept, most = dict(full), (False, 0.0)
        for shares in starts:
            if self._asked >= self._of.queries:
                break
            found = self._score(shares)
            if found > most:
                kept, most = dict(shares), found
        kept = {k: self._spread(k, v) for k, v in kept.items()}
        while self._asked < self._of.queries and self._alike:
            tried = self._changed(kept)
            found = self._score(tried)
            if found >= most:
                kept, most = tried, found
        return self._worst or [self._air.honest[i] for i in sorted(self._air.honest)]

    def _score(self, shares: Mapping[int, Any]) -> tuple[bool, float]:
        """Whether an attacker's message is in use, and the harm. A refusal is the same for all that is refused, so that
        the search goes on from what is in use; sent is what harms most."""
        self._asked += 1
        messages = self._mixed(shares)
        verdict: Verdict | None = self._air.simulate_defense(messages)
        assert verdict is not None
        done = harm(self._clean, verdict.result)
        if done > self._most:
            self._worst, self._most = messages, done
        return bool(verdict.used & frozenset(self._air.own)), done

    def _mixed(self, shares: Mapping[int, Any]) -> list[Message]:
        return [mixed(self._air.honest.get(m.sender), m, shares[k]) for k, m in enumerate(self._sent)]

    def _spread(self, k: int, share: Any) -> Any:
        """A share a cell in place of one for the whole map."""
        shape = _map_shape(self._sent[k])
        return share if shape is None else np.full(shape, share, np.float32)

    def _changed(self, kept: Mapping[int, Any]) -> dict[int, Any]:
        """One square of one message with another share."""
        k = self._sent.index(self._alike[int(self._rng.integers(len(self._alike)))])
        shape = _map_shape(self._sent[k])
        share = np.float32(self._rng.choice([0.0, *STRENGTHS]))
        if shape is None:
            return {**kept, k: share}
        left = 1.0 - self._asked / self._of.queries
        side = [max(1, int(self._of.square * max(left, 0.1) * n)) for n in shape]
        row, col = (int(self._rng.integers(n - s + 1)) for n, s in zip(shape, side, strict=True))
        changed = np.array(kept[k], np.float32)
        changed[row : row + side[0], col : col + side[1]] = share
        return {**kept, k: changed}


def mixed(honest: Message | None, sent: Message, share: Any) -> Message:
    """`share` of the way from the honest message to what is sent; the nearer of both where they cannot be mixed."""
    if honest is None or not np.any(share):
        return sent if honest is None else honest
    if not _mixable(honest, sent):
        return sent if np.mean(share) >= 0.5 else honest
    if np.all(share == 1):
        return sent
    arrays = {name: _between(honest.payload[name], sent.payload[name], share) for name in sent.payload}
    return sent.with_payload(**arrays)


def _between(a: Array, b: Array, share: Any) -> Array:
    if not np.issubdtype(a.dtype, np.floating):
        return b
    fits = np.ndim(share) == 0 or a.shape[-2:] == np.shape(share)
    at: Float32 = np.asarray(share if fits else np.mean(share), np.float32)
    low, high = np.minimum(a, b), np.maximum(a, b)
    return np.asarray(np.clip(a + at * (b - a), low, high), a.dtype)


def _mixable(honest: Message, sent: Message) -> bool:
    same = {n: a.shape for n, a in honest.payload.items()} == {n: a.shape for n, a in sent.payload.items()}
    return same and honest.sender == sent.sender and bool(np.all(honest.world_T_payload == sent.world_T_payload))


def _map_shape(message: Message) -> tuple[int, int] | None:
    """Rows and columns of the largest map in a message; None where it holds none."""
    maps = [a for a in message.payload.values() if np.ndim(a) == 3]
    largest = max(maps, key=lambda a: a.size, default=None)
    return None if largest is None else (int(largest.shape[-2]), int(largest.shape[-1]))
