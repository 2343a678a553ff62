"""What a scenario remembers of its teammates: who was left out, and how long it is not tried with the others.

Trust falls at once and recovers. Whoever is left out is still checked by itself, in every frame. It is tried with the
others again once it was fine in so many frames in a row: one at first, so that a wrong refusal costs nothing beyond its
own frame; twice as many each time that it is left out again, at most `MOST`; half as many after every `KEPT` frames of
use. So who was wrongly left out is tried within `MOST` frames, and an attacker that is clean where it is looked at
alone costs the search of smaller subsets once in `MOST` frames.

Nobody is trusted for what it was before: whatever is used is verified in its own frame. And nobody is accused here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from robosac.types import EGO_ALONE, Id, Subset, Trial

MOST: Final = 16  # fine frames in a row that are ever asked for
KEPT: Final = 10  # frames of use that halve what is asked for
NAMES: Final = 1000  # that are remembered; of more, those first met are forgotten, whoever is here now excepted


@dataclass
class Standing:
    """One teammate's.

    Attributes:
        asked: fine frames in a row that are asked for, should it be left out; 0: it never was, or it is forgiven.
        fine: how many there were since it was left out; None where it is not.
        used: frames of use since it last was.
    """

    asked: int = 0
    fine: int | None = None
    used: int = 0

    def falls(self) -> None:
        """It is left out of what it was in, or was tried in."""
        self.asked = min(MOST, max(1, 2 * self.asked))
        self.fine, self.used = 0, 0

    def recovers(self) -> None:
        """It is used."""
        self.fine, self.used = None, self.used + 1
        if self.used % KEPT == 0:
            self.asked //= 2


@dataclass
class Memory:
    """The teammates of one scenario.

    Attributes:
        known: who was there when everybody was last checked.
        settled: whether all who are not left out were accepted together in that frame.
    """

    known: Subset = EGO_ALONE
    settled: bool = False
    _of: dict[Id, Standing] = field(default_factory=dict)

    def steady(self, ids: Collection[Id]) -> bool:
        """Whether all of them were there, and accepted together, when everybody was last checked."""
        return self.settled and frozenset(ids) <= self.known

    def left_out(self, ids: Collection[Id]) -> Subset:
        """Who of them is left out."""
        return frozenset(i for i in ids if i in self._of and self._of[i].fine is not None)

    def waiting(self, fine: Collection[Id]) -> Subset:
        """Of teammates that are fine by themselves in this frame, who is not yet tried with others."""
        return frozenset(i for i in self.left_out(fine) if (self._of[i].fine or 0) + 1 < self._of[i].asked)

    def first(self, fine: Collection[Id]) -> tuple[Subset, ...]:
        """Which subsets of those who are fine by themselves are tried before any others, and stand alone where they are
        accepted: all but those who have to wait; if none of these had to, then all but those who were left out. None
        where nobody was. Whoever had to wait and is refused again is searched for in full: the others may be to blame.
        """
        every, out = frozenset(fine), self.left_out(self.known)
        as_before = bool(out) and self.settled and self.known - out <= every
        if not (as_before or out & every):
            return ()
        waiting = self.waiting(fine)
        had_to_wait = any(self._of[i].asked > 1 for i in out & every - waiting)
        return tuple(dict.fromkeys((every - waiting,) if had_to_wait else (every - waiting, every - out)))

    def learn(
        self, ids: Collection[Id], fine: Collection[Id], joint: Sequence[Trial], spared: Subset = EGO_ALONE
    ) -> Subset | None:
        """Keep what a frame showed. Returns all who are not left out, if they were accepted together.

        Args:
            fine: who was, by itself.
            joint: the trials of several together.
            spared: whom none of them accepted, and who stays what it was: it may be chance.
        """
        used = EGO_ALONE.union(*(t.subset for t in joint if t.accepted))
        tried = EGO_ALONE.union(*(t.subset for t in joint))
        before = self.left_out(ids)
        for i in sorted(ids):  # who was first met does not hang on the order of a set
            standing = self._of.setdefault(i, Standing())
            if i in used:
                standing.recovers()
            elif i not in fine:
                standing.fine = 0 if i in before else standing.fine
                if i not in before:
                    standing.falls()
            elif used and i in tried and i not in spared:  # a frame that accepts nothing says nothing about anybody
                standing.falls()
            elif i in before:
                standing.fine = (standing.fine or 0) + 1
        for i in forgotten(self._of, ids):
            del self._of[i]
        self.known = frozenset(ids)
        together = self.known - self.left_out(ids)
        self.settled = any(t.accepted and t.subset == together for t in joint)
        return together if self.settled else None


def forgotten(known: Collection[Id], here: Collection[Id]) -> list[Id]:
    """Whom to forget of those who are `known`, first met first: what is beyond `NAMES`, nobody who is `here`."""
    gone = [i for i in known if i not in here]
    return gone[: max(0, len(known) - NAMES)]
